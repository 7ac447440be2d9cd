"""What people see in Slack: whole, inert, within Slack's limits, and consistent with the table of states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import suggestions
from bot.domain.clock import SECOND, moment
from bot.domain.errors import FieldError
from bot.domain.hours import HoldUntil, Refuse, Verdict
from bot.domain.i18n import LANGUAGES, Translatable, translator_for
from bot.domain.lifecycle import ENDED, TRANSITIONS, Action, Hold, Phase, State, allowed
from bot.domain.people import Person
from bot.slack import replies
from bot.slack.blocks import card_buttons, card_facts, form_values, forms, mrkdwn
from bot.slack.blocks.card import draw_card, moved
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.history import Story, details
from bot.slack.directory import Place
from bot.storage.votes import Vote
from bot.workflow.submitted import Submitted
from providers.base import AudienceKind, Purpose
from providers.reading import UNREADABLE
from sandbox.blocks import check_blocks, check_view
from tests.support.emitted import HARD
from tests.support.ground import some_later
from tests.support.rows import row

EN = translator_for("en")


def showing() -> CardContext:
    return CardContext((), "Encom", None, None, training=False, zone="")


def whole_text(blocks: list[dict[str, Any]]) -> str:
    """The rich text of a card, in order."""
    found = []
    for block in blocks:
        if block["type"] == "rich_text":
            for element in block["elements"]:
                found += [part["text"] for part in element["elements"] if part["type"] == "text"]
    return "".join(found)


@pytest.mark.parametrize("case", some_later(HARD))
@pytest.mark.parametrize("state", State)
def test_a_card_is_taken_by_slack_in_every_state_with_all_of_the_text(case: str, state: State) -> None:
    asked, shown = row(state=state, text=HARD[case], typed=HARD[case], hold=Hold.LATE), suggestions.visible(HARD[case])
    post = draw_card(asked, showing(), EN)
    check_blocks(post.blocks)
    if state in ENDED:
        assert shown in whole_text(details(asked, showing(), Story(), EN).blocks)
    else:
        assert shown in whole_text(post.blocks)
    assert 0 < len(post.text) <= 4000
    check_blocks(post.plainest)
    assert set(texts_in(post.blocks)) <= set(texts_in(post.plainest))  # people decide on this card too


def texts_in(value: Any) -> Iterator[str]:
    """Every text anywhere in these blocks."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inside:
        yield from texts_in(one)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        yield value["text"]


@given(text=st.text(min_size=1, max_size=3000))
def test_whatever_is_typed_is_shown_whole_and_inert(text: str) -> None:
    if not text.strip():
        return
    post = draw_card(row(text=text, typed=text), showing(), EN)
    check_blocks(post.blocks)
    assert suggestions.visible(text) in whole_text(post.blocks)
    markdown = json.dumps([block for block in post.blocks if block["type"] != "rich_text"])
    assert "<!channel>" not in markdown


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_badge(state: State) -> None:
    assert card_facts.BADGES[state]


def test_every_hold_and_every_purpose_has_its_words() -> None:
    assert card_facts.HOLDS.keys() == set(Hold)
    assert card_facts.PURPOSES.keys() == set(Purpose)


@pytest.mark.parametrize("state", State)
def test_the_buttons_are_what_the_table_allows(state: State) -> None:
    post = draw_card(row(state=state, hold=Hold.LATE, phase=Phase.STAGING), showing(), EN)
    elements = [element for block in post.blocks for element in block.get("elements", [])]
    names = {e["action_id"].removeprefix("broadcast.") for e in elements if e.get("type") == "button"}
    for option in (option for e in elements if e.get("type") == "overflow" for option in e["options"]):
        name, _, value = option["value"].partition(":")
        assert value == "B234679:1"
        names.add(name)
    assert names - {"follow_up"} <= {action.value for action in allowed(state)} | {"edit"}
    assert ("follow_up" in names) == (state in card_buttons.FOLLOW_UPS)
    assert all(e["value"] == "B234679:1" for b in post.blocks for e in b.get("elements", []) if "value" in e)
    if state is State.PENDING:
        assert {"approve", "request_changes", "reject", "edit", "cancel", "replan"} == names


OPENS = 1_800_000_000_000_000  # 2027-01-15 08:00 UTC
CLOSED: dict[str, tuple[Verdict, int | None, str]] = {
    "held": (HoldUntil(moment(OPENS)), OPENS, "held until sending hours open: <!date^1800000000^"),
    "refused": (Refuse(), OPENS, "do not allow this time; they allow it from <!date^1800000000^"),
    "never": (Refuse(), None, "the sending hours for this audience never allow it"),
}


@pytest.mark.parametrize("case", CLOSED)
@pytest.mark.parametrize("state", [State.PENDING, State.SCHEDULED, State.HELD])
def test_outside_the_hours_the_card_names_the_next_start_that_they_allow(case: str, state: State) -> None:
    verdict, opens, told = CLOSED[case]
    closed = CardContext((), "Encom", None, verdict, training=False, zone="Europe/Paris", opens=opens)
    post = draw_card(row(state=state, hold=Hold.LATE, send_at=OPENS - 1), closed, EN)
    check_blocks(post.blocks)
    shown = json.dumps(post.blocks)
    assert told in shown
    if opens is not None:
        assert "(2027-01-15 09:00 Europe/Paris (+0100))" in shown
    assert "broadcast.replan" in shown or "replan:B234679:1" in shown


def test_what_is_held_says_what_can_be_done_and_until_when() -> None:
    asks = json.dumps(draw_card(row(state=State.HELD, hold=Hold.CAP, expires_at=OPENS), showing(), EN).blocks)
    held = (
        "the hourly cap on sends has been reached. Send it now, re-plan it, or drop it. Without a decision, it expires"
    )
    assert held in asks
    waits = json.dumps(draw_card(row(state=State.HELD, hold=Hold.HOURS, hold_until=OPENS), showing(), EN).blocks)
    assert "It will go out by itself <!date^1800000000^" in waits
    assert "Without a decision" not in waits


def test_who_cannot_approve_any_more_is_not_asked_for_it() -> None:
    """Neither the requester, nor anyone who has already approved it."""
    asked, voted = (
        row(approvers=("U1", "U2", "U3"), quorum=2),
        replace(showing(), votes=(Vote("U2", "button", 1, "d"),)),
    )
    shown = json.dumps(draw_card(asked, voted, EN).blocks)
    assert "Needs 1 approval from <@U3>: press Approve." in shown
    told = replies.submitted_post(Submitted(asked), Place(True), Person("T1", "U1", zone="UTC"), None, EN)
    assert told.text == "*B234679* is waiting for approval by <@U2>, <@U3> in <#C1>."


@pytest.mark.parametrize(("voices", "end"), [(0, OPENS + 24 * 3600 * SECOND), (1, OPENS)])
def test_a_draft_says_how_long_it_is_kept_and_not_that_it_is_over(voices: int, end: int) -> None:
    """Its writer gets a note a day before it is discarded, and one when it is discarded."""
    draft = row(state=State.DRAFT, voice_at=OPENS, voices=voices)
    shown = json.dumps(details(draft, showing(), Story(), EN).blocks)
    assert f"It is kept as a draft until <!date^{end // SECOND}^" in shown
    assert "broadcast.edit" in shown
    assert "Nothing more will happen" not in shown


@pytest.mark.parametrize("failure", [None, Translatable("somebody says that it went out.")])
def test_in_training_nothing_is_said_to_have_gone_that_cannot_be_recalled(failure: Translatable | None) -> None:
    """C45."""
    training = CardContext((), "Encom", None, None, training=True, zone="")
    shown = json.dumps(draw_card(row(state=State.SENT, failure=failure, mode="training"), training, EN).blocks)
    assert "Training: nothing was really sent." in shown
    assert "recalled" not in shown


def test_what_is_left_of_an_older_card_is_one_line_with_a_link() -> None:
    post = moved(row(version=2), "https://bell.slack.com/archives/C1/p1", EN)
    check_blocks(post.blocks)
    assert len(post.blocks) == 1
    assert "<https://bell.slack.com/archives/C1/p1|Open its card>" in post.text
    assert "|" not in moved(row(version=2), None, EN).text


def test_nothing_that_has_ended_can_be_pressed() -> None:
    ended = {state for state in State if not any(start is state for start, _ in TRANSITIONS)}
    assert ended == {State.DONE, State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED}
    assert Action.APPROVE in allowed(State.PENDING)


def test_a_note_says_a_sentence_inside_a_sentence_in_the_readers_language() -> None:
    inner = Translatable("The vendor asked us to slow down.")
    told = Translatable("{cause} Nothing was sent. The bot will try again {again_at}.", cause=inner, again_at=1)
    assert "Le fournisseur demande de ralentir. Rien n’est parti" in mrkdwn.sentence(translator_for("fr"), told)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("bound", [None, 100, UNREADABLE])
@pytest.mark.parametrize("state", State)
def test_a_size_that_cannot_be_read_is_one_that_the_vendor_does_not_say(
    language: str, bound: int | None, state: State
) -> None:
    """C3: the number that no bound allows is never shown to anybody."""
    words, unsaid = translator_for(language), None if bound == UNREADABLE else bound
    shown = draw_card(row(state=state, size=UNREADABLE, bound=bound), showing(), words)
    assert str(UNREADABLE) not in repr(shown)
    assert shown == draw_card(row(state=state, size=None, bound=unsaid), showing(), words)


# --- what the card says about a text ---------------------------------------------------------------------------------


def notes(text: str, language: str = "en", **changes: Any) -> list[str]:
    """The small lines under the text of a card."""
    post = draw_card(row(text=text, typed=text, **changes), showing(), translator_for(language))
    check_blocks(post.blocks)
    return [element["text"] for block in post.blocks if block["type"] == "context" for element in block["elements"]]


def test_codes_of_emoji_are_shown_as_they_are_written_with_both_ways_out() -> None:
    """C17: in backticks, or Slack would show the emoji itself."""
    (told,) = [line for line in notes("Bravo :tada::wave: :x:") if "Phones" in line]
    assert "`:tada:`, `:wave:`, `:x:`" in told
    assert told.endswith("Insert the emoji itself, or remove it.")
    assert not any("Phones" in line for line in notes("Rdv 10:30:45"))


@pytest.mark.parametrize("kind", [AudienceKind.LIST, AudienceKind.GROUP])
def test_what_nobody_sees_is_named_with_what_the_text_costs_without_it(kind: AudienceKind) -> None:
    """C16: also in a chat, where nothing else mentions characters."""
    (told,) = [line for line in notes("Bonjour\u200b \u202eà tous", kind=kind) if "Invisible" in line]
    assert "zero width space, right-to-left override" in told
    cost = "14 characters" if kind is AudienceKind.GROUP else "≈ 1 SMS per recipient (GSM-7, 14/160)"
    assert told.endswith(f"Without them: {cost}")
    assert not any("Invisible" in line for line in notes("Bravo 👨‍👩‍👧 ❤️", kind=kind))


def test_no_character_is_left_out_of_the_count_where_not_all_are_named() -> None:
    (told,) = [line for line in notes("ąčęėįšųū") if "Unicode because" in line]
    assert told.endswith("(latin small letter i with ogonek) … (+3)")


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_characters_are_named_by_their_codes_where_their_names_would_be_english(language: str) -> None:
    told = " ".join(notes("Cœur 😀\u200b", language))
    assert "œ (U+0153), 😀 (U+1F600)" in told
    assert "U+200B" in told
    assert "latin small" not in told


# --- one form for every text -----------------------------------------------------------------------------------------


def returned(view: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The form as Slack returns it when only `changes` were made; Slack strips spaces at the ends of an input."""
    values: dict[str, Any] = {}
    for block in view["blocks"]:
        element = block["element"]
        value = element.get("initial_value")
        filled = {"selected_option": element.get("initial_option"), "value": value.strip() if value else None}
        values[block["block_id"]] = {"value": filled}
    return {**view, "state": {"values": values | changes}}


def form_of(**values: Any) -> dict[str, Any]:
    offered = forms.Offered([("clients", "clients")])
    view = forms.compose(forms.Form(offered, "C1", "B234679", {"audience": "clients", **values}), EN)
    check_view(view)
    return view


LONG_TEXTS = {
    "at the limit": "a" * 3000,
    "one more": "a" * 3001,
    "words": "Votre commande est prête. " * 160 + "Merci",
    "lines": "à demain\n\n" * 500 + "!",
    "emoji": "🔥" * 4000,
    "families": "👨‍👩‍👧‍👦" * 900,
    "accents apart": "e\u0301" * 3000,
    "spaces": "a" + " " * 4000 + "b",
    "a template of before": "Soldes demain, " * 1000 + "fin",
}


@pytest.mark.parametrize("case", LONG_TEXTS)
def test_a_text_of_any_length_opens_in_the_form_and_comes_back_as_it_was(case: str) -> None:
    """C30: cut over several inputs, joined exactly."""
    if case == "spaces":  # Slack strips them at the ends of an input
        form_of(text=LONG_TEXTS[case])
        return
    text, view = LONG_TEXTS[case], form_of(text=LONG_TEXTS[case])
    names = [block["block_id"] for block in view["blocks"] if block["block_id"].startswith("text")]
    assert names[:3] == ["text", "text_rest", "text_rest2"][: len(names)]
    assert (len(names) == 1) == (case == "at the limit")
    assert form_values.read_compose(returned(view)).text == text


def test_more_than_ten_inputs_are_joined_in_their_order() -> None:
    text = "".join(f"{number:06}" for number in range(6000))
    assert form_values.read_compose(returned(form_of(text=text))).text == text


def test_a_block_that_had_to_be_refilled_is_joined_too() -> None:
    values = {
        "text:2": {"value": {"value": "a"}},
        "text_rest:2": {"value": {"value": "b"}},
        "text_restx": {"value": {}},
    }
    assert form_values.read_compose({"state": {"values": values}}).text == "ab"


def test_what_no_database_takes_shows_in_what_was_filled_in() -> None:
    typed = {"text": "So\0ldes \ud83d!", "campaign": "Dec\0", "sender": "BE\0LL"}
    values = {name: {"value": {"value": value}} for name, value in typed.items()}
    found = form_values.read_compose({"state": {"values": values}})
    assert (found.text, found.campaign, found.sender) == ("So�ldes �!", "Dec�", "BE�LL")


def test_a_name_that_was_kept_when_it_might_be_longer_opens_whole() -> None:
    """C30: the complaint comes when the form is submitted."""
    campaign, sender = "Noël " * 40 + "2026", "🔥" * 100
    back = form_values.read_compose(returned(form_of(text="Hi", campaign=campaign, sender=sender)))
    assert (back.campaign, back.sender) == (campaign, sender)


def test_several_complaints_about_one_field_are_all_read() -> None:
    told = [FieldError("text", Translatable("The text is empty. Write what people should read.")) for _ in range(2)]
    view = {"blocks": [{"type": "input", "block_id": "text"}]}
    assert forms.field_errors(told, view, EN)["text"].count("The text is empty") == 2


def test_a_step_that_cannot_be_shown_hides_no_other() -> None:
    instant = 1_800_000_000_000_000
    step = {"actor": "U1", "action": "approve", "version": 1, "reason": None, "at": instant}
    history = [{**step, "seq": 1}, {**step, "seq": 2, "at": 10**20}, {**step, "seq": 3, "actor": "U3"}]
    shown = json.dumps(details(row(), showing(), Story(history), EN).blocks)
    assert "<@U3>" in shown
    assert "*B234679/2* cannot be shown" in shown


@pytest.mark.parametrize("state", State)
def test_a_card_names_hidden_characters_where_they_stand_and_never_holds_them(state: State) -> None:
    """A character that turns the direction of writing would show approvers another text than the one that rings."""
    text = "Soldes\u200b \u202eniamed\u2066 👨\u200d👩\u200d👧"
    post = draw_card(row(state=state, text=text, typed=text, hold=Hold.LATE), showing(), EN)
    shown = json.dumps(post.blocks, ensure_ascii=False) + post.text
    assert "Soldes[U+200B] [U+202E]niamed[U+2066] 👨\u200d👩\u200d👧" in shown
    assert not {"\u200b", "\u202e", "\u2066"} & set(shown)
