"""What no database takes, and what is longer than a column: refused at the door, or cut, on both databases."""

from __future__ import annotations

import logging

import httpx
import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.slack import approved, ask, filled, open_form, settled

pytestmark = pytest.mark.long

KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
LONG_VALUE = "x" * 5000
ODD = ("\0", "a\0b", LONG_VALUE, "\0" * 300, "é" * 3000)


@pytest.fixture
async def either(sandbox: Sandbox, start_bot: StartBot, database_url: str) -> Bot:
    return await start_bot(sandbox, database_url=database_url, secret_key=KEY)


LINES = (
    "send {} marketing Soldes", "send clients marketing sender={} Soldes", "send clients marketing campaign={} Soldes",
    "send clients marketing at={} Soldes", "send clients marketing Soldes {}", "show {}", "cancel {}", "edit {}",
    "template save {} Soldes", "template save promo Soldes {}", "template use {}", "template delete {}", "audit {}",
    "every {} clients Soldes", 'every "every day 9:00" clients Soldes {}', "remind {} Lunch",
    'remind "every day 9:00" Lunch {}', "pause {}", "resume {}", "away {} until monday 9:00", "{}", "help {}",
    "send clients canary={} Soldes", "audiences {}", "list {}",
)  # fmt: skip


async def test_a_command_with_it_gets_an_answer(
    sandbox: Sandbox, either: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    for line in LINES:
        for odd in ODD:
            with caplog.at_level(logging.ERROR):
                caplog.clear()
                answer = await ask(sandbox, line.format(odd))
                assert [record.getMessage() for record in caplog.records] == [], (line, odd[:3], answer[:200])


async def test_a_form_with_it_gets_an_answer(sandbox: Sandbox, either: Bot, caplog: pytest.LogCaptureFixture) -> None:
    for odd in ODD:
        for values in (
            filled(odd, "Soldes"),
            filled("clients", f"Soldes {odd}"),
            filled("clients", "Soldes", odd),
            filled("clients", "Soldes", sender=odd),
            filled("clients", "Soldes", send_at=odd),
        ):
            with caplog.at_level(logging.ERROR):
                caplog.clear()
                form = await open_form(sandbox)
                told = await sandbox.acting.submit("U0DAN", form["id"], values)
                assert [record.getMessage() for record in caplog.records] == [], (odd[:3], told)


async def test_a_callback_with_it_is_no_error_of_the_server(
    sandbox: Sandbox, either: Bot, bot_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    await approved(sandbox)
    await settled(either, State.SENT)
    address = str(either.callback_address("octo"))
    door = f"http://127.0.0.1:{bot_port}/callbacks"
    async with httpx.AsyncClient() as client:
        for odd in ("%00", "a%00b", "x" * 5000, "%ED%A0%80", "%FF"):
            for path in (f"encom/{odd}", f"{odd}/token", f"octo/{odd}"):
                response = await client.post(f"{door}/{path}", content=b"{}")
                assert 400 <= response.status_code < 500, (path[:20], response.status_code)
        for odd in ODD:
            for body in (
                {"message_id": odd, "number": "+33600000000", "status": "DELIVERED"},
                {"message_id": "sms_1", "number": odd, "status": odd},
                {"message_id": "sms_1", "number": "+33600000000", "text": odd, "reception_date": odd},
            ):
                response = await client.post(address, json=body)
                assert response.status_code in (200, 400), (odd[:3], response.status_code)
        assert (await client.get(f"{door[:-10]}/healthz?x=%00")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
