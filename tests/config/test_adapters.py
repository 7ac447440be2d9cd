"""Third-party adapters that loop, lie, hang, raise, exit and return whatever they like.

The tests show what they can do to other broadcasts and to their own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web
from click.testing import CliRunner
from sqlalchemy import select

from bot.adapters import all_placeholders
from bot.cli import main
from bot.config.accounts import Account
from bot.config.adapter_values import evidence_of, receipt_of
from bot.config.settings import SettingsError
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.sending.dispatcher import Dispatcher
from bot.storage import broadcasts, keys, tables
from bot.workflow.decision_types import Approve
from providers import registry
from providers.base import AccountSettings, Callback, DeliveryStatus, Evidence, Message, Receipt
from sandbox.server import Sandbox
from tests.support.core import TEAM, Core, MakeCore, approver
from tests.support.ground import StartBot, free_port
from tests.support.patience import until, within
from tests.support.slack import HERE, ask, card, thread_text

PACKAGE = Path(__file__).parent.parent / "outside" / "bellcrier_mischief.py"


class Office:
    """Mischief's side of the wire: what it was asked to send, and what it took."""

    def __init__(self) -> None:
        self.port, self.asked, self.taken = free_port(), list[str](), list[tuple[str, str]]()
        self.statuses: dict[str, int] = {}  # by recipient

    async def send(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["to"])
        if body["to"] == "slow":
            await asyncio.sleep(1)  # longer than its caller waits
        status = self.statuses.get(body["to"], 201)
        if status == 201:
            self.taken.append((body["reference"].split("-")[0], body["to"]))
        return web.json_response({}, status=status)

    async def send_by_get(self, request: web.Request) -> web.Response:
        to = request.match_info["to"]
        status = self.statuses.get(to, 201)
        if status == 201:
            self.taken.append((request.query["reference"].split("-")[0], to))
        return web.json_response({}, status=status)

    async def token(self, request: web.Request) -> web.Response:
        return web.json_response({})


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made, site = Office(), web.Application()
    site.router.add_post("/{tail:.*}send", made.send)
    site.router.add_get("/send/{to}", made.send_by_get)
    site.router.add_get("/token", made.token)
    runner = web.AppRunner(site, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as pip would leave it."""
    folder = tmp_path / "site"
    (folder / "bellcrier_mischief-1.0.dist-info").mkdir(parents=True)
    shutil.copy(PACKAGE, folder)
    (folder / "bellcrier_mischief-1.0.dist-info" / "METADATA").write_text("Name: bellcrier-mischief\nVersion: 1.0\n")
    entries = folder / "bellcrier_mischief-1.0.dist-info" / "entry_points.txt"
    entries.write_text("[bellcrier.providers]\nmischief = bellcrier_mischief:Mischief\n")
    monkeypatch.syspath_prepend(str(folder))
    registry.providers.cache_clear()
    yield entries
    registry.providers.cache_clear()
    sys.modules.pop("bellcrier_mischief", None)


def settings_for(office: Office, behaviour: str, path: str = "") -> dict[str, Any]:
    return {
        "accounts.mischief": {
            "provider": "mischief",
            "base_url": f"http://127.0.0.1:{office.port}{path}",
            "behaviour": behaviour,
            "timeout": 1.5,
            "requests_per_second": 1000,
        },
        "audiences.fans": {"account": "mischief", "kind": "list", "id": "L7", "policy": "always", "max_size": 10},
    }


MakeMischief = Callable[..., Core]


@pytest.fixture
def mischievous(installed: Path, office: Office, make_core: MakeCore) -> MakeMischief:
    def make(behaviour: str, path: str = "") -> Core:
        return make_core(**settings_for(office, behaviour, path))

    return make


def dispatcher_of(core: Core) -> Dispatcher:
    return core.dispatcher("one", margin=1.0)  # twice the seconds that an answer may take beyond the timeout


async def tick_on(core: Core, dispatcher: Dispatcher, seconds: int = 400) -> None:
    """Let time pass, so that every retry runs."""
    for _ in range(4):
        await core.run(dispatcher)
        core.now += seconds // 4 * SECOND


async def lived(core: Core, dispatcher: Dispatcher) -> tuple[Broadcast, Broadcast]:
    """Run one broadcast of the mischievous account and one of another, and return how both end."""
    theirs, other = await core.approved(audience="fans", text="Hello"), await core.approved()
    await tick_on(core, dispatcher)
    return await core.row(theirs.id), await core.row(other.id)


async def said_of(core: Core, row: Broadcast) -> str:
    """Return all notes of a broadcast's thread as one text."""
    ours = select(tables.notes.c.sentence).where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    found = await core.database.read(lambda c: list(c.execute(ours).scalars()))
    return " ".join(str(Translatable.of(sentence)) for sentence in found)


THIRD_IS_TOO_FAST, FOURTH_IS_REFUSED, THIRD_IS_AWAY = {"C3": 429}, {"C4": 400}, {"C3": 503}

#: What the adapter does, how its vendor answers some recipients, the state it must end in, and what people read.
MISCHIEF: dict[str, tuple[str, dict[str, int], State, str]] = {
    "loops into a 429": ("loops", THIRD_IS_TOO_FAST, State.UNKNOWN, "tried to send it twice"),
    "loops into a 400": ("loops", FOURTH_IS_REFUSED, State.UNKNOWN, "tried to send it twice"),
    "loops": ("loops", {}, State.UNKNOWN, "tried to send it twice"),
    "loops for longer than its time": ("loops_slowly", {}, State.UNKNOWN, "tried to send it twice"),
    "loops and hides it": ("loops_and_hides_it", {}, State.UNKNOWN, "tried to send it twice"),
    "tries again itself": ("tries_again_itself", THIRD_IS_TOO_FAST, State.UNKNOWN, "tried to send it twice"),
    "undeclared, into a 429": ("loops_undeclared", THIRD_IS_TOO_FAST, State.UNKNOWN, "may have gone out"),
    "undeclared, into a 400": ("loops_undeclared", FOURTH_IS_REFUSED, State.UNKNOWN, "may have gone out"),
    "own road, into a 429": ("loops_on_a_road_of_its_own", THIRD_IS_TOO_FAST, State.UNKNOWN, "may have gone out"),
    "own road, into a 400": ("loops_on_a_road_of_its_own", FOURTH_IS_REFUSED, State.UNKNOWN, "may have gone out"),
    "own road, into a 503": ("loops_on_a_road_of_its_own", THIRD_IS_AWAY, State.UNKNOWN, "may have gone out"),
    "own road, asked once": (
        "asks_once_and_loops_on_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "may have gone out",
    ),
    "sends and says too fast": ("sends_and_says_too_fast", {}, State.UNKNOWN, "may have gone out"),
    "sends and says not ready": ("sends_and_says_not_ready", {}, State.UNKNOWN, "may have gone out"),
    "sends and says away": ("sends_and_says_away", {}, State.UNKNOWN, "may have gone out"),
    "sends alone and says no": ("sends_alone_and_says_no", {}, State.UNKNOWN, "may have gone out"),
    "sends alone and says blocked": ("sends_alone_and_says_blocked", {}, State.UNKNOWN, "may have gone out"),
    "exits": ("exits", {}, State.UNKNOWN, "hit an error while it was sending"),
    "interrupts": ("interrupts", {}, State.UNKNOWN, "hit an error while it was sending"),
    "cancels itself": ("cancels_itself", {}, State.UNKNOWN, "hit an error while it was sending"),
    "breaks": ("breaks", {}, State.UNKNOWN, "hit an error while it was sending"),
    "hangs": ("hangs", {}, State.UNKNOWN, "may have gone out"),
    "hangs and is deaf": ("hangs_deaf", {}, State.UNKNOWN, "may have gone out"),
    "blocks": ("blocks", {}, State.UNKNOWN, "may have gone out"),
    "ends by a callback": ("ends_by_a_callback", {}, State.SENT, "accepted it. Ids: C1"),
    "waits for years": ("waits_for_years", THIRD_IS_TOO_FAST, State.SCHEDULED, "will try again"),
    "waits for no number": ("waits_for_no_number", THIRD_IS_TOO_FAST, State.SCHEDULED, "will try again"),
    "speaks in braces": ("speaks_in_braces", {}, State.FAILED, "{nobody} {0} {"),
    "returns nothing": ("returns_nothing", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns no ids": ("returns_no_ids", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns an empty id": ("returns_an_empty_id", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns a long id": ("returns_a_long_id", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns numbers": ("returns_numbers", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns bells": ("returns_bells", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "returns a text for ids": (
        "returns_a_text_for_ids",
        {},
        State.UNKNOWN,
        "mischief (bellcrier-mischief) did not return",
    ),
    "returns another time": ("returns_another_time", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "by GET, into a 429": ("loops_by_get", THIRD_IS_TOO_FAST, State.UNKNOWN, "may have gone out"),
    "by GET, into a 400": ("loops_by_get", FOURTH_IS_REFUSED, State.UNKNOWN, "may have gone out"),
    "vault, own road, into a 429": (
        "reads_its_vault_and_loops_on_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "may have gone out",
    ),
    "login, own road, into a 503": (
        "logs_in_and_loops_on_a_road_of_its_own",
        THIRD_IS_AWAY,
        State.UNKNOWN,
        "may have gone out",
    ),
    "own road, answered for": (
        "asks_and_answers_for_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "tried to send it twice",
    ),
    "undeclared, given up": ("gives_up_undeclared", THIRD_IS_TOO_FAST, State.UNKNOWN, "may have gone out"),
    "threads at once": ("loops_in_threads_at_once", {}, State.UNKNOWN, "tried to send it twice"),
    "ids that raise": ("returns_ids_that_raise", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "ids that exit": ("returns_ids_that_exit", {}, State.UNKNOWN, "mischief (bellcrier-mischief) did not return"),
    "ids that block": ("returns_ids_that_block", {}, State.UNKNOWN, "may have gone out"),
    "ids without end": ("returns_endless_ids", {}, State.SENT, "accepted it. Ids: C1"),
    "raises what cannot be read": (
        "raises_what_cannot_be_read",
        {},
        State.UNKNOWN,
        "mischief (bellcrier-mischief) did not return",
    ),
    "sends and finds no trace": ("sends_and_finds_no_trace", {}, State.UNKNOWN, "may have gone out"),
    "sends and finds another": ("sends_and_finds_another", {}, State.UNKNOWN, "may have gone out"),
    "look-up in vain, own road, into a 429": (
        "looks_in_vain_and_loops_on_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "may have gone out",
    ),
    "as if harmless, into a 429": ("loops_as_if_harmless", THIRD_IS_TOO_FAST, State.UNKNOWN, "may have gone out"),
    "as if harmless, into a closed door": (
        "loops_as_if_harmless_into_a_closed_door",
        {},
        State.UNKNOWN,
        "may have gone out",
    ),
    "says that it was not processed": (
        "says_that_it_was_not_processed",
        {},
        State.UNKNOWN,
        "tried to send it twice",
    ),
    "lets itself go": ("lets_itself_go", {}, State.UNKNOWN, "tried to send it twice"),
    "hides a 429": ("hides_that_it_failed", THIRD_IS_TOO_FAST, State.UNKNOWN, "the bot saw no such answer"),
    "hides a 503": ("hides_that_it_failed", THIRD_IS_AWAY, State.UNKNOWN, "the bot saw no such answer"),
    "releasing, own road, into a 429": (
        "says_that_it_releases_on_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "may have gone out",
    ),
    "releasing, own road, into a 503": (
        "says_that_it_releases_on_a_road_of_its_own",
        THIRD_IS_AWAY,
        State.UNKNOWN,
        "may have gone out",
    ),
    "own road, only its 429 told": (
        "tells_only_the_no_of_a_road_of_its_own",
        THIRD_IS_TOO_FAST,
        State.UNKNOWN,
        "may have gone out",
    ),
    "own road, only its 400 told": (
        "tells_only_the_no_of_a_road_of_its_own",
        FOURTH_IS_REFUSED,
        State.UNKNOWN,
        "may have gone out",
    ),
    "own road, an error that was kept": (
        "keeps_an_error_for_a_road_of_its_own",
        {},
        State.UNKNOWN,
        "may have gone out",
    ),
    "hides that nobody is there": ("hides_that_nobody_is_there", {}, State.UNKNOWN, "the bot saw no such answer"),
}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROWS = [  # one in six runs with the quick tests, the others after them
    pytest.param(name, ("sqlite", "postgresql")[place % 2], marks=() if place % 6 == 0 else pytest.mark.long)
    for place, name in enumerate(MISCHIEF)
]


@pytest.mark.parametrize(("name", "database_url"), ROWS, indirect=["database_url"])
async def test_an_adapter_sends_nobody_anything_twice_and_others_go_on(
    mischievous: MakeMischief, office: Office, name: str
) -> None:
    behaviour, office.statuses, state, told = MISCHIEF[name]
    core = mischievous(behaviour)
    theirs, other = await lived(core, dispatcher_of(core))
    assert (theirs.state, other.state) == (state, State.SENT)
    assert max(Counter(office.taken).values(), default=0) <= 1  # nobody's phone rang twice
    if not any(way in behaviour for way in ("road_of_its_own", "undeclared", "by_get", "as_if_harmless")):
        assert len(office.taken) <= 1
    assert told in await said_of(core, theirs)
    asked = len(office.asked)
    await tick_on(core, core.dispatcher("another"), 40_000)
    if state is not State.SCHEDULED:
        assert len(office.asked) == asked


@ON_SQLITE
async def test_a_pause_that_an_adapter_hides_is_no_acceptance(mischievous: MakeMischief, office: Office) -> None:
    core = mischievous("hides_that_it_failed")
    dispatcher = dispatcher_of(core)
    adapter: Any = core.providers["mischief"].adapter
    post = adapter.post

    async def paused(message: Message, to: str) -> int:
        dispatcher.switch.stop(TEAM)
        told: int = await post(message, to)
        return told

    adapter.post = paused
    theirs = await core.approved(audience="fans", text="Hello")
    await core.run(dispatcher)
    assert ((await core.row(theirs.id)).state, office.asked) == (State.UNKNOWN, [])


async def test_one_that_never_asks_is_named_and_one_that_does_is_not(
    mischievous: MakeMischief, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    core = mischievous("sends_alone")
    theirs, _ = await lived(core, dispatcher_of(core))
    assert theirs.state is State.SENT
    kept = await core.database.read(lambda c: keys.load_kept(c, "unasked:mischief"))
    assert kept == "bellcrier-mischief"
    assert await core.database.read(lambda c: keys.load_kept(c, "unasked:encom")) is None


@ON_SQLITE
@pytest.mark.parametrize("behaviour", ["sends_alone_and_says_no", "reads_its_vault_and_loops_on_a_road_of_its_own"])
async def test_one_that_never_asks_is_named_whatever_it_says(
    mischievous: MakeMischief, office: Office, behaviour: str
) -> None:
    office.statuses = THIRD_IS_TOO_FAST
    core = mischievous(behaviour)
    await lived(core, dispatcher_of(core))
    assert await core.database.read(lambda c: keys.load_kept(c, "unasked:mischief")) == "bellcrier-mischief"


@ON_SQLITE
async def test_ids_are_kept_as_their_receipts_name_them(mischievous: MakeMischief, office: Office) -> None:
    core = mischievous("returns_padded_ids")
    theirs, _ = await lived(core, dispatcher_of(core))
    assert theirs.ids == ("22", "23")
    told = evidence_of(Evidence(True, "There.", (" 22 ",)))
    assert told is not None
    assert told.ids == ("22",)


@ON_SQLITE
@pytest.mark.parametrize(
    ("able", "people", "state"),
    [
        ({"two_step": True}, None, State.PENDING),
        ({"quotes": True}, 4, State.SENT),
        ({"quotes": True}, 5, State.PENDING),
        ({"quotes": True}, None, State.PENDING),
        ({"quotes": True, "two_step": True}, 4, State.SENT),
    ],
)
async def test_more_people_than_were_approved_are_asked_about_where_nothing_is_prepared(
    mischievous: MakeMischief, office: Office, able: dict[str, bool], people: int | None, state: State
) -> None:
    core = mischievous("behaves")
    account: Any = core.providers["mischief"]
    account.capabilities = replace(account.capabilities, sizes=False, **able)
    account.adapter.people = people
    row = await core.ask(audience="fans", text="Hello")
    await core.workflow.sizes.learn(TEAM, row.id, 4)
    row = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert row.bound == 4
    await core.run(dispatcher_of(core))
    assert (await core.row(row.id)).state is state


@ON_SQLITE
async def test_a_road_that_ends_the_process_in_its_turn_stops_nobody(mischievous: MakeMischief, office: Office) -> None:
    core = mischievous("behaves_in_its_turn")
    theirs, other = await core.approved(audience="fans", text="Hello"), await core.approved()
    await core.run(dispatcher_of(core))
    assert ((await core.row(theirs.id)).state, (await core.row(other.id)).state) == (State.SCHEDULED, State.SENT)
    assert "The adapter for mischief (bellcrier-mischief) hit an error." in await said_of(core, theirs)


@ON_SQLITE
@pytest.mark.parametrize("behaviour", ["loops_in_threads", "hands_over"])
async def test_what_is_not_in_the_release_itself_sends_nothing(
    mischievous: MakeMischief, office: Office, behaviour: str
) -> None:
    core = mischievous(behaviour)
    theirs, other = await lived(core, dispatcher_of(core))
    assert (theirs.state in (State.SENT, State.UNKNOWN), other.state, office.taken) == (True, State.SENT, [])


@ON_SQLITE
async def test_what_a_release_leaves_behind_sends_nothing(mischievous: MakeMischief, office: Office) -> None:
    core, office.statuses = mischievous("leaves_work_behind"), THIRD_IS_TOO_FAST
    theirs = await core.approved(audience="fans", text="Hello")
    await core.run(dispatcher_of(core))
    adapter: Any = core.providers["mischief"]
    await until(lambda: adapter.adapter.left.done())
    assert ((await core.row(theirs.id)).state, office.taken) == (State.SCHEDULED, [])
    assert "when it was not its turn" in str(adapter.adapter.left.exception())


async def test_what_an_adapter_keeps_from_a_thread_of_its_own_is_written_by_the_bot(
    mischievous: MakeMischief, office: Office
) -> None:
    core = mischievous("behaves")
    vault = core.providers["mischief"].vault
    assert await core.providers["mischief"].audiences()
    kept = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(vault.save("token", "t")))
    rows = await asyncio.gather(*(core.ask() for _ in range(5)))
    await kept
    assert (len(rows), await vault.load("token")) == (5, "t")


@pytest.mark.parametrize("path", ["/sends", "/sends_anyway", "/exits", "/blocks", "/lies"])
async def test_what_is_no_release_sends_nothing_and_stops_nobody(
    mischievous: MakeMischief, office: Office, path: str
) -> None:
    core = mischievous("behaves", path)
    theirs, other = await core.approved(audience="fans", text="Hello"), await core.approved()
    dispatcher = dispatcher_of(core)
    await dispatcher.tick()
    await core.becomes(other, State.SENT)
    for work in list(dispatcher.running):
        work.cancel()
    assert (await core.row(theirs.id)).state is not State.SENT
    assert "early" not in office.asked


async def test_a_size_that_is_no_number_is_larger_than_any_that_was_approved(
    mischievous: MakeMischief, office: Office
) -> None:
    core = mischievous("behaves", "/lies")
    theirs, _ = await lived(core, dispatcher_of(core))
    assert (theirs.state, theirs.size, theirs.bound) == (State.PENDING, None, None)
    assert office.taken == []


async def test_every_answer_of_an_account_is_one_of_the_contract(mischievous: MakeMischief, office: Office) -> None:
    core = mischievous("behaves")
    account = core.providers["mischief"]
    assert [found.id for found in await account.audiences()] == ["L9"]
    assert [receipt.id for receipt in await account.poll(("odd",))] == ["1"]
    with pytest.raises(Exception, match=r"adapter for mischief \(bellcrier-mischief\) hit an error"):
        await account.poll(("1",))
    row = await core.ask(audience="fans")
    seen = await account.look_up(row.message(), None, ())
    assert (seen.sent, seen.ids, seen.values) == (False, (), {"told": "{what} <!channel>"})
    with pytest.raises(Exception, match="hit an error"):
        await account.check()
    with pytest.raises(Exception, match="hit an error"):
        await account.receipts_in(Callback("", b"{}"))


@pytest.mark.long
async def test_the_whole_bot_goes_on_beside_an_adapter_that_blocks(
    installed: Path, office: Office, sandbox: Sandbox, start_bot: StartBot
) -> None:
    changes = {name.replace(".", "__"): value for name, value in settings_for(office, "blocks").items()}
    bot = await start_bot(sandbox, **changes)
    await ask(sandbox, "send fans marketing Hello")
    theirs = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, theirs["ts"], "broadcast.approve")
    await sandbox.until(lambda: office.taken)
    asked = asyncio.get_running_loop().time()
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes demain")
    assert asyncio.get_running_loop().time() - asked < 1.0
    await sandbox.until(lambda: any("Soldes" in shown["text"] for shown in sandbox.acting.messages(HERE)))
    (others,) = [shown for shown in sandbox.acting.messages(HERE) if "Soldes" in shown["text"]]
    await sandbox.acting.click("U0ANA", HERE, others["ts"], "broadcast.approve")
    await sandbox.until(lambda: "accepted it. Ids" in thread_text(sandbox, others["ts"]))
    token = (bot.callback_address("mischief") or "").rsplit("/", 1)[-1]
    async with (
        ClientSession() as http,
        http.post(f"{(bot.settings.public_url or '').rstrip('/')}/callbacks/mischief/{token}", json={}) as answer,
    ):
        assert answer.status == 503  # so the vendor repeats it: none of its news is lost
    assert [row.audience for row in await bot.database.read(lambda c: broadcasts.latest(c, TEAM, 5))]


BROKEN = {
    "no_such_module:X": "No module named 'no_such_module'",
    "bellcrier_mischief:PEOPLE": "is no class that extends Provider",
    "bellcrier_mischief:Provider": "`name` must be a text",
    "bellcrier_exit:X": "SystemExit: 7",
    "bellcrier_half:Half": "it does not write release",
}


@pytest.mark.parametrize("entry", BROKEN)
def test_a_package_that_cannot_be_used_is_named_with_the_reason(
    installed: Path, entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = installed.parent.parent
    (site / "bellcrier_exit.py").write_text("raise SystemExit(7)\n")
    (site / "bellcrier_half.py").write_text(
        "from providers.base import *\n"
        "class Half(Provider):\n"
        "    name = title = 'half'\n    Settings = AccountSettings\n"
        "    capabilities = Capabilities(audiences=frozenset({AudienceKind.LIST}))\n"
    )
    installed.write_text(f"[bellcrier.providers]\nmischief = bellcrier_mischief:Mischief\nodd = {entry}\n")
    told = CliRunner().invoke(main, ["providers"])
    assert told.exit_code == 0
    (line,) = [line for line in told.output.splitlines() if "odd" in line]
    assert "bellcrier-mischief 1.0" in line
    assert BROKEN[entry] in line
    assert "mischief: Mischief;" in told.output


ODD = {
    "not_processed=None": "`capabilities.not_processed` must be a frozenset of statuses",
    "not_processed=frozenset({True})": "`capabilities.not_processed` must be a frozenset of statuses",
    "placeholders=None": "`capabilities.placeholders` must be a tuple of texts",
    "replaces=('a', 1)": "`capabilities.replaces` must be a tuple of texts",
    "reasons={'KO': 1}": "`capabilities.reasons` must be a dict of texts",
    "receipts=None": "`capabilities.receipts` must be a Receipts",
    "text=None": "`capabilities.text` must be a TextLimits",
    "two_step='no'": "`capabilities.two_step` must be True or False",
    "sender_rule=None": "`capabilities.sender_rule` must be a text",
    "sender_pattern='('": "`capabilities.sender_pattern` must be a regular expression of",
    "sender_pattern='(a+)+b'": "`capabilities.sender_pattern` must be a regular expression of few repeats",
    "sender_pattern='(a|aa)+b'": "`capabilities.sender_pattern` must be a regular expression of few repeats",
    "sender_pattern='" + "a?" * 30 + "b'": "`capabilities.sender_pattern` must be a regular expression of few repeats",
    "legacy=3": "`capabilities.legacy` must be a text",
}


def odd_package(entries: Path, source: str) -> str:
    """Return the line of `bellcrier providers` about a package with this source."""
    package = entries.parent.parent / "bellcrier_odd.py"
    Path(cache_from_source(package)).unlink(missing_ok=True)  # it may fit an older source of this length
    package.write_text(f"from providers.base import *\n{source}")
    entries.write_text("[bellcrier.providers]\nmischief = bellcrier_mischief:Mischief\nodd = bellcrier_odd:Odd\n")
    registry.providers.cache_clear()
    sys.modules.pop("bellcrier_odd", None)
    told = CliRunner().invoke(main, ["providers"])
    assert (told.exit_code, "mischief: Mischief;" in told.output) == (0, True)
    (line,) = [line for line in told.output.splitlines() if "odd" in line]
    return line


def test_a_package_of_odd_capabilities_is_named_field_by_field(installed: Path) -> None:
    for given, told in ODD.items():
        source = (
            "class Odd(Provider):\n    name = title = 'odd'\n    Settings = AccountSettings\n"
            f"    capabilities = Capabilities(frozenset({{AudienceKind.LIST}}), {given})\n"
            "    async def release(self, message, staged): ...\n"
        )
        assert told in odd_package(installed, source)
        assert all_placeholders() >= {"{first_name}"}


def test_a_package_whose_entry_points_cannot_be_read_is_named_and_hides_no_other(installed: Path) -> None:
    garbled = installed.parent.parent / "bellcrier_garbled-1.0.dist-info"
    garbled.mkdir()
    (garbled / "METADATA").write_text("Name: bellcrier-garbled\nVersion: 1.0\n")
    (garbled / "entry_points.txt").write_text("[bellcrier.providers]\nno equals sign\n")
    told = CliRunner().invoke(main, ["providers"])
    assert (told.exit_code, "mischief: Mischief;" in told.output) == (0, True)
    assert "! bellcrier-garbled cannot be used: its entry points cannot be read" in told.output


def test_a_package_that_breaks_when_it_is_looked_at_is_named(installed: Path) -> None:
    source = "class Shy:\n    def __repr__(self): raise SystemExit('not me')\nOdd = Shy()\n"
    assert "SystemExit: not me" in odd_package(installed, source)


async def test_an_account_of_a_package_that_cannot_be_used_is_refused_with_the_reason(
    installed: Path, office: Office, make_core: MakeCore
) -> None:
    installed.write_text("[bellcrier.providers]\nmischief = no_such_module:X\n")
    with pytest.raises(Exception, match=r"accounts\.mischief\.provider: it cannot be used .*no_such_module"):
        make_core(**settings_for(office, "behaves"))


@ON_SQLITE
@pytest.mark.parametrize(
    ("behaviour", "told"), [("exits_at_once", "SystemExit: 0"), ("blocks_at_once", "it took longer than 1 seconds")]
)
async def test_an_adapter_that_cannot_be_made_is_named_and_ends_nothing(
    mischievous: MakeMischief, monkeypatch: pytest.MonkeyPatch, behaviour: str, told: str
) -> None:
    monkeypatch.setattr("bot.adapters.MAKING", 1.0)
    with pytest.raises(SettingsError) as refused:
        mischievous(behaviour)
    assert refused.value.lines == [f"accounts.mischief: the adapter of mischief cannot be made ({told})."]


@pytest.mark.long
@ON_SQLITE
@pytest.mark.parametrize("behaviour", ["exits_later", "blocks_later"])
async def test_what_an_adapter_begins_when_it_is_made_holds_nobody_up(
    mischievous: MakeMischief, behaviour: str
) -> None:
    core = mischievous(behaviour)
    other = await core.approved()
    async with within(2.0):
        await core.run(dispatcher_of(core))
    assert (await core.row(other.id)).state is State.SENT


@pytest.mark.long
async def test_what_an_adapter_says_of_itself_fills_no_place_and_pings_nobody(
    installed: Path, office: Office, sandbox: Sandbox, start_bot: StartBot
) -> None:
    changes = {name.replace(".", "__"): value for name, value in settings_for(office, "behaves").items()}
    bot = await start_bot(sandbox, **changes)
    account: Any = bot.providers["mischief"]
    account.title, able = "T <!channel>", account.capabilities
    said = {"legacy": "<!channel> Write {this} in it", "sender_rule": "Must match {3,11}"}
    account.capabilities = replace(able, sender_pattern="[a-z]{3,11}", **said)
    assert "Must match {3,11}" in await ask(sandbox, "send fans marketing sender=AB Hello")
    await ask(sandbox, "send fans marketing Hello")
    assert "&lt;!channel&gt; Write {this} in it" in json.dumps(await card(sandbox))
    await bot.home.audiences.audience_cache.refresh()
    told = await ask(sandbox, "audiences")
    assert "Also at T &lt;!channel&gt;" in told
    assert "<!channel>" not in told


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("SENT TO 0612345678", "SENT TO …"),
        ("ERROR +33 6 12 34 56 78: 404", "ERROR …: 404"),
        ("KO (33612345678)", "KO (…)"),
        ("DLVRD 0 E404 AT 10:01", "DLVRD 0 E404 AT 10:01"),
    ],
)
def test_a_persons_number_in_a_vendors_word_is_not_kept(word: str, shown: str) -> None:
    receipt = receipt_of(Receipt("1", DeliveryStatus.OTHER, word))
    assert receipt is not None
    assert receipt.word == shown


def test_what_was_said_is_shown_as_it_was_and_pings_nobody(installed: Path) -> None:
    from bot.config.adapter_values import sentence_of

    assert sentence_of("Plain {why}.", {"why": "<b>"}) == ("Plain {why}.", {"why": "<b>"})
    assert sentence_of("<!channel> {why}", {"why": 1}) == ("{told}", {"told": "<!channel> 1"})
    assert sentence_of("{x.__class__}", {"x": 1})[0] == "{told}"
    assert sentence_of("{by}", {"by": "<!channel>"})[0] == "{told}"
    assert sentence_of("{x:999999999999}", {"x": 1}) == ("{told}", {"told": "{x:999999999999}"})
    assert sentence_of(None, None) == ("None", {})
    assert json.dumps(sentence_of("\x00{", {"a": float("nan")}))
    assert issubclass(Account, object)


class Fickle:
    """Settings that answer while they are `calm`, and then raise."""

    def __init__(self, real: AccountSettings) -> None:
        self.real, self.calm = real, True

    def __getattr__(self, name: str) -> Any:
        if name == "timeout" and not self.calm:
            raise RuntimeError("no timeout any more")
        return getattr(self.real, name)


async def test_settings_that_an_adapter_spoils_later_do_not_reach_the_bot(core: Core) -> None:
    adapter = core.providers["encom"].adapter
    fickle = Fickle(adapter.settings)
    adapter.settings = cast(AccountSettings, fickle)
    account = Account(adapter)
    fickle.calm = False
    assert await account.audiences()
