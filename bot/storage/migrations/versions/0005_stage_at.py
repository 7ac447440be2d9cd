"""When a broadcast may be prepared again after a passing error.

Additive: the version before it goes on working beside this one. It keeps such a pause as a lease without an owner,
and this one waits for such a lease too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("stage_at", sa.BigInteger(), nullable=True))
