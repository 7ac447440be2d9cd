"""A broadcast in full, and who did what to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import State
from bot.domain.people import mentions
from bot.exporting import ACTORS, DEEDS
from bot.slack.blocks.answers import draft_button, drawn
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_buttons import shown_again
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.mrkdwn import Block, Post, json_size, quote, section, sentence, shortened, when
from bot.slack.blocks.thread import diff
from bot.workflow.decision_types import Drawing

STEPS = 15  # of the history, the latest
CHANGES = 600  # characters of what an edit changed
REASON = 300
OLDER = 5  # versions, the latest, with a link to their card
HISTORY = 2800  # characters of JSON; Slack takes 3,000 in a section
WHOLE = 12_800  # characters of JSON of all blocks; Slack takes about 13,200
DIFF = 2500  # characters of JSON of two texts that are compared


@dataclass(frozen=True)
class Story:
    """What `show` tells besides the row. `told`: what the thread says of an edit, by its instant.

    `drawing`: the card's, if the row is still as it was shown there; else nothing can be decided here.
    """

    steps: Sequence[Mapping[str, Any]] = ()
    told: Mapping[Micros, Translatable] = field(default_factory=dict)
    link: str | None = None
    older: Mapping[int, str] = field(default_factory=dict)  # links to the cards of earlier versions
    drawing: Drawing | None = None


def details(broadcast: Broadcast, showing: CardContext, story: Story, words: Translator) -> Post:
    """Return the card with its buttons, and who did what. A draft without a card gets a button that opens it."""
    shown = draw_card(broadcast, showing, words, whole=True)
    steps = [
        drawn(f"{broadcast.id}/{row['seq']}", partial(_step, row, story, broadcast.zone, words), words)
        for row in story.steps[-STEPS:]
    ]
    blocks = [block for block in shown.blocks if block["type"] != "actions"]
    links, buttons = _links(story, words), _buttons(broadcast, shown, story, words)
    below = [*([section(links)] if links else []), *buttons]
    room = WHOLE - _size([*blocks, *below])
    history = _latest(steps, min(room, HISTORY))
    blocks.append(section(f"*{words('History')}*\n" + "\n".join(history)))
    changes = _last_change(story)
    if _size(changes) <= room - json_size("\n".join(history)):
        blocks += changes
    return Post(shown.text, [*blocks, *below])


def _size(blocks: Sequence[Block]) -> int:
    return len(json.dumps(blocks, ensure_ascii=False))


def _latest(steps: Sequence[str], most: int) -> list[str]:
    """Return the last steps, as many as take so many characters of JSON."""
    first, used = len(steps), 0
    while first and (used := used + json_size(steps[first - 1]) + 2) <= most:
        first -= 1
    return [*(["…"] if first else []), *steps[first:]]


def _buttons(broadcast: Broadcast, shown: Post, story: Story, words: Translator) -> list[Block]:
    if broadcast.state is State.DRAFT:
        return [draft_button(broadcast, words)]
    if story.drawing is None:
        return []
    return [shown_again(block, story.drawing) for block in shown.blocks if block["type"] == "actions"]


def _last_change(story: Story) -> list[Block]:
    """Return the words that the last edit changed, unless they are too many: the thread shows them too."""
    told = story.told[max(story.told)] if story.told else None
    before, after = (told.values.get(name) if told else None for name in ("text_before", "text_after"))
    if not isinstance(before, str) or not isinstance(after, str) or json_size(before) + json_size(after) > DIFF:
        return []
    return [diff(before, after)]


def _links(story: Story, words: Translator) -> str:
    links = [words("<{link}|Open its card>", link=story.link)] if story.link else []
    older = (
        f"<{link}|{words('version {version}', version=version)}>"
        for version, link in sorted(story.older.items())[-OLDER:]
    )
    return " · ".join([*links, *older])


def _step(row: Mapping[str, Any], story: Story, zone: str, words: Translator) -> str:
    """Return a line of the history: who did what to which version, when, and why."""
    it = words("version {version}", version=row["version"]) if row["version"] is not None else words("it")
    parts = [deed(row, it, words), when(row["at"], zone), *reason(row)]
    told = story.told.get(row["at"])
    changes = [f"> {line}" for line in shortened(sentence(words, told), CHANGES).strip().split("\n")] if told else []
    return "\n".join([f"• {' · '.join(parts)}", *changes])


def deed(row: Mapping[str, Any], it: str, words: Translator) -> str:
    """Return who did what, as people read it. An action of a newer version keeps its own name."""
    action = str(row["action"])
    name = action.removesuffix("_refused")
    who = actor(str(row["actor"]), words)
    said = words(DEEDS[name], who=who, it=it) if name in DEEDS else f"{who}: {quote(name)}"
    return words("Refused: {deed}", deed=said) if name != action else said


def actor(name: str, words: Translator) -> str:
    if re.fullmatch(r"[UW][A-Z0-9]+", name):
        return mentions([name])
    return words(ACTORS[name]) if name in ACTORS else quote(name)


def reason(row: Mapping[str, Any]) -> list[str]:
    """Return what a person gave as the reason. The program writes its own in English, for operators."""
    by_person = re.fullmatch(r"[UW][A-Z0-9]+", str(row["actor"])) and not str(row["action"]).endswith("_refused")
    return [f"“{shortened(quote(row['reason']), REASON)}”"] if row["reason"] and by_person else []
