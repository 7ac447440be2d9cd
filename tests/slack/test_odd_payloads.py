"""What a payload holds in the wrong place or of the wrong kind breaks nothing, and never becomes something else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.slack.blocks import forms, refusals
from bot.slack.payload import make_storable
from bot.storage import keys
from sandbox.blocks import check_blocks
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import TEAM, Core
from tests.support.ground import all_of, newest
from tests.support.patience import nothing_more
from tests.support.slack import HERE, ask, card, filled, open_form, type_in

ODD: list[Any] = [None, True, 7, 1.5, [], ["word"], [{}], {"value": 7}, {"value": {"value": [7]}}]


@pytest.fixture(autouse=True)
def _no_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.msg for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


def texts(block: Json) -> Iterator[str]:
    for element in block["elements"]:
        yield from (part["text"] for part in element["elements"])


async def submit(sandbox: Sandbox, values: Json, **view: Any) -> dict[str, str]:
    form = await open_form(sandbox)
    form |= view
    return await sandbox.acting.submit("U0DAN", form["id"], values)


async def test_a_form_of_anything_else_is_answered_under_its_fields(sandbox: Sandbox, bot: Bot) -> None:
    for odd in ODD:
        errors = await submit(sandbox, dict.fromkeys(filled("clients", ""), odd))
        assert errors.keys() & filled("", "").keys() == errors.keys() != set(), odd
    assert await all_of(bot) == []


async def test_typing_in_a_form_of_anything_else_is_followed(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    for odd in ODD:
        form["state"] = odd
        await type_in(sandbox, form, filled("clients", "") | {"send_at": odd})


async def test_a_start_that_cannot_be_read_does_not_become_now(sandbox: Sandbox, bot: Bot) -> None:
    for start in ("soon", 0, -1, 1.5, True, 10**18, [1]):
        errors = await submit(sandbox, filled("clients", "Soldes", send_at=start))
        assert "That time has passed" in errors["send_at"], start
    assert await all_of(bot) == []


async def test_an_edit_that_cannot_be_read_does_not_become_a_new_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    for edits in (7, [], ["B2345AB"], ["B2345AB", "1"], {"id": 1}, "B2345AB"):
        kept = json.dumps({"channel": HERE, "edits": edits})
        errors = await submit(sandbox, filled("clients", "Soldes"), private_metadata=kept)
        assert "There is no broadcast" in str(errors), edits
    assert await all_of(bot) == []


async def test_a_form_that_nobody_here_knows_is_told_so_and_changes_nothing(sandbox: Sandbox, bot: Bot) -> None:
    for name in ("broadcast_levitate", "", "another_app"):
        errors = await submit(sandbox, filled("clients", "Soldes"), callback_id=name)
        assert "I no longer know this form" in str(errors), name
    assert await all_of(bot) == []


async def test_half_a_character_becomes_a_sign_for_it(sandbox: Sandbox, bot: Bot) -> None:
    kept = '{"channel": "C0CAMPAIGNS", "follows": "B\\ud83d", "draft": null}'
    assert await submit(sandbox, filled("clients", "Soldes"), private_metadata=kept) == {}
    assert (await newest(bot)).state is State.PENDING


def test_every_text_of_a_payload_can_be_stored() -> None:
    body: dict[str, Any] = {"a": "x\ud83d", "b": [{"c": "\0"}, ["\udd25", 7, None]], "d": "🔥"}
    make_storable(body)
    assert body == {"a": "x�", "b": [{"c": "�"}, ["�", 7, None]], "d": "🔥"}


async def test_a_press_for_no_version_is_told_so(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted, id = await card(sandbox), (await newest(bot)).id
    for count, version in enumerate(("²", "٣", "9" * 5000, "-1", "", "1.0")):
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve", f"{id}:{version}")
        told = str(sandbox.acting.ephemerals("U0ANA"))
        assert told.count("I no longer know this button") > count, version
    assert (await newest(bot)).state is State.PENDING


async def test_a_number_without_end_is_too_large(sandbox: Sandbox, bot: Bot) -> None:
    line = f'every "every day 9:00" clients covers={"9" * 5000} Soldes'
    assert "takes a number from 1 to 100" in await ask(sandbox, line)


async def test_typing_in_a_form_without_an_id_draws_nothing(sandbox: Sandbox, bot: Bot) -> None:
    payload = sandbox.acting.payloads.interaction("block_actions", "U0DAN")
    action = {"type": "plain_text_input", "block_id": "text", "action_id": "value"}
    for odd in (*ODD, "", "x" * 5000):
        view = {"id": odd, "callback_id": "broadcast_compose", "state": {"values": filled("clients", "Soldes")}}
        outcome = await sandbox.delivery.interaction(payload | {"actions": [action], "view": view})
        assert outcome.acknowledged, odd
    await nothing_more(bot)
    assert [name for name, _ in sandbox.calls if name == "views.update"] == []


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # it takes no longer key than it says
async def test_an_event_with_an_endless_id_is_marked_as_seen(core: Core) -> None:
    key = keys.of_event("x" * 5000)
    assert await core.database.write(lambda c: keys.first_time(c, TEAM, key, 1))
    assert await core.database.read(lambda c: keys.was_seen(c, TEAM, key))


async def test_an_error_under_a_field_is_never_longer_than_slack_takes(sandbox: Sandbox, bot: Bot) -> None:
    errors = await submit(sandbox, filled("x" * 5000, "Soldes"))
    assert 1000 < len(errors["audience"]) <= forms.SAID


async def test_a_reaction_to_nothing_is_acknowledged(sandbox: Sandbox, bot: Bot) -> None:
    for item in (None, "word", 7, ["word"]):
        sandbox.delivery.event({"type": "reaction_added", "user": "U0ANA", "reaction": "+1", "item": item})
    await sandbox.until(lambda: [kind for kind, _ in sandbox.delivery.heard].count("events_api") == 4)


@pytest.mark.parametrize("typed", ["a" * 20_000, "\x07" * 5_000, "\n" * 20_000, '"' * 20_000])
def test_of_what_is_too_long_for_a_message_its_beginning_is_shown(typed: str) -> None:
    post = refusals.complaint(["No."], f"x{typed}", str)  # type: ignore[arg-type]
    check_blocks(post.blocks)
    assert "only the beginning" in str(post.blocks)
    shown = "".join(text for block in post.blocks[2:] for text in texts(block))
    assert len(shown) > 1_500
    assert f"x{typed}".startswith(shown)
