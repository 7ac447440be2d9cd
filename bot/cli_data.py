"""The commands about what is stored: the schema, backups and the export. Each imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bot.shell import config_option, fail, group_config_option, guarded, on_database, settings_from

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # what a cell of a formula begins with


@click.group()
@group_config_option
def db() -> None:
    """The database."""


@db.command("upgrade")
@config_option
@guarded
def db_upgrade(config: Path | None) -> None:
    """Bring the schema to this version."""
    from bot.storage import schema, tables

    def bring_up(connection: Any) -> str | None:
        revision = schema.schema_revision(connection)
        if revision is not None and revision > tables.REVISION:
            return schema.schema_trouble(revision)
        schema.upgrade(connection)
        return None

    trouble = on_database(config, bring_up, alone=True)
    if trouble is not None:
        fail(trouble)
    click.echo(f"The database is at revision {tables.REVISION}.")


@db.command("check")
@config_option
@guarded
def db_check(config: Path | None) -> None:
    """Check that the schema fits this version and that the database is sound."""
    from bot.storage import schema

    revision, integrity = on_database(config, lambda c: (schema.schema_revision(c), schema.integrity(c)))
    trouble = schema.schema_trouble(revision)
    if trouble is not None:
        fail(trouble)
    if integrity != "ok":
        fail("The database file is damaged. Restore a backup with `bellcrier db restore FILE`.")
    click.echo(f"The database is at revision {revision} and sound.")


@db.command("backup")
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@guarded
def db_backup(config: Path | None, file: Path) -> None:
    """Back up everything to FILE, which must not exist yet. The bot may keep running."""
    from bot import backup
    from bot.domain import clock

    if file.exists():
        fail(f"{file} is there already. Choose another name.")
    count = on_database(config, lambda c: backup.write_backup(c, file, clock.now()))
    click.echo(f"Wrote {count} rows to {file}. It holds texts and tokens: keep it safe.")


@db.command("restore")
@config_option
@click.option("--force", is_flag=True, help="Delete the broadcasts that are there.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@guarded
def db_restore(config: Path | None, force: bool, file: Path) -> None:
    """Replace the database with FILE. Whatever had not ended in the backup is held."""
    from bot import backup
    from bot.domain import clock

    try:
        approval = settings_from(config).approval

        def restore(connection: Any) -> int:
            return backup.restore_backup(connection, file, clock.now(), force=force, approval=approval)

        count = on_database(config, restore, alone=True)
    except backup.NotABackup as error:
        fail(str(error))
    except backup.NotEmpty as error:
        fail(f"There are {error} broadcasts in the database. Back them up, then use --force to throw them away.")
    else:
        click.echo(f"Restored {count} rows. Nothing of it goes out by itself: see what is held in Slack.")


@click.command()
@config_option
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day (UTC).")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@guarded
def export(config: Path | None, since: Any, form: str) -> None:
    """Print the audit: who did what to which version, and when."""
    import csv
    from datetime import UTC

    from bot.storage import audit, tables

    start = int(since.replace(tzinfo=UTC).timestamp()) * 1_000_000 if since else 0
    rows = on_database(config, lambda c: [dict(row) for row in audit.audit_since(c, start)])
    if form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    writer = csv.DictWriter(sys.stdout, [column.name for column in tables.audit.columns])
    writer.writeheader()
    writer.writerows({name: _defused(value) for name, value in row.items()} for row in rows)


def _defused(cell: object) -> object:
    """The cell, which no spreadsheet takes for a formula: a quote before its first character."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
