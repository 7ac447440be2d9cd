"""Approvers who are away, in whose place a vote was given, and for which start a broadcast's approvers were named.

Additive: the version before it goes on working beside this one, but counts a delegate and the approver as two. So name
delegates in the settings once no older process runs; this version counts them as one before it sends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "absences",
        sa.Column("workspace", sa.String(32), primary_key=True),
        sa.Column("person", sa.String(32), primary_key=True),
        sa.Column("delegate", sa.String(32), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.add_column("broadcasts", sa.Column("ruled_at", sa.BigInteger(), nullable=True))
    op.add_column("votes", sa.Column("stands_for", sa.String(32), nullable=True))
