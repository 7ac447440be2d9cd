"""An index over what is still to go to the same recipients, in which a new broadcast looks for its duplicate.

Additive: the version before it goes on working beside this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    going = sa.text("state IN ('pending', 'scheduled', 'held', 'sending', 'unknown')")
    op.create_index(
        "ix_broadcasts_going",
        "broadcasts",
        ["workspace", "account", "target", "created_at"],
        unique=False,
        sqlite_where=going,
        postgresql_where=going,
    )
