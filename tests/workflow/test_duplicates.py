"""Nearly the same text to the same people is asked about before it becomes a second broadcast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.domain.similarity import nearly_same
from bot.storage import broadcasts
from bot.storage.cards import Card, keep_card
from bot.workflow.decision_types import Approve, Cancel, Edit, Reject, Replan, RequestChanges, Sent
from bot.workflow.questions import Questioned
from bot.workflow.submitted import Submitted
from providers.base import Purpose
from tests.support.cards import HOUR
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver

BEN = replace(CLEO, id="U0BEN", name="Ben")
OFFER = "Soldes d’été : -30 % sur tout le magasin jusqu’au 31 juillet"


async def asked(core: Core, text: str = OFFER, person: Person = BEN, **more: Any) -> Submitted:
    """What becomes of the same request by somebody else, an hour later."""
    core.now += HOUR
    submit = {name: more.pop(name) for name in ("sent", "draft", "follows") if name in more}
    request = core.request(text=text, **more).model_copy(update={"requester": person.id})
    return await core.workflow.submit(request, key=f"k{core.count}", person=person, **submit)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Soldes demain", "soldes  demain !"),
        ("Soldes demain", "Soldes demian"),
        ("L’été commence", "L'été commence"),
        (OFFER, OFFER.replace("magasin", "magazin")),
    ],
)
def test_a_typo_makes_no_other_message(one: str, other: str) -> None:
    assert nearly_same(one, other)
    assert nearly_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Soldes demain", "Soldes lundi"),
        ("Votre code est 4711", "Votre code est 4712"),
        (OFFER, OFFER.replace("30", "50")),
        (OFFER, OFFER.replace("31 juillet", "15 août")),
        ("Magasin ouvert", "Magasin fermé"),
        ("👍", "❤️"),
    ],
)
def test_other_words_or_numbers_make_another_message(one: str, other: str) -> None:
    assert not nearly_same(one, other)
    assert not nearly_same(other, one)


async def test_the_same_again_by_somebody_else_is_asked_about_and_kept_as_a_draft(core: Core) -> None:
    first = await core.ask(text=OFFER)
    second = await asked(core)
    assert second.broadcast.state is State.DRAFT
    (question,) = second.questions
    assert question.field == "also"
    assert first.id in str(question.sentence)
    assert "<@U0CLEO>" in str(question.sentence)


async def test_the_draft_is_submitted_as_it_is_once_the_question_has_been_read(core: Core) -> None:
    await core.ask(text=OFFER)
    kept = await asked(core)
    done = await asked(core, draft=kept.broadcast.id, sent=Sent("V1", "t1"))
    assert (done.broadcast.id, done.broadcast.state, done.questions) == (kept.broadcast.id, State.PENDING, ())


async def test_a_form_asks_under_its_text_and_the_second_submit_confirms(core: Core) -> None:
    await core.ask(text=OFFER)
    with pytest.raises(Questioned):
        await asked(core, sent=Sent("V1", "t1"))
    assert (await asked(core, sent=Sent("V1", "t2"))).broadcast.state is State.PENDING


async def test_a_form_that_slack_brings_twice_is_one_broadcast_without_a_question(core: Core) -> None:
    request = core.request(text=OFFER)
    first = await core.workflow.submit(request, key="view:V1", person=CLEO, sent=Sent("V1", "t1"))
    core.now += 61 * SECOND
    again = await core.workflow.submit(request, key="view:V1", person=CLEO, sent=Sent("V1", "t1"))
    assert (again.again, again.broadcast.id) == (True, first.broadcast.id)


async def test_the_same_command_within_a_minute_is_still_the_same_broadcast(core: Core) -> None:
    first = await core.ask(text=OFFER)
    again = await core.ask(text=OFFER)
    assert again.id == first.id


async def test_what_was_cancelled_or_kept_as_a_draft_or_went_long_ago_is_no_duplicate(core: Core) -> None:
    first = await core.ask(text=OFFER)
    await core.workflow.act(TEAM, first.id, Cancel(), person=CLEO, version=1)
    second = (await asked(core)).broadcast
    assert second.state is State.PENDING
    await core.workflow.act(TEAM, second.id, Approve(), person=approver(0), version=1)
    await core.run(core.dispatcher("one"))
    core.now += 12 * HOUR
    assert (await asked(core)).broadcast.state is State.PENDING


async def test_another_audience_a_test_and_a_follow_up_are_no_duplicates(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.test_audience": "paris", "audiences.paris.max_size": 3})
    first = await core.ask(text=OFFER)
    for more in ({"audience": "everyone"}, {"test": True}, {"follows": first.id}):
        assert (await asked(core, **more)).questions == ()
    assert (await asked(core)).questions != ()


async def test_it_can_be_switched_off(make_core: MakeCore) -> None:
    core = make_core(**{"approval.duplicates_within": "0s"})
    await core.ask(text=OFFER)
    assert (await asked(core)).broadcast.state is State.PENDING


async def test_marketing_that_is_asked_for_again_as_transactional_needs_the_same_approval(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2, "audiences.clients.max_size": 100})
    text = "Votre carte arrive à échéance, passez nous voir en magasin"
    first = await core.ask(text=text)
    await core.workflow.act(TEAM, first.id, Reject("No."), person=approver(0), version=1)
    dodged = await asked(core, text.replace("magasin", "magazin"), purpose=Purpose.TRANSACTIONAL)
    assert (dodged.broadcast.state, dodged.broadcast.quorum) == (State.PENDING, 2)
    await core.workflow.act(TEAM, dodged.broadcast.id, Cancel(), person=BEN, version=1)
    core.now += 8 * 24 * HOUR
    later = await asked(core, text.replace("nous voir", "nous  voir"), purpose=Purpose.TRANSACTIONAL)
    assert (later.broadcast.state, later.broadcast.quorum) == (State.SCHEDULED, 0)


async def test_marketing_is_found_among_hundreds_of_other_texts(make_core: MakeCore) -> None:
    core = make_core(**{"audiences.clients.max_size": 100})
    first = await core.ask(text=OFFER)
    await core.workflow.act(TEAM, first.id, Reject("No."), person=approver(0), version=1)

    other = replace(await core.ask(text="Braderie"), state=State.CANCELLED, due=None, expires_at=None)

    def hide(connection: Connection) -> None:
        for number in range(300):
            id = f"B{number:07}"
            hidden = replace(other, id=id, key=id, created_at=other.created_at + number)
            broadcasts.add(connection, hidden, draw=False)

    await core.database.write(hide)
    plain = await asked(core, OFFER.replace("magasin", "magazin"), purpose=Purpose.TRANSACTIONAL)
    assert plain.broadcast.state is State.PENDING


async def test_other_words_for_a_transactional_text_need_no_approval(make_core: MakeCore) -> None:
    core = make_core(**{"audiences.clients.max_size": 100})
    await core.ask(text=OFFER)
    told = await asked(core, "Votre commande est prête", purpose=Purpose.TRANSACTIONAL)
    assert told.broadcast.state is State.SCHEDULED


async def test_an_edit_to_transactional_needs_no_fewer_approvals(make_core: MakeCore) -> None:
    core = make_core(**{"audiences.clients.max_size": 100})
    text = "Votre carte arrive à échéance, passez nous voir"
    row = await core.ask(text=text)
    edit = Edit(core.request(text=text, purpose=Purpose.TRANSACTIONAL))
    edited = await core.workflow.act(TEAM, row.id, edit, person=CLEO, version=1)
    assert (edited.state, edited.quorum) == (State.PENDING, 1)


async def test_a_size_that_is_learned_takes_no_approval_of_marketing_away(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2, "audiences.clients.max_size": 100})
    text = "Votre carte arrive à échéance, passez nous voir en magasin"
    first = await core.ask(text=text)
    await core.workflow.act(TEAM, first.id, Reject("No."), person=approver(0), version=1)
    dodged = (await asked(core, text, purpose=Purpose.TRANSACTIONAL)).broadcast
    await core.workflow.act(TEAM, dodged.id, Approve(), person=approver(1), version=1)
    await core.workflow.sizes.learn(TEAM, dodged.id, 50)
    now = await core.row(dodged.id)
    assert (now.state, now.quorum) == (State.PENDING, 2)


async def test_what_went_out_a_moment_ago_is_a_duplicate_however_long_ago_it_was_asked_for(core: Core) -> None:
    first = await core.approved(text=OFFER, send_at=core.now + 48 * HOUR)
    core.now += 48 * HOUR
    await core.run(core.dispatcher("one"))
    assert (await core.row(first.id)).state is State.SENT
    assert (await asked(core)).questions != ()


async def test_what_is_still_to_go_is_a_duplicate_too(core: Core) -> None:
    await core.approved(text=OFFER, send_at=core.now + 96 * HOUR)
    core.now += 48 * HOUR
    assert (await asked(core)).questions != ()


async def test_an_edit_into_a_duplicate_is_asked_about(core: Core) -> None:
    await core.ask(text=OFFER)
    row = await core.ask(text="Magasin fermé lundi")
    core.now += HOUR
    edit = Edit(core.request(text=OFFER), Sent("V1", "t1"))
    with pytest.raises(Questioned):
        await core.workflow.act(TEAM, row.id, edit, person=CLEO, version=1)


BRAND = {
    "audiences.clients.max_size": 100,
    "approval.rules": [{"purpose": "marketing", "approvers": ["U0APPROVER9"], "quorum": 1}],
}
VISIT = "Venez nous voir chez Bell samedi à 10h"


async def test_an_edit_of_the_purpose_keeps_the_approvers_of_marketing(make_core: MakeCore) -> None:
    core = make_core(**BRAND)
    row = await core.ask(text=VISIT)
    as_notice = Edit(core.request(text=VISIT, purpose=Purpose.TRANSACTIONAL))
    edited = await core.workflow.act(TEAM, row.id, as_notice, person=CLEO, version=1)
    assert (edited.quorum, edited.approvers) == (1, ("U0APPROVER9",))
    same = (await asked(core, VISIT, purpose=Purpose.TRANSACTIONAL)).broadcast
    assert same.approvers == ("U0APPROVER9",)

    again = Edit(core.request(text="Nous ouvrons samedi", purpose=Purpose.TRANSACTIONAL))
    edited = await core.workflow.act(TEAM, row.id, again, person=CLEO, version=2)
    assert (edited.quorum, edited.approvers) == (1, ("U0APPROVER9",))
    replanned = await core.workflow.act(TEAM, row.id, Replan(core.now + 2 * HOUR), person=CLEO, version=3)
    assert (replanned.quorum, replanned.approvers) == (1, ("U0APPROVER9",))
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).approvers == ("U0APPROVER9",)


async def test_a_draft_that_was_given_back_keeps_the_approvers_of_marketing(make_core: MakeCore) -> None:
    core = make_core(**BRAND)
    row = await core.ask(text=VISIT)
    await core.database.write(lambda c: keep_card(c, Card(TEAM, row.id, 1, "C1", "1.1", 1)))
    await core.workflow.act(TEAM, row.id, RequestChanges("Shorter."), person=approver(9), version=1)
    request = core.request(text="Nous ouvrons samedi", purpose=Purpose.TRANSACTIONAL)
    again = await core.workflow.submit(request, key="again", person=CLEO, draft=row.id)
    assert (again.broadcast.state, again.broadcast.quorum) == (State.PENDING, 1)
    assert again.broadcast.approvers == ("U0APPROVER9",)


async def test_a_number_more_does_not_make_another_text_of_marketing_that_was_refused(make_core: MakeCore) -> None:
    core = make_core(**{"audiences.clients.max_size": 100})
    row = await core.ask(text=VISIT)
    await core.workflow.act(TEAM, row.id, Reject("No."), person=approver(0), version=1)
    dodged = (await asked(core, f"{VISIT} 1", purpose=Purpose.TRANSACTIONAL)).broadcast
    assert (dodged.state, dodged.quorum) == (State.PENDING, 1)


async def test_an_edit_to_the_text_of_another_warns_its_approvers(core: Core) -> None:
    row = await core.ask(text="Portes ouvertes demain chez Bell")
    other = (await asked(core, OFFER)).broadcast
    core.now += HOUR
    edited = await core.workflow.act(TEAM, row.id, Edit(core.request(text=OFFER)), person=CLEO, version=1)
    found = await core.database.read(lambda c: core.workflow.questions.duplicate_of(c, edited))
    assert found is not None
    assert found.id == other.id
