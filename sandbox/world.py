"""The pretend workspace's state, in memory: people, groups, channels, messages, open forms, and handles that expire."""

from __future__ import annotations

import secrets
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Listener = Callable[[str, Json, str | None], None]

TRIGGER_SECONDS = 3.0
RESPONSE_SECONDS = 30 * 60
RESPONSE_USES = 5


class SlackError(Exception):
    """What Slack would answer: `{"ok": false, "error": code, …}`."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.code, self.more = code, more


@dataclass
class Human:
    id: str
    name: str
    real_name: str
    tz: str = "UTC"
    locale: str = "en-US"
    admin: bool = False
    guest: bool = False
    deleted: bool = False
    bot: bool = False

    @property
    def kind(self) -> str:
        return "bot" if self.bot else "deactivated" if self.deleted else "guest" if self.guest else "member"


@dataclass
class Group:
    id: str
    handle: str
    users: list[str]
    disabled: bool = False


@dataclass
class Channel:
    id: str
    name: str
    members: list[str]
    private: bool = False
    archived: bool = False
    shared: bool = False
    direct: bool = False
    messages: list[Json] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "im" if self.direct else "private" if self.private else "public"


@dataclass
class Manifest:
    """What the app may do and hear, as its manifest says."""

    scopes: frozenset[str]
    commands: list[Json]
    shortcuts: list[Json]
    events: frozenset[str]
    home: bool


@cache
def read_manifest(path: Path | None = None) -> Manifest:
    """The manifest beside the packages in a checkout, or where a wheel puts it."""
    root = Path(__file__).parent.parent
    found = path or next(p for p in (root / "manifest.yml", root / "bot" / "manifest.yml") if p.exists())
    content = yaml.safe_load(found.read_text(encoding="utf-8"))
    return Manifest(
        frozenset(content["oauth_config"]["scopes"]["bot"]),
        content["features"]["slash_commands"],
        content["features"].get("shortcuts", []),
        frozenset(content["settings"]["event_subscriptions"]["bot_events"]),
        bool(content["features"]["app_home"]["home_tab_enabled"]),
    )


class World:
    """Everything that the workspace knows. Each change is published to its listeners, the open pages."""

    def __init__(self, path: Path | None = None, manifest: Manifest | None = None) -> None:
        text = path.read_text() if path else resources.files("sandbox").joinpath("world.toml").read_text()
        raw = tomllib.loads(text)
        self.team, app = raw["team"], raw["app"]
        self.team_id: str = self.team["id"]
        self.app_id, self.bot_user, self.bot_id = app["id"], app["user"], app["bot"]
        self.app_name = app["name"]
        self.bot_token, self.app_token, self.signing_secret = app["bot_token"], app["app_token"], app["signing_secret"]
        self.client_id, self.client_secret = app["client_id"], app["client_secret"]
        self.people = {entry["id"]: Human(**entry) for entry in raw["people"]}
        self.groups = {entry["id"]: Group(**entry) for entry in raw["groups"]}
        self.channels = {entry["id"]: Channel(**entry) for entry in raw["channels"]}
        self.manifest = manifest or read_manifest()
        self.ephemerals: dict[str, list[Json]] = {}
        self.views: dict[str, list[Json]] = {}
        self.homes: dict[str, Json] = {}  # what the app has published for each person
        self.triggers: dict[str, tuple[float, str]] = {}
        self.trigger_seconds = TRIGGER_SECONDS
        self.responses: dict[str, Json] = {}
        self.retold: dict[str, Callable[[Json], Json]] = {}  # alters what is shown of a person or channel, for a test
        self.listeners: list[Listener] = []
        self.clock: Callable[[], float] = time.time
        self.last_ts = 0

    # --- telling the pages -------------------------------------------------------------------------------------------

    def publish(self, kind: str, data: Json, only: str | None = None) -> None:
        for listener in list(self.listeners):
            listener(kind, data, only)

    def show(self, kind: str, message: Json, only: str | None = None) -> None:
        self.publish(kind, {"message": self.page_message(message)}, only)

    def page_message(self, message: Json) -> Json:
        """A message as the page reads it."""
        (shown,) = self.page_messages(message["channel"], [message])
        return shown

    def page_messages(self, channel: str, messages: list[Json]) -> list[Json]:
        """Messages of one channel as the page reads them, with what is told of their threads."""
        replies: dict[str, list[Json]] = {message["ts"]: [] for message in messages}
        for one in self.channels[channel].messages if channel in self.channels else []:
            if one.get("thread_ts") in replies and one["thread_ts"] != one["ts"]:
                replies[one["thread_ts"]].append(one)
        return [_for_page(self, message, replies[message["ts"]]) for message in messages]

    # --- looking up --------------------------------------------------------------------------------------------------

    def next_ts(self) -> str:
        """Unique, and later than every one before."""
        self.last_ts = max(self.last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self.last_ts // 1_000_000}.{self.last_ts % 1_000_000:06d}"

    def channel(self, id: str) -> Channel:
        """Any channel, as Slack itself sees it. Raises SlackError."""
        if id not in self.channels:
            raise SlackError("channel_not_found")
        return self.channels[id]

    def person(self, user: str) -> Human:
        """This person. Raises SlackError with a sentence for the page."""
        if user not in self.people:
            raise SlackError("There is no such person here.")
        return self.people[user]

    def shown_to(self, user: str, channel: str, ts: str) -> Json:
        """A message that this person can see: one for them alone, or one of the channel."""
        whispered = self.ephemerals.get(user, [])
        found = next((m for m in whispered if m["ts"] == ts and m["channel"] == channel), None)
        return found or self.message(self.channel(channel), ts)

    def channel_of_bot(self, id: str) -> Channel:
        """A channel as the bot sees it: a private one that it is not in does not exist."""
        channel = self.channel(id)
        if channel.kind != "public" and self.bot_user not in channel.members:
            raise SlackError("channel_not_found")
        return channel

    def direct(self, user: str) -> Channel:
        """The conversation between the bot and one person."""
        id = f"D{user[1:]}"
        if id not in self.channels:
            self.channels[id] = Channel(id, "", [user, self.bot_user], direct=True)
        return self.channels[id]

    def message(self, channel: Channel, ts: str) -> Json:
        found = next((message for message in channel.messages if message["ts"] == ts), None)
        if found is None:
            raise SlackError("message_not_found")
        return found

    def visible_channels(self, user: str) -> Iterable[Channel]:
        self.direct(user)
        return (c for c in self.channels.values() if user in c.members or (c.kind == "public" and not c.archived))

    def groups_of(self, user: str) -> list[str]:
        return [group.handle for group in self.groups.values() if user in group.users and not group.disabled]

    # --- handles that expire -----------------------------------------------------------------------------------------

    def new_trigger(self, user: str) -> str:
        trigger = f"{time.time_ns() // 1_000_000}.{secrets.randbelow(10**9)}.{secrets.token_hex(16)}"
        self.triggers[trigger] = (time.monotonic(), user)
        return trigger

    def use_trigger(self, trigger: str) -> str:
        """Whose trigger it is. It works once, for three seconds at most. Raises SlackError."""
        if not trigger or trigger not in self.triggers:
            raise SlackError("invalid_trigger_id" if trigger else "invalid_arguments")
        at, user = self.triggers[trigger]
        if user == "":
            raise SlackError("exchanged_trigger_id")
        if time.monotonic() - at > self.trigger_seconds:
            raise SlackError("expired_trigger_id")
        self.triggers[trigger] = (at, "")
        return user

    def new_response(self, user: str, channel: str, message_ts: str | None = None) -> str:
        token = secrets.token_hex(12)
        self.responses[token] = {
            "user": user,
            "channel": channel,
            "message_ts": message_ts,
            "at": time.monotonic(),
            "left": RESPONSE_USES,
        }
        return token

    def use_response(self, token: str) -> Json:
        """Use a response URL. It works five times within half an hour. Raises SlackError."""
        found = self.responses.get(token)
        if found is None or time.monotonic() - found["at"] > RESPONSE_SECONDS:
            raise SlackError("expired_url")
        if found["left"] <= 0:
            raise SlackError("used_url")
        found["left"] -= 1
        return found

    # --- changing ----------------------------------------------------------------------------------------------------

    def post(self, channel: Channel, message: Json) -> Json:
        message = {"type": "message", "channel": channel.id, "ts": self.next_ts(), **message}
        channel.messages.append(message)
        self.show("message", message)
        parent = message.get("thread_ts")
        if parent:
            self.show("changed", self.message(channel, parent))
        return message

    def whisper(self, user: str, channel: str, message: Json) -> Json:
        """An ephemeral message: to one person, and not kept in the channel."""
        message = {"type": "message", "channel": channel, "ts": self.next_ts(), "is_ephemeral": True, **message}
        self.ephemerals.setdefault(user, []).append(message)
        self.show("message", message, only=user)
        return message

    def react(self, channel: Channel, ts: str, user: str, name: str) -> None:
        message = self.message(channel, ts)
        reaction = next((r for r in message.setdefault("reactions", []) if r["name"] == name), None)
        if reaction is None:
            reaction = {"name": name, "users": [], "count": 0}
            message["reactions"].append(reaction)
        if user in reaction["users"]:
            raise SlackError("already_reacted")
        reaction["users"].append(user)
        reaction["count"] += 1
        self.show("changed", message)

    def unreact(self, channel: Channel, ts: str, user: str, name: str) -> None:
        message = self.message(channel, ts)
        reaction = next((r for r in message.get("reactions", []) if r["name"] == name and user in r["users"]), None)
        if reaction is None:
            raise SlackError("no_reaction")
        reaction["users"].remove(user)
        reaction["count"] -= 1
        message["reactions"] = [r for r in message["reactions"] if r["users"]]
        self.show("changed", message)


def _for_page(world: World, message: Json, replies: list[Json]) -> Json:
    author = world.people.get(message.get("user", ""))
    name = world.app_name if message.get("bot_id") == world.bot_id else author.real_name if author else "?"
    return {
        "ts": message["ts"],
        "channel": message["channel"],
        "user": message.get("user"),
        "bot_id": message.get("bot_id"),
        "name": name,
        "text": message.get("text", ""),
        "blocks": message.get("blocks", []),
        "thread_ts": message.get("thread_ts"),
        "reply_count": len(replies),
        "reply_users": list(dict.fromkeys(reply["user"] for reply in replies)),
        "latest_reply": replies[-1]["ts"] if replies else None,
        "reactions": message.get("reactions", []),
        "edited": "edited" in message,
        "ephemeral": message.get("is_ephemeral", False),
    }
