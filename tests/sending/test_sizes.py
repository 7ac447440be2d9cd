"""Sizes and quotes: what a vendor reports before an approval, and what is made of it."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.storage import tables
from bot.storage.keys import BREAKER_FAILURES, breaker, lease_holder, stops, take_lease
from bot.workflow.audience_cache import AudienceCache
from bot.workflow.decision_types import Approve
from providers.base import Audience, AudienceFound, Message, Quote
from providers.reading import UNREADABLE
from tests.support.core import TEAM, Core, MakeCore, approver
from tests.support.patience import until
from tests.support.sending import TWO_FOR_MANY, gone


async def test_one_failure_is_counted_and_is_no_vendor_that_cannot_be_reached(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.base_url": "http://127.0.0.1:9"})
    dispatcher = core.dispatcher("a")
    for number in range(1, BREAKER_FAILURES + 1):
        await core.approved()
        await core.run(dispatcher)
        known = await core.database.read(lambda c: breaker(c, "encom"))
        assert known.failures == number
        told = await core.database.read(lambda c: stops(c, core.now))
        assert list(told.away) == ["encom"] * (number == BREAKER_FAILURES)


@pytest.mark.parametrize("told", [{"message": "Unauthenticated."}, ["Ana"], None, 5])
async def test_a_size_that_cannot_be_read_is_not_learnt(core: Core, told: Any) -> None:
    """C3: people see that the vendor does not give it; the bound is guarded separately."""
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=100, status=200, body=told)
    row = await core.ask()
    await core.dispatcher("a").sizes.learn()
    after = await core.row(row.id)
    assert (after.size, after.unnamed, after.revision) == (None, None, row.revision)


async def test_a_size_that_a_vendor_does_not_tell_is_not_learnt(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def untold(audience: Audience) -> AudienceFound:
        return AudienceFound(audience.kind, audience.id, "Clients", None, 1)

    monkeypatch.setattr(core.providers["encom"], "size", untold)
    row = await core.ask()
    await core.dispatcher("a").sizes.learn()
    after = await core.row(row.id)
    assert (after.size, after.unnamed, after.revision) == (None, None, row.revision)


@pytest.mark.parametrize("taken", ["a quote", "a campaign"])
async def test_no_quote_is_asked_for_while_the_accounts_one_place_is_taken(make_core: MakeCore, taken: str) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    dispatcher = core.dispatcher("a")
    if taken == "a quote":
        await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 300.0, core.now))
    else:
        other = await core.approved(audience="newsletter")
        lease = {"phase": "staging", "owner": "a", "attempt": 1, "lease_until": core.now + 60 * SECOND}
        await core.edit(other, state="sending", size=20, **lease)
    row = await core.ask(audience="newsletter")
    await dispatcher.sizes.learn()
    assert core.sandbox.vendors.octopush.campaigns == {}
    core.now += 3 * SECOND
    await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 0.0, core.now))
    if taken == "a campaign":
        await core.edit(other, state="sent", owner=None, lease_until=None)
    await dispatcher.sizes.learn()
    assert (await core.row(row.id)).size == 20
    assert await core.database.read(lambda c: lease_holder(c, "quote:octo", core.now)) is None  # free at once


@pytest.mark.parametrize("contacts", [None, UNREADABLE])
async def test_a_quote_that_tells_a_cost_and_no_size_tells_the_cost(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, contacts: int | None
) -> None:
    core = make_core(**{"audiences.clients.max_size": 500, "approval.rules": TWO_FOR_MANY["approval.rules"]})
    account = core.providers["encom"]
    costs = iter(map(Decimal, (900, 900, 950, 990)))

    async def quote(_: Message) -> Quote:
        return Quote(contacts, next(costs), "EUR")

    monkeypatch.setattr(account, "capabilities", dataclasses.replace(account.capabilities, sizes=False, quotes=True))
    monkeypatch.setattr(account, "quote", quote)
    row, dispatcher = await core.ask(), core.dispatcher("a")
    assert row.quorum == 2

    async def asked() -> Broadcast:
        await dispatcher.sizes.learn()
        core.now += 301 * SECOND
        return await core.row(row.id)

    first, same, dearer = [await asked() for _ in range(3)]
    assert [(one.size, one.quoted, one.quorum) for one in (first, dearer)] == [
        (None, "900 EUR", 2),
        (None, "950 EUR", 2),
    ]
    assert same.revision == first.revision
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
    agreed = await asked()
    assert (agreed.state, agreed.quoted) == (State.SCHEDULED, "950 EUR")


async def test_a_vendor_that_gives_sizes_and_quotes_is_asked_for_both(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = core.providers["encom"]

    async def quote(_: Message) -> Quote:
        return Quote(7, Decimal("2.58"), "EUR")

    monkeypatch.setattr(account, "capabilities", dataclasses.replace(account.capabilities, sizes=True, quotes=True))
    monkeypatch.setattr(account, "quote", quote)
    row = await core.ask()
    await core.dispatcher("a").sizes.learn()
    told = await core.row(row.id)
    assert (told.size, told.quoted) == (2, "2.58 EUR")  # the list itself knows better than a quote


async def test_a_quote_that_tells_a_size_and_no_cost_tells_the_size(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    body = {"number_of_contacts": 20, "status": "ready_to_be_sent"}
    core.sandbox.vendors.faults.add("octopush.status", "error", times=100, status=200, body=body)
    row = await core.ask(audience="newsletter")
    await core.dispatcher("a").sizes.learn()
    told = await core.row(row.id)
    assert (told.size, told.quoted) == (20, None)


async def test_a_quote_without_a_readable_size_tells_none(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    body = {"number_of_contacts": "many", "cost": 2.58, "status": "ready_to_be_sent"}
    core.sandbox.vendors.faults.add("octopush.status", "error", times=100, status=200, body=body)
    row = await core.ask(audience="newsletter")
    await core.dispatcher("a").sizes.learn()
    assert (await core.row(row.id)).size is None
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_a_size_that_cannot_be_read_any_more_is_not_listed(core: Core) -> None:
    listed = AudienceCache(core.providers, core.settings.audiences)
    await listed.refresh()
    assert listed.size_of("clients") == 2
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=100, status=200, body={"message": "x"})
    listed = AudienceCache(core.providers, core.settings.audiences)
    await listed.refresh()
    assert listed.size_of("clients") is None
    assert listed.size_of("staff") == 12


async def test_an_audience_that_was_renamed_keeps_nobody_from_learning_the_other_sizes(make_core: MakeCore) -> None:
    was = make_core()
    first, second_one = await was.ask(), await was.ask(audience="everyone")
    now = make_core()
    kept = {name: audience for name, audience in now.settings.audiences.items() if name != "clients"}
    now.audiences = dataclasses.replace(now.audiences, settings=now.settings.model_copy(update={"audiences": kept}))
    now.workflow = now.workflow_over(now.database)
    await now.dispatcher("a").sizes.learn()
    assert (await now.row(first.id)).size is not None
    assert (await now.row(second_one.id)).size == 10000


@pytest.mark.parametrize("sends", ["the same", "another"])
async def test_what_a_process_left_open_when_it_died_over_a_quote_is_thrown_away_and_blocks_nobody(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, sends: str
) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    quoted, dead = await core.ask(audience="newsletter"), core.dispatcher("dead")
    monkeypatch.setattr(dead.stager, "_recalled", gone)
    asking = asyncio.create_task(dead.sizes.learn())
    campaigns = core.sandbox.vendors.octopush.campaigns
    await until(lambda: core.database.read(lambda c: c.execute(tables.leftovers.select()).all()))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert [campaign.state for campaign in campaigns.values()] == ["open"]
    core.now += 400 * SECOND
    row = quoted if sends == "the same" else await core.ask(audience="vip")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    alive = core.dispatcher("alive")
    for _ in range(3):
        await core.run(alive)
        core.now += 10 * SECOND
    assert (await core.row(row.id)).state is State.SENT
    assert [campaign.state for campaign in campaigns.values()] == ["cancelled", "sent"]


async def test_a_quote_whose_campaign_cannot_be_thrown_away_is_told_all_the_same_and_tries_again(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    quoted, dispatcher = await core.ask(audience="newsletter"), core.dispatcher("a")
    core.sandbox.vendors.faults.add("octopush.cancel", "error", status=503)
    await dispatcher.sizes.learn()
    (campaign,) = core.sandbox.vendors.octopush.campaigns.values()
    assert ((await core.row(quoted.id)).size, campaign.state) == (20, "open")
    await core.run(dispatcher)
    assert campaign.state == "cancelled"
    assert await core.database.read(lambda c: c.execute(tables.leftovers.select()).all()) == []
