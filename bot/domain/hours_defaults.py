"""The shipped policies, by country, and how the settings change them.

They are engineering defaults with their sources, not legal advice; an operator can tighten them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import ValidationError

from bot.domain.hours import DAYS, Bound, Policy, wider

SIX_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat"]
FIVE_DAYS = SIX_DAYS[:5]


def _france(subdivision: str | None = None, zone: str = "Europe/Paris") -> dict[str, Any]:
    return {
        "country": "FR",
        "timezone": zone,
        "source": "af2m charter 2024-09-01; default 08:00-20:00, may be widened to 22:00",
        "checked_on": date(2026, 11, 1),
        "marketing": {
            "windows": [{"days": SIX_DAYS, "start": "08:00", "end": "20:00"}],
            "outer_bound": {"days": SIX_DAYS, "start": "08:00", "end": "22:00"},
            "holidays": {"calendar": "FR", "subdivision": subdivision},
            "end_margin": "15m",
        },
    }


def _elsewhere(
    country: str, zone: str, days: list[str], start: str, end: str, source: str, **others: Mapping[str, str] | list[str]
) -> dict[str, Any]:
    return {
        "country": country,
        "timezone": zone,
        "zones": others.get("zones", []),
        "source": source,
        "checked_on": date(2026, 11, 1),
        "marketing": {
            "windows": [{"days": days, "start": start, "end": end}],
            "outer_bound": {"start": start, "end": end},
            "holidays": others.get("holidays"),
            "end_margin": "15m",
        },
    }


#: Nobody knows where US numbers are, so a list is open only when it is lawful from the East to the West coast.
#: Arizona's clocks match those of Denver or of Los Angeles. A policy for a list of one state names its own zone.
CONTIGUOUS_US = ["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"]
SPANISH_CALLS = "hours of sales calls, adopted"
FCC = "47 CFR 64.1200(c)(1), in all zones of the contiguous states at once"
TRAI = "TRAI TCCCPR 2018: promotional hours, IST"

SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "fr": _france(),
    "fr-moselle": _france("57"),
    "fr-alsace": _france("6AE"),
    "fr-guadeloupe": _france("971", "America/Guadeloupe"),
    "fr-martinique": _france("972", "America/Martinique"),
    "fr-guyane": _france("973", "America/Cayenne"),
    "fr-reunion": _france("974", "Indian/Reunion"),
    "fr-mayotte": _france("976", "Indian/Mayotte"),
    "es": _elsewhere("ES", "Europe/Madrid", FIVE_DAYS, "09:00", "21:00", SPANISH_CALLS, holidays={"calendar": "ES"}),
    "es-canarias": _elsewhere(
        "ES",
        "Atlantic/Canary",
        FIVE_DAYS,
        "09:00",
        "21:00",
        f"{SPANISH_CALLS}; in its own zone",
        holidays={"calendar": "ES", "subdivision": "CN"},
    ),
    "uk": _elsewhere("GB", "Europe/London", SIX_DAYS, "08:00", "20:00", "PECR names no hours; default"),
    "us": _elsewhere("US", "America/New_York", list(DAYS), "08:00", "21:00", FCC, zones=CONTIGUOUS_US),
    "in": _elsewhere("IN", "Asia/Kolkata", list(DAYS), "10:00", "21:00", TRAI),
}
COUNTRIES = {"FR": "fr", "ES": "es", "GB": "uk", "UK": "uk", "US": "us", "IN": "in"}


class WrongPolicy(ValueError):
    """A policy cannot be used. `steps` lead to the setting that is wrong, from the name of the policy."""

    def __init__(self, steps: tuple[str | int, ...], what: str) -> None:
        super().__init__(f"policies.{'.'.join(str(step) for step in steps)}: {what}.")
        self.steps, self.what = steps, what


def resolve_policies(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Policy]:
    """The shipped policies, with the operator's own applied over them.

    A policy builds on the one it `extends`, else on the shipped one of its name, else of its country. Raises
    ValueError naming the setting and what to do.
    """
    merged = {name: dict(policy) for name, policy in SHIPPED.items()}
    for name in raw:
        merged[name] = _resolved(name, raw, ())
    return {name: _validated(name, policy) for name, policy in merged.items()}


def each_resolved(
    raw: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Policy], list[tuple[tuple[str | int, ...], str]]]:
    """The same without the policies that cannot be used, and for each of these the steps to what is wrong, and what."""
    policies, wrong = resolve_policies({}), []
    for name in raw:
        policies.pop(name, None)
        try:
            policies[name] = _validated(name, _resolved(name, raw, ()))
        except WrongPolicy as error:
            wrong.append((error.steps, error.what))
    return policies, list(dict.fromkeys(wrong))


def _resolved(name: str, raw: Mapping[str, Mapping[str, Any]], below: tuple[str, ...]) -> dict[str, Any]:
    own = dict(raw[name])
    base = own.pop("extends", None) or _base_of(name, own)
    if name in below or (base == name and name not in SHIPPED):
        raise WrongPolicy((name, "extends"), "it goes round in a circle")
    if base is None:
        return own
    if base not in raw and base not in SHIPPED:
        raise WrongPolicy((name, "extends"), f"there is no policy {base}")
    from_raw = base in raw and base != name
    under = _resolved(base, raw, (*below, name)) if from_raw else SHIPPED[base]
    return _over(under, own)


def _base_of(name: str, own: Mapping[str, Any]) -> str | None:
    if name in SHIPPED:
        return name
    return COUNTRIES.get(str(own.get("country", "")).upper())


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        result[name] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _validated(name: str, raw: Mapping[str, Any]) -> Policy:
    try:
        policy = Policy.model_validate(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        steps = (name, *(part for part in detail["loc"] if _is_written(part)))
        raise WrongPolicy(steps, str(detail["msg"]).removeprefix("Value error, ")) from None
    for window in policy.marketing.windows if policy.marketing.windows != "always" else ():
        bound = _lawful(policy.country)
        if bound is not None and not bound.holds(window):  # whatever outer bound the policy itself sets
            raise WrongPolicy((name, "marketing", "windows"), f"{wider(window, bound)}, which is {policy.country}'s")
    return policy


def _is_written(part: str | int) -> bool:
    """Whether it is a name or a number in the settings, and not one of the types that pydantic chose between."""
    return isinstance(part, int) or (part.isidentifier() and part != "always")


def _lawful(country: str | None) -> Bound | None:
    shipped = COUNTRIES.get((country or "").upper())
    return Bound.model_validate(SHIPPED[shipped]["marketing"]["outer_bound"]) if shipped else None
