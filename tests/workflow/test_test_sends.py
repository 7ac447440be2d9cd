"""A test goes to a few colleagues and counts as nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config.settings import SettingsError
from bot.domain.broadcast import MOST_IN_A_TEST
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.lifecycle import Hold, State
from bot.workflow.decision_types import Edit, Replan
from providers.base import Purpose
from tests.support.cards import HOUR
from tests.support.core import CLEO, TEAM, Core, MakeCore

SMALL = {
    "accounts.encom.test_audience": "few",
    **{f"audiences.few.{name}": value for name, value in {"account": "encom", "kind": "list", "id": "2"}.items()},
}
FEW = {**SMALL, "audiences.few.max_size": 3}


async def trial(core: Core, **changes: Any) -> Any:
    """A test of the text to *clients*."""
    return await core.ask(**{"test": True, **changes})


async def test_a_test_of_marketing_goes_to_the_test_audience_without_approval(make_core: MakeCore) -> None:
    core = make_core(**FEW)
    row = await trial(core, text="Soldes demain")
    assert (row.state, row.quorum, row.audience, row.test_of, row.target) == (State.SCHEDULED, 0, "few", "clients", "2")
    assert row.text == (await core.ask(text="Soldes demain")).text  # with the mention that the clients will read
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT
    assert [entry.audience for entry in core.sandbox.vendors.ledger] == ["list 2 (Team)"]


@pytest.mark.parametrize("size", [None, MOST_IN_A_TEST + 1])
async def test_a_test_audience_that_may_be_larger_is_approved_like_any_other(
    make_core: MakeCore, size: int | None
) -> None:
    bound = {"audiences.few.max_size": size} if size else {}
    core = make_core(**SMALL, **{"audiences.few.policy": "always"}, **bound)
    row = await trial(core)
    assert (row.state, row.quorum, row.small_test) == (State.PENDING, 1, False)


async def test_a_test_audience_of_just_so_many_needs_no_approval(make_core: MakeCore) -> None:
    core = make_core(**SMALL, **{"audiences.few.max_size": MOST_IN_A_TEST})
    assert (await trial(core)).state is State.SCHEDULED


async def test_a_test_whose_audience_has_grown_asks_and_does_not_go(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"audiences.few.policy": "always"})
    row = await trial(core)
    await core.edit(row, size=MOST_IN_A_TEST + 1)
    await core.run(core.dispatcher("one"))
    asked = await core.row(row.id)
    assert (asked.state, asked.quorum) == (State.PENDING, 1)
    assert core.sandbox.vendors.ledger == []


async def test_whoever_makes_a_broadcast_look_like_a_test_sends_nothing(make_core: MakeCore) -> None:
    core = make_core(**FEW)
    row = await core.approved()
    await core.edit(row, test_of="clients", audience="few", bound=3, quorum=0)
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is not State.SENT
    assert core.sandbox.vendors.ledger == []


async def test_a_test_counts_neither_towards_the_cap_nor_waits_for_it(make_core: MakeCore) -> None:
    core = make_core(**FEW, hourly_cap=1)
    one = core.dispatcher("one")
    first, sent = await trial(core), await core.approved()
    await core.run(one)
    assert [(await core.row(row.id)).state for row in (first, sent)] == [State.SENT, State.SENT]
    again, held = await trial(core), await core.approved()
    await core.run(one)
    assert (await core.row(again.id)).state is State.SENT
    assert (await core.row(held.id)).hold is Hold.CAP


async def test_a_test_is_not_the_send_that_was_asked_for_twice(make_core: MakeCore) -> None:
    core = make_core(**FEW)
    test, sent = await trial(core, text="Soldes"), await core.ask(text="Soldes")
    assert test.id != sent.id
    assert test.digest != sent.digest
    assert (await trial(core, text="Soldes")).id == test.id  # the same command twice is one test


async def test_a_test_goes_at_any_hour_and_at_once(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"audiences.few.policy": "fr"})
    core.now += 14 * HOUR  # 23:00 in Paris
    row = await trial(core)
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT


async def test_a_pause_of_all_sending_holds_a_test_too(make_core: MakeCore) -> None:
    core = make_core(**FEW, admins=["U0CLEO"])
    await core.workflow.pause_all(CLEO, on=True)
    row = await trial(core)
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).hold is Hold.PAUSED
    assert core.sandbox.vendors.ledger == []


async def test_without_a_test_audience_it_says_who_can_set_one(core: Core) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await trial(core)
    (complaint,) = refused.value.complaints
    assert complaint.field == "audience"
    assert "[accounts.encom]" in str(complaint.sentence)


async def test_a_test_is_for_those_who_may_write_to_the_audience(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"audiences.clients.requesters": ["U0ANA"]})
    with pytest.raises(NotAllowed):
        await trial(core)


async def test_an_edited_test_stays_a_test(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"approval.undo": "30s"})
    row = await trial(core, text="Soldes")
    request = core.request(text="Soldes demain")
    edited = await core.workflow.act(TEAM, row.id, Edit(request), person=CLEO, version=1)
    assert (edited.version, edited.audience, edited.test_of, edited.state) == (2, "few", "clients", State.SCHEDULED)


async def test_a_replanned_test_stays_a_test(make_core: MakeCore) -> None:
    core = make_core(**FEW, **{"approval.undo": "30s"})
    row = await trial(core)
    later = await core.workflow.act(TEAM, row.id, Replan(core.now + HOUR), person=CLEO, version=1)
    assert (later.state, later.quorum, later.small_test) == (State.SCHEDULED, 0, True)


async def test_a_draft_of_a_test_never_becomes_a_send(make_core: MakeCore) -> None:
    core = make_core(**FEW)
    request = core.request(text="Votre commande est prête", purpose=Purpose.TRANSACTIONAL)
    kept = await core.workflow.submit(
        request.model_copy(update={"test": True}), key="draft", person=CLEO, postable=False
    )
    assert kept.broadcast.state is State.DRAFT
    with pytest.raises(StaleVersion):
        await core.workflow.submit(request, key="sent", person=CLEO, draft=kept.broadcast.id)
    assert (await core.row(kept.broadcast.id)).state is State.DRAFT


async def test_a_test_for_many_goes_out_once_it_is_approved(make_core: MakeCore) -> None:
    core = make_core(**SMALL, **{"audiences.few.max_size": 30, "audiences.few.policy": "always"})
    row = await core.approved(test=True)
    assert row.state is State.SCHEDULED
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT


def test_the_test_audience_must_be_of_the_same_account(make_core: MakeCore) -> None:
    with pytest.raises(SettingsError, match="belongs to the account encom"):
        make_core(**{"accounts.octo.test_audience": "clients"})
