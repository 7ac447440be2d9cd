"""The shortcuts of the app, as a person uses them: on a message, or on none."""

from __future__ import annotations

from sandbox.delivery import Delivery
from sandbox.payloads import Payloads
from sandbox.world import Json, SlackError, World


class Shortcuts:
    """Each use returns True when the app acknowledged it."""

    def __init__(self, world: World, delivery: Delivery, payloads: Payloads) -> None:
        self.world, self.delivery, self.payloads = world, delivery, payloads

    async def use(self, user: str, callback_id: str) -> bool:
        """Use one that belongs to no message. Raises SlackError if the app has none of this name."""
        self._must_be_known(callback_id, "global")
        return await self._deliver(user, self.payloads.shortcut(user, callback_id))

    async def use_on(self, user: str, channel: str, ts: str, callback_id: str) -> bool:
        """Use one on a message. Raises SlackError if the app has none of this name."""
        self._must_be_known(callback_id, "message")
        message = self.world.shown_to(user, channel, ts)
        return await self._deliver(user, self.payloads.on_message(user, channel, message, callback_id))

    def _must_be_known(self, callback_id: str, kind: str) -> None:
        known = {(one["callback_id"], one["type"]) for one in self.world.manifest.shortcuts}
        if (callback_id, kind) not in known:
            raise SlackError(f"No app here has the shortcut {callback_id}.")

    async def _deliver(self, user: str, payload: Json) -> bool:
        self.world.person(user)
        outcome = await self.delivery.interaction(payload)
        if not outcome.acknowledged:
            self.world.publish("notice", {"text": f"That did not work: {outcome.problem}"}, user)
        return outcome.acknowledged
