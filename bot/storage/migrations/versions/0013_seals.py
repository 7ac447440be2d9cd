"""The chain of the audit, which only grows; and what tells that a text was removed, and which ones are old.

Additive: the version before it goes on working beside this one. What it writes to the audit is sealed by a process of
this version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

ENDED = "state IN ('done', 'failed', 'rejected', 'cancelled', 'expired')"
#: The tables that only grow, and the one column of each that may become empty.
ONLY_GROW = (("audit", "reason"), ("seals", "salt"))

POSTGRES = """
CREATE OR REPLACE FUNCTION bellcrier_only_grows() RETURNS trigger AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF to_jsonb(NEW) - TG_ARGV[0] = to_jsonb(OLD) - TG_ARGV[0] AND to_jsonb(NEW) ->> TG_ARGV[0] IS NULL THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'the audit only grows';
END
$$ LANGUAGE plpgsql
"""


def upgrade() -> None:
    op.create_table(
        "seals",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("workspace", sa.String(32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(32), nullable=True),
        sa.Column("reason_digest", sa.String(64), nullable=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.ForeignKeyConstraint(["seq"], ["audit.seq"]),
        sa.UniqueConstraint("workspace", "place", name="uq_seals_place"),
    )
    op.add_column("broadcasts", sa.Column("text_removed_at", sa.BigInteger(), nullable=True))
    _index("ix_broadcasts_ended", "broadcasts", ["changed_at", "workspace", "id"], sa.text(ENDED))
    _index("ix_deliveries_aside", "deliveries", ["at"], sa.text("workspace IS NULL"))
    op.create_index("ix_notes_broadcast", "notes", ["workspace", "broadcast"], unique=False)
    guard = _guard_on_postgres if op.get_bind().dialect.name == "postgresql" else _guard_on_sqlite
    guard()


def _index(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)


def _guard_on_postgres() -> None:
    op.execute(POSTGRES)
    for table, emptied in ONLY_GROW:
        each = f"FOR EACH ROW EXECUTE FUNCTION bellcrier_only_grows('{emptied}')"
        op.execute(f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE ON {table} {each}")
        all_of_it = "FOR EACH STATEMENT EXECUTE FUNCTION bellcrier_only_grows()"
        op.execute(f"CREATE TRIGGER {table}_stays BEFORE TRUNCATE ON {table} {all_of_it}")


def _guard_on_sqlite() -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END"
    for table, emptied in ONLY_GROW:
        columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
        same = " AND ".join(f'NEW."{name}" IS OLD."{name}"' for name in columns if name != emptied)
        changed = f"WHEN NOT (NEW.{emptied} IS NULL AND {same})"
        op.execute(f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE ON {table} FOR EACH ROW {changed} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} FOR EACH ROW {refuse}")
