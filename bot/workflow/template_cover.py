"""Whether the approval of a template covers a broadcast that fills it in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bot.domain import slots
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import Clock
from bot.domain.errors import FieldError
from bot.domain.hours import Allow
from bot.domain.i18n import Translatable
from bot.domain.schedule import series_digest
from bot.storage.templates import Template
from bot.workflow.audiences import Audiences
from bot.workflow.template_approval import TemplateApproval, approval_digest


@dataclass(frozen=True)
class Filled:
    """A template with the values of its slots. `complaints`: what is wrong with them."""

    template: Template
    slots: tuple[slots.Slot, ...]
    values: Mapping[str, str]
    complaints: tuple[FieldError, ...]

    @property
    def text(self) -> str:
        """The text with its slots filled. Those without a value stay as they are written."""
        return slots.fill(self.template.text, self.values)


class TemplateCover:
    """Compares a broadcast, or a form that is still being filled in, with what was approved."""

    def __init__(self, clock: Clock, audiences: Audiences, approved: TemplateApproval) -> None:
        self.clock, self.audiences, self.approved = clock, audiences, approved

    def departure(self, seen: Template, request: BroadcastRequest) -> Translatable | None:
        """Why the approval of a template does not cover this request, whatever fills its slots; None if it does."""
        asked = (request.audience, request.purpose, request.sender, request.campaign)
        if asked != (seen.audience, seen.purpose, seen.sender, seen.campaign):
            return Translatable(
                "Its approval is for another audience, purpose, sender or campaign, so the broadcast is asked about as "
                "usual."
            )
        if request.canary is not None:
            template = "*{canary}* gets it first, which its approval does not cover, so it is asked about as usual."
            return Translatable(template, canary=request.canary)
        planned = self.approved.previews.outline(request)
        if self._has_outgrown(planned):
            return Translatable("The audience has more people than its approval covers, so it is asked about as usual.")
        if not self._is_at_a_usual_hour(planned):
            return Translatable("It would start outside the sending hours, so it is asked about as usual.")
        return None

    def is_as_approved(self, filled: Filled, planned: Broadcast) -> bool:
        """Whether this is what they approved: the wording, whom it reaches, how many at most, and at a usual hour."""
        template, example = filled.template, self.approved.example(filled.template)
        if example is None or template.approved_digest != approval_digest(template, example) or filled.complaints:
            return False
        if (planned.typed, planned.campaign, planned.bound) != (filled.text, example.campaign, example.bound):
            return False
        if series_digest(dataclasses.replace(example, text=planned.text)) != series_digest(planned):
            return False
        return not self._has_outgrown(planned) and self._is_at_a_usual_hour(planned)

    def _has_outgrown(self, planned: Broadcast) -> bool:
        size = self.audiences.audience_cache.size_of(planned.audience)
        return size is not None and size > (planned.bound or 0)

    def _is_at_a_usual_hour(self, planned: Broadcast) -> bool:
        return isinstance(self.audiences.outlook(planned, max(planned.send_at or 0, self.clock())).verdict, Allow)
