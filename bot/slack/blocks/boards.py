"""The boards of recurring broadcasts and of reminders: a line for each, with its buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.domain.i18n import Translator
from bot.domain.lifecycle import ScheduleAction, ScheduleState
from bot.domain.people import mentions
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.slack.blocks.answers import drawn
from bot.slack.blocks.listing import pages
from bot.slack.blocks.mrkdwn import ANSWER, Block, Post, plain, quote, section, shortened, when
from bot.slack.blocks.recurring import line

BOARD, KEEP_BOTH = "broadcast.board", "broadcast.keep_both"
VALUE = 2000  # characters of a button's value
#: The buttons of a schedule: label and style. One that is paused can be resumed, and the reverse undoes each.
STEPS: Mapping[ScheduleAction, tuple[str, str | None]] = {
    ScheduleAction.PAUSE: ("Pause", None),
    ScheduleAction.RESUME: ("Resume", "primary"),
    ScheduleAction.STOP: ("End it", "danger"),
}
TITLES: Mapping[Kind, str] = {Kind.BROADCAST: "Recurring broadcasts", Kind.REMINDER: "Reminders"}
NOTHING: Mapping[Kind, str] = {
    Kind.BROADCAST: "No recurring broadcasts yet. Try `/broadcast every`.",
    Kind.REMINDER: "There are no reminders yet. Try `/broadcast remind`.",
}


@dataclass(frozen=True)
class BoardPage:
    """What one page shows. `values`: of the buttons, by schedule and step. `older`, `newest`: of those that turn it."""

    kind: Kind
    rows: Sequence[Schedule]
    values: Mapping[tuple[str, ScheduleAction], str] = field(default_factory=dict)
    snoozed: Sequence[tuple[Occurrence, Schedule]] = ()
    notices: Sequence[str] = ()
    older: str | None = None
    newest: str | None = None


def board(page: BoardPage, words: Translator) -> Post:
    """Return a page. An empty one says what to do next."""
    turns = pages(BOARD, page.older, page.newest, words, more=words("Next"))
    blocks, told = [section(notice) for notice in page.notices], list(page.notices)
    if page.rows:
        blocks.append(section(f"*{words(TITLES[page.kind])}*"))
    elif not page.snoozed:
        told.append(words(NOTHING[page.kind]))
        blocks.append(section(told[-1]))
    for row in page.rows:
        told.append(drawn(row.id, lambda row=row: line(row, words), words))  # type: ignore[misc]
        blocks += [section(told[-1]), *_buttons(row, page, words)]
    if page.snoozed:
        asleep = [drawn(of.id, lambda one=one, of=of: _asleep(one, of, words), words) for one, of in page.snoozed]  # type: ignore[misc]
        told += asleep
        blocks.append(section("\n".join([f"*{words('Snoozed')}*", *asleep])))
    return Post(shortened("\n".join(told), ANSWER), [*blocks, *turns])


def already_there(same: Schedule, command: str, words: Translator) -> Post:
    """Ask whether to keep both. `command`: what was typed, which the button does if it can hold it."""
    has = words("The same is there already, from {who}:", who=mentions([same.owner]))
    told = f"{has}\n{line(same, words)}"
    if len(command) > VALUE:
        told += "\n" + words("To keep both, put `also=yes` before the text.")
        return Post(told, [section(told)])
    told += "\n" + words("Nothing was kept. Do you want both?")
    button = {"type": "button", "action_id": f"{KEEP_BOTH}.yes", "text": plain(words("Keep both")), "value": command}
    return Post(told, [section(told), {"type": "actions", "elements": [button]}])


def _buttons(row: Schedule, page: BoardPage, words: Translator) -> list[Block]:
    steps = [ScheduleAction.RESUME if row.state is ScheduleState.PAUSED else ScheduleAction.PAUSE, ScheduleAction.STOP]
    elements = [_button(step, page.values[row.id, step], words) for step in steps if (row.id, step) in page.values]
    return [{"type": "actions", "elements": elements}] if elements else []


def _button(step: ScheduleAction, value: str, words: Translator) -> dict[str, Any]:
    label, style = STEPS[step]
    button: dict[str, Any] = {
        "type": "button",
        "action_id": f"{BOARD}.{step}",
        "text": plain(words(label)),
        "value": value,
    }
    if step is ScheduleAction.STOP:
        button["confirm"] = {
            "title": plain(words(label)),
            "text": plain(words("It does not come again. That cannot be undone; a pause can.")),
            "confirm": plain(words(label)),
            "deny": plain(words("Go back")),
        }
    return {**button, "style": style} if style else button


def _asleep(one: Occurrence, of: Schedule, words: Translator) -> str:
    what = f"“{quote(shortened(of.text, 60))}”" if of.text else words("the digest")
    return f"💤 *{of.id}* → <#{of.channel}> · {what} · {when(one.snoozed_until or one.at, of.zone)}"
