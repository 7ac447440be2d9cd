"""Broadcasts in, Block Kit out. Pure functions; everything a person typed goes through `quote` or `plain`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from bot.domain import marketing, placeholders, slack_text, sms, suggestions
from bot.domain.broadcast import Broadcast, counts_told, fingerprint
from bot.domain.clock import SECOND, Micros, moment
from bot.domain.errors import Complaint
from bot.domain.hours import HoldUntil, Refuse, Verdict
from bot.domain.i18n import Translatable, Words
from bot.domain.lifecycle import Action, Hold, Phase, State, allowed
from bot.domain.people import mentions
from bot.domain.schedule import Schedule
from bot.storage.notes import Note
from bot.storage.votes import Vote
from bot.workflow.checks import MOST
from bot.workflow.deadlines import NOT_THEN, PAUSED_ASKS, PAUSED_WAITS, draft_end
from bot.workflow.requirements import still_asked
from providers.base import AudienceKind, Purpose
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)

Block = dict[str, Any]
Row = TypeVar("Row", Broadcast, Schedule)

#: Values of these names in a sentence are mentions already; everything else was typed or told by somebody.
MENTIONS = frozenset({"by", "who", "requester", "channel"})
TEXT_PIECE = 2900  # characters of the message in one block; a block holds 3000
FIELD = 1900
ANSWER = 3000  # characters of an answer's plain text
LOOK_AGAIN = 3600 * SECOND  # at the card of what is held: what stands in its way comes and goes
NAMED = 5  # characters that a line names
MOST_CODES = 10  # codes of emoji that a line shows
INPUT = 3000  # characters of one input of a form, as Slack counts them: in UTF-16
QUESTION = 300  # characters of a question before a press
ASKED_NAME = 40  # characters of an audience's name in one

BADGES: Mapping[State, str] = {
    State.DRAFT: "📝 Draft",
    State.PENDING: "🟡 Waiting for approval",
    State.SCHEDULED: "🕑 Scheduled",
    State.HELD: "✋ Held",
    State.SENDING: "📤 Sending",
    State.UNKNOWN: "❓ Not known whether it went out",
    State.SENT: "✅ Sent",
    State.DONE: "🏁 Done",
    State.FAILED: "⛔ Failed",
    State.REJECTED: "🚫 Rejected",
    State.CANCELLED: "✖️ Cancelled",
    State.EXPIRED: "⌛ Expired",
}

HOLDS: Mapping[Hold, str] = {
    Hold.LATE: "its time has passed",
    Hold.HOURS: "outside the hours for this audience",
    Hold.PAUSED: "sending is paused",
    Hold.CAP: "the cap of sends an hour is reached",
    Hold.BLOCKED: "something is in its way, see its thread",
    Hold.RESTORED: "the database was restored",
}

WAS_PAUSED = "sending was paused"

#: States in which it has not started, so that the hours matter to its card.
WAITING = frozenset({State.PENDING, State.SCHEDULED, State.HELD})

KINDS = {AudienceKind.LIST: "list", AudienceKind.TAG: "tag", AudienceKind.GROUP: "group"}
PURPOSES: Mapping[Purpose, str] = {Purpose.MARKETING: "Marketing", Purpose.TRANSACTIONAL: "Transactional"}

#: What the audit calls its steps, as people read them.
DEEDS: Mapping[str, str] = {
    Action.SUBMIT: "asked for",
    Action.DISCARD: "thrown away",
    Action.APPROVE: "approved",
    Action.WITHDRAW: "approval taken back",
    Action.REJECT: "rejected",
    Action.CANCEL: "cancelled",
    Action.EXPIRE: "ended without a decision",
    Action.STOP: "stopped",
    Action.HOLD: "held",
    Action.RESUME: "resumed",
    Action.SEND_NOW: "let go at once",
    Action.REPLAN: "re-planned",
    Action.DROP: "dropped",
    Action.START: "started",
    Action.RELEASE: "released to the vendor",
    Action.PUT_BACK: "put back",
    Action.OUTGROW: "asked for approval again",
    Action.LAPSE: "approval lapsed",
    Action.RETURN: "returned as a draft",
    Action.ACCEPT: "accepted by the vendor",
    Action.REFUSE: "refused",
    Action.LOSE_TRACK: "outcome unknown",
    Action.PROVE: "proven to be sent",
    Action.MARK_SENT: "marked as sent",
    Action.MARK_NOT_SENT: "marked as not sent",
    Action.FINISH: "finished",
    "vote": "approved, more needed",
    "ask": "asked what happened",
    "accept_late": "accepted, told late",
    "refuse_late": "refused, told late",
    "report_late": "deliveries reported late",
}
ACTORS: Mapping[str, str] = {
    "clock": "the clock",
    "policy": "the rules",
    "dispatcher": "the dispatcher",
    "restore": "the restore",
    "slack": "Slack",
}


@dataclass(frozen=True)
class Post:
    """A message: `text` is the notification and what a screen reader says, always a whole sentence."""

    text: str
    blocks: list[Block] = field(default_factory=list)
    plainest: list[Block] = field(default_factory=list)  # what is shown where Slack does not take those blocks


@dataclass(frozen=True)
class Showing:
    """What a card shows beside its row. `zone`: the audience's, where its policy names one. `opens`: where the hours
    forbid the start, the next instant at which they do not. `undo`: seconds between an approval and the start.
    `reaction`: one that approves. `paused`: an admin has stopped all sending. `then`: what becomes of a start that is
    agreed to. `now`: when it is drawn; `since`: since when it shows no less; `grace`: by how much a start may be
    late. Of what is held: `refusal`, why *Send now* would be refused, and `asks_first`, that it asks the approvers."""

    votes: tuple[Vote, ...]
    vendor: str
    legacy: Translatable | None
    verdict: Verdict | None
    training: bool
    zone: str
    opens: Micros | None = None
    undo: int = 0
    reaction: str | None = None
    paused: bool = False
    then: Translatable | None = None
    misfit: Translatable | None = None  # what in the settings would hold it
    now: Micros = 0
    since: Micros = 0
    grace: Micros = 0
    refusal: Translatable | None = None
    asks_first: bool = False

    @property
    def soonest(self) -> Micros:
        """When it starts if it is agreed to now."""
        return self.now + self.undo * SECOND


# --- text, safely ----------------------------------------------------------------------------------------------------


def quote(typed: str) -> str:
    """What somebody typed, so that it can neither ping anyone nor forge a link."""
    return typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _place(zone: str) -> tzinfo:
    """A zone that this machine no longer knows is shown as UTC, which the text names."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def when(instant: Micros, zone: str = "UTC") -> str:
    """An instant as each reader sees it in their own zone, with a spelled-out fallback for notifications."""
    local = moment(instant).astimezone(_place(zone))
    return f"<!date^{instant // SECOND}^{{date_short_pretty}} {{time}}|{local:%Y-%m-%d %H:%M %Z}>"


def spelled(instant: Micros, zone: str) -> str:
    """An instant in words for places without markup: with its zone and offset."""
    local: datetime = moment(instant).astimezone(_place(zone))
    return f"{local:%Y-%m-%d %H:%M} {zone} ({local:%z})"


def sentence(words: Words, said: Translatable, zone: str = "UTC") -> str:
    """A sentence in the reader's language, with its values made safe. `zone`: of the times in it, where no reader's
    own is known."""
    return words.fill(said.template, {name: _safe(name, value, words, zone) for name, value in said.values.items()})


def _safe(name: str, value: str | int | Translatable, words: Words, zone: str) -> str | int:
    if isinstance(value, Translatable):
        return sentence(words, value, zone)
    if name.endswith("_at") and isinstance(value, int):
        return when(value, zone)
    return value if name in MENTIONS or isinstance(value, int) else quote(value)


def section(markdown: str, block_id: str | None = None) -> Block:
    block: Block = {"type": "section", "text": {"type": "mrkdwn", "text": markdown[:3000]}}
    return {**block, "block_id": block_id} if block_id else block


def lines(said: Sequence[str]) -> Post:
    """Lines of markup as one answer, over as many sections as they need."""
    sections: list[Block] = []
    current = ""
    for line in said:
        if current and len(current) + len(line) >= TEXT_PIECE:
            sections, current = [*sections, section(current)], ""
        current = f"{current}\n{line}" if current else line
    return Post("\n".join(said)[:ANSWER], [*sections, section(current)][:50])


def context(*lines: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": line[:2000]} for line in lines[:10]]}


def literal(typed: str) -> list[Block]:
    """All of a text, exactly as it is, in blocks that know no markup."""
    pieces = [typed[start : start + TEXT_PIECE] for start in range(0, len(typed), TEXT_PIECE)] or [" "]
    return [
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": piece}]}],
        }
        for piece in pieces
    ]


def plain(typed: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": typed, "emoji": False}


# --- the card --------------------------------------------------------------------------------------------------------


def card(broadcast: Broadcast, showing: Showing, words: Words) -> Post:
    """The message that shows a broadcast: everything that an approver must know, in one look."""
    blocks = [
        *_head(broadcast, showing, words),
        *literal(broadcast.text),
        context(_length(broadcast, words), *_warnings(broadcast, showing, words)),
        {"type": "section", "fields": _facts(broadcast, showing, words)},
        *_progress(broadcast, words),
        section(_next_step(broadcast, showing, words), f"next:{broadcast.revision}"),
        *_buttons(broadcast, showing, words),
    ]
    return Post(summary(broadcast, words), blocks, [plainer for block in blocks for plainer in _plainer(block)])


def _plainer(block: Block) -> list[Block]:
    """The same in the plainest blocks that there are, with nothing left out: it is decided about as well."""
    match block:
        case {"type": "header", "text": text}:
            return [{"type": "section", "text": text}]
        case {"type": "rich_text"}:
            return [{"type": "section", "text": plain(piece)} for piece in _literally(block)]
        case {"type": "context", "elements": told} | {"fields": told}:
            return [section(one["text"]) for one in told]
    return [block]


def _literally(block: Block) -> list[str]:
    """The text in a block that `literal` made."""
    return [piece["text"] for element in block["elements"] for piece in element["elements"]]


def moved(broadcast: Broadcast, link: str | None, words: Words) -> Post:
    """What is left of the card of an earlier version: a line with a link to the newer one."""
    told = words("*{id}* was changed, so this card counts no more.", id=broadcast.id)
    if link:
        told = f"{told} {words('<{link}|Open its card>', link=link)}"
    return Post(told, [section(told, f"moved:{broadcast.version}")])


def summary(broadcast: Broadcast, words: Words) -> str:
    """The card in one sentence."""
    shown = broadcast.text if len(broadcast.text) <= 80 else f"{broadcast.text[:79]}…"
    return words(
        "{badge}: broadcast {id} to {audience}: “{text}”",
        badge=words(BADGES[broadcast.state]),
        id=broadcast.id,
        audience=quote(broadcast.audience),
        text=quote(shown),
    )


def _head(broadcast: Broadcast, showing: Showing, words: Words) -> list[Block]:
    badge = words(BADGES[broadcast.state])
    title = f"{badge} · {broadcast.id}"
    if showing.training:
        title = f"{words('TRAINING: nothing is really sent')} · {title}"
    asked = words(
        "{requester} asks to send this to *{audience}*",
        requester=mentions([broadcast.requester]),
        audience=quote(broadcast.audience),
    )
    return [{"type": "header", "text": plain(title[:150])}, section(asked)]


def _length(broadcast: Broadcast, words: Words) -> str:
    return _cost(broadcast.text, broadcast, words)


def _cost(text: str, broadcast: Broadcast, words: Words) -> str:
    """What a text takes where this broadcast goes."""
    size = sms.measure(text)
    encoding = "GSM-7" if size.encoding == "gsm7" else "Unicode"
    if broadcast.kind == "group":
        return words("{count} characters", count=len(text))
    least = words("at least") if placeholders.placeholders(text) else "≈"
    return words.count(
        "{least} {number} SMS per recipient ({encoding}, {units}/{room})",
        "{least} {number} SMS per recipient ({encoding}, {units}/{room})",
        size.segments,
        least=least,
        encoding=encoding,
        units=size.units,
        room=size.room,
    )


def _warnings(broadcast: Broadcast, showing: Showing, words: Words) -> list[str]:
    found = [*_about_characters(broadcast, words), *_about_words(broadcast, words)]
    if broadcast.covers > 1:
        found.append(
            words(
                "🔁 One approval is for this one and the next {number} of *{schedule}*",
                number=broadcast.covers - 1,
                schedule=broadcast.schedule or "",
            )
        )
    if broadcast.everyone:
        found.append(words("⚠️ Goes to all subscribers of a public group"))
    if showing.legacy:
        found.append(f"⚠️ {sentence(words, showing.legacy)}")
    return found


def _about_characters(broadcast: Broadcast, words: Words) -> Iterator[str]:
    offenders = sms.measure(broadcast.text).offenders
    if offenders and broadcast.kind != "group":
        yield words("⚠️ Unicode because of {characters}", characters=_named(offenders, words))
        better = suggestions.suggest(broadcast.text)
        if better is not None:
            template = "💡 Plain characters in their place would make {after} SMS instead of {before}"
            yield words(template, after=better.after, before=better.before)
    if unseen := suggestions.invisible(broadcast.text):
        cost = _cost(suggestions.without_invisible(broadcast.text), broadcast, words)
        template = "⚠️ Invisible: {characters}. Without them: {cost}"
        yield words(template, characters=_named(unseen, words), cost=cost)


def _named(characters: Sequence[str], words: Words) -> str:
    more = f" … (+{len(characters) - NAMED})" if len(characters) > NAMED else ""
    english = words.language == "en"
    return quote(", ".join(sms.name_of(char, english=english) for char in characters[:NAMED])) + more


def _about_words(broadcast: Broadcast, words: Words) -> Iterator[str]:
    if broadcast.purpose is Purpose.TRANSACTIONAL and (offers := marketing.looks_like_marketing(broadcast.text)):
        yield words("⚠️ Reads like an offer: {words}. Is it really transactional?", words=quote(", ".join(offers)))
    if names := slack_text.emoji_names(broadcast.text):
        template = "⚠️ Phones will show {names} as it is written. Put the emoji itself, or take it out."
        yield words(template, names=", ".join(f"`{name}`" for name in names[:MOST_CODES]))
    if broadcast.unnamed and placeholders.fills_in_names(broadcast.text):
        yield words.count(
            "⚠️ {number} of them has no name to fill in",
            "⚠️ {number} of them have no name to fill in",
            broadcast.unnamed,
        )


def _facts(broadcast: Broadcast, showing: Showing, words: Words) -> list[dict[str, str]]:
    facts = [
        (words("Audience"), f"{quote(broadcast.audience)} — {_size(broadcast, words)}"),
        (words("Purpose"), words(PURPOSES[broadcast.purpose])),
        (words("Account"), f"{quote(broadcast.account)} ({quote(showing.vendor)})"),
        (words("Start"), _start(broadcast, showing, words)),
    ]
    if broadcast.schedule:
        local = (broadcast.occurrence or "").replace("T", " ")
        facts.append((words("Comes again"), f"*{broadcast.schedule}* · {local} {broadcast.zone}"))
    if broadcast.sender:
        facts.append((words("Sender"), quote(broadcast.sender)))
    if broadcast.campaign:
        facts.append((words("Campaign"), quote(broadcast.campaign)))
    if broadcast.staged is not None and broadcast.staged.cost is not None:
        facts.append((words("Cost"), f"{broadcast.staged.cost} {broadcast.staged.currency or ''}".strip()))
    elif broadcast.quoted:
        facts.append((words("Cost"), f"≈ {quote(broadcast.quoted)}"))
    facts.append((words("Fingerprint"), f"`{fingerprint(broadcast)}` v{broadcast.version}"))
    return [{"type": "mrkdwn", "text": f"*{name}*\n{value}"[:FIELD]} for name, value in facts]


def _size(broadcast: Broadcast, words: Words) -> str:
    if broadcast.size is not None and broadcast.size != UNREADABLE:
        return words.count("{number} person", "{number} people", broadcast.size)
    if broadcast.bound is not None and broadcast.bound != UNREADABLE:
        return words("the vendor does not say; at most {bound}", bound=broadcast.bound)
    return words("the vendor does not say how many")


def _start(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    zone = showing.zone or broadcast.zone
    if broadcast.send_at is not None:  # the wall clock that was meant, whatever the reader's own zone
        start = f"{when(broadcast.send_at, zone)} ({spelled(broadcast.send_at, zone)})"
    elif broadcast.due is not None:
        start = when(broadcast.due, zone)
    else:
        start = words("right after approval")
    closed = _closed(broadcast, showing, words)
    return f"{start}\n{closed}" if closed else start


def _closed(broadcast: Broadcast, showing: Showing, words: Words) -> str | None:
    """What the hours say of a start that they do not allow, with the next one that they do."""
    if showing.misfit is not None:
        return f"✋ {sentence(words, showing.misfit)}"
    if not isinstance(showing.verdict, HoldUntil | Refuse):
        return None
    if showing.opens is None:
        return words("✋ the hours for this audience never allow it")
    zone = showing.zone or broadcast.zone
    opens = f"{when(showing.opens, zone)} ({spelled(showing.opens, zone)})"
    if isinstance(showing.verdict, HoldUntil):
        return words("✋ held for the hours until {opens_at}", opens_at=opens)
    return words("✋ the hours for this audience do not allow it then; they do from {opens_at} on", opens_at=opens)


def _progress(broadcast: Broadcast, words: Words) -> list[Block]:
    lines = []
    if broadcast.ids:
        shown = ", ".join(f"`{quote(id)}`" for id in broadcast.ids[:20])
        more = f" … (+{len(broadcast.ids) - 20})" if len(broadcast.ids) > 20 else ""
        lines.append(words("*Ids*: {ids}", ids=shown + more))
    if broadcast.counts:
        lines.append(words("*Deliveries*: {counts}", counts=sentence(words, counts_told(broadcast.counts))))
    if broadcast.failure is not None:
        lines.append(sentence(words, broadcast.failure))
    return [section("\n".join(lines), f"progress:{broadcast.revision}")] if lines else []


def _next_step(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    yes = mentions(vote.approver for vote in showing.votes)
    match broadcast.state:
        case State.PENDING:
            missing = max(broadcast.quorum - len(showing.votes), 0)
            step = words.count(
                "Needs {number} approval from {who}: press Approve.",
                "Needs {number} approvals from {who}: press Approve.",
                missing,
                who=mentions(still_asked(broadcast, (vote.approver for vote in showing.votes))),
            )
            if showing.reaction and not broadcast.everyone:
                step = f"{step} {words('Or react with :{reaction}:.', reaction=showing.reaction)}"
            return f"{step}\n{words('Approved so far by {who}', who=yes)}" if showing.votes else step
        case State.SCHEDULED:
            by = words("Approved by {by}.", by=yes) if showing.votes else words("No approval is needed.")
            return f"{by} {sentence(words, showing.then)}" if showing.then else by
        case State.HELD:
            return _held(broadcast, showing, words)
        case State.SENDING:
            releasing = broadcast.phase is Phase.RELEASING
            return words("It is going out now.") if releasing else words("Being prepared at the vendor.")
        case State.UNKNOWN:
            return words("It may have gone out, so it is not sent again. What happened?")
        case State.SENT if showing.training:
            return words("Training: nothing was really sent.")
        case State.SENT if broadcast.claimed:  # a person said so; the vendor has not
            return words("It cannot be recalled.")
        case State.SENT:
            return words("The vendor accepted it. It cannot be recalled.")
        case State.DRAFT:
            template = "It is kept as a draft until {end_at}. Nobody is asked until somebody opens and submits it."
            return words(template, end_at=when(draft_end(broadcast), broadcast.zone))
        case _:
            return words("Nothing more happens to it. To send again, ask for a new broadcast.")


def _held(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    held = HOLDS[broadcast.hold or Hold.LATE]
    if broadcast.hold is Hold.PAUSED and not showing.paused:
        held = WAS_PAUSED
    why = words("Held: {why}.", why=words(held))
    if broadcast.hold_until is not None:
        opens = when(broadcast.hold_until, showing.zone or broadcast.zone)
        if showing.paused:
            template = "All sending is paused too. It goes by itself once sending resumes, {opens_at} at the earliest."
            return f"{why} {words(template, opens_at=opens)}"
        return f"{why} {words('It goes by itself {opens_at}.', opens_at=opens)}"
    asked = words("Send it now, re-plan it, or drop it.")
    if broadcast.hold is Hold.HOURS:
        asked = words("Re-plan it, or drop it.")
    elif showing.paused and showing.asks_first:
        template = "Once an admin resumes sending, *Send now* asks for approval. You can also re-plan it, or drop it."
        asked = words(template)
    elif showing.paused:
        asked = words("Once an admin resumes sending, *Send now* lets it go. You can also re-plan it, or drop it.")
    elif showing.refusal is not None:
        asked = sentence(words, showing.refusal, showing.zone or broadcast.zone)
    elif showing.asks_first:
        asked = words("It needs approval before it goes: *Send now* asks for it. You can also re-plan it, or drop it.")
    if broadcast.expires_at is None:
        return f"{why} {asked}"
    ends = words("Without a decision it ends {end_at}.", end_at=when(broadcast.expires_at, broadcast.zone))
    return f"{why} {asked} {ends}"


BUTTONS: Mapping[Action, tuple[str, str | None]] = {  # label and style, in the order in which they stand
    Action.APPROVE: ("Approve", "primary"),
    Action.REJECT: ("Reject", "danger"),
    Action.CANCEL: ("Cancel", None),
    Action.STOP: ("Stop", "danger"),
    Action.SEND_NOW: ("Send now", "primary"),
    Action.REPLAN: ("Re-plan", None),
    Action.DROP: ("Drop", "danger"),
    Action.MARK_SENT: ("It went out", None),
    Action.MARK_NOT_SENT: ("It did not go out", "danger"),
}


#: What a follow-up is called where the broadcast itself is over, or can only be put right.
FOLLOW_UPS: Mapping[State, str] = {
    **dict.fromkeys((State.SENT, State.DONE), "Send a correction"),
    **dict.fromkeys((State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED), "Send a follow-up"),
}


def _buttons(broadcast: Broadcast, showing: Showing, words: Words) -> list[Block]:
    """The buttons are read from the table of transitions, so they cannot disagree with it.

    A follow-up is no transition: it is a new broadcast, that this one's text is put into the form for.
    """
    possible = allowed(broadcast.state) - {Action.CANCEL if broadcast.in_undo_window else Action.STOP}
    if broadcast.hold is Hold.HOURS:  # the hours would only hold it again
        possible -= {Action.SEND_NOW}
    shown = [action for action in BUTTONS if action in possible]
    elements = [_button(action, broadcast, showing, words) for action in shown]
    if broadcast.state in FOLLOW_UPS:
        elements.append(_plain_button("follow_up", words(FOLLOW_UPS[broadcast.state]), broadcast))
    if not elements:
        return []
    return [{"type": "actions", "block_id": f"actions:{broadcast.revision}:{showing.since}", "elements": elements}]


def drawing_of(block_id: str) -> tuple[int, Micros] | None:
    """The revision that the buttons in this block show, and since when its facts stand; None where it is no block of
    ours, so that the message alone tells what was seen."""
    told = re.fullmatch(r"actions:([0-9]{1,9})(?::([0-9]{1,18}))?", block_id)
    return (int(told[1]), int(told[2] or 0)) if told else None


def _button(action: Action, broadcast: Broadcast, showing: Showing, words: Words) -> dict[str, Any]:
    label, style = BUTTONS[action]
    button = _plain_button(action, words(label), broadcast)
    if style:
        button["style"] = style
    question = _question(action, broadcast, showing, words)
    if question is not None:
        button["confirm"] = {
            "title": plain(words(label)),
            "text": plain(question[:QUESTION]),
            "confirm": plain(words(label)[:30]),
            "deny": plain(words("Go back")),
        }
    return button


def _plain_button(name: str, label: str, broadcast: Broadcast) -> dict[str, Any]:
    value = f"{broadcast.id}:{broadcast.version}"
    return {"type": "button", "action_id": f"broadcast.{name}", "text": plain(label), "value": value}


def _question(action: Action, broadcast: Broadcast, showing: Showing, words: Words) -> str | None:
    """What is asked once more before it is done: what will happen, to how many, and when; None where nothing is."""
    match action:
        case Action.APPROVE:
            return _question_of_approval(broadcast, showing, words)
        case Action.SEND_NOW:
            return _question_of_letting_go(broadcast, showing, words)
        case Action.MARK_SENT:
            return words(
                "Are you sure that it went out? It will count as sent, although the vendor has not confirmed it."
            )
        case Action.MARK_NOT_SENT:
            return words("Are you sure that it did not go out? It ends as failed; nothing is sent again.")
    return None


def _question_of_approval(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    asked = [_to_whom(broadcast, showing, words)]
    if broadcast.everyone:
        asked.insert(0, words("This goes to ALL subscribers of the public group."))
    covers = words("Your approval is for {number} of them.", number=broadcast.covers) if broadcast.covers > 1 else None
    more = _more_needed(broadcast.quorum - len(showing.votes) - 1, words)
    asked += [said for said in (covers, more) if said]
    if showing.misfit is not None:
        asked.append(sentence(words, showing.misfit))
    elif _is_late(broadcast, showing):
        asked.append(words("Its time has passed: once approved it is held, and asks again."))
    elif isinstance(showing.verdict, Refuse):
        asked.append(words(NOT_THEN))
    else:
        closed = isinstance(showing.verdict, HoldUntil)
        asked += _starts(showing.opens if closed else _ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, more, covers, _pause(showing, words))


def _question_of_letting_go(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    asked = [_to_whom(broadcast, showing, words)]
    if showing.refusal is not None:
        asked.append(unmarked(sentence(words, showing.refusal, showing.zone or broadcast.zone)))
    elif showing.asks_first:
        asked.append(words("It needs approval before it goes: this asks the approvers."))
    else:
        asked += _starts(_ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, _pause(showing, words), asked[0])


def _more_needed(missing: int, words: Words) -> str | None:
    if missing <= 0:
        return None
    return words.count(
        "After yours {number} more approval is needed.", "After yours {number} more approvals are needed.", missing
    )


def _brief(asked: Sequence[str], *spare: str | None) -> str:
    """A question that Slack takes whole. Where it is too long, what the card or its thread says as well goes first, a
    sentence at a time; that it cannot be recalled never does."""
    kept = list(asked)
    for least in spare:
        if len(" ".join(kept)) > QUESTION and least in kept:
            kept.remove(least)
    return " ".join(kept)


def _is_late(broadcast: Broadcast, showing: Showing) -> bool:
    """Has its own time passed by so much that an approval does not let it go?"""
    return broadcast.send_at is not None and showing.soonest - broadcast.send_at > showing.grace


def _ahead(broadcast: Broadcast, showing: Showing) -> Micros | None:
    """Its own time, where that is still to come."""
    return broadcast.send_at if (broadcast.send_at or 0) > showing.soonest else None


def stale_at(broadcast: Broadcast, showing: Showing) -> Micros | None:
    """When its card says something that is not so any more, though its row is the same: as its own time passes, or the
    hours open. What else is in the way of what is held may be gone within the hour."""
    if broadcast.state not in (State.PENDING, State.HELD):
        return None
    passing = [showing.opens or 0]
    if broadcast.send_at is not None:
        passes = broadcast.send_at - showing.undo * SECOND
        passing += [passes, passes + showing.grace + 1]
    if broadcast.state is State.HELD and broadcast.hold is not Hold.HOURS:
        passing.append(showing.now + LOOK_AGAIN)
    return min((at for at in passing if at > showing.now), default=None)


def _to_whom(broadcast: Broadcast, showing: Showing, words: Words) -> str:
    """`clients: 12 people.`, and in training that it is none."""
    name = broadcast.audience
    shown = name if len(name) <= ASKED_NAME else f"{name[: ASKED_NAME - 1]}…"
    told = f"{shown}: {_size(broadcast, words)}."
    return f"{words('Training: nothing is really sent.')} {told}" if showing.training else told


def _starts(start: Micros | None, broadcast: Broadcast, showing: Showing, words: Words) -> Iterator[str]:
    """When it starts, if not right after the undo window, until when it can be stopped, and that it cannot
    afterwards."""
    if start is not None:
        yield words("It starts {start_at}.", start_at=spelled(start, showing.zone or broadcast.zone))
    if pause := _pause(showing, words):
        yield pause
    if showing.training:
        return
    if start is not None:
        yield words("Until then it can be stopped; afterwards it cannot be recalled.")
    elif showing.undo:
        yield words(
            "It starts {seconds} s later. Until then it can be stopped; afterwards it cannot be recalled.",
            seconds=showing.undo,
        )
    else:
        yield words("It starts at once and cannot be recalled.")


def _pause(showing: Showing, words: Words) -> str | None:
    """What a pause of all sending, if there is one, does to a start."""
    if not showing.paused:
        return None
    return words(PAUSED_WAITS if isinstance(showing.verdict, HoldUntil) else PAUSED_ASKS)


# --- the thread ------------------------------------------------------------------------------------------------------


def note(said: Note, broadcast: Broadcast, words: Words) -> Post:
    """One thing that the thread is told."""
    post = message(said.sentence, said.mention, words)
    return Post(f"{post.text} ({broadcast.id})", post.blocks) if said.aloud else post


def message(said: Translatable, mention: str | None, words: Words) -> Post:
    """Something that is told where no card stands. `mention`: ids of people, with spaces."""
    told = sentence(words, said)
    if mention:
        told = f"{mentions(mention.split())} {told}"
    return Post(told, [section(told)])


# --- forms -----------------------------------------------------------------------------------------------------------

INPUTS = ("audience", "purpose", "text", "send_at", "sender", "campaign")
REST = "text_rest"
MORE_TEXT = re.compile(rf"({REST}([0-9]{{0,3}}))(?::|$)")


@dataclass(frozen=True)
class Form:
    """The compose form. `audiences`: (name, label) pairs; `values`: what it is filled with; `draft`, `follows`: ids of
    the draft that it completes, of the broadcast that it follows."""

    audiences: Sequence[tuple[str, str]]
    channel: str
    draft: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    follows: str | None = None


@dataclass(frozen=True)
class Composed:
    """What came back from the compose form, still unchecked."""

    audience: str
    purpose: str
    text: str
    send_at: Micros | None
    sender: str | None
    campaign: str | None
    channel: str
    draft: str | None
    follows: str | None


def compose(form: Form, words: Words) -> dict[str, Any]:
    """The form behind `/broadcast`. Block ids are the request's field names."""
    options = [_option(name, label) for name, label in form.audiences[:100]]
    purposes = [_option(purpose, words(label)) for purpose, label in PURPOSES.items()]
    chosen = form.values.get("audience")
    audience: dict[str, Any] = {"type": "static_select", "options": options}
    initial = next((option for option in options if option["value"] == chosen), None)
    if initial:
        audience["initial_option"] = initial
    purpose = next((option for option in purposes if option["value"] == form.values.get("purpose")), purposes[0])
    start: dict[str, Any] = {"type": "datetimepicker"}
    if form.values.get("send_at"):
        start["initial_date_time"] = form.values["send_at"]
    blocks = [
        _input("audience", words("Audience"), audience),
        _input("purpose", words("Purpose"), {"type": "static_select", "options": purposes, "initial_option": purpose}),
        *_text_inputs(form.values.get("text") or "", words),
        _input("send_at", words("Start"), start, optional=True, hint=words("Empty: right after approval.")),
        _input("sender", words("Sender"), _named_input("sender", form.values), optional=True),
        _input("campaign", words("Campaign"), _named_input("campaign", form.values), optional=True),
    ]
    return _modal(
        "broadcast_compose",
        words("New broadcast"),
        words("Ask to send"),
        blocks,
        {"channel": form.channel, "draft": form.draft, "follows": form.follows},
        words,
    )


def _text_inputs(text: str, words: Words) -> list[Block]:
    """One input, or as many as a long text takes: `text`, `text_rest`, `text_rest2` … `read_compose` joins them."""
    written = {"type": "plain_text_input", "multiline": True, "max_length": INPUT}
    hint = words("For marketing the opt-out mention is added for you. A single SMS holds 160 plain characters.")
    first, *rest = _pieces(text)
    inputs = [_input("text", words("Text"), _filled({**written, "min_length": 1}, first), hint=hint)]
    for number, piece in enumerate(rest, start=1):
        name = f"{REST}{number if number > 1 else ''}"
        inputs.append(_input(name, words("Text, continued"), _filled(written, piece), optional=True))
    return inputs


def _pieces(text: str) -> list[str]:
    """A text in pieces that an input takes, cut inside of words: spaces at an end of an input would be lost."""
    pieces: list[str] = []
    while len(text) > (most := _fitting(text)):
        cut = most
        while cut > most // 2 and (
            text[cut - 1].isspace() or text[cut].isspace() or not suggestions.may_part(text, cut)
        ):
            cut -= 1
        pieces, text = [*pieces, text[:cut]], text[cut:]
    return [*pieces, text]


def _fitting(text: str) -> int:
    """How many of its characters one input takes."""
    if 2 * len(text) <= INPUT:
        return len(text)
    units = accumulate(2 if char > "\uffff" else 1 for char in text[: INPUT + 1])
    return next((count for count, used in enumerate(units) if used > INPUT), len(text))


def _named_input(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept while it might be longer opens too, and is complained of when it comes back."""
    value = (values.get(name) or "")[: INPUT // 2]
    return _filled({"type": "plain_text_input", "max_length": max(MOST[name], 2 * len(value))}, value)


def _modal(
    callback_id: str, title: str, submit: str, blocks: list[Block], kept: Mapping[str, Any], words: Words
) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(title[:24]),
        "submit": plain(submit[:24]),
        "close": plain(words("Cancel")[:24]),
        "private_metadata": json.dumps(kept),
        "blocks": blocks,
    }


def _option(value: str, label: str) -> dict[str, Any]:
    return {"text": plain(label[:75]), "value": value[:150]}


def _filled(element: dict[str, Any], value: str | None) -> dict[str, Any]:
    return {**element, "initial_value": value} if value else element


def _input(
    name: str, label: str, element: Mapping[str, Any], *, optional: bool = False, hint: str | None = None
) -> Block:
    block: Block = {
        "type": "input",
        "block_id": name,
        "label": plain(label),
        "optional": optional,
        "element": {**element, "action_id": "value"},
    }
    return {**block, "hint": plain(hint)} if hint else block


def read_compose(view: Mapping[str, Any]) -> Composed:
    """What a person filled in. Missing pieces come out empty and are complained of later."""
    kept = kept_in(view)
    values = view.get("state", {}).get("values", {})
    start = _value(values, "send_at").get("selected_date_time")
    return Composed(
        audience=_chosen(values, "audience"),
        purpose=_chosen(values, "purpose"),
        text="".join(_written(values)),
        send_at=int(start) * SECOND if start else None,
        sender=_entered(values, "sender").strip() or None,
        campaign=_entered(values, "campaign").strip() or None,
        channel=str(kept.get("channel") or ""),
        draft=kept.get("draft"),
        follows=kept.get("follows"),
    )


def _written(values: Mapping[str, Any]) -> Iterator[str]:
    """The text, piece by piece. A block that had to be refilled is called `text:2`."""
    yield _entered(values, "text")
    rest = {match[1]: int(match[2] or 1) for match in map(MORE_TEXT.match, values) if match}
    for name in sorted(rest, key=lambda name: rest[name]):
        yield _entered(values, name)


def filled(broadcast: Broadcast, *, send_at: Micros | None = None) -> dict[str, Any]:
    """The compose form's values for the text and the options of this broadcast."""
    return {
        "audience": broadcast.audience,
        "purpose": broadcast.purpose,
        "text": broadcast.typed,
        "send_at": send_at // SECOND if send_at else None,
        "sender": broadcast.sender,
        "campaign": broadcast.campaign,
    }


def _value(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block that had to be refilled is called `text:2`: Slack keeps what was typed under the old name."""
    for block_id, actions in values.items():
        if block_id.split(":")[0] == name:
            found: Mapping[str, Any] = actions.get("value") or {}
            return found
    return {}


def _entered(values: Mapping[str, Any], name: str) -> str:
    return sms.storable(str(_value(values, name).get("value") or ""))


def _chosen(values: Mapping[str, Any], name: str) -> str:
    return str((_value(values, name).get("selected_option") or {}).get("value") or "")


def kept_in(view: Mapping[str, Any]) -> dict[str, Any]:
    """What the form remembers; nothing for one that is not ours."""
    try:
        kept = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def field_errors(complaints: Iterable[Complaint], view: Mapping[str, Any], words: Words) -> dict[str, str]:
    """Each complaint under its field; one about no field of the form stands under the text."""
    places = {
        block["block_id"].split(":")[0]: block["block_id"]
        for block in view.get("blocks", [])
        if block.get("type") == "input"
    }
    otherwise = places.get("text") or next(reversed(places.values()), "text")
    errors: dict[str, str] = {}
    for complaint in complaints:
        place, told = places.get(complaint.field, otherwise), unmarked(sentence(words, complaint.sentence))
        errors[place] = f"{errors[place]} {told}" if place in errors else told
    return errors


def unmarked(markdown: str) -> str:
    """A sentence for a place without markup, such as the line under a field."""
    spelled_out = re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", markdown)
    without_people = re.sub(r"<(?:@|!subteam\^)([A-Z0-9]+)>", r"@\1", spelled_out)
    return (
        without_people.replace("*", "").replace("`", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )


def reject_form(broadcast: Broadcast, words: Words) -> dict[str, Any]:
    """Asks for a reason: the requester has to know what to change."""
    reason = {"type": "plain_text_input", "multiline": True, "min_length": 1, "max_length": 500}
    blocks = [
        section(words("Reject *{id}* to *{audience}*?", id=broadcast.id, audience=quote(broadcast.audience))),
        _input("reason", words("Reason"), reason, hint=words("The requester reads it in the thread.")),
    ]
    kept = {"id": broadcast.id, "version": broadcast.version}
    return _modal("broadcast_reject", words("Reject"), words("Reject"), blocks, kept, words)


def replan_form(broadcast: Broadcast, start: Micros, words: Words, *, closed: bool = False) -> dict[str, Any]:
    """Asks for another start. `start` is what it is filled with; `closed`: the hours allow no earlier one."""
    about = words("Re-plan *{id}* to *{audience}*?", id=broadcast.id, audience=quote(broadcast.audience))
    if closed:
        opens = when(start, broadcast.zone)
        about += "\n" + words("The next start that the hours allow is {opens_at}.", opens_at=opens)
    picker = {"type": "datetimepicker", "initial_date_time": start // SECOND}
    hint = words("It is a new version then: what was approved before does not count any more.")
    blocks = [section(about), _input("send_at", words("Start"), picker, hint=hint)]
    kept = {"id": broadcast.id, "version": broadcast.version}
    return _modal("broadcast_replan", words("Re-plan"), words("Re-plan"), blocks, kept, words)


def read_replan(view: Mapping[str, Any]) -> Micros | None:
    """The start that was chosen."""
    chosen = _value(view.get("state", {}).get("values", {}), "send_at").get("selected_date_time")
    return int(chosen) * SECOND if chosen else None


# --- answers to one person -------------------------------------------------------------------------------------------


def complaint(told: Iterable[str], typed: str, words: Words) -> Post:
    """What is wrong and what to do, and what was typed, so that nothing is lost."""
    lines = "\n".join(told)
    blocks = [section(lines)]
    if typed.strip():
        blocks += [context(words("You typed:")), *literal(typed)]
    return Post(lines, blocks)


def usage(usage: str, typed: str, words: Words) -> Post:
    """How a command is written, and what was typed."""
    return complaint([words("Write it like this: `/broadcast {usage}`", usage=quote(usage))], typed, words)


def draft_kept(broadcast: Broadcast, fix: str, words: Words) -> Post:
    """No card can stand where it was asked for: the draft waits, and the fix is named."""
    template = "I kept your draft as *{id}*. `/broadcast edit {id}` opens it in any channel that I am in."
    told = words(template, id=broadcast.id)
    return with_draft(Post(f"{fix} {told}", [section(f"{fix}\n{told}")]), broadcast, words)


def with_draft(post: Post, broadcast: Broadcast, words: Words) -> Post:
    """A message with the text of a draft, and the button that opens it."""
    return Post(post.text, [*post.blocks, *literal(broadcast.typed), _draft_button(broadcast, words)])


def _draft_button(broadcast: Broadcast, words: Words) -> Block:
    button = {**_plain_button("edit", words("Open the draft"), broadcast), "style": "primary"}
    return {"type": "actions", "elements": [button]}


def listing(broadcasts: Sequence[Broadcast], stops: Sequence[str], words: Words) -> Post:
    """The latest broadcasts, a line each, under what keeps any of them from going."""
    if not broadcasts:
        return Post("\n".join([*stops, words("There are no broadcasts yet. Try `/broadcast` for the form.")]))
    lines = [*stops, *each_line(broadcasts, lambda row: _line(row, words), words)]
    title = words("The latest broadcasts")
    return Post(f"{title}: {', '.join(row.id for row in broadcasts)}", [section(f"*{title}*"), *map(section, lines)])


def each_line(rows: Iterable[Row], line: Callable[[Row], str], words: Words) -> Iterator[str]:
    """A line for each row; one that cannot be shown says so, and hides no other."""
    for row in rows:
        yield drawn(row.id, partial(line, row), words)


def drawn(id: object, line: Callable[[], str], words: Words) -> str:
    try:
        return line()
    except Exception as error:  # whatever is in it
        log.error("a row cannot be shown", id=str(id), exc_info=error)
        return words("*{id}* cannot be shown. Tell whoever runs the bot.", id=str(id))


def _line(row: Broadcast, words: Words) -> str:
    shown = row.text if len(row.text) <= 60 else f"{row.text[:60]}…"
    instant = when(row.due or row.send_at or row.changed_at, row.zone)
    who = mentions([row.requester])
    return f"{words(BADGES[row.state])} · *{row.id}* → {quote(row.audience)} · {who} · {instant} · “{quote(shown)}”"


def details(
    broadcast: Broadcast, showing: Showing, history: Iterable[Mapping[str, Any]], link: str | None, words: Words
) -> Post:
    """The card without its buttons, and who did what; a draft, which has no card, can be opened."""
    shown = card(broadcast, showing, words)
    steps = [
        drawn(f"{broadcast.id}/{row['seq']}", partial(_step, row, broadcast, words), words)
        for row in list(history)[-15:]
    ]
    blocks = [block for block in shown.blocks if block["type"] != "actions"]
    blocks.append(section(f"*{words('History')}*\n" + "\n".join(steps)))
    if link:
        blocks.append(section(words("<{link}|Open its card>", link=link)))
    if broadcast.state is State.DRAFT:
        blocks.append(_draft_button(broadcast, words))
    return Post(shown.text, blocks)


def _step(row: Mapping[str, Any], broadcast: Broadcast, words: Words) -> str:
    """A line of the history: when, who, what, and where it led."""
    told = f"{when(row['at'], broadcast.zone)} · {_actor(row['actor'], words)} · {_deed(row['action'], words)}"
    if not row["after"] or row["after"] == row["before"]:
        return told
    after = words(BADGES[State(row["after"])]) if row["after"] in tuple(State) else row["after"]
    return f"{told} → {after}"


def _deed(action: str, words: Words) -> str:
    """What was done, as people read it; what a newer version did stays its word."""
    refused = action.endswith("_refused")
    name = action.removesuffix("_refused")
    told = words(DEEDS[name]) if name in DEEDS else quote(name)
    return f"{told} ({words('not allowed')})" if refused else told


def _actor(actor: str, words: Words) -> str:
    if re.fullmatch(r"[UW][A-Z0-9]+", actor):
        return mentions([actor])
    return words(ACTORS[actor]) if actor in ACTORS else quote(actor)


def help_text(usages: Iterable[tuple[str, str]], words: Words) -> Post:
    """Every subcommand, with examples that can be pasted."""
    lines = [f"• `{usage}` — {words(about)}" for usage, about in usages]
    examples = [
        "/broadcast send clients marketing Soldes demain",
        '/broadcast send clients transactional at="demain 9h" Votre commande est prête',
    ]
    title = words("*What I can do*")
    shown = "\n".join(f"`{example}`" for example in examples)
    blocks = [section(title), section("\n".join(lines)), section(words("*Examples*") + f"\n{shown}")]
    return Post("\n".join([title, *lines, *examples]), blocks)
