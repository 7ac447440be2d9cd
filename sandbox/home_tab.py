"""The Home tab of the app, as a person opens it and presses its buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sandbox.delivery import Delivery
from sandbox.world import Json, SlackError, World

Act = Callable[[str, Json, str, str, Json, Json], Awaitable[bool]]


class HomeTab:
    """`act`: uses an element of a view, as `Acting` does."""

    def __init__(self, world: World, delivery: Delivery, act: Act) -> None:
        self.world, self.delivery, self.act = world, delivery, act

    def open(self, user: str, tab: str = "home") -> None:
        """Open the app's Home, or with `messages` its other tab. What the app then publishes is in `shown`."""
        self.world.person(user)
        event = {"type": "app_home_opened", "user": user, "channel": self.world.direct(user).id, "tab": tab}
        seen = {"view": self.world.homes[user]} if tab == "home" and user in self.world.homes else {}
        self.delivery.event({**event, **seen, "event_ts": self.world.next_ts()})

    def shown(self, user: str) -> Json | None:
        """What this person's Home shows; None before the app has published one."""
        return self.world.homes.get(user)

    async def press(self, user: str, action_id: str, value: str | None = None, *, view: Json | None = None) -> bool:
        """Press the first button with this id, and this value if one is given; of a Home, or of an open form.

        True when the app acknowledged it.
        """
        view = view or self.world.homes.get(user) or {}
        block, element, option = element_of(view, action_id, value)
        pressed = {"type": element["type"], "value": element.get("value")}
        if option is not None:
            pressed = {"type": element["type"], "selected_option": option}
        return await self.act(user, {"view_id": view["id"]}, block["block_id"], element["action_id"], pressed, {})


def element_of(message: Json, action_id: str, value: str | None = None) -> tuple[Json, Json, Json | None]:
    """Return a block, its element with this id (and value), and the entry that was meant if that is a menu."""
    choice = action_id.rpartition(".")[2]
    for block in message.get("blocks", []):
        for element in [*block.get("elements", []), block.get("accessory") or {}]:
            if element.get("action_id") == action_id and value in (None, element.get("value")):
                return block, element, None
            for option in element.get("options", []) if element.get("type") == "overflow" else []:
                name, _, of = option["value"].partition(":")
                if name == choice and value in (None, of):
                    return block, element, option
    raise SlackError(f"There is no {action_id} there.")
