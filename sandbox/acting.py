"""What people at the page, or a test in their place, can do: type, click, react, fill in forms."""

from __future__ import annotations

from sandbox.api import Api
from sandbox.blocks import check_view
from sandbox.delivery import Delivery, Outcome
from sandbox.home_tab import HomeTab, element_of
from sandbox.payloads import Answers, Payloads, escaped
from sandbox.shortcuts import Shortcuts
from sandbox.world import Channel, Json, SlackError, World


class Acting:
    """Each method is one thing that a person does; it returns what that person would be shown at once."""

    def __init__(self, world: World, delivery: Delivery, api: Api) -> None:
        self.world, self.delivery, self.forms = world, delivery, api.views
        self.payloads, self.answers = Payloads(world, api.base), Answers(world)
        self.home = HomeTab(world, delivery, self.act)
        self.shortcuts = Shortcuts(world, delivery, self.payloads)

    # --- messages and commands ---------------------------------------------------------------------------------------

    async def say(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> Json:
        """Post a message as a person."""
        place = self._place(user, channel)
        message: Json = {"user": user, "text": self.escaped(text)}
        if thread_ts:
            message["thread_ts"] = thread_ts
        posted = self.world.post(place, message)
        to_app = {**posted, "channel": place.id, "event_ts": posted["ts"], "team": self.world.team_id}
        if place.direct:
            self.delivery.event({**to_app, "type": "message", "channel_type": "im"})
        elif self.world.bot_user in place.members and f"<@{self.world.bot_user}>" in posted["text"]:
            self.delivery.event({**to_app, "type": "app_mention"})
        return posted

    async def command(self, user: str, channel: str, line: str) -> str | None:
        """Type a slash command. Returns the text of the app's answer; None when it was silent."""
        outcome = await self.enter(user, channel, line)
        return str(outcome.answer.get("text") or "") if _says(outcome.answer) else None

    async def enter(self, user: str, channel: str, line: str) -> Outcome:
        """Type a slash command, and show what the app answers."""
        place = self._place(user, channel)
        name, _, rest = line.strip().partition(" ")
        known = {entry["command"]: entry for entry in self.world.manifest.commands}
        if name not in known:
            raise SlackError(f"{name} is not a command that any app here knows.")
        typed = self.escaped(rest) if known[name].get("should_escape") else rest
        outcome = await self.delivery.command(self.payloads.command(user, place, name, typed))
        if not outcome.acknowledged:
            self._notice(user, f'{name} failed with the error "{outcome.problem}"')
        elif _says(outcome.answer):
            self.answers.show(user, channel, outcome.answer)
        return outcome

    def _notice(self, user: str, text: str) -> None:
        self.world.publish("notice", {"text": text}, user)

    def escaped(self, text: str) -> str:
        """The text as Slack passes it to apps: with entities, and with names as tokens with their ids."""
        return escaped(self.world, text)

    def _place(self, user: str, channel: str) -> Channel:
        person = self.world.person(user)
        place = self.world.direct(user) if channel == self.world.direct(user).id else self.world.channel(channel)
        if person.deleted:
            raise SlackError(f"{person.real_name} can no longer sign in.")
        if user not in place.members:
            raise SlackError(f"{person.real_name} is not in this channel.")
        return place

    # --- buttons -----------------------------------------------------------------------------------------------------

    async def click(self, user: str, channel: str, ts: str, action_id: str, value: str | None = None) -> bool:
        """Press the button with this id on a message, or choose the entry of a menu that stands for the same.

        The value of an entry begins with the id's last part: `cancel:B2345AB:1` is `broadcast.cancel`. True when the
        app acknowledged it.
        """
        block, element, option = element_of(self.world.shown_to(user, channel, ts), action_id)
        pressed = {"type": element["type"], "value": element.get("value") if value is None else value}
        if option is not None:
            chosen = option if value is None else {**option, "value": value}
            pressed = {"type": element["type"], "selected_option": chosen}
        place = {"channel": channel, "ts": ts}
        return await self.act(user, place, block["block_id"], element["action_id"], pressed, {})

    async def act(self, user: str, place: Json, block_id: str, action_id: str, element: Json, values: Json) -> bool:
        """Use an interactive element: of a message (`channel`, `ts`) or of a form (`view_id`)."""
        action = {**element, "action_id": action_id, "block_id": block_id, "action_ts": self.world.next_ts()}
        payload = self.payloads.interaction("block_actions", user)
        payload |= {"actions": [action], "trigger_id": self.world.new_trigger(user), "state": {"values": values}}
        if place.get("view_id"):
            view = self._view(user, place["view_id"])
            view["state"] = {"values": values}
            payload |= {"view": view, "container": {"type": "view", "view_id": view["id"]}}
        else:
            message = self.world.shown_to(user, place["channel"], place["ts"])
            payload |= self.payloads.of_message(user, place["channel"], message)
        outcome = await self.delivery.interaction(payload)
        if not outcome.acknowledged:
            self._notice(user, f"That did not work: {outcome.problem}")
        return outcome.acknowledged

    # --- reactions ---------------------------------------------------------------------------------------------------

    async def react(self, user: str, channel: str, ts: str, name: str) -> None:
        place = self._place(user, channel)
        self.world.react(place, ts, user, name)
        self._reaction_event("reaction_added", user, place, ts, name)

    async def unreact(self, user: str, channel: str, ts: str, name: str) -> None:
        place = self._place(user, channel)
        self.world.unreact(place, ts, user, name)
        self._reaction_event("reaction_removed", user, place, ts, name)

    def _reaction_event(self, kind: str, user: str, place: Channel, ts: str, name: str) -> None:
        if self.world.bot_user not in place.members:
            return
        author = self.world.message(place, ts).get("user")
        item = {"type": "message", "channel": place.id, "ts": ts}
        event = {"type": kind, "user": user, "reaction": name, "item": item, "event_ts": self.world.next_ts()}
        self.delivery.event({**event, "item_user": author})

    # --- forms -------------------------------------------------------------------------------------------------------

    def _view(self, user: str, view_id: str) -> Json:
        seen = [*self.world.views.get(user, []), *filter(None, [self.world.homes.get(user)])]
        found = next((view for view in seen if view["id"] == view_id), None)
        if found is None:
            raise SlackError("This form is not open any more.")
        return found

    async def submit(self, user: str, view_id: str, values: Json) -> dict[str, str]:
        """Submit a form. Returns the errors under its fields; none when it was accepted."""
        view = self._view(user, view_id)
        view["state"] = {"values": values}
        payload = self.payloads.interaction("view_submission", user)
        payload |= {"view": view, "trigger_id": self.world.new_trigger(user), "response_urls": []}
        outcome = await self.delivery.interaction(payload)
        if not outcome.acknowledged:
            self._notice(user, "We had some trouble connecting. Try again?")
            return {"": "We had some trouble connecting. Try again?"}
        return self._after_submit(user, view, outcome.answer)

    def _after_submit(self, user: str, view: Json, answer: Json) -> dict[str, str]:
        action = answer.get("response_action")
        if action == "errors":
            return {str(name): str(text) for name, text in answer["errors"].items()}
        if action == "update":
            check_view(answer["view"])
            stack = self.world.views[user]
            changed = self.forms.changed_view(view, answer["view"])
            stack[stack.index(view)] = changed
            self.world.publish("view", {"view": changed, "stack": len(stack)}, user)
        elif action == "push":
            check_view(answer["view"])
            self.forms.push_view(user, answer["view"])
        else:
            self._remove(user, view, everything=action == "clear")
        return {}

    def _remove(self, user: str, view: Json, *, everything: bool) -> None:
        stack = self.world.views.get(user, [])
        self.world.views[user] = [] if everything else [v for v in stack if v["id"] != view["id"]]
        self.world.publish("view_closed", {"view_id": view["id"], "all": everything}, user)

    async def suggest(self, user: str, view_id: str, block_id: str, typed: str) -> list[Json]:
        """The options that the app offers for what was typed in a select of a form."""
        view = self._view(user, view_id)
        payload = self.payloads.interaction("block_suggestion", user)
        payload |= {"view": view, "container": {"type": "view", "view_id": view_id}}
        payload |= {"block_id": block_id, "action_id": "value", "value": typed}
        outcome = await self.delivery.interaction(payload)
        options = outcome.answer.get("options") if outcome.acknowledged else None
        return options if isinstance(options, list) else []

    async def close(self, user: str, view_id: str, *, everything: bool = False) -> None:
        view = self._view(user, view_id)
        self._remove(user, view, everything=everything)
        if view["notify_on_close"]:
            payload = {**self.payloads.interaction("view_closed", user), "view": view, "is_cleared": everything}
            await self.delivery.interaction(payload)

    # --- reading -----------------------------------------------------------------------------------------------------

    def messages(self, channel: str) -> list[Json]:
        """The messages at the top level of a channel, oldest first."""
        return [m for m in self.world.channel(channel).messages if m.get("thread_ts") in (None, m["ts"])]

    def thread(self, channel: str, ts: str) -> list[Json]:
        """A thread's replies, oldest first."""
        return [m for m in self.world.channel(channel).messages if m.get("thread_ts") == ts and m["ts"] != ts]

    def ephemerals(self, user: str) -> list[Json]:
        return self.world.ephemerals.get(user, [])

    def views(self, user: str) -> list[Json]:
        """The forms that this person has open, the topmost last."""
        return self.world.views.get(user, [])


def _says(answer: Json) -> bool:
    return bool(answer.get("text") or answer.get("blocks"))
