"""Recurring broadcasts, reminders, and a voice for what waits. Additive: the version before it goes on working."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "posts",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("place", sa.String(length=32), nullable=False),
        sa.Column("sentence", sa.JSON(), nullable=False),
        sa.Column("mention", sa.String(length=255), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("post_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ts", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("workspace", "key", name="uq_posts_key"),
    )
    op.create_index(
        "ix_posts_post",
        "posts",
        ["post_at"],
        unique=False,
        sqlite_where=sa.text("post_at IS NOT NULL"),
        postgresql_where=sa.text("post_at IS NOT NULL"),
    )
    op.create_table(
        "schedules",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ended", sa.String(length=32), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("typed", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("closed", sa.String(length=16), nullable=False),
        sa.Column("calendar", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("next_local", sa.String(length=32), nullable=True),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("remaining", sa.Integer(), nullable=True),
        sa.Column("cover", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("shape", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("workspace", "id"),
        sa.UniqueConstraint("workspace", "key", name="uq_schedules_key"),
    )
    op.create_index(
        "ix_schedules_next",
        "schedules",
        ["kind", "next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index("ix_schedules_state", "schedules", ["workspace", "state"], unique=False)
    op.create_index(
        "ix_schedules_paused",
        "schedules",
        ["paused_until"],
        unique=False,
        sqlite_where=sa.text("state = 'paused'"),
        postgresql_where=sa.text("state = 'paused'"),
    )
    op.create_table(
        "templates",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("audience", sa.String(length=255), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sender", sa.String(length=64), nullable=True),
        sa.Column("campaign", sa.String(length=255), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name"),
    )
    op.create_table(
        "occurrences",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("schedule", sa.String(length=16), nullable=False),
        sa.Column("local", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=True),
        sa.Column("channel", sa.String(length=32), nullable=True),
        sa.Column("ts", sa.String(length=32), nullable=True),
        sa.Column("draw_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("snoozed_until", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.String(length=32), nullable=True),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "schedule"],
            ["schedules.workspace", "schedules.id"],
        ),
        sa.PrimaryKeyConstraint("workspace", "schedule", "local"),
    )
    op.create_index("ix_occurrences_ts", "occurrences", ["workspace", "channel", "ts"], unique=False)
    op.create_index(
        "ix_occurrences_draw",
        "occurrences",
        ["draw_at"],
        unique=False,
        sqlite_where=sa.text("draw_at IS NOT NULL"),
        postgresql_where=sa.text("draw_at IS NOT NULL"),
    )
    op.add_column("broadcasts", sa.Column("voice_at", sa.BigInteger(), nullable=True))
    op.add_column("broadcasts", sa.Column("voices", sa.Integer(), server_default="0", nullable=False))
    op.add_column("broadcasts", sa.Column("schedule", sa.String(length=16), nullable=True))
    op.add_column("broadcasts", sa.Column("occurrence", sa.String(length=32), nullable=True))
    op.add_column("broadcasts", sa.Column("covers", sa.Integer(), server_default="1", nullable=False))
    op.add_column("broadcasts", sa.Column("shape", sa.Integer(), server_default="1", nullable=False))
    op.create_index(
        "ix_broadcasts_voice",
        "broadcasts",
        ["voice_at"],
        unique=False,
        sqlite_where=sa.text("voice_at IS NOT NULL"),
        postgresql_where=sa.text("voice_at IS NOT NULL"),
    )

    # What waits already gets its voice: what asks at the next tick, the others before their time.
    day, notice = 24 * 3600 * 1_000_000, 15 * 60 * 1_000_000
    op.execute("UPDATE broadcasts SET voice_at = changed_at WHERE state IN ('pending', 'held')")
    op.execute(f"UPDATE broadcasts SET voice_at = changed_at + {6 * day} WHERE state = 'draft'")  # noqa: S608
    op.execute(
        f"UPDATE broadcasts SET voice_at = due - {notice} WHERE state = 'scheduled' AND send_at IS NOT NULL"  # noqa: S608
    )
