"""Asks whether another command was meant, which a press then gives."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translator
from bot.domain.slack_text import decode_slack
from bot.slack.blocks.forms import SAID
from bot.slack.blocks.mrkdwn import Post, json_size, literal, plain, quote, section
from bot.slack.blocks.refusals import VALUE

MEANT = "broadcast.meant"  # the button, by what it does
UNKNOWN_BUTTON = "I no longer know this button. Please type the command again."


@dataclass(frozen=True)
class Meant:
    """A subcommand and what follows it. `trigger`: of the command that was typed; both together count once."""

    verb: str
    text: str
    trigger: str

    def value(self) -> str:
        """As a button holds it."""
        return json.dumps([self.verb, self.text, self.trigger], ensure_ascii=False)

    @classmethod
    def of(cls, value: str) -> Meant:
        """The reverse of `value`. Raises NotAllowed for anything else."""
        try:
            verb, text, trigger = json.loads(value)
            return cls(str(verb), str(text), str(trigger))
        except (ValueError, TypeError, RecursionError):
            raise NotAllowed(UNKNOWN_BUTTON) from None


def ask(meant: Meant, typed: str, words: Translator) -> Post:
    """The question, with the button that gives the command. A very long one is only shown, to be typed again."""
    question = words("The time needs quotes. Did you mean this?")
    line = f"/broadcast {meant.verb} {decode_slack(meant.text)}"
    blocks = [section(question), *literal(line[:SAID])]
    if len(meant.value()) <= VALUE and json_size(line) <= SAID:
        yes = {"type": "button", "action_id": f"{MEANT}.yes", "text": plain(words("Yes")), "value": meant.value()}
        blocks.append({"type": "actions", "elements": [{**yes, "style": "primary"}]})
    else:
        blocks += [section(words("You typed:")), *literal(typed[:SAID])]
    return Post(f"{question}\n{quote(line)}"[:SAID], blocks)
