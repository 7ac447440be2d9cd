"""Every table, as the newest migration leaves it. Instants are integer microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0017"  # the schema this code was written for; a test ties it to the newest migration
SHAPE = 1  # the newest row format that this code understands; rows of a higher shape are left alone

metadata = MetaData()

broadcasts = Table(
    "broadcasts",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(16)),
    Column("hold", String(16)),
    Column("hold_until", BigInteger),
    Column("mode", String(16), nullable=False),
    Column("key", String(255), nullable=False),
    Column("requester", String(32), nullable=False),
    Column("editor", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("audience", String(255), nullable=False),
    Column("account", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("target", String(255), nullable=False),
    Column("everyone", Boolean, nullable=False),
    Column("subscribers", JSON, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("typed", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("sender", String(64)),
    Column("campaign", String(255)),
    Column("policy", String(64)),
    Column("send_at", BigInteger),
    Column("zone", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer),
    Column("unnamed", Integer),  # recipients without a name, if the vendor reports it
    Column("quoted", String(64)),  # the cost that the vendor quoted before the approval
    Column("bound", Integer),
    Column("quorum", Integer, nullable=False),
    Column("approvers", JSON, nullable=False),
    Column("start_at", BigInteger),  # when it was to start; lateness counts from here
    Column("due", BigInteger),  # when it may be tried next
    Column("expires_at", BigInteger),
    Column("approved_at", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("owner", String(64)),
    Column("lease_until", BigInteger),
    Column("stage_at", BigInteger),  # when it may be prepared again after a passing error; None: at any time
    Column("staged", JSON(none_as_null=True)),
    Column("ids", JSON, nullable=False),
    Column("failure", JSON(none_as_null=True)),
    Column("counts", JSON, nullable=False),
    Column("accepted_at", BigInteger),
    Column("look_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("progress_at", BigInteger),  # when the thread may get a note about a new status
    Column("draw_at", BigInteger),  # the card shows an older revision; when it may be drawn again
    Column("ruled_at", BigInteger),  # for which start its approvers were named, if not as it was asked for
    Column("voice_at", BigInteger),  # when the thread gets a note that it still waits, or starts soon
    Column("voices", Integer, nullable=False, server_default="0"),  # how many such notes since it entered this state
    Column("schedule", String(16)),  # the recurring broadcast of which this is one occurrence
    Column("occurrence", String(32)),  # which one: its wall clock time in the schedule's zone
    Column("covers", Integer, nullable=False, server_default="1"),  # occurrences that one approval covers
    Column("covered_by", String(16)),  # the occurrence whose approval covers this one
    Column("test_of", String(255)),  # the audience whose text it tries out, if it is a test
    Column("follows", String(16)),  # the broadcast that it corrects or repeats
    Column("canary", String(255)),  # the audience that gets it first
    Column("continued_at", BigInteger),  # when somebody decided that the others get it too
    Column("marketing_until", BigInteger),  # when an edit made it transactional
    Column("glass_by", String(32)),  # who let it go without approval
    Column("glass_reason", Text),
    Column("glass_at", BigInteger),
    Column("glass_digest", String(64)),  # exactly what they let go
    Column("review_at", BigInteger),  # when approvers are next reminded to review that
    Column("reviewed_by", String(32)),
    Column("reviewed_at", BigInteger),
    Column("review_comment", Text),
    Column("asked_in", String(32)),  # the channel where it was typed, if its card is in another
    Column("finals", Integer, nullable=False, server_default="0"),  # deliveries whose status is final
    Column("text_removed_at", BigInteger),  # when what was typed was removed: it was too old, or an operator erased it
    Column("shape", Integer, nullable=False, server_default="1"),  # see SHAPE
    UniqueConstraint("workspace", "key", name="uq_broadcasts_key"),
)
#: The states in which something may still happen.
LIVING = "state IN ('draft', 'pending', 'scheduled', 'held', 'sending', 'unknown', 'sent')"
#: Those in which it may still ring a phone that it has not rung yet.
GOING = "state IN ('pending', 'scheduled', 'held', 'sending', 'unknown')"
#: Those in which nothing happens any more.
ENDED = "state IN ('done', 'failed', 'rejected', 'cancelled', 'expired')"


def _index(name: str, *columns: Column[Any], where: str) -> None:
    """Add an index over the rows for which `where` holds. Only statements with the same words use it."""
    Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


# A tick finds its rows among the few that can match, however many others there are.
_index("ix_broadcasts_due", broadcasts.c.due, broadcasts.c.account, where="state = 'scheduled'")
_index("ix_broadcasts_draw", broadcasts.c.draw_at, where="draw_at IS NOT NULL")
_index("ix_broadcasts_progress", broadcasts.c.progress_at, where="progress_at IS NOT NULL")
_index("ix_broadcasts_voice", broadcasts.c.voice_at, where="voice_at IS NOT NULL")
_index("ix_broadcasts_review", broadcasts.c.review_at, where="review_at IS NOT NULL")
_index("ix_broadcasts_living", broadcasts.c.state, where=LIVING)
_index("ix_broadcasts_look", broadcasts.c.state, broadcasts.c.look_at, where="look_at IS NOT NULL")
_index("ix_broadcasts_sending", broadcasts.c.changed_at, where="state = 'sending'")
_index("ix_broadcasts_held", broadcasts.c.workspace, broadcasts.c.hold, where="state = 'held'")
_index("ix_broadcasts_lease", broadcasts.c.lease_until, where="lease_until IS NOT NULL")
_index("ix_broadcasts_staged", broadcasts.c.account, where="state = 'scheduled' AND staged IS NOT NULL")
_index("ix_broadcasts_expires", broadcasts.c.state, broadcasts.c.expires_at, where="expires_at IS NOT NULL")
_index("ix_broadcasts_window", broadcasts.c.hold_until, where="state = 'held' AND hold_until IS NOT NULL")
_index(
    "ix_broadcasts_unsized",
    broadcasts.c.account,
    broadcasts.c.look_at,
    where="size IS NULL AND state IN ('pending', 'scheduled')",
)
Index("ix_broadcasts_requester", broadcasts.c.workspace, broadcasts.c.requester, broadcasts.c.created_at)
Index(
    "ix_broadcasts_recipients",
    broadcasts.c.workspace,
    broadcasts.c.account,
    broadcasts.c.target,
    broadcasts.c.created_at,
)
_index(
    "ix_broadcasts_going",
    broadcasts.c.workspace,
    broadcasts.c.account,
    broadcasts.c.target,
    broadcasts.c.created_at,
    where=GOING,
)
# What a board shows, in its order: what waits, what goes out, and one person's drafts.
_index(
    "ix_broadcasts_board",
    *(broadcasts.c.workspace, broadcasts.c.state, broadcasts.c.changed_at, broadcasts.c.id),
    where=LIVING,
)
_index("ix_broadcasts_planned", broadcasts.c.workspace, broadcasts.c.due, broadcasts.c.id, where="state = 'scheduled'")
_index(
    "ix_broadcasts_drafts",
    *(broadcasts.c.workspace, broadcasts.c.requester, broadcasts.c.changed_at, broadcasts.c.id),
    where="state = 'draft'",
)
Index("ix_broadcasts_changed", broadcasts.c.workspace, broadcasts.c.changed_at)
_index("ix_broadcasts_ended", broadcasts.c.changed_at, broadcasts.c.workspace, broadcasts.c.id, where=ENDED)


def _of_broadcast() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["workspace", "broadcast"], ["broadcasts.workspace", "broadcasts.id"])


votes = Table(
    "votes",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("approver", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("way", String(16), nullable=False),  # button | reaction
    Column("at", BigInteger, nullable=False),
    Column("stands_for", String(32)),  # the approver who was away, and in whose place it was given
    _of_broadcast(),
)

absences = Table(
    "absences",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("person", String(32), primary_key=True),
    Column("delegate", String(32), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16)),
    Column("version", Integer),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("before", String(16)),
    Column("after", String(16)),
    Column("digest", String(64)),
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
)
Index("ix_audit_broadcast", audit.c.workspace, audit.c.broadcast, audit.c.seq)

seals = Table(
    "seals",
    metadata,
    Column("seq", Integer, ForeignKey("audit.seq"), primary_key=True, autoincrement=False),
    Column("workspace", String(32), nullable=False),
    Column("place", Integer, nullable=False),  # in the chain of its workspace, from 1 on
    Column("salt", String(32)),  # of the reason; removed together with it, so that nobody can guess it
    Column("reason_digest", String(64)),
    Column("hash", String(64), nullable=False),  # of the row, and of the seal before it
    UniqueConstraint("workspace", "place", name="uq_seals_place"),
)

cards = Table(
    "cards",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("channel", String(32), nullable=False),
    Column("ts", String(32), nullable=False),
    Column("drawn", Integer, nullable=False),
    Column("facts", JSON(none_as_null=True)),  # the facts it showed that an approval depends on
    UniqueConstraint("workspace", "channel", "ts", name="uq_cards_ts"),
    _of_broadcast(),
)

notes = Table(
    "notes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    Column("sentence", JSON, nullable=False),
    Column("mention", String(255)),  # who is named at its head
    Column("aloud", Boolean, nullable=False),  # shown in the channel too: only for an end
    Column("at", BigInteger, nullable=False),
    Column("post_at", BigInteger),  # when it may be (re)tried; none once it is posted
    Column("tries", Integer, nullable=False),
    Column("ts", String(32)),
    _of_broadcast(),
)
Index("ix_notes_broadcast", notes.c.workspace, notes.c.broadcast)
Index(
    "ix_notes_post",
    notes.c.post_at,
    sqlite_where=text("post_at IS NOT NULL"),
    postgresql_where=text("post_at IS NOT NULL"),
)

dispatches = Table(
    "dispatches",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("dispatch", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("released_at", BigInteger),
    _of_broadcast(),
)
Index("ix_dispatches_released", dispatches.c.workspace, dispatches.c.released_at)

vendor_ids = Table(
    "vendor_ids",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    _of_broadcast(),
)
Index("ix_vendor_ids_broadcast", vendor_ids.c.workspace, vendor_ids.c.broadcast)

deliveries = Table(
    "deliveries",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("recipient", String(64), primary_key=True),  # keyed hash; "" where the id alone says who
    Column("kind", String(16), primary_key=True),  # delivery | reply | opt_out
    Column("workspace", String(32)),  # none: set aside until its owner is known
    Column("broadcast", String(16)),
    Column("status", String(16), nullable=False),
    Column("word", String(64), nullable=False),
    Column("final", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
)
Index("ix_deliveries_broadcast", deliveries.c.workspace, deliveries.c.broadcast)
_index("ix_deliveries_aside", deliveries.c.at, where="workspace IS NULL")

leftovers = Table(
    "leftovers",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    Column("staged", JSON, nullable=False),
    Column("try_at", BigInteger),  # none: given up
    Column("tries", Integer, nullable=False),
    _of_broadcast(),
)
_index("ix_leftovers_try", leftovers.c.try_at, where="try_at IS NOT NULL")

seen = Table(
    "seen",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
Index("ix_seen_at", seen.c.at)

kept = Table(
    "kept",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),  # broadcast | reminder
    Column("state", String(16), nullable=False),  # active | paused | ended
    Column("ended", String(32)),  # why it ended
    Column("key", String(255), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("typed", Text, nullable=False),  # the time or recurrence as it was typed
    Column("rule", Text),  # the recurrence as the code reads it; none: once
    Column("zone", String(64), nullable=False),
    Column("closed", String(16), nullable=False),  # on holidays: keep | skip | shift | before
    Column("calendar", JSON(none_as_null=True)),  # whose holidays: {"calendar": "FR", "subdivision": "57"}
    Column("text", Text, nullable=False),
    Column("options", JSON, nullable=False),  # what only one kind has
    Column("next_at", BigInteger),  # when the next occurrence is
    Column("next_local", String(32)),  # its wall clock time in the zone: its name
    Column("paused_until", BigInteger),
    Column("until", BigInteger),  # no occurrence after this
    Column("remaining", Integer),  # how many more at most
    Column("cover", JSON(none_as_null=True)),  # an approval that also covers later occurrences
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("shape", Integer, nullable=False, server_default="1"),
    UniqueConstraint("workspace", "key", name="uq_schedules_key"),
)
Index(
    "ix_schedules_next",
    schedules.c.kind,
    schedules.c.next_at,
    sqlite_where=text("state = 'active'"),
    postgresql_where=text("state = 'active'"),
)
Index("ix_schedules_state", schedules.c.workspace, schedules.c.state)
_index("ix_schedules_board", schedules.c.workspace, schedules.c.created_at, schedules.c.id, where="state <> 'ended'")
Index(
    "ix_schedules_paused",
    schedules.c.paused_until,
    sqlite_where=text("state = 'paused'"),
    postgresql_where=text("state = 'paused'"),
)


def _of_schedule() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["workspace", "schedule"], ["schedules.workspace", "schedules.id"])


occurrences = Table(
    "occurrences",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("schedule", String(16), primary_key=True),
    Column("local", String(32), primary_key=True),  # wall clock time in the schedule's zone: one row for all processes
    Column("at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # made | open | done | snoozed | left_out | missed
    Column("version", Integer, nullable=False),
    Column("broadcast", String(16)),
    Column("channel", String(32)),
    Column("ts", String(32)),  # the timestamp of its post
    Column("draw_at", BigInteger),  # when its post is to be made or drawn again
    Column("tries", Integer, nullable=False),
    Column("snoozed_until", BigInteger),
    Column("by", String(32)),  # who answered
    Column("left_out", Integer, nullable=False),  # later ones not posted while this one is unanswered
    Column("changed_at", BigInteger, nullable=False),
    _of_schedule(),
)
Index(
    "ix_occurrences_draw",
    occurrences.c.draw_at,
    sqlite_where=text("draw_at IS NOT NULL"),
    postgresql_where=text("draw_at IS NOT NULL"),
)

Index("ix_occurrences_ts", occurrences.c.workspace, occurrences.c.channel, occurrences.c.ts)

posts = Table(
    "posts",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(32), nullable=False),
    Column("key", String(255), nullable=False),  # what it is about, so that it is posted once
    Column("place", String(32), nullable=False),  # a channel, or a person for a direct message
    Column("sentence", JSON, nullable=False),
    Column("mention", String(255)),
    Column("at", BigInteger, nullable=False),
    Column("post_at", BigInteger),  # when it may be (re)tried; none once it is posted
    Column("tries", Integer, nullable=False),
    Column("ts", String(32)),
    Column("draft", String(16)),  # the draft that its button opens
    Column("about", String(16)),  # the broadcast whose news it is
    Column("told_at", BigInteger),  # when something was last posted in its thread; none: it has none
    Column("draw_at", BigInteger),  # since when it shows less than there is
    UniqueConstraint("workspace", "key", name="uq_posts_key"),
)
Index(
    "ix_posts_post",
    posts.c.post_at,
    sqlite_where=text("post_at IS NOT NULL"),
    postgresql_where=text("post_at IS NOT NULL"),
)

_index("ix_posts_about", posts.c.workspace, posts.c.about, where="about IS NOT NULL")
_index("ix_posts_draw", posts.c.draw_at, where="draw_at IS NOT NULL")

homes = Table(
    "homes",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("person", String(32), primary_key=True),
    Column("channel", String(32)),  # their direct message with the bot
    Column("first_at", BigInteger, nullable=False),  # when they first opened it
    Column("opened_at", BigInteger, nullable=False),
    Column("draw_at", BigInteger, nullable=False),
    Column("drawn_at", BigInteger, nullable=False),  # 0: not yet
    Column("revision", Integer, nullable=False),
    Column("hash", String(64)),  # Slack's, of the view that it shows
    Column("digest", String(64)),  # ours, of the same
    Column("pages", JSON, nullable=False),  # of each section: the places where its pages begin
)
Index("ix_homes_draw", homes.c.draw_at)

templates = Table(
    "templates",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("audience", String(255)),
    Column("purpose", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("sender", String(64)),
    Column("campaign", String(255)),
    Column("changed_at", BigInteger, nullable=False),
    Column("editor", String(32)),  # who changed it last, if not its owner
    Column("approved_by", JSON(none_as_null=True)),  # [{"id": …, "at": …}]
    Column("approved_digest", String(64)),  # of what they approved
)

installations = Table(
    "installations",
    metadata,
    Column("id", String(32), primary_key=True),  # of a workspace, or of an organisation that has it org-wide
    Column("name", String(255), nullable=False),
    Column("organisation", String(32)),  # whose token serves this workspace, if it has none of its own
    Column("secrets", Text),  # its tokens, encrypted; none once it is gone
    Column("bot_user", String(32), nullable=False),
    Column("bot_id", String(32), nullable=False),
    Column("installed_by", String(32), nullable=False),
    Column("installed_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),  # when its token ends
    Column("left_at", BigInteger),  # when it was uninstalled
    Column("version", Integer, nullable=False),
)

own_settings = Table(
    "own_settings",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("settings", JSON, nullable=False),  # what differs from the operator's file, by the setting's name
    Column("version", Integer, nullable=False),
    Column("changed_by", String(32), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
