"""The weekly digest: once, in time, and only what everybody in its channel may read."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.config.notifications import DigestSettings
from bot.domain.clock import HOUR, SECOND, Micros
from bot.domain.i18n import LANGUAGES, Translatable, translator_for
from bot.slack.blocks.thread import thread_message
from bot.slack.directory import People, Place
from bot.slack.publish.weekly import WeeklyDigest, latest_turn
from bot.storage import tables
from bot.workflow.decision_types import Approve, Reject
from sandbox.server import Sandbox
from tests.support.core import TEAM, Core, MakeCore, approver
from tests.support.ground import StartBot
from tests.support.patience import nothing_more
from tests.support.slack import HERE, ask

PARIS, DAY = ZoneInfo("Europe/Paris"), 24 * HOUR
TOWN, SECRET = "C0TOWN", "C0SECRET"
ON = {"digest.channel": TOWN, "digest.timezone": "Europe/Paris"}


def at(wall: str) -> Micros:
    return int(datetime.fromisoformat(wall).replace(tzinfo=PARIS).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2027-01-18T09:00:00", "2027-01-18"),  # a Monday
        ("2027-01-18T08:59:59", "2027-01-11"),
        ("2027-01-24T23:59:59", "2027-01-18"),
        ("2027-03-29T09:00:00", "2027-03-29"),  # the day after the clocks went forward
        ("2027-11-01T08:59:59", "2027-10-25"),  # the day after they went back
    ],
)
def test_the_latest_digest_is_of_the_day_and_hour_of_its_zone(now: str, day: str) -> None:
    assert latest_turn(DigestSettings(channel=TOWN), PARIS, at(now)) == (day, at(f"{day}T09:00"))


class Places(People):
    """Channels that are public, but for those of which Slack says otherwise or nothing."""

    def __init__(self, *private: str) -> None:
        super().__init__(AsyncWebClient())
        self.private = private

    async def place(self, channel: str) -> Place:
        return Place(True, private=channel in self.private, public=channel not in self.private)


def digest_of(core: Core, *private: str) -> WeeklyDigest:
    return WeeklyDigest(core.runtime, Places(*private), lambda: TEAM)


async def queued(core: Core) -> list[str]:
    """The digests, as they are posted; "" for one that was left out."""
    found = await core.database.read(
        lambda c: c.execute(tables.posts.select().where(tables.posts.c.key.like("digest:%"))).mappings().all()
    )
    words = translator_for("en")
    return [thread_message(Translatable.of(row["sentence"]), None, words).text for row in found]


async def test_a_digest_is_made_once_with_the_week_and_what_comes(make_core: MakeCore) -> None:
    core = make_core(**ON)
    core.now = at("2027-01-13T12:00")
    rejected, secret, coming = [await core.ask() for _ in range(3)]
    for row, channel in ((rejected, TOWN), (secret, SECRET), (coming, TOWN)):
        await core.edit(row, channel=channel)
    await core.workflow.act(TEAM, rejected.id, Reject("No"), person=approver(0), version=1)
    for row in (secret, coming):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
        await core.edit(row, due=at("2027-01-19T10:00"))
    waiting = await core.ask()
    await core.edit(waiting, channel=TOWN, send_at=at("2027-01-20T10:00"))
    core.now = at("2027-01-18T09:01")
    replicas = [digest_of(core, SECRET) for _ in range(3)]
    await asyncio.gather(*(one.tick() for one in replicas for _ in range(2)))
    (told,) = await queued(core)
    assert "Asked for: 4 · approved: 2 · rejected: 1 · sent: 0 · failed: 0 · not known: 0" in told
    assert (f"*{coming.id}*" in told, coming.text in told) == (True, True)
    assert (secret.id in told, secret.text in told) == (False, False)
    assert f"*{waiting.id}*" in told
    assert "🟡 Waiting for approval" in told
    assert "… and 1 that are not listed here" in told
    core.now = at("2027-01-24T12:00")
    await digest_of(core).tick()
    assert len(await queued(core)) == 1


async def test_a_digest_that_is_late_by_more_than_a_day_is_left_out(make_core: MakeCore) -> None:
    core = make_core(**ON)
    core.now = at("2027-01-19T09:01")
    await digest_of(core).tick()
    await digest_of(core).tick()
    assert await queued(core) == [""]
    core.now = at("2027-01-25T09:01")
    await digest_of(core).tick()
    assert "Nothing is planned." in (await queued(core))[1]


async def test_without_a_channel_there_is_none(make_core: MakeCore) -> None:
    core = make_core()
    core.now = at("2027-01-18T09:01")
    await digest_of(core).tick()
    assert await queued(core) == []


@pytest.mark.long
async def test_a_full_digest_fits_into_one_message_in_each_language(make_core: MakeCore, sandbox: Sandbox) -> None:
    core = make_core(**ON)
    core.now = at("2027-01-13T12:00")
    for number in range(30):
        row = await core.ask(text=f"<!channel> & 🔥 {number} " * 4)
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
        await core.edit(row, channel=TOWN, due=at("2027-01-19T10:00"))
    core.now = at("2027-01-18T09:01")
    await digest_of(core).tick()
    (kept,) = await core.database.read(lambda c: c.execute(tables.posts.select()).mappings().all())
    for language in LANGUAGES:
        post = thread_message(Translatable.of(kept["sentence"]), None, translator_for(language))
        assert "20" in str(post.blocks)  # the others are counted
        assert "<!channel>" not in str(post.blocks)
        client = AsyncWebClient(sandbox.world.bot_token, base_url=sandbox.api_url)
        assert (await client.chat_postMessage(channel=HERE, text=post.text, blocks=post.blocks))["ok"]


@pytest.mark.long
async def test_the_bot_posts_it_in_the_language_of_the_cards(sandbox: Sandbox, start_bot: StartBot) -> None:
    now = [at("2027-01-15T12:00")]
    given = {"digest__channel": HERE, "digest__timezone": "Europe/Paris", "locale": "fr"}
    bot = await start_bot(sandbox, clock=lambda: now[0], **given)
    await ask(sandbox, "send clients marketing Soldes")
    now[0] = at("2027-01-18T09:00")
    await bot.home.weekly.tick()
    await sandbox.until(lambda: "La semaine des diffusions" in str(sandbox.acting.messages(HERE)))
    await bot.home.weekly.tick()
    await nothing_more(bot)
    assert len([one for one in sandbox.acting.messages(HERE) if "Demandées : 1" in one["text"]]) == 1
