"""Answers to one person: lists, details, help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import structlog

from bot.domain import suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translator
from bot.slack.blocks.card_buttons import plain_button
from bot.slack.blocks.mrkdwn import Block, Post, Row, literal, quote, section
from bot.slack.blocks.refusals import complaint

log = structlog.get_logger(__name__)


def usage(usage: str, typed: str, words: Translator) -> Post:
    """How a command is written, and what was typed."""
    return complaint([words("Write it like this: `/broadcast {usage}`", usage=quote(usage))], typed, words)


def draft_kept(broadcast: Broadcast, fix: str, words: Translator) -> Post:
    """Say that no card can be posted there, that the draft is kept, and what fixes it."""
    template = "I kept your draft as *{id}*. `/broadcast edit {id}` opens it in any channel that I am in."
    message = words(template, id=broadcast.id)
    return with_draft(Post(f"{fix} {message}", [section(f"{fix}\n{message}")]), broadcast, words)


def with_draft(post: Post, broadcast: Broadcast, words: Translator) -> Post:
    """A message with the text of a draft, and the button that opens it."""
    return Post(
        post.text, [*post.blocks, *literal(suggestions.visible(broadcast.typed)), draft_button(broadcast, words)]
    )


def draft_button(broadcast: Broadcast, words: Translator) -> Block:
    button = {**plain_button("edit", words("Open the draft"), broadcast), "style": "primary"}
    return {"type": "actions", "elements": [button]}


def each_line(rows: Iterable[Row], line: Callable[[Row], str], words: Translator) -> Iterator[str]:
    """Yield a line for each row. One that cannot be shown says so, and does not hide the others."""
    for row in rows:
        yield drawn(row.id, partial(line, row), words)


def drawn(id: object, line: Callable[[], str], words: Translator) -> str:
    try:
        return line()
    except Exception as error:  # whatever the row contains
        log.error("a row cannot be shown", id=str(id), exc_info=error)
        return words("*{id}* cannot be shown. Tell whoever runs the bot.", id=str(id))
