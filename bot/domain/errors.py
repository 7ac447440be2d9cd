"""Why something was not done, as sentences for the person who asked."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, Value
from bot.when.refusals import NotATime


@dataclass(frozen=True)
class FieldError:
    """Why a request cannot be accepted, and which field of the form shows it."""

    field: str
    sentence: Translatable


def sentence_of(error: NotATime) -> Translatable:
    """Why a time was not understood, with examples in the reader's language."""
    values: dict[str, Value] = {**error.values, "examples": Translatable(error.values["examples"])}
    return Translatable(error.template, **values)


class InvalidRequest(Exception):
    """The request cannot be accepted as it is. Nothing is stored but the audit."""

    def __init__(self, *complaints: FieldError) -> None:
        super().__init__(", ".join(complaint.field for complaint in complaints))
        self.complaints = complaints


class NotAllowed(Exception):
    """This person may not do this; the sentence says who may."""

    def __init__(self, template: str, **values: str | int | Translatable) -> None:
        super().__init__(template)
        self.sentence = Translatable(template, **values)


class NotAMember(NotAllowed):
    """The person is no full member of the workspace, so nothing here is for them."""


class StaleVersion(Exception):
    """The row has changed since the person last saw it; `broadcast` is the current row.

    `by`: who changed it last, once somebody has looked that up.
    """

    def __init__(self, broadcast: Broadcast) -> None:
        super().__init__(broadcast.state)
        self.broadcast = broadcast
        self.by: str | None = None


class CardChanged(Exception):
    """Facts that matter to the decision have changed since the card was drawn; `changes` are the new ones, if known."""

    def __init__(self, broadcast: Broadcast, changes: tuple[Translatable, ...] = ()) -> None:
        super().__init__(broadcast.id)
        self.broadcast, self.changes = broadcast, changes


class NotFound(Exception):
    """No broadcast with this id in this workspace."""


class NotUnderstood(NotFound):
    """It exists, but a newer version of the bot has written it in a way that this one cannot read."""


class CannotStart(Exception):
    """The bot cannot start; the message is one sentence with the fix."""


class NotInstalled(Exception):
    """Slack did not hand over an installation. The message is a word for the log."""
