"""The bot among strangers: where it listens, and a minute in a crowd."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.server import Sandbox
from tests.support.patience import SCALE, Machine, until
from tests.support.running import process, running_bot, told
from tests.support.slack import approved, ask, thread_text

A_SECOND, SECONDS = 50, 60
ACKNOWLEDGED = 1.0  # seconds, at most
EVERYWHERE = "0.0.0.0"  # noqa: S104
PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
#: Where they come from; how many hold an idle connection, how many a dripping one, and how many ask without a pause.
CROWDS = {
    "through a proxy": (PROXY, 2000, 200, 0),
    "of one stranger": (STRANGER, 2000, 200, 0),
    "that asks for what it may not have": (STRANGER, 0, 0, 20),
}


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("case", CROWDS)
async def test_a_crowd_keeps_nobody_from_commands_approvals_and_sends(
    http_sandbox: Sandbox, bot_port: int, tmp_path: Path, case: str
) -> None:
    address, idle, dripping, asking = CROWDS[case]
    taken: list[float] = []

    async def command(due: float) -> None:
        await asyncio.sleep(due - time.monotonic())
        began = time.monotonic()
        assert await ask(http_sandbox, "list") != "", "not acknowledged"
        taken.append(time.monotonic() - began)

    async with (
        running_bot(http_sandbox, bot_port, tmp_path),
        process("tests.support.crowd", address, *map(str, (bot_port, idle, dripping, asking))) as crowd,
    ):
        most = int(await told(crowd))
        with Machine() as machine:
            began = time.monotonic()
            commands = [asyncio.create_task(command(began + n / A_SECOND)) for n in range(A_SECOND * SECONDS)]
            posted = await approved(http_sandbox)
            await asyncio.gather(*commands)
        assert crowd.stdin is not None
        crowd.stdin.close()
        closed, answers = map(int, (await told(crowd)).split())
        await until(lambda: "22, 23" in thread_text(http_sandbox, posted["ts"]))
    assert len(http_sandbox.vendors.ledger) == 1
    assert thread_text(http_sandbox, posted["ts"]).count("22, 23") == 1
    middle, longest = sorted(taken)[len(taken) // 2], max(taken)
    told_of = f"{most} at once, {closed} closed, {answers} answers; acknowledged after {middle:.3f} s, {longest:.3f} s"
    print(told_of)  # noqa: T201 - pytest shows it with a failure
    assert (most >= idle, closed > idle, answers >= asking * SECONDS) == (True, True, True)
    assert longest < ACKNOWLEDGED * machine.slower * SCALE, f"{machine.slower:.1f} times slower"


@pytest.mark.long
@pytest.mark.parametrize(
    ("over_http", "host", "place", "others"),
    [(False, None, "127.0.0.1", 0), (True, None, EVERYWHERE, 1), (False, EVERYWHERE, EVERYWHERE, 1)],
)
async def test_in_socket_mode_only_this_machine_reaches_it_if_nothing_else_is_said(
    sandbox: Sandbox, bot_port: int, tmp_path: Path, over_http: bool, host: str | None, place: str, others: int
) -> None:
    changes = {"host": host} if host else {}
    if over_http:
        sandbox.delivery.events_url = f"http://127.0.0.1:{bot_port}/slack/events"
    async with running_bot(sandbox, bot_port, tmp_path, **changes) as listening:
        assert listening == f"http://{place}:{bot_port}"
        reached = []
        for address in ("127.0.0.1", "127.0.0.2"):  # as far as 127.0.0.1 is concerned, another machine's
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection(address, bot_port)
                writer.close()
                reached.append(address)
        assert len(reached) == 1 + others
