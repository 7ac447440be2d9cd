"""News of a broadcast for those who do not read the thread of its card: the requester elsewhere, and watchers.

Each decision and each end is a row of the outbox, written in the transaction that made it true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action
from bot.storage.notes import Note
from bot.storage.outbox import PendingPost
from bot.storage.sql import in_scope, insert_ignoring
from bot.storage.tables import posts

#: What the people who decide do, and what leaves the requester with something to do or nothing to hope for.
DECISIONS = frozenset(
    {
        *(Action.APPROVE, Action.BREAK_GLASS, Action.REJECT, Action.REQUEST_CHANGES, Action.EDIT, Action.WITHDRAW),
        *(Action.CANCEL, Action.STOP, Action.DROP, Action.EXPIRE, Action.HOLD, Action.SEND_NOW, Action.REPLAN),
        *(Action.LAPSE, Action.OUTGROW, Action.REFUSE, Action.LOSE_TRACK, Action.MARK_NOT_SENT),
    }
)
#: All decisions and ends.
NEWS = DECISIONS | {Action.ACCEPT, Action.PROVE, Action.MARK_SENT, Action.FINISH}


@dataclass(frozen=True)
class Followers:
    """Who hears of what. `requester`: what the requester hears; `audiences`: the watchers of one audience."""

    requester: frozenset[Action] = NEWS
    watchers: Sequence[str] = ()
    audiences: Mapping[str, Sequence[str]] | None = None

    def watching(self, broadcast: Broadcast) -> Iterator[str]:
        """Yield who hears of this broadcast without having asked for it, each once."""
        audience = broadcast.test_of or broadcast.audience
        for one in dict.fromkeys((*self.watchers, *(self.audiences or {}).get(audience, ()))):
            if one != broadcast.requester:
                yield one


def followers_of(connection: Connection) -> Followers:
    """The followers whom the settings of the connection's workspace name."""
    found: Followers | None = connection.get_execution_options().get("followers")
    return found or Followers()


def spread(
    connection: Connection, moved: Broadcast, action: Action, actor: str, at: Micros, notes: Sequence[Note]
) -> None:
    """Queue the news of a step that was just taken. Nobody hears what they did themselves."""
    followers = followers_of(connection)
    if moved.asked_in is not None or any(followers.watching(moved)):
        draw_again(connection, moved.workspace, moved.id, at)
    if action not in NEWS or not notes:
        return
    sentence = Translatable("About *{id}*: {told}", id=moved.id, told=notes[0].sentence)
    name = f"{moved.id}:{moved.version}:{action}:{at}"
    if moved.asked_in is not None:
        elsewhere = moved.asked_in[:1] in ("C", "G")  # not a direct message, nor Home or a shortcut, without a channel
        place = moved.asked_in if elsewhere else moved.requester
        wanted = action in followers.requester and actor != moved.requester
        _queue(connection, moved, f"asked:{name}", place, sentence, at, wanted=wanted)
    for watcher in followers.watching(moved):
        if watcher != actor:
            _queue(connection, moved, f"watch:{name}:{watcher}", watcher, sentence, at)


def _queue(
    connection: Connection,
    moved: Broadcast,
    key: str,
    place: str,
    sentence: Translatable,
    at: Micros,
    *,
    wanted: bool = True,
) -> None:
    row: dict[str, Any] = {
        "workspace": moved.workspace,
        "key": key,
        "place": place,
        "sentence": sentence.plain(),
        "about": moved.id,
    }
    mention = moved.requester if place == moved.asked_in else None
    row |= {"mention": mention, "at": at, "post_at": at if wanted else None, "tries": 0}
    insert_ignoring(connection, posts, [row])


def was_posted_where_asked(connection: Connection, broadcast: Broadcast, at: Micros) -> bool:
    """Whether what happened to it then is also told where it was asked for, if the settings want it told at all."""
    key = posts.c.key.like(f"asked:{broadcast.id}:%:{at}")
    found = select(posts.c.seq).where(_about(broadcast.workspace, broadcast.id), key).limit(1)
    return broadcast.asked_in is not None and connection.execute(found).first() is not None


# --- what stands where somebody is told ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anchor:
    """The first message about a broadcast in a place. It shows the latest news; all that came is in its thread.

    `told_at`: when something was last posted there. `draw_at`: since when it shows less than there is.
    """

    seq: int
    workspace: str
    about: str
    place: str
    mention: str | None
    ts: str
    told_at: Micros
    draw_at: Micros | None = None


_ANCHOR = (posts.c[name] for name in ("seq", "workspace", "about", "place", "mention", "ts", "told_at", "draw_at"))
_ANCHORS = select(*_ANCHOR).where(posts.c.told_at.is_not(None))


def anchor_of(connection: Connection, pending: PendingPost) -> Anchor | None:
    """Return what stands already about the same broadcast in the same place."""
    there = and_(_about(pending.workspace, pending.about or ""), posts.c.place == pending.place)
    row = connection.execute(_ANCHORS.where(there).order_by(posts.c.seq.desc()).limit(1)).first()
    return Anchor(*row) if row else None


def anchors_to_draw(connection: Connection, at: Micros, limit: int) -> list[Anchor]:
    """Those that show less than there is."""
    due = _ANCHORS.where(posts.c.draw_at <= at, in_scope(connection, posts)).order_by(posts.c.draw_at).limit(limit)
    return [Anchor(*row) for row in connection.execute(due)]


def latest_told(connection: Connection, anchor: Anchor) -> Translatable | None:
    """Return the latest news that was posted there."""
    there = and_(_about(anchor.workspace, anchor.about), posts.c.place == anchor.place, posts.c.ts.is_not(None))
    found = select(posts.c.sentence).where(there).order_by(posts.c.seq.desc()).limit(1)
    sentence = connection.execute(found).scalar_one_or_none()
    return Translatable.of(sentence) if sentence else None


def is_overtaken(connection: Connection, pending: PendingPost) -> bool:
    """Whether newer news for the same place waits too. The newest says where things stand."""
    newer = and_(posts.c.place == pending.place, posts.c.seq > pending.seq, posts.c.post_at.is_not(None))
    return bool(
        connection.execute(select(exists().where(_about(pending.workspace, pending.about or ""), newer))).scalar()
    )


def give_up(connection: Connection, seq: int) -> None:
    """Do not post it: it is overtaken, or nobody may read it any more."""
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=None))


def posted(connection: Connection, pending: PendingPost, anchor: Anchor | None, ts: str, at: Micros) -> None:
    """Remember what was posted: under the anchor, or as a new one."""
    connection.execute(
        update(posts)
        .where(posts.c.seq == pending.seq)
        .values(post_at=None, ts=ts, told_at=at if anchor is None else None)
    )
    if anchor is not None:
        connection.execute(update(posts).where(posts.c.seq == anchor.seq).values(told_at=at, draw_at=at))


def drawn(connection: Connection, anchor: Anchor) -> None:
    """It shows what there was when it was read."""
    same = and_(posts.c.seq == anchor.seq, posts.c.draw_at == anchor.draw_at)
    connection.execute(update(posts).where(same).values(draw_at=None))


def forget(connection: Connection, anchor: Anchor) -> None:
    """It was deleted: the next news stands for itself."""
    connection.execute(update(posts).where(posts.c.seq == anchor.seq).values(told_at=None, draw_at=None))


def draw_again(connection: Connection, workspace: str, id: str, at: Micros) -> None:
    """Draw what stands about it again, since it has moved on."""
    connection.execute(update(posts).where(_about(workspace, id), posts.c.told_at.is_not(None)).values(draw_at=at))


def _about(workspace: str, id: str) -> ColumnElement[bool]:
    return and_(posts.c.workspace == workspace, posts.c.about == id)
