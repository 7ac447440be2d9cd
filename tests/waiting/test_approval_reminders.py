"""Reminders of what waits: each once, ever more seldom, and with an end."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.broadcast import BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Action, State
from bot.storage import audit, cards
from bot.storage.database import Database
from providers.base import Purpose
from tests.support.core import APPROVERS, CLEO, TEAM, approver
from tests.support.waiting import DAY, HOUR, MINUTE, MakeWaiting, Waiting


@pytest.mark.long
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


@pytest.mark.long
async def test_what_is_held_asks_its_requester_again_and_a_last_time(core: Waiting) -> None:
    row = await core.held()
    start = core.now
    said = await core.pass_time(start + 25 * HOUR)
    assert [(at - start) // MINUTE for at, _, _ in said] == [15, 45, 105, 225, 465, 945, 23 * 60]
    assert {mention for _, _, mention in said} == {"U0CLEO"}
    assert said[0][1].startswith("It is still held. Send it now, re-plan it or drop it.")
    assert said[-1][1].startswith(f"This is the last reminder. The broadcast expires {row.expires_at}")
    assert (await core.row(row.id)).state is State.EXPIRED


@pytest.mark.long
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
        ("U0CLEO", f"Your draft *{draft.id}* will be deleted {start + 7 * DAY}."[:60])
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
