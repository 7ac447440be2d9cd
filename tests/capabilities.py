"""The table of what each vendor can do, as the docs show it. `python -m tests.capabilities` writes it there."""

from __future__ import annotations

import re
from pathlib import Path

from providers.base import Provider
from providers.registry import BUILT_IN

GUIDE = Path(__file__).parent.parent / "docs" / "adding-a-provider.md"
MARKED = re.compile(r"(<!-- capabilities:.*?-->\n).*?(<!-- end of capabilities -->)", re.DOTALL)


def yes(told: bool) -> str:
    return "yes" if told else "no"


def rows(vendors: list[type[Provider]]) -> list[list[str]]:
    able = [vendor.capabilities for vendor in vendors]
    return [
        ["", *(vendor.title for vendor in vendors)],
        ["audiences", *(", ".join(sorted(one.audiences)) for one in able)],
        ["steps", *("prepare, then send" if one.two_step else "one" for one in able)],
        ["receipts", *(one.receipts.replace("_", " ") for one in able)],
        ["statuses can be polled", *(yes(one.polls) for one in able)],
        ["look-up after an unknown", *(yes(one.looks_up) for one in able)],
        ["a prepared campaign can be recalled", *(yes(one.recalls_staged) for one in able)],
        ["tells its audiences", *(yes(one.discovers) for one in able)],
        ["tells an audience's size", *(yes(one.sizes) for one in able)],
        ["size and cost before approval", *(yes(one.quotes) for one in able)],
        ["sender ID", *(f"`{one.sender_pattern}`" if one.sender_pattern else "none" for one in able)],
        ["longest text", *(_longest(one.text.max_gsm7, one.text.max_ucs2, one.text.segments) for one in able)],
        ["placeholders", *(", ".join(f"`{name}`" for name in one.placeholders) or "none" for one in able)],
        ["legacy", *(yes(bool(one.legacy)) for one in able)],
    ]


def _longest(plain: int, unicode: int, segments: bool) -> str:
    return f"{plain} plain, {unicode} Unicode" if segments else f"{unicode} characters"


def table() -> str:
    vendors = [BUILT_IN[name] for name in sorted(BUILT_IN)]
    head, *others = (f"| {' | '.join(row)} |" for row in rows(vendors))
    return "\n".join([head, "|---" * (len(vendors) + 1) + "|", *others]) + "\n"


def written(guide: str) -> str:
    return MARKED.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", guide)


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
