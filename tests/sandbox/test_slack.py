"""The pretend workspace is strict where Slack is, so that what works here works there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web

from sandbox.server import Sandbox
from sandbox.world import TRIGGER_SECONDS
from tests.support.ground import free_port
from tests.support.patience import quiet

HERE = "C0CAMPAIGNS"
Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
def call(sandbox: Sandbox, http: ClientSession) -> Call:
    """Call a Web API method as an app does."""

    async def run(method: str, token: str | None = None, **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {sandbox.world.bot_token if token is None else token}"}
        async with http.post(f"{sandbox.api_url}{method}", json=arguments, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    return run


def allow(sandbox: Sandbox, scope: str) -> None:
    """Let the app have a scope that it does not ask for."""
    manifest = sandbox.world.manifest
    sandbox.world.manifest = dataclasses.replace(manifest, scopes=manifest.scopes | {scope})


async def posted(call: Call, **arguments: Any) -> str:
    answer = await call("chat.postMessage", **({"channel": HERE, "text": "Hello"} | arguments))
    assert answer["ok"], answer
    return str(answer["ts"])


def section(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def button(**more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "Go"}, **more}


def modal(**more: Any) -> dict[str, Any]:
    return {"type": "modal", "title": {"type": "plain_text", "text": "Form"}, "blocks": [section("x")], **more}


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such method": ("chat.shout", {}, "unknown_method"),
    "no token": ("auth.test", {"token": ""}, "not_authed"),
    "a dead token": ("auth.test", {"token": "xoxb-dead"}, "invalid_auth"),
    "the other token": ("auth.test", {"token": "xapp-sandbox-bellcrier"}, "not_allowed_token_type"),
    "the bot token for a socket": ("apps.connections.open", {}, "invalid_auth"),
    "no such channel": ("chat.postMessage", {"channel": "C404", "text": "x"}, "channel_not_found"),
    "a private channel": ("chat.postMessage", {"channel": "G0BOARD", "text": "x"}, "channel_not_found"),
    "not a member": ("chat.postMessage", {"channel": "C0QUIET", "text": "x"}, "not_in_channel"),
    "archived": ("chat.postMessage", {"channel": "C0OLDNEWS", "text": "x"}, "is_archived"),
    "nothing to say": ("chat.postMessage", {"channel": HERE}, "no_text"),
    "no such thread": ("chat.postMessage", {"channel": HERE, "text": "x", "thread_ts": "1.2"}, "thread_not_found"),
    "no such message": ("chat.update", {"channel": HERE, "ts": "1.2", "text": "x"}, "message_not_found"),
    "not there": ("chat.postEphemeral", {"channel": HERE, "user": "U0ZOE", "text": "x"}, "user_not_in_channel"),
    "nobody": ("users.info", {"user": "U404"}, "user_not_found"),
    "a disabled group": ("usergroups.users.list", {"usergroup": "S0OLD"}, "no_such_subteam"),
    "no trigger": ("views.open", {"trigger_id": "x", "view": modal()}, "invalid_trigger_id"),
    "no such view": ("views.update", {"view_id": "V404", "view": modal()}, "not_found"),
    "a reaction with colons": ("reactions.add", {"channel": HERE, "timestamp": "1.2", "name": ":x:"}, "invalid_name"),
    "somebody who left": ("conversations.open", {"users": "U0ZOE"}, "user_disabled"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_it_refuses_as_slack_does(sandbox: Sandbox, call: Call, case: str) -> None:
    allow(sandbox, "reactions:write")
    method, arguments, code = REFUSED[case]
    answer = await call(method, **arguments)
    assert (answer["ok"], answer["error"]) == (False, code)


BLOCKS: dict[str, tuple[list[Any], str]] = {
    "too many": ([section("x")] * 51, "no more than 50"),
    "too long": ([section("x" * 3001)], "less than 3001"),
    "empty": ([section("")], "more than 0"),
    "unknown": ([{"type": "hologram"}], "unsupported"),
    "the same id twice": ([section("x", block_id="b"), section("y", block_id="b")], "unique"),
    "a long id": ([section("x", block_id="b" * 256)], "255"),
    "a long button": ([{"type": "actions", "elements": [button(text={"type": "plain_text", "text": "x" * 76})]}], "76"),
    "a colourful button": ([{"type": "actions", "elements": [button(style="green")]}], "primary or danger"),
    "no buttons": ([{"type": "actions", "elements": []}], "between 1 and 25"),
    "a long value": ([{"type": "actions", "elements": [button(value="v" * 2001)]}], "2001"),
}


@pytest.mark.parametrize("case", BLOCKS)
async def test_blocks_have_limits_and_the_fault_is_pointed_at(call: Call, case: str) -> None:
    blocks, told = BLOCKS[case]
    answer = await call("chat.postMessage", channel=HERE, text="x", blocks=blocks)
    assert answer["error"] == "invalid_blocks"
    assert told in str(answer["response_metadata"]["messages"])
    assert "json-pointer:/blocks" in str(answer["response_metadata"]["messages"])


async def test_all_blocks_together_have_a_limit_of_their_own(call: Call) -> None:
    answer = await call("chat.postMessage", channel=HERE, text="x", blocks=[section("é" * 2900)] * 10)
    assert answer["error"] == "msg_blocks_too_long"


@pytest.mark.parametrize(
    "view",
    [
        modal(title={"type": "plain_text", "text": "x" * 25}),
        {"type": "modal", "blocks": []},
        {"type": "home", "blocks": []},
        modal(private_metadata="x" * 3001),
        modal(blocks=[{"type": "input", "label": {"type": "plain_text", "text": "x"}, "element": {}}]),
    ],
    ids=["long title", "no title", "no modal", "much metadata", "inputs without submit"],
)
async def test_a_modal_has_limits_too(sandbox: Sandbox, call: Call, view: dict[str, Any]) -> None:
    answer = await call("views.open", trigger_id=sandbox.world.new_trigger("U0CLEO"), view=view)
    assert answer["error"] in ("invalid_arguments", "invalid_blocks")


async def test_a_scope_that_the_manifest_does_not_ask_for_is_missing(sandbox: Sandbox, call: Call) -> None:
    manifest = sandbox.world.manifest
    sandbox.world.manifest = dataclasses.replace(manifest, scopes=manifest.scopes - {"users:read"})
    answer = await call("users.info", user="U0CLEO")
    assert (answer["error"], answer["needed"]) == ("missing_scope", "users:read")


async def test_only_its_own_messages_can_be_changed(sandbox: Sandbox, call: Call) -> None:
    theirs = (await sandbox.acting.say("U0CLEO", HERE, "mine"))["ts"]
    assert (await call("chat.update", channel=HERE, ts=theirs, text="x"))["error"] == "cant_update_message"
    assert (await call("chat.delete", channel=HERE, ts=theirs))["error"] == "cant_delete_message"
    ours = await posted(call)
    assert (await call("chat.update", channel=HERE, ts=ours, text="changed"))["ok"]
    assert (await call("chat.delete", channel=HERE, ts=ours))["ok"]
    assert (await call("chat.delete", channel=HERE, ts=ours))["error"] == "message_not_found"


async def test_a_trigger_works_once_and_for_three_seconds(sandbox: Sandbox, call: Call) -> None:
    sandbox.world.trigger_seconds = TRIGGER_SECONDS
    trigger = sandbox.world.new_trigger("U0CLEO")
    assert (await call("views.open", trigger_id=trigger, view=modal()))["ok"]
    assert (await call("views.open", trigger_id=trigger, view=modal()))["error"] == "exchanged_trigger_id"
    late = sandbox.world.new_trigger("U0CLEO")
    at, user = sandbox.world.triggers[late]
    sandbox.world.triggers[late] = (at - 3.01, user)
    assert (await call("views.open", trigger_id=late, view=modal()))["error"] == "expired_trigger_id"


async def test_a_view_that_changed_meanwhile_is_a_conflict(sandbox: Sandbox, call: Call) -> None:
    view = (await call("views.open", trigger_id=sandbox.world.new_trigger("U0CLEO"), view=modal()))["view"]
    first = await call("views.update", view_id=view["id"], hash=view["hash"], view=modal())
    assert first["ok"]
    assert (await call("views.update", view_id=view["id"], hash=view["hash"], view=modal()))["error"] == "hash_conflict"
    assert (await call("views.update", view_id=view["id"], hash=first["view"]["hash"], view=modal()))["ok"]


def home(**more: Any) -> dict[str, Any]:
    return {"type": "home", "blocks": [section("x")], **more}


HOMES: dict[str, tuple[dict[str, Any], str]] = {
    "for nobody": ({"user_id": "U404", "view": home()}, "user_not_found"),
    "a modal": ({"view": modal()}, "invalid_arguments"),
    "something to submit": ({"view": home(submit={"type": "plain_text", "text": "Go"})}, "invalid_arguments"),
    "101 blocks": ({"view": home(blocks=[section("x")] * 101)}, "invalid_blocks"),
    "a text too long": ({"view": home(blocks=[section("x" * 3001)])}, "invalid_blocks"),
    "250 kB": ({"view": home(blocks=[section("x" * 2900) for _ in range(100)])}, "view_too_large"),
    "a hash before the first": ({"view": home(), "hash": "1.a"}, "hash_conflict"),
}


@pytest.mark.parametrize("case", HOMES)
async def test_a_home_has_limits_too(sandbox: Sandbox, call: Call, case: str) -> None:
    arguments, code = HOMES[case]
    answer = await call("views.publish", **({"user_id": "U0CLEO"} | arguments))
    assert (answer["ok"], answer["error"]) == (False, code)
    assert sandbox.acting.home.shown("U0CLEO") is None


async def test_a_home_is_each_persons_own_and_an_older_one_never_replaces_a_newer(sandbox: Sandbox, call: Call) -> None:
    first = (await call("views.publish", user_id="U0CLEO", view=home()))["view"]
    second = (await call("views.publish", user_id="U0CLEO", view=home(), hash=first["hash"]))["view"]
    stale = await call("views.publish", user_id="U0CLEO", view=home(), hash=first["hash"])
    assert (second["id"], stale["error"]) == (first["id"], "hash_conflict")
    assert sandbox.acting.home.shown("U0CLEO") == second
    assert sandbox.acting.home.shown("U0ANA") is None
    sandbox.world.manifest = dataclasses.replace(sandbox.world.manifest, home=False)
    assert (await call("views.publish", user_id="U0CLEO", view=home()))["error"] == "not_enabled"


async def test_a_response_url_works_five_times_in_half_an_hour(sandbox: Sandbox, http: ClientSession) -> None:
    token = sandbox.world.new_response("U0CLEO", HERE)
    statuses = []
    for _ in range(6):
        async with http.post(f"{sandbox.url}/response/{token}", json={"text": "hi"}) as answer:
            statuses.append(answer.status)
    assert statuses == [200] * 5 + [404]
    old = sandbox.world.new_response("U0CLEO", HERE)
    sandbox.world.responses[old]["at"] -= 1801
    async with http.post(f"{sandbox.url}/response/{old}", json={"text": "hi"}) as answer:
        assert (answer.status, await answer.text()) == (404, "expired_url")


async def test_a_reaction_is_given_once_and_taken_back_once(sandbox: Sandbox, call: Call) -> None:
    allow(sandbox, "reactions:write")
    ts = await posted(call)
    where = {"channel": HERE, "timestamp": ts, "name": "eyes"}
    assert (await call("reactions.add", **where))["ok"]
    assert (await call("reactions.add", **where))["error"] == "already_reacted"
    assert (await call("reactions.get", **where))["message"]["reactions"][0]["count"] == 1
    assert (await call("reactions.remove", **where))["ok"]
    assert (await call("reactions.remove", **where))["error"] == "no_reaction"


async def test_metadata_is_kept_and_shown_when_asked_for(sandbox: Sandbox, call: Call) -> None:
    allow(sandbox, "channels:history")
    metadata = {"event_type": "x", "event_payload": {"id": "B1"}}
    ts = await posted(call, metadata=metadata)
    kept = await call("conversations.replies", channel=HERE, ts=ts, include_all_metadata=True)
    plain = await call("conversations.replies", channel=HERE, ts=ts)
    assert kept["messages"][0]["metadata"] == metadata
    assert "metadata" not in plain["messages"][0]


# --- deliveries ------------------------------------------------------------------------------------------------------


async def listen(sandbox: Sandbox, http: ClientSession) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.world.app_token}"}
    async with http.post(f"{sandbox.api_url}apps.connections.open", headers=headers) as answer:
        url = (await answer.json())["url"]
    socket = await http.ws_connect(url)
    assert (await socket.receive_json())["type"] == "hello"
    return socket


async def test_an_envelope_goes_to_one_socket_and_an_event_comes_again_until_it_is_acknowledged(
    sandbox: Sandbox, http: ClientSession, call: Call
) -> None:
    sandbox.delivery.patience = 0.2
    one, two = await listen(sandbox, http), await listen(sandbox, http)
    heard: list[tuple[str, dict[str, Any]]] = []

    async def hear(name: str, socket: Any) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                heard.append((name, json.loads(message.data)))

    listeners = [asyncio.create_task(hear("one", one)), asyncio.create_task(hear("two", two))]
    ts = await posted(call)
    await sandbox.acting.react("U0ANA", HERE, ts, "eyes")
    await sandbox.until(lambda: len(heard) >= 3)
    envelopes = [envelope for _, envelope in heard]
    assert [envelope["retry_attempt"] for envelope in envelopes[:3]] == [0, 1, 2]
    assert envelopes[1]["retry_reason"] == "timeout"
    assert len({envelope["envelope_id"] for envelope in envelopes}) == len(envelopes)
    assert len({envelope["payload"]["event_id"] for envelope in envelopes}) == 1
    for task in listeners:
        task.cancel()
    await one.close()
    await two.close()


async def test_a_socket_needs_its_ticket_and_a_ticket_is_good_once(sandbox: Sandbox, http: ClientSession) -> None:
    headers = {"Authorization": f"Bearer {sandbox.world.app_token}"}
    async with http.post(f"{sandbox.api_url}apps.connections.open", headers=headers) as answer:
        url = (await answer.json())["url"]
    async with http.ws_connect(url) as socket:
        assert (await socket.receive_json())["type"] == "hello"
        for wrong in (url, url.split("?")[0], f"{url}x"):
            with pytest.raises(Exception, match=r"403|Invalid response status"):
                await http.ws_connect(wrong)


async def test_over_http_retries_carry_their_number_and_reason(http: ClientSession) -> None:
    heard: list[dict[str, str]] = []

    async def door(request: web.Request) -> web.Response:
        heard.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=500 if len(heard) < 3 else 200)

    app, port = web.Application(), free_port()
    app.router.add_post("/slack/events", door)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with Sandbox(events_url=f"http://127.0.0.1:{port}/slack/events", retry_pauses=(0.05, 0.05, 0.05)) as sandbox:
        place = sandbox.world.channel(HERE)
        sandbox.world.post(place, {"user": "U0BELL", "text": "x"})
        await sandbox.acting.react("U0ANA", HERE, place.messages[-1]["ts"], "eyes")
        await sandbox.until(lambda: len(heard) == 3)
        await quiet(0.3)
    await runner.cleanup()
    assert [one.get("x-slack-retry-num") for one in heard] == [None, "1", "2"]
    assert heard[1]["x-slack-retry-reason"].startswith("http_error")


async def test_a_lost_answer_has_had_its_effect(sandbox: Sandbox, call: Call) -> None:
    sandbox.faults.add("chat.postMessage", "lost")
    with pytest.raises(Exception, match=r"disconnected|reset"):
        await posted(call)
    assert len(sandbox.acting.messages(HERE)) == 1


async def test_too_fast_says_how_long_to_wait(sandbox: Sandbox, http: ClientSession) -> None:
    sandbox.faults.add("auth.test", "429", retry_after=7)
    async with http.post(f"{sandbox.api_url}auth.test") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_text_reaches_the_app_as_slack_writes_it(sandbox: Sandbox) -> None:
    typed = "a & b <c> @ana #general https://bell.example/x"
    assert sandbox.acting.escaped(typed) == (
        "a &amp; b &lt;c&gt; <@U0ANA|ana> <#C0GENERAL|general> <https://bell.example/x>"
    )
