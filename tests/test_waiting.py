"""Broadcasts that wait: their voices, their end, and who may still decide, across whole days and deploys."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import MetaData, text

from bot.app import Bot
from bot.backup import hold_all
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND, moment, now
from bot.domain.errors import CannotStart, InvalidRequest, NotAllowed, NotUnderstood, StaleVersion
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.people import DirectoryUnavailable, Person, Unknown
from bot.slack.publish.painter import Painter
from bot.slack.publish.poster import Poster
from bot.storage import audit, broadcasts, cards, outbox, receipts, schema, tables, vendor_ids
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.notes import Note, add_notes, notes_to_post
from bot.storage.schema import upgrade
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Approve, Cancel, Replan, SendNow
from providers.base import DeliveryStatus, Purpose, Receipt
from sandbox.server import Sandbox
from sandbox.world import Channel, Json
from tests.support.core import APPROVERS, CLEO, TEAM, Core, MakeCore, approver, decision
from tests.support.ground import StartBot, in_order, newest
from tests.support.patience import LONG, nothing_more, until
from tests.support.slack import HERE, approved, ask, card, filled, open_form, settled, thread_text

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
OPS = dataclasses.replace(CLEO, id="U0OPS")
STRANGER = dataclasses.replace(CLEO, id="U0DAN")


class Waiting(Core):
    """The core with its voices; a test can discard it and build a new one over the same database."""

    def __init__(self, database: Database, sandbox: Sandbox, folder: Path, **changes: Any) -> None:
        super().__init__(database, sandbox, folder, **{"admins": ["U0OPS"], **changes})
        self.silent, self.asked = False, 0

    async def members(self, group: str) -> frozenset[str]:
        self.asked += 1
        if self.silent:
            raise DirectoryUnavailable(group)
        return await super().members(group)

    async def act(self, row: Broadcast, action: Action, person: Person, **told: Any) -> Broadcast:
        """Act on the current version of the row, whatever version the test holds."""
        current = await self.row(row.id)
        return await self.workflow.act(TEAM, row.id, decision(action, **told), person=person, version=current.version)

    async def sent(self) -> int:
        """Process everything that is due; return how many broadcasts have gone out."""
        await self.run(self.dispatcher("a"))
        return len(self.sandbox.vendors.ledger)

    async def held(self, **changes: Any) -> Broadcast:
        """Return a held broadcast that is past its grace."""
        row = await self.approved(**changes)
        self.now += 11 * MINUTE
        await self.run(self.dispatcher("a"))
        return await self.row(row.id)

    async def told(self, row: Broadcast) -> list[tuple[str, str | None]]:
        """Return the notes of its thread, oldest first, each with the people it names."""
        table = tables.notes
        mine = table.select().where(table.c.broadcast == row.id).order_by(table.c.seq)
        rows = await self.database.read(lambda c: c.execute(mine).mappings().all())
        return [(str(Translatable.of(note["sentence"])), note["mention"]) for note in rows]

    async def posts(self) -> list[tuple[str, str]]:
        rows = await self.database.read(lambda c: c.execute(in_order(tables.posts)).mappings().all())
        return [(post["place"], str(Translatable.of(post["sentence"]))) for post in rows]

    async def pass_time(self, until: int, *others: Database) -> list[tuple[int, str, str | None]]:
        """Tick every five minutes until then; return each note posted, with its time and the people it names."""
        said: list[tuple[int, str, str | None]] = []
        known = len(await self.all_told())
        voices = [self.approval_reminders(), *map(self.approval_reminders, others)]
        while self.now < until:
            self.now += 5 * MINUTE
            await asyncio.gather(*(one.tick() for one in voices))
            new = (await self.all_told())[known:]
            known += len(new)
            said += [(self.now, *one) for one in new]
            await self.workflow.expire()
            known = len(await self.all_told())
        return said

    async def all_told(self) -> list[tuple[str, str | None]]:
        rows = await self.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
        return [(str(Translatable.of(note["sentence"])), note["mention"]) for note in rows]


MakeWaiting = Callable[..., Waiting]


@pytest.fixture
async def make(database: Database, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[MakeWaiting]:
    made: list[Waiting] = []

    def build(**changes: Any) -> Waiting:
        made.append(Waiting(database, sandbox, tmp_path, **changes))
        return made[-1]

    yield build
    for core in made:
        await core.close()


@pytest.fixture
def core(make: MakeWaiting) -> Waiting:
    return make()


# --- re-plan: an edit ------------------------------------------------------------------------------------------------


async def test_a_new_time_is_a_new_version_that_nobody_has_approved_yet(core: Waiting) -> None:
    row = await core.held()
    wanted = core.now + 3 * HOUR
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=wanted)
    assert (planned.state, planned.version, planned.send_at, planned.hold) == (State.PENDING, 2, wanted, None)
    assert (planned.start_at, planned.due, planned.approved_at) == (None, None, None)
    assert planned.digest == planned.computed_digest() != row.digest
    assert planned.expires_at == core.now + DAY
    assert await core.database.read(lambda c: votes_for(c, planned)) == []
    with pytest.raises(StaleVersion):
        await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert (await core.told(row))[-1] == (
        f"<@U0CLEO> re-planned it. It is now due to start {wanted} instead of right after approval.",
        None,
    )
    core.now = wanted - HOUR
    assert await core.sent() == 0
    await core.act(row, Action.APPROVE, approver(0))
    core.now = wanted
    assert await core.sent() == 1
    assert (await core.row(row.id)).state is State.SENT


async def test_who_moved_it_may_not_approve_it(core: Waiting) -> None:
    row = await core.held()
    before = await core.act(row, Action.REPLAN, approver(1), send_at=core.now + HOUR)
    assert (before.requester, before.editor) == ("U0CLEO", APPROVERS[1])
    for person in (CLEO, approver(1)):
        with pytest.raises(NotAllowed):
            await core.act(row, Action.APPROVE, person)
    after = await core.act(row, Action.REPLAN, approver(2), send_at=core.now + 2 * HOUR)
    told, mention = (await core.told(row))[-1]
    assert told == (
        f"<@{APPROVERS[2]}> re-planned it. It is now due to start {after.send_at} instead of {before.send_at}."
    )
    assert mention == "U0CLEO"
    assert (await core.act(row, Action.APPROVE, approver(1))).state is State.SCHEDULED


@pytest.mark.parametrize("person", [CLEO, OPS, approver(3)], ids=lambda person: person.id)
async def test_requester_approver_and_admin_may_re_plan_and_nobody_else(core: Waiting, person: Person) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed):
        await core.act(row, Action.REPLAN, STRANGER, send_at=core.now + HOUR)
    assert (await core.act(row, Action.REPLAN, person, send_at=core.now + HOUR)).version == 2


async def test_what_needs_no_approval_goes_on_by_itself_at_its_new_time(core: Waiting) -> None:
    row = await core.ask(audience="staff", purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    core.now += 11 * MINUTE
    assert await core.sent() == 0
    assert (await core.row(row.id)).hold is Hold.LATE
    wanted = core.now + HOUR
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=wanted)
    assert (planned.state, planned.version, planned.due) == (State.SCHEDULED, 2, wanted)
    core.now = wanted
    assert await core.sent() == 1


async def test_an_edit_never_asks_for_fewer_approvals(make: MakeWaiting) -> None:
    core = make(**{"audiences.newsletter.max_size": 5})
    row = await core.ask(audience="newsletter", purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    assert await core.sent() == 0  # twenty people are more than five
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 1)
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=core.now + HOUR)
    assert (planned.state, planned.quorum) == (State.PENDING, 1)
    core.now += HOUR
    assert await core.sent() == 0


WRONG_TIMES = {"has passed": -2 * MINUTE, "two years": 3 * 366 * DAY}


@pytest.mark.parametrize("told", WRONG_TIMES)
async def test_a_time_that_cannot_be_is_complained_of_under_its_field(core: Waiting, told: str) -> None:
    row = await core.held()
    with pytest.raises(InvalidRequest) as caught:
        await core.act(row, Action.REPLAN, CLEO, send_at=core.now + WRONG_TIMES[told])
    (complaint,) = caught.value.complaints
    assert complaint.field == "send_at"
    assert told in str(complaint.sentence)
    assert await core.row(row.id) == row


async def test_the_last_approver_cannot_move_what_nobody_could_approve_then(core: Waiting) -> None:
    core.gone = set(APPROVERS[1:])
    row = await core.ask()
    with pytest.raises(InvalidRequest):
        await core.act(row, Action.REPLAN, approver(0), send_at=core.now + HOUR)
    assert (await core.row(row.id)).version == 1


async def test_a_prepared_campaign_is_thrown_away_when_its_time_changes(make: MakeWaiting) -> None:
    core = make(**{"approval.undo": "30s"})
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).staged is not None
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=core.now + HOUR)
    assert planned.staged is None
    await core.run(core.dispatcher("a"))
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]
    await core.act(row, Action.APPROVE, approver(0))
    core.now += HOUR
    assert await core.sent() == 1


async def test_of_what_people_do_at_once_to_a_held_one_the_store_makes_one_story(core: Waiting, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        row = await core.held()
        wanted = core.now + HOUR
        decisions: list[tuple[Action, Person, dict[str, Any]]] = [
            (Action.REPLAN, CLEO, {"send_at": wanted}),
            (Action.REPLAN, approver(1), {"send_at": wanted + HOUR}),
            (Action.SEND_NOW, approver(2), {}),
            (Action.DROP, approver(3), {}),
        ]
        chance.shuffle(decisions)
        sent = len(core.sandbox.vendors.ledger)
        outcomes = await asyncio.gather(
            *(
                core.workflow.act(TEAM, row.id, decision(act, **more), person=who, version=1)
                for act, who, more in decisions
            ),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, Broadcast | StaleVersion) for outcome in outcomes)
        steps = [step for step in await core.actions(row) if step in ("replan", "send_now", "drop")]
        after = await core.row(row.id)
        await core.run(core.dispatcher("a"))
        assert len(core.sandbox.vendors.ledger) - sent == (1 if steps == ["send_now"] else 0)
        if steps[-1] == "replan":
            assert (after.state, after.version) == (State.PENDING, 2)
            assert steps.count("replan") == 1
        else:
            assert after.state is (State.SCHEDULED if steps[-1] == "send_now" else State.CANCELLED)


async def test_where_no_approver_is_left_an_admin_says_that_it_did_not_go_out(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    with pytest.raises(NotAllowed) as told:
        await core.act(row, Action.MARK_NOT_SENT, CLEO)
    assert str(told.value.sentence).startswith("Only <@U0OPS> can say that")
    assert (await core.act(row, Action.MARK_NOT_SENT, OPS)).state is State.FAILED


async def test_where_nobody_is_left_to_say_that_it_did_not_go_out_the_fix_is_named(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": [], "admins": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    with pytest.raises(NotAllowed, match="whoever runs the bot to name approvers"):
        await core.act(row, Action.MARK_NOT_SENT, CLEO)


async def test_approvers_who_are_named_later_decide_about_what_had_none(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    core = make(**{"approval.approvers": [APPROVERS[0]]})
    with pytest.raises(NotAllowed) as told:
        await core.act(row, Action.MARK_NOT_SENT, OPS)
    assert str(told.value.sentence).startswith(f"Only <@{APPROVERS[0]}> can say that")
    assert (await core.act(row, Action.MARK_NOT_SENT, approver(0))).state is State.FAILED


# --- never late without asking ---------------------------------------------------------------------------------------


async def test_what_is_approved_long_after_its_time_is_held_and_says_so(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 11 * MINUTE
    late = await core.act(row, Action.APPROVE, approver(0))
    assert (late.state, late.hold, late.start_at, late.due) == (State.HELD, Hold.LATE, row.send_at, None)
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert [(step["actor"], step["action"]) for step in history[-2:]] == [(APPROVERS[0], "approve"), ("clock", "hold")]
    assert late.expires_at == core.now + DAY
    told, mention = (await core.told(row))[-1]
    assert told.startswith(f"<@{APPROVERS[0]}> approved it, but its time, {row.send_at}, has passed")
    assert mention == f"U0CLEO {APPROVERS[0]}"
    assert await core.actions(row) == ["submit", "approve", "hold"]
    assert await core.sent() == 0
    await core.act(row, Action.SEND_NOW, CLEO)
    assert await core.sent() == 1


async def test_what_is_approved_a_little_after_its_time_goes(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 9 * MINUTE
    assert (await core.act(row, Action.APPROVE, approver(0))).state is State.SCHEDULED
    assert await core.sent() == 1


async def test_an_undo_window_that_ends_after_the_grace_counts_as_late(make: MakeWaiting) -> None:
    core = make(**{"approval.undo": "5m"})
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 6 * MINUTE
    assert (await core.act(row, Action.APPROVE, approver(0))).hold is Hold.LATE


# --- whether it is still approved ------------------------------------------------------------------------------------


async def test_an_approval_is_taken_back_while_it_waits_for_the_morning(make: MakeWaiting) -> None:
    core = make()
    core.now += 12 * HOUR
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.HOURS)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    asked = await core.row(row.id)
    assert (asked.state, asked.hold, asked.hold_until) == (State.PENDING, None, None)
    core.now = held.hold_until or 0
    assert await core.sent() == 0
    assert ("<@U0APPROVER0> withdrew their approval.", None) in await core.told(row)


async def test_what_was_restored_goes_on_asking_when_its_approval_is_taken_back(core: Waiting) -> None:
    """It may have gone out since the backup, so it needs that answer before a new approval."""
    row = await core.approved()
    await core.database.write(lambda c: hold_all(c, core.now, core.now))
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.RESTORED)
    freed = await core.act(row, Action.SEND_NOW, CLEO)
    assert freed.state is State.PENDING
    assert await core.sent() == 0


async def test_an_approval_is_taken_back_while_it_is_prepared_and_nothing_stays_open(core: Waiting) -> None:
    core.sandbox.vendors.faults.add("octopush.create", "slow", seconds=0.7)
    row = await core.approved(audience="newsletter")
    dispatcher = core.dispatcher("a")
    await dispatcher.tick()
    assert (await core.row(row.id)).phase is Phase.STAGING
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.PENDING
    assert await core.sent() == 0
    assert [one.state for one in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_one_of_two_new_approvals_is_taken_back_after_it_was_asked_about_again(make: MakeWaiting) -> None:
    core = make(**{"approval.quorum": 2})
    row = await core.ask()
    for number in (0, 1):
        await core.act(row, Action.APPROVE, approver(number))
    await core.edit(row, text="Something else")
    assert await core.sent() == 0
    asked = await core.row(row.id)
    assert (asked.state, asked.approved_at, asked.start_at) == (State.PENDING, None, None)
    await core.edit(row, approved_at=1)  # as an older release left it
    await core.act(row, Action.APPROVE, approver(0))
    taken = await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    assert taken is not None
    assert taken.state is State.PENDING


async def test_an_approval_of_what_has_left_cannot_be_taken_back_and_that_is_said(core: Waiting) -> None:
    row = await core.approved()
    assert await core.sent() == 1
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert [vote.approver for vote in votes] == [APPROVERS[0]]
    assert await core.workflow.withdraw(TEAM, row.id, person=approver(1), way="button", version=1) is None


async def test_what_was_approved_months_ago_goes_only_if_its_approver_still_is_one(core: Waiting) -> None:
    wanted = core.now + 90 * DAY
    left, stays = await core.approved(send_at=wanted), await core.ask(send_at=wanted)
    await core.act(stays, Action.APPROVE, approver(1))
    core.now, core.gone = wanted, {APPROVERS[0]}
    assert await core.sent() == 1
    assert (await core.row(stays.id)).state is State.SENT
    asked = await core.row(left.id)
    assert (asked.state, asked.owner, asked.due, asked.approved_at) == (State.PENDING, None, None, None)
    told, mention = (await core.told(left))[-1]
    assert told == f"<@{APPROVERS[0]}> can no longer approve it, so it needs approval again."
    assert mention == "U0CLEO S0APPROVERS"
    assert (await core.actions(left))[-2:] == ["start", "lapse"]
    await core.act(left, Action.APPROVE, approver(1))
    assert await core.sent() == 2


async def test_one_of_two_approvers_who_leaves_takes_only_their_own_yes_away(make: MakeWaiting) -> None:
    core = make(**{"approval.quorum": 2})
    row = await core.ask(send_at=core.now + DAY)
    for number in (0, 1):
        await core.act(row, Action.APPROVE, approver(number))
    core.now, core.gone = core.now + DAY, {APPROVERS[0]}
    assert await core.sent() == 0
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert [vote.approver for vote in votes] == [APPROVERS[1]]
    await core.act(row, Action.APPROVE, approver(2))
    assert await core.sent() == 1


async def test_while_slack_does_not_tell_it_waits_and_says_so_once(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 2 * HOUR)
    core.now, core.silent = core.now + 2 * HOUR, True
    for _ in range(4):
        assert await core.sent() == 0
        waiting = await core.row(row.id)
        assert (waiting.state, waiting.due, waiting.tries) == (State.SCHEDULED, core.now + MINUTE, 0)
        core.now += MINUTE
    told = [said for said, _ in await core.told(row) if "Slack does not tell me" in said]
    assert len(told) == 1
    core.silent = False
    assert await core.sent() == 1


async def test_when_slack_is_silent_for_longer_than_the_grace_it_asks(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 2 * HOUR)
    core.now, core.silent = core.now + 2 * HOUR, True
    for _ in range(12):
        await core.run(core.dispatcher("a"))
        core.now += MINUTE
    assert (await core.row(row.id)).hold is Hold.LATE
    core.silent = False
    assert await core.sent() == 0


async def test_a_fresh_approval_is_not_asked_about_again(core: Waiting) -> None:
    await core.approved(send_at=core.now + 30 * MINUTE)
    core.now += 30 * MINUTE
    core.silent = True
    assert await core.sent() == 1


@pytest.mark.parametrize("known", [True, False])
async def test_who_has_left_the_workspace_has_not_agreed_however_the_settings_name_them(
    make: MakeWaiting, known: bool
) -> None:
    core = make(**{"approval.approvers": [APPROVERS[0], APPROVERS[1]]})
    left: set[str] = set()

    async def person_of(workspace: str, user: str) -> Person:
        if user in left and not known:
            raise Unknown(user)
        return Person(workspace, user, member=user not in left)

    core.people.person = person_of  # type: ignore[method-assign]
    row = await core.approved(send_at=core.now + DAY)
    core.now, left = core.now + DAY, {APPROVERS[0]}
    assert await core.sent() == 0
    assert (await core.row(row.id)).state is State.PENDING


async def test_what_waits_for_the_morning_goes_only_if_its_approver_still_is_one(core: Waiting) -> None:
    core.now += 12 * HOUR  # nine in the evening in Paris, a Friday
    row = await core.approved(audience="paris")
    assert await core.sent() == 0
    held = await core.row(row.id)
    assert (held.hold, held.voice_at, held.expires_at) == (Hold.HOURS, None, None)
    core.now, core.gone = held.hold_until or 0, {APPROVERS[0]}
    assert await core.sent() == 0
    assert (await core.row(row.id)).state is State.PENDING


async def test_an_approval_is_good_for_as_long_as_the_policy_lets_it_wait_and_no_longer(make: MakeWaiting) -> None:
    core = make(**{"approval.expires_after": "30d", "policies.always.marketing.max_hold": "48h"})
    soon, old = await core.held(), await core.held()
    core.now = (soon.approved_at or 0) + 48 * HOUR
    assert (await core.act(soon, Action.SEND_NOW, CLEO)).state is State.SCHEDULED
    assert await core.sent() == 1
    core.now = (old.approved_at or 0) + 48 * HOUR + 1
    asked = await core.act(old, Action.SEND_NOW, CLEO)
    assert (asked.state, asked.version, asked.expires_at) == (State.PENDING, 1, core.now + 30 * DAY)
    assert (await core.actions(old))[-2:] == ["send_now", "lapse"]
    said = [told for told, _ in (await core.told(old))[-2:]]
    assert said[0] == "<@U0CLEO> wants it to go out now."
    assert said[1].startswith("More than 48 hours have passed since it was approved")
    assert await core.sent() == 1
    await core.act(old, Action.APPROVE, approver(0))
    assert await core.sent() == 2


# --- voices ----------------------------------------------------------------------------------------------------------


async def test_approvers_are_asked_ever_more_seldom_and_a_last_time_and_then_it_ends(
    core: Waiting, second: Database
) -> None:
    start = core.now
    row = await core.ask()
    said = await core.pass_time(start + 25 * HOUR, second)
    minutes = [(at - start) // MINUTE for at, _, _ in said]
    assert minutes == [15, 45, 105, 225, 465, 945, 23 * 60]
    assert {mention for _, _, mention in said} == {"S0APPROVERS"}
    assert said[0][1] == f"Approvals still needed: 1. Without them, the broadcast expires {row.expires_at}."
    assert said[-1][1] == (
        f"This is the last reminder. Approvals still needed: 1. Without them, the broadcast expires {row.expires_at}."
    )
    ended = await core.row(row.id)
    assert (ended.state, ended.voice_at) == (State.EXPIRED, None)
    assert await core.posts() == []  # nobody is written to directly


async def test_who_has_answered_is_not_asked_again(make: MakeWaiting) -> None:
    core = make(**{"approval.quorum": 2, "approval.approvers": [*APPROVERS[:3], "U0CLEO"]})
    row = await core.ask()
    await core.act(row, Action.APPROVE, approver(1))
    ((_, told, mention),) = await core.pass_time(core.now + 16 * MINUTE)
    assert told.startswith("Approvals still needed: 1.")
    assert mention == f"{APPROVERS[0]} {APPROVERS[2]}"


async def test_a_reminder_says_until_when_an_approval_still_lets_it_go(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + 10 * MINUTE)
    core.now += 15 * MINUTE + SECOND  # within the grace
    await core.approval_reminders().tick()
    told, _ = (await core.told(row))[-1]
    last = (row.send_at or 0) + 10 * MINUTE
    assert f"If it is approved before {last}, it still goes" in told
    core.now = last
    await core.act(row, Action.APPROVE, approver(0))
    assert await core.sent() == 1


async def test_a_reminder_says_that_the_time_has_passed(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + 20 * MINUTE)
    first, later = await core.pass_time(core.now + 46 * MINUTE)
    assert "has passed" not in first[1]
    asked = f"Its time, {row.send_at}, has passed. Once it is approved, I will ask again before it goes out."
    assert later[1].startswith(asked)


async def test_every_approver_is_named_who_has_room(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": APPROVERS})
    await core.ask()
    ((_, _, mention),) = await core.pass_time(core.now + 16 * MINUTE)
    assert mention is not None
    assert len(mention) <= 255
    assert mention.split() == APPROVERS[: len(mention.split())]


async def test_what_is_held_asks_its_requester_again_and_a_last_time(core: Waiting) -> None:
    row = await core.held()
    start = core.now
    said = await core.pass_time(start + 25 * HOUR)
    assert [(at - start) // MINUTE for at, _, _ in said] == [15, 45, 105, 225, 465, 945, 23 * 60]
    assert {mention for _, _, mention in said} == {"U0CLEO"}
    assert said[0][1].startswith("It is still held. Send it now, re-plan it or drop it.")
    assert said[-1][1].startswith(f"This is the last reminder. The broadcast expires {row.expires_at}")
    assert (await core.row(row.id)).state is State.EXPIRED


async def test_what_waits_for_the_hours_says_nothing_until_it_goes(core: Waiting) -> None:
    core.now += 12 * HOUR
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert await core.pass_time(held.hold_until or 0) == []
    assert await core.sent() == 1


async def test_the_requester_hears_of_a_far_start_a_quarter_of_an_hour_before_and_once(core: Waiting) -> None:
    wanted = core.now + 5 * HOUR
    await core.approved(send_at=wanted)
    await core.approved(send_at=core.now + 30 * MINUTE)  # too soon to need a reminder
    said = await core.pass_time(wanted - MINUTE)
    soon = f"It starts {wanted}. Until then, press *Cancel* on its card to stop it."
    assert said == [(wanted - 15 * MINUTE, soon, "U0CLEO")]


async def test_each_thing_is_said_once_however_many_processes_look(core: Waiting, second: Database) -> None:
    rows = [await core.ask() for _ in range(10)]
    core.now += 15 * MINUTE
    voices = [core.approval_reminders(database) for database in (core.database, second) * 4]
    await asyncio.gather(*(one.tick() for one in voices))
    for row in rows:
        assert len(await core.told(row)) == 1
        assert (await core.row(row.id)).voices == 1


async def test_a_process_that_was_away_asks_once_and_not_for_each_time_it_missed(core: Waiting) -> None:
    row = await core.ask()
    core.now += 10 * HOUR
    for _ in range(3):
        await core.approval_reminders().tick()
    assert len(await core.told(row)) == 1


async def test_a_draft_is_kept_for_a_week_and_its_writer_hears_of_its_end(core: Waiting) -> None:
    start, long = core.now, "Soldes " + "x" * 2000
    request = BroadcastRequest(
        workspace=TEAM, requester="U0CLEO", channel="D1", audience="staff", purpose=Purpose.MARKETING, text=long
    )
    draft = (await core.workflow.submit(request, key="d", person=CLEO, postable=False)).broadcast
    core.now = start + 6 * DAY - 1
    await core.approval_reminders().tick()
    assert await core.posts() == []
    for core.now in (start + 6 * DAY, start + 6 * DAY + HOUR):
        await core.approval_reminders().tick()
    assert [(place, said[:60]) for place, said in await core.posts()] == [
        ("U0CLEO", f"Your draft *{draft.id}* will be thrown away {start + 7 * DAY}."[:60])
    ]
    core.now = start + 7 * DAY
    await core.approval_reminders().tick()
    ended = await core.row(draft.id)
    assert (ended.state, ended.voice_at) == (State.CANCELLED, None)
    assert (await core.posts())[1][1].startswith(f"I kept your draft *{draft.id}* for a week")
    assert "clock" in [step["actor"] for step in await core.database.read(lambda c: audit.history(c, TEAM, draft.id))]
    assert (
        await core.database.read(lambda c: cards.cards_to_draw(c, core.now, 9, new=True)) == []
    )  # there never was a card


async def test_a_draft_that_is_opened_again_is_kept_for_another_week(core: Waiting) -> None:
    request = BroadcastRequest(
        workspace=TEAM, requester="U0CLEO", channel="D1", audience="clients", purpose=Purpose.MARKETING, text="Soldes"
    )
    draft = (await core.workflow.submit(request, key="d", person=CLEO, postable=False)).broadcast
    core.now += 6 * DAY
    await core.approval_reminders().tick()
    for number in range(2):
        changed = request.model_copy(update={"text": f"Soldes {number}"})
        await core.workflow.submit(changed, key=f"d{number}", person=CLEO, postable=False, draft=draft.id)
    again = await core.row(draft.id)
    assert (again.state, again.voices, again.voice_at) == (State.DRAFT, 0, core.now + 6 * DAY)
    await core.workflow.submit(request, key="d3", person=CLEO, draft=draft.id)
    asked = await core.row(draft.id)
    assert (asked.state, asked.voice_at) == (State.PENDING, core.now + 15 * MINUTE)


async def test_a_draft_that_is_thrown_away_by_hand_gets_no_card_for_its_end(core: Waiting) -> None:
    request = BroadcastRequest(
        workspace=TEAM, requester="U0CLEO", channel="D1", audience="clients", purpose=Purpose.MARKETING, text="Soldes"
    )
    draft = (await core.workflow.submit(request, key="d", person=CLEO, postable=False)).broadcast
    ended = await core.act(draft, Action.DISCARD, CLEO, reason="no")
    assert ended.state is State.CANCELLED
    assert await core.database.read(lambda c: cards.cards_to_draw(c, core.now, 9, new=True)) == []
    assert await core.told(draft) == []


# --- follow-ups ------------------------------------------------------------------------------------------------------


async def test_a_follow_up_and_what_it_follows_name_each_other(core: Waiting) -> None:
    old = await core.ask()
    await core.act(old, Action.REJECT, approver(0), reason="no")
    for number, follows in enumerate((old.id, "B2222222", "'; DROP TABLE")):
        request = BroadcastRequest(
            workspace=TEAM,
            requester="U0CLEO",
            channel="C1",
            audience="clients",
            purpose=Purpose.MARKETING,
            text=follows,
        )
        new = (await core.workflow.submit(request, key=f"f{number}", person=CLEO, follows=follows)).broadcast
        assert new.state is State.PENDING
        assert await core.told(new) == ([(f"This is a follow-up to {old.id}.", None)] if number == 0 else [])
    follow_ups = [said for said, _ in await core.told(old) if "follow-up" in said]
    assert len(follow_ups) == 1


# --- rows of a newer version -----------------------------------------------------------------------------------------


async def test_a_row_that_a_newer_version_wrote_is_left_alone_and_nobody_is_held_up(core: Waiting) -> None:
    """Every query for work meets two such rows: one in an unknown state and one in a known state."""
    strange, known, plain = [await core.approved() for _ in range(3)]
    past: dict[str, Any] = dict.fromkeys(("voice_at", "draw_at", "look_at", "expires_at", "progress_at", "due"), 1)
    newer = past | {"shape": 2, "owner": "another", "lease_until": 1, "phase": "beaming"}
    await core.edit(strange, **newer, state="teleported", hold="elsewhere")
    await core.edit(known, **newer)
    await core.database.write(lambda c: vendor_ids.own_ids(c, strange, ["beam"]))
    before = await raw(core, strange), await raw(core, known)

    tracker = core.tracker()
    ours = await core.ask()
    for _ in range(3):
        await core.run(core.dispatcher("a"), core.dispatcher("b"))
        await core.dispatcher("a").sizes.learn()
        await tracker.tick()
        await core.approval_reminders().tick()
        await core.workflow.expire()
        core.now += 15 * MINUTE
    await tracker.record("encom", [Receipt("beam", DeliveryStatus.SENT, "OK")])
    await tracker.record("encom", [Receipt("beam2", DeliveryStatus.SENT, "OK")], dispatched=(TEAM, strange.id))
    for row in (strange, known):
        for said in (Approve(), Cancel(), Replan(core.now + HOUR)):
            with pytest.raises(NotUnderstood):
                await core.workflow.act(TEAM, row.id, said, person=approver(1), version=1)
        with pytest.raises(NotUnderstood):
            await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    listed = [row.id for row in await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))]
    assert sorted(listed) == sorted([plain.id, ours.id])
    assert await core.database.read(lambda c: [row.id for row in cards.cards_to_draw(c, core.now, 10, new=True)]) != []
    assert (await core.database.read(broadcasts.count_by_state))["sent"] == 1

    assert (await raw(core, strange), await raw(core, known)) == before
    assert (await core.row(plain.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1
    assert len([said for said, _ in await core.told(ours) if "still needed" in said]) == 1
    kept = await core.database.read(lambda c: receipts.delivery_counts(c, TEAM, strange.id))
    assert kept == {"sent": 2}  # kept for the version that understands it


async def raw(core: Waiting, row: Broadcast) -> dict[str, Any]:
    table = tables.broadcasts
    found = await core.database.read(lambda c: c.execute(table.select().where(table.c.id == row.id)).mappings().one())
    return dict(found)


# --- days, restarts, deploys -----------------------------------------------------------------------------------------


async def test_what_waits_outlives_restarts_days_and_months(
    make: MakeWaiting, database: Database, database_url: str
) -> None:
    first = make(**{"approval.expires_after": "7d"})
    wanted = first.now + 200 * DAY
    row = await first.ask(send_at=wanted)

    async def restarted(at: int) -> Waiting:
        core = make(**{"approval.expires_after": "7d"})
        core.database = open_database(database_url, LONG)
        core.workflow = core.workflow_over(core.database)
        opened.append(core.database)
        core.now = at
        for _ in range(2):
            await core.run(core.dispatcher(f"at {at}"))
            await core.approval_reminders().tick()
            await core.workflow.expire()
        assert len(core.sandbox.vendors.ledger) == 0
        return core

    opened: list[Database] = []
    core = await restarted(first.now + 5 * DAY)
    assert len(await core.told(row)) == 1
    await core.act(row, Action.APPROVE, approver(0))
    core = await restarted(first.now + 100 * DAY)
    assert (await core.row(row.id)).state is State.SCHEDULED
    core = await restarted(wanted - 15 * MINUTE)
    assert (await core.told(row))[-1][0] == f"It starts {wanted}. Until then, press *Cancel* on its card to stop it."
    core = await restarted(wanted - 1)
    core.now = wanted
    await core.run(core.dispatcher("x"), core.dispatcher("y"))
    assert len(core.sandbox.vendors.ledger) == 1
    assert (await core.row(row.id)).state is State.SENT
    for one in opened:
        await one.close()


OLD: dict[str, dict[str, Any]] = {
    "draft": {},
    "pending": {"expires_at": DAY},
    "scheduled": {"due": 5 * HOUR, "start_at": 5 * HOUR, "send_at": 5 * HOUR, "approved_at": 0},
    "held": {"hold": "late", "start_at": -DAY, "expires_at": HOUR, "approved_at": -DAY},
    "sending": {"phase": "releasing", "owner": "old", "attempt": 1, "lease_until": -1},
    "unknown": {"look_at": -1},
    "sent": {"accepted_at": -HOUR, "look_at": -1},
    "done": {"accepted_at": -DAY},
    "failed": {},
    "rejected": {},
    "cancelled": {},
    "expired": {},
}
INSTANTS = {"expires_at", "due", "start_at", "send_at", "approved_at", "lease_until", "look_at", "accepted_at"}


async def test_a_deploy_loses_nothing_that_waits(
    database_url: str, sandbox: Sandbox, tmp_path: Path, make: MakeWaiting
) -> None:
    """Write one row in each state under the first schema, upgrade, and carry on."""
    pattern = make()
    like = await pattern.ask()
    after = {"draft": State.DRAFT, "held": State.HELD, "scheduled": State.SCHEDULED, "pending": State.PENDING}
    after |= {"sending": State.UNKNOWN, "unknown": State.UNKNOWN, "sent": State.SENT}

    old = open_database(database_url.replace("store.db", "old.db"), LONG)
    await old.write(start_over)
    await old.write(lambda c: upgrade(c, "0001"))
    await old.write(lambda c: write_old_rows(c, like, pattern.now))
    await old.write(upgrade)

    core = Waiting(old, sandbox, tmp_path)
    for _ in range(2):
        await core.run(core.dispatcher("new"))
        await core.approval_reminders().tick()
        await core.workflow.expire()
    rows = {id: await core.row(id) for id in OLD_IDS.values()}
    assert {state: rows[id].state for state, id in OLD_IDS.items()} == {s: after.get(s, State(s)) for s in OLD}
    assert {row.text for row in rows.values()} == {like.text}
    for state in ("pending", "held"):
        assert len(await core.told(rows[OLD_IDS[state]])) == 1, state
    assert rows[OLD_IDS["draft"]].voice_at == core.now + 6 * DAY
    scheduled = rows[OLD_IDS["scheduled"]]
    assert scheduled.voice_at == core.now + 5 * HOUR - 15 * MINUTE

    core.now += 5 * HOUR
    await core.run(core.dispatcher("new"))
    assert (await core.row(scheduled.id)).state is State.SENT
    assert len(sandbox.vendors.ledger) == 1
    await core.close()
    await old.close()


OLD_IDS = {state: f"B{number:07d}" for number, state in enumerate(OLD)}


def start_over(connection: Any) -> None:
    """Drop the new schema: PostgreSQL has one database for this test."""
    if not schema.is_empty(connection):
        known = MetaData()
        known.reflect(connection)
        known.drop_all(connection)


def write_old_rows(connection: Any, like: Broadcast, now: int) -> None:
    known = MetaData()
    known.reflect(connection)
    table, votes = known.tables["broadcasts"], known.tables["votes"]
    fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
    for number, (state, more) in enumerate(OLD.items()):
        moments = {name: value + now if name in INSTANTS else value for name, value in more.items()}
        own = {"id": OLD_IDS[state], "key": f"old{number}", "state": state, "changed_at": now, **moments}
        row = dataclasses.replace(like, send_at=moments.get("send_at"))
        values = {**fields, **own, "digest": row.computed_digest()}
        connection.execute(table.insert().values({name: plain(values[name]) for name in values if name in table.c}))
        vote = {"workspace": TEAM, "broadcast": OLD_IDS[state], "version": 1, "approver": APPROVERS[0]}
        connection.execute(votes.insert().values(**vote, digest=row.computed_digest(), way="button", at=now - HOUR - 1))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# --- in the workspace ------------------------------------------------------------------------------------------------


class Time:
    """A clock that a test moves forward."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return now() + self.ahead


def iso(instant: int) -> str:
    return f"{moment(instant):%Y-%m-%dT%H:%MZ}"


def chosen(start: int) -> Json:
    return {"send_at": {"value": {"type": "datetimepicker", "selected_date_time": start // SECOND}}}


def offered(form: Json) -> int:
    """Return the start that the form is filled with."""
    (picker,) = [block["element"] for block in form["blocks"] if block.get("block_id") == "send_at"]
    return int(picker["initial_date_time"]) * SECOND


async def press(sandbox: Sandbox, user: str, posted: Json, name: str) -> Json:
    """Wait for a button that opens a form, press it, and return the form."""
    place = sandbox.world.channel(HERE)
    await sandbox.until(lambda: f"broadcast.{name}" in str(sandbox.world.message(place, posted["ts"])["blocks"]))
    await sandbox.acting.click(user, HERE, posted["ts"], f"broadcast.{name}")
    return sandbox.acting.views(user)[-1]


async def test_a_new_plan_has_a_new_card_and_the_old_one_is_a_line_with_a_link(sandbox: Sandbox, bot: Bot) -> None:
    start = now() + 2 * HOUR
    await ask(sandbox, f"send clients marketing at={iso(start)} Soldes demain")
    old = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, old["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "broadcast.replan" in str(sandbox.acting.messages(HERE)[0]))

    form = await press(sandbox, "U0CLEO", old, "replan")
    assert offered(form) == start - start % (60 * SECOND) + -(start // MINUTE * MINUTE) % (5 * MINUTE)
    errors = await sandbox.acting.submit("U0CLEO", form["id"], chosen(now() - HOUR))
    assert "That time has passed" in errors["send_at"]
    assert await sandbox.acting.submit("U0CLEO", form["id"], chosen(start + DAY)) == {}

    new = await card(sandbox, 1)
    await sandbox.until(lambda: "has changed" in sandbox.acting.messages(HERE)[0]["text"])
    (line,) = sandbox.acting.messages(HERE)[0]["blocks"]
    assert new["ts"].replace(".", "") in line["text"]["text"]
    await sandbox.until(lambda: "re-planned it. It is now due to start <!date^" in thread_text(sandbox, new["ts"]))
    assert "re-planned" not in thread_text(sandbox, old["ts"])

    await sandbox.acting.react("U0BEN", HERE, old["ts"], "+1")
    await sandbox.until(lambda: sandbox.acting.ephemerals("U0BEN"))
    assert "has changed in the meantime" in sandbox.acting.ephemerals("U0BEN")[-1]["text"]
    row = await newest(bot)
    assert (row.state, row.version, row.editor) == (State.PENDING, 2, "U0CLEO")
    await sandbox.acting.react("U0ANA", HERE, new["ts"], "+1")
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, new["ts"]))

    await sandbox.acting.react("U0ANA", HERE, old["ts"], "+1")
    await sandbox.until(lambda: len(sandbox.acting.ephemerals("U0ANA")) > 0)  # the bot must read it before it is undone
    await sandbox.acting.unreact("U0ANA", HERE, old["ts"], "+1")  # on the old version, so it withdraws nothing
    await nothing_more(bot)
    assert (await newest(bot)).state is State.SCHEDULED
    assert len(sandbox.acting.messages(HERE)) == 2
    assert sandbox.vendors.ledger == []


async def test_an_old_card_becomes_a_link_when_slack_takes_it_again(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing at={iso(now() + 2 * HOUR)} Soldes demain")
    old = await card(sandbox)
    form = await press(sandbox, "U0CLEO", old, "replan")
    sandbox.faults.add("chat.update", "429", times=2, retry_after=1)
    assert await sandbox.acting.submit("U0CLEO", form["id"], chosen(now() + DAY)) == {}
    await sandbox.until(lambda: "has changed" in sandbox.acting.messages(HERE)[0]["text"])
    assert len(sandbox.acting.messages(HERE)) == 2


async def test_what_is_approved_too_late_asks_in_its_thread_and_on_its_card(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    await ask(sandbox, f"send clients marketing at={iso(time() + HOUR)} Soldes demain")
    posted = await card(sandbox)
    time.ahead = 2 * HOUR
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert (await newest(bot)).hold is Hold.LATE
    await sandbox.until(lambda: "<@U0CLEO>, <@U0ANA> <@U0ANA> approved it, but" in thread_text(sandbox, posted["ts"]))
    await sandbox.until(lambda: "broadcast.send_now" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    form = await press(sandbox, "U0CLEO", posted, "replan")
    assert 5 * MINUTE <= offered(form) - time() <= 10 * MINUTE
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.send_now")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


def a_minute_at_three(outside: str) -> dict[str, Any]:
    hours = {"windows": [{"start": "03:00", "end": "03:01"}], "outside": outside}
    return {"timezone": "Europe/Paris", "marketing": hours}


@pytest.mark.parametrize("outside", ["hold", "refuse"])
async def test_outside_the_hours_the_answer_the_card_and_the_form_tell_the_next_start(
    sandbox: Sandbox, start_bot: StartBot, outside: str
) -> None:
    bot = await start_bot(sandbox, policies={"always": a_minute_at_three(outside)})
    noon = moment(now() + 3 * DAY).replace(hour=12, minute=0, second=0, microsecond=0)
    opens = (noon.astimezone(ZoneInfo("Europe/Paris")) + timedelta(days=1)).replace(hour=3)
    told = await ask(sandbox, f"send clients marketing at={noon:%Y-%m-%dT%H:%MZ} Soldes demain")
    spelled = f"{opens:%Y-%m-%d} 03:00 Europe/Paris"
    assert f"It will be held until {spelled}" in told or f"They allow it from {spelled}" in told
    assert ("by itself" in told) == (outside == "refuse")
    posted = await card(sandbox)
    assert spelled in str(posted["blocks"])
    form = await press(sandbox, "U0CLEO", posted, "replan")
    assert offered(form) == int(opens.timestamp()) * SECOND
    assert "The next start within the sending hours" in str(form["blocks"])
    await sandbox.acting.submit("U0CLEO", form["id"], chosen(offered(form)))
    better = await card(sandbox, 1)
    assert "✋" not in str(better["blocks"])
    assert (await newest(bot)).version == 2


async def test_a_form_of_a_time_outside_the_hours_says_so_to_its_sender(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, policies={"always": a_minute_at_three("hold")})
    noon = moment(now() + 3 * DAY).replace(hour=12, minute=0)
    form = await open_form(sandbox)
    start = int(noon.timestamp())
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Hi", send_at=start)) == {}
    assert "It will be held until" in sandbox.acting.ephemerals("U0DAN")[-1]["text"]


async def test_a_follow_up_is_a_form_with_the_old_text_and_an_approval_of_its_own(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing sender=Bell campaign=Winter Soldes demain")
    old = await card(sandbox)
    first = await newest(bot)
    await sandbox.acting.click("U0CLEO", HERE, old["ts"], "broadcast.cancel")
    await sandbox.until(lambda: "broadcast.follow_up" in str(sandbox.acting.messages(HERE)[0]["blocks"]))

    await sandbox.acting.click("U0GUS", HERE, old["ts"], "broadcast.follow_up")
    assert sandbox.acting.views("U0GUS") == []
    assert "Only full members" in sandbox.acting.ephemerals("U0GUS")[-1]["text"]

    form = await press(sandbox, "U0DAN", old, "follow_up")
    shown = str(form["blocks"])
    assert all(value in shown for value in ("'initial_value': 'Soldes demain'", "'Bell'", "'Winter'"))
    assert "initial_date_time" not in shown
    values = filled("newsletter", "Soldes après-demain", sender="Bell")
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    new = await card(sandbox, 1)
    second = await newest(bot)
    assert (second.state, second.requester, second.version) == (State.PENDING, "U0DAN", 1)
    await sandbox.until(lambda: f"This is a follow-up to {first.id}." in thread_text(sandbox, new["ts"]))
    told = f"<@U0DAN> asked for a follow-up: {second.id}."
    await sandbox.until(lambda: told in thread_text(sandbox, old["ts"]))
    assert (await bot.workflow.find(TEAM, first.id)).state is State.CANCELLED


async def test_what_did_not_go_out_points_to_its_follow_up(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.vendors.faults.add("encom.release", "reset")
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.mark_not_sent")
    await sandbox.until(lambda: "*Send a follow-up* on its card" in thread_text(sandbox, posted["ts"]))
    form = await press(sandbox, "U0CLEO", posted, "follow_up")
    assert "Soldes demain" in str(form["blocks"])
    assert sandbox.vendors.ledger == []


async def test_approvers_are_asked_again_in_the_thread_and_nowhere_else(sandbox: Sandbox, start_bot: StartBot) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    time.ahead = 16 * MINUTE
    bot.wake()
    await sandbox.until(
        lambda: "<!subteam^S0APPROVERS> Approvals still needed: 1." in thread_text(sandbox, posted["ts"])
    )
    time.ahead = DAY + MINUTE
    bot.wake()
    await settled(bot, State.EXPIRED)
    assert len(sandbox.acting.messages(HERE)) == 1
    assert [told_directly(sandbox, user) for user in ("U0ANA", "U0BEN", "U0CLEO")] == [[], [], []]


def told_so_often(sandbox: Sandbox, times: int) -> bool:
    return len(told_directly(sandbox, "U0DAN")) == times


async def test_the_writer_of_a_forgotten_draft_is_told_directly(sandbox: Sandbox, start_bot: StartBot) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    direct = sandbox.world.direct("U0DAN").id
    await ask(sandbox, "send clients Hello", user="U0DAN", channel=direct)
    row = await newest(bot)
    for days in (6, 7):
        time.ahead = days * DAY + HOUR
        bot.wake()
        await sandbox.until(partial(told_so_often, sandbox, days - 5))
        if days == 6:  # the message opens the draft
            assert "broadcast.edit" in str(sandbox.acting.messages(direct))
    soon, over = told_directly(sandbox, "U0DAN")
    assert soon.startswith(f"Your draft *{row.id}* will be thrown away <!date^")
    assert over == f"I kept your draft *{row.id}* for a week and have now thrown it away: “Hello”"
    assert (await newest(bot)).state is State.CANCELLED


async def test_the_workspace_sees_nothing_odd_of_a_row_that_a_newer_version_wrote(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    strange = await newest(bot)
    await until(lambda: bot.database.read(lambda c: c.execute(tables.cards.select()).first()))
    table, mine = tables.broadcasts, tables.broadcasts.c.id == strange.id
    values = {"state": "teleported", "shape": 2, "draw_at": 1, "voice_at": 1}
    await bot.database.write(lambda c: c.execute(table.update().where(mine).values(**values)))
    await bot.database.write(lambda c: add_notes(c, strange, bot.clock(), [Note(Translatable("Choose a time."))]))
    shown = str(sandbox.acting.messages(HERE)[0])

    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert f"A newer version of me is handling *{strange.id}*" in sandbox.acting.ephemerals("U0ANA")[-1]["text"]
    assert "A newer version" in await ask(sandbox, f"show {strange.id}")
    assert strange.id not in await ask(sandbox, "list")

    await ask(sandbox, "send clients marketing Autre chose")
    other = await card(sandbox, 1)
    await sandbox.acting.click("U0BEN", HERE, other["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, other["ts"]))
    assert str(sandbox.acting.messages(HERE)[0]) == shown
    assert sandbox.acting.thread(HERE, posted["ts"]) == []


@pytest.mark.parametrize(("revision", "told"), [("0009", "newer than this version"), ("0001", "bellcrier db upgrade")])
async def test_a_database_of_another_version_is_told_from_an_older_one(
    sandbox: Sandbox, start_bot: StartBot, tmp_path: Path, revision: str, told: str
) -> None:
    kept = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    await kept.write(lambda c: upgrade(c, "0001"))
    await kept.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision}))
    await kept.close()
    with pytest.raises(CannotStart, match=told):
        await start_bot(sandbox)


# --- the outbox ------------------------------------------------------------------------------------------------------


def told_directly(sandbox: Sandbox, user: str) -> list[str]:
    """Return what the bot told this person directly, oldest first."""
    return [message["text"] for message in sandbox.acting.messages(sandbox.world.direct(user).id)]


async def test_the_same_post_is_queued_once_and_taken_by_one(database: Database) -> None:
    said = Translatable("Only {who} may do that.", who="<@U1>")
    queued = [
        await database.write(lambda c: outbox.post(c, TEAM, "k", "C1", said, None, 10 * SECOND)) for _ in range(3)
    ]
    assert queued == [True, False, False]
    assert not await database.read(lambda c: outbox.posts_wait(c, 9 * SECOND))
    takers = [database.write(lambda c: outbox.take_post(c, 10 * SECOND, 70 * SECOND)) for _ in range(4)]
    taken = [pending for pending in await asyncio.gather(*takers) if pending is not None]
    assert [(pending.place, pending.sentence, pending.tries) for pending in taken] == [("C1", said, 0)]
    again = await database.write(lambda c: outbox.take_post(c, 70 * SECOND, 130 * SECOND))
    assert again == taken[0]  # the process that took it died


async def test_a_post_reaches_a_channel_and_a_person_once(sandbox: Sandbox, bot: Bot) -> None:
    def queue(connection: object) -> None:
        for key, place in (("a", HERE), ("b", "U0CLEO"), ("a", HERE)):
            said = Translatable("Only {who} may do that.", who="<@U0ANA>")
            outbox.post(connection, TEAM, key, place, said, "U0BEN", bot.clock())  # type: ignore[arg-type]

    await bot.database.write(queue)
    bot.wake()
    told = "<@U0BEN> Only <@U0ANA> may do that."
    await sandbox.until(lambda: told_directly(sandbox, "U0CLEO"))
    assert [message["text"] for message in sandbox.acting.messages(HERE)] == [told]
    assert told_directly(sandbox, "U0CLEO") == [told]


async def test_a_post_outlives_a_busy_slack_and_a_place_that_is_gone_is_given_up(sandbox: Sandbox, bot: Bot) -> None:
    far = later = bot.clock() + 365 * 24 * 3600 * SECOND  # so that the bot's own painter leaves these posts alone
    poster = Poster(dataclasses.replace(bot.runtime, clock=lambda: later), bot.posting, bot.people)
    painter = Painter(poster, bot.workflow, bot.showing, translator_for("en"))
    gone = sandbox.world.channels["C0GENERAL"] = Channel("C0GENERAL", "general", ["U0BELL"], archived=True)
    said = Translatable("Choose a purpose.")
    await bot.database.write(lambda c: outbox.post(c, TEAM, "gone", gone.id, said, None, far))
    await bot.database.write(lambda c: outbox.post(c, TEAM, "here", HERE, said, None, far))
    sandbox.faults.add("chat.postMessage", "429", times=2, retry_after=30)
    for _ in range(60):
        await painter.paint()
        later += 301 * SECOND
    assert [message["text"] for message in sandbox.acting.messages(HERE)] == ["Choose a purpose."]
    left = await bot.database.read(lambda c: c.execute(in_order(tables.posts)).mappings().all())
    assert {row["key"]: (row["tries"], row["post_at"], bool(row["ts"])) for row in left} == {
        "gone": (1, None, False),  # it named nobody to tell instead
        "here": (0, None, True),
    }


# --- whose approval counts now ---------------------------------------------------------------------------------------


def user(id: str) -> Person:
    return dataclasses.replace(approver(0), id=id)


async def test_the_approvers_of_a_rule_are_followed_by_those_that_the_rule_names_now(make_core: MakeCore) -> None:
    def ruled(name: str) -> Core:
        rule = {"audience": "clients", "quorum": 1, "approvers": [name]}
        return make_core(**{"approval.approvers": ["U0ANA"], "approval.rules": [rule]})

    row = await ruled("U0BEN").ask()
    assert row.approvers == ("U0BEN",)
    now = ruled("U0EVA")
    for nobody in ("U0ANA", "U0BEN"):
        with pytest.raises(NotAllowed):
            await now.workflow.act(TEAM, row.id, Approve(), person=user(nobody), version=1)
    agreed = await now.workflow.act(TEAM, row.id, Approve(), person=user("U0EVA"), version=1)
    assert agreed.state is State.SCHEDULED


async def test_where_one_of_two_approvers_is_followed_by_another_both_of_today_may_approve(make_core: MakeCore) -> None:
    def two(*names: str) -> Core:
        return make_core(**{"approval.quorum": 2, "approval.approvers": list(names)})

    row, now = await two("U0ANA", "U0BEN").ask(), two("U0BEN", "U0EVA")
    for name in ("U0BEN", "U0EVA"):
        await now.workflow.act(TEAM, row.id, Approve(), person=user(name), version=1)
    assert (await now.row(row.id)).state is State.SCHEDULED


async def test_reminders_and_the_card_name_those_who_may_approve_by_now(make_core: MakeCore) -> None:
    row = await make_core(**{"approval.approvers": ["U0ANA"]}).ask()
    now = make_core(**{"approval.approvers": ["U0BEN"]})
    now.now = row.voice_at or 0
    await now.approval_reminders().tick()
    (note,) = await now.database.read(lambda c: notes_to_post(c, now.now, 10))
    assert note.note.mention == "U0BEN"
    assert (await now.row(row.id)).approvers == ("U0BEN",)


async def test_what_lapses_asks_those_who_may_approve_by_now(make_core: MakeCore) -> None:
    was = make_core(**{"approval.approvers": ["U0ANA"]})
    later = was.now + 2 * DAY
    row = await was.ask(send_at=later)
    await was.workflow.act(TEAM, row.id, Approve(), person=user("U0ANA"), version=1)
    now = make_core(**{"approval.approvers": ["U0BEN"]})
    now.now = later
    await now.run(now.dispatcher("a"))
    lapsed = await now.row(row.id)
    assert (lapsed.state, lapsed.approvers) == (State.PENDING, ("U0BEN",))
    notes = await now.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
    assert "U0BEN" in notes[-1]["mention"].split()


async def test_the_requester_hears_before_a_start_that_send_now_leaves_far_away(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 30 * DAY)
    await core.database.write(lambda c: hold_all(c, core.now, core.now))
    freed = await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert freed.voice_at == row.voice_at is not None
