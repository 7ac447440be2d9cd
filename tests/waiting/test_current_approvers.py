"""Those who may approve today decide, not those who could when it was asked for."""

from __future__ import annotations

import pytest

from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import State
from bot.storage import tables
from bot.storage.notes import notes_to_post
from bot.workflow.decision_types import Approve, SendNow
from bot.workflow.restored import hold_all
from tests.support.core import CLEO, TEAM, Core, MakeCore
from tests.support.ground import in_order
from tests.support.waiting import DAY, Waiting, user


async def test_the_approvers_of_a_rule_are_followed_by_those_that_the_rule_names_now(make_core: MakeCore) -> None:
    def ruled(name: str) -> Core:
        rule = {"audience": "clients", "quorum": 1, "approvers": [name]}
        return make_core(**{"approval.approvers": ["U0ANA"], "approval.rules": [rule]})

    row = await ruled("U0BEN").ask()
    assert row.approvers == ("U0BEN",)
    now = ruled("U0EVA")
    for nobody in ("U0ANA", "U0BEN"):
        with pytest.raises(NotAllowed):
            await now.workflow.act(TEAM, row.id, Approve(), person=user(nobody), version=1)
    agreed = await now.workflow.act(TEAM, row.id, Approve(), person=user("U0EVA"), version=1)
    assert agreed.state is State.SCHEDULED


async def test_where_one_of_two_approvers_is_followed_by_another_both_of_today_may_approve(make_core: MakeCore) -> None:
    def two(*names: str) -> Core:
        return make_core(**{"approval.quorum": 2, "approval.approvers": list(names)})

    row, now = await two("U0ANA", "U0BEN").ask(), two("U0BEN", "U0EVA")
    for name in ("U0BEN", "U0EVA"):
        await now.workflow.act(TEAM, row.id, Approve(), person=user(name), version=1)
    assert (await now.row(row.id)).state is State.SCHEDULED


async def test_reminders_and_the_card_name_those_who_may_approve_by_now(make_core: MakeCore) -> None:
    row = await make_core(**{"approval.approvers": ["U0ANA"]}).ask()
    now = make_core(**{"approval.approvers": ["U0BEN"]})
    now.now = row.voice_at or 0
    await now.approval_reminders().tick()
    (note,) = await now.database.read(lambda c: notes_to_post(c, now.now, 10))
    assert note.note.mention == "U0BEN"
    assert (await now.row(row.id)).approvers == ("U0BEN",)


async def test_what_lapses_asks_those_who_may_approve_by_now(make_core: MakeCore) -> None:
    was = make_core(**{"approval.approvers": ["U0ANA"]})
    later = was.now + 2 * DAY
    row = await was.ask(send_at=later)
    await was.workflow.act(TEAM, row.id, Approve(), person=user("U0ANA"), version=1)
    now = make_core(**{"approval.approvers": ["U0BEN"]})
    now.now = later
    await now.run(now.dispatcher("a"))
    lapsed = await now.row(row.id)
    assert (lapsed.state, lapsed.approvers) == (State.PENDING, ("U0BEN",))
    notes = await now.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
    assert "U0BEN" in notes[-1]["mention"].split()


async def test_the_requester_hears_before_a_start_that_send_now_leaves_far_away(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 30 * DAY)
    await core.database.write(lambda c: hold_all(c, core.now, core.now))
    freed = await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert freed.voice_at == row.voice_at is not None
