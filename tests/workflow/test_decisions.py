"""What a decision leaves behind: its reason, and whose it was."""

from __future__ import annotations

import pytest

from bot.domain.clock import SECOND
from bot.domain.errors import StaleVersion
from bot.domain.lifecycle import State
from bot.storage import audit
from bot.workflow.decision_types import Cancel, Decision, Discard, Drop, Reject, Stop
from tests.support.cards import told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver


async def test_why_a_draft_was_discarded_is_in_its_history(core: Core) -> None:
    request = core.request()
    kept = await core.workflow.submit(request, key="draft", person=CLEO, postable=False)
    ended = await core.workflow.act(TEAM, kept.broadcast.id, Discard("Too early."), person=CLEO, version=1)
    history = await core.database.read(lambda c: audit.history(c, TEAM, ended.id))
    assert (ended.state, history[-1]["actor"], history[-1]["reason"]) == (State.CANCELLED, "U0CLEO", "Too early.")


async def test_only_what_was_rejected_gets_the_reason_of_a_rejection(core: Core) -> None:
    row = await core.ask()
    with pytest.raises(StaleVersion):
        await core.workflow.decisions.give_reason(TEAM, row.id, "Too many.", person=approver(0))
    await core.workflow.act(TEAM, row.id, Reject(None), person=approver(0), version=1)
    await core.workflow.decisions.give_reason(TEAM, row.id, "Too many.", person=approver(0))
    with pytest.raises(StaleVersion):
        await core.workflow.decisions.give_reason(TEAM, row.id, "Too late.", person=approver(1))


@pytest.mark.parametrize("decision", [Reject("No."), Cancel(), Stop(), Drop()])
async def test_an_end_without_a_send_is_told_in_the_thread_alone(make_core: MakeCore, decision: Decision) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row = await core.ask() if isinstance(decision, Reject) else await core.approved(send_at=None)
    if isinstance(decision, Drop):
        core.now += 3600 * SECOND
        await core.run(core.dispatcher("one"))
    ended = await core.workflow.act(TEAM, row.id, decision, person=approver(1), version=1)
    told = (await told_of(core, ended))[-1]
    assert (told.mention, told.aloud) == ("U0CLEO", False)
