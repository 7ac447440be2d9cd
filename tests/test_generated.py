"""Whatever people type and whatever Slack brings: it is answered, within Slack's limits, and nothing breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_bolt.response import BoltResponse
from sqlalchemy import Connection, select

from bot.app import Bot
from bot.domain.sms import storable
from bot.slack.blocks import forms
from bot.slack.payload import inputs_of
from bot.storage import tables
from bot.web.slack import bolt_request
from sandbox.blocks import check_blocks
from sandbox.server import Sandbox
from sandbox.world import Json, SlackError
from tests.support.generated import Generator, Input, Known
from tests.support.ground import StartBot
from tests.support.rows import KEY
from tests.support.slack import ask

CHUNKS, IN_A_CHUNK, TOGETHER = 20, 5_000, 50
QUICK = 300
ID = re.compile(r"\b[A-Z2-9]{8}\b")
ASKING = [["send"], ["test"], ["every"], ["remind"]]

#: What Slack answers to blocks, views and texts that are not within its limits.
OURS = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "no_text", "msg_too_long"}


class Errors(logging.Handler):
    """Whatever is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(str(record.msg))


@pytest.fixture
def errors() -> Iterator[list[str]]:
    handler = Errors()
    logging.getLogger().addHandler(handler)
    yield handler.found
    logging.getLogger().removeHandler(handler)


@pytest.fixture
async def either(sandbox: Sandbox, start_bot: StartBot, database_url: str) -> Bot:
    return await start_bot(sandbox, database_url=database_url, secret_key=KEY)


@pytest.fixture
def refused(sandbox: Sandbox) -> list[str]:
    """What the pretend Slack refuses of what the bot posts and opens."""
    found: list[str] = []

    def noted(name: str, method: Callable[[Json], Json]) -> Callable[[Json], Json]:
        def call(arguments: Json) -> Json:
            try:
                return method(arguments)
            except SlackError as error:
                if error.code in OURS or "response_metadata" in error.more:
                    found.append(f"{name}: {error.code} {error.more} {str(arguments)[:500]}")
                raise

        return call

    for name, method in sandbox.api.methods.items():
        sandbox.api.methods[name] = noted(name, method)
    return found


async def existing(sandbox: Sandbox) -> None:
    """A few broadcasts, reminders and templates for the inputs to be about."""
    for line in (
        "send clients marketing Soldes",
        "send newsletter transactional Votre commande",
        'send clients at="2099-01-01 09:00" Later',
        'every "every day 9:00" clients Soldes',
        'remind "every monday 9:00" answer=yes Payroll',
        "template save hello clients Bonjour",
    ):
        await ask(sandbox, line)


def read(connection: Connection) -> Known:
    def column(of: Any) -> list[str]:
        return [str(one) for one in connection.execute(select(of)).scalars()]

    return Known(column(tables.broadcasts.c.id), column(tables.schedules.c.id), column(tables.cards.c.ts))


async def bring(bot: Bot, one: Input) -> BoltResponse:
    """Hand it to the bot as the web does, once it is signed."""
    form = one.body if one.kind == "command" else {"payload": json.dumps(one.body)}
    text = json.dumps(one.body) if one.kind == "event" else urlencode(form, errors="surrogatepass")
    try:
        asked = bolt_request(text)
    except ValueError:
        return BoltResponse(status=400)
    return await bot.slack.async_dispatch(asked)


def wrong_with(one: Input, answer: BoltResponse, known: Known) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer.status >= 500:
        return f"answered with {answer.status}"
    said = json.loads(answer.body) if answer.body.startswith("{") else {}
    if one.kind == "command":
        return wrong_with_text(one, said, known)
    if said.get("response_action") == "errors":
        return wrong_errors(said["errors"], [storable(name) for name in inputs_of(one.body["view"])])
    return wrong_options(said.get("options") or [])


def wrong_errors(errors: dict[str, str], fields: list[str]) -> str | None:
    """Slack shows an error only under a field that the form has."""
    if fields and not errors.keys() <= set(fields):
        return f"errors under fields that are not there: {errors}"
    return None if all(0 < len(text) <= 3_000 for text in errors.values()) else f"errors of a wrong length: {errors}"


def wrong_options(options: list[Json]) -> str | None:
    element = {"type": "static_select", "action_id": "x", "options": options}
    return limits([{"type": "actions", "elements": [element]}]) if options else None


def wrong_with_text(one: Input, said: Json, known: Known) -> str | None:
    blocks, text = said.get("blocks") or [], str(said.get("text") or "")
    if len(text) > 40_000:
        return "the text is too long"
    if blocks and (over := limits(blocks)):
        return over
    return None if one.typed is None or kept(one.typed, blocks, text, known) else "what was typed is lost"


def limits(blocks: list[Json]) -> str | None:
    try:
        check_blocks(blocks)
    except SlackError as error:
        return f"{error.code} {error.more}"
    return None


def kept(typed: str, blocks: list[Json], text: str, known: Known) -> bool:
    """Whether the answer holds what was typed, or is about what was made of it."""
    if typed.lower().split()[:1] not in ASKING or not known.ids.isdisjoint(ID.findall(text)):
        return True
    literal = [block for block in blocks if block["type"] == "rich_text"]
    rest = [block for block in blocks if block["type"] != "rich_text"]
    shown = "".join(part["text"] for block in literal for one in block["elements"] for part in one["elements"])
    whole = f"/broadcast {typed}".replace("\0", "\ufffd")
    too_long = len(json.dumps([whole, rest], ensure_ascii=False)) > forms.ECHO
    return whole in shown or (too_long and len(shown) > 300 and whole.startswith(shown))


async def all_answered(sandbox: Sandbox, bot: Bot, make: Generator, count: int) -> list[str]:
    await existing(sandbox)
    wrong: list[str] = []
    make.known = await bot.database.read(read)
    for start in range(0, count, TOGETHER):
        inputs = list(make.inputs(min(TOGETHER, count - start)))
        answers = await asyncio.gather(*(bring(bot, one) for one in inputs))
        make.known = await bot.database.read(read)
        for one, answer in zip(inputs, answers, strict=True):
            if problem := wrong_with(one, answer, make.known):
                wrong.append(f"{problem}: {one.kind} {one.body} → {answer.body[:2000]}")
    return wrong


CASES = [
    (0, "sqlite"),
    *(pytest.param(n, "postgresql" if n % 5 == 0 else "sqlite", marks=pytest.mark.long) for n in range(1, CHUNKS + 1)),
]


@pytest.mark.parametrize(("chunk", "database_url"), CASES, indirect=["database_url"])
async def test_whatever_comes_is_answered_and_breaks_nothing(
    sandbox: Sandbox, either: Bot, errors: list[str], refused: list[str], seed: int, chunk: int
) -> None:
    make = Generator(sandbox.world, sandbox.acting.payloads, f"{seed}/{chunk}")
    wrong = await all_answered(sandbox, either, make, IN_A_CHUNK if chunk else QUICK)
    assert wrong == [], f"{len(wrong)} of them"
    assert errors == []
    assert refused == []
