"""Reminds people of broadcasts that wait for them, once each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, micros
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import Action, Hold, State
from bot.scheduler import Task
from bot.storage import absences, broadcasts, keys, outbox, queue
from bot.storage.broadcast_rows import Changes
from bot.storage.cards import card_of
from bot.storage.failing_rows import alone
from bot.storage.notes import Note
from bot.storage.votes import votes_for
from bot.workflow import approval_rules
from bot.workflow.deadlines import DRAFT_NOTICE, NOTICE, describe_start, next_reminder

LOOK_AGAIN = 2 * SECOND  # at a canary that is going out
SHOWN = 1500  # characters of a draft's text in a message about it


class ApprovalReminders:
    """Posts the reminders of everything that waits. However many replicas run, each reminder is posted once."""

    def __init__(self, runtime: Runtime, misfit: Callable[[Broadcast], Translatable | None]) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.grace = runtime.settings.approval, micros(runtime.settings.grace)
        self.policies, self.misfit = runtime.policies, misfit

    async def tick(self) -> None:
        if not await self.database.read(lambda c: queue.voices_wait(c, self.clock())):
            return
        if await self.database.write(self._speak):
            self.wake(Task.PAINT)

    def _speak(self, connection: Connection) -> int:
        now = self.clock()
        rows = queue.to_voice(connection, now)
        for row in rows:
            with alone(connection, "voice", row.id, row.workspace):
                self._speak_of(connection, self._as_of_today(connection, now, row), now)
        return len(rows)

    def _speak_of(self, connection: Connection, row: Broadcast, now: Micros) -> None:
        if row.state is State.DRAFT:
            self._about_draft(connection, row, now)
        else:
            notes, again_at = self._about(connection, row, now)
            queue.voiced(connection, row, now, again_at, notes)

    def _as_of_today(self, connection: Connection, now: Micros, row: Broadcast) -> Broadcast:
        """Update its approvers, so that its card and its reminders name those who may approve it today."""
        approvers = approval_rules.approvers_today(self.approval, row)
        if row.state is not State.PENDING or approvers == row.approvers:
            return row
        return broadcasts.touch(connection, row, now, approvers=approvers) or row

    def _about(self, connection: Connection, row: Broadcast, now: Micros) -> tuple[list[Note], Micros | None]:
        """The notes to post, and when to post again. A state that does not wait has none."""
        match row.state:
            case State.PENDING:
                again_at = next_reminder(now, row.voices + 1, row.expires_at, self.approval)
                return [self._pending(connection, row, now, last=again_at is None)], again_at
            case State.HELD if row.hold is Hold.CANARY:
                return self._canary(connection, row, now)
            case State.HELD if row.hold is not Hold.HOURS or row.hold_until is None:
                again_at = next_reminder(now, row.voices + 1, row.expires_at, self.approval)
                paused = keys.paused(connection, row.workspace)
                return [_held(row, last=again_at is None, paused=paused)], again_at
            case State.SCHEDULED:
                return self._scheduled(connection, row, now)
        return [], None

    def _pending(self, connection: Connection, row: Broadcast, now: Micros, *, last: bool) -> Note:
        """The reminder for the approvers who have not answered. It goes to the thread; nobody gets a direct message."""
        votes = votes_for(connection, row)
        spent = {row.requester, row.editor, *(vote.seat for vote in votes)}
        missing = [id for id in row.approvers if id not in spent]
        values: dict[str, Value] = {"missing": max(row.quorum - len(votes), 0), **_end(row)}
        if last:
            template = (
                "This is the last reminder. Approvals still needed: {missing}. Without them, the broadcast expires "
                "{end_at}."
            )
        elif row.send_at is not None and row.send_at < now:
            last_at = row.send_at + self.grace - micros(self.approval.undo)  # an approval after that is held
            values |= {"start_at": row.send_at, "last_at": last_at}
            template = (
                "Its start time, {start_at}, has passed. If it is approved before {last_at}, it still goes out. If it "
                "is approved later, I will ask again first. Approvals still needed: {missing}. Without them, it "
                "expires {end_at}."
            )
            if now > last_at:
                template = (
                    "Its time, {start_at}, has passed. Once it is approved, I will ask again before it goes out. "
                    "Approvals still needed: {missing}. Without them, the broadcast expires {end_at}."
                )
        else:
            template = "Approvals still needed: {missing}. Without them, the broadcast expires {end_at}."
        told = approval_rules.notified(self.approval, self._with_delegates(connection, row, missing, now))
        return Note(Translatable(template, **values), mention=" ".join(told) or None)

    def _with_delegates(self, connection: Connection, row: Broadcast, missing: list[str], now: Micros) -> Iterable[str]:
        """Name the delegates of those who are away. Who is in a group is not known here, so all delegates are named."""
        away = absences.absences_at(connection, row.workspace, now) if self.approval.delegates else []
        by_person = {one.person: one.delegate for one in away}
        by_person = {id: one for id, one in by_person.items() if one not in (row.requester, row.editor)}
        delegates = by_person.values() if any(id.startswith("S") for id in missing) else ()
        return dict.fromkeys((*(by_person.get(id, id) for id in missing), *delegates))

    def _canary(self, connection: Connection, row: Broadcast, now: Micros) -> tuple[list[Note], Micros | None]:
        """Ask whoever may continue, once the canary has gone out; until then look again in a moment."""
        first = broadcasts.find_by_key(connection, row.workspace, row.canary_key)
        since = (row.expires_at or now) - micros(self.approval.expires_after)
        if first is not None and first.state in (State.SCHEDULED, State.SENDING, State.HELD):
            return [], now + max(LOOK_AGAIN, (now - since) // 10)
        values: dict[str, Value] = {"canary": row.canary or "", "id": first.id if first else "—", **_end(row)}
        template = (
            "It did not go to *{canary}* first (*{id}*), so the others wait. Edit or re-plan it to try again. Without "
            "a decision, it expires {end_at}."
        )
        if first is not None and first.state is State.UNKNOWN:
            template = (
                "It is not known whether *{canary}* got it (*{id}*), so the others wait. Say on the card of *{id}* "
                "what happened. Without a decision, this expires {end_at}."
            )
        if first is not None and first.state in (State.SENT, State.DONE):
            values["accepted_at"] = first.accepted_at or first.changed_at
            template = (
                "*{canary}* has it now (*{id}*, accepted {accepted_at}). If it looks right, press *Continue* to send "
                "it to the others, else *Stop here*. Without a decision, it expires {end_at}."
            )
        able: Iterable[str] = [row.requester]
        if row.quorum:
            others = [id for id in row.approvers if id not in (row.requester, row.editor)]
            able = approval_rules.notified(self.approval, self._with_delegates(connection, row, others, now))
        again_at = now + max(micros(self.approval.remind_after), now - since)  # each time after twice as long
        last = row.expires_at is None or again_at > row.expires_at
        return [Note(Translatable(template, **values), mention=" ".join(able) or None)], None if last else again_at

    def _scheduled(self, connection: Connection, row: Broadcast, now: Micros) -> tuple[list[Note], Micros | None]:
        start = row.due or now
        if start - now > NOTICE:  # postponed in the meantime
            return [], start - NOTICE
        if start <= now:
            return [], None
        paused = keys.paused(connection, row.workspace)
        then = describe_start(self.policies, row, start, paused=paused, misfit=self.misfit(row))
        template = "{then} Until then, press *Cancel* on its card to stop it."
        if row.in_undo_window:  # approved for "now": the button has another name
            template = "{then} Until then, press *Stop* on its card to stop it."
        return [Note(Translatable(template, then=then), mention=row.requester)], None

    # --- drafts ------------------------------------------------------------------------------------------------------

    def _about_draft(self, connection: Connection, row: Broadcast, now: Micros) -> None:
        """Message the writer directly, since a draft has no card: the day before it is discarded, and when it is."""
        if row.voices == 0:
            end, kept = now + DRAFT_NOTICE, row.id
            template = "Your draft *{id}* will be deleted {end_at}."
            done = queue.voiced(connection, row, now, end, [])
        else:
            end, kept = now, None
            template = "I kept your draft *{id}* for a week and have now deleted it: “{text}”"
            drawn: Changes = {} if card_of(connection, row) else {"draw_at": None}
            keys.forget_filling(connection, row.workspace, row.id)
            done = broadcasts.move(connection, row, Action.DISCARD, actor="clock", at=now, **drawn) is not None
        if done:
            self._message_writer(connection, row, now, template, end, kept)

    def _message_writer(
        self, connection: Connection, row: Broadcast, now: Micros, template: str, end: Micros, kept: str | None
    ) -> None:
        """Message the writer of a draft. `kept`: the id of the draft, if it can still be opened."""
        shown = row.typed if len(row.typed) <= SHOWN else f"{row.typed[:SHOWN]}…"
        sentence = Translatable(template, id=row.id, text=shown, end_at=end)
        key = f"draft:{row.id}:{row.voice_at}"
        outbox.post(connection, row.workspace, key, row.requester, sentence, None, now, draft=kept)


def _held(row: Broadcast, *, last: bool, paused: bool) -> Note:
    template = "It is still held. Send it now, re-plan it or drop it. Without a decision, it expires {end_at}."
    if paused:
        template = (
            "It is still held, and sending is paused. Once an admin resumes sending, press *Send now* to send it. "
            "Without a decision, it expires {end_at}."
        )
    elif row.hold is Hold.HOURS:
        template = "It is still held. Re-plan it or drop it. Without a decision, it expires {end_at}."
    elif row.hold is Hold.PAUSED:
        template = (
            "Sending is no longer paused, but this broadcast is still held. Send it now, re-plan it or drop it. "
            "Without a decision, it expires {end_at}."
        )
    elif last:
        template = "This is the last reminder. The broadcast expires {end_at} unless you send it now or re-plan it."
    return Note(Translatable(template, **_end(row)), mention=row.requester)


def _end(row: Broadcast) -> dict[str, Value]:
    return {"end_at": row.expires_at or 0}
