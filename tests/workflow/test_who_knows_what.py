"""What a person says about an unknown outcome, and what a vendor proves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.lifecycle import State
from bot.storage import tables
from bot.workflow.decision_types import MarkNotSent, MarkSent
from providers.base import DeliveryStatus, Receipt
from sandbox.server import Sandbox
from tests.support.cards import button, shown, told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver
from tests.support.slack import HERE, approved, settled


@pytest.mark.long
async def test_what_a_person_says_went_out_is_shown_as_what_a_person_says(sandbox: Sandbox, bot: Bot) -> None:
    """C10: the vendor has reported nothing, and the button asks for confirmation once."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: button(sandbox, "broadcast.mark_sent"))
    assert "Are you sure that it went out?" in json.dumps(button(sandbox, "broadcast.mark_sent"))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.mark_sent")
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "<@U0CLEO> says that it went out. Encom gave no ids." in shown(sandbox))
    assert "The vendor accepted it" not in shown(sandbox)


async def said_to_have_gone(core: Core, fault: str, **asked: Any) -> Broadcast:
    """Return a broadcast that a person marked as sent while the vendor reported nothing."""
    core.sandbox.vendors.faults.add(fault, "reset", accept=True)
    row = await core.approved(**asked)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.UNKNOWN
    return await core.workflow.act(TEAM, row.id, MarkSent(), person=CLEO, version=1)


async def test_once_the_vendor_reports_deliveries_nobody_has_to_be_believed_any_more(make_core: MakeCore) -> None:
    """C10: the broadcast then has its ids, and it ends once no more receipts are expected."""
    core = make_core()
    row, tracker = await said_to_have_gone(core, "encom.release"), core.tracker()
    assert row.claimed
    for id, status in (("22", DeliveryStatus.SENT), ("23", DeliveryStatus.SENT), ("22", DeliveryStatus.DELIVERED)):
        final = status is DeliveryStatus.DELIVERED
        await tracker.record("encom", [Receipt(id, status, status, final=final)], (TEAM, row.id))
    now = await core.row(row.id)
    assert (now.state, now.ids, now.failure) == (State.SENT, ("22",), None)
    templates = await core.database.read(lambda c: list(c.execute(select(tables.notes.c.sentence)).scalars()))
    confirmed = "The vendor reports deliveries of this broadcast. Ids: {ids}"
    assert [told["template"] for told in templates].count(confirmed) == 1
    await tracker.tick()
    assert (await core.row(row.id)).state is State.SENT  # the other id still expects a receipt
    await tracker.record("encom", [Receipt("23", DeliveryStatus.DELIVERED, "OK", final=True)])
    await tracker.tick()
    assert (await core.row(row.id)).state is State.DONE


async def test_an_id_that_is_known_from_its_preparation_is_kept_when_a_person_says_that_it_went_out(
    make_core: MakeCore,
) -> None:
    core = make_core()
    row = await said_to_have_gone(core, "octopush.release", audience="newsletter")
    assert row.staged is not None
    assert row.ids == (row.staged.id,)
    assert row.failure is not None
    assert str(row.failure.template) == "{by} says that it went out. {vendor} has not confirmed it."


async def test_what_a_person_says_is_said_in_the_channel_too_and_looked_at_again(make_core: MakeCore) -> None:
    core = make_core()
    row = await said_to_have_gone(core, "encom.release")
    assert (row.look_at, row.accepted_at) == (core.now, core.now)
    said = [note.aloud for note in await told_of(core, row) if "says that it went out" in str(note.sentence)]
    assert said == [True]


async def test_what_did_not_go_out_shows_whose_word_that_is(make_core: MakeCore) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    ended = await core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(0), version=1)
    assert (ended.state, ended.look_at) == (State.FAILED, None)
    assert str(ended.failure) == "<@U0APPROVER0> says that it did not go out."
    said = [note.aloud for note in await told_of(core, row) if "will not be sent again by itself" in str(note.sentence)]
    assert said[-1] is True
