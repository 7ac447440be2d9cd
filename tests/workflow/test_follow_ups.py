"""A follow-up goes to the audience of what it follows, for the same purpose or one that asks more."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.errors import InvalidRequest
from bot.domain.lifecycle import State
from bot.workflow.decision_types import Cancel, Edit
from bot.workflow.submitted import Submitted
from providers.base import Purpose
from tests.support.cards import told_of
from tests.support.core import CLEO, TEAM, Core

ORDER = {"text": "Votre commande est prête", "purpose": Purpose.TRANSACTIONAL}


async def ended(core: Core, **changes: Any) -> Broadcast:
    row = await core.ask(**changes)
    return await core.workflow.act(TEAM, row.id, Cancel(), person=CLEO, version=1)


async def followed(core: Core, row: Broadcast, draft: str | None = None, **changes: Any) -> Submitted:
    postable = changes.pop("postable", True)
    request = core.request(**changes)
    key = f"k{core.count}"
    return await core.workflow.submit(request, key=key, person=CLEO, follows=row.id, draft=draft, postable=postable)


async def refused(core: Core, row: Broadcast, **changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as error:
        await followed(core, row, **changes)
    return [(one.field, str(one.sentence)) for one in error.value.complaints]


async def test_to_the_same_audience_it_names_what_it_follows(core: Core) -> None:
    row = await ended(core)
    new = (await followed(core, row)).broadcast
    assert (new.state, new.follows) == (State.PENDING, row.id)
    assert f"This is a follow-up to {row.id}." in [str(note.sentence) for note in await told_of(core, new)]


async def test_to_another_audience_it_is_refused_under_the_field(core: Core) -> None:
    row = await ended(core)
    ((field, told),) = await refused(core, row, audience="everyone")
    assert field == "audience"
    assert told.startswith("A follow-up goes to the same audience.")


async def test_a_laxer_purpose_is_refused_and_a_stricter_one_is_not(core: Core) -> None:
    ((field, told),) = await refused(core, await ended(core), **ORDER)
    assert field == "purpose"
    assert told.startswith("A follow-up to marketing is marketing too.")
    assert (await followed(core, await ended(core, **ORDER))).broadcast.purpose is Purpose.MARKETING


async def test_both_are_told_at_once(core: Core) -> None:
    told = await refused(core, await ended(core), audience="everyone", **ORDER)
    assert [field for field, _ in told] == ["audience", "purpose"]


async def test_an_id_of_nothing_makes_no_follow_up(core: Core) -> None:
    """It comes from a form, and a follow-up is asked no question about duplicates."""
    row = await core.ask(text="Soldes demain")
    core.now += 3_600_000_000
    request = core.request(text="Soldes demain")
    new = await core.workflow.submit(request, key="x", person=CLEO, follows="B2222222")
    assert (new.broadcast.state, new.broadcast.follows) == (State.DRAFT, None)
    assert row.id in str(new.questions[0].sentence)


async def test_an_edit_of_a_follow_up_keeps_its_audience_and_purpose(core: Core) -> None:
    new = (await followed(core, await ended(core))).broadcast
    for wrong in ({"audience": "everyone"}, {"purpose": Purpose.TRANSACTIONAL, "text": "Votre commande est prête"}):
        with pytest.raises(InvalidRequest, match=r"^(audience|purpose)$"):
            await core.workflow.act(TEAM, new.id, Edit(core.request(**wrong)), person=CLEO, version=1)
    edited = await core.workflow.act(TEAM, new.id, Edit(core.request(text="Autrement")), person=CLEO, version=1)
    assert (edited.version, edited.follows) == (2, new.follows)


async def test_a_draft_of_a_follow_up_is_one_once_it_is_submitted(core: Core) -> None:
    row = await ended(core)
    kept = (await followed(core, row, postable=False)).broadcast
    assert (kept.state, kept.follows) == (State.DRAFT, row.id)
    done = (await followed(core, row, draft=kept.id)).broadcast
    assert (done.state, done.id, done.follows) == (State.PENDING, kept.id, row.id)
    told = [str(note.sentence) for note in await told_of(core, row)]
    assert [one for one in told if "asked for a follow-up" in one] == [f"<@U0CLEO> asked for a follow-up: {kept.id}."]
