"""Whether the credit at a vendor is low: below what the settings say, or below what the last broadcast cost."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import Connection

from bot.domain.lifecycle import State
from bot.domain.price import price_of
from bot.storage import broadcasts
from providers.base import AccountSettings, Check

LOOKED_AT = 100  # of the latest broadcasts of a workspace


def last_cost(connection: Connection, workspace: str, account: str) -> str | None:
    """Return what the latest broadcast of this account that went out cost, as a row keeps it; None if unknown."""
    for row in broadcasts.latest(connection, workspace, LOOKED_AT):
        cost = price_of(row.staged) or row.quoted
        if row.account == account and row.state in (State.SENT, State.DONE) and cost is not None:
            return cost
    return None


def is_low(check: Check, settings: AccountSettings, cost: str | None) -> bool:
    """Whether the credit is low. `cost`: of the last broadcast, with its currency if the vendor tells it.

    A threshold in the settings decides alone. A cost in another unit than the credit says nothing.
    """
    if check.credit is None:
        return False
    if settings.low_credit is not None:
        return check.credit < settings.low_credit
    amount, _, currency = (cost or "").partition(" ")
    return bool(amount) and _same_unit(currency, check.unit) and check.credit < Decimal(amount)


def _same_unit(currency: str, unit: str | None) -> bool:
    """Whether both may be the same, as `EUR` and `euros`, or as far as the vendor says nothing."""
    return not currency or not unit or currency[:3].casefold() == unit[:3].casefold()


def shown(check: Check) -> str:
    """The credit with its unit."""
    return f"{check.credit} {check.unit or ''}".rstrip()
