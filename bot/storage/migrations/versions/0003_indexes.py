"""Indexes for what the ticks ask, each over the few rows that can be an answer.

Additive for the code: the version before it finds the same rows. The index over every state goes, since SQLite took
it for questions that a partial one answers without reading what is not due; the one over what is due gets the
account, so that the flood of one account is passed over without reading its rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PARTIAL = (
    ("ix_broadcasts_due", "broadcasts", ["due", "account"], "state = 'scheduled'"),
    ("ix_broadcasts_living", "broadcasts", ["state"], "state IN ({living})"),
    ("ix_broadcasts_look", "broadcasts", ["state", "look_at"], "look_at IS NOT NULL"),
    ("ix_broadcasts_sending", "broadcasts", ["changed_at"], "state = 'sending'"),
    ("ix_broadcasts_lease", "broadcasts", ["lease_until"], "lease_until IS NOT NULL"),
    ("ix_broadcasts_staged", "broadcasts", ["account"], "state = 'scheduled' AND staged IS NOT NULL"),
    ("ix_broadcasts_expires", "broadcasts", ["state", "expires_at"], "expires_at IS NOT NULL"),
    ("ix_broadcasts_window", "broadcasts", ["hold_until"], "state = 'held' AND hold_until IS NOT NULL"),
    (
        "ix_broadcasts_unsized",
        "broadcasts",
        ["account", "look_at"],
        "size IS NULL AND state IN ('pending', 'scheduled')",
    ),
    ("ix_leftovers_try", "leftovers", ["try_at"], "try_at IS NOT NULL"),
)
LIVING = "'draft', 'pending', 'scheduled', 'held', 'sending', 'unknown', 'sent'"


def upgrade() -> None:
    op.drop_index("ix_broadcasts_due", table_name="broadcasts")
    for name, table, columns, rows in PARTIAL:
        where = sa.text(rows.format(living=LIVING))
        op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_dispatches_released", "dispatches", ["workspace", "released_at"], unique=False)
    op.drop_index("ix_broadcasts_state", table_name="broadcasts")
