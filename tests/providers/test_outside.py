"""A third-party vendor: the guide's own example, installed as a separate package and found by its entry point."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from click.testing import CliRunner

from bot.app import Bot
from bot.cli import main
from bot.domain.lifecycle import State
from providers import registry
from sandbox.server import Sandbox
from tests.capabilities import GUIDE, written
from tests.support.ground import StartBot, free_port
from tests.support.slack import HERE, ask, card, open_form, settled, thread_text


class AcmeOffice:
    """Acme's side of the wire: takes campaigns, answers reads, calls back."""

    def __init__(self) -> None:
        self.port, self.taken, self.key = free_port(), list[dict[str, Any]](), ""

    async def campaigns(self, request: web.Request) -> web.Response:
        self.key = request.headers["X-Key"]
        self.taken.append(await request.json())
        return web.json_response({"ids": ["m1", "m2"]}, status=201)

    async def messages(self, request: web.Request) -> web.Response:
        ids = request.query["ids"].split(",")
        return web.json_response([{"id": id, "status": "SENT"} for id in ids])

    async def call_back(self, id: str, status: str) -> int:
        async with ClientSession() as http, http.post(self.taken[0]["notify"], json={"id": id, "status": status}) as a:
            return a.status


@pytest.fixture
async def acme() -> AsyncIterator[AcmeOffice]:
    office, site = AcmeOffice(), web.Application()
    site.router.add_post("/v1/campaigns", office.campaigns)
    site.router.add_get("/v1/messages", office.messages)
    runner = web.AppRunner(site, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", office.port).start()
    yield office
    await runner.cleanup()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The guide's example as pip would leave it: a module, and its metadata with the entry point."""
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "site"
    (folder / "bellcrier_acme-1.0.dist-info").mkdir(parents=True)
    (folder / "bellcrier_acme.py").write_text(example, encoding="utf-8")
    (folder / "bellcrier_acme-1.0.dist-info" / "METADATA").write_text("Name: bellcrier-acme\nVersion: 1.0\n")
    (folder / "bellcrier_acme-1.0.dist-info" / "entry_points.txt").write_text(
        "[bellcrier.providers]\nacme = bellcrier_acme:Acme\nencom = bellcrier_acme:Acme\nbroken = no_such_module:X\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    registry.providers.cache_clear()
    yield
    registry.providers.cache_clear()
    sys.modules.pop("bellcrier_acme", None)


@pytest.fixture
async def bot(installed: Any, acme: AcmeOffice, sandbox: Sandbox, start_bot: StartBot) -> Bot:
    account = {"provider": "acme", "base_url": f"http://127.0.0.1:{acme.port}", "key": "acme-key-1"}
    audience = {"account": "acme", "kind": "list", "id": "L7", "policy": "always", "max_size": 10}
    return await start_bot(sandbox, accounts__acme=account, audiences__fans=audience)


@pytest.mark.long
async def test_it_sends_polls_and_reads_callbacks_without_a_change_in_the_bot(
    sandbox: Sandbox, bot: Bot, acme: AcmeOffice
) -> None:
    assert "is waiting for approval" in await ask(sandbox, "send fans marketing sender=ACME Hello")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    row = await settled(bot, State.SENT, State.DONE)
    assert row.ids == ("m1", "m2")
    (taken,) = acme.taken
    assert (taken["list"], taken["text"], taken["kind"], taken["reference"]) == (
        "L7",
        "Hello",
        "promo",
        f"{row.id}-1-1",
    )
    assert acme.key == "acme-key-1"
    await sandbox.until(lambda: "2 of 2 sent" in thread_text(sandbox, posted["ts"]))  # by polling
    assert await acme.call_back("m1", "DLVRD") == 200
    assert await acme.call_back("m2", "DLVRD") == 200
    await sandbox.until(lambda: "Final report: delivered to 2" in thread_text(sandbox, posted["ts"]))


async def test_its_capabilities_drive_the_form_the_limits_and_the_list(sandbox: Sandbox, bot: Bot) -> None:
    assert "not a valid sender ID for Acme" in await ask(sandbox, "send fans marketing sender=acme Hello")
    assert "takes at most 1224" in await ask(sandbox, "send fans marketing " + "a" * 1225)
    form = await open_form(sandbox, "U0CLEO")
    assert "fans (Acme, list L7)" in json.dumps(await sandbox.acting.suggest("U0CLEO", form["id"], "audience", "fan"))


def test_the_shell_lists_it_and_leaves_out_what_cannot_be_loaded_or_would_replace_ours(installed: Any) -> None:
    told = CliRunner().invoke(main, ["providers"]).output
    assert "acme: Acme; list; sends in one step; receipts: per dispatch" in told
    assert "encom: Encom;" in told
    assert "broken" not in {line.split(":")[0] for line in told.splitlines()}


async def test_a_wrong_account_of_it_is_named_too(installed: Any, sandbox: Sandbox, start_bot: StartBot) -> None:
    with pytest.raises(Exception, match=r"accounts\.acme\.key"):
        await start_bot(sandbox, accounts__acme={"provider": "acme", "base_url": "http://127.0.0.1:9"})
    await asyncio.sleep(0)


def test_the_guides_table_is_what_the_code_can_do() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert written(guide) == guide
    assert "| audiences | list | group | list, tag |" in guide
