"""Block Kit for a person's Home, and for the view that a row of it opens, as pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Action, State
from bot.domain.people import mentions
from bot.domain.schedule import Schedule
from bot.slack.blocks import help, recurring
from bot.slack.blocks.answers import drawn
from bot.slack.blocks.card_buttons import BUTTONS, plain_button
from bot.slack.blocks.card_facts import BADGES, excerpt
from bot.slack.blocks.mrkdwn import Block, Post, context, lines, plain, quote, section, shortened, when
from bot.slack.blocks.settings_form import OPEN as SETTINGS
from bot.storage.boards import Place

VIEW_BLOCKS = 100  # in a view, Slack's limit
LISTED = 80  # characters of a text in a row
LOOK = "broadcast_look"  # the callback id of the view with one broadcast
MORE, EARLIER = "home.more", "home.earlier"

SECTIONS: Mapping[str, str] = {  # in the order shown
    "waiting": "Waiting for you",
    "mine": "What you asked for",
    "planned": "Going out today",
    "unknown": "Not known whether it went out",
    "recurring": "Recurring broadcasts and reminders",
}
STEPS = (
    "*1.* Press *Write one*, choose who gets it, and write the text.",
    "*2.* Somebody else approves it, on its card in the channel or here.",
    "*3.* It goes out once, and its thread shows what became of it. Until then, you can stop it.",
)


@dataclass(frozen=True)
class Part:
    """A page of one section. `before`: how many pages come before it; `more`: where the next one begins, if any."""

    name: str
    rows: Sequence[Broadcast | Schedule]
    before: int
    more: Place | None


@dataclass(frozen=True)
class Contents:
    """What one person's Home shows. `notices`: what keeps broadcasts from going; `of_admin`: None for anybody else."""

    parts: Sequence[Part]
    first_visit: bool
    notices: Sequence[str] = ()
    of_admin: Sequence[str] | None = None


def draw_home(contents: Contents, words: Translator) -> list[Block]:
    """Return the blocks of a Home."""
    blocks = [section(words("*I send broadcasts, each once, and only once somebody else has agreed.*"))]
    blocks.append(_main(words, admin=contents.of_admin is not None))
    if contents.first_visit:
        blocks.append(section("\n".join(words(step) for step in STEPS)))
    blocks += lines(contents.notices, words).blocks if contents.notices else []
    for part in contents.parts:
        blocks += _part(part, words)
    if contents.of_admin:
        blocks += [_title(words("For admins")), *lines(contents.of_admin, words).blocks]
    return blocks[:VIEW_BLOCKS]


def closed(words: Translator) -> list[Block]:
    """Return the Home of somebody for whom nothing here is meant."""
    return [section(words("Only full members of this workspace can use this bot."))]


def doubtful(words: Translator) -> list[Block]:
    """Return the Home of somebody of whom Slack does not say whether they are a member."""
    return [section(words("I cannot find out from Slack who may do this right now. Please try again in a minute."))]


def unavailable(words: Translator) -> list[Block]:
    """Return what a Home shows if Slack refuses its blocks."""
    return [section(words("I cannot show this right now. Type `/broadcast list`."))]


def _main(words: Translator, *, admin: bool) -> Block:
    write = {**_plain(help.WRITE, words("Write one"), "home"), "style": "primary"}
    elements = [write, _plain(help.HELP, words("Help"), "home")]
    elements += [_plain(SETTINGS, words("Settings"), "home")] if admin else []
    return {"type": "actions", "block_id": "home", "elements": elements}


def _plain(action_id: str, label: str, value: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": plain(label), "value": value}


def _title(title: str) -> Block:
    return {"type": "header", "text": plain(title)}


def _part(part: Part, words: Translator) -> Iterator[Block]:
    """Yield a section; nothing for one that is empty, except what waits for the reader."""
    if not part.rows and not part.before and part.more is None and part.name != "waiting":
        return
    yield _title(words(SECTIONS[part.name]))
    for row in part.rows:
        yield from _schedule(row, words) if isinstance(row, Schedule) else _broadcast(row, part.name, words)
    if not part.rows:
        empty = words("Nothing waits for you.") if part.name == "waiting" else words("Nothing more here.")
        yield context(empty if part.more is None and not part.before else words("Nothing on this page."))
    yield from _pages(part, words)


def _pages(part: Part, words: Translator) -> Iterator[Block]:
    elements = []
    if part.before:
        elements.append(_plain(EARLIER, words("Earlier"), f"{part.name}|{part.before}"))
    if part.more is not None:
        elements.append(_plain(MORE, words("More"), f"{part.name}|{part.more.at}|{part.more.id}"))
    if elements:
        yield {"type": "actions", "block_id": f"{part.name}:pages:{part.before}", "elements": elements}


def _schedule(schedule: Schedule, words: Translator) -> list[Block]:
    return [section(shortened(drawn(schedule.id, partial(recurring.line, schedule, words), words), 600))]


def _broadcast(row: Broadcast, part: str, words: Translator) -> Iterator[Block]:
    """Yield one row with the button that opens it; what can still be stopped for some seconds has that one too."""
    asks = part == "waiting" and row.state is State.PENDING
    opens = plain_button("look", words("Review") if asks else words("Open"), row)
    if row.state is State.DRAFT:
        opens = plain_button("edit", words("Open the draft"), row)
    if asks:
        opens = {**opens, "style": "primary"}
    block = section(drawn(row.id, partial(_line, row, words), words), f"{part}:{row.id}:{row.version}")
    if not row.in_undo_window:
        yield {**block, "accessory": opens}
        return
    label, style = BUTTONS[Action.STOP]
    yield block
    stop = {**plain_button(Action.STOP, words(label), row), "style": style}
    yield {"type": "actions", "block_id": f"{part}:{row.id}:{row.version}:stop", "elements": [stop, opens]}


def _line(row: Broadcast, words: Translator) -> str:
    instant = when(row.due or row.send_at or row.changed_at, row.zone)
    about = " · ".join([f"*{row.id}*", quote(row.audience), mentions([row.requester]), instant])
    return f"{words(BADGES[row.state])} · {about}\n“{quote(excerpt(row, words, LISTED))}”"


# --- one broadcast in a view -----------------------------------------------------------------------------------------


def look(row: Broadcast, card: Post, facts: Mapping[str, Any], words: Translator, above: Post | None = None) -> Block:
    """Return the view that shows a card whole, with its buttons. It keeps the facts shown: a decision binds to them."""
    kept = {"id": row.id, "version": row.version, "facts": dict(facts)}
    blocks = [*(above.blocks if above else []), *card.blocks]
    return {**_view(row.id, blocks, words), "callback_id": LOOK, "private_metadata": json.dumps(kept)}


def notice(post: Post, words: Translator) -> Block:
    """Return a view that says something."""
    return _view("bellcrier", post.blocks or [section(post.text)], words)


def help_view(post: Post, words: Translator) -> Block:
    return _view(words("Help"), post.blocks or [section(post.text)], words)


def _view(title: str, blocks: Sequence[Block], words: Translator) -> Block:
    shown = list(blocks[:VIEW_BLOCKS])
    return {"type": "modal", "title": plain(title[:24]), "close": plain(words("Close")), "blocks": shown}


def facts_seen(view: Mapping[str, Any], id: str, version: int | None) -> Mapping[str, Any]:
    """Return the facts that a view showed of this version; none if it did not show it, so that no decision fits."""
    try:
        kept = json.loads(str(view.get("private_metadata") or ""))
        facts = kept["facts"] if (kept["id"], kept["version"]) == (id, version) else {}
    except (ValueError, TypeError, KeyError):
        return {}
    return facts if isinstance(facts, dict) and all(_is_fact(*one) for one in facts.items()) else {}


NUMBERS = frozenset({"size", "bound", "unnamed", "quorum", "opens_at"})


def _is_fact(name: str, value: Any) -> bool:
    return value is None or type(value) is (int if name in NUMBERS else str)


def place_in(value: str) -> tuple[str, Place] | None:
    """Return the section and the place that a button for more names; None if it names none."""
    part, _, rest = value.partition("|")
    at, _, id = rest.partition("|")
    sound = part in SECTIONS and at.isascii() and at.isdigit() and len(at) < 18 and 0 < len(id) <= 16
    return (part, Place(_instant(at), id)) if sound else None


def _instant(written: str) -> Micros:
    return int(written)
