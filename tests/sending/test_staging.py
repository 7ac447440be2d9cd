"""Campaigns that are prepared at a vendor: one at a time, seen before they go, recalled when they do not."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Action, State
from bot.sending.claims import CLAIM_AT_ONCE
from bot.sending.dispatcher import Dispatcher
from bot.storage.keys import BREAKER_FAILURES, Breaker, set_breaker, take_lease
from bot.workflow.decision_types import Approve, Cancel, Stop
from providers.base import Audience, Message, Purpose, Quote
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver, decision
from tests.support.ground import some_later
from tests.support.sending import TWO_FOR_MANY, all_notes, staged_early


async def test_one_campaign_at_a_time_where_a_vendor_prepares(core: Core) -> None:
    rows = [await core.approved(audience=name) for name in ("newsletter", "vip", "newsletter")]
    dispatcher = core.dispatcher("a")
    for _ in range(len(rows)):
        await dispatcher.tick()
        assert len(dispatcher.running) <= 1
        await asyncio.gather(*dispatcher.running)
    assert {(await core.row(row.id)).state for row in rows} == {State.SENT}
    assert len(core.sandbox.vendors.ledger) == 3


async def test_inside_the_undo_window_it_is_prepared_and_its_size_and_cost_are_known(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    assert (row.state, row.size, row.owner) == (State.SCHEDULED, 20, None)
    assert row.staged is not None
    assert (row.staged.ready, str(row.staged.cost)) == (True, "2.58")
    assert core.sandbox.vendors.ledger == []
    core.now += 31 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT
    assert [sent.ids for sent in core.sandbox.vendors.ledger] == [(row.staged.id,)]
    creates = [seen for seen in core.sandbox.vendors.office.requests if seen.path.endswith("/create")]
    assert len(creates) == 1


async def test_a_prepared_campaign_that_somebody_sends_at_the_vendor_has_gone_out_once(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    assert row.staged is not None
    core.sandbox.vendors.octopush.campaigns[row.staged.id].state = "sent"
    core.sandbox.vendors.faults.add("octopush.status", "error", times=1000, status=400, body={"code": 132})
    core.now += 31 * SECOND
    await core.run(dispatcher)
    after = await core.row(row.id)
    assert (after.state, after.ids) == (State.SENT, (row.staged.id,))
    assert core.sandbox.vendors.ledger == []  # they sent it, and we did not send it again


@pytest.mark.parametrize("code", [131, 999])
async def test_what_a_vendor_says_of_a_campaign_that_may_have_been_sent_by_hand_is_not_taken_for_not_sent(
    make_core: MakeCore, code: int
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.status", "error", times=1000, status=400, body={"code": code})
    core.now += 31 * SECOND
    for dispatcher.leases.staging in (1.0, 5.0, 25.0):  # a busy machine may cut an exchange, so it is tried again
        await core.run(dispatcher)
        core.now += 10 * SECOND
    after = await core.row(row.id)
    assert after.state is State.FAILED
    assert "the bot did not send it" in str(after.failure).lower()
    assert "Nothing was sent" not in str(after.failure)


@pytest.mark.parametrize("end", [Action.STOP, Action.CANCEL])
async def test_what_was_prepared_and_then_stopped_is_thrown_away(make_core: MakeCore, end: Action) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    await core.workflow.act(TEAM, row.id, decision(end), person=CLEO, version=1)
    after = await core.approved(audience="vip")
    core.now += 40 * SECOND
    await core.run(dispatcher)
    assert (await core.row(after.id)).state is State.SENT  # the account's one slot is free again
    whats = {sending.id: sending.what for sending in core.sandbox.vendors.octopush.sendings.values()}
    assert row.staged is not None
    assert whats[row.staged.id] == "cancelled"
    assert len(core.sandbox.vendors.ledger) == 1


async def test_stopped_while_it_is_being_prepared_nothing_stays_open(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "slow", seconds=0.5)
    row, dispatcher = await core.approved(audience="newsletter"), core.dispatcher("a")
    await dispatcher.tick()
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.CANCELLED
    assert {sending.what for sending in core.sandbox.vendors.octopush.sendings.values()} == {"cancelled"}


@pytest.mark.parametrize(
    "how", some_later([{"kind": "reset"}, {"kind": "error", "status": 429}, {"kind": "error", "status": 503}])
)
async def test_a_recall_that_fails_is_tried_again(make_core: MakeCore, how: dict[str, Any]) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.cancel", **how)
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    states = [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()]
    assert states == ["open"]
    core.now += 60 * SECOND
    await core.run(dispatcher)
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_after_a_restart_what_was_to_be_recalled_later_is_recalled_at_once(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.cancel", "reset")
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    await core.run(core.dispatcher("after the restart"))
    # on PostgreSQL another process may be recalling it, so this one leaves it time
    expected = "cancelled" if core.database.exclusive else "open"
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == [expected]


async def test_larger_than_approved_is_seen_inside_the_undo_window(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.octopush.lists["newsletter"] = 500
    row, dispatcher = await staged_early(core)
    assert (row.state, row.size, row.bound, row.staged) == (State.PENDING, 500, 500, None)
    await core.run(dispatcher)
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]
    assert core.sandbox.vendors.ledger == []


async def quoted_and_approved(core: Core, price: str) -> tuple[Broadcast, Dispatcher]:
    """An Octopush broadcast of 2.58 EUR whose card showed `price`, prepared inside its undo window."""
    row, dispatcher = await core.ask(audience="newsletter"), core.dispatcher("a")
    await core.workflow.sizes.learn(TEAM, row.id, 20, quoted=price)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.run(dispatcher)
    return await core.row(row.id), dispatcher


@pytest.mark.parametrize("price", some_later(["0.10 EUR", "900 USD", "900"]))
async def test_dearer_than_its_card_showed_or_in_another_currency_it_is_asked_again_once(
    make_core: MakeCore, price: str
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await quoted_and_approved(core, price)
    assert (row.state, row.quoted, row.size, row.bound) == (State.PENDING, "2.58 EUR", 20, 20)
    assert "It would now cost {cost}, but its card showed {shown}." in await all_notes(core)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    await core.run(dispatcher)
    core.now += 31 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_at_the_price_that_its_card_showed_it_goes(make_core: MakeCore) -> None:
    row, _ = await quoted_and_approved(make_core(**{"approval.undo": "30s"}), "2.580 EUR")
    assert (row.state, row.quoted) == (State.SCHEDULED, "2.580 EUR")


async def test_what_is_quoted_only_and_has_become_dearer_is_asked_again(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    account = core.providers["encom"]
    costs = iter([Decimal(3), Decimal(4)])

    async def quote(_: Message) -> Quote:
        return Quote(2, next(costs), "EUR")

    monkeypatch.setattr(account, "capabilities", dataclasses.replace(account.capabilities, sizes=False, quotes=True))
    monkeypatch.setattr(account, "quote", quote)
    row, dispatcher = await core.ask(), core.dispatcher("a")
    await dispatcher.sizes.learn()
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.run(dispatcher)
    row = await core.row(row.id)
    assert (row.state, row.quoted, core.sandbox.vendors.ledger) == (State.PENDING, "4 EUR", [])


async def test_a_list_that_has_grown_asks_as_many_people_as_it_needs_now(make_core: MakeCore) -> None:
    core = make_core(**TWO_FOR_MANY, **{"approval.undo": "30s"})
    core.sandbox.vendors.octopush.lists["newsletter"] = 500
    row, _ = await staged_early(core)
    assert (row.state, row.size, row.quorum) == (State.PENDING, 500, 2)


@pytest.mark.parametrize(("larger_than", "asked"), [(None, "U0APPROVER9"), (300, "U0APPROVER8")])
async def test_a_list_that_has_grown_asks_others_only_if_another_rule_names_them(
    make_core: MakeCore, larger_than: int | None, asked: str
) -> None:
    """The text was lately marketing, so the approvers of marketing are asked although the purpose is another one."""
    marketing = {"purpose": "marketing", "quorum": 1, "approvers": ["U0APPROVER9"]}
    large = {"purpose": "transactional", "larger_than": larger_than, "quorum": 2, "approvers": ["U0APPROVER8"]}
    core = make_core(**{"approval.rules": [marketing, large] if larger_than else [marketing], "approval.undo": "30s"})
    core.sandbox.vendors.octopush.lists["newsletter"] = 500
    first = await core.ask(text="Soldes de lundi", audience="newsletter")
    await core.workflow.act(TEAM, first.id, Cancel(), person=CLEO, version=1)
    row = await core.ask(text="Soldes de lundi", audience="newsletter", purpose=Purpose.TRANSACTIONAL)
    assert (row.state, row.approvers) == (State.PENDING, ("U0APPROVER9",))
    await core.workflow.sizes.learn(TEAM, row.id, 20)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(9), version=1)
    await core.run(core.dispatcher("a"))
    back = await core.row(row.id)
    assert (back.state, back.size, back.approvers) == (State.PENDING, 500, (asked,))


@pytest.mark.parametrize("purpose", [Purpose.MARKETING, Purpose.TRANSACTIONAL])
async def test_a_size_that_was_told_after_the_approval_counts_though_the_vendor_tells_none_at_the_release(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, purpose: Purpose
) -> None:
    async def silent(_: Audience) -> None:
        return None

    core = make_core(**{"audiences.clients.max_size": 100})
    row = await core.ask(purpose=purpose, text="Votre commande est prête", send_at=core.now + 600 * SECOND)
    if purpose is Purpose.MARKETING:
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, 5000)
    monkeypatch.setattr(core.providers["encom"], "size", silent)
    core.now += 600 * SECOND
    await core.run(core.dispatcher("a"))
    row = await core.row(row.id)
    assert (row.state, row.size, row.bound, row.quorum) == (State.PENDING, 5000, 5000, 1)
    assert core.sandbox.vendors.ledger == []
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_a_size_that_is_told_after_the_approval_counts_at_the_next(make_core: MakeCore) -> None:
    core = make_core(**TWO_FOR_MANY)
    row = await core.approved(audience="newsletter")
    await core.workflow.sizes.learn(TEAM, row.id, 500)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    states = []
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
        states.append((await core.row(row.id)).state)
    assert states == [State.PENDING, State.SCHEDULED]


async def test_what_the_vendor_refuses_to_prepare_fails_before_its_time(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "error", status=400, body={"code": 303})
    row, _ = await staged_early(core)
    assert row.state is State.FAILED
    assert "does not know the audience newsletter" in str(row.failure)


async def test_a_process_that_died_preparing_leaves_the_row_to_the_next(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row = await core.approved(audience="newsletter")
    await core.edit(row, owner="dead", lease_until=core.now + 10 * SECOND)
    core.now += 31 * SECOND
    await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_a_process_that_died_over_a_quote_leaves_the_accounts_place_to_the_next(core: Core) -> None:
    await core.database.write(lambda c: take_lease(c, "quote:octo", "dead", 300.0, core.now))
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("alive"))
    if not core.database.exclusive:  # the other process may be alive
        assert (await core.row(row.id)).state is State.SCHEDULED
        core.now += 301 * SECOND
        await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.SENT


async def test_while_one_account_is_asked_for_a_quote_the_others_send(core: Core) -> None:
    await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 300.0, core.now))
    for _ in range(CLAIM_AT_ONCE):
        await core.approved(audience="newsletter")
    core.now += SECOND
    last = await core.approved(audience="clients")
    await core.run(core.dispatcher("a"))
    assert (await core.row(last.id)).state is State.SENT


async def test_what_cannot_be_prepared_early_is_tried_again_when_the_vendor_said_and_at_its_time(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    patience = {"status": 429, "headers": {"Retry-After": "20"}}
    core.sandbox.vendors.faults.add("octopush.create", "error", times=2, **patience)
    row = await core.approved(audience="newsletter")
    dispatcher = core.dispatcher("a")
    asked = []
    for _ in range(32):
        await core.run(dispatcher)
        requests = core.sandbox.vendors.office.requests
        asked.append(len([seen for seen in requests if seen.path.endswith("/create")]))
        core.now += SECOND
    assert (asked[0], asked[19], asked[21], asked[29]) == (1, 1, 2, 2)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_what_one_process_prepares_early_another_one_leaves_to_it(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "slow", until=(answers := asyncio.Event()))
    here, there = core.dispatcher("a"), core.dispatcher("b")
    await core.run(here, there)
    row = await core.approved(audience="newsletter")
    await here.tick()
    await core.sandbox.until(lambda: core.sandbox.vendors.office.requests)
    leased = await core.row(row.id)
    assert leased.lease_until is not None
    assert (leased.owner, leased.lease_until > core.now, leased.attempt) == ("a", True, 1)
    await there.tick()
    assert not there.running
    answers.set()
    await asyncio.gather(*here.running)
    assert (await core.row(row.id)).owner is None


async def test_nobody_prepares_early_at_a_vendor_that_cannot_be_reached(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    away = Breaker(BREAKER_FAILURES, core.now + 300 * SECOND)
    await core.database.write(lambda c: set_breaker(c, "octo", away, core.now))
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).attempt == 0
