"""What is asked before a broadcast goes out, and the limits of a request."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.clock import HOUR
from bot.domain.errors import InvalidRequest
from bot.domain.lifecycle import State
from bot.domain.sms import measure
from bot.storage import broadcasts, tables
from bot.workflow.decision_types import Sent
from bot.workflow.questions import Questioned
from bot.workflow.submitted import Submitted
from providers.base import Purpose
from tests.support.core import CLEO, TEAM, Core, MakeCore
from tests.support.sending import SLIP, request


async def submitted_from(core: Core, form: str, trigger: str, text: str = SLIP, **changes: Any) -> Submitted:
    asked = request(text, **changes.pop("about", {}))
    return await core.workflow.submit(asked, key=f"view:{form}", person=CLEO, sent=Sent(form, trigger), **changes)


async def test_what_may_be_a_slip_is_kept_and_asked_about_and_its_draft_is_the_yes(core: Core) -> None:
    """C5: nothing goes out before the person has read the question."""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    assert (kept.broadcast.state, len(kept.questions)) == (State.DRAFT, 1)
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []

    meant = await submitted_from(core, "V1", "t1", draft=kept.broadcast.id)
    assert (meant.broadcast.id, meant.broadcast.state, meant.questions) == (kept.broadcast.id, State.SCHEDULED, ())
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == [SLIP]


@pytest.mark.parametrize(
    "changes",
    [
        {"text": f"{SLIP}!"},
        {"text": "Le rdv sender=Bell"},
        {"about": {"audience": "newsletter"}},
        {"about": {"purpose": Purpose.MARKETING}},
    ],
)
async def test_other_words_than_those_of_the_draft_are_asked_about_anew(core: Core, changes: dict[str, Any]) -> None:
    """C5"""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t1", draft=kept.broadcast.id, **changes)
    assert (await core.row(kept.broadcast.id)).state is State.DRAFT


async def test_without_a_slip_a_draft_is_simply_sent(core: Core) -> None:
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    better = await submitted_from(core, "V1", "t1", "Votre rdv est confirme", draft=kept.broadcast.id)
    assert (better.broadcast.state, better.broadcast.typed) == (State.SCHEDULED, "Votre rdv est confirme")


async def test_a_form_is_asked_once_and_the_same_words_again_are_the_yes(core: Core) -> None:
    """C5"""
    with pytest.raises(Questioned) as asked:
        await submitted_from(core, "V1", "t1")
    assert str(asked.value.complaints[0].sentence).endswith("Submit again to send it as it is.")
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t2", "Autre rdv at=demain")
    with pytest.raises(Questioned):
        await submitted_from(core, "V2", "t3")
    assert await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10)) == []

    assert (await submitted_from(core, "V1", "t4", f"{SLIP} ")).broadcast.state is State.SCHEDULED
    assert (await submitted_from(core, "V1", "t4")).again


async def test_a_submit_that_slack_brings_twice_is_no_yes(core: Core) -> None:
    """C5: nobody has read anything between two deliveries of one submit."""
    for _ in range(3):
        deliveries = [submitted_from(core, "V1", "t1") for _ in range(2)]
        told = await asyncio.gather(*deliveries, return_exceptions=True)
        assert [type(one) for one in told] == [Questioned, Questioned]
    assert await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10)) == []
    assert not (await submitted_from(core, "V1", "t2")).again


async def test_where_something_is_wrong_that_is_told_and_nothing_is_asked(core: Core) -> None:
    """C5: a complaint wins."""
    with pytest.raises(InvalidRequest) as told:
        await core.workflow.submit(request(sender="Bell"), key="k", person=CLEO)
    assert [complaint.field for complaint in told.value.complaints] == ["sender"]
    assert not isinstance(told.value, Questioned)


async def test_the_same_command_again_asks_again_and_keeps_one_draft(core: Core) -> None:
    first, second = [await core.workflow.submit(request(), key=key, person=CLEO) for key in ("a", "b")]
    assert (second.again, second.broadcast.id, second.questions) == (True, first.broadcast.id, first.questions)
    brought_again = await core.workflow.submit(request(), key="a", person=CLEO)
    assert (brought_again.again, brought_again.questions) == (True, first.questions)


async def test_a_form_of_its_own_that_says_the_same_completes_the_draft(core: Core) -> None:
    """The draft was only kept, so the form must not be answered with "you asked for that already"."""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t1")
    sent = await submitted_from(core, "V1", "t2")
    assert (sent.again, sent.broadcast.id, sent.broadcast.state) == (False, kept.broadcast.id, State.SCHEDULED)


async def test_what_was_asked_is_remembered_over_a_restart_under_a_name_that_holds_no_text(
    core: Core, make_core: MakeCore
) -> None:
    with pytest.raises(Questioned):
        await submitted_from(core, "V" * 200, "t1")
    keys = await core.database.read(lambda c: list(c.execute(tables.seen.select()).mappings()))
    assert all(len(row["key"]) < 100 and "rdv" not in row["key"] for row in keys)
    later = make_core()
    later.count = 1
    assert (await submitted_from(later, "V" * 200, "t2")).broadcast.state is State.SCHEDULED


ASKED = {
    "Bonjour {ville}": (
        "clients",
        "marketing",
        "“{ville}” looks like a placeholder, but Encom sends it exactly as written",
    ),
    "Bonjour [PRENOM]": ("newsletter", "marketing", "It fills in: {first_name}"),
    "Bonjour {{first_name}}": ("newsletter", "marketing", "“{{first_name}}” looks like a placeholder"),
    "Bonjour %nom%": ("staff", "marketing", "Write the words themselves"),
    "Code XXXXX": ("newsletter", "marketing", "Octopush replaces every “XXXXX” with its short code"),
    "Rdv demain STOP AU 36111": ("clients", "transactional", "may be taken for marketing"),
    "Rdv demain, STOP au 36111": ("clients", "transactional", "may be taken for marketing"),
}


@pytest.mark.parametrize("text", ASKED)
async def test_what_looks_like_a_slot_or_muddles_the_purpose_is_asked_about(core: Core, text: str) -> None:
    """C14"""
    audience, purpose, told = ASKED[text]
    kept = await core.workflow.submit(request(text, audience=audience, purpose=purpose), key="k", person=CLEO)
    assert kept.broadcast.state is State.DRAFT
    assert [told in str(question.sentence) for question in kept.questions] == [True]


FOREIGN = {
    "Bonjour {first_name}": ("clients", "Encom does not fill in “{first_name}”. It fills in: %%name%%."),
    "Bonjour %%name%%": ("newsletter", "Octopush does not fill in “%%name%%”. It fills in: {first_name}"),
    "Bonjour {PARAM1}": ("staff", "Kaizala does not fill in “{PARAM1}” or any other placeholder."),
    "Bonjour %%nom%%": ("clients", "Encom does not fill in “%%nom%%”. It fills in: %%name%%."),
}


@pytest.mark.parametrize("text", FOREIGN)
async def test_what_another_vendor_would_fill_in_is_refused_with_what_this_one_knows(core: Core, text: str) -> None:
    """C14"""
    audience, told = FOREIGN[text]
    with pytest.raises(InvalidRequest) as refused:
        await core.workflow.submit(request(text, audience=audience), key="k", person=CLEO)
    assert str(refused.value.complaints[0].sentence).startswith(told)


@pytest.mark.parametrize("text", ["-20% sur tout, 100% coton", "[Info] Rdv à 9h :-)", "XXXXX", "STOP au gaspillage"])
async def test_ordinary_texts_are_asked_nothing(core: Core, text: str) -> None:
    """C14, C15"""
    assert (await core.ask(text=text)).state is State.PENDING


async def test_a_vendor_that_replaces_its_mention_gets_the_text_with_the_one_of_the_mention(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"accounts.octo.stop_mention": "STOP au XXXXX"})
    assert (await core.ask(audience="newsletter", text="Soldes")).text == "Soldes STOP au XXXXX"
    assert (await core.ask(audience="newsletter", text="Code XXXXX")).state is State.DRAFT


async def test_a_decomposed_text_is_approved_counted_and_sent_composed_and_kept_as_typed(core: Core) -> None:
    """C16"""
    typed = unicodedata.normalize("NFD", "Votre séance est à midi " + "é" * 100)
    row = await core.approved(text=typed)
    assert (row.typed, row.text) == (typed, unicodedata.normalize("NFC", typed) + " STOP AU 36111")
    assert measure(row.text).segments == 1
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == [row.text]


async def test_a_decomposed_text_is_as_long_as_it_looks(core: Core) -> None:
    assert (await core.ask(text="e\u0301" * 800)).state is State.PENDING


@pytest.mark.parametrize("name", ["sender", "campaign"])
async def test_a_name_that_no_form_would_take_is_refused_on_every_road(core: Core, name: str) -> None:
    """C30"""
    with pytest.raises(InvalidRequest) as refused:
        await core.ask(audience="newsletter", **{name: "x" * 120})
    first = refused.value.complaints[0]
    assert (first.field, "This one has 120" in str(first.sentence)) == (name, True)


async def test_one_person_cannot_ask_for_more_than_the_cap_within_an_hour(make_core: MakeCore) -> None:
    core = make_core(asks_per_hour=2)
    first = await core.workflow.submit(request("One."), key="1", person=CLEO)
    await core.workflow.submit(request("Two."), key="2", person=CLEO)
    with pytest.raises(InvalidRequest) as refused:
        await core.workflow.submit(request("Three."), key="3", person=CLEO)
    assert "asked for 2 within the last hour" in str(refused.value.complaints[0].sentence)
    again = await core.workflow.submit(request("One."), key="1", person=CLEO)
    assert (again.broadcast.id, again.again) == (first.broadcast.id, True)  # a repeated command is not refused
    ana = replace(CLEO, id="U0ANA")
    assert (
        await core.workflow.submit(request("Three.").model_copy(update={"requester": ana.id}), key="4", person=ana)
    ).broadcast

    core.now += HOUR + 1
    assert not (await core.workflow.submit(request("Three."), key="3", person=CLEO)).again
