"""Of two people who ask for the same at the same instant, one is asked whether it is a duplicate."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.storage.database import Database
from bot.workflow.decision_types import Edit, Sent
from bot.workflow.questions import Questioned
from bot.workflow.submitted import Submitted
from bot.workflow.workflow import Workflow
from tests.support.core import CLEO, TEAM, Core

BEN = replace(CLEO, id="U0BEN", name="Ben")
ROUNDS = 6


async def at_once(core: Core, other: Workflow, text: str) -> tuple[Submitted, Submitted]:
    """What becomes of it for Cleo and, through another process, for Ben."""
    ours = core.request(text=text)
    theirs = core.request(text=text).model_copy(update={"requester": BEN.id})
    return await asyncio.gather(
        core.workflow.submit(ours, key=f"a{core.count}", person=CLEO),
        other.submit(theirs, key=f"b{core.count}", person=BEN),
    )


async def test_of_two_commands_at_once_one_is_kept_as_a_draft_with_the_question(core: Core, second: Database) -> None:
    other = core.workflow_over(second)
    for number in range(ROUNDS):
        rows = await at_once(core, other, f"Soldes du rayon {number}")
        assert sorted(one.broadcast.state for one in rows) == [State.DRAFT, State.PENDING]
        (first,) = (one.broadcast for one in rows if one.broadcast.state is State.PENDING)
        (kept,) = (one for one in rows if one.broadcast.state is State.DRAFT)
        (question,) = kept.questions
        assert first.id in str(question.sentence)


async def test_of_two_forms_at_once_one_asks_under_its_text_and_the_second_submit_confirms(
    core: Core, second: Database
) -> None:
    other = core.workflow_over(second)
    for number in range(ROUNDS):
        text = f"Soldes du rayon {number}"
        requests = [core.request(text=text).model_copy(update={"requester": one.id}) for one in (CLEO, BEN)]

        async def submit(which: int, trigger: str, requests: Any = requests, number: int = number) -> Submitted:
            flow, person = ((core.workflow, CLEO), (other, BEN))[which]
            sent = Sent(f"V{number}-{which}", trigger)
            return await flow.submit(requests[which], key=f"view:V{number}-{which}", person=person, sent=sent)

        became = await asyncio.gather(submit(0, "t1"), submit(1, "t1"), return_exceptions=True)
        (asked,) = (place for place, one in enumerate(became) if isinstance(one, Questioned))
        again = await asyncio.gather(submit(asked, "t1"), return_exceptions=True)  # Slack delivers it once more
        assert isinstance(again[0], Questioned)
        assert (await submit(asked, "t2")).broadcast.state is State.PENDING


async def test_of_an_edit_and_a_command_at_once_one_is_asked(core: Core, second: Database) -> None:
    other = core.workflow_over(second)
    for number in range(ROUNDS):
        text, row = f"Soldes du rayon {number}", await core.ask(text=f"Fermé le {number} mai")
        edit = Edit(core.request(text=text), Sent(f"V{number}", "t1"))
        theirs = core.request(text=text).model_copy(update={"requester": BEN.id})
        edited, submitted = await asyncio.gather(
            core.workflow.act(TEAM, row.id, edit, person=CLEO, version=1),
            other.submit(theirs, key=f"b{number}", person=BEN),
            return_exceptions=True,
        )
        assert isinstance(submitted, Submitted)
        assert isinstance(edited, Questioned) == (submitted.broadcast.state is State.PENDING)


async def test_other_texts_and_other_people_are_let_through_together(core: Core, second: Database) -> None:
    other = core.workflow_over(second)
    one = core.workflow.submit(core.request(text="Soldes demain"), key="a", person=CLEO)
    lists = core.request(text="Soldes demain", audience="everyone").model_copy(update={"requester": BEN.id})
    two = other.submit(lists, key="b", person=BEN)
    three = other.submit(lists.model_copy(update={"audience": "clients", "text": "Fermé lundi"}), key="c", person=BEN)
    became = await asyncio.gather(one, two, three)
    assert [done.broadcast.state for done in became] == [State.PENDING] * 3


async def test_who_confirmed_one_duplicate_is_asked_about_another(core: Core) -> None:
    """Ana reads about Cleo's. Before she submits again, Ben's is stored as well."""
    await core.ask(text="Soldes demain")
    core.now += 120 * SECOND
    ana, ben = (replace(CLEO, id=id) for id in ("U0ANA", "U0BEN"))

    async def submit(person: Person, form: str, trigger: str) -> Submitted:
        request = core.request(text="Soldes demain !").model_copy(update={"requester": person.id})
        sent = Sent(form, trigger)
        return await core.workflow.submit(request, key=f"view:{form}", person=person, sent=sent)

    with pytest.raises(Questioned):
        await submit(ana, "VA", "t1")
    with pytest.raises(Questioned):
        await submit(ben, "VB", "t1")
    core.now += SECOND
    assert (await submit(ben, "VB", "t2")).broadcast.state is State.PENDING
    core.now += SECOND
    with pytest.raises(Questioned):
        await submit(ana, "VA", "t2")
    assert (await submit(ana, "VA", "t3")).broadcast.state is State.PENDING


async def test_of_two_follow_ups_to_one_broadcast_the_second_is_asked_about(core: Core) -> None:
    first = await core.ask(text="Soldes demain")
    for number, state in enumerate((State.PENDING, State.DRAFT)):
        core.now += 120 * SECOND
        request = core.request(text="Soldes demain")
        submitted = await core.workflow.submit(request, key=f"f{number}", person=CLEO, follows=first.id)
        assert submitted.broadcast.state is state
