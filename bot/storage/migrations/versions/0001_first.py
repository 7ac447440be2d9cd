"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=True),
        sa.Column("after", sa.String(length=16), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_audit_broadcast", "audit", ["workspace", "broadcast", "seq"], unique=False)
    op.create_table(
        "broadcasts",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=True),
        sa.Column("hold", sa.String(length=16), nullable=True),
        sa.Column("hold_until", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("requester", sa.String(length=32), nullable=False),
        sa.Column("editor", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("audience", sa.String(length=255), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("everyone", sa.Boolean(), nullable=False),
        sa.Column("subscribers", sa.JSON(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("typed", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sender", sa.String(length=64), nullable=True),
        sa.Column("campaign", sa.String(length=255), nullable=True),
        sa.Column("policy", sa.String(length=64), nullable=True),
        sa.Column("send_at", sa.BigInteger(), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("unnamed", sa.Integer(), nullable=True),
        sa.Column("quoted", sa.String(length=64), nullable=True),
        sa.Column("bound", sa.Integer(), nullable=True),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("approvers", sa.JSON(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("staged", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("look_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("progress_at", sa.BigInteger(), nullable=True),
        sa.Column("draw_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id"),
        sa.UniqueConstraint("workspace", "key", name="uq_broadcasts_key"),
    )
    op.create_index("ix_broadcasts_changed", "broadcasts", ["workspace", "changed_at"], unique=False)
    op.create_index(
        "ix_broadcasts_draw",
        "broadcasts",
        ["draw_at"],
        unique=False,
        sqlite_where=sa.text("draw_at IS NOT NULL"),
        postgresql_where=sa.text("draw_at IS NOT NULL"),
    )
    op.create_index(
        "ix_broadcasts_due",
        "broadcasts",
        ["due"],
        unique=False,
        sqlite_where=sa.text("state = 'scheduled'"),
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_broadcasts_progress",
        "broadcasts",
        ["progress_at"],
        unique=False,
        sqlite_where=sa.text("progress_at IS NOT NULL"),
        postgresql_where=sa.text("progress_at IS NOT NULL"),
    )
    op.create_index("ix_broadcasts_requester", "broadcasts", ["workspace", "requester", "created_at"], unique=False)
    op.create_index("ix_broadcasts_state", "broadcasts", ["state", "look_at"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("recipient", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=True),
        sa.Column("broadcast", sa.String(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("word", sa.String(length=64), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "id", "recipient", "kind"),
    )
    op.create_index("ix_deliveries_broadcast", "deliveries", ["workspace", "broadcast"], unique=False)
    op.create_table(
        "kept",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "seen",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "key"),
    )
    op.create_index("ix_seen_at", "seen", ["at"], unique=False)
    op.create_table(
        "cards",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("ts", sa.String(length=32), nullable=False),
        sa.Column("drawn", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("workspace", "broadcast", "version"),
        sa.UniqueConstraint("workspace", "channel", "ts", name="uq_cards_ts"),
    )
    op.create_table(
        "dispatches",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.Column("dispatch", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("workspace", "broadcast", "dispatch"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "leftovers",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.Column("staged", sa.JSON(), nullable=False),
        sa.Column("try_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("account", "id"),
    )
    op.create_table(
        "notes",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.JSON(), nullable=False),
        sa.Column("mention", sa.String(length=255), nullable=True),
        sa.Column("aloud", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("post_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ts", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(
        "ix_notes_post",
        "notes",
        ["post_at"],
        unique=False,
        sqlite_where=sa.text("post_at IS NOT NULL"),
        postgresql_where=sa.text("post_at IS NOT NULL"),
    )
    op.create_table(
        "vendor_ids",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("account", "id"),
    )
    op.create_index("ix_vendor_ids_broadcast", "vendor_ids", ["workspace", "broadcast"], unique=False)
    op.create_table(
        "votes",
        sa.Column("workspace", sa.String(length=32), nullable=False),
        sa.Column("broadcast", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("approver", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "broadcast"],
            ["broadcasts.workspace", "broadcasts.id"],
        ),
        sa.PrimaryKeyConstraint("workspace", "broadcast", "version", "approver"),
    )
