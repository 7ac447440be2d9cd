"""What a send costs, as a row keeps it and a card shows it."""

from __future__ import annotations

from decimal import Decimal

from bot.domain.broadcast import Broadcast
from providers.base import Quote, Staged


def price_of(priced: Staged | Quote | None) -> str | None:
    """The total cost in its currency, as a row keeps it and a card shows it."""
    if priced is None or priced.cost is None:
        return None
    return f"{priced.cost} {priced.currency or ''}".strip()[:64]


def is_dearer(row: Broadcast, price: str | None) -> bool:
    """Whether it costs more than approvers saw, or is in another currency, so that nobody can compare."""
    if not row.quorum or not row.quoted or price is None:
        return False
    (shown, _, once), (cost, _, currency) = row.quoted.partition(" "), price.partition(" ")
    return currency != once or Decimal(cost) > Decimal(shown)
