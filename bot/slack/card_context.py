"""What a card shows in addition to its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import micros
from bot.domain.lifecycle import Hold, State
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks.card_facts import WAITING, CardContext
from bot.storage.votes import Vote
from bot.workflow.deadlines import describe_start
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow


class CardContexts:
    """Gathers what a card shows, as things stand when it is drawn."""

    def __init__(self, runtime: Runtime, workflow: Workflow, switch: KillSwitch) -> None:
        self.database, self.clock, self.providers = runtime.database, runtime.clock, runtime.providers
        self.policies, self.settings, self.approval = runtime.policies, runtime.settings, runtime.settings.approval
        self.grace, self.workflow, self.audiences, self.switch = (
            micros(runtime.settings.grace),
            workflow,
            workflow.audiences,
            switch,
        )

    async def of(self, broadcast: Broadcast, votes: list[Vote]) -> CardContext:
        """Return what a card shows in addition to its row."""
        held, refusal = broadcast.state is State.HELD, None
        if held:
            refusal = await self.database.read(lambda c: self.workflow.decisions.why_not_now(c, broadcast))
        duplicate = None
        if broadcast.state is State.PENDING:
            duplicate = await self.database.read(lambda c: self.workflow.questions.duplicate_of(c, broadcast))
        counterpart = None
        if broadcast.hold is Hold.CANARY or (broadcast.is_canary and broadcast.state in WAITING):
            counterpart = await self.database.read(lambda c: self.workflow.canaries.counterpart(c, broadcast))
        provider = self.providers.get(broadcast.account)
        delegates: Mapping[str, Sequence[str]] = {}
        if broadcast.state is State.PENDING:
            with suppress(DirectoryUnavailable):  # the card must be drawn all the same
                delegates = await self.workflow.approvers.absences.delegates(
                    self.workflow.approvers.as_of_today(broadcast)
                )
        policy = self.policies.get(broadcast.policy or "")
        drawn_at = self.clock()
        start = max(broadcast.send_at or 0, broadcast.due or 0, drawn_at)
        outlook = self.audiences.outlook(broadcast, start) if broadcast.state in WAITING else None
        paused = broadcast.workspace in self.switch.paused
        misfit = self.audiences.misfit(broadcast) if broadcast.state in (State.PENDING, State.SCHEDULED) else None
        return CardContext(
            votes=tuple(votes),
            vendor=provider.title if provider else broadcast.provider,
            legacy=provider.legacy if provider else None,
            verdict=outlook.verdict if outlook else None,
            opens=outlook.opens if outlook else None,
            training=broadcast.mode == "training",
            zone=policy.timezone if policy and (policy.country or policy.timezone != "UTC") else "",
            undo=int(self.approval.undo.total_seconds()),
            reaction=next(iter(self.approval.approve_reactions), None),
            paused=paused,
            then=describe_start(self.policies, broadcast, start, paused=paused, misfit=misfit)
            if broadcast.due
            else None,
            misfit=misfit,
            now=drawn_at,
            grace=self.grace,
            refusal=refusal,
            sender=provider.default_sender if provider else None,
            duplicate=duplicate,
            counterpart=counterpart,
            notify=self.approval.notify,
            glass=self.workflow.decisions.breaking_glass.is_offered(broadcast),
            delegates=delegates,
            asks_first=held and self.workflow.validity.asks_first(broadcast, len(votes)),
        )
