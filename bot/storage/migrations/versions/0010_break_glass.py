"""Who let an alert go without approval, why, what exactly, and who has reviewed it; and when it was last marketing.

Additive: the version before it goes on working beside this one. It finds an alert without enough votes, and so asks
for its approval. Its edits do not record that a broadcast was marketing before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = (
    ("marketing_until", sa.BigInteger()),
    ("glass_by", sa.String(32)),
    ("glass_reason", sa.Text()),
    ("glass_at", sa.BigInteger()),
    ("glass_digest", sa.String(64)),
    ("review_at", sa.BigInteger()),
    ("reviewed_by", sa.String(32)),
    ("reviewed_at", sa.BigInteger()),
    ("review_comment", sa.Text()),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("broadcasts", sa.Column(name, kind, nullable=True))
    waiting = sa.text("review_at IS NOT NULL")
    op.create_index(
        "ix_broadcasts_review",
        "broadcasts",
        ["review_at"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
