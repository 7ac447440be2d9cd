"""The simulated people, audiences, accounts and hours, and an independent calculation of what should follow from them.

Nothing here asks the code under test what is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from bot.adapters import policies_of
from bot.config.load import parse
from bot.config.settings import Settings
from bot.domain.clock import Micros, moment
from bot.domain.hours import Policy

TEAM = "T0BELL"
GROUP = "S0APPROVERS"
ADMIN = "U0OPS"
ASKERS = ("U0CLEO", "U0ELI", "U0ANA")
APPROVERS = ("U0ANA", "U0BEN", "U0CAT", "U0DAN")
GUEST = "U0GUEST"
EVERYBODY = (*ASKERS[:2], *APPROVERS, ADMIN, GUEST)

#: Strings that must never appear in a log or a metric: words of every text, a number's head, every secret.
CANARY_TEXT, CANARY_NUMBER, CANARY_SECRET = "Zinnia", "3361234", "canary-secret"
SECRET_KEY = b"canary-secret-of-thirty-two-byte"

UNDO = timedelta(seconds=30)
GRACE = timedelta(minutes=10)
TIMEOUT = 30.0
LARGE, LARGE_NOTICE = 1000, 500  # people; above this, marketing needs two approvals and a notice one


@cache
def settings_for(mode: str, hourly_cap: int) -> Settings:
    def account(provider: str) -> dict[str, Any]:
        return {"provider": provider, "base_url": f"https://{provider}.example.org", "timeout": TIMEOUT}

    return parse(
        {
            "mode": mode,
            "public_url": "https://bell.example.org",
            "admins": [ADMIN],
            "hourly_cap": hourly_cap,
            "asks_per_hour": 0,
            "grace": GRACE,
            "accounts": {name: account(name) for name in ("solo", "duo", "mute")},
            "policies": {
                "always": {"marketing": {"windows": "always"}},
                "shop": {"timezone": "America/New_York", "marketing": SHOP},
            },
            "audiences": {name: audience.raw() for name, audience in AUDIENCES.items()},
            "approval": {
                "approvers": [GROUP],
                "undo": UNDO,
                "rules": [
                    {"purpose": "marketing", "larger_than": LARGE, "quorum": 2},
                    {"purpose": "transactional", "larger_than": LARGE_NOTICE, "quorum": 1},
                ],
            },
        }
    )


@cache
def policies_for(mode: str, hourly_cap: int) -> dict[str, Policy]:
    return policies_of(settings_for(mode, hourly_cap))


@dataclass(frozen=True)
class PlannedAudience:
    account: str
    kind: str
    id: str
    policy: str
    size: int  # how many people it holds when the world begins
    max_size: int | None

    def raw(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "kind": self.kind,
            "id": self.id,
            "policy": self.policy,
            "max_size": self.max_size,
        }


AUDIENCES = {
    "clients": PlannedAudience("solo", "list", "1", "always", 300, 400),
    "everyone": PlannedAudience("solo", "list", "2", "always", 3000, 5000),
    "paris": PlannedAudience("solo", "list", "3", "fr", 200, None),
    "club": PlannedAudience("duo", "list", "club", "always", 900, 1200),
    "shop": PlannedAudience("duo", "tag", "shop", "shop", 90, 400),
    "staff": PlannedAudience("mute", "group", "staff", "always", 40, 100),
}
SHOP = {
    "windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:30"}],
    "max_hold": "20h",
}
LONGEST_WAIT = {"shop": 20 * 3600.0}  # seconds that an approval allows to wait after its time; others: USUAL_WAIT
USUAL_WAIT = 72 * 3600.0

#: When a world may begin: ordinary days, eves, Sundays, both clock changes on both sides of the ocean.
BEGINNINGS = tuple(
    int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000
    for day in (
        *("2027-02-03T07:00", "2027-02-03T18:30", "2027-02-06T18:40", "2027-03-14T05:30", "2027-03-27T18:30"),
        *("2027-03-28T00:30", "2027-05-05T18:00", "2027-10-30T17:30", "2027-10-31T00:30", "2027-11-07T05:30"),
        *("2027-12-24T18:30", "2027-06-15T20:00", "2027-06-15T21:10", "2027-06-18T12:55"),
    )
)


# --- what should follow ----------------------------------------------------------------------------------------------


def needed(purpose: str, size: int | None, *, offers: bool) -> int:
    """Return how many must agree. `size` None: unknown. `offers`: a notice reads like an offer and is no approver's."""
    if purpose == "marketing":
        return 2 if size is None or size > LARGE else 1
    return 1 if offers or size is None or size > LARGE_NOTICE else 0


def may_go(policy: str, purpose: str, instant: Micros, *, margin: bool) -> bool:
    """Whether this instant is within the hours. `margin`: without the window's last minutes, kept free for sending."""
    if purpose != "marketing" or policy == "always":
        return True
    zone, weekdays, opens, closes, kept_free = {
        "fr": ("Europe/Paris", 6, (8, 0), (20, 0), 15),
        "shop": ("America/New_York", 5, (9, 0), (17, 30), 0),
    }[policy]
    there = moment(instant).astimezone(ZoneInfo(zone))
    if there.weekday() >= weekdays or (policy == "fr" and there.date() in french_holidays(there.year)):
        return False
    minute = there.hour * 60 + there.minute
    return opens[0] * 60 + opens[1] <= minute < closes[0] * 60 + closes[1] - (kept_free if margin else 0)


@cache
def french_holidays(year: int) -> frozenset[date]:
    fixed = {date(year, *day) for day in ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))}
    return frozenset(fixed | {easter(year) + timedelta(days=days) for days in (1, 39, 50)})


def easter(year: int) -> date:
    """Western Easter Sunday, by the method of Meeus, Jones and Butcher."""
    a, (b, c) = year % 19, divmod(year, 100)
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)
