"""People install the bot in their workspace, and it serves that workspace until they remove it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from bot.app import Bot
from bot.config.encryption import is_encrypted
from bot.domain.clock import SECOND, now, steady
from bot.domain.i18n import Translatable
from bot.slack.installed import Installation
from bot.slack.interaction import workspace_of
from bot.storage import installations, keys, outbox, tables
from bot.web.install import SCOPES
from bot.workspaces import InstalledWorkspaces
from sandbox.server import Sandbox
from sandbox.world import Json, read_manifest
from tests.support.ground import StartBot, free_port
from tests.support.patience import LONG, until
from tests.support.slack import HERE, ask, becomes, card, filled, open_form, type_in
from tests.support.workspaces import OTHER, OURS, bot_for, install, many_settings, serves, two

Two = tuple[Sandbox, Sandbox]


@pytest.fixture
async def both(bot_port: int) -> AsyncIterator[Two]:
    async with two(bot_port) as found:
        yield found


@pytest.fixture
async def many(both: Two, bot_port: int, tmp_path: Path) -> AsyncIterator[Bot]:
    async with bot_for(both[0], bot_port, tmp_path) as bot:
        yield bot


async def test_a_workspace_is_served_once_it_has_installed_the_bot(many: Bot, both: Two, bot_port: int) -> None:
    home, other = both
    assert "belongs to another workspace" in await ask(home, "help")
    status, said = await install(bot_port, OURS)
    assert (status, said[:21]) == (200, "The bot is installed.")
    await serves(many, OURS)
    assert "B" in await ask(home, "send clients marketing Soldes demain")
    assert "Soldes demain" in str(await card(home))
    assert "belongs to another workspace" in await ask(other, "help")


@pytest.mark.long
async def test_its_token_is_stored_encrypted(many: Bot, both: Two, bot_port: int) -> None:
    await install(bot_port, OURS)
    row = await many.database.read(lambda c: c.execute(select(tables.installations)).mappings().one())
    assert is_encrypted(row["secrets"])
    assert both[0].world.bot_token not in str(dict(row))
    assert (row["installed_by"], row["bot_user"]) == ("U0CLEO", "U0BELL")


async def test_what_the_settings_do_not_give_to_a_workspace_is_not_there_for_it(
    many: Bot, both: Two, bot_port: int
) -> None:
    for workspace in (OURS, OTHER):
        await install(bot_port, workspace)
    await serves(many, OURS, OTHER)
    assert "clients" in await ask(both[0], "audiences")
    assert "clients" not in await ask(both[1], "audiences")
    assert "There is no audience “clients”" in await ask(both[1], "send clients marketing Soldes demain")
    assert [one.providers.keys() for one in (found.runtime for found in many.workspaces.all)] == [
        {"encom", "octo"},
        set(),
    ]


@pytest.mark.long
@pytest.mark.parametrize(("its", "told"), [(["octo"], True), (["encom"], False)])
async def test_the_vendors_other_lists_are_told_only_on_an_account_of_one_workspace(
    both: Two, bot_port: int, tmp_path: Path, its: list[str], told: bool
) -> None:
    tables = {OURS: {"accounts": ["encom"]}, OTHER: {"accounts": its, "audiences": ["paris", "vip"]}}
    async with bot_for(both[0], bot_port, tmp_path, workspaces=tables) as bot:
        for workspace in (OURS, OTHER):
            await install(bot_port, workspace)
        await serves(bot, OURS, OTHER)
        for one in bot.workspaces.all:
            await one.audiences.audience_cache.refresh()
        ours, others = await ask(both[0], "audiences"), await ask(both[1], "audiences")
    assert ("Also at Encom" in ours, "Also at" in others) == (told, False)
    assert "paris" in others or "vip" in others


async def test_an_uninstalled_workspace_is_paused_and_left_alone(many: Bot, both: Two, bot_port: int) -> None:
    home, _ = both
    await install(bot_port, OURS)
    await ask(home, "send clients marketing Soldes demain")
    posted = await card(home)
    home.uninstall()
    await serves(many)
    await many.workspaces.refresh()  # until it has stopped
    asked = len(home.calls)
    await home.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert "belongs to another workspace" in await ask(home, "list")
    row = await many.database.read(lambda c: c.execute(select(tables.installations)).mappings().one())
    assert (row["secrets"], row["left_at"] is not None) == (None, True)
    assert await many.database.read(lambda c: keys.paused(c, OURS))
    assert len(home.calls) == asked


async def test_one_workspace_to_which_nothing_can_be_shown_leaves_the_others_ready(
    many: Bot, both: Two, bot_port: int
) -> None:
    for workspace in (OURS, OTHER):
        await install(bot_port, workspace)
    await serves(many, OURS, OTHER)
    many.clock = lambda: now() + 100 * SECOND
    said, far = Translatable("Choose a purpose."), now() + 3600 * SECOND
    await many.database.write(lambda c: outbox.post(c, OTHER, "k", "U0OPS", said, None, now()))
    await many.database.write(lambda c: c.execute(tables.posts.update().values(post_at=far)))  # Slack does not take it
    ready, parts = await many.ready()
    assert ready
    assert (parts["outbox"], parts[f"workspace:{OTHER}"][:27]) == ("ok", "the oldest entry waits for ")
    assert f"workspace:{OURS}" not in parts


@pytest.mark.long
async def test_a_reinstalled_workspace_goes_on_when_an_admin_resumes(many: Bot, both: Two, bot_port: int) -> None:
    home, _ = both
    await install(bot_port, OURS)
    await ask(home, "send clients marketing Soldes demain")
    home.uninstall()
    await serves(many)
    await install(bot_port, OURS)
    await serves(many, OURS)
    posted = await card(home)
    await home.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert "held" in (await ask(home, "list")).lower() or home.vendors.ledger == []
    await ask(home, "resume all", user="U0OPS")
    assert not await many.database.read(lambda c: keys.paused(c, OURS))


@pytest.mark.long
async def test_a_late_word_of_an_earlier_end_does_not_end_a_new_installation(
    many: Bot, both: Two, bot_port: int
) -> None:
    await install(bot_port, OURS)
    await many.workspaces.left(OURS, 1_000_000)
    await many.workspaces.refresh()
    assert [one.id for one in many.workspaces.all] == [OURS]


async def test_until_it_knows_its_workspaces_slack_is_asked_to_come_back(
    both: Two, bot_port: int, tmp_path: Path
) -> None:
    home, begun, go_on = both[0], asyncio.Event(), asyncio.Event()
    async with bot_for(home, bot_port, tmp_path):
        await install(bot_port, OURS)

    async def living() -> dict[str, Installation]:
        begun.set()
        await go_on.wait()
        return await known()

    later = Bot(many_settings(home, bot_port, tmp_path), patience=LONG)
    assert isinstance(later.workspaces, InstalledWorkspaces)
    known = later.workspaces.installations.living
    later.workspaces.installations.living = living  # type: ignore[method-assign]
    starting = asyncio.create_task(later.start("127.0.0.1", bot_port))
    try:
        await begun.wait()
        body = home.acting.payloads.command("U0CLEO", home.world.channels[HERE], "/broadcast", "help all")
        assert not (await home.delivery.command(body)).acknowledged
        go_on.set()
        await starting
        assert "/broadcast send" in await ask(home, "help all")
    finally:
        starting.cancel()
        await later.stop()


@asynccontextmanager
async def proxy(bot_port: int, prefix: str) -> AsyncIterator[int]:
    """A proxy that has the bot behind a prefix of the path, which it takes away."""

    async def passed_on(request: web.Request) -> web.Response:
        to = f"http://127.0.0.1:{bot_port}{request.raw_path.removeprefix(prefix)}"
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(request.method, to, headers=request.headers, allow_redirects=False) as answer,
        ):
            return web.Response(status=answer.status, headers=answer.headers, body=await answer.read())

    app = web.Application()
    app.router.add_get(f"{prefix}/{{rest:.*}}", passed_on)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
        yield port
    finally:
        await runner.cleanup()


@pytest.mark.long
async def test_it_is_installed_behind_a_prefix_of_the_path(both: Two, bot_port: int, tmp_path: Path) -> None:
    async with proxy(bot_port, "/bell") as port, aiohttp.ClientSession() as browser:
        public = f"http://127.0.0.1:{port}/bell"
        async with bot_for(both[0], bot_port, tmp_path, public_url=public) as bot:
            status, said = await install(port, OURS, prefix="/bell")
            assert (status, said[:21]) == (200, "The bot is installed.")
            await serves(bot, OURS)
            async with browser.get(f"{public}/slack/oauth_redirect?code=x") as answer:
                assert f"Start again at {public}/slack/install." in await answer.text()


@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("code=x", None),
        ("code=x&state=1.2.3", "1.2.3"),
        ("code=x&state=99999999999.n.forged", "99999999999.n.forged"),
        ("code=x&state=é", "é"),
        ("error=access_denied", None),
        ("state=&code=", ""),
    ],
)
@pytest.mark.long
async def test_what_was_not_started_here_installs_nothing(
    many: Bot, bot_port: int, query: str, cookie: str | None
) -> None:
    headers = {} if cookie is None else {"cookie": f"bellcrier-install={cookie}"}
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(f"http://127.0.0.1:{bot_port}/slack/oauth_redirect?{query}", headers=headers) as answer,
    ):
        assert (answer.status, (await answer.text())[:22]) == (400, "This installation was ")
    assert many.workspaces.all == ()


def test_it_asks_for_the_scopes_of_the_manifest() -> None:
    assert set(SCOPES) == read_manifest().scopes


@pytest.mark.long
async def test_a_code_counts_once_and_a_refusal_is_told(many: Bot, both: Two, bot_port: int) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:

        async def read(url: str, **headers: str) -> tuple[int, str, Mapping[str, str]]:
            async with browser.get(url, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.text(), answer.headers

        *_, begun = await read(f"http://127.0.0.1:{bot_port}/slack/install")
        *_, allowed = await read(begun["location"])
        back, cookie = allowed["location"], begun["set-cookie"].split(";")[0]
        assert (await read(back, cookie=cookie))[0] == 200
        again, said, _ = await read(back, cookie=cookie)
        assert (again, said[:24]) == (502, "Slack did not hand over ")
        stem, _, rest = back.partition("code=")
        refused, *_ = await read(f"{stem}error=access_denied&{rest.partition('&')[2]}", cookie=cookie)
        assert refused == 400
    await serves(many, OURS)


@pytest.mark.long
async def test_a_token_that_ends_is_renewed_once_before_it_does(both: Two, bot_port: int, tmp_path: Path) -> None:
    home, later = both[0], [0]
    home.oauth.rotates = True
    async with bot_for(home, bot_port, tmp_path, clock=lambda: now() + later[0]) as bot:
        await install(bot_port, OURS)
        first = home.world.bot_token
        await bot.workspaces.refresh()
        assert home.world.bot_token == first
        later[0] = 11 * 3600 * SECOND
        await asyncio.gather(*(bot.workspaces.refresh() for _ in range(3)))
        assert home.world.bot_token != first
        assert [method for method, _ in home.calls].count("oauth.v2.access") == 2
        assert bot.posting.token == bot.home.quick.token == home.world.bot_token
        assert "/broadcast send" in await ask(home, "help all")


@pytest.mark.long
async def test_a_renewal_that_slack_refuses_is_tried_again(both: Two, bot_port: int, tmp_path: Path) -> None:
    home, later = both[0], [0]
    home.oauth.rotates = True
    async with bot_for(home, bot_port, tmp_path, clock=lambda: now() + later[0]) as bot:
        await install(bot_port, OURS)
        first = home.world.bot_token
        later[0] = 11 * 3600 * SECOND
        home.faults.add("oauth.v2.access", "error", error="internal_error")
        await bot.workspaces.refresh()
        assert bot.posting.token == first  # which is taken until it ends
        await bot.workspaces.refresh()
        assert bot.posting.token == home.world.bot_token != first


@pytest.mark.long
async def test_a_workspace_of_an_organisation_joins_when_it_is_first_heard_of(
    many: Bot, both: Two, bot_port: int
) -> None:
    home, organisation = both[0], "E0BELL"
    home.oauth.organisation = organisation
    await install(bot_port, OURS)
    assert many.workspaces.all == ()  # nobody has used it yet
    place = home.world.channels[HERE]
    body = home.acting.payloads.command("U0CLEO", place, "/broadcast", "audiences")
    body |= {"enterprise_id": organisation, "is_enterprise_install": "true"}
    assert "clients" in (await home.delivery.command(body)).answer["text"]
    await serves(many, OURS)
    assert "clients" in (await home.delivery.command(body)).answer["text"]
    strange = {**body, "enterprise_id": "E0OTHER", "team_id": OTHER}
    assert "belongs to another workspace" in (await home.delivery.command(strange)).answer["text"]
    await many.workspaces.left(organisation, now())
    await serves(many)
    assert await many.database.read(lambda c: keys.paused(c, OURS))
    await install(bot_port, OURS)
    await serves(many, OURS)
    assert "clients" in (await home.delivery.command(body)).answer["text"]
    assert await many.database.read(lambda c: keys.paused(c, OURS))  # until an admin resumes
    row = await many.database.read(lambda c: installations.find(c, OURS))
    assert row is not None
    await many.workspaces.left(organisation, row.installed_at - 5 * SECOND)  # said late, of the earlier installation
    await many.workspaces.refresh()
    await serves(many, OURS)


@pytest.mark.long
async def test_a_workspace_of_an_organisation_joins_once_however_often_it_is_heard_of(
    many: Bot, both: Two, bot_port: int
) -> None:
    both[0].oauth.organisation = "E0BELL"
    await install(bot_port, OURS)
    asked = (many.workspaces.listeners_of(workspace, "E0BELL") for workspace in (OURS, OURS, OTHER, OURS))
    found = await asyncio.gather(*asked)
    assert found[0] is found[1] is found[3] is not None
    await serves(many, OURS, OTHER)
    joined = select(tables.installations.c.version).where(tables.installations.c.organisation == "E0BELL")
    assert await many.database.read(lambda c: c.execute(joined).scalars().all()) == [1, 1]


@pytest.mark.long
async def test_a_workspace_that_joins_for_too_long_is_told_to_try_again(many: Bot, both: Two, bot_port: int) -> None:
    home, go_on = both[0], asyncio.Event()
    home.oauth.organisation = "E0BELL"
    await install(bot_port, OURS)
    assert isinstance(many.workspaces, InstalledWorkspaces)
    known, many.workspaces.patience = many.workspaces.installations.join, 0.05

    async def join(organisation: Installation, workspace: str) -> None:
        await go_on.wait()
        await known(organisation, workspace)

    many.workspaces.installations.join = join  # type: ignore[method-assign]
    body = home.acting.payloads.command("U0CLEO", home.world.channels[HERE], "/broadcast", "audiences")
    body |= {"enterprise_id": "E0BELL", "is_enterprise_install": "true"}
    assert "I am only joining this workspace" in (await home.delivery.command(body)).answer["text"]
    go_on.set()
    await serves(many, OURS)
    assert "clients" in (await home.delivery.command(body)).answer["text"]


@pytest.mark.long
async def test_a_start_waits_for_no_renewal_and_several_are_done_side_by_side(
    both: Two, bot_port: int, tmp_path: Path
) -> None:
    home, later = both[0], [0]
    home.oauth.rotates = True
    async with bot_for(home, bot_port, tmp_path, clock=lambda: now() + later[0]):
        for workspace in (OURS, OTHER):
            await install(bot_port, workspace)
    later[0] = 11 * 3600 * SECOND
    first = [one.world.bot_token for one in both]
    home.faults.add("oauth.v2.access", "delay", seconds=1.0, times=2)
    began = steady()
    async with bot_for(home, bot_port, tmp_path, clock=lambda: now() + later[0]) as bot:
        assert {one.id for one in bot.workspaces.all} == {OURS, OTHER}
        assert [one.world.bot_token for one in both] == first

        async def renewed() -> bool:
            return {one.posting.token for one in bot.workspaces.all} == {one.world.bot_token for one in both} - {*first}

        await until(renewed)
        assert steady() - began >= 1.0


@pytest.mark.long
async def test_readiness_takes_one_look_for_all_workspaces(many: Bot, both: Two, bot_port: int) -> None:
    for workspace in (OURS, OTHER):
        await install(bot_port, workspace)
    await serves(many, OURS, OTHER)
    said, looks = Translatable("Hello"), list[object]()
    await many.database.write(lambda c: outbox.post(c, OTHER, "k", "U0OPS", said, None, now() - 3600 * SECOND))
    read = many.database.read

    async def counted(work: Any, **more: Any) -> Any:
        looks.append(work)
        return await read(work, **more)

    many.database.read = counted  # type: ignore[method-assign]
    late = await many.workspaces.unshown_since(many.database, now())
    assert len(looks) == 1
    assert {*late} <= {OTHER}


@pytest.mark.long
async def test_the_end_of_a_bot_token_is_told_to_the_operator(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox)
    assert (await bot.ready())[0]
    await bot.workspaces.left(OTHER, now())  # which is not ours
    assert (await bot.ready())[0]
    sandbox.delivery.event({"type": "app_uninstalled"})

    async def told() -> bool:
        return "uninstalled" in (await bot.ready())[1]["slack"]

    await until(told)
    assert not (await bot.ready())[0]
    bot.self_check.ask_at = 0.0
    await bot.self_check.look()  # Slack takes the token after all
    assert (await bot.ready())[0]


@pytest.mark.parametrize(
    ("body", "workspace"),
    [
        ({"team_id": OURS, "user_id": "U0CLEO"}, OURS),
        ({"team": {"id": OURS}, "user": {"team_id": OTHER}, "view": {"team_id": OTHER}}, OURS),
        ({"team": None, "user": {"team_id": OTHER}, "view": {"team_id": OURS}}, OURS),
        ({"team": None, "user": {"team_id": OURS}, "view": {"team_id": "E0BELL"}}, OURS),
        ({"team": None, "user": {"team_id": OURS}, "view": {"team_id": None}}, OURS),
        ({"team": None, "user": {"team_id": OURS}}, OURS),
    ],
)
def test_a_payload_is_of_the_workspace_where_it_was_done(body: Json, workspace: str) -> None:
    assert workspace_of(body) == workspace


@pytest.mark.long
async def test_a_form_belongs_to_the_workspace_where_it_was_opened_and_not_to_the_persons_own(
    both: Two, bot_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, named = both[0], {OURS: {"accounts": ["encom"]}, OTHER: {"accounts": ["encom"]}}
    payload = home.acting.payloads.interaction

    def of_a_visitor(kind: str, user: str) -> Json:
        """With an org-wide installation, of somebody whose account is in another workspace of the organisation."""
        made = payload(kind, user)
        grid = {"team": None, "enterprise": {"id": "E0BELL"}, "is_enterprise_install": True}
        return {**made, **grid, "user": {**made["user"], "team_id": OTHER}}

    async with bot_for(home, bot_port, tmp_path, workspaces=named) as bot:
        for workspace in (OURS, OTHER):
            await install(bot_port, workspace)
        await serves(bot, OURS, OTHER)
        form = await open_form(home)
        monkeypatch.setattr(home.acting.payloads, "interaction", of_a_visitor)
        form["app_installed_team_id"] = "E0BELL"
        values = filled("clients", "Soldes demain")
        await type_in(home, form, values)
        await becomes(home, "Soldes demain")  # with the token of this workspace, and no other
        assert await home.acting.submit("U0DAN", form["id"], values) == {}
        asked = select(tables.broadcasts.c.workspace)
        assert await bot.database.read(lambda c: c.execute(asked).scalars().all()) == [OURS]


@pytest.mark.long
async def test_the_admins_of_each_workspace_hear_of_its_troubles_and_of_no_other(
    both: Two, bot_port: int, tmp_path: Path
) -> None:
    shared = {OURS: {"accounts": ["encom"], "admins": ["U0ANA"]}, OTHER: {"accounts": ["octo"], "admins": ["U0ANA"]}}
    async with bot_for(both[0], bot_port, tmp_path, workspaces=shared) as bot:
        for workspace in (OURS, OTHER):
            await install(bot_port, workspace)
        await serves(bot, OURS, OTHER)
        away = keys.Breaker(9, now() + 3600 * SECOND)
        await bot.database.write(lambda c: keys.set_breaker(c, "octo", away, now()))
        await bot.workspaces.notice(bot.self_check)
        direct = both[1].world.direct("U0ANA").id
        await both[1].until(lambda: "I cannot reach" in str(both[1].acting.messages(direct)))
        for one in bot.workspaces.all:
            assert one.operator is not None
            right, one.operator.check.ask_at = one.operator.check.wall, 0.0
            one.operator.check.wall = lambda right=right: right() + 90  # type: ignore[misc]
        await bot.workspaces.notice(bot.self_check)
        for sandbox in both:
            place = sandbox.world.direct("U0ANA").id
            await sandbox.until(lambda: "seconds away from Slack" in str(sandbox.acting.messages(place)))  # noqa: B023
        assert "clock" in {name for name, said in (await bot.ready())[1].items() if said != "ok"}
        assert "I cannot reach" not in str(both[0].acting.messages(both[0].world.direct("U0ANA").id))
