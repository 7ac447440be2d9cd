"""In French and in Spanish no word of English is left, whatever somebody types, opens or presses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.server import Sandbox
from sandbox.world import Json, SlackError
from tests.support.ground import StartBot
from tests.support.slack import HERE

#: Words that every English sentence needs some of, and that are none in French or Spanish.
ENGLISH = re.compile(
    r"\b(the|is|was|were|are|been|you|your|of|and|not|for|with|this|that|these|it|its|have|had|will|be|by|from|who|"
    r"what|when|where|which|there|here|nobody|somebody|everyone|nothing|something|asked|sent|goes|went|can|cannot|could|"
    r"does|did|only|until|before|after|then|they|their|she|her|his|at|to|up|out|off|yet|still|again|more|less|people|"
    r"show|write|all|each|every|between|its|if|or|but|so|too|than|into|within|while|now|next|last|first|new|old|"
    r"approve|approved|reject|rejected|edit|cancel|send|drop|held|pending|scheduled|waiting|upcoming|mine|"
    r"hours|days|seconds|hour|day|week|weeks|today|tomorrow|yesterday|times|once|twice)\b",
    re.IGNORECASE,
)
#: What stands for itself in any language: commands and code, mentions, dates and links of Slack, names of emoji.
LITERAL = re.compile(
    r"`[^`]*`|<!date\^\d+\^[^|>]*\|[^>]*>|<[^>|]*\|([^>]*)>|<[^>]*>|:[a-z0-9_+-]+:|\{\{[^}]*\}\}|/broadcast [^\n]*"
    r"|STOP (?:AU|au) \d+|\b(?:everyone|[Nn]obody)\b"  # a vendor's mention, and names of audiences
)
SHOWN = ("message", "changed", "view", "home")
PEOPLE = ("U0CLEO", "U0ANA", "U0OPS")


class Reader:
    """Somebody who reads all that the bot shows, and notes each sentence."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.bot_user = sandbox.world.bot_user
        self.sentences: set[str] = set()
        sandbox.world.listeners.append(self.hear)

    def hear(self, kind: str, data: Json, only: str | None) -> None:
        if kind in SHOWN:
            shown: Json = data.get("message") or data["view"]
            if shown.get("user", self.bot_user) == self.bot_user:
                self.read(shown)

    def read(self, shown: Any) -> None:
        self.sentences |= set(texts_in(shown))

    def english(self) -> list[str]:
        found = {text: ENGLISH.findall(LITERAL.sub(r" \1 ", text)) for text in self.sentences}
        return sorted(f"{words}: {text}" for text, words in found.items() if words)


def texts_in(shown: Any) -> Iterator[str]:
    if isinstance(shown, list):
        for one in shown:
            yield from texts_in(one)
    elif isinstance(shown, dict):
        code = shown.get("style", {}) if isinstance(shown.get("style"), dict) else {}
        for name, value in shown.items():
            if name in ("text", "title", "alt_text", "fallback") and isinstance(value, str) and not code.get("code"):
                yield value
            elif name not in ("profile", "from", "metadata", "state"):
                yield from texts_in(value)


#: Right and wrong ones.
LINES = (
    """
help · help send · help tonight · nonsense · audiences · list · list zzz · schedules · reminders · audit
send · send nobody Soldes · send clients · send clients purpose=x Soldes · send clients markting Soldes
send clients at=hier Soldes · send clients at=zzz Soldes · send clients at=demain Soldes · test · test clients Soldes
send clients marketing sender=x canary=zzz Soldes · send clients marketing «Soldes» · send clients Soldes 🎉
show · show B2345AB · show x · cancel B2345AB · edit B2345AB · edit · pause · pause all · resume all · settings
pause B2345AB · resume B2345AB · stop B2345AB · stop · template · template list · template save · template use x
template save rentrée clients marketing Soldes {jour} · template use rentrée · template delete x · away · away 2d
every · every "lundi" clients Soldes · every "zzz" clients Soldes · every "tous les lundis à 9h" clients Soldes
remind · remind "demain 9h" Réunion · remind "zzz" Réunion · remind demain 9h Réunion · every lundi 9h clients Soldes
back · list mine · list waiting · list upcoming · list unknown · list clients · schedules · reminders
""".strip()
    .replace("\n", " · ")
    .split(" · ")
)


class Walker:
    """Types, presses and fills in whatever there is."""

    def __init__(self, sandbox: Sandbox, reader: Reader) -> None:
        self.sandbox, self.acting, self.reader = sandbox, sandbox.acting, reader
        self.pressed: set[tuple[str, str, str]] = set()

    async def type(self, *lines: str, user: str = "U0CLEO") -> None:
        for line in lines:
            await self.acting.command(user, HERE, f"/broadcast {line}")
            await self.fill_in(user)

    async def fill_in(self, user: str) -> None:
        """Send each open form as it is, and close it."""
        for _ in range(4):
            if not (views := self.acting.views(user)):
                return
            view = views[-1]
            if view.get("submit"):
                self.reader.read(
                    [{"text": error} for error in (await self.acting.submit(user, view["id"], {})).values()]
                )
            if view in self.acting.views(user):
                await self.acting.close(user, view["id"])

    async def press_all(self, user: str) -> bool:
        """Press each button that nobody has pressed yet on what this person sees. Return whether there was one."""
        found = False
        for message in [*self.acting.messages(HERE), *self._threads(), *self.acting.ephemerals(user)]:
            for action in list(actions_of(message)):
                key = (user, message["ts"], f"{action}")
                if key not in self.pressed:
                    self.pressed.add(key)
                    found = True
                    await self._press(user, message, action)
        return found

    async def use_the_rest(self, user: str) -> None:
        """Home, the shortcuts and messages to the bot."""
        said = await self.acting.say(user, HERE, "@bellcrier Soldes https://example.org")
        await self.acting.shortcuts.use_on(user, HERE, said["ts"], "broadcast_message")
        await self.fill_in(user)
        await self.acting.shortcuts.use(user, "broadcast_new")
        await self.fill_in(user)
        self.acting.home.open(user)
        await self.sandbox.until(lambda: self.acting.home.shown(user) is not None)
        for action in dict.fromkeys(actions_of(self.acting.home.shown(user) or {})):
            await self.acting.home.press(user, action)
            await self.fill_in(user)

    def _threads(self) -> list[Json]:
        return [reply for one in self.acting.messages(HERE) for reply in self.acting.thread(HERE, one["ts"])]

    async def _press(self, user: str, message: Json, action: str) -> None:
        try:
            await self.acting.click(user, message["channel"], message["ts"], action)
        except SlackError:  # another press has taken it away
            return
        await self.fill_in(user)


def actions_of(message: Json) -> Iterator[str]:
    for block in message.get("blocks", []):
        for element in [*block.get("elements", []), block.get("accessory") or {}]:
            if element.get("action_id"):
                yield str(element["action_id"])


@pytest.mark.long
@pytest.mark.parametrize("language", ["fr", "es"])
async def test_nothing_is_left_in_english(sandbox: Sandbox, start_bot: StartBot, language: str) -> None:
    for person in sandbox.world.people.values():
        person.locale = f"{language}-{language.upper()}"
    reader = Reader(sandbox)
    await start_bot(sandbox, locale=language)
    walker = Walker(sandbox, reader)
    for user in ("U0CLEO", "U0GUS", "U0ANA", "U0OPS"):
        await walker.type("", *LINES, user=user)
    await walker.type("resume all", user="U0OPS")
    sandbox.vendors.faults.add("encom.release", "drop")
    await walker.type("send clients marketing Soldes demain")
    for user in PEOPLE * 3:
        await walker.press_all(user)
    for user in PEOPLE:
        await walker.use_the_rest(user)
    assert len(reader.sentences) > 250  # it has seen much
    assert reader.english() == []
