"""The methods of Slack's Web API, by family: each takes its arguments and returns the answer's fields, or raises."""

from __future__ import annotations

import secrets
import time

from sandbox.blocks import check_blocks, check_home, check_view
from sandbox.world import Channel, Human, Json, SlackError, World

MOST_TEXT = 40_000


class Methods:
    """A family of methods. `chat_postMessage` answers `chat.postMessage`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _member_of(self, a: Json) -> Channel:
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        if self.world.bot_user not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def _person(self, id: str) -> Human:
        if id not in self.world.people:
            raise SlackError("user_not_found")
        return self.world.people[id]


class Team(Methods):
    """The workspace and the app in it."""

    def auth_test(self, _: Json) -> Json:
        world = self.world
        return {
            "url": f"https://{world.team['domain']}.slack.com/",
            "team": world.team["name"],
            "user": world.app_name,
            "team_id": world.team_id,
            "user_id": world.bot_user,
            "bot_id": world.bot_id,
            "is_enterprise_install": False,
        }

    def team_info(self, _: Json) -> Json:
        return {"team": dict(self.world.team)}

    def bots_info(self, _: Json) -> Json:
        world = self.world
        bot = {"id": world.bot_id, "app_id": world.app_id, "name": world.app_name, "user_id": world.bot_user}
        return {"bot": {**bot, "deleted": False}}


class Chat(Methods):
    """Messages. The bot changes only its own."""

    def chat_postMessage(self, a: Json) -> Json:  # noqa: N802 - Slack's name
        channel = self._postable(a)
        message = {**self._content(a), "user": self.world.bot_user, "bot_id": self.world.bot_id}
        message["app_id"] = self.world.app_id
        if a.get("thread_ts"):
            parent = self._parent(channel, a["thread_ts"])
            message["thread_ts"] = parent["ts"]
        if a.get("metadata"):
            message["metadata"] = a["metadata"]
        posted = self.world.post(channel, message)
        return {"channel": channel.id, "ts": posted["ts"], "message": _shown(posted)}

    def _postable(self, a: Json) -> Channel:
        id = str(a.get("channel") or "")
        if id.startswith("U") and id in self.world.people:
            return self.world.direct(id)
        channel = self.world.channel_of_bot(id)
        if channel.archived:
            raise SlackError("is_archived")
        if self.world.bot_user not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def _parent(self, channel: Channel, ts: str) -> Json:
        try:
            parent = self.world.message(channel, str(ts))
        except SlackError:
            raise SlackError("thread_not_found") from None
        if parent.get("thread_ts") not in (None, parent["ts"]):
            raise SlackError("cannot_reply_to_message")
        return parent

    def _content(self, a: Json) -> Json:
        text, blocks = a.get("text"), a.get("blocks")
        if not text and not blocks:
            raise SlackError("no_text")
        if blocks:
            check_blocks(blocks)
        return {"text": str(text or "")[:MOST_TEXT], "blocks": numbered(blocks or [])}

    def chat_update(self, a: Json) -> Json:
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        message = self._own(channel, str(a.get("ts") or ""), "cant_update_message")
        if a.get("text") is None and a.get("blocks") is None:
            raise SlackError("no_text")
        if a.get("blocks"):
            message.pop("edited", None)
            message |= self._content(a)
        else:  # text without blocks removes the blocks
            message |= {"text": str(a["text"])[:MOST_TEXT], "blocks": []}
            message["edited"] = {"user": self.world.bot_user, "ts": self.world.next_ts()}
        if a.get("metadata"):
            message["metadata"] = a["metadata"]
        self.world.show("changed", message)
        return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": _shown(message)}

    def _own(self, channel: Channel, ts: str, otherwise: str) -> Json:
        message = self.world.message(channel, ts)
        if message.get("bot_id") != self.world.bot_id:
            raise SlackError(otherwise)
        return message

    def chat_delete(self, a: Json) -> Json:
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        message = self._own(channel, str(a.get("ts") or ""), "cant_delete_message")
        channel.messages.remove(message)
        self.world.publish("deleted", {"channel": channel.id, "ts": message["ts"]})
        return {"channel": channel.id, "ts": message["ts"]}

    def chat_postEphemeral(self, a: Json) -> Json:  # noqa: N802 - Slack's name
        channel, user = self._postable(a), str(a.get("user") or "")
        if user not in channel.members:
            raise SlackError("user_not_in_channel")
        content = {**self._content(a), "user": self.world.bot_user, "bot_id": self.world.bot_id}
        message = self.world.whisper(user, channel.id, content)
        return {"message_ts": message["ts"]}

    def chat_getPermalink(self, a: Json) -> Json:  # noqa: N802 - Slack's name
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        message = self.world.message(channel, str(a.get("message_ts") or ""))
        domain = self.world.team["domain"]
        link = f"https://{domain}.slack.com/archives/{channel.id}/p{message['ts'].replace('.', '')}"
        return {"channel": channel.id, "permalink": link}


class Conversations(Methods):
    """Channels, their members and their messages."""

    def conversations_info(self, a: Json) -> Json:
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        shown = self._channel(channel)
        return {"channel": self.world.retold.get(channel.id, dict)(shown)}

    def _channel(self, channel: Channel) -> Json:
        return {
            "id": channel.id,
            "name": channel.name,
            "is_channel": channel.kind == "public",
            "is_group": channel.kind == "private",
            "is_im": channel.direct,
            "is_mpim": False,
            "is_private": channel.kind != "public",
            "is_archived": channel.archived,
            "is_ext_shared": channel.shared,
            "is_pending_ext_shared": False,
            "is_member": self.world.bot_user in channel.members,
            "num_members": len(channel.members),
            "context_team_id": self.world.team_id,
        }

    def conversations_members(self, a: Json) -> Json:
        channel = self.world.channel_of_bot(str(a.get("channel") or ""))
        return {"members": list(channel.members), **_last_page()}

    def conversations_list(self, a: Json) -> Json:
        seen = [c for c in self.world.channels.values() if c.kind == "public" or self.world.bot_user in c.members]
        return {"channels": [self._channel(channel) for channel in seen], **_last_page()}

    def conversations_open(self, a: Json) -> Json:
        user = str(a.get("users") or "").split(",")[0]
        person = self._person(user)
        if person.deleted:
            raise SlackError("user_disabled")
        return {"channel": {"id": self.world.direct(user).id}}

    def conversations_history(self, a: Json) -> Json:
        channel = self._member_of(a)
        found = [m for m in channel.messages if m.get("thread_ts") in (None, m["ts"])]
        kept = a.get("include_all_metadata") in (True, "true", "1", 1)
        newest = [_shown(m, metadata=kept) for m in reversed(found)]
        return {"messages": newest[: int(a.get("limit") or 100)], "has_more": False, **_last_page()}

    def conversations_replies(self, a: Json) -> Json:
        channel, ts = self._member_of(a), str(a.get("ts") or "")
        self.world.message(channel, ts)
        kept = a.get("include_all_metadata") in (True, "true", "1", 1)
        found = [_shown(m, metadata=kept) for m in channel.messages if ts in (m["ts"], m.get("thread_ts"))]
        return {"messages": found, "has_more": False, **_last_page()}


class Users(Methods):
    """People and user groups."""

    def users_info(self, a: Json) -> Json:
        user = str(a.get("user") or "")
        if user == self.world.bot_user:
            names = {"id": user, "team_id": self.world.team_id, "name": self.world.app_name}
            return {"user": {**names, "is_bot": True, "profile": {"bot_id": self.world.bot_id}}}
        kept = a.get("include_locale") in (True, "true", "1", 1)
        shown = self._user(self._person(user), locale=kept)
        return {"user": self.world.retold.get(user, dict)(shown)}

    def users_list(self, a: Json) -> Json:
        return {"members": [self._user(p, locale=True) for p in self.world.people.values()], **_last_page()}

    def _user(self, person: Human, *, locale: bool) -> Json:
        shown = {
            "id": person.id,
            "team_id": self.world.team_id,
            "name": person.name,
            "real_name": person.real_name,
            "deleted": person.deleted,
            "is_bot": person.bot,
            "is_admin": person.admin,
            "is_restricted": person.guest,
            "is_ultra_restricted": person.guest,
            "profile": {"real_name": person.real_name, "display_name": person.name},
        }
        if not person.deleted:
            shown |= {"tz": person.tz, "tz_label": person.tz, "tz_offset": 0}
        return {**shown, "locale": person.locale} if locale else shown

    def usergroups_list(self, _: Json) -> Json:
        found = [
            {
                "id": g.id,
                "handle": g.handle,
                "name": g.handle,
                "date_delete": int(g.disabled),
                "user_count": len(g.users),
            }
            for g in self.world.groups.values()
        ]
        return {"usergroups": found}

    def usergroups_users_list(self, a: Json) -> Json:
        group = self.world.groups.get(str(a.get("usergroup") or ""))
        if group is None or (group.disabled and a.get("include_disabled") not in (True, "true", "1", 1)):
            raise SlackError("no_such_subteam")
        return {"users": list(group.users)}


class Views(Methods):
    """Forms, opened by a trigger that works once, and the Home tab of each person."""

    def views_open(self, a: Json) -> Json:
        check_view(a.get("view"))
        user = self.world.use_trigger(str(a.get("trigger_id") or ""))
        view = self.new_view(a["view"])
        self.world.views[user] = [view]
        self.world.publish("view", {"view": view, "stack": 1}, user)
        return {"view": view}

    def views_push(self, a: Json) -> Json:
        check_view(a.get("view"))
        user = self.world.use_trigger(str(a.get("trigger_id") or ""))
        return {"view": self.push_view(user, a["view"])}

    def push_view(self, user: str, content: Json) -> Json:
        stack = self.world.views.setdefault(user, [])
        if len(stack) >= 3:
            raise SlackError("push_limit_reached")
        view = self.new_view(content)
        stack.append(view)
        self.world.publish("view", {"view": view, "stack": len(stack)}, user)
        return view

    def views_update(self, a: Json) -> Json:
        check_view(a.get("view"))
        for user, stack in self.world.views.items():
            for index, view in enumerate(stack):
                if a.get("view_id") == view["id"] or (a.get("external_id") and a["external_id"] == view["external_id"]):
                    if a.get("hash") and a["hash"] != view["hash"]:
                        raise SlackError("hash_conflict")
                    stack[index] = self.changed_view(view, a["view"])
                    self.world.publish("view", {"view": stack[index], "stack": len(stack)}, user)
                    return {"view": stack[index]}
        raise SlackError("not_found")

    def views_publish(self, a: Json) -> Json:
        check_home(a.get("view"))
        if not self.world.manifest.home:
            raise SlackError("not_enabled")
        user = self._person(str(a.get("user_id") or "")).id
        before = self.world.homes.get(user)
        if a.get("hash") and (before is None or a["hash"] != before["hash"]):
            raise SlackError("hash_conflict")
        view = self.changed_view(before, a["view"]) if before else self.new_view(a["view"])
        self.world.homes[user] = view
        self.world.publish("home", {"view": view}, user)
        return {"view": view}

    def new_view(self, content: Json) -> Json:
        return self._view(f"V{secrets.token_hex(5).upper()}", content)

    def changed_view(self, view: Json, content: Json) -> Json:
        return self._view(view["id"], content, root=view["root_view_id"])

    def _view(self, id: str, content: Json, root: str | None = None) -> Json:
        blocks = numbered(content.get("blocks", []))
        return {
            "id": id,
            "team_id": self.world.team_id,
            "type": content["type"],
            "blocks": blocks,
            "private_metadata": content.get("private_metadata") or "",
            "callback_id": content.get("callback_id") or "",
            "external_id": content.get("external_id") or "",
            "state": {"values": {}},
            "hash": f"{int(time.time())}.{secrets.token_hex(4)}",
            "title": content.get("title") or {"type": "plain_text", "text": "View Title", "emoji": True},
            "close": content.get("close"),
            "submit": content.get("submit"),
            "clear_on_close": bool(content.get("clear_on_close")),
            "notify_on_close": bool(content.get("notify_on_close")),
            "previous_view_id": None,
            "root_view_id": root or id,
            "app_id": self.world.app_id,
            "bot_id": self.world.bot_id,
            "app_installed_team_id": self.world.team_id,
        }


class Reactions(Methods):
    """Reactions of the bot, and of others as it reads them."""

    def reactions_add(self, a: Json) -> Json:
        channel, ts, name = self._reaction(a)
        self.world.react(channel, ts, self.world.bot_user, name)
        return {}

    def reactions_remove(self, a: Json) -> Json:
        channel, ts, name = self._reaction(a)
        self.world.unreact(channel, ts, self.world.bot_user, name)
        return {}

    def _reaction(self, a: Json) -> tuple[Channel, str, str]:
        name = str(a.get("name") or "")
        if not name or name.startswith(":"):
            raise SlackError("invalid_name")
        return self._member_of(a), str(a.get("timestamp") or ""), name

    def reactions_get(self, a: Json) -> Json:
        channel = self._member_of(a)
        message = self.world.message(channel, str(a.get("timestamp") or ""))
        return {"type": "message", "channel": channel.id, "message": _shown(message)}


def numbered(blocks: list[Json]) -> list[Json]:
    """Give an id to every block without one, as Slack does."""
    return [{"block_id": secrets.token_hex(3), **block} for block in blocks]


def _shown(message: Json, *, metadata: bool = False) -> Json:
    return {name: value for name, value in message.items() if name != "metadata" or metadata}


def _last_page() -> Json:
    return {"response_metadata": {"next_cursor": ""}}
