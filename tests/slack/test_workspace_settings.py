"""Admins change the settings of their workspace in Slack. Nobody else reads or changes any."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.app import Bot
from bot.doctor.examination import examine
from bot.storage import tables
from bot.storage.own_settings import OwnSettings, keep_own_settings, own_settings_of
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, free_port, new_postgres
from tests.support.patience import until
from tests.support.rows import KEY
from tests.support.slack import HERE, ask, card
from tests.support.workspaces import OTHER, OURS, bot_for, install, serves, two

ANA, BEN = "U0ANA", "U0BEN"
ADMINS: dict[str, Any] = {"admins": [ANA, BEN]}


async def opened(sandbox: Sandbox, user: str = ANA) -> Json:
    assert await ask(sandbox, "settings", user=user) == ""
    return sandbox.acting.views(user)[-1]


def values(form: Json, **changes: Any) -> Json:
    """What the form holds as Slack returns it, with some of it changed. A double underscore stands for the point."""
    found: Json = {}
    for block in form["blocks"]:
        if block["type"] == "input":
            found[block["block_id"]] = {"value": _held(block["element"])}
    for name, value in changes.items():
        found[name.replace("__", ".")]["value"].update(value if isinstance(value, dict) else {"value": value})
    return found


def _held(element: Json) -> Json:
    kept = {
        "initial_value": "value",
        "initial_users": "selected_users",
        "initial_conversation": "selected_conversation",
        "initial_option": "selected_option",
    }
    return {"type": element["type"]} | {to: element.get(name) for name, to in kept.items() if name in element}


async def version(bot: Bot, workspace: str = OURS) -> int:
    return (await bot.database.read(lambda c: own_settings_of(c, workspace))).version


async def in_force(bot: Bot, number: int, workspace: str = OURS) -> Any:
    """The settings of this workspace, once this process works with that version."""

    async def so() -> Any:
        one = next(one for one in bot.workspaces.all if one.id == workspace)
        return one.settings if one.own and one.own.version == number and one.scheduler.started else None

    return await until(so)


async def test_an_admin_changes_settings_which_are_in_force_at_once(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    form = await opened(sandbox)
    stale = await opened(sandbox, BEN)
    users = {"selected_users": [ANA, "U0BEN"]}
    refused = {
        "approval__quorum": ("0", "approval.quorum", "must be 1 or more"),
        "approval__rules": ("quorum=0", "approval.rules", "would let marketing go out without approval"),
        "approval__reject_reactions": ("+1", "approval.reject_reactions", "would approve and reject"),
        "approval__undo": ("-1", "approval.undo", "must be a duration"),
        "asks_per_hour": ("many", "asks_per_hour", "Write a whole number."),
    }
    for field, (wrong, where, said) in refused.items():
        errors = await sandbox.acting.submit(ANA, form["id"], values(form, **{field: wrong}))
        assert said in errors.get(where, ""), (field, errors)
    errors = await sandbox.acting.submit(ANA, form["id"], values(form, approval__quorum="9"))
    assert "of these people can approve" in errors["approval.quorum"]
    assert await version(bot) == 0
    wanted = values(form, approval__approvers=users, approval__quorum="2", approval__undo="1s", locale=language("fr"))
    wanted["approval.groups"]["value"]["value"] = ""
    assert await sandbox.acting.submit(ANA, form["id"], wanted) == {}
    settings = await in_force(bot, 1)
    approval = settings.approval
    assert (approval.approvers, approval.quorum, settings.locale) == ((ANA, "U0BEN"), 2, "fr")
    told = await sandbox.acting.submit(BEN, stale["id"], values(stale, approval__quorum="1"))
    assert "has changed the settings since you opened this form" in json.dumps(told)
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click(ANA, HERE, posted["ts"], "broadcast.approve")
    assert sandbox.vendors.ledger == []  # it takes two now
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 1)
    audit = select(tables.audit.c.actor, tables.audit.c.reason).where(tables.audit.c.action == "settings")
    ((actor, reason),) = await bot.database.read(lambda c: c.execute(audit).all())
    assert actor == ANA
    assert "approval.quorum: 1 → 2" in reason
    assert 'locale: "en" → "fr"' in reason


@pytest.mark.long
async def test_only_admins_read_or_change_them(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    form = await opened(sandbox)
    for user in ("U0CLEO", "U0DAN"):
        assert "Only an admin can change the settings" in await ask(sandbox, "settings", user=user)
        assert sandbox.acting.views(user) == []
        body = sandbox.acting.payloads.interaction("view_submission", user)
        body |= {"view": {**form, "state": {"values": values(form, approval__quorum="2")}}, "trigger_id": "1.2.3"}
        assert "Only an admin" in json.dumps((await sandbox.delivery.interaction(body)).answer)
    assert await version(bot) == 0
    refusals = select(tables.audit.c.actor).where(tables.audit.c.action == "settings_refused")
    assert len(await bot.database.read(lambda c: c.execute(refusals).all())) == 4


@pytest.mark.long
async def test_the_button_opens_them_too(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **ADMINS)
    body = sandbox.acting.payloads.interaction("block_actions", ANA)
    action = {"type": "button", "action_id": "workspace.settings", "block_id": "settings", "value": "settings"}
    body |= {"actions": [action], "container": {"type": "view"}, "trigger_id": sandbox.world.new_trigger(ANA)}
    assert (await sandbox.delivery.interaction(body)).acknowledged
    assert sandbox.acting.views(ANA)[-1]["callback_id"] == "workspace_settings"


@pytest.mark.long
async def test_what_is_the_files_again_follows_the_file(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    for number, undo in enumerate(("7s", "100ms"), start=1):
        form = await opened(sandbox)
        assert await sandbox.acting.submit(ANA, form["id"], values(form, approval__undo=undo)) == {}
        await in_force(bot, number)
    stored = await bot.database.read(lambda c: own_settings_of(c, OURS))
    assert stored.settings == {}


@pytest.mark.long
async def test_what_is_approved_stays_so_and_what_waits_takes_what_is_stricter(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__undo="4s", **ADMINS)
    await ask(sandbox, "send clients marketing Soldes demain")
    first = await card(sandbox)
    await ask(sandbox, "send newsletter marketing Bonjour")
    second = await card(sandbox, 1)
    await sandbox.acting.click(ANA, HERE, first["ts"], "broadcast.approve")
    form = await opened(sandbox)
    assert await sandbox.acting.submit(ANA, form["id"], values(form, approval__quorum="2", approval__undo="0s")) == {}
    await in_force(bot, 1)
    await sandbox.acting.click(ANA, HERE, second["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 1)
    assert "Soldes" in sandbox.vendors.ledger[0].text
    await sandbox.acting.click(BEN, HERE, second["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 2)


@pytest.mark.long
async def test_both_replicas_follow_and_the_other_workspace_does_not(postgres: Any, tmp_path: Path) -> None:
    shared = {one: {"accounts": ["encom", "octo"], "admins": [ANA]} for one in (OURS, OTHER)}
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        url = stack.enter_context(new_postgres(postgres))
        home, other = await stack.enter_async_context(two(*ports))
        changes: dict[str, Any] = {"workspaces": shared, "database_url": url, "secret_key": KEY}
        bots = [await stack.enter_async_context(bot_for(home, port, tmp_path, **changes)) for port in ports]
        for workspace in (OURS, OTHER):
            await install(ports[0], workspace)
        for bot in bots:
            await serves(bot, OURS, OTHER)
        form = await opened(home)
        assert await home.acting.submit(ANA, form["id"], values(form, approval__quorum="2")) == {}
        for bot in bots:
            assert (await in_force(bot, 1)).approval.quorum == 2
            assert next(one for one in bot.workspaces.all if one.id == OTHER).settings.approval.quorum == 1
        form = await opened(other)
        assert form["private_metadata"] == json.dumps({"version": 0})
        assert await other.acting.submit(ANA, form["id"], values(form, asks_per_hour="7")) == {}
        for bot in bots:
            assert (await in_force(bot, 1, OTHER)).asks_per_hour == 7
            assert await version(bot) == 1


def language(code: str) -> Json:
    return {"selected_option": {"value": code, "text": {"type": "plain_text", "text": code}}}


@pytest.mark.long
async def test_doctor_names_what_comes_from_the_database(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    form = await opened(sandbox)
    assert await sandbox.acting.submit(ANA, form["id"], values(form, approval__undo="7s")) == {}
    await in_force(bot, 1)
    found = {one.id: one for one in await examine(bot.settings)}
    assert "approval.undo" in found["set_in_slack"].cause
    assert found["set_in_slack"].level == "ok"
    bad = OwnSettings(workspace=OURS, settings={"approval.quorum": 0}, version=1, changed_by=ANA, changed_at=1)
    await bot.database.write(lambda c: keep_own_settings(c, bad))
    found = {one.id: one for one in await examine(bot.settings)}
    assert found["set_in_slack"].level == "error"
    assert "config reset T0BELL" in found["set_in_slack"].fix
    await bot.workspaces.refresh()
    assert bot.home.settings.approval.undo.total_seconds() == 7  # nothing works with the file alone in its place


@pytest.mark.long
async def test_doctor_looks_at_each_of_many_workspaces(bot_port: int, tmp_path: Path) -> None:
    async with two(bot_port) as (home, _):
        own = {"accounts": ["encom"], "admins": ["U0NOBODY"]}
        async with bot_for(home, bot_port, tmp_path, workspaces={OURS: {"accounts": ["encom"]}, OTHER: own}) as bot:
            for workspace in (OURS, OTHER):
                await install(bot_port, workspace)
            await serves(bot, OURS, OTHER)
            found = {one.id: one.level for one in await examine(bot.settings)}
            assert (found[f"{OURS}: slack.token"], found[f"{OTHER}: slack.token"]) == ("ok", "ok")
            assert found[f"{OTHER}: admins"] == "error"
            assert found.get(f"{OURS}: admins", "ok") == "ok"


@pytest.mark.long
async def test_rules_that_the_form_cannot_hold_stay_as_they_are(sandbox: Sandbox, start_bot: StartBot) -> None:
    rules = [{"larger_than": 100_000 - one, "quorum": 2} for one in range(120)]
    bot = await start_bot(sandbox, approval__rules=rules, **ADMINS)
    form = await opened(sandbox)
    assert "approval.rules" not in values(form)
    assert await sandbox.acting.submit(ANA, form["id"], values(form, approval__undo="7s")) == {}
    assert len((await in_force(bot, 1)).approval.rules) == 120
