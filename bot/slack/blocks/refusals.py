"""Draws what was refused: what is wrong, what was typed, and the button that opens a form to correct it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from bot.domain.i18n import Translator
from bot.slack.blocks.forms import SAID
from bot.slack.blocks.mrkdwn import Block, Post, context, json_size, literal, plain, section, shortened

CORRECT = "broadcast.correct"
CORRECT_KEPT = f"{CORRECT}_kept"
#: The buttons that open a form with a refused command, by its verb.
CORRECTED = {"send": CORRECT, "test": f"{CORRECT}_test", "template save": f"{CORRECT}_template"}
ECHO = 12_800  # characters of JSON in a message that shows what was typed, `SAID` of them; Slack takes about 13,200
VALUE = 2000  # characters of a button's value


@dataclass(frozen=True)
class Correction:
    """A command that can be corrected in the form. `typed`: what followed its verb, which is one of `CORRECTED`."""

    typed: str
    verb: str = "send"

    @property
    def test(self) -> bool:
        return self.verb == "test"

    @property
    def name(self) -> str:
        """What tells it from other commands."""
        return hashlib.sha256(f"{self.verb}:{self.typed}".encode()).hexdigest()[:16]

    @property
    def fits(self) -> bool:
        """Whether a button can hold it. Otherwise it must be kept before the button is offered."""
        return len(self.typed) <= VALUE and json_size(self.typed) <= SAID

    def button(self, words: Translator) -> Block:
        action = CORRECTED[self.verb] if self.fits else CORRECT_KEPT
        button = {"type": "button", "action_id": action, "text": plain(words("Correct it in the form"))}
        return {**button, "value": self.typed if self.fits else self.name}


def complaint(lines: Iterable[str], typed: str, words: Translator, *, correct: Correction | None = None) -> Post:
    """What is wrong and what to do, and what was typed, so that nothing is lost.

    `correct`: what the form can be opened with.
    """
    said = "\n".join(lines)
    text = shortened(said, len(_within(said, SAID)))
    blocks = [section(text)]
    held = json_size(correct.typed) if correct is not None and correct.fits else 0
    if typed.strip():
        shown, heading = _within(typed, ECHO - json_size(text) - held), words("You typed:")
        if shown != typed:
            heading = words("You typed this, of which one message can show only the beginning:")
        blocks += [context(heading), *literal(shown)]
    if correct is not None:
        blocks.append({"type": "actions", "elements": [correct.button(words)]})
    return Post(text, blocks)


def _within(text: str, most: int) -> str:
    """Return as much of it as takes so many characters in JSON, where some take six."""
    if 6 * len(text) <= most:
        return text
    sizes = accumulate(json_size(char) for char in text)
    return text[: next((place for place, used in enumerate(sizes) if used > most), len(text))]
