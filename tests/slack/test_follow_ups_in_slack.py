"""A follow-up in the workspace: its form is filled in, and says under the field what it cannot be."""

from __future__ import annotations

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage import tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import newest
from tests.support.slack import HERE, ask, becomes, card, filled, settled, type_in
from tests.support.templates import inputs


async def pressed(sandbox: Sandbox) -> Json:
    """The form behind *Send again* of a broadcast that was cancelled."""
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    old = await card(sandbox)
    await sandbox.acting.click("U0DAN", HERE, old["ts"], "broadcast.cancel")
    await sandbox.until(lambda: "broadcast.follow_up" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0DAN", HERE, old["ts"], "broadcast.follow_up")
    return sandbox.acting.views("U0DAN")[-1]


async def test_it_opens_with_both_and_refuses_another_audience_under_the_field(sandbox: Sandbox, bot: Bot) -> None:
    form = await pressed(sandbox)
    now = inputs(sandbox)
    assert now["audience"]["initial_option"]["value"] == "newsletter"
    assert now["purpose"]["initial_option"]["value"] == "marketing"
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("vip", "Soldes demain"))
    assert errors == {
        "audience": "A follow-up goes to the same audience. To write to another one, start a new broadcast with "
        "/broadcast."
    }
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Commande prête", "transactional"))
    assert list(errors) == ["purpose"]
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes lundi")) == {}
    assert (await settled(bot, State.PENDING)).follows is not None


async def test_the_form_says_at_once_what_a_follow_up_cannot_be(sandbox: Sandbox, bot: Bot) -> None:
    form = await pressed(sandbox)
    await type_in(sandbox, form, filled("vip", "Soldes demain"), "audience")
    await becomes(sandbox, "⛔ A follow-up goes to the same audience.")
    await type_in(sandbox, form, filled("newsletter", "Commande prête", "transactional"), "purpose")
    await becomes(sandbox, "⛔ A follow-up to marketing is marketing too.")


@pytest.mark.long
async def test_a_follow_up_to_a_text_that_was_removed_asks_for_another(sandbox: Sandbox, bot: Bot) -> None:
    await pressed(sandbox)
    row = await newest(bot)
    changed = tables.broadcasts.update().values(text="", typed="", text_removed_at=row.changed_at)
    await bot.database.write(lambda c: c.execute(changed))
    await sandbox.acting.click("U0DAN", HERE, (await card(sandbox))["ts"], "broadcast.follow_up")
    form = sandbox.acting.views("U0DAN")[-1]
    assert f"Its digest begins with `{row.digest[:8]}`. Please write it again." in str(form)
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes lundi")) == {}
    assert (await settled(bot, State.PENDING)).follows == row.id
