"""Parts of what Slack brings. Whatever is in the place of one, reading it breaks nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.domain import sms

LONGEST_ID = 64
LAST = 253_402_300_799  # the last second of the year 9999


def make_storable(body: dict[str, Any]) -> None:
    """Replace in all of its texts what no database takes, as half a surrogate pair in JSON."""
    waiting: list[dict[Any, Any] | list[Any]] = [body]
    while waiting:
        holder = waiting.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(value, str):
                holder[key] = sms.storable(value)
            elif isinstance(value, dict | list):
                waiting.append(value)


def part(of: object, name: str) -> Mapping[str, Any]:
    """Return a nested part; an empty one if something else is in its place."""
    found = of.get(name) if isinstance(of, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def inputs_of(view: Mapping[str, Any]) -> list[str]:
    """Return the ids of the inputs of a form, in order."""
    blocks = view.get("blocks")
    found = [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
    return [str(block["block_id"]) for block in found if block.get("type") == "input" and block.get("block_id")]


def number(value: object) -> int:
    """Return a whole number from 0 to any second of a year with four digits; 0 for anything else."""
    return value if type(value) is int and 0 <= value <= LAST else 0


def instant(value: object) -> int:
    """Return microseconds up to the end of the year 9999; 0 for anything else."""
    return value if type(value) is int and 0 <= value <= LAST * 1_000_000 else 0


def counted(written: str) -> int | None:
    """Return a whole number of up to nine digits; None for anything else, such as `²` or `٣`."""
    return int(written) if re.fullmatch("[0-9]{1,9}", written) else None


def id_in(value: object) -> str | None:
    """Return an id of ours or of Slack's; None for what cannot be one."""
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_ID else None
