"""Approvers who are away, and in whose place a vote was given.

Additive: the version before it goes on working beside this one. It takes a delegate's vote for that of somebody who may
not approve, so it asks again rather than send.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "absences",
        sa.Column("workspace", sa.String(32), primary_key=True),
        sa.Column("person", sa.String(32), primary_key=True),
        sa.Column("delegate", sa.String(32), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.add_column("votes", sa.Column("stands_for", sa.String(32), nullable=True))
