"""When a waiting broadcast sends reminders, expires or starts."""

from __future__ import annotations

from collections.abc import Mapping

from bot.config.settings import ApprovalSettings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import HOUR, SECOND, Micros, backoff, micros, moment
from bot.domain.hours import HoldUntil, Policy, Refuse, decide
from bot.domain.i18n import Translatable
from bot.storage.broadcast_rows import Changes

DAY = 24 * HOUR
NOTICE = 15 * 60 * SECOND  # before a start that was far away when it was planned
FAR = HOUR
LAST_WORD = HOUR  # the last reminder comes this long before the end
DRAFT_KEPT = 7 * DAY
DRAFT_NOTICE = DAY
FURTHEST = 10_000 * DAY
NOT_THEN = (
    "The sending hours for this audience do not allow its start time, so it will wait until somebody re-plans it."
)
PAUSED_ASKS = (
    "All sending is paused. If it is still paused then, this broadcast will be held, and I will ask what to do."
)
PAUSED_WAITS = "All sending is paused. If it is still paused then, this broadcast starts once sending resumes."


def asks_again_at(at: Micros, approval: ApprovalSettings) -> Micros:
    """When a broadcast that waits for people from `at` on sends its first reminder."""
    return at + micros(approval.remind_after)


def asks_until(at: Micros, approval: ApprovalSettings) -> Micros:
    """When a broadcast that waits for people from `at` on expires."""
    return at + micros(approval.expires_after)


def asks(at: Micros, approval: ApprovalSettings) -> Changes:
    """The changes that make a broadcast wait for people from `at` on."""
    return {"voice_at": asks_again_at(at, approval), "expires_at": asks_until(at, approval)}


def next_reminder(now: Micros, number: int, ends_at: Micros | None, approval: ApprovalSettings) -> Micros | None:
    """When to remind again after `number` reminders: less and less often, and once before the end. None: not again."""
    later = now + backoff(number, micros(approval.remind_after), FURTHEST)
    if ends_at is None or later <= ends_at - LAST_WORD:
        return later
    enough = ends_at - LAST_WORD - now >= micros(approval.remind_after)
    return ends_at - LAST_WORD if enough else None


def after_undo(now: Micros, send_at: Micros | None, approval: ApprovalSettings) -> Micros:
    """When a broadcast starts that was let go at `now`: after the undo window, and not before its own time."""
    return max(now + micros(approval.undo), send_at or 0)


def before_start(start: Micros, at: Micros) -> Micros | None:
    """When to tell the requester that a start planned at `at` is near; None if it starts soon anyway."""
    return start - NOTICE if start - at > FAR else None


def draft_notice(at: Micros) -> Micros:
    """When to warn the writer of a draft kept since `at` that it will soon be discarded."""
    return at + DRAFT_KEPT - DRAFT_NOTICE


def draft_end(row: Broadcast) -> Micros:
    """When a draft is discarded, unless somebody submits it first."""
    return (row.voice_at or row.changed_at) + (DRAFT_NOTICE if row.voices == 0 else 0)


def policy_for(policies: Mapping[str, Policy], row: Broadcast) -> Policy:
    """The policy whose hours it keeps. Without one, or as a test for few people, it may go at any hour."""
    return Policy() if row.small_test and not row.is_canary else policies.get(row.policy or "", Policy())


def describe_start(
    policies: Mapping[str, Policy], row: Broadcast, due: Micros, *, paused: bool, misfit: Translatable | None = None
) -> Translatable:
    """What will happen at an approved start, given the sending hours and a pause of all sending.

    `misfit`: why the settings hold it.
    """
    if misfit is not None:
        return Translatable("It will be held: {why}", why=misfit)
    if row.canary is not None and row.continued_at is None:
        template = "It starts {start_at}, for *{canary}* first. The others get it once somebody presses *Continue*."
        return Translatable(template, start_at=due, canary=row.canary)
    verdict = decide(policy_for(policies, row), row.purpose, moment(due))
    sentence, later = Translatable("It starts {start_at}.", start_at=due), PAUSED_ASKS
    if isinstance(verdict, Refuse):
        return Translatable(NOT_THEN)
    if isinstance(verdict, HoldUntil):
        template = "The sending hours for this audience hold it until {opens_at}. Then it starts by itself."
        sentence, later = Translatable(template, opens_at=int(verdict.instant.timestamp()) * SECOND), PAUSED_WAITS
    return Translatable("{told} {later}", told=sentence, later=Translatable(later)) if paused else sentence
