"""Everything between a request and the vendor's answer, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.config.runtime import Runtime
from bot.domain.broadcast import new_id
from bot.domain.people import Directory
from bot.recurring.reminders import Reminders
from bot.sending.dispatcher import Dispatcher
from bot.sending.tracker import Tracker
from bot.workflow.approval_reminders import ApprovalReminders
from bot.workflow.audience_cache import AudienceCache
from bot.workflow.audiences import Audiences
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow


@dataclass(frozen=True)
class Core:
    """Everything between a request and the vendor's answer; Slack and the web are built on it."""

    runtime: Runtime
    audiences: Audiences
    workflow: Workflow
    dispatcher: Dispatcher
    tracker: Tracker
    approval_reminders: ApprovalReminders
    reminders: Reminders


def build_core(
    runtime: Runtime,
    people: Directory,
    *,
    placeholders: frozenset[str] = frozenset(),
    make_id: Callable[[], str] = new_id,
) -> Core:
    """Put the core together. `placeholders`: those of every vendor; `make_id`: makes the ids of new broadcasts."""
    audience_cache = AudienceCache(runtime.providers, runtime.settings.audiences, runtime.crowded)
    audiences = Audiences(runtime.settings, runtime.providers, runtime.policies, audience_cache, placeholders)
    switch = KillSwitch()
    workflow = Workflow(runtime, audiences, people, switch, make_id)
    return Core(
        runtime=runtime,
        audiences=audiences,
        workflow=workflow,
        dispatcher=Dispatcher(runtime, workflow, switch),
        tracker=Tracker(runtime),
        approval_reminders=ApprovalReminders(runtime, audiences.misfit),
        reminders=Reminders(runtime, workflow, people),
    )
