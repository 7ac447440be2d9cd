"""Everything that people and Slack may hand to the bot, at random: command lines, forms, presses and events.

What is generated is mostly nearly right, since nonsense alone does not get far.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sandbox.payloads import Payloads
from sandbox.world import Json, World
from tests.support.slack import HERE, filled

PEOPLE = ("U0CLEO", "U0CLEO", "U0DAN", "U0ANA", "U0BEN", "U0EVA", "U0FAY", "U0GUS", "U0ROB")
PLACES = (HERE, HERE, HERE, "C0QUIET")
QUOTED = ('""', "“”", "„“", "«»", "''", "‘’", "❝❞", '"', "“", "”\u200b“")
VERBS = (
    *("send", "send", "send", "send", "test", "every", "every", "remind", "remind", "template save", "template use"),
    *("template", "template list", "template delete", "show", "cancel", "edit", "list", "audiences", "schedules"),
    *("reminders", "pause", "pause all", "resume", "resume all", "stop", "help", "audit", "doctor", "SEND", "sned"),
    *(
        "envoyer",
        "rappeler",
        "enviar",
        "?",
        "?help",
        "",
        "sendclients",
        "--send",
        "“send”",
        "send\u00a0clients",
        "ſend",
    ),
)
AUDIENCES = (
    "clients",
    "newsletter",
    "staff",
    "vip",
    "everyone",
    "paris",
    "Clients",
    "client",
    "nobody",
    "",
    "<b>",
    "%s",
)
PURPOSES = ("", "", "", "marketing", "transactional", "transactionnel", "MARKETING", "markting", "publicité")
TIMES = (
    *("tomorrow 9:00", "demain 9h", "mañana a las 9", "lundi 8h30", "2099-01-01 09:00", "2099-01-01T09:00+02:00"),
    *("today", "soon", "31/02", "25:99", "in 5 minutes", "9999-12-31 23:59", "0001-01-01 00:00", "tomorrow", "1e9"),
    *("2026-10-25 02:30", "2099-02-29 09:00", "в понедельник", "٩:٠٠", "noon", "-1", "next friday at 9", "9" * 40),
)
RULES = (
    *("every day 9:00", "every monday 9:00", "chaque lundi 8h30", "cada día 9:00", "0 9 * * 1", "* * * * *"),
    *("last friday 17:00", "every 5 minutes", "the 31st 9:00", "every second tuesday at 10", "0 0 30 2 *", "@daily"),
)
OPTIONS = (
    "at",
    "sender",
    "campaign",
    "until",
    "count",
    "covers",
    "holidays",
    "answer",
    "start",
    "template",
    "mentions",
)
VALUES = (
    "Bell",
    "x",
    "1",
    "0",
    "-1",
    "99999999999999999999",
    "yes",
    "no",
    "",
    "é",
    "٣",
    "1.5",
    "NaN",
    "<b>",
    "%n",
    "{}",
)
WORDS = (
    *("Soldes", "l'offre", "d’été", "Hello", "{name}", "{first_name}", "%%name%%", "%%nom%%", "STOP", "au", "36111"),
    *("https://example.org/a?b=c&d", "#campaigns", "@cleo", "@here", "<!channel>", "<@U0CLEO>", "&amp;", "&lt;", "&"),
    *("*bold*", "_i_", "~s~", "`code`", "```", ">", "<https://evil.example|bank>", "|", ":tada:", "at=9h", "url=x"),
    *("'; DROP TABLE broadcasts;--", '" OR 1=1 --', "%s%d%n", "{0}", "{}", "{0.__class__}", "${jndi:x}", "{{7*7}}"),
    *("\\u00e9", "\\ud83d", "\\x00", "\\", "\\n", "%00", "%uD83D", "&#x1F525;", "\\N{BULLET}", "null", "None", "NaN"),
    *("🔥", "👨‍👩‍👧‍👦", "🇫🇷", "🏽", "é", "e\u0301", "œ", "ﷺ", "ß", "İ", "ǅ", "Ω", "日本語", "مرحبا", "עברית"),
    *("\u202e", "\u202d", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u2029", "\u0085", "\u00a0"),
    *("\0", "\x07", "\x1b[31m", "\r", "\r\n", "\n", "\t", "\v", "\x7f", "\ud83d", "\udd25", "\ufffe", "\U0010ffff"),
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**70, -(2**63), 10**400, 1e308, float("inf"), float("nan"), 0.1)
EVENTS = (
    "reaction_added",
    "reaction_removed",
    "message",
    "app_mention",
    "app_home_opened",
    "team_join",
    "no_such_thing",
)
REACTIONS = ("white_check_mark", "+1", "+1::skin-tone-3", "thumbsup", "x", "-1", "tada", "", "::", "skin-tone-9")
ACTIONS = (
    *("approve", "reject", "request_changes", "edit", "cancel", "stop", "send_now", "replan", "drop", "mark_sent"),
    *("mark_not_sent", "follow_up", "more", "correct", "clear", "test", "plain", "give_reason", "", "nonsense", "a.b"),
)
FORMS = ("broadcast_compose", "broadcast_reject", "broadcast_changes", "broadcast_replan", "broadcast_other", "")


@dataclass
class Known:
    """Ids of what exists, so that some of the inputs are about it."""

    broadcasts: list[str]
    schedules: list[str]
    cards: list[str]

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(self.broadcasts) | frozenset(self.schedules)


@dataclass(frozen=True)
class Input:
    """One payload as Slack would send it. `typed`: of a command, what a person typed, if Slack escaped it."""

    kind: str
    body: Json
    typed: str | None = None


class Generator:
    """Makes payloads. What a seed makes does not depend on the bot, but for the ids of what exists."""

    def __init__(self, world: World, payloads: Payloads, seed: str) -> None:
        self.world, self.payloads, self.chance = world, payloads, random.Random(seed)
        self.known = Known([], [], [])
        self.makers: list[tuple[int, Callable[[], Input]]] = [
            (60, self.command),
            (14, self.form),
            (10, self.press),
            (6, self.typing),
            (4, self.suggestion),
            (6, self.event),
        ]

    def inputs(self, count: int) -> Iterator[Input]:
        weights, makers = zip(*self.makers, strict=True)
        for make in self.chance.choices(makers, weights, k=count):
            yield make()

    # --- commands ----------------------------------------------------------------------------------------------------

    def command(self) -> Input:
        typed = self.line().encode(errors="replace").decode()  # a command comes in UTF-8, which has no half characters
        escaped = self.chance.random() < 0.9
        person, place = self.chance.choice(PEOPLE), self.world.channel(self.chance.choice(PLACES))
        body = self.payloads.command(person, place, "/broadcast", "")
        body["text"] = self.sent(typed) if escaped else typed
        if self.chance.random() < 0.03:
            body = self.spoiled(body, 1)
            escaped = False
        return Input("command", body, typed if escaped else None)

    def sent(self, typed: str) -> str:
        """The text with entities, as Slack passes it to apps."""
        return typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def line(self) -> str:
        if self.chance.random() < 0.05:
            return self.text(8)
        verb = self.chance.choice(VERBS)
        first = verb.lower().split(" ")[0]
        parts = {
            **dict.fromkeys(("send", "test"), self.sending),
            "every": lambda: f"{self.quoted(self.chance.choice(RULES))} {self.sending()}",
            "remind": lambda: f"{self.quoted(self.chance.choice((*RULES, *TIMES)))} {self.place()}{self.asked()}",
            "template": lambda: f"{self.word()} {self.sending()}",
            **dict.fromkeys(("show", "cancel", "edit", "pause", "resume", "stop"), self.naming),
        }
        rest = parts.get(first, lambda: self.text(4))()
        return f"{verb}{self.chance.choice((' ', ' ', ' ', '  ', chr(9), chr(10), chr(160)))}{rest}"

    def sending(self) -> str:
        audience = self.chance.choice(AUDIENCES) if self.chance.random() < 0.9 else self.text(1)
        return f"{audience} {self.chance.choice(PURPOSES)} {self.asked()}"

    def asked(self) -> str:
        options = [self.option() for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2, 4)))]
        return " ".join([*options, self.text(self.chance.choice((0, 1, 3, 8, 30)))])

    def option(self) -> str:
        name = self.chance.choice(OPTIONS)
        value = self.chance.choice(TIMES if name in ("at", "until") else VALUES)
        if self.chance.random() < 0.15:
            value = self.text(2)
        shown = self.quoted(value) if self.chance.random() < 0.7 else value
        return f"{self.chance.choice(('', '', '--', '—'))}{name}{self.chance.choice(('=', '=', ' =', '= '))}{shown}"

    def naming(self) -> str:
        id = self.id()
        id = self.chance.choice((id, id.lower(), f"`{id}`", f"*{id}*", f"({id}):", id[:-1], f"{id}X"))
        return f"{id} {self.text(2)}" if self.chance.random() < 0.9 else self.text(2)

    def id(self) -> str:
        existing = self.known.broadcasts + self.known.schedules
        if existing and self.chance.random() < 0.7:
            return self.chance.choice(existing)
        return self.chance.choice(("B2345AB", "BABCDEFG", "all", "", "B" * 8, "R2345ABC", "0", self.text(1)))

    def place(self) -> str:
        return self.chance.choice(("", "", "#campaigns ", "#nowhere ", "# ", "<#C0CAMPAIGNS|x> "))

    def quoted(self, value: str) -> str:
        shape = self.chance.choice(QUOTED)
        return f"{shape[0]}{value}{shape[-1]}"

    def word(self) -> str:
        return self.chance.choice(WORDS)

    def text(self, words: int) -> str:
        if self.chance.random() < 0.02:
            return (self.word() * 12_000)[: self.chance.choice((500, 1_600, 3_001, 4_001, 8_000))]
        if self.chance.random() < 0.1:
            return "".join(chr(self.code()) for _ in range(words))
        return self.chance.choice((" ", " ", "", "\n")).join(self.word() for _ in range(words))

    def code(self) -> int:
        return self.chance.randrange(self.chance.choice((0x80, 0x250, 0x3000, 0x10000, 0x110000)))

    # --- forms and presses -------------------------------------------------------------------------------------------

    def form(self) -> Input:
        body = self.payloads.interaction("view_submission", self.chance.choice(PEOPLE))
        body |= {"view": self.view(), "trigger_id": self.trigger(), "response_urls": []}
        return Input("form", self.perhaps_spoiled(body))

    def view(self) -> Json:
        name = self.chance.choice(FORMS)
        values = self.values()
        blocks = [{"type": "input", "block_id": block} for block in values]
        kept: Json = {"channel": self.chance.choice(PLACES), "id": self.id(), "version": self.chance.randrange(3)}
        kept |= {"draft": None, "follows": None, "edits": None, "refills": 0, "test": False}
        if self.chance.random() < 0.4:
            edits = [self.id(), self.chance.randrange(3)]
            kept |= {"edits": edits, "draft": self.id(), "follows": self.id(), "test": True, "after": True}
        if self.chance.random() < 0.3:
            kept = self.spoiled(kept, 2)
        written = (
            json.dumps(kept) if self.chance.random() < 0.9 else self.chance.choice(("", "[]", "{", "null", "\0", "1"))
        )
        id = f"V{self.chance.randrange(10**9)}"
        view: Json = {"id": id, "hash": "h", "type": "modal", "callback_id": name, "blocks": blocks}
        return view | {"private_metadata": written, "state": {"values": values}}

    def values(self) -> Json:
        start = self.chance.choice((None, 4_070_908_800, 0, -1, 10**18, "soon", "4070908800", 1.5))
        given = filled(
            self.chance.choice(AUDIENCES),
            self.text(self.chance.choice((0, 1, 5, 30))),
            self.chance.choice(PURPOSES),
            send_at=start,
            sender=self.chance.choice((None, *VALUES)),
        )
        line = {"value": {"type": "plain_text_input", "value": self.text(3)}}
        given |= {self.chance.choice(("reason", "comment", "text_rest", "text:2", "text_rest3:x", "")): line}
        return self.spoiled(given, self.chance.randrange(3)) if self.chance.random() < 0.5 else given

    def press(self) -> Input:
        body = self.payloads.interaction("block_actions", self.chance.choice(PEOPLE))
        ts = self.chance.choice([*self.known.cards[-20:], "1.1", "", "x"])
        message = {"ts": ts, "text": "card", "blocks": []}
        body |= {"channel": {"id": HERE}, "message": message, "trigger_id": self.trigger(), "actions": [self.action()]}
        body["container"] = {"type": "message", "message_ts": ts, "channel_id": HERE}
        return Input("press", self.perhaps_spoiled(body))

    def action(self) -> Json:
        of = self.chance.choice(("broadcast", "broadcast", "broadcast", "reminder", "other", ""))
        name = self.chance.choice((*ACTIONS, "done", "snooze", "start"))
        version = self.chance.choice(("1", "1", "2", "0", "-1", "٣", "²", "9" * 30, "", "x"))
        value = self.chance.choice((f"{self.id()}:{version}", f"{self.id()}:{version}", self.text(2), self.line()))
        action: Json = {"type": "button", "action_id": f"{of}.{name}", "value": value, "action_ts": "1.1"}
        action["block_id"] = self.chance.choice((f"actions:{version}:{version}", "actions:1", "", "x"))
        option = {"value": f"{self.chance.choice(ACTIONS)}:{value}"}
        return action | {"selected_option": option} if name == "more" else action

    def typing(self) -> Input:
        """Something that changed in an open form."""
        body = self.payloads.interaction("block_actions", self.chance.choice(PEOPLE))
        name = self.chance.choice(("value", "broadcast.plain", "broadcast.clear", "broadcast.test", "x"))
        action = {"type": "button", "action_id": name, "block_id": "text", "value": self.text(1)}
        view = {**self.view(), "callback_id": "broadcast_compose"}
        body |= {"view": view, "trigger_id": self.trigger(), "actions": [action], "container": {"type": "view"}}
        return Input("typing", self.perhaps_spoiled(body))

    def suggestion(self) -> Input:
        body = self.payloads.interaction("block_suggestion", self.chance.choice(PEOPLE))
        body |= {"view": self.view(), "block_id": "audience", "action_id": "value", "value": self.text(1)}
        return Input("options", self.perhaps_spoiled(body))

    def event(self) -> Input:
        ts = self.chance.choice([*self.known.cards[-20:], "1.1", "", "x.y", "9" * 40, "1." + "9" * 40])
        item = {"type": "message", "channel": self.chance.choice(PLACES), "ts": ts}
        event: Json = {"type": self.chance.choice(EVENTS), "user": self.chance.choice(PEOPLE), "item": item}
        event |= {"reaction": self.chance.choice(REACTIONS), "event_ts": ts, "text": self.text(2), "channel": HERE}
        body: Json = {"token": "unused", "team_id": self.world.team_id, "api_app_id": self.world.app_id, "event": event}
        body |= {"type": "event_callback", "event_id": f"Ev{self.chance.randrange(10**9)}", "event_time": 1}
        return Input("event", self.perhaps_spoiled(body))

    def trigger(self) -> str:
        return self.world.new_trigger(self.chance.choice(PEOPLE))

    # --- what is wrong -----------------------------------------------------------------------------------------------

    def perhaps_spoiled(self, body: Json) -> Json:
        return self.spoiled(body, self.chance.randrange(1, 4)) if self.chance.random() < 0.4 else body

    def spoiled(self, body: Json, times: int) -> Json:
        """The same with some of its parts lost, or of another type. Without its trigger, Slack would open no form."""
        body = copy.deepcopy(body)
        for _ in range(times):
            places = [place for place in _places(body) if place[1] != "trigger_id"]
            holder, key = self.chance.choice(places or [(body, "x")])
            if self.chance.random() < 0.3:
                holder.pop(key, None) if isinstance(holder, dict) else holder.pop()
            else:
                holder[key] = self.odd()
        return body

    def odd(self) -> Any:
        texts = (self.text(1), "", "x" * 5000, "T0OTHER", "U0NOBODY", "C0NOWHERE", "0", "true")
        things: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], {"": None}, [None], {"value": []}, {"id": {}})
        return copy.deepcopy(self.chance.choice(self.chance.choice((texts, things, NUMBERS))))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in it that holds something."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inside:
        yield value, key
        yield from _places(held)
