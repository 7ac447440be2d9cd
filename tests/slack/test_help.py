"""Help in steps, each subcommand with examples that can be pasted, and commands that lack only their quotes."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from bot.app import Bot
from bot.domain.i18n import LANGUAGES, translator_for
from bot.slack.blocks import help
from bot.storage import tables
from sandbox.server import Sandbox
from tests.support.ground import some_later
from tests.support.slack import HERE, ask

CLEO = "U0CLEO"


async def pressed(sandbox: Sandbox, action: str) -> str:
    """What the newest answer says after a press on this button in it."""
    await sandbox.acting.click(CLEO, HERE, sandbox.acting.ephemerals(CLEO)[-1]["ts"], action)
    return str(sandbox.acting.ephemerals(CLEO)[-1])


async def test_help_is_five_lines_and_each_button_answers_in_their_place(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    assert len((await ask(sandbox, "help")).split("\n")) == 5
    answers = len(sandbox.acting.ephemerals(CLEO))
    assert "Soldes demain" in await pressed(sandbox, "broadcast.help.waiting")
    assert "What waits" in await pressed(sandbox, "broadcast.help.start")
    assert "Nothing is planned" in await pressed(sandbox, "broadcast.help.upcoming")
    await pressed(sandbox, "broadcast.help.start")
    assert "reminders" in await pressed(sandbox, "broadcast.help.reminders")
    await pressed(sandbox, "broadcast.help.start")
    assert "`/broadcast template" in await pressed(sandbox, "broadcast.help.all")
    assert len(sandbox.acting.ephemerals(CLEO)) == answers
    await pressed(sandbox, "broadcast.help.start")
    await pressed(sandbox, "home.write")
    assert [view["callback_id"] for view in sandbox.acting.views(CLEO)] == ["broadcast_compose"]


async def test_help_about_one_subcommand_has_all_of_its_options(sandbox: Sandbox, bot: Bot) -> None:
    told = await ask(sandbox, "help send")
    for option in ("at=<when>", "canary=<audience>", "sender=<id>", "campaign=<name>"):
        assert f"`{option}`" in told
    assert "/broadcast send clients marketing Sale from tomorrow" in told
    assert "Did you mean `/broadcast help remind`?" in await ask(sandbox, "help remnid")


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_example_can_be_pasted(sandbox: Sandbox, bot: Bot, language: str) -> None:
    sandbox.world.person(CLEO).locale = f"{language}-{language.upper()}"
    words = translator_for(language)
    for examples in help.EXAMPLES.values():
        for example in examples:
            await sandbox.acting.command(CLEO, HERE, words(example, audience="newsletter"))
            said = sandbox.acting.ephemerals(CLEO)[-1]
            assert words("You typed:") not in str(said), (example, said["text"])


MEANT = {
    "remind tomorrow 9:00 Call the printer": 'remind "tomorrow 9:00" Call the printer',
    "remind demain 9h Appeler 2 fois": 'remind "demain 9h" Appeler 2 fois',
    "remind every friday 16:00 #campaigns Tidy up": 'remind "every friday 16:00" #campaigns Tidy up',
    "every monday 9:00 newsletter transactional Open": 'every "monday 9:00" newsletter transactional Open',
}


@pytest.mark.parametrize("typed", some_later(MEANT))
async def test_a_time_without_quotes_is_asked_about_and_kept_once_after_a_yes(
    sandbox: Sandbox, bot: Bot, typed: str
) -> None:
    async def kept() -> int:
        return int(
            await bot.database.read(
                lambda c: c.execute(select(func.count()).select_from(tables.schedules)).scalar_one()
            )
        )

    told = await ask(sandbox, typed)
    assert told == f"The time needs quotes. Did you mean this?\n/broadcast {MEANT[typed]}"
    assert await kept() == 0
    answer = sandbox.acting.ephemerals(CLEO)[-1]
    (value,) = [e["value"] for b in answer["blocks"] for e in b.get("elements", []) if e.get("action_id")]
    yes = {"type": "button", "value": value}
    for _ in range(2):  # a second press, before Slack has shown what became of the first
        await sandbox.acting.act(CLEO, {"channel": HERE, "ts": answer["ts"]}, "x", "broadcast.meant.yes", yes, {})
    assert await kept() == 1


@pytest.mark.parametrize(
    "typed",
    ["remind Call the printer", "every newsletter Hello", "remind tomorrow 9:00", "every monday 9:00 nobody Hello"],
)
async def test_nothing_is_guessed_where_no_time_and_no_audience_is_named(
    sandbox: Sandbox, bot: Bot, typed: str
) -> None:
    assert (await ask(sandbox, typed)).startswith("Write it like this:")
