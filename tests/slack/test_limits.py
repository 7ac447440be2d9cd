"""Whatever somebody types: Slack takes every message and every form, and nothing in them pings anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from bot.app import Bot
from bot.domain.i18n import LANGUAGES, translator_for
from bot.slack.blocks import forms
from bot.slack.blocks.mrkdwn import Post, context, section
from bot.slack.interaction import Entrance
from bot.slack.live_form import LiveForm
from sandbox.blocks import check_blocks, check_view
from sandbox.server import Sandbox
from sandbox.world import Json, SlackError
from tests.support.core import TEAM
from tests.support.emitted import COMPOSED, FORMS, HARD, MESSAGES, markdown
from tests.support.ground import newest, some_later
from tests.support.slack import HERE, ask, card, thread_text

MOST_TEXT = 40_000
LATER = [LANGUAGES[0], *(pytest.param(language, marks=pytest.mark.long) for language in LANGUAGES[1:])]


def wrong_with_blocks(blocks: list[Json]) -> Iterator[str]:
    try:
        check_blocks(blocks)
        for block in blocks:
            Block.parse(block).validate_json()  # type: ignore[union-attr]
    except SlackError as error:
        yield f"{error.code} {error.more}"
    except SlackObjectFormationError as error:
        yield str(error)


def wrong_with_form(view: Json) -> Iterator[str]:
    try:
        check_view(view)
        View(**view).validate_json()
    except SlackError as error:
        yield f"{error.code} {error.more}"
    except SlackObjectFormationError as error:
        yield str(error)
    yield from pinging(markdown(view["blocks"]))


def wrong_with(post: Post) -> Iterator[str]:
    yield from wrong_with_blocks(post.blocks)
    yield from wrong_with_blocks(post.plainest)
    if not 0 < len(post.text) <= MOST_TEXT:
        yield f"a text of {len(post.text)} characters"
    yield from pinging([post.text, *markdown(post.blocks), *markdown(post.plainest)])


def pinging(texts: Any) -> Iterator[str]:
    yield from (f"it pings: {text[:200]}" for text in texts if "<!channel>" in text)


@pytest.mark.parametrize("language", LATER)
@pytest.mark.parametrize("name", some_later(MESSAGES))
def test_slack_takes_every_message_whatever_was_typed(name: str, language: str) -> None:
    words = translator_for(language)
    wrong = {case: [*wrong_with(MESSAGES[name](text, words))] for case, text in HARD.items()}
    assert {case: found for case, found in wrong.items() if found} == {}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", some_later(FORMS))
def test_slack_takes_every_form_whatever_was_typed(name: str, language: str) -> None:
    words = translator_for(language)
    wrong = {case: [*wrong_with_form(FORMS[name](text, words))] for case, text in HARD.items()}
    assert {case: found for case, found in wrong.items() if found} == {}


@pytest.mark.long
@pytest.mark.parametrize("language", LATER)
@pytest.mark.parametrize("audience", ["staff", pytest.param("newsletter", marks=pytest.mark.long)])
async def test_slack_takes_the_form_with_what_its_text_becomes(bot: Bot, audience: str, language: str) -> None:
    """A chat takes all of the text. Of an SMS, the form says that it is too long."""
    words, person = translator_for(language), await bot.people.person(TEAM, "U0CLEO")
    entrance = Entrance(bot.workflow, bot.people, bot.patience, bot.home.ours)
    live = LiveForm(bot.workflow, bot.clock, entrance, bot.showing)
    for name, made in COMPOSED.items():
        for case, text in HARD.items():
            form = made(text)
            form = replace(form, values={**form.values, "audience": audience, "text": text, "canary": None})
            shown = await live.with_facts(form, person, words)
            assert shown.facts, (name, case)
            assert [*wrong_with_form(forms.compose(shown, words))] == [], (name, case)


@pytest.mark.parametrize("at", range(2975, 3002))
@pytest.mark.parametrize(
    "token",
    ["&amp;", "&lt;", "<https://bell.example/a|its card &amp; more>", "<!date^1800000000^{time}|09:00>", "<@U0ANA>"],
)
def test_a_text_that_is_too_long_is_cut_before_what_slack_reads_as_one_and_says_so(token: str, at: int) -> None:
    for block, most in ((section("a" * at + token), 3000), (context("a" * (at - 1000) + token)["elements"][0], 2000)):
        text = block["text"] if isinstance(block["text"], str) else block["text"]["text"]
        before, found, after = text.partition(token)
        assert len(text) <= most
        assert (found, after) == (token, "") or (set(before.removesuffix("…")), before[-1]) == ({"a"}, "…")


async def test_a_note_is_short_and_whole_however_long_its_reason_is(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await ask(sandbox, f"cancel {(await newest(bot)).id} {'&' * 8000}")
    await sandbox.until(lambda: "cancelled it" in thread_text(sandbox, posted["ts"]))
    (note,) = sandbox.acting.thread(HERE, posted["ts"])
    for text in (note["text"], *markdown(note["blocks"])):
        assert len(text) <= 3000
        assert text.endswith("&amp;…")


UNSEEN = {"\u200b", "\u202e", "\u2066"}


@pytest.mark.parametrize("name", MESSAGES)
def test_no_message_draws_what_nobody_sees_or_what_turns_the_direction_of_writing(name: str) -> None:
    post = MESSAGES[name]("Soldes\u200b\u202eniamed\u2066!", translator_for("en"))
    assert not UNSEEN & set(" ".join([post.text, *markdown(post.blocks), *markdown(post.plainest)]))


@pytest.mark.parametrize("name", FORMS)
def test_no_form_draws_what_nobody_sees_outside_what_is_filled_in(name: str) -> None:
    view = FORMS[name]("Soldes\u200b\u202eniamed\u2066!", translator_for("en"))
    assert not UNSEEN & set(" ".join(markdown(view["blocks"])))
