"""What the models of settings share: how lists and Slack's ids are written, and what is refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

MAY_BE_BLANK = frozenset({"channel", "metrics_listen"})
PERSON_OR_GROUP = re.compile(r"^[UWS][A-Z0-9]{2,}$")
PERSON = re.compile(r"^[UW][A-Z0-9]{2,}$")
CHANNEL = re.compile(r"^[CG][A-Z0-9]{2,}$")


def _listed(value: object) -> object:
    """Split a list that is written with commas, as in the environment."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _meant(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what pydantic would read as something else, and what is there without a value."""
        name = str(info.field_name)
        kind = cls.model_fields[name].annotation
        if kind is timedelta:  # which says how a duration is written
            return value
        if isinstance(value, bool) and kind is not bool:
            raise ValueError("must not be true or false")
        if isinstance(value, str) and not value.strip() and kind != tuple[str, ...] and name not in MAY_BE_BLANK:
            raise ValueError(
                f"is blank; give it a value{'' if cls.model_fields[name].is_required() else ', or leave it out'}"
            )
        return value


def slack_ids(ids: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    for number, id in enumerate(ids, 1):  # which one is enough: what is there may be a secret in the wrong place
        if not pattern.match(id):
            raise ValueError(f"is not {what}" if len(ids) == 1 else f"its entry {number} is not {what}")
    return ids
