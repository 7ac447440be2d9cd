"""What a thread hears when a broadcast is done."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable, Value
from bot.domain.price import price_of
from bot.domain.progress import Progress, reasons_line, report_line
from bot.storage.receipts import DeliveryCounts


def final_report(
    row: Broadcast, tally: DeliveryCounts, released_at: Micros | None, reasons: Mapping[str, str]
) -> Translatable:
    """Say what became of it: how many got it, how fast, for how much, and why the others did not.

    `reasons`: the vendor's words for that, as people say them. The values `chart_…` are for the chart.
    """
    if not row.counts:
        return Translatable("Final report: the vendor sent no delivery report.")
    told: dict[str, Value] = {"counts": report_line(row, _took(row, tally, released_at), _cost(row)), **_charted(row)}
    if tally.reasons:
        told["reasons"] = reasons_line(tally.reasons, reasons)
        return Translatable("Final report: {counts}\nFailed: {reasons}", **told)
    if not Progress.of(row).confirmed:
        return Translatable("Final report: {counts}\nThe vendor does not say whether they arrived.", **told)
    return Translatable("Final report: {counts}", **told)


def _took(row: Broadcast, tally: DeliveryCounts, released_at: Micros | None) -> Micros | None:
    """How long it took from the release to the last news of a delivery; None if that is not known."""
    since = released_at or row.accepted_at
    return tally.last_at - since if since is not None and tally.last_at and tally.last_at >= since else None


def _cost(row: Broadcast) -> Translatable | None:
    """The cost as the vendor says it. None in training, where nothing costs anything."""
    if row.mode == "training":
        return None
    price = price_of(row.staged) or (f"≈ {row.quoted}" if row.quoted else None)
    return Translatable("{price}", price=price) if price else Translatable("cost not told")


def _charted(row: Broadcast) -> dict[str, Value]:
    """The numbers of the chart, under the names of `bot.slack.blocks.charts`."""
    progress = Progress.of(row)
    numbers = {"delivered" if progress.confirmed else "sent": progress.arrived, **progress.undelivered}
    numbers["unknown"] = progress.left + sum(progress.unclear.values())
    return {f"chart_{name}": number for name, number in numbers.items() if number}
