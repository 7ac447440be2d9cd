"""What a card shows about a broadcast: its text, audience, size, start and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from bot.domain import marketing, placeholders, slack_text, sms, suggestions
from bot.domain.broadcast import Broadcast, fingerprint
from bot.domain.clock import SECOND, Micros
from bot.domain.hours import HoldUntil, Refuse, Verdict
from bot.domain.i18n import Translatable, Translator
from bot.domain.id_ranges import IdRange, id_ranges
from bot.domain.lifecycle import Hold, State
from bot.domain.people import mentions
from bot.domain.progress import answers_line, progress_line
from bot.slack.blocks.mrkdwn import Block, grouped, literal, quote, section, sentence, spelled, when
from bot.storage.votes import Vote
from providers.base import AudienceKind, Purpose

NAMED = 5  # characters that a line names
IDS = 20  # of the vendor, that a card shows
MOST_CODES = 10  # emoji codes that a line shows
ENDING = 4  # digits of a number that a card shows
ASKED_NAME = 40  # characters of an audience's name in a question

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
    Hold.HOURS: "outside the sending hours for this audience",
    Hold.PAUSED: "sending is paused",
    Hold.CAP: "the hourly cap on sends has been reached",
    Hold.BLOCKED: "something is blocking it, see its thread",
    Hold.RESTORED: "the database was restored",
    Hold.CANARY: "a few people get it first",
}

#: States in which it has not started, so the hours matter to its card.
WAITING = frozenset({State.PENDING, State.SCHEDULED, State.HELD})

KINDS = {AudienceKind.LIST: "list", AudienceKind.TAG: "tag", AudienceKind.GROUP: "group"}
PURPOSES: Mapping[Purpose, str] = {Purpose.MARKETING: "Marketing", Purpose.TRANSACTIONAL: "Transactional"}


@dataclass(frozen=True)
class CardContext:
    """What a card shows in addition to its row.

    `zone`: the audience's, if its policy names one. `opens`: if the hours forbid the start, the next instant that they
    allow. `undo`: seconds between an approval and the start. `reaction`: one that approves. `paused`: whether an admin
    has paused all sending. `then`: what happens to an approved start. `now`: when the card is drawn. `since`: since
    when it shows no less. `grace`: how late a start may be. For a held broadcast, `refusal`: why *Send now* would be
    refused; `asks_first`: whether *Send now* asks the approvers. `sender`: the account's own. `duplicate`: the
    broadcast of which this may be a duplicate, and the link to its card. `counterpart`: the broadcast to
    the canary that this one waits for, or the one that this canary tries out, and the link to its card. `notify`: who
    is mentioned instead of the approvers. `delegates`: who may approve it in whose place. `glass`: whether somebody may
    send it without approval.
    """

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
    sender: str | None = None
    duplicate: Broadcast | None = None
    duplicate_link: str | None = None
    counterpart: Broadcast | None = None
    counterpart_link: str | None = None
    notify: tuple[str, ...] = ()
    glass: bool = False
    delegates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def soonest(self) -> Micros:
        """When it starts if it is approved now."""
        return self.now + self.undo * SECOND


def length(broadcast: Broadcast, words: Translator) -> str:
    return _cost(broadcast.text, broadcast, words)


def _cost(text: str, broadcast: Broadcast, words: Translator) -> str:
    """Return how many SMS or characters a text takes in this broadcast."""
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


def warnings(broadcast: Broadcast, showing: CardContext, words: Translator) -> list[str]:
    found = [*_about_characters(broadcast, words), *_about_words(broadcast, words)]
    if broadcast.state in WAITING and (closed := _closed(broadcast, showing, words)):
        found.insert(0, closed)
    if showing.duplicate is not None:
        found.insert(0, _duplicate(showing.duplicate, showing.duplicate_link, words))
    if broadcast.covers > 1:
        found.append(
            words(
                "🔁 One approval covers this one and the next {number} of *{schedule}*",
                number=broadcast.covers - 1,
                schedule=broadcast.schedule or "",
            )
        )
    if broadcast.everyone:
        found.append(words("⚠️ Goes to all subscribers of a public group"))
    if broadcast.subscribers:
        endings = ", ".join(f"…{number[-ENDING:]}" for number in broadcast.subscribers)
        found.append(words("👥 Only to these of its subscribers: {numbers}", numbers=quote(endings)))
    if showing.legacy:
        found.append(f"⚠️ {sentence(words, showing.legacy)}")
    return found


def _duplicate(other: Broadcast, link: str | None, words: Translator) -> str:
    """Name the broadcast with nearly the same text, and link to its card."""
    template = "⚠️ Nearly the same text to the same people: *{id}*, asked by {by} {asked_at}"
    values = {"id": other.id, "by": mentions([other.requester]), "asked_at": when(other.created_at, other.zone)}
    told = words(template, **values)
    return f"{told} · {words('<{link}|Open its card>', link=link)}" if link else told


def _about_characters(broadcast: Broadcast, words: Translator) -> Iterator[str]:
    offenders = sms.measure(broadcast.text).offenders
    if offenders and broadcast.kind != "group":
        yield words("⚠️ Unicode because of {characters}", characters=_named(offenders, words))
        better = suggestions.suggest(broadcast.text)
        if better is not None:
            template = "💡 With plain characters, it would take {after} SMS instead of {before}"
            yield words(template, after=better.after, before=better.before)
    if unseen := suggestions.invisible(broadcast.text):
        cost = _cost(suggestions.without_invisible(broadcast.text), broadcast, words)
        template = "⚠️ Invisible characters: {characters}. Without them: {cost}"
        yield words(template, characters=_named(unseen, words), cost=cost)
    yield from _lookalikes(broadcast.text, words)


def _lookalikes(text: str, words: Translator) -> Iterator[str]:
    if found := suggestions.lookalikes(text):
        yield words("⚠️ Letters that only look like others: {characters}", characters=_named(found, words))


def _named(characters: Sequence[str], words: Translator) -> str:
    more = f" … (+{len(characters) - NAMED})" if len(characters) > NAMED else ""
    english = words.language == "en"
    return quote(", ".join(sms.name_of(char, english=english) for char in characters[:NAMED])) + more


def _about_words(broadcast: Broadcast, words: Translator) -> Iterator[str]:
    if broadcast.purpose is Purpose.TRANSACTIONAL and (offers := marketing.looks_like_marketing(broadcast.text)):
        yield words("⚠️ Reads like an offer: {words}. Is it really transactional?", words=quote(", ".join(offers)))
    if names := slack_text.emoji_names(broadcast.text):
        template = "⚠️ Phones will show {names} exactly as written. Insert the emoji itself, or remove it."
        yield words(template, names=", ".join(f"`{name}`" for name in names[:MOST_CODES]))
    if broadcast.unnamed and placeholders.fills_in_names(broadcast.text):
        yield words.count(
            "⚠️ {number} person in the audience has no name to fill in",
            "⚠️ {number} people in the audience have no name to fill in",
            broadcast.unnamed,
        )


def small_print(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """Return everything else that identifies a broadcast, as one line."""
    facts = [words(PURPOSES[broadcast.purpose])]
    if sender := broadcast.sender or showing.sender:
        facts.append(words("sender {sender}", sender=quote(sender)))
    if broadcast.campaign:
        facts.append(words("campaign {campaign}", campaign=quote(broadcast.campaign)))
    if broadcast.schedule:
        local = (broadcast.occurrence or "").replace("T", " ")
        facts.append(f"{words('Recurring broadcast')} *{broadcast.schedule}* ({local} {broadcast.zone})")
    facts += [
        f"{quote(broadcast.account)} ({quote(showing.vendor)}, {_target(broadcast, words)})",
        words("asked by {requester}", requester=mentions([broadcast.requester])),
        f"*{broadcast.id}* v{broadcast.version}",
        f"`{fingerprint(broadcast)}`",
    ]
    return " · ".join(facts)


def _target(broadcast: Broadcast, words: Translator) -> str:
    """`list 1`: what the vendor calls the audience."""
    return f"{words(KINDS[broadcast.kind])} {quote(broadcast.target)}"


def planned(broadcast: Broadcast, showing: CardContext, words: Translator) -> str | None:
    """Return the planned start as each reader sees it in their own zone; None if none was asked for."""
    if broadcast.send_at is None or broadcast.state not in WAITING:
        return None
    return words("Start: {start_at}", start_at=when(broadcast.send_at, showing.zone or broadcast.zone))


def _closed(broadcast: Broadcast, showing: CardContext, words: Translator) -> str | None:
    """Return why the start is not allowed, with the next one that is; None if it is allowed."""
    if showing.misfit is not None:
        return f"✋ {sentence(words, showing.misfit)}"
    if not isinstance(showing.verdict, HoldUntil | Refuse):
        return None
    if showing.opens is None:
        return words("✋ the sending hours for this audience never allow it")
    zone = showing.zone or broadcast.zone
    opens = f"{when(showing.opens, zone)} ({spelled(showing.opens, zone)})"
    if isinstance(showing.verdict, HoldUntil):
        return words("✋ held until sending hours open: {opens_at}", opens_at=opens)
    return words(
        "✋ the sending hours for this audience do not allow this time; they allow it from {opens_at} on",
        opens_at=opens,
    )


def progress(broadcast: Broadcast, words: Translator) -> list[Block]:
    """Return the vendor's ids and what has become of it, as far as that is known."""
    lines = [*deliveries(broadcast, words), *ids(broadcast, words, IDS)]
    if broadcast.failure is not None:
        lines.append(sentence(words, broadcast.failure))
    return [section("\n".join(lines), f"progress:{broadcast.revision}")] if lines else []


def ids(broadcast: Broadcast, words: Translator, most: int) -> Iterator[str]:
    """Yield the vendor's ids, as so many ids and ranges, and how many more ids there are."""
    if broadcast.ids:
        shown = [*islice(id_ranges(broadcast.ids), most)]
        left = len(broadcast.ids) - sum(one.number for one in shown)
        more = f" … (+{grouped(left, words)})" if left else ""
        yield words("*Ids*: {ids}", ids=", ".join(range_text(one, words) for one in shown) + more)


def range_text(ids: IdRange, words: Translator) -> str:
    """`24–10023 (10,000)`, or an id by itself."""
    if ids.number == 1:
        return f"`{quote(ids.first)}`"
    return f"`{quote(ids.first)}–{quote(ids.last)}` ({grouped(ids.number, words)})"


def reached(broadcast: Broadcast, words: Translator) -> Iterator[str]:
    """Yield how its deliveries stand, of how many people where that is known: `3 of 3 delivered`."""
    if broadcast.counts:
        yield sentence(words, progress_line(broadcast, bar=False))


def deliveries(broadcast: Broadcast, words: Translator) -> Iterator[str]:
    """Yield how many were delivered and how many were not, then how many people answered."""
    if broadcast.counts:
        yield sentence(words, progress_line(broadcast))
    if (answers := answers_line(broadcast)) is not None:
        yield f"💬 {sentence(words, answers)}"


def whole_text(broadcast: Broadcast, words: Translator) -> list[Block]:
    """Return all of the text, or what is left of it."""
    if broadcast.text_removed_at is not None:
        return [section(f"_{text_removed(broadcast, words)}_")]
    return literal(suggestions.visible(broadcast.text))


def text_removed(broadcast: Broadcast, words: Translator) -> str:
    """Say that there is no text any more, and by which digest another copy of it is recognised."""
    template = "The text was removed on {removed_at}. Its digest begins with `{digest}`."
    day = when(broadcast.text_removed_at or 0, broadcast.zone)
    return words(template, removed_at=day, digest=fingerprint(broadcast))


def excerpt(broadcast: Broadcast, words: Translator, length: int) -> str:
    """Return the first characters of the text, as it was typed."""
    if broadcast.text_removed_at is not None:
        return words("text removed")
    text = suggestions.visible(broadcast.text)
    return text if len(text) <= length else f"{text[: length - 1]}…"
