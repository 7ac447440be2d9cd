"""Judges what an adapter's release came to. Only what the transport saw may mean that nothing was sent."""

from __future__ import annotations

from bot.config.adapter_calls import BROKE, UNTRUE, AdapterCalls
from bot.config.adapter_values import accepted_of, error_of
from providers.base import Accepted, Blocked, NotReady, ProviderError, Refused, Throttled, Unavailable, Uncertain
from providers.guard import ReleaseGuard

NOTHING_SENT = (Refused, Blocked, NotReady, Throttled, Unavailable)

TWICE = "It may have been sent. The adapter for {account} ({package}) tried to send it twice."
NO_IDS = "The adapter for {account} ({package}) did not return the vendor's ids, so nobody knows what it did."


class ReleaseResults:
    """Judges the releases of one account. `ours`: its adapter has no transport but the bot's own.

    `unasked`: its last release went out without asking whether it still might.
    """

    def __init__(self, calls: AdapterCalls, *, ours: bool) -> None:
        self.calls, self.ours, self.unasked = calls, ours, False

    def judge(self, outcome: object, guard: ReleaseGuard) -> Accepted | ProviderError:
        """What the adapter returned or raised, as the contract says it. The guard knows what has left."""
        self._note_asked(guard.asked or (isinstance(outcome, ProviderError) and self._nothing_left(outcome, guard)))
        if guard.blocked:
            self.calls.complain("it wanted to send twice")
            return self.lost(TWICE)
        if isinstance(outcome, Exception):
            return self._error(outcome, guard)
        accepted = accepted_of(outcome)
        if accepted is None:
            self.calls.complain("what its release returned is no Accepted with ids", got=type(outcome).__name__)
            return self.lost(NO_IDS)
        if not self.ours and not guard.took:
            self.calls.complain("it says that it was accepted, and the transport saw that it was not")
            return self.lost(UNTRUE)
        return accepted

    def lost(self, template: str) -> Uncertain:
        """An error that says nobody knows what was sent, and which adapter is to blame."""
        return Uncertain(template, account=self.calls.account, package=self.calls.package)

    def _note_asked(self, asked: bool) -> None:
        self.unasked = not asked
        if self.unasked:
            self.calls.complain("it released without asking whether it still might")

    def _error(self, error: Exception, guard: ReleaseGuard) -> ProviderError:
        if not isinstance(error, ProviderError):
            self.calls.complain("its release broke", error=type(error).__name__)
            return self.lost(BROKE)
        problem = error if error is guard.held else error_of(error)
        if not isinstance(problem, NOTHING_SENT) or self._nothing_left(error, guard):
            return problem
        self.calls.complain("it says that nothing was sent, and nobody saw that", error=type(error).__name__)
        uncertain = Uncertain(problem.template, detail=problem.detail, code=problem.code)
        uncertain.values = problem.values
        return uncertain

    def _nothing_left(self, error: ProviderError, guard: ReleaseGuard) -> bool:
        return guard.nothing_left(error, ours=self.ours)
