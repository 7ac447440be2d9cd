"""Messages that belong to no card are posted once."""

from __future__ import annotations

import asyncio
import dataclasses

from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable, translator_for
from bot.slack.publish.painter import Painter
from bot.slack.publish.poster import Poster
from bot.storage import outbox, tables
from bot.storage.database import Database
from sandbox.server import Sandbox
from sandbox.world import Channel
from tests.support.core import TEAM
from tests.support.ground import in_order
from tests.support.slack import HERE
from tests.support.waiting import told_directly


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
    bot.workspaces.wake()
    told = "<@U0BEN> Only <@U0ANA> may do that."
    await sandbox.until(lambda: told_directly(sandbox, "U0CLEO"))
    assert [message["text"] for message in sandbox.acting.messages(HERE)] == [told]
    assert told_directly(sandbox, "U0CLEO") == [told]


async def test_a_post_outlives_a_busy_slack_and_a_place_that_is_gone_is_given_up(sandbox: Sandbox, bot: Bot) -> None:
    far = later = bot.clock() + 365 * 24 * 3600 * SECOND  # so that the bot's own painter leaves these posts alone
    runtime, lease = dataclasses.replace(bot.home.runtime, clock=lambda: later), bot.home.poster.lease
    poster = Poster(runtime, bot.posting, bot.people, lease)
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
