"""Every message that the bot may post and every form that it may open, made from one text that somebody typed.

A new block or form is one more line in `MESSAGES` or in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bot.config.own_settings import values_of
from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import CardChanged, FieldError, InvalidRequest, NotAllowed, NotFound, StaleVersion
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import ENDED, Ended, Hold, OccurrenceState, ScheduleState, State
from bot.domain.people import Person
from bot.domain.schedule import Digest, Kind, Occurrence, Schedule
from bot.domain.slots import LONGEST, slots_of
from bot.slack import replies
from bot.slack.blocks import (
    answers,
    break_glass,
    forms,
    help,
    meant,
    mrkdwn,
    recurring,
    refusals,
    template_answers,
    template_forms,
)
from bot.slack.blocks.audit import AuditPage, audit_page
from bot.slack.blocks.boards import STEPS, BoardPage, already_there, board
from bot.slack.blocks.card import draw_card, moved
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.form_values import Choice
from bot.slack.blocks.history import Story, details
from bot.slack.blocks.listing import ListPage, listing
from bot.slack.blocks.mrkdwn import Post, lines, quote, section
from bot.slack.blocks.settings_form import settings_form
from bot.slack.blocks.thread import news_message, thread_message, thread_note
from bot.slack.directory import Place
from bot.storage.listings import Wanted
from bot.storage.notes import Note
from bot.storage.own_settings import OwnSettings
from bot.storage.templates import Template, TemplateVote
from bot.storage.votes import Vote
from bot.when.recurrence import Closed, RecurringTime
from bot.workflow.approval_rules import RequiredApprovals
from bot.workflow.decision_types import Drawing
from bot.workflow.own_settings import Shown
from bot.workflow.sentence_parts import REASON, edited
from bot.workflow.storing import CHANGED_BY
from bot.workflow.submitted import Submitted
from bot.workflow.template_approval import Given, Offer
from bot.workflow.template_cover import Filled
from providers.base import AudienceKind, Purpose
from sandbox.world import Json
from tests.support.rows import row

#: What people may type or paste, of the greatest length that any vendor takes.
HARD = {
    "plain": "a" * 4000,
    "emoji": "🔥" * 2000,
    "right to left": "مرحبا بالعالم " * 280,
    "both directions": "שלום (12) abc\u200f عربي 3.5\u200e! " * 140,
    "angle brackets": "<!channel> & <@U1> " * 200,
    "ampersands": "&" * 4000,
    "new lines": "a\n" * 2000,
    "quotes": '"\\' * 2000,
    "backticks": "```" * 1300,
    "one combining pile": "e" + "\u0301" * 3900,
    "zero width joiners": "👨‍👩‍👧‍👦" * 350,
    "hidden characters": "a" + "\u200b" * 3998 + "b",
    "many hidden characters": "a\u202e" * 2000,
    "words": "Votre commande est prête. " * 150,
    "characters to replace": "L’été — « où » … œuvre\u202f! ąčę " * 120,
}

AT = 1_800_000_000 * SECOND
MENTION = " ".join(f"U{number:010}" for number in range(21))  # as many as a note can name
SLOTS = "{{city:100}} {{price:number}} {{day:date}} {{at:time}} {{étage_ou_bâtiment_de_réunion}}"

Draw = Callable[[str, Translator], Post]
Open = Callable[[str, Translator], Json]


# --- of what is typed, as much as there may be -----------------------------------------------------------------------


def cut(text: str, most: int) -> str:
    """What an input lets through: Slack counts in UTF-16."""
    return text.encode("utf-16-le")[: 2 * most].decode("utf-16-le", errors="ignore").strip()


def word(text: str, most: int) -> str:
    """As one word, such as a name."""
    return cut("".join(text.split()), most).lower()


def asked(text: str, **changes: Any) -> Broadcast:
    """A broadcast with every option at its longest."""
    named = {"audience": word(text, 40), "sender": cut(text, 40), "campaign": cut(text, 80), "zone": "Europe/Paris"}
    return row(**{"text": text, "typed": text, "send_at": AT, "hold": Hold.LATE, **named, **changes})


def skipped(text: str, **changes: Any) -> Broadcast:
    """One that somebody sent without approval."""
    glass = {"glass_by": "U1", "glass_reason": cut(text, 500), "glass_at": 1, "glass_digest": "d" * 64}
    closed = {"reviewed_by": "U2", "reviewed_at": AT, "review_comment": cut(text, 500)}
    return asked(text, purpose=Purpose.TRANSACTIONAL, approved_at=1, due=1, **glass, **(closed | changes))


def every(text: str, state: State) -> Broadcast:
    """A broadcast with everything that its card may show in this state. Chats alone take such long texts."""
    about: dict[str, Any] = {"kind": AudienceKind.GROUP, "size": None, "bound": 9, "quorum": 3, "unnamed": 3}
    about |= {"covers": 3, "schedule": "B234680", "occurrence": "2027-01-15T09:00", "canary": word(text, 40)}
    about |= {"subscribers": tuple(str(number) for number in range(30))}
    if state in (State.SENT, State.DONE, State.UNKNOWN, State.FAILED):
        about |= {"ids": tuple(f"{number:040}" for number in range(30))}
        about |= {"counts": {f"other: {word(text, 20)}{number}": 1 for number in range(30)}}
        about |= {"failure": Translatable("“{reply}”", reply=cut(text, 300))}
    return asked(text, state=state, **about)


def full(text: str) -> CardContext:
    """Everything that a card may show besides its row."""
    why = Translatable("“{reply}”", reply=cut(text, 200))
    return CardContext(
        votes=(Vote("U1", "button", 1, "d"), Vote("U2", "button", 1, "d", "U3")),
        vendor="Encom",
        legacy=why,
        verdict=None,
        training=True,
        zone="Europe/Paris",
        reaction="white_check_mark",
        then=why,
        misfit=why,
        refusal=why,
        sender="Bell",
        duplicate=asked(text),
        duplicate_link="https://bell.slack.com/archives/C1/p1",
        notify=("S1", "U9"),
        glass=True,
        delegates={"U4": ["U5", "U6"]},
    )


def beside(text: str) -> CardContext:
    """What a card shows of the broadcast to the canary that it waits for."""
    return replace(SPARE, counterpart=every(text, State.SENT), counterpart_link="https://bell.slack.com/archives/C1/p1")


SPARE = CardContext((), "Encom", None, None, training=False, zone="")


def template(text: str, wording: str | None = None, **changes: Any) -> Template:
    named = {"sender": cut(text, 40), "campaign": cut(text, 80), "audience": word(text, 40)}
    vote = TemplateVote("U2", 1)
    given: dict[str, Any] = {"workspace": "T1", "name": word(text, 64), "owner": "U1", "purpose": "marketing"}
    given |= {"text": wording or text, "changed_at": 1, "approved_by": (vote,), "approved_digest": "d", **named}
    return Template(**(given | changes))


def filling(text: str) -> Filled:
    """A template with ten slots, each filled with as much as fits."""
    wording = SLOTS + " ".join(f"{{{{word{number}:{LONGEST}}}}}" for number in range(5)) + cut(text, 3000)
    found = slots_of(wording)
    values = {slot.name: cut(text, slot.most) for slot in found}
    return Filled(template(text, wording), found, values, ())


def scheduled(text: str, **changes: Any) -> Schedule:
    """A reminder, of which Slack's markup may have 2,900 characters."""
    text = cut(text, 2900) if len(quote(text[:2900])) <= 2900 else text[:580].strip()
    options = {"audience": word(text, 40), "markup": quote(text), "answer": True, "start": "clients", "covers": 9}
    given: dict[str, Any] = {"workspace": "T1", "id": "B234679", "kind": Kind.REMINDER, "key": "k", "owner": "U1"}
    given |= {"channel": "C1", "typed": "every last working day of the month 9:00", "zone": "Europe/Paris"}
    given |= {"text": text, "created_at": AT, "changed_at": AT, "next_at": AT}
    given |= {"calendar": {"calendar": "FR", "subdivision": "57"}, "closed": Closed.SHIFT, "options": options}
    return Schedule(**(given | changes))


def turn(state: OccurrenceState, **changes: Any) -> Occurrence:
    given: dict[str, Any] = {"workspace": "T1", "schedule": "B234679", "local": "2027-01-15T09:00", "at": AT}
    return Occurrence(**(given | {"state": state, "changed_at": 1, "by": "U1", "left_out": 2, **changes}))


def digest(text: str) -> Digest:
    some = [asked(text, due=AT)]
    return Digest(some, some, some, some, 3)


COMING = [RecurringTime(datetime(2027, 1, day, 9), datetime(2027, 1, day, 8, tzinfo=UTC)) for day in (1, 2, 3)]  # noqa: DTZ001


# --- forms -----------------------------------------------------------------------------------------------------------


def composed(text: str, **more: Any) -> forms.Form:
    """The compose form, filled with this text and with every option."""
    named = {"sender": cut(text, 40), "campaign": cut(text, 80), "audience": "clients", "canary": "team"}
    values = {**named, "purpose": "transactional", "text": text, "send_at": AT // SECOND}
    many = [(word(text, 60) + str(number), cut(text, 200)) for number in range(101)]
    offered = forms.Offered([("clients", cut(text, 200)), *many], [("team", cut(text, 200)), *many])
    return forms.Form(offered, "C1", **{"values": values, "kept_at": AT, **more})


def with_template(text: str, words: Translator, departs: Translatable | None, given: Given) -> forms.Form:
    filled = filling(text)
    choice = Choice((filled.template.name, template_answers.label(filled.template, words)), filled.template.name)
    wording = template_forms.wording(filled, given, words, departs)
    return composed(text, template=(filled.template.name, "d" * 64), wording=wording, choice=choice, facts=facts(text))


def facts(text: str) -> list[Json]:
    """What is wrong with every slot, as the form shows it."""
    return [section("\n".join(f"⛔ {quote(cut(text, 290))}" for _ in range(10)))]


WRONG = Translatable("The template “{name}” would replace what you wrote.", name="&" * 64)
AGAIN = dict.fromkeys(("audience", "purpose", "send_at", "sender", "campaign", "canary", "template"), 10**9)

#: The compose form with a text, before it shows what the text becomes.
COMPOSED: dict[str, Callable[[str], forms.Form]] = {
    "compose": composed,
    "compose without anything kept": partial(composed, kept_at=None, values={}),
    "compose with templates to choose from": partial(composed, choice=Choice()),
    "compose with a choice that would replace": partial(composed, choice=Choice(("&" * 64, "&" * 90), None, WRONG)),
    "compose again and again": partial(composed, choice=Choice(), refills=10**9, again=AGAIN),
    "compose a test": partial(composed, test=True),
    "compose an edit": partial(composed, edits=("B234679", 10**9)),
    "compose a draft": partial(composed, draft="B234679", follows="B234680"),
}


def settings_shown(text: str) -> Shown:
    """The settings with a rule as long as what somebody typed."""
    values = values_of(Settings()) | {"approval.approvers": ["U1", "S1"], "approval.channel": "C1"}
    values["approval.rules"] = [{"audience": text, "quorum": 2}]
    return Shown(values, frozenset(), OwnSettings(workspace="T1", version=3, changed_by="U1", changed_at=AT))


FORMS: dict[str, Open] = {
    **{
        name: (lambda text, words, made=made: forms.compose(made(text), words))  # type: ignore[misc]
        for name, made in COMPOSED.items()
    },
    "fill in a template": lambda text, words: forms.compose(with_template(text, words, None, Given()), words),
    "fill in an approved template": lambda text, words: forms.compose(
        with_template(text, words, None, Given(("U1", "U2"), 2)), words
    ),
    "fill in a template for somebody else": lambda text, words: forms.compose(
        with_template(text, words, Translatable("*{canary}* gets it first.", canary=cut(text, 60)), Given()), words
    ),
    "make a template": lambda text, words: template_forms.make_form(
        template_forms.MakeForm([("clients", text)], "C1"), words
    ),
    "change a template": lambda text, words: template_forms.make_form(
        template_forms.MakeForm([("clients", text)], "C1", template(text)), words
    ),
    "correct a template": lambda text, words: template_forms.make_form(
        template_forms.MakeForm([("clients", text)], "C1", None, {"name": text, **template(text).values()}), words
    ),
    "reject": lambda text, words: forms.reject_form(asked(text), words),
    "give a reason": lambda text, words: forms.reject_form(asked(text), words, after=True),
    "ask for changes": lambda text, words: forms.changes_form(asked(text), words),
    "re-plan": lambda text, words: forms.replan_form(asked(text), AT, words),
    "re-plan outside the hours": lambda text, words: forms.replan_form(asked(text), AT, words, closed=True),
    "break the glass": lambda text, words: break_glass.glass_form(asked(text, quoted="≈ 2.58 EUR"), words),
    "break the glass in training": lambda text, words: break_glass.glass_form(
        asked(text, size=None, bound=9, mode="training"), words
    ),
    "settings": lambda text, words: settings_form(settings_shown(text), words),
    "close the review": lambda text, words: break_glass.review_form(skipped(text, reviewed_by=None), words),
}


# --- messages --------------------------------------------------------------------------------------------------------


def note(template: str, text: str, words: Translator, *, aloud: bool = False, **values: Any) -> Post:
    """A message in a thread."""
    sentence = Translatable(template, by="<@U1>", **({"reason": text} | values))
    return thread_note(Note(sentence, MENTION, aloud), asked(text), words)


def changed(before: str, after: str, words: Translator) -> Post:
    """What is said about an edit, with both texts compared."""
    sentence = edited(CHANGED_BY, "U1", asked(before), asked(after, send_at=None, canary=word(after, 40)))
    return thread_message(sentence, MENTION, words)


def submitted(text: str, words: Translator, fix: Translatable | None = None, **changes: Any) -> Post:
    """What is said to whoever has asked for a broadcast."""
    broadcast, person = asked(text, **changes), Person("T1", "U1", zone="Europe/Paris", zone_known=False)
    questions = [FieldError("text", Translatable("“{found}” looks like {name}.", found=cut(text, 80), name="at="))]
    asks = tuple(questions if broadcast.state is State.DRAFT else ())
    made = Submitted(broadcast, fix=fix, questions=asks)
    post = replies.submitted_post(made, Place(postable=True), person, "It is outside the hours.", words)
    return replies.with_late(post, ("at", "sender", "campaign", "canary"), words)


def refused(text: str, words: Translator, correct: refusals.Correction | None = None) -> Post:
    """What is said about a command that cannot be carried out."""
    wrong = [FieldError("text", Translatable("“{found}”", found=part)) for part in (text, cut(text, 80))]
    said = replies.explain(InvalidRequest(*wrong), words)
    return refusals.complaint(said, f"/broadcast send {text}", words, correct=correct)


def told(error: Exception, words: Translator) -> Post:
    """What is said about a press that cannot be carried out."""
    said = " ".join(replies.explain(error, words, ["U1"]))
    return Post(said, [section(said)])


def offer(text: str, *voters: str) -> Offer:
    """A template with slots, and who has approved it already."""
    seen = replace(filling(text).template, approved_by=tuple(TemplateVote(one, 1) for one in voters))
    return Offer(seen, asked(seen.text, bound=9), "d", RequiredApprovals(2, ("S1",)))


def listed(text: str, count: int) -> list[tuple[Template, Given]]:
    return [(template(text), Given(("U1",), 2)) for _ in range(count)]


#: The card in a state, as it is drawn there when there is everything to show, and when there is nothing.
CARDS: dict[str, Draw] = {
    **{
        f"a full card, {state}": (
            lambda text, words, state=state: draw_card(every(text, state), full(text), words)  # type: ignore[misc]
        )
        for state in State
    },
    **{
        f"a bare card, {state}": (
            lambda text, words, state=state: draw_card(asked(text, state=state), SPARE, words)  # type: ignore[misc]
        )
        for state in State
    },
    **{
        f"a card held: {hold}": (
            lambda text, words, hold=hold: draw_card(  # type: ignore[misc]
                asked(text, state=State.HELD, hold=hold, canary="team", expires_at=AT), beside(text), words
            )
        )
        for hold in Hold
    },
    "a card without approval": lambda text, words: draw_card(
        skipped(text, state=State.SENT, reviewed_by=None), SPARE, words
    ),
    "a card that was reviewed": lambda text, words: draw_card(skipped(text, state=State.SENT), SPARE, words),
    "a card of a group": lambda text, words: draw_card(
        asked(text, kind=AudienceKind.GROUP, everyone=True), SPARE, words
    ),
    "a card of a test": lambda text, words: draw_card(
        asked(text, test_of=word(text, 40), state=State.SENT), SPARE, words
    ),
    "a card of a canary": lambda text, words: draw_card(
        asked(text, test_of="clients", key="canary:B234680:1", follows="B234680", state=State.SENT), SPARE, words
    ),
    "a card of a canary that is held": lambda text, words: draw_card(
        asked(text, test_of="clients", key="canary:B234680:1", follows="B234680", state=State.HELD, hold=Hold.LATE),
        replace(SPARE, refusal=Translatable("“{reply}”", reply=cut(text, 200))),
        words,
    ),
    "an older card": lambda text, words: moved(asked(text), "https://bell.slack.com/archives/C1/p1", words),
}

THREAD: dict[str, Draw] = {
    "rejected": lambda text, words: note("{by} rejected it. “{reason}”", cut(text, 500), words),
    "rejected by a reaction": lambda text, words: note("{by} rejected it.", text, words, asks=REASON),
    "cancelled for a long reason": lambda text, words: note("{by} cancelled it. “{reason}”", text, words),
    "sent without approval": lambda text, words: note(
        "{by} is sending this without approval: “{reason}” {then} Until then, an approver can stop it on its card. The "
        "review stays open until somebody else closes it.",
        cut(text, 500),
        words,
        aloud=True,
        then=Translatable("It starts {start_at}.", start_at=AT),
    ),
    "a reply": lambda text, words: note("Reply: {reply}", text, words, reply=text),
    "edited all": lambda text, words: changed("Hi", text, words),
    "edited from all": lambda text, words: changed(text, "Hi", words),
    "edited in the middle": lambda text, words: changed(text, f"{text[:1500]}now{text[1500:]}", words),
    "edited everywhere": lambda text, words: changed(
        text, " ".join(text[start : start + 7] for start in range(0, 4000, 7)), words
    ),
    "told directly": lambda text, words: thread_message(
        Translatable("About *{id}*: {told}", id="B234679", told=Translatable("“{reason}”", reason=text)), None, words
    ),
    "news where it was asked for": lambda text, words: news_message(
        Translatable("About *{id}*: {told}", id="B234679", told=Translatable("“{reason}”", reason=text)),
        MENTION,
        asked(text, state=State.SCHEDULED),
        words,
        stop=True,
    ),
    "a missed reminder": lambda text, words: thread_message(
        Translatable("This reminder was due {missed_at}: “{text}”", missed_at=AT, text=cut(text, 2900)), MENTION, words
    ),
}

ANSWERS: dict[str, Draw] = {
    "how it is written": lambda text, words: answers.usage(cut(text, 80), f"/broadcast send {text}", words),
    "a draft": lambda text, words: answers.draft_kept(asked(text, state=State.DRAFT), quote(cut(text, 300)), words),
    **{
        f"a page of those {wanted}": (
            lambda text, words, wanted=wanted: listing(  # type: ignore[misc]
                ListPage(
                    wanted,
                    cut(text, 100),
                    [asked(text, state=state, test_of="clients") for state in list(State)[:10]],
                    {"B234679": "https://bell.slack.com/archives/C1/p1"},
                    ["⏸️", "⚠️"],
                    "x" * 300,
                    "y" * 300,
                ),
                words,
            )
        )
        for wanted in Wanted
    },
    **{
        f"none of those {wanted}": (
            lambda text, words, wanted=wanted: listing(ListPage(wanted, cut(text, 100), [], {}, ["⏸️"]), words)  # type: ignore[misc]
        )
        for wanted in Wanted
    },
    **{
        f"the details, {state}": (
            lambda text, words, state=state: details(  # type: ignore[misc]
                skipped(text, state=state),
                full(text),
                Story(
                    [
                        {"actor": actor, "action": action, "version": 2, "at": AT, "seq": 1, "reason": text}
                        for actor in ("U0123456789", "clock", "policy") * 3
                        for action in ("edit_refused", "edit")
                    ],
                    {AT: edited(CHANGED_BY, "U0123456789", row(text="a"), row(text=text))},
                    "https://bell.slack.com/archives/C1/p1",
                    dict.fromkeys(range(10), "https://bell.slack.com/archives/C1/p1"),
                    Drawing(7, AT),
                ),
                words,
            )
        )
        for state in State
    },
    "a page of the audit": lambda text, words: audit_page(
        AuditPage(
            "B234679",
            [
                {"actor": actor, "action": action, "version": 2, "at": AT, "seq": 1, "place": 1, "reason": text}
                | {"digest": "d" * 64, "broadcast": "B234679"}
                for actor in ("U0123456789", "clock") * 3
                for action in ("edit_refused", "edit")
            ],
            "x" * 90,
            "y" * 90,
            "z" * 90,
        ),
        "Europe/Paris",
        words,
    ),
    "help": lambda text, words: help.all_commands(
        [(f"{n} <id>", "Open the form.") for n in range(22)], "clients", words
    ),
    "help in steps": lambda text, words: help.with_way_back(help.steps(words, [mrkdwn.quote(text[:40])]), words),
    **{
        f"help {name}": (lambda text, words, name=name: help.topic(name, name, "Open the form.", "clients", words))  # type: ignore[misc]
        for name in help.OPTIONS
    },
    "greeting": lambda text, words: help.greeting(words),
    "did you mean": lambda text, words: meant.ask(meant.Meant("every", text, "1"), text, words),
    **{
        f"submitted, {state}": (
            lambda text, words, state=state: submitted(text, words, state=state)  # type: ignore[misc]
        )
        for state in (State.DRAFT, State.PENDING, State.SCHEDULED)
    },
    "submitted where nobody approves": lambda text, words: submitted(
        text, words, Translatable("{who} must be in {channel}.", who="<@U1>", channel="<#C1>"), state=State.DRAFT
    ),
    "a test": lambda text, words: submitted(text, words, test_of="clients", quorum=0, state=State.SCHEDULED),
    "refused": refused,
    "refused, to be corrected": lambda text, words: refused(text, words, refusals.Correction(cut(text, 500))),
    "refused, to be corrected from what was kept": lambda text, words: refused(text, words, refusals.Correction(text)),
    "refused test, to be corrected": lambda text, words: refused(
        text, words, refusals.Correction(cut(text, 500), "test")
    ),
    "too late": lambda text, words: told(StaleVersion(asked(text)), words),
    "changed": lambda text, words: told(CardChanged(asked(text), (Translatable("“{r}”", r=text),)), words),
    "not allowed": lambda text, words: told(
        NotAllowed("Only {who} may send to “{name}”.", who="<@U1>", name=text), words
    ),
    "not there": lambda text, words: told(NotFound(text), words),
}

OF_TEMPLATES: dict[str, Draw] = {
    "a template is saved": lambda text, words: template_answers.saved(
        replace(filling(text).template, approved_by=()), ("U1", "U2"), words
    ),
    "some templates": lambda text, words: template_answers.listing(listed(text, 100), words),
    "no templates": lambda text, words: template_answers.listing([], words),
    "a question about a template": lambda text, words: template_answers.question(offer(text), "U2", words),
    "a template that was approved before": lambda text, words: template_answers.question(
        offer(text, "U2", "U3"), "U2", words
    ),
    "a template needs more approvals": lambda text, words: template_answers.approved(offer(text, "U2"), words),
    "a template is approved": lambda text, words: template_answers.approved(offer(text, "U2", "U3"), words),
}

RECURRING: dict[str, Draw] = {
    **{
        f"a reminder, {state}": (
            lambda text, words, state=state: recurring.reminder(  # type: ignore[misc]
                turn(state, snoozed_until=AT), scheduled(text), None, words
            )
        )
        for state in OccurrenceState
    },
    "a reminder as it is posted": lambda text, words: recurring.reminder(
        turn(OccurrenceState.OPEN), scheduled(text), None, words
    ),
    "a reminder from long ago": lambda text, words: recurring.reminder(
        turn(OccurrenceState.OPEN), scheduled(text, rule=None, options={}), None, words
    ),
    "a digest": lambda text, words: recurring.reminder(
        turn(OccurrenceState.OPEN), scheduled("", options={"digest": True}), digest(text), words
    ),
    "a digest of nothing": lambda text, words: recurring.reminder(
        turn(OccurrenceState.OPEN), scheduled(text, options={"digest": True}), Digest([], [], [], [], 0), words
    ),
    "a reminder is asked for": lambda text, words: recurring.asked(
        scheduled(text), COMING, words, "It is outside the hours."
    ),
    "a series is asked for": lambda text, words: recurring.asked(
        scheduled(text, kind=Kind.BROADCAST), COMING, words, "It is outside the hours."
    ),
    "the details of a schedule": lambda text, words: recurring.details(
        scheduled(text, state=ScheduleState.ENDED, ended=Ended.CHANNEL_GONE),
        [turn(state, broadcast="B234680") for state in OccurrenceState],
        words,
    ),
    "a board": lambda text, words: board(
        BoardPage(
            Kind.REMINDER,
            [scheduled(text)] * 8,
            {(scheduled(text).id, action): "x" * 120 for action in STEPS},
            [(turn(OccurrenceState.SNOOZED), scheduled(text))] * 10,
            ["⏸️"] * 3,
            "x" * 80,
            "y" * 80,
        ),
        words,
    ),
    "the same is there": lambda text, words: already_there(scheduled(text), text[:2100], words),
    "an empty board": lambda text, words: board(BoardPage(Kind.BROADCAST, []), words),
    **{
        f"still on its way, {state}": (
            lambda text, words, state=state: lines(  # type: ignore[misc]
                [recurring.still_on_its_way(asked(text, state=state), words)] * 100, words
            )
        )
        for state in State
        if state not in ENDED
    },
}

MESSAGES: dict[str, Draw] = CARDS | THREAD | ANSWERS | OF_TEMPLATES | RECURRING


# --- what is in them -------------------------------------------------------------------------------------------------


def parts(value: Any) -> Iterator[Json]:
    """Every dict anywhere in it."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(one)


def markdown(blocks: list[Json]) -> Iterator[str]:
    """Every text in which Slack would find mentions and links."""
    for part in parts(blocks):
        if part.get("type") == "mrkdwn" and isinstance(part.get("text"), str):
            yield part["text"]


def actions(blocks: list[Json]) -> Iterator[str]:
    """The ids of all that can be pressed, and of all that can be chosen in a menu of actions."""
    for part in parts(blocks):
        if part.get("type") == "overflow":
            yield from (f"broadcast.{option['value'].partition(':')[0]}" for option in part["options"])
        if part.get("type") in ("button", "overflow"):
            yield part["action_id"]


def fields(blocks: list[Json]) -> Iterator[str]:
    """The names of all inputs, without the number of one that was refilled."""
    for block in blocks:
        if block["type"] == "input":
            yield block["block_id"].split(":")[0]
