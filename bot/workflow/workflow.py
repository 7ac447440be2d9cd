"""Puts the modules of this package together."""

from __future__ import annotations

from collections.abc import Callable

from bot.config.runtime import Runtime
from bot.domain.broadcast import new_id
from bot.domain.people import Directory
from bot.workflow.approval_validity import ApprovalValidity
from bot.workflow.approvals import Approvals
from bot.workflow.approvers import Approvers
from bot.workflow.audiences import Audiences
from bot.workflow.canaries import Canaries
from bot.workflow.card_changes import CardChanges
from bot.workflow.decisions import Decisions
from bot.workflow.editing import Editing
from bot.workflow.expiry import Expiry
from bot.workflow.follow_ups import FollowUps
from bot.workflow.gate import Gates
from bot.workflow.kill_switch import KillSwitch, Pauses
from bot.workflow.learned_sizes import LearnedSizes
from bot.workflow.own_settings import WorkspaceSettings
from bot.workflow.permissions import Permissions
from bot.workflow.planning import Planning
from bot.workflow.previews import Previews
from bot.workflow.questions import Questions
from bot.workflow.reviews import Reviews
from bot.workflow.series_approval import SeriesApproval
from bot.workflow.submission import Submission
from bot.workflow.template_approval import TemplateApproval
from bot.workflow.template_use import TemplateUse
from bot.workflow.templates import Templates


class Workflow:
    """What people and the clock do to a broadcast: the parts of the workflow, and the most used methods."""

    def __init__(
        self,
        runtime: Runtime,
        audiences: Audiences,
        people: Directory,
        switch: KillSwitch,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self.database, self.audiences = runtime.database, audiences
        self.approvers = Approvers(runtime, audiences, people)
        self.permissions = Permissions(runtime, self.approvers)
        self.series = SeriesApproval(runtime)
        self.validity = ApprovalValidity(runtime, audiences, self.approvers, self.series)
        self.canaries = Canaries(runtime, audiences, make_id)
        card_changes = CardChanges(audiences, runtime.clock)
        self.approvals = Approvals(runtime, audiences, self.approvers, self.series, card_changes, self.canaries)
        self.questions = Questions(runtime, audiences)
        self.planning, follow_ups = Planning(runtime, audiences, self.approvers, make_id), FollowUps(runtime)
        self.previews = Previews(runtime, self.planning, follow_ups)
        self.submission = Submission(
            runtime, self.planning, self.permissions, self.approvals, self.questions, follow_ups
        )
        self.templates = Templates(runtime, audiences)
        self.template_approval = TemplateApproval(runtime, audiences, self.previews, self.permissions, self.templates)
        self.template_use = TemplateUse(runtime, audiences, self.approvals, self.template_approval)
        self.editing = Editing(runtime, self.planning, self.approvals, self.questions, follow_ups)
        gates = Gates(audiences.settings, audiences.providers, audiences.policies)
        self.decisions = Decisions(
            runtime, audiences, self.permissions, self.approvals, self.validity, self.editing, gates
        )
        self.own_settings = WorkspaceSettings(runtime, self.permissions, people)
        self.reviews = Reviews(runtime, self.permissions)
        self.pauses = Pauses(runtime, self.permissions, switch)
        self.sizes = LearnedSizes(runtime, audiences, self.approvals)
        self.expiry = Expiry(runtime)
        self.submit, self.plan, self.find = self.submission.submit, self.planning.plan, self.decisions.find
        self.act, self.may, self.withdraw = self.decisions.act, self.permissions.may, self.approvals.withdraw
        self.pause_all, self.expire = self.pauses.pause_all, self.expiry.expire
