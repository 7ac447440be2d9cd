"""What all commands of the shell share: the settings, a database, and one sentence where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bot.config.settings import Settings
    from bot.storage.database import Database

FINE, WRONG, USAGE = 0, 1, 2


def fail(*lines: str, code: int = WRONG) -> None:
    """Print what is wrong, one line each, and exit."""
    for line in lines:
        click.echo(f"bellcrier: {line}", err=True)
    sys.exit(code)


def settings_from(path: Path | None) -> Settings:
    from bot.config.load import load
    from bot.config.settings import SettingsError

    try:
        return load(path)
    except SettingsError as error:
        fail(*error.lines, code=USAGE)
        raise AssertionError from None  # fail() does not return


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that it never ends in a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            _explain(error)

    return run


def _explain(error: Exception) -> None:
    from bot.config.settings import SettingsError
    from bot.logs import placed

    if isinstance(error, SettingsError):
        fail(*error.lines, code=USAGE)
    if type(error).__name__ in ("CannotStart", "Unusable"):
        fail(str(error))
    if type(error).__name__ == "DatabaseRefuses":
        fail(f"The database does not let the bot in: {error}. Check DATABASE_URL.")
    if type(error).__name__ in ("DatabaseBusy", "OutOfOrder", "CommitUncertain"):
        fail(f"The database did not take it ({error or 'the connection broke'}). See what it holds, then try again.")
    if type(error).__name__ == "AlreadyDispatching":
        fail("A bellcrier runs on this database. Stop it first.")
    if isinstance(error, OSError) and error.strerror:
        fail(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    fail(f"Something unexpected happened: {placed(error)}")


NEAREST = "bellcrier.config"


def _nearest(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Return the value nearest to the command: after it, else after its group, else before both."""
    if path is not None:
        context.meta[NEAREST] = path  # groups and their commands share it
    found: Path | None = context.meta.get(NEAREST)
    return found


def _config(expose: bool) -> Callable[..., Any]:
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        callback=_nearest,
        expose_value=expose,
        help="The settings file. Default: bellcrier.toml here.",
    )


config_option = _config(True)
group_config_option = _config(False)


def on_database(config: Path | None, work: Callable[[Any], Any], *, alone: bool = False, makes: bool = False) -> Any:
    """Run `work` in one transaction.

    `alone`: it writes, and no bot may run on the same SQLite file. `makes`: there need not be a database yet.
    """

    async def run(database: Database) -> Any:
        return await (database.write if alone else database.read)(work, patience=None)

    return with_database(config, run, alone=alone, makes=makes)


def with_database(
    config: Path | None, work: Callable[[Database], Awaitable[Any]], *, alone: bool = False, makes: bool = False
) -> Any:
    """Open the database of the settings for `work`, which may take as long as it needs."""
    import asyncio

    from bot.config.load import sqlite_file
    from bot.storage import engines

    settings = settings_from(config)
    file = sqlite_file(settings)
    if file is not None and not file.exists() and not (alone or makes):
        named = settings.written().named(("database_url",))
        fail(f"{named}: there is no database {file}. Name another, or make it with `bellcrier db upgrade`.", code=USAGE)

    async def run() -> Any:
        opened = engines.open_database(settings.database_url)
        try:
            if alone:
                opened.claim_dispatch()
            return await work(opened)
        finally:
            await opened.close()

    return asyncio.run(run())
