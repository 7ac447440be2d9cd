"""What a card showed, where a request was typed, how many deliveries are final, and drafts that a message opens.

Additive: the version before it goes on working beside this one. It does not keep `finals`, so whoever needs the number
to be exact counts the deliveries.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("asked_in", sa.String(length=32), nullable=True))
    op.add_column("broadcasts", sa.Column("finals", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cards", sa.Column("facts", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("posts", sa.Column("draft", sa.String(length=16), nullable=True))
    where = sa.text("state = 'held'")
    op.create_index(
        "ix_broadcasts_held",
        "broadcasts",
        ["workspace", "hold"],
        unique=False,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.execute(
        "UPDATE broadcasts SET finals = (SELECT count(*) FROM deliveries WHERE deliveries.final"
        " AND deliveries.workspace = broadcasts.workspace AND deliveries.broadcast = broadcasts.id)"
        " WHERE state IN ('sending', 'unknown', 'sent')"
    )
