"""What the outbox posts about a broadcast, and where it stands. Additive: older processes post it without a thread."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("posts", sa.Column("about", sa.String(16), nullable=True))
    op.add_column("posts", sa.Column("told_at", sa.BigInteger(), nullable=True))
    op.add_column("posts", sa.Column("draw_at", sa.BigInteger(), nullable=True))
    is_news, is_outdated = sa.text("about IS NOT NULL"), sa.text("draw_at IS NOT NULL")
    op.create_index("ix_posts_about", "posts", ["workspace", "about"], sqlite_where=is_news, postgresql_where=is_news)
    op.create_index("ix_posts_draw", "posts", ["draw_at"], sqlite_where=is_outdated, postgresql_where=is_outdated)
