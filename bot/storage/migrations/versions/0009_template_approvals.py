"""Who approved a template, and what exactly they approved.

Additive: the version before it goes on working beside this one. It may save another text without knowing of the
approval; what was approved is then no longer what stands there, so the approval does not count.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("templates", sa.Column("editor", sa.String(32), nullable=True))
    op.add_column("templates", sa.Column("approved_by", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("templates", sa.Column("approved_digest", sa.String(64), nullable=True))
