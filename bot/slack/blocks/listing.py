"""A page of broadcasts, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translator
from bot.domain.people import mentions
from bot.slack.blocks.answers import each_line
from bot.slack.blocks.card_facts import BADGES, excerpt
from bot.slack.blocks.mrkdwn import Block, Post, plain, quote, section, when
from bot.storage.listings import SEARCHED, Wanted

LISTED = 61  # characters of a text in a list

TITLES: Mapping[Wanted, str] = {
    Wanted.LATEST: "The latest broadcasts",
    Wanted.MINE: "Your broadcasts",
    Wanted.WAITING: "Waiting for a decision",
    Wanted.UPCOMING: "Coming up",
    Wanted.UNKNOWN: "Not known whether they went out",
    Wanted.AUDIENCE: "Broadcasts to “{word}”",
    Wanted.WORD: "Broadcasts with “{word}”",
}
#: What an empty list says, with what to do next.
NOTHING: Mapping[Wanted, str] = {
    Wanted.LATEST: "No broadcasts yet. Type `/broadcast` to open the form.",
    Wanted.MINE: "You have not asked for any broadcast yet. Type `/broadcast` to open the form.",
    Wanted.WAITING: "Nothing waits for a decision. `/broadcast list upcoming` shows what goes out next.",
    Wanted.UPCOMING: (
        "Nothing is planned. To plan a broadcast, put a time before its text, for example "
        '`/broadcast send clients at="tomorrow 9:00" …`.'
    ),
    Wanted.UNKNOWN: "No broadcast has an unknown outcome. `/broadcast list` shows the latest.",
    Wanted.AUDIENCE: "No broadcast to “{word}” yet. `/broadcast send {word} …` asks for one.",
    Wanted.WORD: (
        "I found “{word}” in none of these texts. Try another word, or one of `mine`, `waiting`, `upcoming` and "
        "`unknown`."
    ),
}
NO_MORE = "There are no more."


@dataclass(frozen=True)
class ListPage:
    """What one page shows. `older`, `newest`: the values of its buttons; None: without that button."""

    wanted: Wanted
    word: str
    rows: Sequence[Broadcast]
    links: Mapping[str, str] = field(default_factory=dict)
    notices: Sequence[str] = ()  # what keeps any of them from going out, or how the filter was read
    older: str | None = None
    newest: str | None = None


def listing(shown: ListPage, words: Translator) -> Post:
    """Return a page. An empty one says what to do next."""
    title = words(TITLES[shown.wanted], word=quote(shown.word))
    searched = shown.wanted is Wanted.WORD and shown.older is not None
    foot = [words("I looked through {number} texts.", number=SEARCHED)] if searched and not shown.rows else []
    if not shown.rows:
        template = NO_MORE if shown.newest is not None and not searched else NOTHING[shown.wanted]
        lines = [*shown.notices, words(template, word=quote(shown.word)), *foot]
        return Post("\n".join(lines), [*map(section, lines), *_buttons(shown, words)])
    lines = [*shown.notices, *each_line(shown.rows, lambda row: _line(row, shown.links.get(row.id), words), words)]
    text = f"{title}: {', '.join(row.id for row in shown.rows)}"
    return Post(text, [section(f"*{title}*"), *map(section, lines), *_buttons(shown, words)])


def _buttons(shown: ListPage, words: Translator) -> list[Block]:
    return pages("broadcast.list", shown.older, shown.newest, words, more=_more(shown, words))


def _more(shown: ListPage, words: Translator) -> str:
    if shown.wanted is Wanted.WORD:
        return words("Search older ones")
    return words("Next") if shown.wanted in (Wanted.WAITING, Wanted.UPCOMING, Wanted.UNKNOWN) else words("Older")


def pages(action: str, after: str | None, first: str | None, words: Translator, *, more: str) -> list[Block]:
    """Return the buttons that turn the pages of an answer. `after`, `first`: what the next and the first page are."""
    turns: list[tuple[str, str, str | None]] = [("first", words("Back to the beginning"), first), ("next", more, after)]
    elements: list[dict[str, Any]] = [
        {"type": "button", "action_id": f"{action}.{name}", "text": plain(label), "value": value}
        for name, label, value in turns
        if value is not None
    ]
    return [{"type": "actions", "elements": elements}] if elements else []


def _line(row: Broadcast, link: str | None, words: Translator) -> str:
    shown = excerpt(row, words, LISTED)
    instant = when(row.hold_until or row.due or row.send_at or row.changed_at, row.zone)
    who = mentions([row.requester])
    test = "🧪 " if row.test_of is not None else ""
    review = f" · 🔓 {words('review open')}" if row.review_open else ""
    card = f" · <{link}|{words('Card')}>" if link else ""
    about = f"*{row.id}* → {test}{quote(row.audience)} · {who} · {instant} · “{quote(shown)}”"
    return f"{words(BADGES[row.state])} · {about}{review}{card}"
