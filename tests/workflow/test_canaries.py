"""A broadcast with a canary goes to a few people first, and to the others only once somebody continues."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.i18n import translator_for
from bot.domain.lifecycle import Action, Hold, State
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.card_stakes import stakes
from bot.storage import broadcasts
from bot.workflow.decision_types import Approve, Cancel, Drop, Edit, Replan, SendNow
from providers.base import Purpose
from tests.support.cards import HOUR, told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

FEW = {"audiences.clients.max_size": 100} | {
    f"audiences.few.{name}": value for name, value in {"account": "encom", "id": "2", "max_size": 3}.items()
}
SHOWING = CardContext(votes=(), vendor="Encom", legacy=None, verdict=None, training=False, zone="")
SMALL, ALL = "list 2 (Team)", "list 1 (Clients)"


@pytest.fixture
def core(make_core: MakeCore) -> Core:
    return make_core(**FEW)


async def canary_of(core: Core, row: Broadcast) -> Broadcast | None:
    return await core.database.read(lambda c: broadcasts.find_by_key(c, TEAM, row.canary_key))


def rang(core: Core) -> list[str]:
    return [entry.audience for entry in core.sandbox.vendors.ledger]


async def agreed(core: Core, **changes: Any) -> Broadcast:
    return await core.approved(**{"canary": "few", **changes})


async def continued(core: Core, row: Broadcast, number: int = 0) -> Broadcast:
    return await core.workflow.act(TEAM, row.id, SendNow(), person=approver(number), version=row.version)


async def test_the_few_get_it_first_and_the_others_once_somebody_continues(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    waiting = await core.row(row.id)
    assert (waiting.state, waiting.hold) == (State.HELD, Hold.CANARY)
    assert rang(core) == [SMALL]
    await continued(core, waiting)
    await core.run(one)
    sent = await core.row(row.id)
    assert sent.state is State.SENT
    assert rang(core) == [SMALL, ALL]
    first = await canary_of(core, row)
    assert first is not None
    assert (first.text, first.test_of, first.follows) == (sent.text, "clients", row.id)
    assert first.ids
    assert not set(first.ids) & set(sent.ids)  # each has its own


async def test_before_the_canary_has_gone_nobody_can_continue(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core)
    first = await canary_of(core, row)
    assert first is not None
    await core.edit(first, due=core.now + HOUR, start_at=core.now + HOUR)
    await core.run(one)
    assert (await core.row(row.id)).hold is Hold.CANARY
    with pytest.raises(NotAllowed) as refused:
        await continued(core, await core.row(row.id))
    assert "goes to *few* first" in str(refused.value.sentence)
    assert rang(core) == []


async def test_a_canary_that_failed_lets_nobody_continue(core: Core) -> None:
    core.sandbox.vendors.faults.add("encom.release", "error", status=401)
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    first = await canary_of(core, row)
    assert first is not None
    assert first.state is State.FAILED
    with pytest.raises(NotAllowed):
        await continued(core, await core.row(row.id))


async def test_only_somebody_who_may_approve_continues(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    with pytest.raises(NotAllowed):
        await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=row.version)
    await continued(core, await core.row(row.id), 7)
    await core.run(one)
    assert rang(core) == [SMALL, ALL]


async def test_what_needs_no_approval_is_continued_by_whoever_asked(core: Core) -> None:
    asked = {"canary": "few", "text": "Votre commande est prête", "purpose": Purpose.TRANSACTIONAL}
    one, row = core.dispatcher("one"), await core.ask(**asked)
    assert row.state is State.SCHEDULED
    await core.run(one)
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=row.version)
    await core.run(one)
    assert rang(core) == [SMALL, ALL]


async def test_whoever_stops_it_in_time_stops_its_canary(core: Core) -> None:
    row = await agreed(core, send_at=core.now + HOUR)
    await core.workflow.act(TEAM, row.id, Cancel(), person=CLEO, version=1)
    first = await canary_of(core, row)
    assert first is not None
    assert first.state is State.CANCELLED


async def test_stopping_after_the_canary_sends_the_others_nothing(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    await core.workflow.act(TEAM, row.id, Drop(), person=CLEO, version=1)
    await core.run(one)
    assert rang(core) == [SMALL]
    assert (await core.row(row.id)).state is State.CANCELLED


async def test_a_withdrawn_approval_keeps_its_canary_from_going(core: Core) -> None:
    row = await agreed(core, send_at=core.now + HOUR)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    core.now += HOUR
    await core.run(core.dispatcher("one"))
    first = await canary_of(core, row)
    assert first is not None
    assert (first.state, first.hold) == (State.HELD, Hold.BLOCKED)
    assert rang(core) == []


async def test_a_change_takes_a_new_canary(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core, send_at=core.now + HOUR)
    old = await canary_of(core, row)
    later = await core.workflow.act(TEAM, row.id, Replan(core.now + 2 * HOUR), person=CLEO, version=1)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=2)
    core.now += 2 * HOUR
    await core.run(one)
    new = await canary_of(core, later)
    assert old is not None
    assert new is not None
    assert ((await core.row(old.id)).state, new.state) == (State.CANCELLED, State.SENT)
    assert rang(core) == [SMALL]


async def test_what_was_late_asks_before_even_its_canary_goes(core: Core) -> None:
    row = await agreed(core, send_at=core.now + HOUR)
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    first = await canary_of(core, row)
    assert first is not None
    assert ((await core.row(row.id)).hold, first.hold) == (Hold.LATE, Hold.LATE)
    assert rang(core) == []


async def test_sending_it_late_still_goes_to_the_canary_first(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core, send_at=core.now + HOUR)
    core.now += 2 * HOUR
    await core.run(one)
    await continued(core, await core.row(row.id))
    await core.run(one)
    assert (await core.row(row.id)).hold is Hold.CANARY
    assert rang(core) == []


async def test_two_who_continue_at_once_send_it_once(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    waiting = await core.row(row.id)
    await continued(core, waiting)
    with pytest.raises(StaleVersion):
        await continued(core, waiting, 1)
    await core.run(one)
    assert rang(core) == [SMALL, ALL]


@pytest.mark.parametrize(
    ("canary", "told"),
    [
        ("fews", "Did you mean “few”?"),
        ("clients", "is the audience itself"),
        ("everyone", "may have more than 20 people"),
        ("newsletter", "belongs to another account"),
    ],
)
async def test_a_canary_that_cannot_be_one_is_refused_with_the_reason(core: Core, canary: str, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await core.ask(canary=canary)
    (complaint,) = refused.value.complaints
    assert complaint.field == "canary"
    assert told in str(complaint.sentence)


async def test_a_canary_cannot_be_changed_apart_from_its_broadcast(core: Core) -> None:
    row = await agreed(core, send_at=core.now + HOUR)
    first = await canary_of(core, row)
    assert first is not None
    with pytest.raises(NotAllowed, match="goes first for"):
        await core.workflow.may(Action.EDIT, CLEO, first)
    with pytest.raises(NotAllowed, match="goes first for"):
        await core.workflow.act(TEAM, first.id, Replan(core.now + 2 * HOUR), person=CLEO, version=1)


async def test_once_the_canary_has_gone_those_who_may_continue_are_told_once(core: Core) -> None:
    one, row, voices = core.dispatcher("one"), await agreed(core), core.approval_reminders()
    await core.run(one)
    for _ in range(3):
        await voices.tick()
    told = [note for note in await told_of(core, row) if "has it now" in str(note.sentence)]
    assert len(told) == 1
    assert told[0].mention == "S0APPROVERS"


async def test_after_a_new_approval_the_canary_goes_although_the_old_one_was_dropped(core: Core) -> None:
    one, row = core.dispatcher("one"), await agreed(core, send_at=core.now + HOUR)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    old = await canary_of(core, row)
    assert old is not None
    await core.workflow.act(TEAM, old.id, Cancel(), person=CLEO, version=1)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    core.now += HOUR
    await core.run(one)
    assert rang(core) == [SMALL]
    await continued(core, await core.row(row.id))
    await core.run(one)
    assert rang(core) == [SMALL, ALL]


async def test_where_nobody_knows_whether_the_canary_went_nobody_is_told_that_it_did_not(core: Core) -> None:
    core.sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    one, row, voices = core.dispatcher("one"), await agreed(core), core.approval_reminders()
    await core.run(one)
    first = await canary_of(core, row)
    assert first is not None
    assert first.state is State.UNKNOWN
    await voices.tick()
    told = " ".join(str(note.sentence) for note in await told_of(core, row))
    assert "It is not known whether *few* got it" in told
    assert "did not go" not in told


async def test_a_canary_keeps_the_hours_of_its_broadcast(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"audiences.clients.policy": "fr"})
    core.now += 14 * HOUR  # 23:00 in Paris
    one, row = core.dispatcher("one"), await agreed(core)
    await core.run(one)
    assert rang(core) == []
    first = await canary_of(core, row)
    assert first is not None
    core.now = (first.hold_until or 0) + SECOND
    await core.run(one)
    assert rang(core) == [SMALL]
    assert (await core.row(row.id)).hold is Hold.CANARY


async def test_a_canary_is_asked_for_by_who_may_write_to_it(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"audiences.few.requesters": ["U0ANA"]})
    with pytest.raises(NotAllowed):
        await core.ask(canary="few")


async def test_with_a_canary_it_needs_the_approvals_of_the_canary_too(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"approval.rules": [{"audience": "few", "purpose": "transactional", "quorum": 2}]})
    asked = {"canary": "few", "text": "Votre commande est prête", "purpose": Purpose.TRANSACTIONAL}
    row = await core.ask(**asked)
    assert (row.state, row.quorum) == (State.PENDING, 2)
    assert await canary_of(core, row) is None


async def test_a_canary_that_the_settings_have_moved_does_not_go(core: Core) -> None:
    row = await core.ask(canary="few")
    moved = core.settings.audiences["few"].model_copy(update={"account": "octo"})
    core.settings.audiences["few"] = moved
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.run(core.dispatcher("one"))
    assert rang(core) == []
    assert (await core.row(row.id)).hold is Hold.CANARY


async def lapsed(core: Core, row: Broadcast) -> Broadcast:
    """After *Continue*, its approver can no longer approve: it needs approval again."""
    await continued(core, await core.row(row.id), 1)
    core.gone = {approver(0).id, approver(1).id}
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    return await core.row(row.id)


async def test_what_lapses_after_continue_goes_on_without_a_second_canary(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"approval.undo": "90m", "grace": "1d"})
    row = await agreed(core)
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    assert rang(core) == [SMALL]
    again = await lapsed(core, row)
    assert again.state is State.PENDING
    told = stakes(again, SHOWING, translator_for("en"))
    assert "few has it already" in told
    assert "first to few" not in told
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(2), version=1)
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT
    assert rang(core) == [SMALL, ALL]


async def test_what_is_edited_after_it_has_lapsed_takes_a_canary_again(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"approval.undo": "90m", "grace": "1d"})
    row = await agreed(core)
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    await lapsed(core, row)
    edit = Edit(core.request(text="Autrement", canary="few"))
    edited = await core.workflow.act(TEAM, row.id, edit, person=CLEO, version=1)
    assert "first to few" in stakes(edited, SHOWING, translator_for("en"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(2), version=2)
    core.now += 2 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).hold is Hold.CANARY
    assert rang(core) == [SMALL, SMALL]
