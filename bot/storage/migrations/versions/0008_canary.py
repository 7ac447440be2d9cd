"""The audience that gets a broadcast first, and when it was decided that the others get it too.

Additive: the version before it goes on working beside this one. It does not know the digest of a broadcast with a
canary, and so asks for its approval.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("canary", sa.String(255), nullable=True))
    op.add_column("broadcasts", sa.Column("continued_at", sa.BigInteger(), nullable=True))
