"""The first lines of a card: what is asked, how many people get it, what it costs, and when it goes."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain import placeholders, sms
from bot.domain.broadcast import Broadcast
from bot.domain.hours import HoldUntil, Refuse
from bot.domain.i18n import Translator
from bot.domain.lifecycle import State
from bot.domain.price import price_of
from bot.slack.blocks.card_facts import BADGES, CardContext
from bot.slack.blocks.mrkdwn import HEADER, Block, plain, quote, section, spelled
from providers.base import AudienceKind
from providers.reading import UNREADABLE


def title(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """`🟡 Approve? · SMS to newsletter`."""
    asked = words("🟡 Approve?") if broadcast.state is State.PENDING else words(BADGES[broadcast.state])
    shown = f"{asked} · {to_audience(broadcast, words)}"
    return f"🟦 {words('TRAINING: nothing is really sent')} · {shown}" if showing.training else shown


def to_audience(broadcast: Broadcast, words: Translator) -> str:
    """`SMS to newsletter`, or `🧪 Test of newsletter · SMS to team`."""
    to = _to(broadcast, words)
    if broadcast.is_canary:
        return f"🐤 {words('First for {id}', id=broadcast.follows or '?')} · {to}"
    return to if broadcast.test_of is None else f"🧪 {words('Test of {audience}', audience=broadcast.test_of)} · {to}"


def _to(broadcast: Broadcast, words: Translator) -> str:
    if broadcast.kind is AudienceKind.GROUP:
        return words("Message to {audience}", audience=broadcast.audience)
    return words("SMS to {audience}", audience=broadcast.audience)


def stakes(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """`20 people × 1 SMS = 20 SMS · ≈ 2.58 EUR · right after approval`, as plain text."""
    parts = (how_many(broadcast, showing, words), cost(broadcast, words) or words("cost not known"))
    return " · ".join([*parts, *_start(broadcast, showing, words), *_first(broadcast, words)])


def _first(broadcast: Broadcast, words: Translator) -> Iterator[str]:
    if broadcast.canary is None or broadcast.ended:
        return
    if broadcast.continued_at is None:
        yield words("first to {canary}", canary=broadcast.canary)
    elif broadcast.state in (State.PENDING, State.SCHEDULED, State.HELD):
        yield words("{canary} has it already", canary=broadcast.canary)


def large(line: str) -> Block:
    """Return the line in large letters; in bold ones if it is too long for that, since nothing of it may be cut."""
    return {"type": "header", "text": plain(line)} if len(line) <= HEADER else section(f"*{quote(line)}*")


def people(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    size, bound = _known(broadcast.size), _known(broadcast.bound)
    if size is not None:
        return words.count("{number} person", "{number} people", size)
    if bound is not None:
        return words.count(
            "up to {number} person ({vendor} has not said)",
            "up to {number} people ({vendor} has not said)",
            bound,
            vendor=showing.vendor,
        )
    return words("the vendor does not say how many people")


def how_many(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """The people, the SMS for each of them, and the product of both where the vendor said how many people."""
    who = people(broadcast, showing, words)
    if broadcast.kind is AudienceKind.GROUP:
        return who
    each, size, bound = sms.measure(broadcast.text).segments, _known(broadcast.size), _known(broadcast.bound)
    if placeholders.placeholders(broadcast.text):  # what is filled in may take another SMS
        if size is None:
            return words("{people} × at least {each} SMS", people=who, each=each)
        template = "{people} × at least {each} SMS = at least {total} SMS"
        return words(template, people=who, each=each, total=size * each)
    if size is not None:
        return words("{people} × {each} SMS = {total} SMS", people=who, each=each, total=size * each)
    if bound is not None:
        return words("{people} × {each} SMS = up to {total} SMS", people=who, each=each, total=bound * each)
    return words("{people} × {each} SMS", people=who, each=each)


def _known(number: int | None) -> int | None:
    """Return a number of people; None if it is not known, or cannot be read."""
    return None if number == UNREADABLE else number


def cost(broadcast: Broadcast, words: Translator) -> str | None:
    """What the vendor will charge, or what it quoted; None if it says neither."""
    if (price := price_of(broadcast.staged)) is not None:
        return price
    return f"≈ {broadcast.quoted}" if broadcast.quoted else None


def _start(broadcast: Broadcast, showing: CardContext, words: Translator) -> Iterator[str]:
    """Yield when it goes, if that is still ahead and known."""
    zone = showing.zone or broadcast.zone
    if broadcast.state not in (State.DRAFT, State.PENDING, State.SCHEDULED, State.HELD):
        return
    if isinstance(showing.verdict, HoldUntil) and showing.opens is not None:
        yield words("not before {start_at}", start_at=spelled(showing.opens, zone))
    elif isinstance(showing.verdict, Refuse) or showing.misfit is not None:
        yield words("not as planned, see below")
    elif broadcast.state is State.HELD:
        if broadcast.hold_until is not None:
            yield spelled(broadcast.hold_until, zone)
    elif (start := broadcast.due or broadcast.send_at) is not None:
        yield spelled(start, zone)
    else:
        yield words("right after approval") if broadcast.quorum else words("right away")
