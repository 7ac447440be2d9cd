"""Who may do what, by what Slack reports of them at that moment. What Slack does not report gives nobody a right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientConnectionError
from slack_sdk.errors import SlackApiError

from bot.app import Bot
from bot.config.load import parse
from bot.config.settings import SettingsError
from bot.domain.broadcast import BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Action, State
from bot.domain.people import Membership, membership_of
from bot.domain.schedule import Kind
from bot.slack import directory, replies
from bot.storage import broadcast_rows, broadcasts, cards, notes
from bot.storage.database import PATIENCE
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Replan
from sandbox.server import Sandbox
from sandbox.world import Channel, Json
from tests.support.ground import StartBot, all_of, newest, some_later
from tests.support.patience import nothing_more, within
from tests.support.slack import HERE, approved, ask, brought, card, filled, settled, thread_text

FULL = {"team_id": "T1", "deleted": False, "is_bot": False, "is_restricted": False, "is_ultra_restricted": False}
GRID = {**FULL, "team_id": "E1"}

STANDINGS: dict[str, tuple[dict[str, Any], Membership]] = {
    "a full member": (FULL, Membership.MEMBER),
    "a member of ours on the grid": ({**GRID, "enterprise_user": {"teams": ["T2", "T1"]}}, Membership.MEMBER),
    "a member whose home is elsewhere": (
        {**FULL, "team_id": "T2", "enterprise_user": {"teams": ["T1"]}},
        Membership.MEMBER,
    ),
    "of another workspace": ({**FULL, "team_id": "T2"}, Membership.DOUBTFUL),
    "no workspace told, another on the grid": (
        {name: value for name, value in FULL.items() if name != "team_id"} | {"enterprise_user": {"teams": ["T0"]}},
        Membership.DOUBTFUL,
    ),
    "no workspace told": ({name: value for name, value in FULL.items() if name != "team_id"}, Membership.DOUBTFUL),
    "nothing told": ({}, Membership.DOUBTFUL),
    "a guest": ({**FULL, "is_restricted": True}, Membership.OUTSIDER),
    "a single-channel guest": ({**FULL, "is_ultra_restricted": True}, Membership.OUTSIDER),
    "a bot": ({**FULL, "is_bot": True}, Membership.OUTSIDER),
    "somebody who was deactivated": ({"team_id": "T1", "deleted": True}, Membership.OUTSIDER),
    "a stranger": ({**FULL, "is_stranger": True}, Membership.OUTSIDER),
    "a guest as text": ({**FULL, "is_restricted": "true"}, Membership.DOUBTFUL),
    "no word of guests": ({**FULL, "is_restricted": None}, Membership.DOUBTFUL),
    "a stranger as text": ({**FULL, "is_stranger": "yes"}, Membership.DOUBTFUL),
    "teams that are no list": ({**GRID, "enterprise_user": {"teams": "T1"}}, Membership.DOUBTFUL),
    "a grid that is no table": ({**GRID, "enterprise_user": ["T1"]}, Membership.DOUBTFUL),
}


@pytest.mark.parametrize("who", STANDINGS)
def test_a_member_is_who_slack_says_is_one(who: str) -> None:
    profile, expected = STANDINGS[who]
    assert membership_of(profile, "T1") is expected
    assert membership_of(profile, "") is not Membership.MEMBER


def without(*names: str, **more: Any) -> Callable[[Json], Json]:
    return lambda shown: {name: value for name, value in shown.items() if name not in names} | more


async def test_nobody_whose_workspace_is_not_told_sends_anything(sandbox: Sandbox, bot: Bot) -> None:
    """C6: a profile without `team_id`, and another workspace on the grid."""
    sandbox.world.retold["U0CLEO"] = without("team_id", enterprise_user={"teams": ["T0OTHER"]})
    told = await ask(sandbox, "send clients transactional Votre commande est prête")
    assert "I cannot find out from Slack who may do this right now" in told
    assert await all_of(bot) == []


async def test_a_member_on_the_grid_may_ask(sandbox: Sandbox, bot: Bot) -> None:
    """C23: the home workspace is another of our own."""
    sandbox.world.retold["U0CLEO"] = without(team_id="T0OTHER", enterprise_user={"teams": ["T0OTHER", "T0BELL"]})
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes")


@pytest.mark.long
async def test_who_became_a_guest_a_moment_ago_approves_nothing(sandbox: Sandbox, bot: Bot) -> None:
    """C7: by button and by reaction."""
    await ask(sandbox, "list", user="U0ANA")  # known as a member
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.world.people["U0ANA"].guest = True
    await asyncio.sleep(3.1)  # an approval trusts Slack's answer for three seconds at most
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "Only full members" in str(sandbox.acting.ephemerals("U0ANA")))
    assert (await newest(bot)).state is State.PENDING


@pytest.mark.parametrize(
    "line", some_later(["list", "audiences", "show B2345AB", "schedules", "reminders", "template list", ""])
)
async def test_a_guest_is_shown_nothing(sandbox: Sandbox, bot: Bot, line: str) -> None:
    """C38."""
    assert "Only full members" in await ask(sandbox, line, user="U0GUS")
    assert sandbox.acting.views("U0GUS") == []


async def test_a_draft_is_its_writers_alone(sandbox: Sandbox, bot: Bot) -> None:
    """C38."""
    direct = sandbox.world.direct("U0CLEO").id
    await ask(sandbox, "send clients marketing Secret plans", channel=direct)
    row = await newest(bot)
    assert row.state is State.DRAFT
    assert row.id in await ask(sandbox, "list")
    assert row.id not in await ask(sandbox, "list", user="U0ANA")
    assert "There is no broadcast" in await ask(sandbox, f"show {row.id}", user="U0ANA")
    assert "Secret plans" in str(sandbox.acting.ephemerals("U0CLEO"))
    assert "Secret plans" not in str(sandbox.acting.ephemerals("U0ANA"))


async def test_in_a_private_channel_without_an_approver_the_draft_is_kept_and_the_fix_named(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C24: nobody could press Approve there."""
    sandbox.world.channels["C0PRIVATE"] = Channel(
        "C0PRIVATE", "plans", ["U0CLEO", sandbox.world.bot_user], private=True
    )
    told = await ask(sandbox, "send clients marketing Soldes", channel="C0PRIVATE")
    assert "This channel is private" in told
    assert (await newest(bot)).state is State.DRAFT
    sandbox.world.channels["C0PRIVATE"].members.append("U0ANA")
    bot.people.forget()
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes encore", channel="C0PRIVATE")


def private(sandbox: Sandbox, *people: str) -> None:
    """Turn the channel of the tests into a private one with these people in it."""
    sandbox.world.channels[HERE].private = True
    sandbox.world.channels[HERE].members[:] = [*people, sandbox.world.bot_user]


async def test_a_guest_is_no_approver_in_a_private_channel(sandbox: Sandbox, bot: Bot) -> None:
    """C24: those who may approve it are elsewhere, and those who are here may not."""
    private(sandbox, "U0CLEO", "U0ANA")
    sandbox.world.people["U0ANA"].guest = True
    assert "This channel is private" in await ask(sandbox, "send clients marketing Soldes")
    assert (await newest(bot)).state is State.DRAFT
    assert "This channel is private" in await ask(sandbox, 'every "monday 9:00" clients marketing Soldes')


async def test_the_last_approver_in_a_private_channel_cannot_move_what_nobody_there_could_approve_then(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C24: the editor may not approve."""
    private(sandbox, "U0CLEO", "U0ANA")
    await ask(sandbox, "send clients marketing Soldes")
    row, ana = await newest(bot), await bot.people.person("T0BELL", "U0ANA")
    later = Replan(bot.clock() + 3600 * SECOND)
    with pytest.raises(InvalidRequest) as told:
        await bot.workflow.act("T0BELL", row.id, later, person=ana, version=1)
    assert "This channel is private" in str(told.value.complaints[0].sentence)
    sandbox.world.channels[HERE].members.append("U0BEN")
    bot.people.forget()
    await bot.workflow.act("T0BELL", row.id, later, person=ana, version=1)


def nobody_active(sandbox: Sandbox) -> None:
    sandbox.world.people["U0ANA"].deleted, sandbox.world.people["U0BEN"].guest = True, True


LATER: dict[str, tuple[Callable[[Sandbox], None], str]] = {
    "the approvers have left the workspace": (nobody_active, "(needed: 1, available: 0)"),
    "the approvers are not in what became private": (lambda it: private(it, "U0CLEO"), "This channel is private"),
}


@pytest.mark.parametrize("what", some_later(LATER))
async def test_what_nobody_can_approve_any_more_goes_back_to_its_writer(sandbox: Sandbox, bot: Bot, what: str) -> None:
    """C24: when its card is next drawn, which every reminder causes."""
    happens, told = LATER[what]
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    happens(sandbox)
    bot.people.forget()
    await bot.workflow.sizes.learn("T0BELL", (await newest(bot)).id, 7)
    await settled(bot, State.DRAFT)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: told in str(sandbox.acting.messages(direct)))
    await sandbox.until(lambda: "broadcast.approve" not in str(sandbox.acting.messages(HERE)))
    assert posted["ts"] in str(sandbox.acting.messages(HERE))


async def test_what_enough_people_have_approved_or_can_approve_stays_where_it_is(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "Approvals still needed: 1" in thread_text(sandbox, posted["ts"]))
    private(sandbox, "U0CLEO", "U0BEN")
    bot.people.forget()
    await bot.workflow.sizes.learn("T0BELL", (await newest(bot)).id, 1)
    await nothing_more(bot)
    assert (await newest(bot)).state is State.PENDING


def all_cards_in(sandbox: Sandbox, *people: str, private: bool = False) -> Channel:
    """Return the channel for approvals, with these people and the bot in it."""
    channel = Channel("C0APPROVALS", "approvals", [*people, sandbox.world.bot_user], private=private)
    sandbox.world.channels[channel.id] = channel
    return channel


async def test_what_is_wrong_with_the_channel_of_all_cards_is_not_said_of_another(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    channel = all_cards_in(sandbox, "U0ANA")
    bot = await start_bot(sandbox, approval__channel=channel.id)
    channel.archived = True
    told = await ask(sandbox, "send clients marketing Soldes")
    assert f"All cards go to <#{channel.id}>, but none can go there now" in told
    assert "Ask an admin to fix this (<@U0OPS>)" in told
    assert "This channel" not in told
    channel.archived, channel.private, channel.members[:] = False, True, ["U0OPS", sandbox.world.bot_user]
    bot.people.forget()
    told = await ask(sandbox, "send clients marketing Soldes encore")
    assert f"All cards go to <#{channel.id}>, which is private" in told
    assert "This channel" not in told


async def test_what_comes_back_from_the_channel_of_all_cards_names_no_other_channel(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    channel = all_cards_in(sandbox, "U0ANA")
    bot = await start_bot(sandbox, approval__channel=channel.id)
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: sandbox.acting.messages(channel.id))
    channel.archived = True
    bot.people.forget()
    await bot.workflow.sizes.learn("T0BELL", (await newest(bot)).id, 7)
    await settled(bot, State.DRAFT)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "where all cards go" in str(sandbox.acting.messages(direct)))
    assert "in another channel" not in str(sandbox.acting.messages(direct))


async def test_whoever_is_named_where_she_cannot_read_is_told_directly(sandbox: Sandbox, start_bot: StartBot) -> None:
    channel = all_cards_in(sandbox, "U0ANA", private=True)
    bot = await start_bot(sandbox, approval__channel=channel.id, approval__approvers=["U0ANA", "U0BEN"])
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: sandbox.acting.messages(channel.id))
    posted = sandbox.acting.messages(channel.id)[0]
    await sandbox.acting.click("U0ANA", channel.id, posted["ts"], "broadcast.approve")
    row = await settled(bot, State.UNKNOWN)
    cleo, ben = (sandbox.world.direct(id).id for id in ("U0CLEO", "U0BEN"))
    await sandbox.until(lambda: "say on its card what happened" in str(sandbox.acting.messages(ben)))
    await sandbox.until(lambda: "say on its card what happened" in str(sandbox.acting.messages(HERE)))
    thread = str(sandbox.acting.thread(channel.id, posted["ts"]))
    assert "<@U0CLEO>, <@U0ANA>, <@U0BEN> It may have gone out" in thread
    assert sandbox.acting.messages(cleo) == []  # she was told where she asked
    said = [notes.Note(Translatable("Still not known."), "U0CLEO U0ANA")]
    await bot.database.write(lambda c: notes.add_notes(c, row, bot.clock(), said))
    bot.workspaces.wake()
    await sandbox.until(lambda: "Still not known." in str(sandbox.acting.messages(cleo)))
    assert sandbox.acting.messages(sandbox.world.direct("U0ANA").id) == []


async def test_an_occurrence_that_nobody_could_approve_where_its_card_would_stand_comes_back_as_a_draft(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C24: a recurring broadcast, requested while an approver was there."""
    private(sandbox, "U0CLEO")
    request = BroadcastRequest(
        workspace="T0BELL", requester="U0CLEO", channel=HERE, audience="clients", text="Soldes", zone="Europe/Paris"
    )
    planned = await bot.workflow.plan(request, "turn", await bot.people.person("T0BELL", "U0CLEO"))
    await bot.database.write(lambda c: bot.workflow.submission.enter(c, planned))
    bot.workspaces.wake()
    await settled(bot, State.DRAFT)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "This channel is private" in str(sandbox.acting.messages(direct)))


async def test_where_no_approver_is_left_marketing_is_refused_at_once(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C24: the settings name people who are now deactivated or guests."""
    bot = await start_bot(sandbox, approval__approvers=["U0ANA", "U0BEN", "U0NOBODY"])
    sandbox.world.people["U0ANA"].deleted, sandbox.world.people["U0BEN"].guest = True, True
    assert "(needed: 1, available: 0)" in await ask(sandbox, "send clients marketing Soldes")
    assert await all_of(bot) == []


CHANNELS: dict[str, Callable[[Json], Json]] = {
    "membership is not told": without("is_member"),
    "membership is a word": without(is_member="true"),
    "shared is not told": without("is_ext_shared"),
    "about to be shared": without(is_pending_ext_shared=True),
    "shared": without(is_ext_shared=True),
    "shared, and not with a workspace of ours": without(is_shared=True),
    "connected to another company": without(connected_team_ids=["T0BELL", "T0OTHER"]),
    "about to be connected": without(pending_connected_team_ids=["T0OTHER"], is_org_shared=True),
    "frozen": without(is_frozen=True),
    "archived is a word": without(is_archived="yes"),
    "nothing is told": lambda _: {},
}


@pytest.mark.parametrize("what", some_later(CHANNELS))
async def test_where_slack_does_not_tell_what_a_channel_is_no_card_stands(
    sandbox: Sandbox, bot: Bot, what: str
) -> None:
    sandbox.world.retold[HERE] = CHANNELS[what]
    await ask(sandbox, "send clients marketing Soldes")
    await nothing_more(bot)
    assert sandbox.acting.messages(HERE) == []
    assert {row.state for row in await all_of(bot)} <= {State.DRAFT}


SHARED_BY_OURS: dict[str, Json] = {
    "one channel of several of our workspaces": {
        "is_shared": True,
        "is_org_shared": True,
        "connected_team_ids": ["T0BELL", "T0OURS"],
    },
    "connected to nobody else": {"connected_team_ids": ["T0BELL"], "pending_connected_team_ids": []},
    "connected to one of ours": {"connected_team_ids": ["T0OURS"], "internal_team_ids": ["T0OURS"]},
    "lists that are no lists": {"connected_team_ids": None, "pending_connected_team_ids": None},
}


@pytest.mark.parametrize("what", SHARED_BY_OURS)
async def test_a_channel_that_our_own_workspaces_share_takes_cards(what: str) -> None:
    told = {"is_archived": False, "is_ext_shared": False, "is_member": True, "is_private": False}
    place = directory._judge({**told, **SHARED_BY_OURS[what]}, "T0BELL")
    assert place is not None
    assert place.postable


async def test_a_channel_that_may_not_be_posted_in_gives_the_draft_back_with_its_button(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C9: the card would reach only the requester, who may not approve it."""
    sandbox.faults.add("chat.postMessage", "error", error="restricted_action")
    await ask(sandbox, "send clients marketing Soldes demain")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "Slack does not let me post" in str(sandbox.acting.messages(direct)))
    (told,) = sandbox.acting.messages(direct)
    assert "broadcast.approve" not in json.dumps(told["blocks"])
    row = await newest(bot)
    assert (row.state, row.typed) == (State.DRAFT, "Soldes demain")
    await sandbox.acting.click("U0CLEO", direct, told["ts"], "broadcast.edit")
    (form,) = sandbox.acting.views("U0CLEO")
    assert "Soldes demain" in json.dumps(form)
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Soldes demain")) == {}
    await settled(bot, State.PENDING)
    await card(sandbox)


async def test_a_draft_gets_out_of_where_nobody_could_approve_it_by_its_id(sandbox: Sandbox, bot: Bot) -> None:
    """C9, C24: the answer names the command, and the card is then posted where that was typed."""
    direct = sandbox.world.direct("U0CLEO").id
    told = await ask(sandbox, "send clients marketing Soldes demain", channel=direct)
    row = await newest(bot)
    assert f"`/broadcast edit {row.id}`" in told
    assert "There is no broadcast" in await ask(sandbox, f"edit {row.id}", user="U0ANA")
    assert await ask(sandbox, f"edit {row.id}") == ""
    (form,) = sandbox.acting.views("U0CLEO")
    assert "Soldes demain" in json.dumps(form)
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Soldes demain")) == {}
    await settled(bot, State.PENDING)
    await card(sandbox)
    assert "There is no broadcast" not in await ask(sandbox, f"edit {row.id}", user="U0ANA")  # it is a draft no more
    assert "Write it like this: `/broadcast edit" in await ask(sandbox, "edit")


async def test_a_draft_can_be_opened_where_it_is_shown(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain", channel=sandbox.world.direct("U0CLEO").id)
    await ask(sandbox, f"show {(await newest(bot)).id}")
    assert "broadcast.edit" in str(sandbox.acting.ephemerals("U0CLEO")[-1])


async def test_a_follow_up_of_what_stands_in_a_direct_message_is_asked_for_in_its_channel(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C9: nobody could approve it in the direct message."""
    sandbox.faults.add("chat.postMessage", "error", error="restricted_action")
    await ask(sandbox, "send newsletter transactional Votre rendez-vous est confirmé")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.follow_up" in str(sandbox.acting.messages(direct)))
    (posted,) = sandbox.acting.messages(direct)
    await sandbox.acting.click("U0CLEO", direct, posted["ts"], "broadcast.follow_up")
    (form,) = sandbox.acting.views("U0CLEO")
    assert HERE in form["private_metadata"]
    assert direct not in form["private_metadata"]


@pytest.mark.parametrize(
    "error", [pytest.param("some_new_error", marks=pytest.mark.long), "is_archived", "not_in_channel", "no_permission"]
)
async def test_what_nobody_could_approve_where_it_would_stand_comes_back_as_a_draft(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.setattr("bot.storage.failing_rows.FIRST_PAUSE", 0.1)
    sandbox.faults.add("chat.postMessage", "error", times=1 if error != "some_new_error" else 6, error=error)
    await ask(sandbox, "send clients marketing Soldes demain")
    await settled(bot, State.DRAFT)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "Open the draft" in str(sandbox.acting.messages(direct)))


@pytest.mark.parametrize("refused", some_later([0, 1]))
async def test_what_needs_an_approval_after_all_asks_no_more_in_a_direct_message(
    sandbox: Sandbox, bot: Bot, refused: int
) -> None:
    """C9: its card was in a direct message to the requester, where nobody may press Approve."""
    sandbox.faults.add("chat.postMessage", "error", error="restricted_action")
    await ask(sandbox, 'send newsletter transactional at="tomorrow 9:00" Votre rendez-vous est confirmé')
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.cancel" in str(sandbox.acting.messages(direct)))
    await nothing_more(bot)  # all notes are in its thread
    if refused:
        sandbox.faults.add("chat.postMessage", "error", error="restricted_action")
    row, again = await newest(bot), dict[str, Any](broadcast_rows.NOT_AGREED, quorum=1)
    await bot.database.write(lambda c: broadcasts.move(c, row, Action.LAPSE, actor="policy", at=bot.clock(), **again))
    await settled(bot, State.DRAFT if refused else State.PENDING)
    await sandbox.until(lambda: "broadcast.cancel" not in str(sandbox.acting.messages(direct)))
    await nothing_more(bot)
    assert "broadcast.approve" not in str(sandbox.acting.messages(direct))
    assert ("broadcast.approve" in str(sandbox.acting.messages(HERE))) is not bool(refused)
    assert ("Open the draft" in str(sandbox.acting.messages(direct))) is bool(refused)


@pytest.mark.long
async def test_an_unknown_outcome_is_asked_where_an_approver_reads(sandbox: Sandbox, bot: Bot) -> None:
    """C8: its card was in a direct message to the requester, who may not say that it did not go out."""
    await ask(sandbox, "pause all", user="U0OPS")
    sandbox.faults.add("chat.postMessage", "error", error="restricted_action")
    await ask(sandbox, "send staff transactional Votre rendez-vous est confirmé")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.send_now" in str(sandbox.acting.messages(direct)))
    await ask(sandbox, "resume all", user="U0OPS")
    sandbox.vendors.faults.add("kaizala.release", "reset", accept=True)
    (posted,) = sandbox.acting.messages(direct)
    await sandbox.acting.click("U0CLEO", direct, posted["ts"], "broadcast.send_now")
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(HERE)))
    await sandbox.until(lambda: "broadcast.mark" not in str(sandbox.acting.messages(direct)))


async def direct_of(sandbox: Sandbox, *people: str) -> tuple[str, Json]:
    """Return which of these people has a card in a direct message, and that card."""

    def found() -> tuple[str, Json] | None:
        for id in people:
            for message in sandbox.acting.messages(sandbox.world.direct(id).id):
                if '"actions"' in json.dumps(message.get("blocks")):
                    return id, message
        return None

    asked: tuple[str, Json] = await sandbox.until(found)
    return asked


@pytest.mark.long
async def test_an_unknown_outcome_in_a_private_channel_without_an_approver_is_asked_directly(
    sandbox: Sandbox, bot: Bot
) -> None:
    private(sandbox, "U0CLEO")
    sandbox.vendors.faults.add("kaizala.release", "reset", accept=True)
    await ask(sandbox, "send staff transactional Votre rendez-vous est confirmé")
    await settled(bot, State.UNKNOWN)
    who, posted = await direct_of(sandbox, "U0ANA", "U0BEN")
    await sandbox.until(lambda: "broadcast.mark" not in str(sandbox.acting.messages(HERE)))
    await nothing_more(bot)
    assert all("direct message" in message["text"] for message in sandbox.acting.messages(HERE))
    await sandbox.acting.click(who, sandbox.world.direct(who).id, posted["ts"], "broadcast.mark_not_sent")
    await settled(bot, State.FAILED)


@pytest.mark.long
async def test_an_unknown_outcome_stays_in_a_private_channel_with_an_approver(sandbox: Sandbox, bot: Bot) -> None:
    private(sandbox, "U0CLEO", "U0BEN")
    sandbox.vendors.faults.add("kaizala.release", "reset", accept=True)
    await ask(sandbox, "send staff transactional Votre rendez-vous est confirmé")
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(HERE)))


async def test_what_is_held_where_nobody_is_left_who_may_decide_asks_an_approver_directly(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "pause all", user="U0OPS")
    private(sandbox, "U0CLEO", "U0DAN")
    await ask(sandbox, "send staff transactional Votre rendez-vous est confirmé")
    row = await settled(bot, State.HELD)
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(HERE)))
    sandbox.world.people["U0CLEO"].deleted = True
    bot.people.forget()
    await bot.database.write(lambda c: cards.draw_again(c, row, bot.clock()))
    bot.workspaces.wake()
    await direct_of(sandbox, "U0ANA", "U0BEN")
    await sandbox.until(lambda: "broadcast.drop" not in str(sandbox.acting.messages(HERE)))


@pytest.mark.long
async def test_what_asks_somebody_who_leaves_asks_the_next_one(sandbox: Sandbox, bot: Bot) -> None:
    private(sandbox, "U0CLEO")
    sandbox.vendors.faults.add("kaizala.release", "reset", accept=True)
    await ask(sandbox, "send staff transactional Votre rendez-vous est confirmé")
    row = await settled(bot, State.UNKNOWN)
    first, _ = await direct_of(sandbox, "U0ANA", "U0BEN")
    sandbox.world.people[first].deleted = True
    bot.people.forget()
    await bot.database.write(lambda c: cards.draw_again(c, row, bot.clock()))
    bot.workspaces.wake()
    (other,) = {"U0ANA", "U0BEN"} - {first}
    assert (await direct_of(sandbox, other))[0] == other


@pytest.mark.parametrize("error", some_later(["cant_update_message", "edit_window_closed", "something_new"]))
async def test_an_unknown_outcome_asks_on_a_new_card_where_the_old_one_cannot_be_changed(
    sandbox: Sandbox, bot: Bot, error: str
) -> None:
    """C8: an unknown error from Slack does not count as drawn."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    posted = await approved(sandbox)
    sandbox.faults.add("chat.update", "error", times=50, error=error)
    await settled(bot, State.UNKNOWN)

    def asks() -> list[Json]:
        return [m for m in sandbox.acting.messages(HERE) if "broadcast.mark_sent" in json.dumps(m["blocks"])]

    await sandbox.until(asks)
    assert asks()[0]["ts"] != posted["ts"]
    await sandbox.acting.click("U0CLEO", HERE, asks()[0]["ts"], "broadcast.mark_sent")
    await settled(bot, State.SENT)


async def test_a_request_in_a_channel_that_became_shared_goes_back_to_its_writer(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Our secret plan")
    posted = await card(sandbox)
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    row = await newest(bot)
    await bot.workflow.sizes.learn("T0BELL", row.id, 7)
    await settled(bot, State.DRAFT)
    await sandbox.until(lambda: "Our secret plan" not in str(sandbox.acting.messages(HERE)))
    assert posted["ts"] in str(sandbox.acting.messages(HERE))
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "shared with another company" in str(sandbox.acting.messages(direct)))


# --- reactions -------------------------------------------------------------------------------------------------------


async def test_an_approval_stands_while_one_of_its_signs_does(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C29: two reactions by one person, removed one after the other."""
    bot = await start_bot(sandbox, approval__undo="60s")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    for name in ("white_check_mark", "+1::skin-tone-3"):
        await sandbox.acting.react("U0ANA", HERE, posted["ts"], name)
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: len(brought(sandbox)) == 2)
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: len(brought(sandbox)) == 3)
    assert (await newest(bot)).state is State.SCHEDULED
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "+1::skin-tone-3")
    await settled(bot, State.PENDING)


async def test_a_pressed_approval_outlives_an_older_reaction(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C29: two approvals are needed, so the card still has its button."""
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "+1")
    await sandbox.until(lambda: "Approvals still needed: 1" in thread_text(sandbox, posted["ts"]))
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "+1")
    await sandbox.until(lambda: brought(sandbox) == ["reaction_added", "reaction_removed"])
    row = await newest(bot)
    votes = await bot.database.read(lambda c: votes_for(c, row))
    assert [(vote.approver, vote.way) for vote in votes] == [("U0ANA", "button")]


async def test_the_card_names_the_reaction_that_approves(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C25: as configured, with or without its colons."""
    bot = await start_bot(sandbox, approval__approve_reactions=[":ship_it:"])
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    assert "Or react with :ship_it:." in json.dumps(posted["blocks"])
    assert "white_check_mark" not in json.dumps(posted["blocks"])
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "ship_it")
    await settled(bot, State.SENT)


# --- tokens, triggers, strangers -------------------------------------------------------------------------------------


def test_a_token_that_expires_is_refused_with_the_fix() -> None:
    """C27."""
    with pytest.raises(SettingsError, match="turn token rotation off"):
        parse({"slack_bot_token": "xoxe.xoxb-1-abc"})


async def test_a_token_that_is_taken_no_more_is_said_to_whoever_asks_and_to_whoever_watches(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C27: waiting does not help, so the answer tells nobody to wait."""
    sandbox.faults.add("users.info", "error", times=99, error="token_expired")
    told = await ask(sandbox, "list")
    assert "no longer accepts my token (token_expired)" in told
    assert "<@U0OPS>" in told
    ready, parts = await bot.ready()
    assert (ready, parts["slack"]) == (False, "the token is not taken: token_expired")
    sandbox.faults.clear()
    assert "No broadcasts yet" in await ask(sandbox, "list")
    assert (await bot.ready())[0]


async def test_a_form_of_another_workspace_keeps_its_text_and_says_why(sandbox: Sandbox, bot: Bot) -> None:
    """C28."""
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast")
    (form,) = sandbox.acting.views("U0CLEO")
    monkey = sandbox.world.team_id
    sandbox.world.team_id = "T0OTHER"
    try:
        answer = await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Hello"))
    finally:
        sandbox.world.team_id = monkey
    assert "another workspace" in str(answer)
    assert len(sandbox.acting.views("U0CLEO")) == 1


async def test_a_button_of_another_workspace_is_answered_where_its_payload_leads(sandbox: Sandbox, bot: Bot) -> None:
    """C28."""
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    ours, sandbox.world.team_id = sandbox.world.team_id, "T0OTHER"
    try:
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
        await sandbox.until(lambda: "another workspace" in str(sandbox.acting.ephemerals("U0ANA")))
    finally:
        sandbox.world.team_id = ours
    assert (await newest(bot)).state is State.PENDING


@pytest.mark.parametrize(
    ("url", "api", "same"),
    [
        ("https://hooks.slack.com/actions/T/1/x", "https://slack.com/api/", True),
        ("https://hooks.slack-gov.com/x", "https://slack-gov.com/api/", True),
        ("https://hooks.slack.com.evil.example/x", "https://slack.com/api/", False),
        ("https://hooks.slack.com:8443/x", "https://slack.com/api/", False),
        ("http://hooks.slack.com/x", "https://slack.com/api/", False),
        ("https://user@hooks.slack.com/x", "https://slack.com/api/", False),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/api/", True),
        ("http://127.0.0.1:10/x", "http://127.0.0.1:9/api/", False),
        ("", "https://slack.com/api/", False),
    ],
)
def test_an_answer_goes_only_where_slack_lives(url: str, api: str, same: bool) -> None:
    assert replies._same_house(url, api) is same


@pytest.mark.parametrize(
    "error",
    some_later(["expired_trigger_id", "invalid_trigger_id", "trigger_expired", "ratelimited", "internal_error"]),
)
async def test_a_form_that_slack_does_not_open_in_time_asks_to_press_once_more(
    sandbox: Sandbox, bot: Bot, error: str
) -> None:
    """C34: Reject and Re-plan open a form within Slack's three seconds, or not at all."""
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    for button in ("broadcast.reject", "broadcast.replan"):
        sandbox.faults.add("views.open", "error", error=error)
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], button)
        assert "Please press again" in str(sandbox.acting.ephemerals("U0ANA")[-1])


async def test_a_form_for_which_slack_cannot_be_reached_asks_to_press_once_more() -> None:
    """C34."""
    assert replies.explain(ClientConnectionError(), translator_for("en")) == replies.explain(
        SlackApiError("", {"error": "expired_trigger_id"}), translator_for("en")
    )


async def test_a_channel_of_thousands_is_answered_in_time_and_known_a_moment_later(
    sandbox: Sandbox, start_bot: StartBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C26: Slack needs longer for 25 pages of members than anybody may wait."""
    bot = await start_bot(sandbox, patience=PATIENCE)
    monkeypatch.setattr("bot.slack.interaction.ANSWER_SECONDS", 0.8)
    over = asyncio.Event()
    sandbox.faults.add("conversations.members", "delay", until=over)
    async with within(1.8):
        told = await ask(sandbox, 'remind "every weekday 9:30" Stand-up')
    assert "took too long" in told
    over.set()
    while "took too long" in told:
        told = await ask(sandbox, 'remind "every weekday 9:30" Stand-up')
    assert "will be posted" in told
    assert len(await bot.home.reminders.listed("T0BELL", Kind.REMINDER)) == 1


# --- zones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", some_later(["Etc/Unknown", None, "", 7]))
async def test_a_zone_that_nobody_knows_is_the_settings_own_and_that_is_said(
    sandbox: Sandbox, bot: Bot, zone: Any
) -> None:
    """C1, C19: no tick fails on it either."""
    sandbox.world.retold["U0CLEO"] = without(tz=zone)
    told = await ask(sandbox, 'send clients marketing at="tomorrow 9:00" Soldes')
    assert "so I used Europe/Paris" in told
    assert "09:00 Europe/Paris" in told
    assert (await newest(bot)).zone == "Europe/Paris"
    await card(sandbox)
    await ask(sandbox, "list", user="U0ANA")
    assert "Soldes" in str(sandbox.acting.ephemerals("U0ANA")[-1])
