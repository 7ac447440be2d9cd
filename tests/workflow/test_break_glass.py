"""An alert may go without approval: by those whom the settings name, aloud, and reviewed by somebody else."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.lifecycle import Hold, State
from bot.domain.people import DirectoryUnavailable, Person
from bot.storage import audit, tables
from bot.workflow.approval_validity import FRESH
from bot.workflow.deadlines import DAY
from bot.workflow.decision_types import Approve, BreakGlass, Edit, RequestChanges, SendNow, Stop
from providers.base import Purpose
from tests.support.cards import HOUR, told_of
from tests.support.core import APPROVERS, CLEO, TEAM, Core, MakeCore, approver

WHY = "The car park is flooding"
ALERT = {"text": "Do not use the car park", "purpose": Purpose.TRANSACTIONAL}
RULE = {"approval.rules": [{"purpose": "transactional", "quorum": 1}], "audiences.clients.max_size": 5000}
ON = {**RULE, "approval.break_glass": ["U0CLEO", "U0DAN"], "approval.undo": "30s", "admins": ["U0OPS"]}
DAN, EVA, OPS = (dataclasses.replace(CLEO, id=id) for id in ("U0DAN", "U0EVA", "U0OPS"))


@pytest.fixture
def core(make_core: MakeCore) -> Core:
    return make_core(**ON)


async def alert(core: Core, **changes: Any) -> Broadcast:
    row = await core.ask(**(ALERT | changes))
    assert row.state is State.PENDING
    return row


async def broken(core: Core, row: Broadcast, person: Any = CLEO, reason: str = WHY, **more: Any) -> Broadcast:
    return await core.workflow.act(TEAM, row.id, BreakGlass(reason, **more), person=person, version=row.version)


async def refused(core: Core, row: Broadcast, person: Any = CLEO) -> str:
    with pytest.raises(NotAllowed) as error:
        await broken(core, row, person)
    after = await core.row(row.id)
    assert (after.state, after.glass_by) == (row.state, None)
    assert (await core.actions(row))[-1] == "break_glass_refused"
    return str(error.value.sentence)


async def sent(core: Core) -> int:
    await core.run(core.dispatcher("one"))
    return len(core.sandbox.vendors.ledger)


async def closed(core: Core, row: Broadcast, person: Any, comment: str = "") -> None:
    await core.workflow.reviews.close(TEAM, row.id, person=person, version=row.version, comment=comment)


async def posts(core: Core) -> list[tuple[str, str]]:
    found = select(tables.posts.c.place, tables.posts.c.key).order_by(tables.posts.c.seq)
    return [(row.place, row.key) for row in await core.database.read(lambda c: c.execute(found).all())]


async def test_an_alert_goes_without_approval_after_its_undo_window(core: Core) -> None:
    row = await broken(core, await alert(core))
    assert (row.state, row.quorum, row.due, row.bound) == (State.SCHEDULED, 1, core.now + 30 * SECOND, 5000)
    assert (row.glass_by, row.glass_reason, row.review_open) == ("U0CLEO", WHY, True)
    assert await sent(core) == 0
    core.now += 31 * SECOND
    assert await sent(core) == 1
    assert (await core.row(row.id)).state is State.SENT
    ((reason,),) = [
        (step["reason"],)
        for step in await core.database.read(lambda c: audit.history(c, TEAM, row.id))
        if step["action"] == "break_glass"
    ]
    assert reason == WHY


async def test_it_is_off_unless_the_settings_name_somebody(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await alert(core)
    assert not core.workflow.decisions.breaking_glass.is_offered(row)
    assert await refused(core, row) == "Nobody can send without approval here."


async def test_only_those_whom_the_settings_name_may(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "approval.break_glass": ["S0GUARDS"], "approval.approvers": APPROVERS[:3]})
    row = await alert(core)
    assert "Only <!subteam^S0GUARDS> can send" in await refused(core, row)  # who asked for it is not in that group
    assert (await broken(core, row, approver(7))).glass_by == APPROVERS[7]


async def test_who_may_not_write_to_the_audience_does_not_send_to_it_either(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "audiences.clients.requesters": ["U0CLEO"]})
    assert "can write to *clients*" in await refused(core, await alert(core), DAN)


async def test_a_guest_may_not_whatever_the_settings_say(core: Core) -> None:
    assert "Only full members" in await refused(core, await alert(core), dataclasses.replace(CLEO, member=False))


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "marketing": ({"purpose": Purpose.MARKETING}, "Marketing always needs"),
    "reads like an offer": ({"text": "Soldes dans le parking"}, "reads like an offer (Soldes)"),
    "with a canary": ({"canary": "few"}, "one with a canary"),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_nothing_but_a_plain_alert_goes_without_approval(make_core: MakeCore, what: str) -> None:
    few = {"audiences.few": {"account": "encom", "id": "2", "max_size": 3}}
    core, (changes, why) = make_core(**ON, **few), OTHERS[what]
    row = await alert(core, **changes)
    assert not core.workflow.decisions.breaking_glass.is_offered(row)
    assert why in await refused(core, row)


async def test_what_was_lately_asked_for_as_marketing_needs_approval(make_core: MakeCore) -> None:
    core = make_core(**ON, **{"approval.duplicates_within": "0s"})
    other = await core.ask(text=ALERT["text"])
    assert f"lately marketing (*{other.id}*)" in await refused(core, await alert(core))


@pytest.mark.parametrize("way", ["edited", "given back"])
async def test_what_was_marketing_itself_needs_approval(core: Core, way: str) -> None:
    row = await core.ask(text="Something else")
    request = core.request(**ALERT)
    if way == "edited":
        row = await core.workflow.act(TEAM, row.id, Edit(request), person=CLEO, version=1)
    else:
        card = {"workspace": TEAM, "broadcast": row.id, "version": 1, "channel": "C1", "ts": "1.1", "drawn": 1}
        await core.database.write(lambda c: c.execute(tables.cards.insert().values(**card)))
        await core.workflow.act(TEAM, row.id, RequestChanges("shorter"), person=approver(0), version=1)
        again = await core.workflow.submit(request, key="again", person=CLEO, draft=row.id)
        row = again.broadcast
    assert (row.purpose, row.version) == (Purpose.TRANSACTIONAL, 2)
    assert "was marketing before it was edited" in await refused(core, row)


async def test_what_no_rule_about_alerts_asks_about_needs_an_approver(core: Core) -> None:
    row = await alert(core)
    core.settings.approval.__dict__["rules"] = ()
    assert "another reason than a rule" in await refused(core, row)


async def test_a_test_for_many_needs_approval(make_core: MakeCore) -> None:
    core = make_core(
        **{**ON, "audiences.many": {"account": "encom", "id": "4"}, "accounts.encom.test_audience": "many"}
    )
    assert "A test, a recurring" in await refused(core, await alert(core, test=True))


@pytest.mark.parametrize("reason", ["", "   ", "Fire!", "  Fire!    \n ", "Fire here"])
async def test_a_reason_is_asked_for(core: Core, reason: str) -> None:
    row = await alert(core)
    with pytest.raises(InvalidRequest) as error:
        await broken(core, row, reason=reason)
    assert [one.field for one in error.value.complaints] == ["reason"]
    assert (await core.row(row.id)).state is State.PENDING


async def test_ten_characters_are_a_reason(core: Core) -> None:
    assert (await broken(core, await alert(core), reason=" It is fire ")).glass_reason == "It is fire"


async def test_what_has_expired_is_not_sent_although_no_tick_has_ended_it(core: Core) -> None:
    row = await alert(core)
    core.now = row.expires_at or 0
    with pytest.raises(NotAllowed) as error:
        await broken(core, row)
    assert str(error.value.sentence) == f"The time to approve it ended {row.expires_at}."


async def test_it_is_for_no_more_people_than_were_shown(core: Core) -> None:
    row = await alert(core)
    await core.workflow.sizes.learn(TEAM, row.id, 30)
    with pytest.raises(InvalidRequest) as error:
        await broken(core, row, most=29)
    assert [one.field for one in error.value.complaints] == ["reason"]
    assert (await broken(core, row, most=30)).bound == 30


async def test_what_is_late_is_planned_anew_first(core: Core) -> None:
    row = await alert(core, send_at=core.now + HOUR)
    core.now += HOUR + 11 * 60 * SECOND
    with pytest.raises(NotAllowed) as error:
        await broken(core, row)
    assert "Re-plan it first" in str(error.value.sentence)


async def test_of_an_approval_and_a_broken_glass_in_the_same_instant_one_wins(core: Core, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(10):
        row = await alert(core, text=f"Do not use car park {number}", audience="clients")
        decisions: list[Any] = [(Approve(), approver(0)), (BreakGlass(WHY), CLEO)]
        chance.shuffle(decisions)
        outcomes = await asyncio.gather(
            *(core.workflow.act(TEAM, row.id, one, person=who, version=1) for one, who in decisions),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)] == [StaleVersion]
        (won,) = [step for step in await core.actions(row) if step in ("approve", "break_glass")]
        after = await core.row(row.id)
        assert (after.state, after.skips_approval) == (State.SCHEDULED, won == "break_glass")
        assert len([place for place, key in await posts(core) if row.id in key]) == (50 if after.skips_approval else 0)


async def test_an_approver_stops_it_in_time(core: Core) -> None:
    row = await broken(core, await alert(core))
    await core.workflow.act(TEAM, row.id, Stop(), person=approver(3), version=1)
    core.now += HOUR
    assert await sent(core) == 0
    stopped = await core.row(row.id)
    assert (stopped.state, stopped.review_open) == (State.CANCELLED, True)  # that it was let go is still looked at


async def test_edited_afterwards_it_needs_approval_again(core: Core) -> None:
    row = await broken(core, await alert(core, send_at=core.now + HOUR))
    await closed(core, row, approver(0))
    edit = Edit(core.request(**(ALERT | {"text": "Do not use the lift", "send_at": core.now + HOUR})))
    new = await core.workflow.act(TEAM, row.id, edit, person=CLEO, version=1)
    assert (new.state, new.version, new.quorum) == (State.PENDING, 2, 1)
    assert (new.glass_by, new.glass_at, new.review_at, new.reviewed_by) == (None, None, None, None)
    core.now += HOUR + SECOND
    assert await sent(core) == 0
    with pytest.raises(StaleVersion):
        await broken(core, row)  # the button of the old card


async def test_to_more_people_than_were_known_it_goes_back_to_the_approvers(core: Core) -> None:
    row = await alert(core)
    await core.workflow.sizes.learn(TEAM, row.id, 1)
    await broken(core, row)
    core.now += 31 * SECOND
    assert await sent(core) == 0
    back = await core.row(row.id)
    assert (back.state, back.skips_approval, back.review_open) == (State.PENDING, False, False)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    core.now += 31 * SECOND
    assert await sent(core) == 1


TAMPERED: dict[str, dict[str, Any]] = {
    "no record of it": {"glass_at": None},
    "a record from before it went back": {"approved_at": 1},
    "a record of something else": {"glass_digest": "d" * 64},
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_without_the_record_of_it_nothing_goes_out(core: Core, what: str) -> None:
    row = await broken(core, await alert(core))
    await core.edit(row, **TAMPERED[what])
    core.now += 31 * SECOND
    assert await sent(core) == 0
    assert (await core.row(row.id)).state is State.PENDING


async def test_a_record_of_it_never_lets_marketing_go(core: Core) -> None:
    row = await broken(core, await alert(core))
    marketing = dataclasses.replace(row, purpose=Purpose.MARKETING)
    digest = marketing.computed_digest()
    await core.edit(row, purpose=Purpose.MARKETING, digest=digest, glass_digest=digest)
    core.now += 31 * SECOND
    assert await sent(core) == 0


async def test_what_holds_an_approved_broadcast_holds_it_too(core: Core) -> None:
    row = await broken(core, await alert(core))
    await core.workflow.pause_all(OPS, on=True)
    core.now += 31 * SECOND
    assert await sent(core) == 0
    assert (await core.row(row.id)).hold is Hold.PAUSED
    await core.workflow.pause_all(OPS, on=False)
    core.now += FRESH // 2
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    core.now += FRESH
    await core.edit(row, start_at=core.now)
    assert await sent(core) == 1


async def test_held_for_longer_than_an_approval_lasts_it_needs_one(core: Core) -> None:
    row = await broken(core, await alert(core))
    await core.edit(row, state=State.HELD, hold=Hold.LATE, due=None)
    core.now += 30 * DAY
    after = await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert (after.state, after.glass_by) == (State.PENDING, None)


async def test_every_approver_is_told_once_and_the_thread_names_them_aloud(core: Core) -> None:
    row = await broken(core, await alert(core), DAN)
    (said,) = [note for note in await told_of(core, row) if "without approval" in str(note.sentence)]
    assert (said.mention, said.aloud) == ("S0APPROVERS U0CLEO", True)  # and whoever asked for it
    assert f"<@U0DAN> is sending this without approval: “{WHY}”" in str(said.sentence)
    assert sorted(place for place, _ in await posts(core)) == sorted(APPROVERS)
    with pytest.raises(StaleVersion):
        await broken(core, row, DAN)
    assert len(await posts(core)) == len(APPROVERS)


async def test_who_broke_the_glass_is_not_told_of_it(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "approval.approvers": ["U0CLEO", "U0DAN", *APPROVERS[:2]]})
    await broken(core, await alert(core), DAN)
    assert sorted(place for place, _ in await posts(core)) == APPROVERS[:2]


async def test_where_nobody_else_would_know_of_it_nothing_happens(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "approval.approvers": ["U0CLEO", "U0DAN", APPROVERS[0]]})
    row = await alert(core)
    await core.edit(row, approvers=["U0CLEO", "U0DAN"])
    with pytest.raises(NotAllowed) as error:
        await broken(core, row, DAN)
    assert "nobody would look at it" in str(error.value.sentence)
    assert (await core.row(row.id)).state is State.PENDING


async def test_if_others_must_approve_it_meanwhile_it_is_looked_at_again(core: Core) -> None:
    row = await alert(core)
    core.settings.approval.__dict__["approvers"] = ("S0APPROVERS", "S0OTHERS")
    glass = core.workflow.decisions.breaking_glass
    work = await glass.prepared(dataclasses.replace(row, approvers=("S0OTHERS",)), CLEO, BreakGlass(WHY))
    assert await core.database.write(work) is None
    assert (await core.row(row.id)).state is State.PENDING


async def test_if_slack_does_not_say_who_is_to_be_told_nothing_happens(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(group: str) -> frozenset[str]:
        raise DirectoryUnavailable(group)

    row = await alert(core)
    monkeypatch.setattr(core.people, "_members", silent)
    with pytest.raises(DirectoryUnavailable):
        await broken(core, row)
    assert (await core.row(row.id)).state is State.PENDING
    assert await posts(core) == []


# --- the review ------------------------------------------------------------------------------------------------------


async def test_somebody_else_who_may_approve_it_closes_the_review(core: Core) -> None:
    row = await broken(core, await alert(core), DAN)
    for person in (CLEO, DAN, OPS):
        with pytest.raises(NotAllowed):
            await closed(core, row, person)
    assert (await core.actions(row))[-1] == "close_review_refused"
    await closed(core, row, approver(0), "Justified")
    after = await core.row(row.id)
    assert (after.reviewed_by, after.reviewed_at, after.review_open) == (APPROVERS[0], core.now, False)
    last = (await told_of(core, row))[-1]
    assert (str(last.sentence), last.mention) == (f"<@{APPROVERS[0]}> closed the review. “Justified”", "U0DAN")
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert [step["reason"] for step in history if step["action"] == "close_review"] == ["Justified"]
    await closed(core, row, approver(0))  # again, without an effect
    with pytest.raises(StaleVersion):
        await closed(core, row, approver(1))
    core.now += 31 * SECOND
    assert await sent(core) == 1  # a review neither approves nor stops it


async def test_of_two_who_close_it_in_the_same_instant_one_does(core: Core) -> None:
    row = await broken(core, await alert(core))
    outcomes = await asyncio.gather(*(closed(core, row, approver(n)) for n in range(9)), return_exceptions=True)
    assert sorted(str(type(one).__name__) for one in outcomes if one) == ["StaleVersion"] * 8
    assert (await core.actions(row)).count("close_review") == 1


async def test_the_button_of_an_older_version_closes_no_review(core: Core) -> None:
    old = await broken(core, await alert(core, send_at=core.now + HOUR))
    edit = Edit(core.request(**(ALERT | {"text": "Do not use the lift", "send_at": core.now + HOUR})))
    new = await core.workflow.act(TEAM, old.id, edit, person=CLEO, version=1)
    await broken(core, new)
    with pytest.raises(StaleVersion):
        await closed(core, old, approver(0))
    assert (await core.row(old.id)).review_open


async def test_what_nobody_sent_without_approval_has_no_review(core: Core) -> None:
    with pytest.raises(StaleVersion):
        await closed(core, await alert(core), approver(0))


async def test_a_reminder_names_nobody_who_may_not_close_it(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "approval.approvers": ["U0CLEO", *APPROVERS[:2]]})
    row = await broken(core, await alert(core))
    core.now += DAY
    await core.workflow.reviews.tick()
    assert (await told_of(core, row))[-1].mention == " ".join(APPROVERS[:2])


@pytest.mark.parametrize(("away", "may"), [(approver(0), True), (DAN, False)])
async def test_a_delegate_is_told_and_closes_it_in_the_place_of_another_than_who_sent_it(
    make_core: MakeCore, away: Person, may: bool
) -> None:
    names = {"approval.approvers": ["U0DAN", *APPROVERS[:2]], "approval.delegates": ["U0EVA"]}
    core = make_core(**{**ON, **names})
    await core.workflow.approvers.absences.leave(away, EVA.id, core.now + DAY)
    row = await broken(core, await alert(core), DAN)
    assert ("U0EVA", f"glass:{row.id}:{row.glass_at}:U0EVA") in await posts(core)
    if may:
        await closed(core, row, EVA)
    else:
        with pytest.raises(NotAllowed):
            await closed(core, row, EVA)
    assert (await core.row(row.id)).review_open is not may


async def test_an_admin_closes_the_review_when_no_other_approver_is_left(make_core: MakeCore) -> None:
    core = make_core(**{**ON, "approval.approvers": ["U0CLEO", "S0APPROVERS"]})
    row = await broken(core, await alert(core))
    core.gone = set(APPROVERS)
    with pytest.raises(NotAllowed):
        await closed(core, row, approver(0))
    await closed(core, row, OPS)
    assert (await core.row(row.id)).reviewed_by == "U0OPS"


async def test_in_training_one_person_takes_every_step(make_core: MakeCore) -> None:
    core = make_core(**ON, mode="training")
    row = await broken(core, await alert(core))
    assert "Training: nothing is really sent." in str((await told_of(core, row))[-1].sentence)
    await closed(core, row, CLEO)
    core.now += 31 * SECOND
    await sent(core)
    assert (await core.row(row.id)).state is State.SENT


async def test_approvers_are_reminded_once_a_day_until_the_review_is_closed(core: Core) -> None:
    row = await broken(core, await alert(core))
    core.now += 31 * SECOND
    await sent(core)
    await core.edit(row, state=State.DONE)  # its end does not end the review
    known = len(await told_of(core, row))
    for _ in range(3 * 24 + 1):  # three days, hour by hour
        core.now += HOUR
        await asyncio.gather(*(core.workflow.reviews.tick() for _ in range(2)))
    new = (await told_of(core, row))[known:]
    assert [note.mention for note in new] == ["S0APPROVERS"] * 3
    assert "<@U0CLEO> skipped the approval" in str(new[0].sentence)
    await closed(core, row, approver(0))
    core.now += 2 * DAY
    await core.workflow.reviews.tick()
    assert len(await told_of(core, row)) == known + 4
