"""Messages that belong to no card, until they are posted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, select, update

from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import but, fitting, in_scope, insert_ignoring, read_each
from bot.storage.tables import posts


@dataclass(frozen=True)
class PendingPost:
    """A message that belongs to no card. `place`: a channel, or a person for a direct message."""

    seq: int
    workspace: str
    place: str
    sentence: Translatable
    mention: str | None
    tries: int
    at: Micros
    draft: str | None = None  # the id of the draft that its button opens
    about: str | None = None  # the broadcast whose news it is


def post(
    connection: Connection,
    workspace: str,
    key: str,
    place: str,
    sentence: Translatable,
    mention: str | None,
    at: Micros,
    draft: str | None = None,
    about: str | None = None,
) -> bool:
    """Queue a message for a channel, or for a person directly, not before `at`, in the transaction that made it true.

    `key`, unique in the workspace, names what it is about, so that it is posted once. Returns False if it was queued
    before. `mention`: ids of people, with spaces. `draft`: the id of the draft that its button opens.
    `about`: the broadcast whose news it is.
    """
    row: dict[str, Any] = {"workspace": workspace, "key": key, "place": place, "sentence": sentence.plain()}
    row |= {"mention": fitting(mention), "at": at, "post_at": at, "tries": 0, "draft": draft, "about": about}
    return insert_ignoring(connection, posts, [row]) == 1


def is_known(connection: Connection, workspace: str, key: str) -> bool:
    """Whether a message of this key was queued or left out before."""
    found = select(posts.c.seq).where(posts.c.workspace == workspace, posts.c.key == key)
    return connection.execute(found).first() is not None


def leave_out(connection: Connection, workspace: str, key: str, place: str, at: Micros) -> bool:
    """Remember that this message is not to be posted. Returns False if it is known already."""
    row: dict[str, Any] = {"workspace": workspace, "key": key, "place": place, "sentence": Translatable("").plain()}
    return insert_ignoring(connection, posts, [row | {"at": at, "post_at": None, "tries": 0}]) == 1


def posts_wait(connection: Connection, at: Micros) -> bool:
    waiting = select(posts.c.seq).where(posts.c.post_at <= at, unstumbled(connection)).limit(1)
    return connection.execute(waiting).first() is not None


def unstumbled(connection: Connection) -> ColumnElement[bool]:
    return and_(but(posts.c.seq, failing_rows_of(connection).put_off("post")), in_scope(connection, posts))


def take_post(connection: Connection, at: Micros, again_at: Micros) -> PendingPost | None:
    """Return the next message to post, put off to `again_at` so that nobody else posts it as well."""
    # in the order they were queued; `+ 0` keeps the database from walking the key past all that were posted
    due = select(posts).where(posts.c.post_at <= at, unstumbled(connection)).order_by(posts.c.seq + 0).limit(1)
    taken = read_each(connection, due.with_for_update(skip_locked=True), _to_post, "post", "seq")
    if not taken:
        return None
    put_off_post(connection, taken[0].seq, again_at)
    return taken[0]


def _to_post(row: RowMapping) -> PendingPost:
    sentence = Translatable.of(row["sentence"])
    names = ("seq", "workspace", "place", "mention", "tries", "at", "draft", "about")
    return PendingPost(sentence=sentence, **{name: row[name] for name in names})


def put_off_post(connection: Connection, seq: int, again_at: Micros) -> None:
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=again_at))


def post_made(connection: Connection, seq: int, ts: str) -> None:
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=None, ts=ts))


def post_failed(connection: Connection, seq: int, again_at: Micros | None) -> None:
    """Try again later; None gives it up."""
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=again_at, tries=posts.c.tries + 1))
