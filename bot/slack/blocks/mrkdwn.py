"""Text for Slack: what people typed is shown as they typed it, and cannot ping anyone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import accumulate
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.numbers import format_decimal

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, moment
from bot.domain.i18n import Translatable, Translator
from bot.domain.schedule import Schedule
from bot.domain.suggestions import visible

Block = dict[str, Any]
Row = TypeVar("Row", Broadcast, Schedule)

#: Values with these names are already mentions; any other value was typed or supplied by somebody.
MENTIONS = frozenset({"by", "who", "requester", "channel", "delegate", "delegates"})
TEXT_PIECE = 2900  # characters of the message in one block; a block holds 3000
HEADER = 150  # characters of a header
SECTION = 3000  # characters of a section
CONTEXT = 2000  # characters of a line in a context
LINES = 12_000  # characters of JSON of the lines of an answer; Slack takes about 13,200 with its blocks
ANSWER = 3000  # characters of an answer's plain text

TOKEN = re.compile(r"&\w+;|<[^<>]*>")  # what Slack reads as one: an escaped character, a mention, a date or a link


@dataclass(frozen=True)
class Post:
    """A message. `text`: what notifications show and screen readers read, always a whole sentence."""

    text: str
    blocks: list[Block] = field(default_factory=list)
    plainest: list[Block] = field(default_factory=list)  # shown if Slack refuses those blocks


def quote(typed: str) -> str:
    """Escape what somebody typed, so that it can neither ping anyone nor forge a link.

    Characters that nobody sees, or that turn the direction of the text, are shown by their codes.
    """
    return visible(typed).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(markup: str, most: int) -> str:
    """Return so much of a text, which ends with “…” if it was longer. No mention, date or link is cut in two."""
    if len(markup) <= most:
        return markup
    end = most - 1
    for token in TOKEN.finditer(markup):
        if token.end() > end:
            end = min(end, token.start())
            break
    return f"{markup[:end]}…"


def _place(zone: str) -> tzinfo:
    """Return the zone; UTC, which the text names, if this machine no longer knows it."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def when(instant: Micros, zone: str = "UTC") -> str:
    """An instant as each reader sees it in their own zone, with a spelled-out fallback for notifications."""
    local = moment(instant).astimezone(_place(zone))
    return f"<!date^{instant // SECOND}^{{date_short_pretty}} {{time}}|{local:%Y-%m-%d %H:%M %Z}>"


def clock_time(instant: Micros, zone: str) -> str:
    """The time of day of an instant, to the second, as each reader sees it in their own zone."""
    local = moment(instant).astimezone(_place(zone))
    return f"<!date^{instant // SECOND}^{{time_secs}}|{local:%H:%M:%S %Z}>"


def spelled(instant: Micros, zone: str) -> str:
    """An instant in words for places without markup: with its zone and offset."""
    local: datetime = moment(instant).astimezone(_place(zone))
    return f"{local:%Y-%m-%d %H:%M} {zone} ({local:%z})"


def sentence(words: Translator, text: Translatable, zone: str = "UTC") -> str:
    """Return a sentence in the reader's language, with its values made safe.

    `zone`: for its times, where the reader's own zone is not known.
    """
    return words.fill(text.template, {name: _safe(name, value, words, zone) for name, value in text.values.items()})


def _safe(name: str, value: str | int | Translatable, words: Translator, zone: str) -> str | int:
    if isinstance(value, Translatable):
        return sentence(words, value, zone)
    if name.endswith("_at") and isinstance(value, int):
        return when(value, zone)
    if name.endswith("_count") and isinstance(value, int):
        return grouped(value, words)
    return value if name in MENTIONS or isinstance(value, int) else quote(value)


def grouped(number: int, words: Translator) -> str:
    """`10,000`, as the reader's language groups its digits."""
    return str(format_decimal(number, locale=words.language))


def section(markdown: str, block_id: str | None = None) -> Block:
    block: Block = {"type": "section", "text": {"type": "mrkdwn", "text": shortened(markdown, SECTION)}}
    return {**block, "block_id": block_id} if block_id else block


def lines(answer_lines: Sequence[str], words: Translator, left_out: int = 0) -> Post:
    """Return lines of markup as one answer, in as many sections as they need.

    What one message cannot show is counted in its last line. `words`: for that line. `left_out`: how many more lines
    there are than these.
    """
    shown = _fitting([shortened(line, SECTION) for line in answer_lines])
    left_out += len(answer_lines) - len(shown)
    if left_out:
        shown = [*shown, words.count("… and {number} more", "… and {number} more", left_out)]
    sections: list[Block] = []
    current = ""
    for line in shown:
        if current and len(current) + len(line) >= TEXT_PIECE:
            sections, current = [*sections, section(current)], ""
        current = f"{current}\n{line}" if current else line
    return Post(shortened("\n".join(answer_lines), ANSWER), [*sections, section(current)])


def _fitting(answer_lines: Sequence[str]) -> Sequence[str]:
    """Return as many of the lines as one message can show."""
    sizes = accumulate(json_size(line) + len("\\n") for line in answer_lines)
    return answer_lines[: next((place for place, used in enumerate(sizes) if used > LINES), len(answer_lines))]


def json_size(text: str) -> int:
    """How many characters a text takes in JSON, where some take two or six."""
    return len(json.dumps(text, ensure_ascii=False)) - 2


def context(*lines: str) -> Block:
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": shortened(line, CONTEXT)} for line in lines[:10]],
    }


def contexts(*lines: str) -> list[Block]:
    """Return all of these lines, ten to a block: Slack takes no more in one."""
    return [context(*lines[start : start + 10]) for start in range(0, len(lines), 10)]


def literal(typed: str) -> list[Block]:
    """Return a whole text exactly as it is, in blocks without markup."""
    pieces = [typed[start : start + TEXT_PIECE] for start in range(0, len(typed), TEXT_PIECE)] or [" "]
    return [
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": piece}]}],
        }
        for piece in pieces
    ]


def plain(typed: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": typed, "emoji": False}
