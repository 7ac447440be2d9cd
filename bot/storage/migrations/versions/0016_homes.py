"""The Home tabs that people have opened, and the indexes of what they show. Additive: the version before it goes on
working beside this one."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

LIVING = "state IN ('draft', 'pending', 'scheduled', 'held', 'sending', 'unknown', 'sent')"


def upgrade() -> None:
    op.create_table(
        "homes",
        sa.Column("workspace", sa.String(32), nullable=False),
        sa.Column("person", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(32), nullable=True),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("draw_at", sa.BigInteger(), nullable=False),
        sa.Column("drawn_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=True),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("pages", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "person"),
    )
    op.create_index("ix_homes_draw", "homes", ["draw_at"])
    for name, table, columns, where in (
        ("ix_broadcasts_board", "broadcasts", ["workspace", "state", "changed_at", "id"], LIVING),
        ("ix_broadcasts_planned", "broadcasts", ["workspace", "due", "id"], "state = 'scheduled'"),
        ("ix_broadcasts_drafts", "broadcasts", ["workspace", "requester", "changed_at", "id"], "state = 'draft'"),
        ("ix_schedules_board", "schedules", ["workspace", "created_at", "id"], "state <> 'ended'"),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
