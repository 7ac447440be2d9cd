"""The demo: the weather at the vendors, a clock that moves, a bot that is killed, and what survives a restart."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, select, update

from bot.domain.clock import SECOND, now, steady
from bot.on_stage import DemoClock, put_off_no_more
from bot.storage import keys
from bot.storage.tables import broadcasts
from sandbox.moved_clock import FARTHEST, MovedClock
from sandbox.vendors.ledger import Accepted, rings
from sandbox.world import SlackError
from tests.support.core import Core
from tests.support.demo import Demo, running_demo
from tests.support.ground import free_port
from tests.support.patience import quiet, until
from tests.support.shell import Shell

PARIS = "Europe/Paris"


def rang(label: str, vendor: str = "encom", text: str = "Soldes") -> Accepted:
    return Accepted(vendor, "list 1", text, "marketing", None, ("22",), label, 0.0, 2)


LEDGERS = {
    "one broadcast": ([rang("B2345AB-1-1")], [1]),
    "two broadcasts with the same text": ([rang("B2345AB-1-1"), rang("B2345AC-1-1")], [1, 1]),
    "a second attempt at the same": ([rang("B2345AB-1-1"), rang("B2345AB-1-2")], [2]),
    "the same again in another version": ([rang("B2345AB-1-1"), rang("B2345AB-2-1", text="Soldes !")], [2]),
    "a vendor that takes no names": ([rang("", "kaizala"), rang("", "kaizala"), rang("", "kaizala", "Hi")], [1, 2]),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_the_ledger_counts_how_often_the_phones_rang_for_each_broadcast(name: str) -> None:
    ledger, times = LEDGERS[name]
    assert [told["times"] for told in rings(ledger)] == times


@pytest.mark.parametrize("zone", [PARIS, "America/New_York", "Asia/Kathmandu"])
def test_the_clock_goes_where_a_person_in_this_zone_means(zone: str) -> None:
    clock = MovedClock()
    clock.move("monday", zone)
    first = datetime.fromtimestamp(clock(), ZoneInfo(zone))
    assert (first.weekday(), first.hour, first.minute) == (0, 8, 0)
    clock.move("monday", zone)
    again = datetime.fromtimestamp(clock(), ZoneInfo(zone))
    assert ((again.date() - first.date()).days, again.hour) == (7, 8)
    clock.move("tomorrow", zone)
    then = datetime.fromtimestamp(clock(), ZoneInfo(zone))
    assert ((then.date() - again.date()).days, then.hour) == (1, 9)
    clock.move("hour", zone)
    assert datetime.fromtimestamp(clock(), ZoneInfo(zone)).hour == 10
    clock.move("now", zone)
    assert abs(clock() - datetime.now(UTC).timestamp()) < 60


def test_the_clock_goes_no_farther_than_a_year_and_nowhere_else() -> None:
    clock = MovedClock()
    clock.ahead = FARTHEST
    with pytest.raises(SlackError, match="more than a year"):
        clock.move("tomorrow", PARIS)
    assert clock.ahead == FARTHEST
    with pytest.raises(SlackError, match="does not go there"):
        clock.move("yesterday", PARIS)


def test_ahead_the_bots_two_clocks_go_together_and_back_only_the_wall_clock_does() -> None:
    clock = DemoClock(3600)
    assert abs(clock.now() - now() - 3600 * SECOND) < 60 * SECOND
    clock.move(7200)
    assert abs(clock.steady() - steady() - 3600) < 60
    clock.move(0)
    assert abs(clock.now() - now()) < 60 * SECOND
    assert abs(clock.steady() - steady() - 3600) < 60


async def test_back_in_time_nothing_waits_to_be_shown_or_tried_but_what_starts_later_still_does(core: Core) -> None:
    row, monday = await core.ask(), core.now + 86_400 * SECOND
    later = keys.Breaker(keys.BREAKER_FAILURES, monday)

    def leave(connection: Connection) -> None:
        connection.execute(update(broadcasts).values(draw_at=monday, look_at=monday, due=monday))
        keys.set_breaker(connection, "encom", later, monday)

    await core.database.write(leave)
    await core.database.write(lambda connection: put_off_no_more(connection, core.now))
    columns = (broadcasts.c.draw_at, broadcasts.c.look_at, broadcasts.c.due)
    found = await core.database.read(lambda c: c.execute(select(*columns).where(broadcasts.c.id == row.id)).one())
    assert tuple(found) == (core.now, core.now, monday)
    assert not (await core.database.read(lambda c: keys.breaker(c, "encom"))).has_tripped


# --- the whole demo --------------------------------------------------------------------------------------------------


@pytest.fixture
async def demo(shell: Shell) -> AsyncIterator[Demo]:
    async with running_demo(shell) as opened:
        yield opened


AUDIENCES = {"encom": "clients", "octopush": "newsletter", "kaizala": "staff"}


async def send_in(demo: Demo, vendor: str, kind: str) -> str:
    """Have a broadcast approved in this weather, and return its text."""
    text = f"{vendor} {kind}"
    assert (await demo.do("weather", vendor=vendor, kind=kind))["ok"]
    await demo.ask(text, AUDIENCES[vendor])
    await demo.press(text, "broadcast.approve")
    return text


@pytest.mark.long
@pytest.mark.parametrize("vendor", AUDIENCES)
async def test_each_weather_does_what_its_name_says(demo: Demo, vendor: str) -> None:
    text = await send_in(demo, vendor, "slow")
    await until(lambda: demo.rang(text))
    await until(lambda: demo.says(text, "accepted it"))

    text = await send_in(demo, vendor, "lost")
    await until(lambda: demo.can(text, "broadcast.mark_sent"))
    assert await demo.rang(text) == 1
    await demo.press(text, "broadcast.mark_sent")
    await until(lambda: _cannot(demo, text, "broadcast.mark_sent"))

    text = await send_in(demo, vendor, "login")
    await until(lambda: demo.says(text, "Failed"))
    assert await demo.rang(text) == 0

    text = await send_in(demo, vendor, "away")
    await until(lambda: demo.says(text, "Nothing was sent. The bot will try again"))
    assert await demo.rang(text) == 0
    await demo.do("weather", vendor=vendor, kind="works")
    await until(lambda: demo.rang(text))
    assert [told["times"] for told in (await demo.stage())["ledger"]] == [1, 1, 1]


@pytest.mark.long
@pytest.mark.parametrize("vendor", AUDIENCES)
async def test_a_vendor_that_answers_503_rings_no_phone_until_it_works(demo: Demo, vendor: str) -> None:
    text = await send_in(demo, vendor, "503")
    await until(lambda: demo.says(text, "503"))
    assert await demo.rang(text) == 0
    wrong = await demo.do("weather", vendor=vendor, kind="hail")
    assert wrong["error"] == "There is no such vendor, or no such weather."


@pytest.mark.long
async def test_what_proves_that_it_went_out_arrives_when_the_weather_is_fine_again(demo: Demo) -> None:
    text = await send_in(demo, "encom", "lost")
    await until(lambda: demo.can(text, "broadcast.mark_sent"))
    await demo.do("weather", vendor="encom", kind="works")
    await until(lambda: _cannot(demo, text, "broadcast.mark_sent"))
    assert await demo.rang(text) == 1


@pytest.mark.long
async def test_killed_in_the_middle_of_a_slow_call_it_says_unknown_and_sends_nothing_again(demo: Demo) -> None:
    text = await send_in(demo, "encom", "slow")
    await until(lambda: demo.says(text, "It is going out now."))
    await demo.do("bot", do="kill")
    await until(lambda: demo.rang(text))  # the vendor goes on without the bot
    await demo.do("bot", do="start")
    await until(lambda: demo.can(text, "broadcast.mark_sent"))
    await quiet()
    assert await demo.rang(text) == 1


async def _cannot(demo: Demo, text: str, action: str) -> bool:
    return not await demo.can(text, action)


@pytest.mark.long
async def test_what_waits_for_monday_goes_out_when_the_clock_says_monday_and_going_back_breaks_nothing(
    demo: Demo,
) -> None:
    await demo.do("message", channel="C0CAMPAIGNS", text='/broadcast send clients marketing at="monday 8:00" Morning')
    await until(lambda: demo.can("Morning", "broadcast.approve"))
    await demo.press("Morning", "broadcast.approve")
    await until(lambda: _cannot(demo, "Morning", "broadcast.approve"))
    await quiet()
    assert await demo.rang("Morning") == 0

    await demo.do("clock", to="monday")
    await until(lambda: demo.rang("Morning"))
    assert await demo.can("Morning", "broadcast.send_now") is False

    await demo.ask("Asked on Monday")
    await demo.do("clock", to="now")
    await demo.press("Asked on Monday", "broadcast.approve")
    await until(lambda: demo.rang("Asked on Monday"))
    await until(lambda: demo.says("Asked on Monday", "Ids: "))
    await demo.ask("Back again")
    await demo.press("Back again", "broadcast.approve")
    await until(lambda: demo.rang("Back again"))
    assert [await demo.rang(text) for text in ("Morning", "Back again")] == [1, 1]
    assert (await demo.do("clock", to="yesterday"))["error"] == "The clock does not go there."


@pytest.mark.long
async def test_killed_in_the_undo_window_and_started_again_it_sends_once(demo: Demo) -> None:
    await demo.ask("Once")
    await demo.press("Once", "broadcast.approve")
    killed = (await demo.stage())["bot"]["pid"]
    assert (await demo.do("bot", do="kill"))["ok"]
    with pytest.raises(ProcessLookupError):
        os.kill(killed, 0)
    assert (await demo.stage())["bot"]["state"] == "killed"
    assert (await demo.do("bot", do="kill"))["error"] == "The bot does not run."
    assert await demo.rang("Once") == 0

    assert (await demo.do("bot", do="start"))["ok"]
    assert (await demo.do("bot", do="start"))["error"] == "The bot runs already."
    await until(lambda: demo.rang("Once"))
    await quiet()
    assert await demo.rang("Once") == 1


@pytest.mark.long
async def test_the_workspace_and_the_ledgers_survive_a_restart_and_fresh_begins_anew(shell: Shell) -> None:
    async with running_demo(shell) as first:
        await first.ask("Kept")
        await first.do("message", channel="C0CAMPAIGNS", text="Hello all")
        await first.press("Kept", "broadcast.approve")
        await until(lambda: first.rang("Kept"))
        await until(lambda: first.says("Kept", "Ids: 22, 23"))
        before = await first.read("channel", id="C0CAMPAIGNS")
        await first.stop()
    async with running_demo(shell) as second:
        assert [m["ts"] for m in (await second.read("channel", id="C0CAMPAIGNS"))["messages"]] == [
            m["ts"] for m in before["messages"]
        ]
        assert await second.rang("Kept") == 1
        await second.ask("Asked later")
        await second.press("Asked later", "broadcast.approve")
        await until(lambda: second.says("Asked later", "Ids: 24, 25"))  # the vendor counts on
        await second.stop()
    async with running_demo(shell, "--fresh") as third:
        assert (await third.read("channel", id="C0CAMPAIGNS"))["messages"] == []
        assert (await third.stage())["ledger"] == []


@pytest.mark.long
async def test_a_damaged_memory_is_named_with_the_fix(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "bellcrier-workspace.json").write_text('{"world": 1')
    code, said = await (await shell("demo", "--data", str(data))).ends()
    assert code == 1
    assert "bellcrier-workspace.json is damaged. Begin anew with --fresh." in said


@pytest.mark.long
async def test_two_demos_do_not_share_a_folder(demo: Demo, shell: Shell) -> None:
    await demo.ask("Kept")
    code, said = await (await shell("demo", "--port", str(free_port()), "--fresh")).ends()
    assert code == 1
    assert "A demo runs in .bellcrier/demo already. Stop it, or choose another folder with --data." in said
    assert await demo.card("Kept")


@pytest.mark.long
async def test_ctrl_c_while_the_bot_starts_ends_both(shell: Shell) -> None:
    port = free_port()
    running = await shell("demo", "--port", str(port))

    async def listens() -> bool:
        with suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return True
        return False

    await until(listens)
    running.process.send_signal(signal.SIGINT)
    assert await running.ends() == (0, "")


@pytest.mark.long
async def test_no_bot_is_left_when_the_demo_is_killed(demo: Demo) -> None:
    bot = (await demo.stage())["bot"]["pid"]
    demo.running.process.send_signal(signal.SIGKILL)
    await demo.running.process.wait()

    def gone() -> bool:
        try:
            os.kill(bot, 0)
        except ProcessLookupError:
            return True
        return False

    await until(gone)
