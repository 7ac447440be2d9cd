"""What Slack, or a proxy before it, answers in the place of JSON: one reader makes it an error like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.app import Bot
from bot.doctor.examination import examine
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import SlackClient, error_code, error_name, is_late, wait_asked
from bot.slack.publish.poster import Later
from bot.slack.replies import reply_privately
from sandbox.server import Sandbox
from tests.support.ground import StartBot, changed, newest, raw_settings
from tests.support.slack import HERE, ask, card

ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "text": (200, "text/plain", b"upstream connect error"),
    "text 503": (503, "text/plain", b"no healthy upstream"),
    "a page": (200, "text/html", b"<html><body>Sign in to the proxy</body></html>"),
    "a page 502": (502, "text/html; charset=utf-8", b"<html>Bad Gateway</html>"),
    "cut JSON": (200, "application/json", b'{"ok": true, "channel": {"id'),
    "cut JSON 500": (500, "application/json", b'{"ok": fal'),
    "nothing": (200, "application/json", b""),
    "nothing 500": (500, "application/json", b""),
    "a list": (200, "application/json", b'["ok", true]'),
    "a number": (200, "application/json", b"1"),
    "null": (200, "application/json", b"null"),
    "no text": (200, "application/json", b"\xff\xfe\xfa"),
    "packed": (200, "application/gzip", b"\x1f\x8b"),
    "no type": (200, "", b"ok"),
}
THREE = ("text", "a page 502", "cut JSON")


def spoil(sandbox: Sandbox, method: str, name: str, times: int = 1) -> None:
    status, type, body = ANSWERS[name]
    sandbox.faults.add(method, "body", times, status=status, type=type, body=body)


async def test_whatever_the_body_the_call_fails_without_a_code_as_if_slack_were_busy(sandbox: Sandbox) -> None:
    client = SlackClient(sandbox.world.bot_token, base_url=sandbox.api_url, retry_handlers=[])
    for name, (status, _, body) in ANSWERS.items():
        spoil(sandbox, "auth.test", name)
        with pytest.raises(SlackApiError) as caught:
            await client.auth_test()
        error = caught.value
        assert (error_code(error), is_late(error), wait_asked(error)) == ("", True, 5.0), name
        assert error_name(error) == f"HTTP {502 if name == 'no text' else status}"
        assert len(body) < 3 or body.decode("latin-1")[:12] not in str(error), "a proxy's page is nobody's business"


async def test_a_refusal_and_a_request_to_wait_are_read_as_before(sandbox: Sandbox) -> None:
    client = SlackClient("xoxb-wrong", base_url=sandbox.api_url, retry_handlers=[])
    with pytest.raises(SlackApiError) as caught:
        await client.auth_test()
    assert (error_code(caught.value), wait_asked(caught.value)) == ("invalid_auth", None)
    sandbox.faults.add("auth.test", "429", retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await client.auth_test()
    assert (error_code(caught.value), wait_asked(caught.value)) == ("ratelimited", 7.0)


Call = Callable[[Bot], Awaitable[Any]]
CALLERS: dict[str, tuple[str, Call, type[Exception] | None]] = {
    "who somebody is": ("users.info", lambda bot: bot.people.person("T0BELL", "U0EVA"), DirectoryUnavailable),
    "who is in a group": ("usergroups.users.list", lambda bot: bot.people.members("S0MARKETING"), DirectoryUnavailable),
    "what a channel is": ("conversations.info", lambda bot: bot.people.place("C0GENERAL"), DirectoryUnavailable),
    "who is in a channel": ("conversations.members", lambda bot: bot.people.is_in(HERE, "U0EVA"), DirectoryUnavailable),
    "a post": ("chat.postMessage", lambda bot: bot.home.poster.post(HERE, Post("hello"), {}), Later),
    "a change": ("chat.update", lambda bot: bot.home.poster.change(HERE, "1.1", Post("hello")), Later),
    "a direct message": ("conversations.open", lambda bot: bot.home.poster.channel_of("U0EVA"), Later),
    "an answer": (
        "chat.postEphemeral",
        lambda bot: reply_privately(bot.posting, HERE, "U0EVA", Post("hello")),
        None,  # it goes directly instead
    ),
}


async def test_every_caller_takes_it_for_slack_in_trouble(sandbox: Sandbox, bot: Bot) -> None:
    for name in THREE:
        for method, call, expected in CALLERS.values():
            bot.people.forget()
            spoil(sandbox, method, name)
            if expected is None:
                await call(bot)
                continue
            with pytest.raises(expected):
                await call(bot)
    assert len(sandbox.acting.messages(sandbox.world.direct("U0EVA").id)) == len(THREE)


@pytest.mark.parametrize("name", THREE)
async def test_a_form_that_does_not_open_says_so(sandbox: Sandbox, bot: Bot, name: str) -> None:
    spoil(sandbox, "views.open", name)
    assert await ask(sandbox, "") == "Slack took too long to open the form. Type `/broadcast` again."


@pytest.mark.long
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_card_is_posted_a_little_later_and_shown_without_its_link(
    sandbox: Sandbox, bot: Bot, name: str
) -> None:
    spoil(sandbox, "chat.postMessage", name)
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    spoil(sandbox, "chat.getPermalink", name)
    row = await newest(bot)
    assert row.id in (await ask(sandbox, f"show {row.id}"))


@pytest.mark.long
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_socket_that_gets_no_address_is_asked_for_again(
    sandbox: Sandbox, start_bot: StartBot, name: str
) -> None:
    spoil(sandbox, "apps.connections.open", name)
    await start_bot(sandbox)  # it waits until the socket is up


@pytest.mark.parametrize("name", THREE)
async def test_doctor_tells_what_slack_answered(sandbox: Sandbox, tmp_path: Any, name: str) -> None:
    settings = changed(raw_settings(sandbox, 1, tmp_path), {})
    spoil(sandbox, "auth.test", name)
    found = {one.id: one for one in await examine(settings)}
    assert found["slack.token"].level == "error"
    assert f"(HTTP {ANSWERS[name][0]})" in found["slack.token"].cause
