"""An approval holds for what rings, where, when and from whom. Change any of it, and it needs approval again."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.broadcast import BOUND_FIELDS, Broadcast, fingerprint
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Hold, State
from bot.slack.blocks import card_facts
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_facts import CardContext
from bot.slack.card_context import CardContexts
from bot.workflow.decision_types import Approve
from bot.workflow.kill_switch import KillSwitch
from providers.base import AudienceKind, Purpose
from sandbox.blocks import check_blocks
from tests.support.core import TEAM, Core, approver
from tests.support.rows import row

EN = translator_for("en")

#: Every field that changes what rings, with another value. A series or a test has fields that nothing else has.
BOUND: dict[str, Any] = {
    "mode": "training",
    "audience": "everyone",
    "account": "octo",
    "provider": "octopush",
    "kind": AudienceKind.TAG,
    "target": "4",
    "everyone": True,
    "subscribers": ("+919800000002",),
    "purpose": Purpose.TRANSACTIONAL,
    "text": "Something else STOP AU 36111",
    "sender": "Bell",
    "send_at": 1_800_003_600_000_000,
    "covers": 5,
    "schedule": "SOTHER23",
    "test_of": "everyone",
    "canary": "paris",
}

#: What these fields are bound in: only a series has a schedule that an approval may cover.
BESIDE: dict[str, dict[str, Any]] = {
    "covers": {"covers": 3, "schedule": "SERIES23"},
    "schedule": {"covers": 3, "schedule": "SERIES23"},
    "subscribers": {"subscribers": ("+919800000001",)},
}

#: Every other field, and why no approval binds it.
FREE = {
    **dict.fromkeys(("workspace", "id", "version"), "under these, approvals are kept"),
    **dict.fromkeys(("state", "phase", "hold", "hold_until"), "where it is in its life"),
    "key": "tells one request from the next",
    **dict.fromkeys(("requester", "editor"), "who may not approve it"),
    **dict.fromkeys(("channel", "asked_in"), "where its card is"),
    "typed": "`text`, before the mention was added to it",
    "campaign": "a label at the vendor, which no phone shows",
    **dict.fromkeys(("policy", "zone"), "when it may go; checked against the settings before it goes"),
    "digest": "what all this is bound by",
    **dict.fromkeys(("size", "unnamed", "quoted"), "what the vendor says about it"),
    "bound": "the size is compared with it before the release",
    **dict.fromkeys(("quorum", "approvers"), "who must approve it"),
    **dict.fromkeys(("start_at", "due"), "when it is tried: `send_at`, the undo window, the hours or *Send now*"),
    **dict.fromkeys(("expires_at", "approved_at"), "how long it may wait"),
    **dict.fromkeys(("attempt", "tries", "owner", "lease_until", "stage_at"), "who sends it, and how often"),
    "staged": "made from `text` and the audience after the approval",
    **dict.fromkeys(("ids", "failure", "counts", "accepted_at", "look_at", "finals"), "what came of it"),
    **dict.fromkeys(("created_at", "changed_at", "revision"), "when the row was written"),
    "text_removed_at": "nothing goes out any more: only what has ended loses its text",
    "ruled_at": "for which start its approvers were named, who are looked at again at the approval",
    **dict.fromkeys(("voice_at", "voices"), "when approvers are reminded"),
    **dict.fromkeys(("occurrence", "covered_by"), "which one of its series it is"),
    "follows": "which one it corrects",
    "continued_at": "that somebody has looked at its canary",
    "marketing_until": "what it was before; now `purpose` is bound",
    **dict.fromkeys(("glass_by", "glass_reason", "glass_at"), "who let it go without approval"),
    "glass_digest": "what they let go, which is compared with the digest",
    **dict.fromkeys(
        ("review_at", "reviewed_by", "reviewed_at", "review_comment"), "that it was let go is looked at later"
    ),
}

OTHERS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("mode", "audience", "account", "provider", "target", "text", "schedule", "test_of", "canary"), st.text()
    ),
    "kind": st.sampled_from(AudienceKind),
    "everyone": st.booleans(),
    "subscribers": st.lists(st.text()).map(tuple),
    "purpose": st.sampled_from(Purpose),
    "sender": st.none() | st.text(),
    "send_at": st.none() | st.integers(),
    "covers": st.integers(2),
}


def test_every_field_is_bound_by_an_approval_or_has_a_reason_not_to_be() -> None:
    fields = {field.name for field in dataclasses.fields(Broadcast)}
    assert BOUND.keys() | FREE.keys() == fields
    assert BOUND.keys() & FREE.keys() == set()
    assert set(BOUND_FIELDS) | {"covers", "schedule", "test_of", "canary"} == BOUND.keys() == OTHERS.keys()


@given(st.data())
def test_another_value_of_any_bound_field_is_another_digest(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BOUND)))
    one = row(**BESIDE.get(name, {}))
    other = dataclasses.replace(one, **{name: data.draw(OTHERS[name])})
    assert (one.computed_digest() == other.computed_digest()) == (getattr(one, name) == getattr(other, name))


def test_no_other_field_is_in_the_digest() -> None:
    """What the vendor and the clock write after an approval must not void it."""
    one = row()
    for name in FREE:
        changed: dict[str, Any] = {name: object()}
        assert dataclasses.replace(one, **changed).computed_digest() == one.computed_digest(), name


async def agreed(core: Core, name: str) -> Broadcast:
    """A broadcast that was approved as this field wants it."""
    asked = await core.ask()
    given = BESIDE.get(name, {})
    digest = dataclasses.replace(asked, **given).computed_digest()
    await core.edit(asked, **given, digest=digest)
    return await core.workflow.act(TEAM, asked.id, Approve(), person=approver(0), version=1)


async def run_all(core: Core) -> None:
    """Tick until everything due has been looked at: a tick claims only a few."""
    dispatcher = core.dispatcher("a")
    for _ in BOUND:
        await core.run(dispatcher)


async def test_what_changed_behind_everybody_does_not_go_out(core: Core) -> None:
    rows = {name: await agreed(core, name) for name in BOUND}
    for name, approved in rows.items():
        assert approved.state is State.SCHEDULED, name
        await core.edit(approved, **{name: BOUND[name]})
    await run_all(core)
    assert core.sandbox.vendors.ledger == []
    found = {name: await core.row(approved.id) for name, approved in rows.items()}
    held = {name: now.hold for name, now in found.items() if now.state is State.HELD}
    blocked = dict.fromkeys(("mode", "account", "provider"), Hold.BLOCKED)  # no approver can put that right
    assert held == {**blocked, "canary": Hold.CANARY}  # nobody has got it first
    assert {now.state for name, now in found.items() if name not in held} == {State.PENDING}


async def test_the_same_unchanged_does_go_out(core: Core) -> None:
    """Else the test above would prove nothing."""
    rows = {name: await agreed(core, name) for name in BOUND}
    await run_all(core)
    found = {name: (await core.row(approved.id)).state for name, approved in rows.items()}
    assert found == dict.fromkeys(BOUND, State.SENT)


async def card_of(core: Core, shown: Broadcast) -> str:
    """The text of a card, without the digest that it ends with: nobody can read from that what has changed."""
    showing = await CardContexts(core.runtime, core.workflow, KillSwitch()).of(shown, [])
    post = draw_card(shown, showing, EN)
    return json.dumps([post.blocks, post.plainest], ensure_ascii=False).replace(fingerprint(shown), "")


async def test_an_approver_sees_every_field_that_is_bound(core: Core) -> None:
    asked = await core.ask()
    unseen = []
    for name, value in BOUND.items():
        one = dataclasses.replace(asked, **BESIDE.get(name, {}))
        if await card_of(core, one) == await card_of(core, dataclasses.replace(one, **{name: value})):
            unseen.append(name)
    assert unseen == []


#: It has everything that a card warns of, so that there are more lines than Slack takes in one block.
LOUD = "Soldes -50% :fire: S\u043eldes\u200b {{Name}} https://example.org"


def test_however_much_there_is_to_warn_of_nothing_is_left_out() -> None:
    said = Translatable("Said last")
    showing = CardContext((), "Kaizala", said, None, False, "", misfit=said, duplicate=row(id="B777777"))
    loud = row(text=LOUD, purpose=Purpose.TRANSACTIONAL, everyone=True, send_at=1, unnamed=3, **BESIDE["covers"])
    shown = card_facts.warnings(loud, showing, EN)
    assert len(shown) >= 10
    post = draw_card(loud, showing, EN)
    for blocks in (post.blocks, post.plainest):
        check_blocks(blocks)
        assert [line for line in shown if json.dumps(line)[1:-1] not in json.dumps(blocks)] == []


async def test_the_sender_that_was_shown_goes_out_even_if_the_account_has_another_by_then(core: Core) -> None:
    row = await core.approved(audience="newsletter")
    assert row.sender == "Bell"
    octopush = core.providers["octo"].adapter
    octopush.settings = octopush.settings.model_copy(update={"sender": "OTHER"})
    await core.run(core.dispatcher("one"))
    await core.run(core.dispatcher("one"))
    assert [sent.sender for sent in core.sandbox.vendors.ledger] == ["Bell"]
