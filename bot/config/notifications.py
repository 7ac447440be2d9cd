"""Who hears of what becomes of a broadcast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from bot.config.fields import PERSON, Names, Table, slack_ids


class NotificationSettings(Table):
    """Who hears of decisions and ends beside the thread of the card.

    `requester`: what the person who asked hears where they asked. `watchers` hear of everything in a direct message.
    """

    requester: Literal["all", "decisions", "off"] = "all"
    watchers: Names = Field(default=(), examples=[("U0ANA",)])

    @field_validator("watchers")
    @classmethod
    def _people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return slack_ids(value, PERSON, "a user's id (U…)")
