"""A follow-up: a broadcast that corrects or repeats another one. It reaches the same people for the same purpose."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.errors import FieldError, InvalidRequest, NotFound
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage import broadcasts
from bot.storage.notes import Note, add_notes
from providers.base import Purpose


class FollowUps:
    """Keeps follow-ups to the audience of what they follow, since nobody asks whether one is a duplicate."""

    def __init__(self, runtime: Runtime) -> None:
        self.database = runtime.database

    async def checked(self, planned: Broadcast, id: str | None) -> str | None:
        """Return the id of what it follows. The id comes from a form: one that is not there makes no follow-up.

        Raises InvalidRequest if it goes to another audience, or for a purpose that asks less.
        """
        if id is None:
            return None
        try:
            followed = await self.database.read(lambda c: broadcasts.find(c, planned.workspace, id))
        except NotFound:
            return None
        if complaints := _complaints(planned, followed):
            raise InvalidRequest(*complaints)
        return followed.id


def _complaints(planned: Broadcast, followed: Broadcast) -> list[FieldError]:
    complaints = []
    if not _reaches_the_same(planned, followed):
        sentence = Translatable(
            "A follow-up goes to the same audience. To write to another one, start a new broadcast with `/broadcast`."
        )
        complaints.append(FieldError("audience", sentence))
    if followed.purpose is Purpose.MARKETING and planned.purpose is not Purpose.MARKETING:
        sentence = Translatable(
            "A follow-up to marketing is marketing too. To send something else, start a new broadcast with "
            "`/broadcast`."
        )
        complaints.append(FieldError("purpose", sentence))
    return complaints


def _reaches_the_same(planned: Broadcast, followed: Broadcast) -> bool:
    """By name or by recipients: the settings may have given the audience another name, or its name another list."""
    if (planned.test_of or planned.audience) == (followed.test_of or followed.audience):
        return True
    same = (planned.account, planned.vendor_audience) == (followed.account, followed.vendor_audience)
    return same and followed.test_of is None


def name_each_other(connection: Connection, follower: Broadcast) -> None:
    """Note the follow-up in both threads."""
    try:
        followed = broadcasts.find(connection, follower.workspace, follower.follows or "")
    except NotFound:
        return
    now = follower.changed_at
    add_notes(connection, follower, now, [Note(Translatable("This is a follow-up to {id}.", id=followed.id))])
    if followed.state is not State.DRAFT:
        by = {"by": people.mentions([follower.requester]), "id": follower.id}
        add_notes(connection, followed, now, [Note(Translatable("{by} asked for a follow-up: {id}.", **by))])
