"""A commit whose answer is lost: the row is read again, and nothing is assumed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import StaleVersion
from bot.domain.lifecycle import Phase, State
from bot.storage import broadcasts
from bot.storage.database import CommitUncertain
from bot.workflow.decision_types import Approve
from tests.support.core import TEAM, approver
from tests.support.far import Far
from tests.support.patience import until
from tests.support.proxy import COMMIT


@pytest.mark.long
@pytest.mark.parametrize("how", ["before", "after", "silence"])
async def test_an_intent_whose_commit_is_in_doubt_is_looked_up_before_anything_leaves(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"INSERT INTO dispatches", COMMIT, how=how)
    await far.settled()
    assert far.proxy.done == 1
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)
    steps = await far.core.actions(row)
    assert (steps.count("release"), steps.count("accept")) == (1, 1)


@pytest.mark.long
async def test_an_intent_that_cannot_be_looked_up_in_time_sends_nothing(far: Far) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"INSERT INTO dispatches", COMMIT, how="after")
    await far.dispatcher.tick()
    await until(lambda: far.proxy.done)
    await far.proxy.shut()
    far.core.steady = 60  # longer than the release's own deadline
    assert ((await far.core.row(row.id)).phase, far.ledger) == (Phase.RELEASING, 0)
    await far.proxy.open()
    await asyncio.gather(*far.dispatcher.running)
    back = await far.core.row(row.id)
    assert (back.state, back.owner, far.ledger) == (State.SCHEDULED, None, 0)  # nothing left, and this process knows it
    far.core.now += 3 * SECOND
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_claim_whose_commit_is_in_doubt_starts_over_at_once(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"staging", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.dispatcher.tick()
    assert far.dispatcher.running == set()
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_answer_whose_commit_is_in_doubt_is_written_once(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"accepted it", COMMIT, how=how)
    await far.settled()
    assert far.proxy.done == 1
    assert (await far.core.row(row.id)).ids == ("22", "23")
    assert (await far.core.actions(row)).count("accept") == 1
    assert sum("accept" in template for template in await far.told(row)) == 1


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_approval_whose_commit_is_in_doubt_is_given_again_and_counts_once(far: Far, how: Any) -> None:
    row = await far.core.ask()
    far.core.workflow = far.core.workflow_over(far.distant)
    far.proxy.cut(b"INSERT INTO votes", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    again = far.core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    (outcome,) = await asyncio.gather(again, return_exceptions=True)
    assert isinstance(outcome, Broadcast if how == "before" else StaleVersion)
    await far.settled()
    assert ((await far.core.actions(row)).count("approve"), far.ledger) == (1, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_request_whose_commit_is_in_doubt_is_made_again_and_is_one(far: Far, how: Any) -> None:
    far.core.workflow = far.core.workflow_over(far.distant)
    far.proxy.cut(b"INSERT INTO broadcasts", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.core.ask()
    far.core.count -= 1  # the same form, so the same key
    row = await far.core.ask()
    everything = await far.core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))
    assert [found.id for found in everything] == [row.id]
