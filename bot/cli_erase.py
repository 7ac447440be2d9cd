"""The command that erases what is stored about a number, or what people wrote about a broadcast."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from bot.shell import USAGE, WRONG, config_option, fail, guarded, on_database, settings_from, with_database

if TYPE_CHECKING:
    from bot.storage.database import Database
    from bot.storage.erasure import Found, Traces

COUNTRY = re.compile(r"\D*?([+＋]|00)")  # how a number begins that names its country
BROADCAST = re.compile(r"B[A-Z0-9]{7}")
NAMED = 10  # broadcasts that a line names


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Count what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--workspace", help="The broadcast's workspace (T…), if two have one of this name.")
@click.argument("what")
@guarded
def erase(config: Path | None, dry_run: bool, yes: bool, workspace: str | None, what: str) -> None:
    """Erase a number (+33612345678, or - to type it) or a broadcast (its id). The bot may keep running."""
    if what == "-":
        what = click.prompt("Number", hide_input=True)  # else it stays in the history of the shell
    asked = partial(_confirm, dry_run=dry_run, yes=yes)
    if BROADCAST.fullmatch(what.upper()):
        _erase_broadcast(config, what.upper(), workspace, asked)
    else:
        _erase_number(config, what, asked)


def _confirm(lines: Iterable[str], *, dry_run: bool, yes: bool) -> None:
    for line in lines:
        click.echo(line)
    if dry_run:
        click.echo("Nothing was erased.")
        sys.exit(0)
    if not yes and not click.confirm("Erase it for ever?"):
        fail("Nothing was erased.")


def _nothing(about: str, code: int = WRONG) -> NoReturn:
    fail(about, code=code)
    raise AssertionError  # fail() does not return


def _erase_broadcast(config: Path | None, id: str, workspace: str | None, confirm: partial[None]) -> None:
    from bot.domain import clock
    from bot.storage import erasure, removal

    one = _the_one(on_database(config, partial(erasure.find_broadcast, id=id)), id, workspace)
    ended = one.ended
    if ended is None:
        _nothing(f"{id} still lives. Cancel it, or wait for its final report, then erase it.")
    confirm([f"{id} in {one.workspace}: its text, {one.notes} notes and {one.deliveries} deliveries."])

    async def run(database: Database) -> None:
        await database.write(partial(erasure.erase_broadcast, one=ended, at=clock.now()))
        owner = one.workspace, id
        while await database.write(partial(removal.forget_deliveries, owner=owner)) == removal.AT_ONCE:
            pass

    with_database(config, run)
    click.echo(
        f"Erased {id}. Its digest, its decisions and its counts stay. Delete its card and thread in Slack, and the "
        "backups that were made before."
    )


def _the_one(found: list[Found], id: str, workspace: str | None) -> Found:
    those = [one for one in found if workspace in (None, one.workspace)]
    if not those:
        _nothing(f"There is no broadcast {id}.")
    if len(those) > 1:
        _nothing(f"There is a {id} in {' and in '.join(one.workspace for one in those)}. Use --workspace.")
    return those[0]


def _erase_number(config: Path | None, what: str, confirm: partial[None]) -> None:
    from bot.config.load import present_key
    from bot.domain import clock
    from bot.domain.numbers import hashed_number
    from bot.storage import erasure
    from providers.reading import number_of

    number, key = number_of(what), present_key(settings_from(config))
    if len(number) < 6:
        _nothing("This is neither a number, such as +33612345678, nor the id of a broadcast, such as B7K2QXA.")
    if not COUNTRY.match(what):  # it would be looked for under another number, and not found
        _nothing("Write it with its country, such as +33612345678.", USAGE)
    if key is None:
        _nothing("There is no secret key, by which a number is found. Set secret_key to the one that was in use.")
    found = on_database(config, partial(erasure.find_number, number=number, hashed=hashed_number(key, what)))
    if not (found.rows or found.listed):
        _say_what_stays(found)
        click.echo("Nothing that can be erased is stored about this number.")
        sys.exit(WRONG if found.living else 0)
    confirm([f"{len(found.rows)} deliveries and answers, and {len(found.listed)} lists of recipients."])

    async def run(database: Database) -> None:
        await database.write(partial(erasure.erase_number, number=number, found=found, at=clock.now()), patience=None)

    with_database(config, run)
    click.echo("Erased. The audit says that a number was erased, and not which. Delete the backups made before.")
    _say_what_stays(found)
    sys.exit(WRONG if found.living else 0)


def _say_what_stays(found: Traces) -> None:
    if found.texts:
        click.echo(f"It stands in the text or the thread of {_named(found.texts)}: erase those broadcasts as well.")
    if found.living:
        click.echo(f"{_named(found.living)} still need it: erase it again once they have ended.", err=True)


def _named(owners: list[tuple[str, str]]) -> str:
    more = f" and {len(owners) - NAMED} more" if len(owners) > NAMED else ""
    return ", ".join(id for _, id in owners[:NAMED]) + more
