"""Asks whether another command was meant, which a press then gives."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translator
from bot.domain.slack_text import decode_slack
from bot.slack.blocks.mrkdwn import Post, json_size, plain, quote
from bot.slack.blocks.refusals import VALUE, complaint

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
    """The question, what was typed, and the button that gives the command. A very long one has to be typed again."""
    line = f"/broadcast {meant.verb} {decode_slack(meant.text)}"
    post = complaint([words("The time needs quotes. Did you mean this?"), quote(line)], typed, words)
    if max(len(meant.value()), json_size(typed)) > VALUE:
        return post
    yes = {"type": "button", "action_id": f"{MEANT}.yes", "text": plain(words("Yes")), "value": meant.value()}
    return Post(post.text, [*post.blocks, {"type": "actions", "elements": [{**yes, "style": "primary"}]}])
