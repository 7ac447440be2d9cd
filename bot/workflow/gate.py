"""Why a broadcast may not go right now. Each reason is checked before it is claimed, and again before release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import HOUR, SECOND, Micros, micros, moment
from bot.domain.errors import NotFound
from bot.domain.hours import HoldUntil, Policy, Refuse, decide
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import Hold, State
from bot.storage import broadcasts, campaigns, keys
from bot.workflow.clock_guard import ClockGuard
from providers.base import Purpose

UNWANTED = "The broadcast *{id}*, for which this goes first, was stopped or changed. Drop this one."


@dataclass(frozen=True)
class Gate:
    """Why a broadcast may not go right now. `until`: when that ends by itself, if it does."""

    hold: Hold
    sentence: Translatable
    until: Micros | None = None
    ask: tuple[str, ...] = ()  # who else decides, besides the requester


@dataclass(frozen=True)
class Gates:
    """Everything that can hold an approved broadcast."""

    settings: Settings
    accounts: Mapping[str, Account]
    policies: Mapping[str, Policy]
    guard: ClockGuard | None = None

    def closed(self, connection: Connection, row: Broadcast, now: Micros) -> Gate | None:
        """The gate that forbids sending this at this instant, if any."""
        gate = self._vendor_gate(row)
        if gate is not None:
            return gate
        gate = self._late_gate(row, now)
        if gate is None and not row.small_test:
            gate = self._cap_gate(connection, row, now)
        if gate is None and (row.is_canary or not row.small_test):  # who gets a test knows that it is one
            gate = self._hours_gate(row, now)
        gate = gate or self._canary_gate(connection, row)
        return _paused(gate) if keys.paused(connection, row.workspace) else gate

    def misfit(self, row: Broadcast) -> Translatable | None:
        """Why the current settings would hold it even once it is approved; None if they would not."""
        gate = self._vendor_gate(row) or (None if row.small_test and not row.is_canary else self._policy_gate(row))
        return gate.sentence if gate is not None else None

    def _vendor_gate(self, row: Broadcast) -> Gate | None:
        if row.mode != self.settings.mode:
            return _other_mode(row)
        provider = self.accounts.get(row.account)
        if provider is not None and provider.name != row.provider:
            template = (
                "The account {account} now belongs to {vendor}, which is not what was approved. Change the account "
                "back and then send this broadcast, or drop it."
            )
            return Gate(Hold.BLOCKED, Translatable(template, account=row.account, vendor=provider.title))
        return None

    def _policy_gate(self, row: Broadcast) -> Gate | None:
        if row.policy is None:
            return _unruled() if row.purpose is Purpose.MARKETING else None
        if row.policy in self.policies:
            return None
        template = (
            "The bot's settings have no policy {policy}. Put the policy back and then send this broadcast, or drop it."
        )
        return Gate(Hold.BLOCKED, Translatable(template, policy=row.policy))

    def _late_gate(self, row: Broadcast, now: Micros) -> Gate | None:
        if row.start_at is not None and now - row.start_at > micros(self.settings.grace):
            template = "It should have started {start_at}. Send it now, re-plan it, or drop it?"
            return Gate(Hold.LATE, Translatable(template, start_at=row.start_at))
        after, until = self.guard.doubtful if self.guard is not None else (0, 0)
        if row.due is not None and after < row.due <= until:
            template = (
                "This machine's clock jumped over {start_at}, so it may be too early or too late. Send it now, "
                "re-plan it, or drop it?"
            )
            return Gate(Hold.LATE, Translatable(template, start_at=row.due))
        return None

    def _canary_gate(self, connection: Connection, row: Broadcast) -> Gate | None:
        """Hold a broadcast until its canary has gone out and somebody continues; hold a canary of what was stopped."""
        if row.is_canary:
            return None if _still_wanted(connection, row) else Gate(Hold.BLOCKED, Translatable(UNWANTED, **_main(row)))
        if row.canary is None:
            return None
        first = broadcasts.find_by_key(connection, row.workspace, row.canary_key)
        if first is not None and first.state in (State.SENT, State.DONE):
            if row.continued_at is not None:
                return None
            template = "It went to *{canary}* first. Press *Continue* to send it to the others, or *Stop here*."
        elif first is not None and first.state in (State.SCHEDULED, State.SENDING, State.HELD):
            template = "It goes to *{canary}* first. The others wait until somebody presses *Continue*."
        elif first is not None and first.state is State.UNKNOWN:
            template = "It is not known whether *{canary}* got it. Say on the card of *{id}* what happened."
        else:
            template = "It did not go to *{canary}* first, so the others wait. Edit or re-plan it to try again."
        return Gate(Hold.CANARY, Translatable(template, canary=row.canary, id=first.id if first else "—"))

    def _cap_gate(self, connection: Connection, row: Broadcast, now: Micros) -> Gate | None:
        if campaigns.released_since(connection, row.workspace, now - HOUR) < self.settings.hourly_cap:
            return None
        sentence = Translatable(
            "The hourly cap of {cap} sends has been reached. Send it later, or drop it.", cap=self.settings.hourly_cap
        )
        return Gate(Hold.CAP, sentence, ask=self.settings.admins)

    def _hours_gate(self, row: Broadcast, now: Micros) -> Gate | None:
        gate = self._policy_gate(row)
        if gate is not None or row.policy is None:
            return gate
        verdict = decide(self.policies[row.policy], row.purpose, moment(now))
        if isinstance(verdict, HoldUntil):
            opens = int(verdict.instant.timestamp()) * SECOND
            template = (
                "This is outside the sending hours for this audience ({policy}). It will go out by itself {opens_at}."
            )
            return Gate(Hold.HOURS, Translatable(template, policy=row.policy, opens_at=opens), opens)
        if isinstance(verdict, Refuse):
            template = "The policy {policy} does not let the broadcast go out at this time. Re-plan it or drop it."
            return Gate(Hold.HOURS, Translatable(template, policy=row.policy))
        return None


def _still_wanted(connection: Connection, canary: Broadcast) -> bool:
    """Whether the broadcast that this canary tries out may still go, as it was then."""
    try:
        main = broadcasts.find(connection, canary.workspace, canary.follows or "")
    except NotFound:
        return False
    return main.canary_key == canary.key and main.state in (State.SCHEDULED, State.HELD, State.SENDING)


def _main(canary: Broadcast) -> dict[str, Value]:
    return {"id": canary.follows or "?"}


def _paused(gate: Gate | None) -> Gate:
    """The gate during a pause of all sending.

    A broadcast that only waits for sending hours goes by itself once they open and the pause ends. Any other asks.
    """
    if gate is None or gate.until is None:
        template = "Sending is paused. Once an admin resumes it, press *Send now* to send this broadcast."
        return Gate(Hold.PAUSED, Translatable(template))
    template = (
        "It is outside the sending hours for this audience ({policy}), and sending is paused. This broadcast will go "
        "out by itself once sending resumes, {opens_at} at the earliest."
    )
    return replace(gate, sentence=Translatable(template, **gate.sentence.values))


def _other_mode(row: Broadcast) -> Gate:
    """The mode is part of what was approved, and decides which vendor would get it."""
    template = "This is a training broadcast, but the bot now sends for real. Drop it, then ask for it again."
    if row.mode != "training":
        template = (
            "This is a live broadcast, but the bot is in training mode now. Send it once the bot is live again, "
            "or drop it."
        )
    return Gate(Hold.BLOCKED, Translatable(template))


def _unruled() -> Gate:
    """Marketing without sending hours is refused at the request, so this row has changed since."""
    template = "Marketing cannot go out without a policy of sending hours. Drop this broadcast, then ask for it again."
    return Gate(Hold.BLOCKED, Translatable(template))
