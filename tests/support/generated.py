"""Everything that people and Slack may hand to the bot, at random: command lines, forms, presses and events.

What is generated is mostly nearly right, since nonsense alone does not get far.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    *("template", "template list", "template delete", "template new", "template edit", "template approve"),
    *("show", "cancel", "edit", "list", "audiences", "schedules", "reminders", "pause", "pause all", "resume"),
    *("resume all", "stop", "help", "audit", "doctor", "settings", "SEND", "sned", "test", "away", "away", "back"),
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
    "canary",
    "digest",
)
CANARIES = ("team", "vip", "clients", "staff", "nobody")
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
RICH = ("text", "link", "user", "usergroup", "channel", "broadcast", "emoji", "date", "color", "rich_text_list", "")
REACTIONS = ("white_check_mark", "+1", "+1::skin-tone-3", "thumbsup", "x", "-1", "tada", "", "::", "skin-tone-9")
#: What a press may be about, by what its value names: a broadcast, a command to correct, a template.
OF_BROADCASTS = (
    *("approve", "reject", "request_changes", "edit", "cancel", "stop", "send_now", "replan", "drop", "mark_sent"),
    *("mark_not_sent", "follow_up", "more", "give_reason", "break_glass", "break_glass", "close_review", "show_ids"),
)
OF_COMMANDS = ("correct", "correct_test", "correct_kept")
OF_TEMPLATES = ("approve_template", "withdraw_template")
#: The buttons that turn pages; each value says of what.
OF_PAGES = {
    **dict.fromkeys(("list.next", "list.first"), '["word", "soldes", 4070908800000000, "BZZZZZZZ"]'),
    "shown.x": "BZZZZZZZ",
    **dict.fromkeys(("board.next", "board.first"), '["broadcast", null, null]'),
    **{f"board.{step}": f'["broadcast", null, ["{step}", "BZZZZZZZ", 1]]' for step in ("pause", "resume", "stop")},
    "keep_both.yes": 'remind "every monday 9:00" Hello',
    **{f"help.{shows}": shows for shows in ("start", "waiting", "upcoming", "reminders", "all")},
    "meant.yes": '["remind", "\\"tomorrow 9:00\\" Soldes", "1"]',
    **dict.fromkeys(("audit.next", "audit.first", "audit_csv"), '["", null]'),
    **dict.fromkeys(("ids.next", "ids.first"), "BZZZZZZZ:1:200"),
}
#: Every subcommand.
SUBCOMMANDS = (
    *(
        "send",
        "test",
        "audiences",
        "list",
        "show",
        "audit",
        "cancel",
        "edit",
        "every",
        "schedules",
        "remind",
        "reminders",
    ),
    *(
        "pause",
        "pause all",
        "resume",
        "resume all",
        "stop",
        "template",
        "template new",
        "template list",
        "away",
        "back",
    ),
    *("template use", "template approve", "template edit", "template delete", "template save new"),
    "settings",
)
#: What can be pressed in the compose form.
LIVE = ("plain", "unaccented", "clear", "test", "freely")
ACTIONS = (*OF_BROADCASTS, *OF_COMMANDS, *OF_TEMPLATES, *OF_PAGES, *LIVE, "", "nonsense", "a.b")
#: The forms, each with the field that holds what somebody writes, and how it is named in the audit.
FORMS = {
    "broadcast_compose": ("text", "edit"),
    "broadcast_reject": ("reason", "reject"),
    "broadcast_changes": ("comment", "request_changes"),
    "broadcast_replan": ("send_at", "replan"),
    "broadcast_break_glass": ("reason", "break_glass"),
    "broadcast_close_review": ("comment", "close_review"),
    "broadcast_template": ("text", "save"),
    "workspace_settings": ("approval.undo", "settings"),
    "broadcast_other": ("text", ""),
    "": ("text", ""),
}
#: The settings of a workspace that are written in a line.
SETTINGS = {
    "approval.groups": ("S0APPROVERS",),
    "approval.quorum": ("2",),
    "approval.rules": ("purpose=marketing larger_than=10000 quorum=2",),
    "approval.undo": ("30s",),
    "approval.approve_reactions": ("white_check_mark, +1",),
    "approval.reject_reactions": ("x",),
    "asks_per_hour": ("100",),
}
APPROVERS = ("U0ANA", "U0BEN")
#: Who may do what some of these forms are about.
ABLE = {
    **dict.fromkeys(("broadcast_reject", "broadcast_changes", "broadcast_close_review"), APPROVERS),
    "broadcast_replan": ("U0CLEO", *APPROVERS),
    "broadcast_break_glass": ("U0CLEO",),
}
REASONS = ("The car park is flooding", "Too long, and in the wrong tone", "Merci de corriger la date")


@dataclass
class Known:
    """What exists, so that some of the inputs are about it.

    `broadcasts`: by id, each with its version and the `ts` of its card. `asking`: those that wait for an approval, by
    the form that may be about them. `templates`: by name, each with its digest, when it was changed, and the digest of
    what approvers see.
    """

    broadcasts: Mapping[str, tuple[int, str]]
    asking: Mapping[str, Sequence[str]]
    schedules: Sequence[str]
    templates: Mapping[str, tuple[str, int, str]]

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(self.broadcasts) | frozenset(self.schedules)

    @cached_property
    def cards(self) -> list[str]:
        return [ts for _, ts in self.broadcasts.values() if ts][-20:]


NOTHING = Known({}, {}, [], {})


@dataclass(frozen=True)
class Input:
    """One payload as Slack would send it. `typed`: of a command, what a person typed, if Slack escaped it."""

    kind: str
    body: Json
    typed: str | None = None


class Generator:
    """Makes payloads. What a seed makes does not depend on the bot, but for what exists and the time."""

    def __init__(self, world: World, payloads: Payloads, seed: str) -> None:
        self.world, self.payloads, self.chance = world, payloads, random.Random(seed)
        self.known = NOTHING
        self.makers: list[tuple[int, Callable[[], Input]]] = [
            (50, self.command),
            (20, self.form),
            (12, self.press),
            (6, self.typing),
            (5, self.suggestion),
            (6, self.event),
            (2, self.shortcut),
            (1, self.closed),
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
            "template": lambda: f"{self.template()} {self.sending()}",
            "away": lambda: f"{self.somebody()} {self.until()}",
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
        value = self.chance.choice(TIMES if name in ("at", "until") else CANARIES if name == "canary" else VALUES)
        if name != "canary" and self.chance.random() < 0.15:
            value = self.text(2)
        shown = self.quoted(value) if self.chance.random() < 0.7 else value
        return f"{self.chance.choice(('', '', '--', '—'))}{name}{self.chance.choice(('=', '=', ' =', '= '))}{shown}"

    def naming(self) -> str:
        id = self.id()
        id = self.chance.choice((id, id.lower(), f"`{id}`", f"*{id}*", f"({id}):", id[:-1], f"{id}X"))
        return f"{id} {self.text(2)}" if self.chance.random() < 0.9 else self.text(2)

    def template(self) -> str:
        known = list(self.known.templates)
        return self.chance.choice(known) if known and self.chance.random() < 0.6 else self.word()

    def somebody(self) -> str:
        return self.chance.choice(("", "@dan", "<@U0DAN>", "<@U0DAN|dan>", "<@U0ANA> <@U0DAN>", "<@U0NOBODY>", "dan"))

    def until(self) -> str:
        when = self.chance.choice((*TIMES, "monday", "vendredi", "el lunes"))
        return f"{self.chance.choice(('until ', 'jusqu’au ', 'hasta ', '', 'until'))}{when}"

    def id(self) -> str:
        existing = [*self.known.broadcasts, *self.known.schedules]
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
        return Input("form", self.perhaps_spoiled(self.submission()))

    def closed(self) -> Input:
        return Input("closed", self.perhaps_spoiled({**self.submission(), "type": "view_closed", "is_cleared": False}))

    def submission(self) -> Json:
        view = self.view(self.chance.choice((*FORMS, "broadcast_compose", "broadcast_compose")))
        people = PEOPLE if self.chance.random() < 0.2 else ABLE.get(view["callback_id"], PEOPLE[:6])
        body = self.payloads.interaction("view_submission", self.chance.choice(people))
        return body | {"view": view, "trigger_id": self.trigger(), "response_urls": []}

    def view(self, name: str) -> Json:
        kept = {"broadcast_compose": self.compose_keeps, "broadcast_template": self.template_keeps}
        keeps = kept.get(name, lambda: self.decision_keeps(name))()
        if self.chance.random() < 0.1:
            keeps = self.spoiled(keeps, 2)
        values = self.values(name, keeps)
        if self.chance.random() < 0.1:
            values = self.spoiled(values, self.chance.randrange(1, 3))
        blocks = [{"type": "input", "block_id": block} for block in values]
        odd = self.chance.choice(("", "[]", "{", "null", "\0", "1"))
        written = json.dumps(keeps) if self.chance.random() < 0.95 else odd
        id = f"V{self.chance.randrange(10**9)}"
        view: Json = {"id": id, "hash": "h", "type": "modal", "callback_id": name, "blocks": blocks}
        return view | {"private_metadata": written, "state": {"values": values}}

    def compose_keeps(self) -> Json:
        keeps: Json = {"channel": self.chance.choice(PLACES), "draft": None, "follows": None, "edits": None}
        keeps |= {"refills": self.chance.choice((0, 0, 1, 10**9)), "test": self.chance.random() < 0.1}
        keeps |= {
            "template": None,
            "again": self.chance.choice(({}, {}, {"audience": 1, "template": 2})),
            "taken": None,
        }
        about = self.chance.choice(("", "", "", "edits", "draft", "follows", "template", "template"))
        if about == "edits":
            keeps[about] = [*self.seen("broadcast_reject")]
        elif about == "template":
            name = self.template()
            keeps |= {about: [name, self.known.templates.get(name, ("d" * 64, 0, ""))[0]], "taken": name}
        elif about:
            keeps[about] = self.id()
        return keeps

    def decision_keeps(self, name: str) -> Json:
        id, version = self.seen(name)
        keeps: Json = {"id": id, "version": version, "after": self.chance.random() < 0.1}
        return keeps | {"most": self.chance.choice((5000, 10**6, 10**6, None, 1, 0))}

    def template_keeps(self) -> Json:
        keeps: Json = {"channel": self.chance.choice(PLACES)}
        if self.known.templates and self.chance.random() < 0.3:
            name = self.chance.choice(list(self.known.templates))
            keeps |= {"name": name, "seen": self.known.templates[name][1]}
        return keeps

    def seen(self, name: str) -> tuple[str, int]:
        """A broadcast that this form may be about, and its version as somebody has seen it."""
        asking = self.known.asking.get(name)
        id = self.chance.choice(asking) if asking and self.chance.random() < 0.8 else self.id()
        version = self.known.broadcasts.get(id, (self.chance.randrange(3), ""))[0]
        return id, version if self.chance.random() < 0.9 else self.chance.randrange(3)

    def values(self, name: str, keeps: Json) -> Json:
        if name == "broadcast_compose":
            return self.composed(keeps)
        field = FORMS[name][0]
        if name == "broadcast_template":
            known = keeps.get("name") if self.chance.random() < 0.9 else None
            given = self.composed({}) | {"name": _line(known or f"{self.word()}-{self.chance.randrange(10**9)}")}
            return {block: value for block, value in given.items() if block not in ("send_at", "canary")}
        if name == "workspace_settings":
            return self.own_settings()
        if field == "send_at":
            return {"send_at": {"value": {"type": "datetimepicker", "selected_date_time": self.start()}}}
        reason = self.chance.choice(REASONS) if self.chance.random() < 0.5 else self.text(self.chance.choice((0, 1, 5)))
        given = {field: _line(reason[:500])}
        return given | self.composed(keeps) if self.chance.random() < 0.1 else given

    def own_settings(self) -> Json:
        """What an admin may write in the form of the settings, right or wrong."""
        lines = {name: self.chance.choice((*VALUES, *given)) for name, given in SETTINGS.items()}
        people = self.chance.choice((["U0ANA", "U0BEN"], ["U0GUS"], []))
        channel = self.chance.choice((HERE, "C0QUIET", None))
        language = {"text": {"type": "plain_text", "text": "x"}, "value": self.chance.choice(("en", "fr", "es", "x"))}
        return {name: _line(line) for name, line in lines.items()} | {
            "approval.approvers": {"value": {"type": "multi_users_select", "selected_users": people}},
            "approval.channel": {"value": {"type": "conversations_select", "selected_conversation": channel}},
            "locale": {"value": {"type": "static_select", "selected_option": language}},
        }

    def start(self) -> Any:
        soon = int(time.time()) + self.chance.choice((600, 86_400, 30 * 86_400))
        odd = self.chance.choice((None, 4_070_908_800, 0, -1, 10**18, "soon", "4070908800", 1.5))
        return soon if self.chance.random() < 0.8 else odd

    def composed(self, keeps: Json) -> Json:
        """What the compose form says, with the fields that it has: of a template, the slots in place of the text."""
        right = self.chance.random() < 0.85
        given = filled(
            self.chance.choice(("clients", "newsletter", "staff") if right else AUDIENCES),
            self.text(self.chance.choice((0, 1, 3, 5, 8, 30))),
            self.chance.choice(("marketing", "transactional") if right else PURPOSES),
            send_at=self.start() if self.chance.random() < 0.3 else None,
            sender=None if right else self.chance.choice((None, *VALUES)),
        )
        if self.chance.random() < 0.3:
            given["canary"] = _chosen(self.chance.choice((None, *CANARIES)))
        if keeps.get("template"):
            del given["text"]
            slots = {"city": self.chance.choice(("Paris", "Lyon", self.text(1))), "day": self.chance.choice(TIMES)}
            given |= {f"slot_{slot}": _line(value[:100]) for slot, value in slots.items()}
            given["slot_day"] = _line(self.chance.choice(("24/12/2027", "24/12", self.word())))
        elif self.chance.random() < 0.3:
            given |= {self.chance.choice(("text_rest", "text_rest2", "text_rest3")): _line(self.text(3))}
        if self.chance.random() < 0.3 or keeps.get("taken"):
            given["template"] = _chosen(keeps.get("taken") if self.chance.random() < 0.8 else self.template())
        again = self.chance.choice((1, 2)) if self.chance.random() < 0.2 else 0
        return {
            f"{block}:{again}" if again and not block.startswith("slot_") else block: v for block, v in given.items()
        }

    def press(self) -> Input:
        body = self.payloads.interaction("block_actions", self.chance.choice(PEOPLE))
        action, ts = self.action()
        message = {"ts": ts, "text": "card", "blocks": []}
        body |= {"channel": {"id": HERE}, "message": message, "trigger_id": self.trigger(), "actions": [action]}
        body["container"] = {"type": "message", "message_ts": ts, "channel_id": HERE}
        return Input("press", self.perhaps_spoiled(body))

    def action(self) -> tuple[Json, str]:
        """What is pressed, and the message that it is on."""
        of = self.chance.choice(("broadcast",) * 6 + ("reminder", "reminder", "home", "other", ""))
        first = {"reminder": ("done", "snooze", "start"), "home": ("write", "help") * 20}.get(of, ())
        name = self.chance.choice((*first, *ACTIONS))
        value, ts = self.pressed(name)
        action: Json = {"type": "button", "action_id": f"{of}.{name}", "value": value, "action_ts": "1.1"}
        action["block_id"] = self.chance.choice(("actions:1:1", "actions:99:0", "actions:1", "", "", "x"))
        option = {"value": f"{self.chance.choice(ACTIONS)}:{value}"}
        return (action | {"selected_option": option} if name == "more" else action), ts

    def pressed(self, name: str) -> tuple[str, str]:
        forms = {"break_glass": "broadcast_break_glass", "close_review": "broadcast_close_review"}
        (id, version), odd = self.seen(forms.get(name, "broadcast_reject")), self.chance.choice(("1.1", "", "x"))
        ts = self.known.broadcasts.get(id, (0, ""))[1] or self.chance.choice([*self.known.cards, odd])
        if self.chance.random() < 0.2:
            return self.chance.choice((self.text(2), self.line(), f"{id}:٣", f"{id}:²", f"{id}:{'9' * 30}", id)), odd
        if name in OF_COMMANDS:
            return self.sent(self.sending()), ts
        if name in OF_TEMPLATES:
            template = self.template()
            return f"{template}:{self.known.templates.get(template, ('', 0, 'd'))[2]}", ts
        return f"{id}:{version}", ts if self.chance.random() < 0.9 else odd

    def typing(self) -> Input:
        """Something that changed in an open form."""
        body = self.payloads.interaction("block_actions", self.chance.choice(PEOPLE))
        name = self.chance.choice(("value", "x", *(f"broadcast.{name}" for name in LIVE)))
        view = self.view("broadcast_compose")
        block = self.chance.choice([*view["state"]["values"], "freely", "plain", "kept"])
        action = {"type": "button", "action_id": name, "block_id": block, "value": self.text(1)}
        body |= {"view": view, "trigger_id": self.trigger(), "actions": [action], "container": {"type": "view"}}
        return Input("typing", self.perhaps_spoiled(body))

    def suggestion(self) -> Input:
        body = self.payloads.interaction("block_suggestion", self.chance.choice(PEOPLE))
        view = self.view(self.chance.choice(("broadcast_compose", "broadcast_template") * 5 + (*FORMS,)))
        block = self.chance.choice(("audience", "audience:1", "template", "template:2", "canary", "canary:1", "x", ""))
        typed = self.chance.choice(("", "", "c", "news", "é", "marketing", self.template(), self.text(1)))
        body |= {"view": view, "block_id": block, "action_id": "value", "value": typed}
        return Input("options", self.perhaps_spoiled(body))

    def event(self) -> Input:
        ts = self.chance.choice([*self.known.cards, "1.1", "", "x.y", "9" * 40, "1." + "9" * 40])
        item = {"type": "message", "channel": self.chance.choice(PLACES), "ts": ts}
        event: Json = {"type": self.chance.choice(EVENTS), "user": self.chance.choice(PEOPLE), "item": item}
        event |= {"reaction": self.chance.choice(REACTIONS), "event_ts": ts, "text": self.text(2), "channel": HERE}
        body: Json = {"token": "unused", "team_id": self.world.team_id, "api_app_id": self.world.app_id, "event": event}
        body |= {"type": "event_callback", "event_id": f"Ev{self.chance.randrange(10**9)}", "event_time": 1}
        return Input("event", self.perhaps_spoiled(body))

    def shortcut(self) -> Input:
        """One of the bot's, or another. What a message says may be of any shape."""
        name, person = self.chance.choice(("broadcast_new", "broadcast_message", "x")), self.chance.choice(PEOPLE)
        if self.chance.random() < 0.3:
            return Input("shortcut", self.perhaps_spoiled(self.payloads.shortcut(person, name)))
        element = {"type": self.chance.choice(RICH), "text": self.text(3), "url": "https://example.org", "elements": 1}
        element |= {"user_id": "U0ANA", "unicode": self.chance.choice(("1f389", "zz", "110000", "")), "name": "tada"}
        rich = {"type": "rich_text_section", "elements": [element, element]}
        block = {"type": self.chance.choice(("rich_text", "section", "context", "image", "")), "elements": [rich]}
        message: Json = {"ts": "1.1", "text": self.text(5), "blocks": [block] * self.chance.choice((0, 1, 2))}
        return Input("shortcut", self.perhaps_spoiled(self.payloads.on_message(person, HERE, message, name)))

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


def _line(value: str) -> Json:
    """A line as Slack returns it."""
    return {"value": {"type": "plain_text_input", "value": value or None}}


def _chosen(value: str | None) -> Json:
    """A choice as Slack returns it."""
    option = value and {"value": value, "text": {"type": "plain_text", "text": value}}
    return {"value": {"type": "external_select", "selected_option": option or None}}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in it that holds something."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inside:
        yield value, key
        yield from _places(held)
