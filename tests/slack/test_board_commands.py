"""`/broadcast schedules` and `reminders`: boards whose buttons do what they say, for whoever may."""

from __future__ import annotations

import json
import re

import pytest

from bot.app import Bot
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import ScheduleAction, ScheduleState
from bot.domain.schedule import Kind, Schedule
from bot.slack.commands.boards import LISTED, Asked, Step
from bot.storage import schedules
from bot.storage.listings import Place
from sandbox.server import Sandbox
from tests.support.slack import HERE, ask

ANA, CLEO, DAN = "U0ANA", "U0CLEO", "U0DAN"


def answer(sandbox: Sandbox, user: str) -> str:
    return json.dumps(sandbox.acting.ephemerals(user)[-1]["blocks"], ensure_ascii=False)


async def press(sandbox: Sandbox, user: str, name: str) -> None:
    await sandbox.acting.click(user, HERE, sandbox.acting.ephemerals(user)[-1]["ts"], f"broadcast.board.{name}")


async def known(bot: Bot, kind: Kind = Kind.REMINDER) -> list[Schedule]:
    return await bot.database.read(lambda c: schedules.listed(c, "T0BELL", kind))


@pytest.mark.long
async def test_the_buttons_pause_resume_and_end_in_place(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, 'remind "every monday 9:00" Factures')
    await ask(sandbox, "reminders")
    assert re.search(r"Active · \*B\w{7}\* .*<!date\^", answer(sandbox, CLEO))
    count = len(sandbox.acting.ephemerals(CLEO))
    for name, told, state in (
        ("pause", "is paused.", ScheduleState.PAUSED),
        ("resume", "has resumed. The next one is <!date", ScheduleState.ACTIVE),
    ):
        await press(sandbox, CLEO, name)
        await sandbox.until(lambda told=told: told in answer(sandbox, CLEO))  # type: ignore[misc]
        assert [one.state for one in await known(bot)] == [state]
    await press(sandbox, CLEO, "stop")
    await sandbox.until(lambda: "has ended." in answer(sandbox, CLEO))
    assert await known(bot) == []
    assert "There are no reminders yet." in answer(sandbox, CLEO)
    assert len(sandbox.acting.ephemerals(CLEO)) == count


@pytest.mark.long
async def test_a_press_on_a_board_that_is_out_of_date_or_by_somebody_else_changes_nothing(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, 'remind "every monday 9:00" Factures')
    await ask(sandbox, "reminders")
    (before,) = await known(bot)
    await ask(sandbox, f"pause {before.id}")
    board = next(one for one in sandbox.acting.ephemerals(CLEO) if "broadcast.board.stop" in str(one["blocks"]))
    await sandbox.acting.click(CLEO, HERE, board["ts"], "broadcast.board.stop")
    assert "has changed in the meantime" in sandbox.acting.ephemerals(CLEO)[-1]["text"]
    await ask(sandbox, "reminders", user=DAN)
    await press(sandbox, DAN, "stop")
    assert f"can change {before.id}" in sandbox.acting.ephemerals(DAN)[-1]["text"]
    assert [one.state for one in await known(bot)] == [ScheduleState.PAUSED]


@pytest.mark.long
async def test_pages_hold_each_schedule_once(sandbox: Sandbox, bot: Bot) -> None:
    for number in range(LISTED + 3):
        await ask(sandbox, f'remind "every monday 9:0{number % 10}" Factures {number}')
    await ask(sandbox, "reminders")
    seen = re.findall(r"\*(B\w{7})\*", answer(sandbox, CLEO))
    await press(sandbox, CLEO, "next")
    await sandbox.until(lambda: "broadcast.board.first" in answer(sandbox, CLEO))
    seen += re.findall(r"\*(B\w{7})\*", answer(sandbox, CLEO))
    assert (len(seen), len(set(seen))) == (LISTED + 3, LISTED + 3)
    assert "broadcast.board.next" not in answer(sandbox, CLEO)


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('remind "every monday 9:00" Factures', Kind.REMINDER),
        ('every "every monday 9:00" clients marketing Soldes', Kind.BROADCAST),
    ],
)
async def test_the_same_again_is_asked_about_before_it_is_kept(
    sandbox: Sandbox, bot: Bot, line: str, kind: Kind
) -> None:
    await ask(sandbox, line, user=ANA)
    told = await ask(sandbox, line)
    assert f"The same is there already, from <@{ANA}>" in told
    assert [one.owner for one in await known(bot, kind)] == [ANA]
    await sandbox.acting.click(CLEO, HERE, sandbox.acting.ephemerals(CLEO)[-1]["ts"], "broadcast.keep_both.yes")
    assert sorted(one.owner for one in await known(bot, kind)) == [ANA, CLEO]
    await sandbox.until(lambda: "The same is there" not in answer(sandbox, CLEO))


@pytest.mark.long
async def test_another_text_time_or_channel_is_not_the_same_and_also_keeps_both(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, 'remind "every monday 9:00" Factures', user=ANA)
    for line in ('remind "every monday 9:01" Factures', 'remind "every monday 9:00" Facture'):
        assert "The same" not in await ask(sandbox, line)
    assert "The same" in await ask(sandbox, 'remind "every monday 9:00" Factures')
    assert "The same" not in await ask(sandbox, 'remind "every monday 9:00" also=yes Factures')
    assert len(await known(bot)) == 4


@pytest.mark.parametrize(
    "value",
    [
        *("", "null", "[]", "{}", '["broadcast"]', '["x", null, null]', '["broadcast", [1], null]', "[" * 100_000),
        *('["broadcast", null, ["levitate", "B1", 1]]', '["reminder", null, ["finish", "B1", 1]]', "[[], null, null]"),
    ],
)
def test_a_value_that_is_none_of_ours_does_nothing(value: str) -> None:
    with pytest.raises(NotAllowed):
        Asked.of(value)


def test_a_value_is_read_as_it_was_written() -> None:
    step = Step(ScheduleAction.PAUSE, "B234679", 3)
    for asked in (Asked(Kind.BROADCAST), Asked(Kind.REMINDER, Place(7, "B1")), Asked(Kind.REMINDER, None, step)):
        assert Asked.of(asked.value()) == asked
