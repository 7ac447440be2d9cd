"""A template is approved once. Whoever only fills in its slots needs no further approval; all else does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from bot.config.settings import AudienceSettings
from bot.domain.broadcast import Broadcast
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.storage import audit, tables
from bot.storage.templates import Template, find_template
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Edit
from bot.workflow.template_approval import Offer
from bot.workflow.template_cover import Filled
from providers.base import Purpose
from tests.support.cards import HOUR
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

DAN = replace(CLEO, id="U0DAN", name="Dan")
WORDING = "Nos soldes à {{city:20}} dès le {{day:date}}"
PARIS = {"city": "Paris", "day": "24/12/2027"}
FILLED = "Nos soldes à Paris dès le 24/12/2027"
NO_PRESS = "U0APPROVER0"


def template(core: Core, text: str = WORDING, **more: Any) -> Template:
    given: dict[str, Any] = {"audience": "clients", "purpose": Purpose.MARKETING, "sender": None, "campaign": None}
    given |= {"workspace": TEAM, "name": "promo", "owner": CLEO.id, "changed_at": core.now}
    return Template(text=text, **(given | more))


async def keep(core: Core, text: str = WORDING, person: Person = CLEO, **more: Any) -> Template:
    core.now += 1
    wanted = template(core, text, **{"owner": person.id, **more})
    return (await core.workflow.templates.save(wanted, person)).template


async def approve(core: Core, number: int = 0, person: Person | None = None) -> Offer:
    """Look at the template, then press."""
    approval, person = core.workflow.template_approval, person or approver(number)
    offer = await approval.offer(TEAM, "promo", person)
    return await approval.approve(TEAM, "promo", offer.digest, person)


async def use(core: Core, values: Mapping[str, str] = PARIS, person: Person = DAN, **changes: Any) -> Broadcast:
    """Fill in the template, as the form does."""
    kept = await core.workflow.templates.find(TEAM, "promo")
    filled = await core.workflow.template_use.checked(TEAM, "promo", kept.digest, values)
    given = {**kept.values(), "text": filled.text, **changes}
    request = core.request(**given).model_copy(update={"requester": person.id})
    advance = core.workflow.template_use.of(filled)
    submitted = await core.workflow.submit(request, key=f"k{core.count}", person=person, advance=advance)
    return submitted.broadcast


def restarted(make_core: MakeCore, core: Core, **changes: Any) -> Core:
    """The same bot with other settings."""
    again = make_core(**changes)
    again.now, again.count = core.now, core.count
    return again


async def ways(core: Core, row: Broadcast) -> list[tuple[str, str]]:
    found = await core.database.read(lambda c: votes_for(c, row))
    return [(vote.approver, vote.way) for vote in found if vote.digest == row.digest]


async def test_an_approved_template_goes_without_a_further_press(core: Core) -> None:
    await keep(core)
    await approve(core)
    row = await use(core)
    assert (row.state, row.typed) == (State.SCHEDULED, FILLED)
    assert await ways(core, row) == [(NO_PRESS, "template")]
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT
    assert [entry.text for entry in core.sandbox.vendors.ledger] == [f"{FILLED} STOP AU 36111"]


async def test_its_thread_and_its_history_say_by_whose_approval_it_goes(core: Core) -> None:
    kept = await keep(core)
    await approve(core)
    row = await use(core)
    said = await core.database.read(lambda c: list(c.execute(select(tables.notes.c.sentence)).scalars()))
    assert said[-1]["template"] == "It fills in the template “{name}”, which {by} approved."
    assert said[-1]["values"] == {"name": "promo", "by": f"<@{NO_PRESS}>"}
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert [(step["action"], step["reason"]) for step in history][-1] == ("approve", f"template promo {kept.digest}")


async def test_without_its_approval_it_is_asked_about_as_usual(core: Core) -> None:
    await keep(core)
    row = await use(core)
    assert (row.state, row.typed, await ways(core, row)) == (State.PENDING, FILLED, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"text": FILLED + "!"},
        {"text": FILLED.replace("soldes", "Soldes")},
        {"audience": "everyone"},
        {"purpose": Purpose.TRANSACTIONAL, "text": FILLED},
        {"campaign": "hiver"},
    ],
)
async def test_anything_else_than_the_slots_goes_the_whole_road(core: Core, changes: dict[str, Any]) -> None:
    await keep(core)
    await approve(core)
    row = await use(core, **changes)
    assert (row.state, await ways(core, row)) == (State.PENDING, [])


async def test_an_edit_of_such_a_broadcast_needs_approval(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    await keep(core)
    await approve(core)
    row = await use(core)
    request = core.request(text=FILLED + ".").model_copy(update={"requester": DAN.id})
    edited = await core.workflow.act(TEAM, row.id, Edit(request), person=DAN, version=1)
    assert (edited.state, await ways(core, edited)) == (State.PENDING, [])


@pytest.mark.parametrize(
    "change",
    [
        {"text": WORDING.replace("Nos", "Les")},
        {"text": WORDING.replace(":20", ":30")},
        {"audience": "everyone"},
        {"purpose": Purpose.TRANSACTIONAL},
        {"sender": "Bell"},
        {"campaign": "hiver"},
    ],
)
async def test_one_letter_more_or_less_ends_the_approval(core: Core, change: dict[str, Any]) -> None:
    await keep(core)
    await approve(core)
    core.now += 1
    saved = await core.workflow.templates.save(template(core, **{"text": WORDING, **change}), CLEO)
    assert (saved.fell, saved.template.approved_by) == ((NO_PRESS,), ())
    assert not core.workflow.template_approval.given(saved.template).approved


async def test_saving_the_same_again_keeps_the_approval(core: Core) -> None:
    await keep(core)
    await approve(core)
    assert core.workflow.template_approval.given(await keep(core)).approved


async def test_an_older_process_that_saves_another_text_leaves_no_approval(core: Core) -> None:
    await keep(core)
    await approve(core)
    table = tables.templates
    await core.database.write(lambda c: c.execute(table.update().values(text=WORDING.replace("Nos", "Vos"))))
    row = await use(core)
    assert (row.state, await ways(core, row)) == (State.PENDING, [])


async def test_whoever_wrote_it_cannot_approve_it(make_core: MakeCore) -> None:
    core = make_core(admins=["U0APPROVER1"])
    await keep(core, person=approver(0))
    await keep(core, WORDING + ".", approver(1))  # an admin
    kept = await core.workflow.templates.find(TEAM, "promo")
    assert kept.writers == {"U0APPROVER0", "U0APPROVER1"}
    for writer in (approver(0), approver(1)):
        with pytest.raises(NotAllowed, match="You wrote"):
            await approve(core, person=writer)
    with pytest.raises(NotAllowed, match="Only"):
        await approve(core, person=DAN)
    with pytest.raises(NotAllowed, match="Only full members"):
        await approve(core, person=replace(approver(2), member=False))
    assert (await core.workflow.templates.find(TEAM, "promo")).approved_by == ()


async def test_who_is_away_approves_none_until_they_are_back(make_core: MakeCore) -> None:
    core = make_core(**{"approval.delegates": ["U0DELEGATE"]})
    await keep(core)
    absences = core.workflow.approvers.absences
    await absences.leave(approver(0), "U0DELEGATE", core.now + 24 * HOUR)
    with pytest.raises(NotAllowed, match="You are away"):
        await approve(core)
    await absences.come_back(approver(0))
    assert (await approve(core)).given.approved


async def test_an_approver_who_left_no_longer_counts(core: Core) -> None:
    await keep(core)
    await approve(core)
    core.gone = {NO_PRESS}
    assert (await use(core)).state is State.PENDING


async def test_an_approver_never_approves_what_they_ask_for(core: Core) -> None:
    await keep(core)
    await approve(core)
    row = await use(core, person=approver(0))
    assert (row.state, await ways(core, row)) == (State.PENDING, [])


async def test_a_quorum_of_two_needs_two_people(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    await keep(core)
    assert (await approve(core)).given.missing == 1
    assert (await approve(core)).given.missing == 1  # the same person once more
    assert (await use(core)).state is State.PENDING
    assert (await approve(core, 1)).given.approved
    row = await use(core, {**PARIS, "city": "Lyon"})
    assert (row.state, len(await ways(core, row))) == (State.SCHEDULED, 2)
    told = await core.database.read(lambda c: list(c.execute(select(tables.posts.c.sentence)).scalars()))
    assert [str(Translatable.of(one)).partition(". ")[2] for one in told] == [
        "Approvals still needed: 1.",
        "With its slots filled in, it now goes to *clients* without further approval.",
    ]


async def test_a_rule_that_asks_for_more_than_approved_it_is_obeyed(make_core: MakeCore) -> None:
    core = make_core()
    await keep(core)
    await approve(core)
    stricter = restarted(make_core, core, **{"approval.rules": [{"purpose": "marketing", "quorum": 2}]})
    assert (await use(stricter)).state is State.PENDING


async def test_what_needs_no_approval_gets_no_votes(make_core: MakeCore) -> None:
    core = make_core(**{"approval.rules": []})
    await keep(core, "Ouvert à {{city}} le {{day:date}}", purpose=Purpose.TRANSACTIONAL)
    await approve(core)
    row = await use(core)
    assert (row.state, row.quorum, await ways(core, row)) == (State.SCHEDULED, 0, [])


async def test_values_that_do_not_fit_get_no_votes_whoever_submits_them(core: Core) -> None:
    await keep(core)
    await approve(core)
    kept = await core.workflow.templates.find(TEAM, "promo")
    filled = core.workflow.template_use.filled(kept, {**PARIS, "city": "bell.fr"})
    request = core.request(text=filled.text).model_copy(update={"requester": DAN.id})
    advance = core.workflow.template_use.of(filled)
    row = (await core.workflow.submit(request, key="k", person=DAN, advance=advance)).broadcast
    assert (row.state, await ways(core, row)) == (State.PENDING, [])


@pytest.mark.parametrize(("size", "state"), [(None, State.SCHEDULED), (5000, State.SCHEDULED), (5001, State.PENDING)])
async def test_an_audience_that_has_outgrown_its_bound_is_asked_about(
    core: Core, size: int | None, state: State
) -> None:
    await keep(core)
    await approve(core)
    core.audiences.audience_cache.size_of = lambda name: size  # type: ignore[method-assign]
    assert (await use(core)).state is state


def with_audience(core: Core, **changes: Any) -> None:
    """Change the settings of *clients*, as an admin does with a restart."""
    found: AudienceSettings = core.settings.audiences["clients"]
    core.settings.audiences["clients"] = found.model_copy(update=changes)


@pytest.mark.parametrize("change", [{"id": "4"}, {"max_size": 20_000}, {"stop_mention": "STOP AU 30101"}])
async def test_an_approval_is_for_the_people_that_the_audience_was_then(core: Core, change: dict[str, Any]) -> None:
    await keep(core)
    await approve(core)
    with_audience(core, **change)
    assert (await use(core)).state is State.PENDING


async def test_an_approval_given_in_training_counts_for_nothing_else(make_core: MakeCore) -> None:
    core = make_core(mode="training")
    await keep(core)
    assert (await approve(core, person=CLEO)).given.approved  # one person may take every step
    assert (await use(core, person=CLEO)).state is State.SCHEDULED
    live = restarted(make_core, core)
    assert (await use(live, {**PARIS, "city": "Lyon"})).state is State.PENDING


async def test_outside_the_hours_it_is_asked_about(make_core: MakeCore) -> None:
    core = make_core(**{"audiences.clients.policy": "fr"})
    core.now += 4 * HOUR  # 13:00 in Paris
    await keep(core)
    await approve(core)
    assert (await use(core, send_at=core.now + 10 * HOUR)).state is State.PENDING
    assert (await use(core, {**PARIS, "city": "Lyon"}, send_at=core.now + HOUR)).state is State.SCHEDULED


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"audience": None}, "Only a template with an audience"),
        ({"audience": "paris"}, "`max_size`"),
    ],
)
async def test_what_no_approval_can_cover_says_why(core: Core, change: dict[str, Any], told: str) -> None:
    await keep(core, **change)
    with pytest.raises(InvalidRequest) as refused:
        await approve(core)
    assert told in str(refused.value.complaints[0].sentence)


async def test_an_audience_of_everybody_is_never_approved_in_advance(core: Core) -> None:
    await keep(core)
    with_audience(core, everyone=True)
    with pytest.raises(InvalidRequest, match="template"):
        await approve(core)


async def test_a_press_on_what_was_shown_before_approves_nothing(core: Core) -> None:
    await keep(core)
    approval = core.workflow.template_approval
    shown = (await approval.offer(TEAM, "promo", approver(0))).digest
    await keep(core, WORDING + "!")
    with pytest.raises(InvalidRequest) as refused:
        await approval.approve(TEAM, "promo", shown, approver(0))
    assert "has changed since I showed it to you" in str(refused.value.complaints[0].sentence)
    assert (await core.workflow.templates.find(TEAM, "promo")).approved_by == ()


async def test_a_template_that_changes_at_the_very_press_is_not_approved(core: Core) -> None:
    await keep(core)
    approval = core.workflow.template_approval
    looked = await approval.offer(TEAM, "promo", approver(0))

    async def slow(workspace: str, name: str, person: Person) -> Offer:
        await keep(core, WORDING + "!")
        return looked

    approval.offer = slow  # type: ignore[method-assign]
    with pytest.raises(InvalidRequest) as refused:
        await approval.approve(TEAM, "promo", looked.digest, approver(0))
    assert "has changed since I showed it to you" in str(refused.value.complaints[0].sentence)
    assert (await core.workflow.templates.find(TEAM, "promo")).approved_by == ()


async def test_two_who_approve_at_once_both_count(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    await keep(core)
    approval = core.workflow.template_approval
    offers = [await approval.offer(TEAM, "promo", approver(number)) for number in (0, 1)]
    presses = (approval.approve(TEAM, "promo", one.digest, approver(number)) for number, one in enumerate(offers))
    assert sorted(one.given.missing for one in await asyncio.gather(*presses)) == [0, 1]
    kept = await core.workflow.templates.find(TEAM, "promo")
    assert {one.id for one in kept.approved_by} == {"U0APPROVER0", "U0APPROVER1"}


async def test_an_approval_that_is_taken_back_no_longer_counts(core: Core) -> None:
    await keep(core)
    await approve(core)
    await core.workflow.template_approval.withdraw(TEAM, "promo", approver(0))
    assert (await use(core)).state is State.PENDING


async def test_a_template_that_changes_while_it_is_used_gives_no_votes(core: Core) -> None:
    await keep(core)
    await approve(core)
    kept = await core.workflow.templates.find(TEAM, "promo")
    filled = await core.workflow.template_use.checked(TEAM, "promo", kept.digest, PARIS)
    request = core.request(text=filled.text).model_copy(update={"requester": DAN.id})
    voters = core.workflow.template_use.voters

    async def slow(filled: Filled, planned: Broadcast) -> tuple[str, ...]:
        found = await voters(filled, planned)
        await keep(core, WORDING + "!")
        return found

    core.workflow.template_use.voters = slow  # type: ignore[method-assign]
    advance = core.workflow.template_use.of(filled)
    row = (await core.workflow.submit(request, key="k", person=DAN, advance=advance)).broadcast
    assert (row.state, await ways(core, row)) == (State.PENDING, [])


async def test_two_who_change_it_at_once_one_is_told(core: Core) -> None:
    seen = (await keep(core)).changed_at
    core.now += 1
    await core.workflow.templates.save(template(core, WORDING + "!"), CLEO, seen=seen)
    with pytest.raises(InvalidRequest) as refused:
        await core.workflow.templates.save(template(core, WORDING + "?"), CLEO, seen=seen)
    assert "changed the template “promo” in the meantime" in str(refused.value.complaints[0].sentence)
    kept = await core.database.read(lambda c: find_template(c, TEAM, "promo"))
    assert kept is not None
    assert kept.text == WORDING + "!"


async def test_the_guard_before_the_release_alone_stops_what_was_not_approved(core: Core) -> None:
    await keep(core)
    await approve(core)
    row = await use(core)
    await core.edit(row, text="Tout gratuit STOP AU 36111")
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []


async def test_votes_of_another_text_do_not_pass_the_guard(core: Core) -> None:
    """Whoever gives the row a digest of its own still lacks votes for it."""
    await keep(core)
    await approve(core)
    row = await use(core)
    changed = replace(row, text="Tout gratuit STOP AU 36111")
    await core.edit(row, text=changed.text, digest=changed.computed_digest())
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is not State.SENT
    assert core.sandbox.vendors.ledger == []


async def test_a_slot_that_cannot_be_read_is_refused_when_it_is_saved(core: Core) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await keep(core, "Soldes à {{la ville}}")
    (complaint,) = refused.value.complaints
    assert complaint.field == "text"
    assert "I cannot read the slot “{{la ville}}”" in str(complaint.sentence)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({**PARIS, "city": "bell.fr"}, "slot_city"),
        ({**PARIS, "city": "x" * 21}, "slot_city"),
        ({**PARIS, "day": "bientôt"}, "slot_day"),
        ({"city": "Paris"}, "slot_day"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused_under_its_slot(
    core: Core, values: dict[str, str], field: str
) -> None:
    await keep(core)
    with pytest.raises(InvalidRequest) as refused:
        await use(core, values)
    assert [one.field for one in refused.value.complaints] == [field]
