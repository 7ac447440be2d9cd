"""`/broadcast away` and `back`: an approver names who approves in their place."""

from __future__ import annotations

import re

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.clock import Clock, Micros, moment
from bot.domain.errors import FieldError, InvalidRequest, sentence_of
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import Person, mentions
from bot.domain.schedule import micros_of
from bot.slack.blocks import answers, mrkdwn
from bot.slack.blocks.mrkdwn import Post
from bot.slack.replies import Command, Subcommand
from bot.storage.absences import Absence
from bot.when.instants import names_a_part, parse_when
from bot.when.refusals import NotATime
from bot.workflow.absences import Absences

PERSON = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
UNTIL = re.compile(r"^(?:until|till|jusqu['’](?:au|à|en)|hasta(?: el| la| las)?)\s+", re.IGNORECASE)
BACK = "9:00"  # on a day without an hour


class AbsenceCommands:
    """The subcommands about approvers who are away."""

    def __init__(self, absences: Absences, clock: Clock) -> None:
        self.absences, self.clock = absences, clock
        self.table: dict[str, Subcommand] = {
            "away": ("away [@person until <when>]", self.away),
            "back": ("back", self.back),
        }

    async def away(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Let somebody approve in your place while you are away, or show who is away."""
        if not asked.text.strip():
            return self._list(await self.absences.current(asked.person.workspace), asked.words)
        named = PERSON.findall(asked.text)
        typed = slack_text.decode_slack(PERSON.sub(" ", asked.text)).strip()
        if len(named) != 1:
            template = "Name one person as Slack offers them when you type @, for example `@ana until monday 9:00`."
            raise InvalidRequest(FieldError("delegate", Translatable(template)))
        if not typed:
            return answers.usage(self.table["away"][0], asked.line, asked.words)
        until = self._until(UNTIL.sub("", typed), asked.person)
        absence = await self.absences.leave(asked.person, named[0], until)
        template = (
            "{who} approves in your place until {end_at}, and you cannot approve until then. `/broadcast back` ends it."
        )
        told = [Translatable(template, who=mentions([absence.delegate]), end_at=absence.until)]
        if await self.absences.is_approver(absence.delegate):
            template = "Where {who} may approve anyway, your place stays free."
            told.append(Translatable(template, who=mentions([absence.delegate])))
        return mrkdwn.lines([mrkdwn.sentence(asked.words, one) for one in told], asked.words)

    async def back(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Approve again yourself before your absence ends."""
        if await self.absences.come_back(asked.person):
            return Post(asked.words("Welcome back. You approve for yourself again."))
        return Post(asked.words("You were not away."))

    def _list(self, away: dict[str, Absence], words: Translator) -> Post:
        if not away:
            return Post(words("No approver is away."))
        template = "{who} is away until {end_at}. {delegate} approves in their place."
        told = [
            Translatable(template, who=mentions([one.person]), end_at=one.until, delegate=mentions([one.delegate]))
            for one in away.values()
        ]
        return mrkdwn.lines([mrkdwn.sentence(words, one) for one in told], words)

    def _until(self, typed: str, person: Person) -> Micros:
        """A day alone means its morning. Raises InvalidRequest."""
        try:
            try:
                found = parse_when(typed, zone=person.zone, now=moment(self.clock()))
            except NotATime as error:
                if error.code != "no_hour" or names_a_part(typed):
                    raise
                found = parse_when(f"{typed} {BACK}", zone=person.zone, now=moment(self.clock()))
        except NotATime as error:
            raise InvalidRequest(FieldError("until", sentence_of(error))) from None
        return micros_of(found.instant)
