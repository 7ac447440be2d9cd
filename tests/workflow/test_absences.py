"""An approver who is away has a delegate, who takes their seat and no more."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.broadcast import Broadcast
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.storage import audit, tables
from bot.storage.absences import absences_at
from bot.storage.votes import add_vote, votes_for
from bot.workflow.approval_validity import FRESH
from bot.workflow.decision_types import Approve, Cancel, Reject, SendNow
from tests.support.cards import HOUR, told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

ANA, BEN, DORA, EVE = (approver(number) for number in (1, 2, 30, 31))  # Dora and Eve are no approvers
SETTINGS: dict[str, Any] = {
    "approval.approvers": [ANA.id, BEN.id],
    "approval.delegates": [DORA.id, EVE.id, "U0CLEO"],
}


@pytest.fixture
def core(make_core: MakeCore) -> Core:
    return make_core(**SETTINGS)


def told_to(error: Exception) -> str:
    return " ".join(str(one.sentence) for one in error.complaints) if isinstance(error, InvalidRequest) else str(error)


async def leave(core: Core, person: Person, delegate: str, hours: float = 24) -> None:
    await core.workflow.approvers.absences.leave(person, delegate, core.now + int(hours * HOUR))


async def approve(core: Core, row: Broadcast, person: Person) -> Broadcast:
    return await core.workflow.act(TEAM, row.id, Approve(), person=person, version=row.version)


async def test_a_delegate_approves_in_the_place_of_who_is_away(core: Core) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    await leave(core, ANA, DORA.id)
    assert (await approve(core, row, DORA)).state is State.SCHEDULED
    (vote,) = await core.database.read(lambda c: votes_for(c, row))
    assert (vote.approver, vote.seat) == (DORA.id, ANA.id)
    told = [str(note.sentence) for note in await told_of(core, row)]
    assert any(ANA.id in sentence and DORA.id in sentence for sentence in told)
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    steps = [(step["actor"], step["action"], step["reason"]) for step in history[-2:]]
    assert steps == [(DORA.id, "delegate", ANA.id), (DORA.id, "approve", None)]


@pytest.mark.parametrize("covers", [1, 2])
async def test_a_delegate_approves_only_what_comes_while_they_are_one(core: Core, covers: int) -> None:
    row = await core.ask()
    await core.edit(row, schedule="R2345678", occurrence="2027-01-15T09:00", covers=covers)
    await leave(core, ANA, DORA.id)
    assert (await approve(core, row, DORA)).state is State.SCHEDULED
    told = [str(note.sentence) for note in await told_of(core, row)]
    each = "A delegate approved it, so each later broadcast of this series asks again."
    assert (each in told) is (covers > 1)


@pytest.mark.long
async def test_the_delegate_is_told_once(core: Core) -> None:
    await leave(core, ANA, DORA.id)
    rows = await core.database.read(lambda c: c.execute(select(tables.posts)).mappings().all())
    assert [(row["place"], ANA.id in str(row["sentence"])) for row in rows] == [(DORA.id, True)]


async def test_who_is_away_does_not_approve_until_they_are_back(core: Core) -> None:
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    with pytest.raises(NotAllowed, match="You are away"):
        await approve(core, row, ANA)
    assert await core.workflow.approvers.absences.come_back(ANA)
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    assert (await approve(core, row, ANA)).state is State.SCHEDULED
    assert not await core.workflow.approvers.absences.come_back(ANA)


async def test_of_two_absences_that_are_told_at_once_one_stays(core: Core) -> None:
    await asyncio.gather(*(leave(core, ANA, delegate) for delegate in (DORA.id, EVE.id) * 5))
    stored = await core.database.read(lambda c: absences_at(c, TEAM, core.now))
    assert [one.person for one in stored] == [ANA.id]


async def test_an_absence_ends_by_itself(core: Core) -> None:
    row = await core.ask()
    await leave(core, ANA, DORA.id, hours=1)
    core.now += HOUR
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    assert (await approve(core, row, ANA)).state is State.SCHEDULED


async def test_a_delegate_and_the_approver_count_once(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.quorum": 2})
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    assert (await approve(core, row, DORA)).state is State.PENDING
    await core.workflow.approvers.absences.come_back(ANA)
    with pytest.raises(NotAllowed, match="in your place"):
        await approve(core, row, ANA)
    assert (await approve(core, row, BEN)).state is State.SCHEDULED


async def test_the_approver_voted_before_leaving_so_the_seat_is_taken(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.quorum": 2})
    row = await core.ask()
    await approve(core, row, ANA)
    await leave(core, ANA, DORA.id)
    with pytest.raises(NotAllowed, match="no longer"):
        await approve(core, row, DORA)


async def test_one_delegate_of_two_has_one_vote(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.quorum": 2})
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    await leave(core, BEN, DORA.id)
    for _ in range(2):
        assert (await approve(core, row, DORA)).state is State.PENDING


async def test_an_approver_who_stands_in_has_their_own_vote_alone(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.quorum": 2, "approval.delegates": [BEN.id, DORA.id]})
    row = await core.ask()
    await leave(core, ANA, BEN.id)
    assert (await approve(core, row, BEN)).state is State.PENDING
    (vote,) = await core.database.read(lambda c: votes_for(c, row))
    assert vote.seat == BEN.id


async def test_nobody_takes_the_seat_of_who_asked(core: Core) -> None:
    await leave(core, ANA, DORA.id)
    request = core.request().model_copy(update={"requester": ANA.id})
    row = (await core.workflow.submit(request, key="anas", person=ANA)).broadcast
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    assert (await approve(core, row, BEN)).state is State.SCHEDULED


async def test_who_asked_takes_no_seat(core: Core) -> None:
    row = await core.ask()
    await leave(core, ANA, CLEO.id)
    with pytest.raises(NotAllowed):
        await approve(core, row, CLEO)


async def test_a_delegate_who_leaves_too_approves_for_nobody_and_that_is_told(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.rules": [{"account": "octo", "quorum": 1, "approvers": [DORA.id]}]})
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    await leave(core, DORA, EVE.id)
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    with pytest.raises(NotAllowed):
        await approve(core, row, EVE)
    posts = await core.database.read(lambda c: c.execute(select(tables.posts)).mappings().all())
    assert [row["place"] for row in posts if "nobody approves" in str(row["sentence"])] == [ANA.id]


async def test_what_a_delegate_approved_stays_approved_when_the_other_is_back(make_core: MakeCore) -> None:
    core = make_core(**SETTINGS, **{"audiences.clients.policy": "always"})
    row = await core.ask(send_at=core.now + 3 * HOUR)
    await leave(core, ANA, DORA.id, hours=1)
    await approve(core, row, DORA)
    core.now += 3 * HOUR
    assert core.now - (await core.row(row.id)).created_at > FRESH
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_it_falls_once_the_approver_is_none_any_more(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.approvers": ["S0TEAM"]}, **{"audiences.clients.policy": "always"})
    row = await core.ask(send_at=core.now + 3 * HOUR)
    await leave(core, ANA, DORA.id, hours=1)
    core.people._members = only("U0APPROVER1", "U0APPROVER2")
    await approve(core, row, DORA)
    core.people._members = only("U0APPROVER2")
    core.now += 3 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []


def only(*ids: str) -> Any:
    async def members(group: str) -> frozenset[str]:
        return frozenset(ids)

    return members


async def test_a_delegate_may_reject_and_stop_it(core: Core) -> None:
    first, second = await core.ask(), await core.ask()
    await leave(core, ANA, DORA.id)
    await core.workflow.act(TEAM, first.id, Reject("wrong"), person=DORA, version=1)
    await core.workflow.act(TEAM, second.id, Cancel(), person=DORA, version=1)
    assert [(await core.row(row.id)).state for row in (first, second)] == [State.REJECTED, State.CANCELLED]


async def test_a_delegate_whom_the_settings_name_no_more_stands_in_for_nobody(make_core: MakeCore) -> None:
    core = make_core(**SETTINGS)
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    absences = core.workflow.approvers.absences
    for left in ((EVE.id,), ()):
        absences.approval = absences.approval.model_copy(update={"delegates": left})
        assert await absences.current(TEAM) == {}
        with pytest.raises(NotAllowed):
            await approve(core, row, DORA)
    assert (await approve(core, row, ANA)).state is State.SCHEDULED


@pytest.mark.parametrize(
    ("person", "delegate", "hours", "told"),
    [
        (CLEO, DORA.id, 1, "Only approvers"),
        (ANA, ANA.id, 1, "somebody else"),
        (ANA, BEN.id, 1, "cannot approve in your place"),
        (ANA, DORA.id, 0, "within the next 60 days"),
        (ANA, DORA.id, 24 * 60 + 1, "within the next 60 days"),
    ],
)
async def test_who_may_not_stand_in_is_refused_with_the_reason(
    core: Core, person: Person, delegate: str, hours: int, told: str
) -> None:
    with pytest.raises((NotAllowed, InvalidRequest)) as refused:
        await leave(core, person, delegate, hours)
    assert told in told_to(refused.value)
    assert await core.workflow.approvers.absences.current(TEAM) == {}


async def test_without_the_setting_nobody_stands_in(make_core: MakeCore) -> None:
    core = make_core()
    with pytest.raises(NotAllowed, match="set `approval"):
        await leave(core, approver(0), DORA.id)


async def test_who_is_back_while_the_delegate_presses_keeps_their_seat(core: Core) -> None:
    """The check of the press and the vote lie apart."""
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    may = core.workflow.permissions.may

    async def and_back(*given: Any) -> None:
        await may(*given)
        await core.workflow.approvers.absences.come_back(ANA)

    core.workflow.decisions.permissions.may = and_back  # type: ignore[method-assign, assignment]
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)
    assert await core.database.read(lambda c: votes_for(c, row)) == []


async def test_a_seat_ends_with_the_membership_of_its_approver(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    find = core.people.person

    async def without_ana(workspace: str, user: str) -> Person:
        return dataclasses.replace(await find(workspace, user), member=user != ANA.id)

    monkeypatch.setattr(core.people, "person", without_ana)
    with pytest.raises(NotAllowed):
        await approve(core, row, DORA)


async def test_what_an_ex_delegate_approved_falls_before_it_goes(make_core: MakeCore) -> None:
    core = make_core(**SETTINGS, **{"audiences.clients.policy": "always"})
    row = await core.ask(send_at=core.now + 3 * HOUR)
    await leave(core, ANA, DORA.id, hours=1)
    await approve(core, row, DORA)
    approvers = core.workflow.approvers
    approvers.approval = approvers.approval.model_copy(update={"delegates": (EVE.id,)})
    core.now += 3 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []


async def test_two_votes_for_one_seat_are_one_approval(make_core: MakeCore) -> None:
    """An older version, which knows no delegates, counts the approver and the delegate."""
    core = make_core(**{**SETTINGS, "approval.quorum": 2})
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    await approve(core, row, DORA)
    await core.database.write(lambda c: add_vote(c, row, ANA.id, "button", core.now))
    await core.edit(row, state="scheduled", due=core.now, start_at=core.now, approved_at=core.now, expires_at=None)
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is not State.SENT
    assert core.sandbox.vendors.ledger == []


async def test_an_absence_ends_no_approved_series_and_no_request(make_core: MakeCore) -> None:
    core = make_core(**{**SETTINGS, "approval.quorum": 2})
    await leave(core, ANA, DORA.id)
    await leave(core, BEN, DORA.id)
    assert (await core.ask()).state is State.PENDING  # it waits until one of them is back


async def test_the_reminder_names_the_delegate(core: Core) -> None:
    row = await core.ask()
    await leave(core, ANA, DORA.id)
    core.now += HOUR
    await core.approval_reminders().tick()
    mention = str((await told_of(core, row))[-1].mention).split()
    assert mention == [DORA.id, BEN.id]


async def test_what_is_held_goes_on_with_a_delegates_approval(make_core: MakeCore) -> None:
    core = make_core(**SETTINGS, **{"audiences.clients.policy": "always"})
    row = await core.ask(send_at=core.now + HOUR)
    await leave(core, ANA, DORA.id)
    await approve(core, row, DORA)
    core.now += 12 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.HELD
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("one"))
    assert len(core.sandbox.vendors.ledger) == 1
