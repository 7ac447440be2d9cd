"""What a message in Slack says, as plain text for a phone, and what had to be changed or left out for that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.domain.slack_text import TOKEN, decode_slack, nameless

Json = Mapping[str, Any]


class Change(StrEnum):
    """What is not in the text as it was in the message."""

    LINK = "link"
    NAME = "name"
    UNNAMED = "unnamed"  # an id for which there is no name
    STYLE = "style"
    FILE = "file"
    ATTACHMENT = "attachment"
    BLOCK = "block"


@dataclass(frozen=True)
class PlainMessage:
    """`changes`: how often each kind of change was made."""

    text: str
    changes: Mapping[Change, int]


#: Marks of bold, italics, strikethrough and code in Slack's markup, as Slack reads them: around words, in one line.
STYLED = re.compile(r"(?<![\w*_~`])([*_~`])(?=[^\s*_~`])(.+?)(?<=[^\s])\1(?![\w*_~`])")
CODE = re.compile(r"```\n?(.+?)\n?```", re.DOTALL)
QUOTE = re.compile(r"^(?:&gt;|>)+ ?", re.MULTILINE)
BULLET = "• "


def ids_in(message: Json) -> tuple[str, ...]:
    """Return the ids of those whom it names without a name, each with its sign: `@U0ANA`, `@S0APPROVERS`, `#C0HOME`."""
    return nameless("\n".join(_raw(message, Counter())))


def plain_message(message: Json, names: Mapping[str, str]) -> PlainMessage:
    """Return the text of a message. `names`: by id with its sign, as `ids_in` gives them, without the sign."""
    changes = Counter[Change]()
    raw = "\n".join(_raw(message, changes)).strip()
    for token in TOKEN.finditer(raw):
        changes[Change.NAME if token[1] else Change.LINK] += 1
    named = TOKEN.sub(lambda token: _named(token, names), raw)
    changes[Change.UNNAMED] = len(nameless(named))
    changes[Change.FILE] = len(_listed(message, "files"))
    changes[Change.ATTACHMENT] = len(_listed(message, "attachments"))
    return PlainMessage(decode_slack(named), {kind: count for kind, count in changes.items() if count})


def _listed(value: Json, name: str) -> Sequence[Json]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _named(token: re.Match[str], names: Mapping[str, str]) -> str:
    """The token with the name that is known for its id, if it has none of its own."""
    sign, target, label = token[1], token[2], token[3]
    name = names.get(f"{sign.replace('!', '@')}{target.split('^')[-1]}") if sign and not label else None
    return f"<{sign}{target}|{_encoded(name)}>" if name else token[0]


def _encoded(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _raw(message: Json, changes: Counter[Change]) -> Iterator[str]:
    """Yield its paragraphs in Slack's markup without styles: from its blocks if they say anything, else its text."""
    said = [text for block in _listed(message, "blocks") for text in _block(block, changes)]
    yield from said or [_unstyled(str(message.get("text") or ""), changes)]


def _block(block: Json, changes: Counter[Change]) -> Iterator[str]:
    match block.get("type"):
        case "rich_text":
            for element in _listed(block, "elements"):
                yield _rich(element, changes).rstrip("\n")
        case "section":
            for text in (block.get("text"), *_listed(block, "fields")):
                yield from _text_object(text, changes)
        case "header":
            yield from _text_object(block.get("text"), changes)
        case "context":
            for element in _listed(block, "elements"):
                yield from _text_object(element, changes)
        case "divider":
            pass
        case _:
            changes[Change.BLOCK] += 1


def _text_object(text: object, changes: Counter[Change]) -> Iterator[str]:
    if not isinstance(text, Mapping):
        return
    if text.get("type") == "image":
        changes[Change.BLOCK] += 1
    elif said := str(text.get("text") or ""):
        yield _unstyled(said, changes) if text.get("type") == "mrkdwn" else _encoded(said)


def _unstyled(raw: str, changes: Counter[Change]) -> str:
    """Markup without its marks of style. Marks inside other marks need another look."""
    for marks, inside in ((QUOTE, ""), (CODE, r"\1")):
        raw, found = marks.subn(inside, raw)
        changes[Change.STYLE] += found
    while True:
        raw, found = STYLED.subn(r"\2", raw)
        if not found:
            return raw
        changes[Change.STYLE] += found


def _rich(element: Json, changes: Counter[Change]) -> str:
    """The markup of a part of rich text, without styles (docs.slack.dev/reference/block-kit/blocks/rich-text-block)."""
    inside = _listed(element, "elements")
    match element.get("type"):
        case "rich_text_list":
            ordered = element.get("style") == "ordered"
            items = (_rich(item, changes) for item in inside)
            return "\n".join(f"{f'{n}. ' if ordered else BULLET}{item}" for n, item in enumerate(items, 1))
        case "rich_text_quote" | "rich_text_preformatted":
            changes[Change.STYLE] += 1
    if inside:
        return "".join(_rich(one, changes) for one in inside)
    if element.get("style"):
        changes[Change.STYLE] += 1
    return _word(element, changes)


def _word(element: Json, changes: Counter[Change]) -> str:
    match element.get("type"):
        case "text":
            return _encoded(str(element.get("text") or ""))
        case "link":
            label = _encoded(str(element.get("text") or "")).replace("|", " ")
            return f"<{element.get('url')}|{label}>" if label else f"<{element.get('url')}>"
        case "user":
            return f"<@{element.get('user_id')}>"
        case "usergroup":
            return f"<!subteam^{element.get('usergroup_id')}>"
        case "channel":
            return f"<#{element.get('channel_id')}>"
        case "broadcast":
            return f"<!{element.get('range')}>"
        case "emoji":
            return _emoji(element)
        case "date":
            return _encoded(str(element.get("fallback") or ""))
        case "color":
            return _encoded(str(element.get("value") or ""))
        case "rich_text_section":  # an empty one
            return ""
        case _:
            changes[Change.BLOCK] += 1
            return ""


def _emoji(element: Json) -> str:
    """The character if Slack tells it (`1f389`, `1f1eb-1f1f7`), else the name, about which the form warns."""
    code = str(element.get("unicode") or "")
    if re.fullmatch(r"[0-9a-fA-F]{2,6}(?:-[0-9a-fA-F]{2,6})*", code):
        points = [int(point, 16) for point in code.split("-")]
        if all(point < 0x110000 and not 0xD800 <= point < 0xE000 for point in points):
            return "".join(map(chr, points))
    return f":{element.get('name')}:"
