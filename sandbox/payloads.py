"""What Slack sends for what a person does, and what becomes of the app's answer to it."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.blocks import check_blocks
from sandbox.methods import numbered
from sandbox.world import Channel, Json, World

MENTION = re.compile(r"(?<![\w<])@([a-z][\w.-]*)")
CHANNEL = re.compile(r"(?<![\w<&])#([a-z][\w-]*)")
LINK = re.compile(r"(?<![<|\w])(https?://[^\s<>|]+)")


def escaped(world: World, text: str) -> str:
    """The text as Slack passes it to apps: with entities, and with names as tokens with their ids."""

    def person(match: re.Match[str]) -> str:
        if match[1] == world.app_name:
            return f"<@{world.bot_user}>"
        found = next((p for p in world.people.values() if p.name == match[1]), None)
        return f"<@{found.id}|{found.name}>" if found else match[0]

    def channel(match: re.Match[str]) -> str:
        found = next((c for c in world.channels.values() if c.name == match[1]), None)
        return f"<#{found.id}|{found.name}>" if found else match[0]

    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return LINK.sub(r"<\1>", CHANNEL.sub(channel, MENTION.sub(person, safe)))


class Payloads:
    """Builds the payloads. `base`: the sandbox's own address, for each `response_url`."""

    def __init__(self, world: World, base: Callable[[], str]) -> None:
        self.world, self.base = world, base

    def command(self, user: str, place: Channel, name: str, typed: str) -> Json:
        return {
            "token": "unused",
            "team_id": self.world.team_id,
            "team_domain": self.world.team["domain"],
            "channel_id": place.id,
            "channel_name": "directmessage" if place.direct else "privategroup" if place.private else place.name,
            "user_id": user,
            "user_name": self.world.people[user].name,
            "command": name,
            "text": typed.strip(),
            "api_app_id": self.world.app_id,
            "is_enterprise_install": "false",
            "response_url": self._response_url(user, place.id),
            "trigger_id": self.world.new_trigger(user),
        }

    def of_message(self, user: str, channel: str, message: Json) -> Json:
        place, ts = self.world.channel(channel), message["ts"]
        hidden = message.get("is_ephemeral", False)
        part: Json = {
            "channel": {"id": channel, "name": "directmessage" if place.direct else place.name},
            "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": hidden},
            "response_url": self._response_url(user, channel, ts),
        }
        return part if hidden else {**part, "message": {k: v for k, v in message.items() if k != "channel"}}

    def shortcut(self, user: str, callback_id: str) -> Json:
        payload = self.interaction("shortcut", user)
        return payload | {"callback_id": callback_id, "trigger_id": self.world.new_trigger(user)}

    def on_message(self, user: str, channel: str, message: Json, callback_id: str) -> Json:
        place = self.world.channel(channel)
        payload = self.interaction("message_action", user) | {"callback_id": callback_id}
        return payload | {
            "trigger_id": self.world.new_trigger(user),
            "response_url": self._response_url(user, channel),
            "channel": {"id": channel, "name": "directmessage" if place.direct else place.name},
            "message_ts": message["ts"],
            "message": {"type": "message", **{k: v for k, v in message.items() if k != "channel"}},
        }

    def interaction(self, kind: str, user: str) -> Json:
        person = self.world.person(user)
        return {
            "type": kind,
            "token": "unused",
            "api_app_id": self.world.app_id,
            "team": {"id": self.world.team_id, "domain": self.world.team["domain"]},
            "user": {"id": user, "username": person.name, "name": person.name, "team_id": self.world.team_id},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _response_url(self, user: str, channel: str, ts: str | None = None) -> str:
        return f"{self.base()}/response/{self.world.new_response(user, channel, ts)}"


class Answers:
    """Shows what the app answers, at once or later at a `response_url`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def show(self, user: str, channel: str, answer: Json) -> None:
        blocks = answer.get("blocks") or []
        if blocks:
            check_blocks(blocks)
        content = {"text": answer.get("text") or "", "blocks": numbered(blocks)}
        content |= {"user": self.world.bot_user, "bot_id": self.world.bot_id}
        if answer.get("response_type") == "in_channel":
            self.world.post(self.world.channel(channel), content)
        else:
            self.world.whisper(user, channel, content)

    def respond(self, token: str, answer: Json) -> None:
        """What the app posts to a `response_url`. Raises SlackError."""
        kept = self.world.use_response(token)
        user, channel, ts = kept["user"], kept["channel"], kept["message_ts"]
        if ts and (answer.get("replace_original") or answer.get("delete_original")):
            self._replace(user, channel, ts, answer)
        else:
            self.show(user, channel, answer)

    def _replace(self, user: str, channel: str, ts: str, answer: Json) -> None:
        message = self.world.shown_to(user, channel, ts)
        only = user if message.get("is_ephemeral") else None
        if answer.get("delete_original"):
            home = self.world.ephemerals[user] if only else self.world.channel(channel).messages
            home.remove(message)
            self.world.publish("deleted", {"channel": channel, "ts": ts}, only)
            return
        message |= {"text": answer.get("text") or "", "blocks": numbered(answer.get("blocks") or [])}
        self.world.show("changed", message, only)
