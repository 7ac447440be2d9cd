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
from bot.domain.i18n import Translator, translator_for
from bot.domain.options import EVERYWHERE
from bot.domain.sms import storable
from bot.slack.blocks import refusals
from bot.slack.blocks.break_glass import GLASS, REVIEW
from bot.slack.interaction import Entrance
from bot.slack.live_form import LiveForm
from bot.slack.payload import inputs_of
from bot.storage import tables, templates
from bot.storage.templates import Template
from bot.web.slack import bolt_request
from bot.workflow.decision_types import BreakGlass
from bot.workflow.template_approval import approval_digest
from sandbox.blocks import check_blocks
from sandbox.server import Sandbox
from sandbox.world import Json, SlackError
from tests.support.core import TEAM
from tests.support.effects import lost
from tests.support.emitted import COMPOSED, FORMS, HARD, MESSAGES, actions, fields, parts
from tests.support.generated import Generator, Input, Known
from tests.support.ground import StartBot, newest
from tests.support.rows import KEY
from tests.support.slack import ask
from tests.support.templates import SAVE

CHUNKS, IN_A_CHUNK, TOGETHER = 20, 5_000, 50
QUICK, MANY = 300, 10_000
ID = re.compile(r"\b[A-Z2-9]{8}\b")
ASKING = [["send"], ["test"], ["every"], ["remind"]]

#: An alert needs an approval, which one person may skip; another may be named to approve in somebody's place.
ON: dict[str, Any] = {
    "approval.rules": [{"purpose": "transactional", "quorum": 1}],
    "approval.break_glass": ["U0CLEO"],
    "approval.delegates": ["U0DAN"],
}

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
    return await start_bot(sandbox, database_url=database_url, secret_key=KEY, **ON)


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


async def existing(sandbox: Sandbox, bot: Bot) -> None:
    """A few broadcasts, reminders and templates for the inputs to be about, and one that went without approval."""
    for line in (
        "send clients transactional Alerte",
        "send clients marketing Soldes",
        "send newsletter transactional Votre commande",
        'send clients at="2099-01-01 09:00" Later',
        'every "every day 9:00" clients Soldes',
        'remind "every monday 9:00" answer=yes Payroll',
        "template save hello clients Bonjour",
        SAVE,
    ):
        await ask(sandbox, line)
        if line.endswith("Alerte"):
            cleo, row = await bot.people.person(TEAM, "U0CLEO"), await newest(bot)
            await bot.workflow.act(TEAM, row.id, BreakGlass("The car park is flooding"), person=cleo, version=1)


async def known_to(bot: Bot) -> Known:
    """What exists now."""

    def read(connection: Connection) -> tuple[list[Any], dict[str, str], list[str], list[Template]]:
        of = tables.broadcasts.c
        rows = connection.execute(select(of.id, of.version, of.state, of.purpose, of.glass_by, of.reviewed_by)).all()
        cards = connection.execute(select(tables.cards.c.broadcast, tables.cards.c.ts).order_by(tables.cards.c.version))
        schedules = [*connection.execute(select(tables.schedules.c.id)).scalars()]
        shown = {card.broadcast: card.ts for card in cards}
        return [*rows], shown, schedules, templates.templates_of(connection, TEAM)

    rows, cards, schedules, kept = await bot.database.read(read)
    pending = [row.id for row in rows if row.state == "pending"]
    asking = dict.fromkeys(("broadcast_reject", "broadcast_changes", "broadcast_replan"), pending)
    asking[GLASS] = [row.id for row in rows if (row.state, row.purpose) == ("pending", "transactional")]
    asking[REVIEW] = [row.id for row in rows if row.glass_by and not row.reviewed_by]
    seen = {row.id: (row.version, cards.get(row.id, "")) for row in rows}
    shown = {one.name: (one.digest, one.changed_at, digest_for_approvers(bot, one)) for one in kept}
    return Known(seen, asking, schedules, shown)


def digest_for_approvers(bot: Bot, template: Template) -> str:
    example = bot.workflow.template_approval.example(template)
    return approval_digest(template, example) if example else ""


async def bring(bot: Bot, one: Input) -> BoltResponse:
    """Hand it to the bot as the web does, once it is signed."""
    form = one.body if one.kind == "command" else {"payload": json.dumps(one.body)}
    text = json.dumps(one.body) if one.kind == "event" else urlencode(form, errors="surrogatepass")
    try:
        asked = bolt_request(text)
    except ValueError:
        return BoltResponse(status=400)
    return await bot.slack.async_dispatch(asked)


async def tried(bot: Bot, one: Input) -> tuple[BoltResponse, str | None]:
    """The answer, and what is lost of a form that closes with it."""
    answer = await bring(bot, one)
    closes = answer.status == 200 and not said_in(answer).get("response_action")
    if one.kind == "form" and closes and one.body.get("type") == "view_submission":
        return answer, await bot.database.read(lambda c: lost(c, one.body))
    return answer, None


def said_in(answer: BoltResponse) -> Json:
    return json.loads(answer.body) if answer.body.startswith("{") else {}


def wrong_with(one: Input, answer: BoltResponse, known: Known) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer.status >= 500:
        return f"answered with {answer.status}"
    said = said_in(answer)
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
    too_long = len(json.dumps([whole, rest], ensure_ascii=False)) > refusals.ECHO
    return whole in shown or (too_long and len(shown) > 300 and whole.startswith(shown))


async def all_answered(sandbox: Sandbox, bot: Bot, make: Generator, count: int) -> list[str]:
    await existing(sandbox, bot)
    wrong: list[str] = []
    make.known = await known_to(bot)
    for start in range(0, count, TOGETHER):
        inputs = list(make.inputs(min(TOGETHER, count - start)))
        answers = await asyncio.gather(*(tried(bot, one) for one in inputs))
        make.known = await known_to(bot)
        for one, (answer, is_lost) in zip(inputs, answers, strict=True):
            if problem := wrong_with(one, answer, make.known) or is_lost:
                wrong.append(f"{problem}: {one.kind} {one.body} → {answer.body[:2000]}")
    return wrong


def drawn(words: Translator) -> tuple[set[str], set[str], set[str]]:
    """What can be pressed, the forms, and the fields that the bot draws."""
    views = [made(HARD["words"], words) for made in FORMS.values()]
    posts = [made(HARD["words"], words) for made in MESSAGES.values()]
    shown = [block for one in (*views, *({"blocks": post.blocks} for post in posts)) for block in one["blocks"]]
    return {*actions(shown)}, {view["callback_id"] for view in views}, {named(field) for field in fields(shown)}


def named(field: str) -> str:
    return "slot_" if field.startswith("slot_") else field.split(":")[0]


def generated(inputs: list[Input]) -> tuple[set[str], set[str], set[str]]:
    """The same of what is generated."""
    parts_of = [part for one in inputs for part in parts(one.body)]
    views = [part for part in parts_of if isinstance(part.get("callback_id"), str)]
    values = [part["values"] for part in parts_of if isinstance(part.get("values"), dict)]
    pressed = {part["action_id"] for part in parts_of if isinstance(part.get("action_id"), str)}
    written = {named(field) for one in values for field in one}
    return pressed, {view["callback_id"] for view in views}, written


@pytest.fixture
def inputs(sandbox: Sandbox) -> list[Input]:
    return [*Generator(sandbox.world, sandbox.acting.payloads, "1").inputs(MANY)]


async def test_what_is_generated_presses_every_button_and_fills_in_every_form(bot: Bot, inputs: list[Input]) -> None:
    words, person = translator_for("en"), await bot.people.person(TEAM, "U0CLEO")
    buttons, names, written = drawn(words)
    live = LiveForm(
        bot.workflow, bot.clock, Entrance(bot.workflow, bot.people, bot.patience, bot.home.ours), bot.showing
    )
    for text in HARD.values():
        form = await live.with_facts(COMPOSED["compose"](text), person, words)
        buttons |= {*actions([*form.facts])}
    assert {"broadcast.plain", "broadcast.unaccented", "broadcast.break_glass", "reminder.done"} <= buttons
    pressed, forms_made, fields_made = generated(inputs)
    assert (buttons - pressed, names - forms_made, written - fields_made) == (set(), set(), set())


async def test_what_is_generated_uses_every_command_and_every_option(
    sandbox: Sandbox, bot: Bot, inputs: list[Input]
) -> None:
    known = set(re.findall(r"`/broadcast (\w+)", await ask(sandbox, "help all")))
    assert {"send", "away", "template"} <= known
    lines = [str(one.body.get("text")) for one in inputs if one.kind == "command"]
    assert known - {line.split()[0] for line in lines if line.split()} == set()
    assert set(EVERYWHERE) - {found for line in lines for found in re.findall(r"\b(\w+) ?=", line)} == set()


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
