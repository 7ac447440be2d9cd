"""Why something was not done, as sentences for the person who asked."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable


@dataclass(frozen=True)
class FieldError:
    """Why a request cannot be taken, and under which field of the form it belongs."""

    field: str
    sentence: Translatable


class InvalidRequest(Exception):
    """The request cannot be taken as it stands. Nothing is stored but the audit."""

    def __init__(self, *complaints: FieldError) -> None:
        super().__init__(", ".join(complaint.field for complaint in complaints))
        self.complaints = complaints


class NotAllowed(Exception):
    """This person may not do this; the sentence says who may."""

    def __init__(self, template: str, **values: str | int | Translatable) -> None:
        super().__init__(template)
        self.sentence = Translatable(template, **values)


class StaleVersion(Exception):
    """The row has moved on since the person last saw it; `broadcast` is how it stands now."""

    def __init__(self, broadcast: Broadcast) -> None:
        super().__init__(broadcast.state)
        self.broadcast = broadcast


class CardChanged(Exception):
    """What bears on the decision has changed since the card was drawn; `changes` say to what, if that is known."""

    def __init__(self, broadcast: Broadcast, changes: tuple[Translatable, ...] = ()) -> None:
        super().__init__(broadcast.id)
        self.broadcast, self.changes = broadcast, changes


class NotFound(Exception):
    """No broadcast of this id in this workspace."""


class NotUnderstood(NotFound):
    """It is there, and a newer version of the bot has written it in a way that this one cannot read."""


class CannotStart(Exception):
    """The bot cannot run as things are; the message is one sentence with the fix."""
