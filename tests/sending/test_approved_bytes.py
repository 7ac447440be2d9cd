"""What goes out is, byte for byte, what was approved."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold, State
from bot.workflow.decision_types import Approve, SendNow
from providers.base import Purpose
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

TAMPERED: dict[str, dict[str, Any]] = {
    "text": {"text": "Something else STOP AU 36111"},
    "list": {"target": "4"},
    "purpose": {"purpose": "transactional"},
    "sender": {"sender": "Bell"},
    "text and digest": {"text": "Something else", "digest": "0" * 64},
}


@pytest.mark.parametrize("field", TAMPERED)
async def test_what_was_not_approved_in_these_very_bytes_is_not_sent(core: Core, field: str) -> None:
    row = await core.approved()
    await core.edit(row, **TAMPERED[field])
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    assert (await core.row(row.id)).state is State.PENDING


async def test_what_was_edited_behind_everybody_is_asked_again_as_it_stands(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, text="Something else STOP AU 36111")
    await core.run(core.dispatcher("a"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == ["Something else STOP AU 36111"]


async def test_an_approval_binds_what_stood_there_when_it_was_given(core: Core) -> None:
    row = await core.ask()
    await core.edit(row, text="Something else STOP AU 36111")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.edit(row, text=row.text)
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    assert (await core.row(row.id)).state is State.PENDING


@pytest.mark.parametrize("other", ["training", "live"])
async def test_what_belongs_to_the_other_mode_waits_for_a_person(make_core: MakeCore, other: str) -> None:
    was = make_core(mode=other)
    row = await was.approved()
    now = make_core(mode={"training": "live", "live": "training"}[other])
    for _ in range(2):
        await now.run(now.dispatcher("a"))
        held = await now.row(row.id)
        assert (held.state, held.hold, held.mode) == (State.HELD, Hold.BLOCKED, other)
        with pytest.raises(NotAllowed):  # it would only be held again, so this is refused
            await now.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert now.sandbox.vendors.ledger == []
    await was.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await was.run(was.dispatcher("b"))
    assert len(was.sandbox.vendors.ledger) == 1


async def test_the_digest_binds_each_field(core: Core) -> None:
    row = await core.ask()
    others: dict[str, Any] = {"text": "x", "target": "9", "purpose": Purpose.TRANSACTIONAL, "send_at": 1}
    for name, value in others.items():
        assert dataclasses.replace(row, **{name: value}).computed_digest() != row.digest
    assert dataclasses.replace(row, channel="C2", size=9).computed_digest() == row.digest


async def test_two_approvals_are_two_people(make_core: MakeCore) -> None:
    both = make_core(**{"approval.quorum": 2})
    row = await both.ask()
    for _ in range(3):
        await both.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    with pytest.raises(NotAllowed):
        await both.workflow.act(TEAM, row.id, Approve(), person=CLEO, version=1)
    assert (await both.row(row.id)).state is State.PENDING
    await both.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert (await both.row(row.id)).state is State.SCHEDULED
