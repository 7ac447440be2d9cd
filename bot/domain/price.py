"""What a send costs, as a row keeps it and a card shows it."""

from __future__ import annotations

from decimal import Decimal

from bot.domain.broadcast import Broadcast
from bot.domain.placeholders import placeholders
from bot.domain.sms import measure
from providers.base import Quote, Staged


def price_of(priced: Staged | Quote | None) -> str | None:
    """The total cost in its currency, as a row keeps it and a card shows it."""
    if priced is None or priced.cost is None:
        return None
    return f"{priced.cost} {priced.currency or ''}".strip()[:64]


def estimate(row: Broadcast, earlier: Broadcast) -> str | None:
    """What it would cost at the price that each SMS of an earlier one had; None if that is not known.

    A text with placeholders may take more SMS than it seems to, so no price is taken from it or shown for it.
    """
    price = price_of(earlier.staged) or earlier.quoted
    if price is None or not earlier.size or row.size is None or any(map(placeholders, (earlier.text, row.text))):
        return None
    cost, _, currency = price.partition(" ")
    each = Decimal(cost) / (earlier.size * measure(earlier.text).segments)
    return f"{each * row.size * measure(row.text).segments:.2f} {currency}".strip()


def is_dearer(row: Broadcast, price: str | None) -> bool:
    """Whether it costs more than approvers saw, or is in another currency, so that nobody can compare."""
    if not row.quorum or not row.quoted or price is None:
        return False
    (shown, _, once), (cost, _, currency) = row.quoted.partition(" "), price.partition(" ")
    return currency != once or Decimal(cost) > Decimal(shown)
