"""Who hears of what becomes of a broadcast, and the weekly digest."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from bot.config.fields import CHANNEL, PERSON, Names, Table, slack_ids
from bot.domain.hours import all_zones

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


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


class DigestSettings(Table):
    """The weekly digest. Without a channel there is none."""

    channel: str | None = Field(default=None, examples=["C0CAMPAIGNS"])
    weekday: Weekday = "monday"
    at: str = Field(default="09:00", examples=["08:30"])
    timezone: str | None = Field(default=None, examples=["Europe/Paris"])

    @field_validator("channel")
    @classmethod
    def _channel(cls, value: str | None) -> str | None:
        if value:
            slack_ids((value,), CHANNEL, "a channel's id (C… or G…)")
        return value or None

    @field_validator("weekday", mode="before")
    @classmethod
    def _weekday(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("at")
    @classmethod
    def _time_of_day(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError('must be a time of the day, such as "09:00"')
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None and value not in all_zones():
            raise ValueError('is no time zone; write one such as "Europe/Paris"')
        return value
