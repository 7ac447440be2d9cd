"""Which audience's text a test tries out, what a broadcast follows, and an index over who gets it.

Additive: the version before it goes on working beside this one. It takes a test for a broadcast like any other, whose
digest it does not know, and so asks for its approval.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("test_of", sa.String(255), nullable=True))
    op.add_column("broadcasts", sa.Column("follows", sa.String(16), nullable=True))
    op.create_index("ix_broadcasts_recipients", "broadcasts", ["workspace", "account", "target", "created_at"])
