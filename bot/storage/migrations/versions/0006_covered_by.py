"""Which occurrence's approval covers a later one of its series.

Additive: the version before it goes on working beside this one. It leaves the column empty, and this one takes such an
occurrence for covered by any approval that its voters take back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("covered_by", sa.String(16), nullable=True))
