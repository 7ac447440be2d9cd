"""`/broadcast help`: five steps with buttons, one subcommand with its options, or all of them."""

from __future__ import annotations

from collections.abc import Mapping

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.errors import NotAllowed
from bot.slack.blocks import help as blocks
from bot.slack.blocks import mrkdwn
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands import parse
from bot.slack.commands.listing import UNKNOWN_BUTTON
from bot.slack.interaction import Interaction
from bot.slack.replies import Command, Subcommand
from bot.workflow.audiences import Audiences

#: What a step does: a subcommand, and what follows it.
SHOWS = {
    blocks.WAITING: ("list", "waiting"),
    blocks.UPCOMING: ("list", "upcoming"),
    blocks.REMINDERS: ("reminders", ""),
}


class HelpCommand:
    """`commands`: all others by name; the first line of each method's docstring is its help."""

    def __init__(self, commands: Mapping[str, Subcommand], audiences: Audiences) -> None:
        self.commands, self.audiences = commands, audiences
        self.table: dict[str, Subcommand] = {"help": ("help [all|<subcommand>]", self.help)}

    async def help(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show this help."""
        name, _ = parse.first_word(asked.text)
        name = name.lower().removeprefix("/broadcast")
        if name == blocks.ALL:
            return self._all(asked)
        known = {**self.commands, **self.table}
        if name in known:
            usage, method = known[name]
            return blocks.topic(name, usage, first_line(method.__doc__), self._audience(), asked.words)
        return blocks.steps(asked.words, self._unknown(name, asked) if name else ())

    def _unknown(self, name: str, asked: Command) -> list[str]:
        words = asked.words
        lines = [words("There is no `{name}` command.", name=mrkdwn.quote(slack_text.decode_slack(name)))]
        if near := parse.nearest_verb(name, self.commands):
            lines.append(words("Did you mean `/broadcast help {near}`?", near=near))
        return [" ".join(lines)]

    def _all(self, asked: Command) -> Post:
        usages = [("", "Open the form.")]
        usages += [(usage, first_line(method.__doc__)) for usage, method in {**self.commands, **self.table}.values()]
        return blocks.all_commands(usages, self._audience(), asked.words)

    def _audience(self) -> str:
        return next(iter(self.audiences.settings.audiences), "clients")

    async def turned(self, value: str, done: Interaction) -> Post:
        """Return what a button of the help shows in its place. Raises NotAllowed for no button of ours."""
        asked = Command(done.person, done.channel, "", done.trigger, done.words)
        if value == blocks.START:
            return blocks.steps(done.words)
        if value == blocks.ALL:
            return blocks.with_way_back(self._all(asked), done.words)
        if value not in SHOWS:
            raise NotAllowed(UNKNOWN_BUTTON)
        name, text = SHOWS[value]
        shown = await self.commands[name][1](Command(done.person, done.channel, text, "", done.words), done.client)
        return blocks.with_way_back(shown or blocks.steps(done.words), done.words)


def first_line(docstring: str | None) -> str:
    return (docstring or "").split("\n")[0]
