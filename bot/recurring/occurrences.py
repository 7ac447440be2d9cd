"""Makes occurrences: the broadcast or the post that each becomes."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest
from bot.domain.clock import SECOND, Micros, micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Ended, OccurrenceState, ScheduleAction, ScheduleState
from bot.domain.people import Person, mentions
from bot.domain.schedule import Kind, Occurrence, Schedule, StandingApproval, micros_of, name_of, series_digest
from bot.recurring.notices import notify
from bot.recurring.owners import Owners
from bot.storage import notes, occurrences, schedules
from bot.storage.occurrences import OccurrenceChanges
from bot.storage.schedules import ScheduleChanges
from bot.workflow import approval_rules
from bot.workflow.planning import PAST_SLACK
from bot.workflow.workflow import Workflow
from providers.base import Purpose

AHEAD = 24 * 3600 * SECOND  # an occurrence of a recurring broadcast goes to the approvers this long before its time


class Occurrences:
    """Makes the occurrences of a schedule: the broadcast or the post that each becomes."""

    def __init__(self, runtime: Runtime, workflow: Workflow, owners: Owners) -> None:
        self.clock, self.settings, self.workflow = runtime.clock, runtime.settings, workflow
        self.owners, self.people = owners, owners.people

    async def plan_occurrence(self, schedule: Schedule, local: str, at: Micros, owner: Person) -> Broadcast:
        """Return the broadcast that an occurrence becomes, checked like any other request.

        Raises InvalidRequest or NotAllowed.
        """
        options, request = schedule.options, request_of(schedule, at)
        late = micros(self.settings.grace) + PAST_SLACK  # the caller has just checked the grace
        planned = await self.workflow.plan(request, f"turn:{schedule.id}:{local}", owner, slack=late)
        covers, until = options.get("covers", 1), at + micros(self.settings.grace)
        planned = dataclasses.replace(planned, schedule=schedule.id, occurrence=local, covers=covers, expires_at=until)
        return binding(planned)

    async def covering(self, schedule: Schedule, planned: Broadcast) -> tuple[str, ...]:
        """Return whose approval of an earlier occurrence covers this one too.

        Nobody's does if it binds other bytes, is used up, or too few of them may still approve. Somebody who has left
        the workspace may not, even if the settings name them. Raises DirectoryUnavailable.
        """
        cover = schedule.cover
        if cover is None or cover.left < 1 or cover.digest != series_digest(planned):
            return ()
        able = await approval_rules.people_in(planned.approvers, self.people.members) - {planned.requester}
        voters = [await self.owners.person(schedule, voter) for voter in cover.voters if voter in able]
        still = tuple(voter.id for voter in voters if voter.member)
        return still if len(still) >= planned.quorum else ()

    def make(self, connection: Connection, seen: Schedule, planned: Broadcast | None, voters: tuple[str, ...]) -> None:
        schedule = schedules.find(connection, seen.workspace, seen.id, lock=True)
        if schedule.state is not ScheduleState.ACTIVE or schedule.next_local != seen.next_local:
            return  # another process made it
        if voters and schedule.cover != seen.cover:
            return  # their approval was dropped or used meanwhile: the next tick looks again
        now = self.clock()
        occurrence = Occurrence(
            workspace=schedule.workspace,
            schedule=schedule.id,
            local=schedule.next_local or "",
            at=schedule.next_at or 0,
            state=OccurrenceState.MADE,
            broadcast=planned.id if planned else None,
            changed_at=now,
        )
        if planned is None:
            new = self._open(connection, schedule, occurrence)
        elif new := occurrences.add(connection, occurrence):
            schedule = self._enter(connection, schedule, planned, voters)
        self._advance(connection, schedule, now, counted=new)

    def _enter(
        self, connection: Connection, schedule: Schedule, planned: Broadcast, voters: tuple[str, ...]
    ) -> Schedule:
        cover = schedule.cover
        if voters and cover is not None:
            entered = self.workflow.submission.enter(connection, planned, voters)
            sentence = Translatable(
                "The approval of {of} by {by} covers this one too, and {left} more after it.",
                by=mentions(voters),
                of=cover.of,
                left=cover.left - 1,
            )
            notes.add_notes(connection, entered, self.clock(), [notes.Note(sentence)])
            schedules.keep_cover(connection, schedule.workspace, schedule.id, _used(cover))
        else:
            self.workflow.submission.enter(connection, planned)
        return schedules.find(connection, schedule.workspace, schedule.id, lock=True)

    def _open(self, connection: Connection, schedule: Schedule, occurrence: Occurrence) -> bool:
        """Add an occurrence to be posted. Return False if it is not to be posted, or was there already.

        A reminder that asks for an answer is not posted again while the last one is unanswered.
        """
        now, open_one = self.clock(), occurrences.unanswered(connection, schedule) if schedule.asks else None
        if open_one is None:
            return occurrences.add(connection, dataclasses.replace(occurrence, draw_at=now))
        new = occurrences.add(connection, dataclasses.replace(occurrence, state=OccurrenceState.LEFT_OUT))
        if new:
            more: OccurrenceChanges = {"left_out": open_one.left_out + 1, "draw_at": open_one.draw_at or now}
            occurrences.touch(connection, open_one, now, **more)
        return False

    def _advance(self, connection: Connection, schedule: Schedule, now: Micros, *, counted: bool) -> None:
        """Move to the next occurrence, or to the end. `counted`: this one was made just now, and not left out."""
        left = None if schedule.remaining is None else schedule.remaining - counted
        occurrence = next(schedule.after(schedule.next_at or now), None)
        if occurrence is not None and left != 0:
            following, name = micros_of(occurrence.instant), name_of(occurrence)
            schedules.touch(connection, schedule, now, remaining=left, next_at=following, next_local=name)
            return
        if schedule.rule is not None:
            notify(connection, schedule, "finished", self._last(connection, schedule), schedule.channel, now)
        ends: ScheduleChanges = {"remaining": left, "ended": Ended.FINISHED, "next_at": None}
        schedules.move(connection, schedule, ScheduleAction.FINISH, now, **ends)

    def _last(self, connection: Connection, schedule: Schedule) -> Translatable:
        """Return the closing sentence. The last card of a recurring broadcast is sent a day later, or not at all."""
        if schedule.kind is Kind.REMINDER:
            return Translatable("That was the last one.")
        last = occurrences.latest(connection, schedule.workspace, schedule.id, 1)
        of = last[0].broadcast if last else None
        return Translatable("The last card is in the channel: {of}. There will be no more.", of=of or "—")


def request_of(schedule: Schedule, at: Micros) -> BroadcastRequest:
    """Return the request of an occurrence."""
    options = schedule.options
    return BroadcastRequest(
        workspace=schedule.workspace,
        requester=schedule.owner,
        channel=schedule.channel,
        audience=str(options["audience"]),
        purpose=Purpose(options["purpose"]),
        text=schedule.text,
        send_at=at,
        sender=options.get("sender"),
        campaign=options.get("campaign"),
        zone=schedule.zone,
    )


def _used(cover: StandingApproval) -> StandingApproval | None:
    return dataclasses.replace(cover, left=cover.left - 1) if cover.left > 1 else None


def binding(planned: Broadcast) -> Broadcast:
    return dataclasses.replace(planned, digest=digest(planned))
