"""The commands about what is stored: the schema, backups and the export. Each imports what it needs when it runs."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.shell import (
    USAGE,
    config_option,
    fail,
    group_config_option,
    guarded,
    on_database,
    settings_from,
    with_database,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from bot.backup import Head
    from bot.config.settings import Settings

OTHER_KEY = (
    "The backup was made under another secret key. Set secret_key to that one before you start the bot. Without it, "
    "callbacks to addresses that vendors know already are refused, and stored tokens cannot be read."
)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
@group_config_option
def db() -> None:
    """The database."""


@db.command("upgrade")
@config_option
@click.option("--backup", type=FILE, help="Where the backup goes. Default: beside the database or the settings.")
@click.option("--no-backup", is_flag=True, help="Upgrade without a backup.")
@guarded
def db_upgrade(config: Path | None, backup: Path | None, no_backup: bool) -> None:
    """Bring the schema to this version, after a backup of what is there."""
    from bot import backup as backups
    from bot.config.load import present_key
    from bot.domain import clock
    from bot.storage import schema, tables

    revision = on_database(config, schema.schema_revision, makes=True)
    if revision is not None and revision > tables.REVISION:
        fail(schema.newer(revision))
    settings, now = settings_from(config), clock.now()
    file = (
        None
        if no_backup
        else backup or _beside(config, settings, f"before-{tables.REVISION}-{clock.moment(now):%Y%m%dT%H%M%SZ}")
    )
    fingerprint = backups.fingerprint_of(key) if (key := present_key(settings)) else None
    try:
        count = with_database(
            config, lambda found: backups.upgrade_with_backup(found, file, now, fingerprint=fingerprint), alone=True
        )
    except OSError as error:
        fail(f"The backup cannot be written to {file} ({error.strerror}). Use --backup FILE, or --no-backup.")
    if count is not None:
        click.echo(f"Wrote {count} rows to {file} first. {_about_key(settings)}")
    click.echo(f"The database is at revision {tables.REVISION}.")


def _beside(config: Path | None, settings: Settings, name: str) -> Path:
    """The place of a backup that nobody named: beside the SQLite file, else beside the settings."""
    from bot.config.load import settings_files, sqlite_file

    if (made := sqlite_file(settings)) is not None:
        return made.with_name(f"{made.stem}-{name}.backup")
    return settings_files(config)[0].with_name(f"bellcrier-{name}.backup")


def _about_key(settings: Settings) -> str:
    """Where the key is that a backup does not hold."""
    from bot.config.load import made_key_file, present_key

    if settings.secret_key is not None:
        return "It does not hold secret_key: keep that from your settings apart."
    if present_key(settings) is None:
        return "There is no secret key yet."
    return f"It does not hold the secret key, which is in {made_key_file(settings)}: keep that apart."


@db.command("check")
@config_option
@guarded
def db_check(config: Path | None) -> None:
    """Check that the schema fits this version, and that the database and the audit are sound."""
    from bot.storage import schema

    revision, integrity = on_database(config, lambda c: (schema.schema_revision(c), schema.integrity(c)))
    trouble = schema.schema_trouble(revision)
    if trouble is not None:
        fail(trouble)
    if integrity != "ok":
        fail("The database file is damaged. Restore a backup with `bellcrier db restore FILE`.")
    click.echo(f"The database is at revision {revision} and sound.")
    _check_audit(config)


def _check_audit(config: Path | None) -> None:
    from bot.storage.audit_chain import check_chain

    found = on_database(config, check_chain)
    if (broken := found.broken) is not None:
        about = f", about {broken.about}" if broken.about else ""
        fail(
            f"The audit of {broken.workspace} is not as it was written: row {broken.seq} at place "
            f"{broken.place}{about}, {broken.cause}. Compare it with an earlier export or backup."
        )
    rows = sum(head.place for head in found.heads.values())
    waiting = f"; {found.unsealed} more are not sealed yet" if found.unsealed else ""
    click.echo(f"The audit is whole: {rows} rows{waiting}.")
    for workspace, head in sorted(found.heads.items()):
        click.echo(f"  {workspace}: row {head.place} has the hash {head.hash}")


@db.command("backup")
@config_option
@click.option("--with-key", is_flag=True, help="Put the secret key into the file too.")
@click.argument("file", type=FILE)
@guarded
def db_backup(config: Path | None, with_key: bool, file: Path) -> None:
    """Back up everything to FILE, which must not exist yet. The bot may keep running."""
    from bot import backup
    from bot.config.load import present_key
    from bot.domain import clock
    from bot.storage import schema, tables

    if file.exists():
        fail(f"{file} is there already. Choose another name.")
    settings = settings_from(config)
    key = present_key(settings)
    made_under = backup.fingerprint_of(key) if key else None
    included = base64.b64encode(key).decode() if key and with_key else None

    def write(connection: Any) -> tuple[int, str]:
        count = backup.write_backup(connection, file, clock.now(), fingerprint=made_under, secret_key=included)
        return count, schema.schema_revision(connection) or ""

    try:
        count, revision = on_database(config, write)
    except backup.NothingThere:
        fail("There is nothing in the database yet, so there is nothing to back up.")
    about = "It holds the secret key too: whoever has it can read everything." if included else _about_key(settings)
    click.echo(
        f"Wrote {count} rows to {file}. It holds texts, and tokens that only the key opens: keep it safe. {about}"
    )
    if revision > tables.REVISION:
        click.echo(f"{schema.newer(revision)} Only a version that knows {revision} can restore this backup.", err=True)


@db.command("restore")
@config_option
@click.option("--force", is_flag=True, help="Delete what is there.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@guarded
def db_restore(config: Path | None, force: bool, file: Path) -> None:
    """Replace the database with FILE, also one of an older version. Whatever had not ended in it is held."""
    from bot import backup
    from bot.domain import clock

    settings = settings_from(config)
    try:
        head, _ = backup.check_backup(file)
        has_key = _check_key(settings, head, file)

        def restore(connection: Any) -> int:
            return backup.restore_backup(connection, file, clock.now(), force=force, approval=settings.approval)

        count = on_database(config, restore, alone=True)
    except backup.NotABackup as error:
        fail(str(error))
    except backup.NotOurs as error:
        fail(f"The database holds tables of another program ({error}). Give bellcrier a database of its own.")
    except backup.NotEmpty as error:
        fail(f"There are {error} in the database. Back them up, then use --force to delete them.")
    else:
        click.echo(f"Restored {count} rows. Nothing of it goes out by itself: see what is held in Slack.")
        _put_key(settings, head)
        if not has_key:
            click.echo(OTHER_KEY, err=True)


def _check_key(settings: Settings, head: Head, file: Path) -> bool:
    """Whether the secret key of a backup is here, or comes with it. One that is here is never replaced."""
    from bot.backup import fingerprint_of
    from bot.config.load import made_key_file, present_key

    key = present_key(settings)
    if head.fingerprint is None or (key is not None and fingerprint_of(key) == head.fingerprint):
        return True
    if head.secret_key and key is not None:
        place = made_key_file(settings) or "the setting secret_key"
        fail(f"{file} holds another secret key than {place}. Remove that one, then restore again.")
    return head.secret_key is not None


def _put_key(settings: Settings, head: Head) -> None:
    """Put the key that came with a backup beside the database, if there is none."""
    from bot.config.load import made_key_file, present_key, write_key

    path = made_key_file(settings)
    if head.secret_key and path is not None and present_key(settings) is None:
        write_key(path, base64.b64decode(head.secret_key))
        click.echo(f"Wrote its secret key to {path}.")


@click.command()
@config_option
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From the beginning of this day.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Up to the beginning of this day.")
@click.option("--timezone", help="For days and times, such as Europe/Paris. Default: that of the settings.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@guarded
def export(config: Path | None, since: Any, until: Any, timezone: str | None, form: str) -> None:
    """Print the audit in sentences: who did what to which version, and when."""
    from bot import exporting
    from bot.storage import schema

    zone = _zone(timezone or settings_from(config).timezone)
    start, end = (_instant(day, zone) for day in (since, until))
    if start is not None and end is not None and end <= start:
        fail("--until: it must be a later day than --since, and is itself left out.", code=USAGE)

    def write(connection: Any) -> str | None:
        schema.one_snapshot(connection)
        trouble = schema.schema_trouble(schema.schema_revision(connection))
        if trouble is None:
            _print(exporting.exported(connection, start or 0, end, zone), exporting.EXPORTED, form)
        return trouble

    trouble = on_database(config, write)
    if trouble is not None:
        fail(trouble)


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    from bot.domain.hours import all_zones

    if name not in all_zones():
        fail(f"--timezone: {name} is no time zone; write it like Europe/Paris.", code=USAGE)
    return ZoneInfo(name)


def _instant(day: Any, zone: ZoneInfo) -> int | None:
    return None if day is None else int(day.replace(tzinfo=zone).timestamp()) * 1_000_000


def _print(rows: Iterator[dict[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print each row as it comes: there may be very many."""
    import csv
    import json

    from bot.exporting import defused

    if form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows({name: defused(value) for name, value in row.items()} for row in rows)
