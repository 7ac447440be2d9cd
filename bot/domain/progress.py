"""How far the deliveries of a broadcast have come, in the words of those who read it.

Only what the vendor said counts: whatever it has not said is on its way, and in the end not known. It never failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable
from providers.base import DeliveryStatus
from providers.reading import UNREADABLE

CELLS = 10  # of a bar
MOST_REASONS = 5  # for which deliveries failed that a report names; the others are counted together
ANSWERS = ("replies", "opt-outs")
UNDELIVERED = (DeliveryStatus.FAILED, DeliveryStatus.BLACKLISTED, DeliveryStatus.EXPIRED)
OTHER = f"{DeliveryStatus.OTHER}: "  # before a word of the vendor's that nobody knows


@dataclass(frozen=True)
class Progress:
    """The deliveries of a broadcast. `total`: how many are expected; None if nobody says.

    `arrived`: those that the vendor calls delivered or, if it has said no more of any, sent; `confirmed`: which of the
    two. `undelivered` and `unclear` by status and by the vendor's word. `left`: all others.
    """

    total: int | None
    arrived: int
    confirmed: bool
    undelivered: Mapping[str, int]
    unclear: Mapping[str, int]
    left: int

    @classmethod
    def of(cls, broadcast: Broadcast) -> Progress:
        counts = {name: number for name, number in broadcast.counts.items() if name not in ANSWERS and number > 0}
        undelivered = {str(status): counts[status] for status in UNDELIVERED if status in counts}
        unclear = {name.removeprefix(OTHER): counts[name] for name in counts if name.startswith(DeliveryStatus.OTHER)}
        confirmed = DeliveryStatus.DELIVERED in counts or DeliveryStatus.SENT not in counts
        arrived = counts.get(DeliveryStatus.DELIVERED if confirmed else DeliveryStatus.SENT, 0)
        total, known = _expected(broadcast), sum(counts.values())
        everyone = known if total is None else max(total, known)
        left = everyone - arrived - sum(undelivered.values()) - sum(unclear.values())
        return cls(None if total is None else everyone, arrived, confirmed, undelivered, unclear, left)

    @property
    def bar(self) -> str:
        """`▓▓▓▓▓▓▓░░░`, full only once everybody has it; empty if nobody says how many there are."""
        if not self.total:
            return ""
        return drawn_bar(self.arrived, self.total)


def drawn_bar(part: int, whole: int) -> str:
    full = CELLS * part // whole
    return "▓" * full + "░" * (CELLS - full)


def _expected(broadcast: Broadcast) -> int | None:
    """How many people get it, as the vendor says. One id may stand for all of them, so it says nothing."""
    contacts = broadcast.staged.contacts if broadcast.staged is not None else None
    size = broadcast.size if broadcast.size != UNREADABLE else None
    told = contacts or size or 0
    return max(told, len(broadcast.ids) if len(broadcast.ids) > 1 else 0) or None


def progress_line(broadcast: Broadcast, *, bar: bool = True) -> Translatable:
    """`▓▓▓▓▓▓▓░░░ 15 of 20 delivered · 1 failed · 4 on the way`."""
    progress = Progress.of(broadcast)
    drawn = f"{progress.bar} " if bar and progress.bar else ""
    left = _unknown(progress) if broadcast.ended else _on_the_way(progress)
    return _joined([_head(progress), *_failed(progress), *left], before=drawn)


def answers_line(broadcast: Broadcast) -> Translatable | None:
    """`replies: 2 · opt-outs: 1`; None if there are none."""
    replies, opt_outs = (broadcast.counts.get(name, 0) for name in ANSWERS)
    parts = [Translatable("replies: {reply_count}", reply_count=replies)] if replies else []
    parts += [Translatable("opt-outs: {opt_out_count}", opt_out_count=opt_outs)] if opt_outs else []
    return _joined(parts) if parts else None


def report_line(broadcast: Broadcast, took: Micros | None, cost: Translatable | None) -> Translatable:
    """`delivered to 18 of 20 in 14 s · 1 failed · 1 not known · 2.58 EUR`. `cost`: None to say nothing of it.

    `took`: from the release to the last delivery notice; None if that is not known.
    """
    progress = Progress.of(broadcast)
    arrived = _arrived(progress)
    if took is not None and progress.arrived:
        arrived = Translatable("{arrived} in {took}", arrived=arrived, took=duration(took))
    parts = [arrived, *_failed(progress), *_unknown(progress)]
    return _joined([*parts, *(one for one in (cost, answers_line(broadcast)) if one is not None)])


def reasons_line(reasons: Mapping[str, int], known: Mapping[str, str]) -> Translatable:
    """`3 × number not in service, 1 × blacklisted`: the vendor's word as a person says it, else as it is."""
    several: dict[str, int] = {}
    for word, number in reasons.items():
        several[known.get(word, word)] = several.get(known.get(word, word), 0) + number
    most = sorted(several.items(), key=lambda one: (-one[1], one[0]))
    parts = [_times(number, _reason(name, known)) for name, number in most[:MOST_REASONS]]
    if more := sum(number for _, number in most[MOST_REASONS:]):
        parts.append(_times(more, Translatable("other reasons")))
    return _joined(parts, between=", ")


def duration(micros: Micros) -> str:
    """`14 s`, `3 min 20 s`, `2 h 5 min`: the same in each language."""
    minutes, seconds = divmod(max(micros // SECOND, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _reason(name: str, known: Mapping[str, str]) -> Translatable | str:
    return Translatable(name) if name in known.values() else name


def _times(number: int, what: Translatable | str) -> Translatable:
    return Translatable("{times_count} × {what}", times_count=number, what=what)


def _head(progress: Progress) -> Translatable:
    arrived, total = progress.arrived, progress.total
    match progress.confirmed, total:
        case True, None:
            return Translatable("{arrived_count} delivered", arrived_count=arrived)
        case False, None:
            return Translatable("{arrived_count} sent", arrived_count=arrived)
        case True, _:
            return Translatable(
                "{arrived_count} of {total_count} delivered", arrived_count=arrived, total_count=total or 0
            )
    return Translatable("{arrived_count} of {total_count} sent", arrived_count=arrived, total_count=total or 0)


def _arrived(progress: Progress) -> Translatable:
    arrived, total = progress.arrived, progress.total
    match progress.confirmed, total:
        case True, None:
            return Translatable("delivered to {arrived_count}", arrived_count=arrived)
        case False, None:
            return Translatable("sent to {arrived_count}", arrived_count=arrived)
        case True, _:
            return Translatable(
                "delivered to {arrived_count} of {total_count}", arrived_count=arrived, total_count=total or 0
            )
    return Translatable("sent to {arrived_count} of {total_count}", arrived_count=arrived, total_count=total or 0)


def _failed(progress: Progress) -> Iterator[Translatable]:
    """Yield what did not arrive, by the vendor's word, and what it says in words that nobody knows."""
    for status, number in progress.undelivered.items():
        match status:
            case DeliveryStatus.FAILED:
                yield Translatable("{failed_count} failed", failed_count=number)
            case DeliveryStatus.BLACKLISTED:
                yield Translatable("{blacklisted_count} blacklisted", blacklisted_count=number)
            case _:
                yield Translatable("{expired_count} expired", expired_count=number)
    for word, number in sorted(progress.unclear.items()):
        yield _times(number, Translatable("other") if word == DeliveryStatus.OTHER else word)


def _on_the_way(progress: Progress) -> list[Translatable]:
    return [Translatable("{left_count} on the way", left_count=progress.left)] if progress.left else []


def _unknown(progress: Progress) -> list[Translatable]:
    return [Translatable("{left_count} not known", left_count=progress.left)] if progress.left else []


def _joined(parts: Sequence[Translatable], *, before: str = "", between: str = " · ") -> Translatable:
    named = {f"part{place}": part for place, part in enumerate(parts)}
    return Translatable(before + between.join(f"{{{name}}}" for name in named), **named)
