"""Sizes that become known late decide how many approvals are needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold, State
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Approve, Cancel, Edit, Replan, SendNow
from providers.base import Purpose
from tests.support.cards import HOUR, told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

RULE = {"approval.rules": [{"purpose": "marketing", "larger_than": 1000, "quorum": 2}]}


async def test_it_takes_as_many_approvals_as_the_size_that_is_known_by_now_asks_for(make_core: MakeCore) -> None:
    """C39: a list of 3 people, whose size arrives late."""
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    assert row.quorum == 2  # the size was not known
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).quorum == 1
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_a_vote_that_is_enough_by_the_size_that_came_late_schedules_it(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.PENDING
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).state is State.SCHEDULED


TWO = {"approval.quorum": 2}
LEARNT: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "fewer people": (TWO, {"size": 3}, None),
    "as many as it could be": (TWO, {"size": 5000}, None),
    "more people": (TWO, {"size": 25_000}, "It now goes to 25000 people."),
    "a cost": (TWO, {"size": 3, "quoted": "900 EUR"}, "It now costs 900 EUR."),
    "no name for some": ({**TWO, "text": "Bonjour %%name%%"}, {"size": 3, "unnamed": 2}, "to fill in: 2."),
    "no name that is asked for": (TWO, {"size": 3, "unnamed": 2}, None),
    "both": (TWO, {"size": 25_000, "quoted": "900 EUR"}, "It now goes to 25000 people. It now costs 900 EUR."),
    "a cost of what few would do for": (RULE, {"size": 3, "quoted": "900 EUR"}, "It now costs 900 EUR."),
}


@pytest.mark.parametrize("what", LEARNT)
async def test_who_approved_agreed_to_no_more_than_was_known_then(make_core: MakeCore, what: str) -> None:
    changes, learnt, told = LEARNT[what]
    core = make_core(**{name: value for name, value in changes.items() if name != "text"})
    row = await core.ask(text=changes.get("text", "Soldes"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, **learnt)
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert len(votes) == (told is None)
    after = await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert after.state is (State.SCHEDULED if told is None or after.quorum == 1 else State.PENDING)
    assert (told is not None) == ("lapse" in await core.actions(row))
    fell = [note for note in await told_of(core, row) if "That was not known" in str(note.sentence)]
    assert [(str(told) in str(note.sentence), note.mention) for note in fell] == [(True, approver(0).id)] * len(fell)
    assert len(fell) == (told is not None)


async def test_an_approval_that_is_left_is_for_no_more_people_than_it_was_given_for(make_core: MakeCore) -> None:
    core = make_core(**TWO)
    row = await core.ask()
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, 25_000)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    again = await core.workflow.act(TEAM, row.id, Approve(), person=approver(2), version=1)
    assert again.state is State.PENDING


async def test_a_size_asks_for_its_approvals_although_the_settings_name_its_audience_no_more(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"approval.rules": [{"purpose": "marketing", "larger_than": 6000, "quorum": 2}]})
    row = await core.ask()
    assert row.quorum == 1
    del core.settings.audiences["clients"]
    await core.workflow.sizes.learn(TEAM, row.id, 25_000)
    assert (await core.row(row.id)).quorum == 2
    voted = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert voted.state is State.PENDING


async def test_what_asked_for_an_approval_never_goes_without_one_for_its_size(make_core: MakeCore) -> None:
    core = make_core()
    row = await core.ask(audience="everyone", purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête")
    assert row.quorum == 1  # it may reach more than 500
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 1)


@pytest.mark.parametrize(("audience", "list"), [("clients", "1"), ("paris", "2")])
async def test_what_was_approved_for_nobody_asks_again_once_its_list_has_filled_up(
    core: Core, audience: str, list: str
) -> None:
    """`paris` has no `max_size`."""
    row = await core.ask(audience=audience)
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=1, status=200, body=[])
    await core.dispatcher("a").sizes.learn()
    assert (await core.row(row.id)).size == 0
    agreed = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (agreed.state, agreed.bound) == (State.SCHEDULED, 0)
    await core.run(core.dispatcher("a"))
    after = await core.row(row.id)
    assert (after.state, after.size) == (State.PENDING, len(core.sandbox.vendors.encom.lists[list][1]))
    assert core.sandbox.vendors.ledger == []


async def test_an_edit_of_what_goes_to_nobody_asks_for_no_more_than_it_needs(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await core.ask()
    assert row.quorum == 2  # by the audience's `max_size`
    await core.workflow.sizes.learn(TEAM, row.id, 0)
    later = {"send_at": core.now + HOUR}
    again = await core.workflow.act(TEAM, row.id, Replan(**later), person=CLEO, version=1)
    assert again.quorum == 1


async def test_an_hour_that_asks_for_more_counts_when_it_is_approved(make_core: MakeCore) -> None:
    """Asked for in the afternoon, approved at night."""
    night = {"purpose": "marketing", "between": "20:00-08:00", "timezone": "Europe/Paris", "quorum": 2}
    core = make_core(**{"approval.rules": [night]})
    row = await core.ask()
    assert row.quorum == 1
    core.now += 12 * HOUR
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 2)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_the_rule_of_the_hour_counts_at_which_the_sending_hours_open(make_core: MakeCore) -> None:
    """Approved in the evening, it goes by itself in the morning, when nobody is asked again."""
    morning = {"purpose": "marketing", "between": "07:00-11:00", "timezone": "Europe/Paris", "quorum": 2}
    core = make_core(**{"approval.rules": [morning], "audiences.clients.policy": "fr"})
    core.now += 12 * HOUR
    row = await core.ask()
    assert row.quorum == 2
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_a_cost_that_turns_out_low_asks_for_no_more_than_it_needs(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{"purpose": "marketing", "costs_more_than": 100, "quorum": 2}]})
    row = await core.ask()
    assert row.quorum == 2  # nobody knows the cost
    await core.workflow.sizes.learn(TEAM, row.id, None, quoted="2.58 EUR")
    assert (await core.row(row.id)).quorum == 1
    await core.workflow.sizes.learn(TEAM, row.id, None, quoted="258 EUR")
    assert (await core.row(row.id)).quorum == 2


NIGHT = {"purpose": "marketing", "between": "20:00-08:00", "timezone": "Europe/Paris"}


async def test_at_night_those_approve_whom_the_rule_of_the_night_names(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{**NIGHT, "quorum": 1, "approvers": ["U0APPROVER9"]}]})
    row = await core.ask()
    core.now += 12 * HOUR
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    asked = await core.row(row.id)
    assert (asked.state, asked.approvers) == (State.PENDING, ("U0APPROVER9",))
    told = (await told_of(core, row))[-1]
    assert (str(told.sentence), told.mention) == ("At this hour it needs approval by <@U0APPROVER9>.", "U0APPROVER9")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(9), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


MANY = {"purpose": "marketing", "larger_than": 1000, "quorum": 1, "approvers": ["U0APPROVER9"]}
PRICEY = {"purpose": "marketing", "costs_more_than": 100, "quorum": 1, "approvers": ["U0APPROVER9"]}


@pytest.mark.parametrize(
    ("rule", "before", "learnt"),
    [
        (MANY, {"size": 500}, {"size": 1001}),
        (PRICEY, {"size": 500, "quoted": "99 EUR"}, {"size": 500, "quoted": "101 EUR"}),
    ],
    ids=["more people", "a higher cost"],
)
@pytest.mark.parametrize("voted", [False, True], ids=["unvoted", "voted"])
async def test_those_approve_whom_the_rule_for_what_is_known_by_now_names(
    make_core: MakeCore, rule: dict[str, Any], before: dict[str, Any], learnt: dict[str, Any], voted: bool
) -> None:
    core = make_core(**{"approval.rules": [rule], "approval.quorum": 2})
    row = await core.ask()
    await core.workflow.sizes.learn(TEAM, row.id, **before)
    assert (await core.row(row.id)).approvers == core.settings.approval.approvers  # those of a rule that no longer fits
    if voted:
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, **learnt)
    asked = await core.row(row.id)
    assert (asked.state, asked.approvers) == (State.PENDING, ("U0APPROVER9",))
    assert not await core.database.read(lambda c: votes_for(c, asked)), "the votes were given by others"
    assert "U0APPROVER9" in str((await told_of(core, row))[-1].mention)
    with pytest.raises(NotAllowed):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(9), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_who_approved_for_more_people_has_approved_it_for_fewer(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{**MANY, "quorum": 2, "approvers": ["U0APPROVER8", "U0APPROVER9"]}]})
    row = await core.ask(audience="everyone")
    assert (row.quorum, row.approvers) == (2, ("U0APPROVER8", "U0APPROVER9"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(9), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_another_size_takes_no_approver_from_a_text_that_was_lately_marketing(make_core: MakeCore) -> None:
    rules = [{**MANY, "larger_than": None}, {"purpose": "transactional", "larger_than": 500, "quorum": 1}]
    core = make_core(**{"approval.rules": rules})
    first = await core.ask(text="Soldes de lundi")
    await core.workflow.act(TEAM, first.id, Cancel(), person=CLEO, version=1)
    row = await core.ask(text="Soldes de lundi", purpose=Purpose.TRANSACTIONAL)
    assert (row.state, row.approvers) == (State.PENDING, ("U0APPROVER9",))
    await core.workflow.sizes.learn(TEAM, row.id, 20)
    assert (await core.row(row.id)).approvers == ("U0APPROVER9",)


async def test_whoever_presses_next_is_looked_at_by_the_rule_of_that_hour(make_core: MakeCore) -> None:
    """Asked at night, pressed by day, and pressed again at night: each time those of the hour must approve."""
    core = make_core(**{"approval.rules": [{**NIGHT, "quorum": 1, "approvers": ["U0APPROVER9"]}]})
    core.now += 12 * HOUR
    row = await core.ask()
    assert row.approvers == ("U0APPROVER9",)
    by_day = core.settings.approval.approvers
    for who, hours, now_asked in ((9, 12, by_day), (0, 12, ("U0APPROVER9",)), (9, 12, by_day)):
        core.now += hours * HOUR
        await core.edit(row, expires_at=core.now + HOUR)
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(who), version=1)
        asked = await core.row(row.id)
        assert (asked.state, asked.approvers) == (State.PENDING, now_asked), who
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_who_was_an_approver_before_another_rule_came_in_gives_no_vote(make_core: MakeCore) -> None:
    """A double press: the first lets the rule of the night in, and the second was allowed before."""
    core = make_core(**{"approval.rules": [{**NIGHT, "quorum": 1, "approvers": ["U0APPROVER9"]}]})
    row = await core.ask()
    core.now += 12 * HOUR
    presses = [core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1) for _ in range(2)]
    await asyncio.gather(*presses, return_exceptions=True)
    asked = await core.row(row.id)
    assert (asked.state, asked.approvers) == (State.PENDING, ("U0APPROVER9",))


async def test_a_size_that_comes_at_night_lets_nothing_go_by_the_votes_of_the_day(make_core: MakeCore) -> None:
    few = {**NIGHT, "quorum": 1, "approvers": ["U0APPROVER9"]}
    core = make_core(**{"approval.rules": [few], "approval.quorum": 2})
    row = await core.ask()
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    core.now += 12 * HOUR
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    asked = await core.row(row.id)
    assert (asked.state, asked.approvers) == (State.PENDING, ("U0APPROVER9",))


async def test_a_new_time_takes_no_approver_from_a_text_that_was_lately_marketing(make_core: MakeCore) -> None:
    rules = [{**MANY, "larger_than": None}, {"purpose": "transactional", "quorum": 1}]
    core = make_core(**{"approval.rules": rules})
    first = await core.ask(text="Soldes de lundi")
    await core.workflow.act(TEAM, first.id, Cancel(), person=CLEO, version=1)
    row = await core.ask(text="Soldes de lundi", purpose=Purpose.TRANSACTIONAL)
    again = await core.workflow.act(TEAM, row.id, Replan(send_at=core.now + HOUR), person=CLEO, version=1)
    assert again.approvers == ("U0APPROVER9",)


async def test_a_size_takes_nothing_from_what_its_canary_needs(make_core: MakeCore) -> None:
    two = {"purpose": "marketing", "audience": "few", "quorum": 2}
    few = {"account": "encom", "kind": "list", "id": "7", "policy": "always", "max_size": 10}
    core = make_core(**{"approval.rules": [two], "audiences.few": few})
    row = await core.ask(canary="few")
    assert row.quorum == 2
    await core.workflow.sizes.learn(TEAM, row.id, 100)
    assert (await core.row(row.id)).quorum == 2


async def test_send_now_at_night_asks_for_the_approvals_of_the_night(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{**NIGHT, "quorum": 2}], "audiences.clients.policy": "always"})
    row = await core.approved(send_at=core.now + HOUR)
    core.now += 12 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).hold is Hold.LATE
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    asked = await core.row(row.id)
    assert (asked.state, asked.quorum) == (State.PENDING, 2)


async def test_a_purpose_that_an_edit_changed_is_no_way_around_the_approvals_of_marketing(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{"purpose": "transactional", "larger_than": 99_999, "quorum": 1}]})
    first = await core.ask(text="Horaires de lundi")
    request = core.request(text="Horaires de lundi", purpose=Purpose.TRANSACTIONAL)
    await core.workflow.act(TEAM, first.id, Edit(request), person=CLEO, version=1)
    await core.workflow.act(TEAM, first.id, Cancel(), person=CLEO, version=2)
    again = await core.ask(text="Horaires de lundi", purpose=Purpose.TRANSACTIONAL)
    assert (again.state, again.quorum) == (State.PENDING, 1)


async def test_a_draft_whose_card_was_lost_needs_no_fewer_approvals_than_before(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{"purpose": "transactional", "larger_than": 99_999, "quorum": 1}]})
    row = await core.ask(text="Horaires de lundi")
    request = core.request(text="Horaires de lundi", purpose=Purpose.TRANSACTIONAL)
    edited = await core.workflow.act(TEAM, row.id, Edit(request), person=CLEO, version=1)
    assert edited.quorum == 1
    await core.edit(edited, state="draft", version=3)
    submitted = await core.workflow.submit(request, key="again", person=CLEO, draft=row.id)
    assert (submitted.broadcast.state, submitted.broadcast.quorum) == (State.PENDING, 1)
    assert submitted.broadcast.marketing_until is not None


async def test_a_draft_is_asked_about_by_the_rule_of_the_hour_of_its_submit(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": [{**NIGHT, "quorum": 1, "approvers": ["U0APPROVER9"]}]})
    core.now += 12 * HOUR
    request = core.request()
    kept = await core.workflow.submit(request, key="draft", person=CLEO, postable=False)
    core.now += 12 * HOUR
    row = (await core.workflow.submit(request, key="sent", person=CLEO, draft=kept.broadcast.id)).broadcast
    assert (row.state, row.approvers) == (State.PENDING, core.settings.approval.approvers)
    core.now += 12 * HOUR
    await core.edit(row, expires_at=core.now + HOUR)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    asked = await core.row(row.id)
    assert (asked.state, asked.approvers) == (State.PENDING, ("U0APPROVER9",))
