"""Messages under a card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

from bot.domain import suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import mentions
from bot.slack.blocks.card_buttons import plain_button
from bot.slack.blocks.card_facts import BADGES
from bot.slack.blocks.charts import deliveries_chart
from bot.slack.blocks.mrkdwn import ANSWER, SECTION, Block, Post, context, lines, section, sentence, shortened
from bot.storage.notes import Note
from bot.workflow.sentence_parts import REASON

PART = re.compile(r"\s+|\w+|[^\w\s]")
ROOM, OF_A_PART = 9_000, 70  # characters of JSON for a diff, and for a part of it beside its text
COMPARED = 1_500  # words and spaces between the first and the last change: beyond, all between counts as changed
SAME = 60  # characters of unchanged text that a diff shows on either side of a change

Step = tuple[str, int, int, int, int]


def thread_note(note: Note, broadcast: Broadcast, words: Translator) -> Post:
    """Return the message for one note."""
    post = thread_message(note.sentence, note.mention, words)
    if note.sentence.values.get("asks") == REASON:
        button = plain_button("give_reason", words("Give a reason"), broadcast)
        post = Post(post.text, [*post.blocks, {"type": "actions", "elements": [button]}])
    post = Post(post.text, [*post.blocks, *deliveries_chart(note.sentence.values, words)])
    return Post(f"{post.text} ({broadcast.id})", post.blocks) if note.aloud else post


def thread_message(message: Translatable, mention: str | None, words: Translator) -> Post:
    """Return a message that needs no card. `mention`: ids of people, separated by spaces."""
    text = sentence(words, message).rstrip()
    if mention:
        text = f"{mentions(mention.split())} {text}"
    before, after = message.values.get("text_before"), message.values.get("text_after")
    changed = [diff(before, after)] if isinstance(before, str) and isinstance(after, str) else []
    whole = lines(text.split("\n"), words).blocks if len(text) > SECTION else [section(text)]
    return Post(shortened(text, ANSWER), [*whole, *changed])


def news_message(
    message: Translatable, mention: str | None, broadcast: Broadcast, words: Translator, *, stop: bool
) -> Post:
    """Return what stands where somebody hears of a broadcast: its latest news, its state, and Stop if it helps."""
    post = thread_message(message, mention, words)
    blocks = [*post.blocks, context(words(BADGES[broadcast.state]))]
    if stop:
        button = {**plain_button("stop", words("Stop"), broadcast), "style": "danger"}
        blocks.append({"type": "actions", "elements": [button]})
    return Post(post.text, blocks)


def diff(before: str, after: str) -> Block:
    """Return a text with the words that were taken out struck through, and the new ones in bold."""
    old, new = (PART.findall(suggestions.visible(text)) for text in (before, after))
    parts = [*_shortest(_parts(old, new))]
    return {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": parts}]}


def _parts(before: list[str], after: list[str]) -> Iterator[dict[str, Any]]:
    steps = _steps(before, after)
    for place, (what, start, end, new_start, new_end) in enumerate(steps):
        if what == "equal":
            text = "".join(before[start:end])
            yield _part(_shortened(text, first=place == 0, last=place == len(steps) - 1))
        if what in ("delete", "replace"):
            yield _part("".join(before[start:end]), strike=True)
        if what in ("insert", "replace"):
            yield _part("".join(after[new_start:new_end]), bold=True)


def _steps(before: list[str], after: list[str]) -> list[Step]:
    """Return how one becomes the other, in the form of `difflib`, which takes minutes where long texts repeat words."""
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    steps: list[Step] = [("replace", 0, len(old), 0, len(new))] if old or new else []
    if max(len(old), len(new)) <= COMPARED:
        steps = [*SequenceMatcher(None, old, new).get_opcodes()]
    equal_head: list[Step] = [("equal", 0, head, 0, head)] if head else []
    end, new_end = len(before), len(after)
    equal_tail: list[Step] = [("equal", end - tail, end, new_end - tail, new_end)] if tail else []
    shifted = [(what, i + head, j + head, k + head, m + head) for what, i, j, k, m in steps]
    return [*equal_head, *shifted, *equal_tail]


def _alike(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _shortest(parts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out what Slack would not take in one message; the card shows all of the text."""
    room = ROOM
    for part in parts:
        room -= OF_A_PART + len(json.dumps(part["text"], ensure_ascii=False))
        if room < 0:
            yield _part(" …")
            return
        yield part


def _shortened(text: str, *, first: bool, last: bool) -> str:
    """Leave out the middle of a long stretch that has not changed, or all of it but what is next to a change."""
    head, tail = "" if first else text[:SAME], "" if last else text[-SAME:]
    return text if len(text) <= 2 * SAME else f"{head} … {tail}"


def _part(text: str, **style: bool) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "text", "text": text}
    return {**part, "style": style} if style else part
