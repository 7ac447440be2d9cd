"""Keeps the posts of reminders up to date, as `cards.py` does for broadcasts. The rows define what to show."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import Connection

from bot.domain.clock import SECOND, Micros, backoff
from bot.domain.i18n import Translatable, Translator, Value
from bot.domain.lifecycle import OccurrenceAction, OccurrenceState
from bot.domain.schedule import Digest, Occurrence, Schedule
from bot.recurring.notices import report_missed
from bot.slack.blocks import recurring
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import error_code
from bot.slack.publish.cards import LONGEST_PAUSE, MAX_TRIES, NO_PLACE, NOT_LET, POSTING
from bot.slack.publish.poster import Later, Poster
from bot.storage import broadcasts, occurrences, outbox
from bot.storage.database import CommitUncertain, DatabaseBusy

log = structlog.get_logger(__name__)

DAY = 24 * 3600 * SECOND
#: Slack's error codes for which waiting does not help.
FOR_GOOD = NO_PLACE | NOT_LET | {"missing_scope", "msg_too_long", "cant_update_message", "edit_window_closed"}
#: After a crash, or if Slack's answer got lost, everybody may have seen the post without our knowing.
UNSAID = (
    "This reminder was due {missed_at}, but I was held up, so it may not have been posted then: “{text}” (missed: "
    "{number})"
)
REFUSED = "Slack did not let me post *{id}* in {channel}. It was due {planned_at}. Its text: “{text}”"


class ReminderPosts:
    """Paints the posts of reminders. Its calls go through the same poster as the cards', within the same limits."""

    def __init__(self, poster: Poster, words: Translator, grace: Micros) -> None:
        self.poster, self.database, self.clock = poster, poster.database, poster.clock
        self.words, self.grace = words, grace
        self._quiet_until: Micros = 0

    async def paint(self) -> None:
        """Post and redraw what is behind. Only one process works on each post."""
        while self.clock() >= self._quiet_until and await self.database.read(
            lambda c: occurrences.waits(c, self.clock())
        ):
            now = self.clock()
            taken = await self.database.write(partial(occurrences.take, at=now, again_at=now + POSTING))
            if taken is None:  # another process has it
                return
            occurrence, schedule = taken
            with self.database.failing_rows.alone(
                "turn",
                f"{occurrence.schedule}/{occurrence.local}",
                occurrence.workspace,
                but=(DatabaseBusy, CommitUncertain),
            ):
                await self._show(occurrence, schedule)

    async def _show(self, occurrence: Occurrence, schedule: Schedule) -> None:
        try:
            await self._draw(occurrence, schedule)
        except Later as later:
            pause = min(int(later.seconds * SECOND), LONGEST_PAUSE)
            self._quiet_until = self.clock() + pause
            await self.database.write(lambda c: occurrences.put_off(c, occurrence, self._quiet_until))
        except SlackApiError as error:
            code = error_code(error)
            log.warning("a reminder could not be posted", schedule=schedule.id, error=code)
            again = self.clock() + backoff(occurrence.tries, 5 * SECOND, LONGEST_PAUSE)
            if code in FOR_GOOD or occurrence.tries >= MAX_TRIES or self._is_late(occurrence, again):
                await self.database.write(lambda c: self._give_up(c, occurrence, schedule))
            else:
                await self.database.write(lambda c: occurrences.put_off(c, occurrence, again, tried=True))

    def _give_up(self, connection: Connection, occurrence: Occurrence, schedule: Schedule) -> None:
        """Stop trying to show an occurrence, and tell the owner if it was never posted.

        A snoozed one is still posted once more, however its old post looks.
        """
        now = self.clock()
        if occurrence.state is not OccurrenceState.MADE:
            occurrences.put_off(
                connection,
                occurrence,
                occurrence.snoozed_until if occurrence.state is OccurrenceState.SNOOZED else None,
            )
        elif occurrences.move(connection, occurrence, OccurrenceAction.MISS, now, draw_at=_stands(occurrence, now)):
            values: dict[str, Value] = {"id": schedule.id, "channel": f"<#{schedule.channel}>"}
            values |= {"planned_at": _planned_at(occurrence), "text": schedule.text}
            key = f"schedule:{schedule.id}:refused:{occurrence.local}"
            sentence = Translatable(REFUSED, **values)
            outbox.post(connection, schedule.workspace, key, schedule.owner, sentence, mention=None, at=now)

    def _is_late(self, occurrence: Occurrence, at: Micros) -> bool:
        return occurrence.state is OccurrenceState.MADE and at - _planned_at(occurrence) > self.grace

    def _miss(self, connection: Connection, occurrence: Occurrence, schedule: Schedule) -> None:
        """Report an occurrence that was made but will not be posted, in the same way as one that was never made."""
        now = self.clock()
        if occurrences.move(connection, occurrence, OccurrenceAction.MISS, now, draw_at=_stands(occurrence, now)):
            name = f"{occurrence.local}:snoozed" if occurrence.snoozed_until else occurrence.local
            report_missed(connection, schedule, [(name, _planned_at(occurrence))], now, UNSAID)

    async def _draw(self, occurrence: Occurrence, schedule: Schedule) -> None:
        if self._is_late(occurrence, self.clock()) or (
            occurrence.state is OccurrenceState.MADE and not schedule.goes_on
        ):
            await self.database.write(lambda c: self._miss(c, occurrence, schedule))
        elif occurrence.state is OccurrenceState.MADE:
            await self._post(occurrence, schedule)
        elif occurrence.ts is None:  # somebody answered before we know where its post is
            again = self.clock() + SECOND
            if occurrence.tries >= MAX_TRIES:
                await self.database.write(lambda c: self._give_up(c, occurrence, schedule))
            else:
                await self.database.write(lambda c: occurrences.put_off(c, occurrence, again, tried=True))
        else:
            await self._redraw(occurrence, schedule)

    async def _post(self, occurrence: Occurrence, schedule: Schedule) -> None:
        shown = await self._shown(occurrence, schedule, OccurrenceState.OPEN)
        metadata = {"event_type": "reminder", "event_payload": {"id": schedule.id, "local": occurrence.local}}
        answer = await self.poster.post(schedule.channel, shown, metadata)
        channel = str(answer.get("channel") or schedule.channel)
        await self._drawn(occurrence, channel, str(answer["ts"]), OccurrenceState.OPEN, None)

    async def _redraw(self, occurrence: Occurrence, schedule: Schedule) -> None:
        """Redraw the post. One that somebody deleted is not posted again: people have seen it."""
        channel, ts = occurrence.channel or schedule.channel, occurrence.ts or ""
        again = occurrence.snoozed_until if occurrence.state is OccurrenceState.SNOOZED else None
        try:
            await self.poster.change(channel, ts, await self._shown(occurrence, schedule, occurrence.state))
        except SlackApiError as error:
            if error_code(error) != "message_not_found":
                raise
        await self._drawn(occurrence, channel, ts, occurrence.state, again)

    async def _drawn(
        self, occurrence: Occurrence, channel: str, ts: str, state: OccurrenceState, again: Micros | None
    ) -> None:
        await self.database.write(lambda c: occurrences.drawn(c, occurrence, channel, ts, state, again_at=again))

    async def _shown(self, occurrence: Occurrence, schedule: Schedule, state: OccurrenceState) -> Post:
        digest = (
            await self.database.read(lambda c: self._digest(c, schedule)) if schedule.options.get("digest") else None
        )
        return recurring.reminder(replace(occurrence, state=state), schedule, digest, self.words)

    def _digest(self, connection: Connection, schedule: Schedule) -> Digest:
        now = self.clock()
        return broadcasts.for_digest(connection, schedule.workspace, schedule.channel, now - DAY, now + DAY)


def _planned_at(occurrence: Occurrence) -> Micros:
    return occurrence.snoozed_until or occurrence.at


def _stands(occurrence: Occurrence, now: Micros) -> Micros | None:
    """Return when to redraw its post from before it was snoozed, which promises another one; None without one."""
    return now if occurrence.ts else None
