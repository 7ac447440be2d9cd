"""The settings as models. Every complaint names the setting and the fix, never a secret."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import time, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from bot.domain.hours import Holidays, all_zones
from bot.domain.i18n import Language
from bot.storage.addresses import backend
from providers.base import AudienceKind, Purpose
from providers.durations import Duration

EXAMPLES = re.compile(r"(?i)^\W*$|^(xox[abp]-)?(…|\.\.\.|x{3,}|changeme|change-me|example|secret|token|your[-_ ].*)$")
PERSON_OR_GROUP = re.compile(r"^[UWS][A-Z0-9]{2,}$")
PERSON = re.compile(r"^[UW][A-Z0-9]{2,}$")
CHANNEL = re.compile(r"^[CG][A-Z0-9]{2,}$")
ACCOUNT_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,40}$")


class SettingsError(Exception):
    """The settings cannot be used. `lines` name each setting and its fix."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def _listed(value: object) -> object:
    """Split a list that is written with commas, as in the environment."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AudienceSettings(_Table):
    """An audience that people can type, and what it means at an account."""

    account: str
    kind: AudienceKind = AudienceKind.LIST
    id: str = Field(min_length=1)
    everyone: bool = False
    subscribers: Names = ()
    policy: str | None = None
    max_size: int | None = Field(default=None, ge=1)
    requesters: Names = ()
    stop_mention: str | None = None

    @field_validator("id", mode="before")
    @classmethod
    def _numbers_are_ids_too(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @field_validator("requesters")
    @classmethod
    def _people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _slack_ids(value, PERSON_OR_GROUP, "a user (U…) or a user group (S…)")

    @model_validator(mode="after")
    def _one_way_to_reach_a_public_group(self) -> Self:
        if self.everyone and self.subscribers:
            raise ValueError("say either everyone or subscribers, not both")
        return self


class ApprovalRule(_Table):
    """Who must approve the broadcasts that match. A field that is left out matches everything."""

    purpose: Purpose | None = None
    larger_than: int | None = Field(default=None, ge=0)
    costs_more_than: Decimal | None = Field(default=None, ge=0)  # in the currency that the vendor tells
    between: tuple[time, time] | None = None  # the hours of the day in which it starts, in `timezone`
    timezone: str | None = None
    audience: str | None = None
    account: str | None = None
    approvers: Names = ()
    quorum: int = Field(ge=0, le=20)

    @field_validator("between", mode="before")
    @classmethod
    def _hours(cls, value: object) -> object:
        match = re.fullmatch(r"\s*(\d\d:\d\d)\s*-\s*(\d\d:\d\d)\s*", value) if isinstance(value, str) else None
        if value is not None and match is None:
            raise ValueError('must be two times of the day, such as "20:00-08:00"')
        return (match[1], match[2]) if match else None

    @model_validator(mode="after")
    def _hours_of_a_zone(self) -> Self:
        if self.between is not None and self.timezone not in all_zones():
            raise ValueError('between needs a timezone, such as timezone = "Europe/Paris"')
        return self


class ApprovalSettings(_Table):
    approvers: Names = ()
    notify: Names = ()  # who is mentioned, if not all who may approve
    break_glass: Names = ()  # who may send an alert without approval; nobody: it is off
    delegates: Names = ()  # who may approve in the place of approvers who are away
    channel: str | None = None
    quorum: int = Field(default=1, ge=0, le=20)
    expires_after: Duration = timedelta(hours=24)
    remind_after: Duration = timedelta(minutes=15)
    undo: Duration = timedelta(seconds=30)
    duplicates_within: Duration = timedelta(hours=12)
    approve_reactions: Names = ("white_check_mark", "+1")
    reject_reactions: Names = ("x", "-1")
    rules: tuple[ApprovalRule, ...] = (ApprovalRule(purpose=Purpose.TRANSACTIONAL, larger_than=500, quorum=1),)

    @property
    def everybody(self) -> frozenset[str]:
        """All the users and groups that may approve something."""
        return frozenset(self.approvers).union(*(rule.approvers for rule in self.rules))

    @field_validator("approvers", "notify", "delegates", "break_glass")
    @classmethod
    def _people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _slack_ids(value, PERSON_OR_GROUP, "a user (U…) or a user group (S…)")

    @field_validator("approve_reactions", "reject_reactions")
    @classmethod
    def _bare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Slack names a reaction without its colons and its skin tone."""
        return tuple(name.strip().strip(":").split("::")[0] for name in value if name.strip(" :"))

    @field_validator("channel")
    @classmethod
    def _channel(cls, value: str | None) -> str | None:
        if value:
            _slack_ids((value,), CHANNEL, "a channel's id (C… or G…)")
        return value or None

    @model_validator(mode="after")
    def _marketing_is_looked_at(self) -> Self:
        if self.quorum == 0 or any(
            rule.quorum == 0 and rule.purpose is not Purpose.TRANSACTIONAL for rule in self.rules
        ):
            raise ValueError("marketing with an approval.quorum of 0 does not start; set it to 1 or more")
        return self


class Settings(_Table):
    """Everything that an operator may set. Accounts and policies stay raw: their own models read them."""

    mode: Literal["live", "training"] = "live"
    public_url: str | None = None
    timezone: str = "UTC"
    locale: Language = "en"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    admins: Names = ()
    secret_key: SecretStr | None = None
    hourly_cap: int = Field(default=60, ge=1)
    asks_per_hour: int = Field(default=1000, ge=0)  # of one person; 0: as many as they like
    holidays: Holidays | None = None
    host: str | None = None
    metrics_listen: str | None = None
    trusted_proxies: Names = ("127.0.0.1", "::1")
    allow_private_hosts: bool = False
    grace: Duration = timedelta(minutes=10)
    report_after: Duration = timedelta(hours=24)
    database_url: str = "sqlite:///bellcrier.db"
    database_direct_url: str | None = None
    slack_bot_token: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_api_url: str = "https://slack.com/api/"
    slack_client_id: str | None = None
    slack_client_secret: SecretStr | None = None
    accounts: dict[str, dict[str, Any]] = {}
    audiences: dict[str, AudienceSettings] = {}
    policies: dict[str, dict[str, Any]] = {}
    approval: ApprovalSettings = ApprovalSettings()

    @property
    def listening_host(self) -> str:
        """Where to listen if `--host` does not say it. In Socket Mode a proxy on this machine is all that calls."""
        return self.host or ("0.0.0.0" if self.slack_app_token is None else "127.0.0.1")  # noqa: S104 - Slack calls

    @field_validator("secret_key", "slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_secret")
    @classmethod
    def _a_real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and EXAMPLES.match(value.get_secret_value().strip()):
            raise ValueError("this is blank or an example; put the real secret there, or leave the setting out")
        return value

    @field_validator("secret_key")
    @classmethod
    def _thirty_two_bytes(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(decoded(value)) != 32:
            raise ValueError("must be 32 random bytes in base64; `openssl rand -base64 32` makes one")
        return value

    @field_validator("slack_bot_token")
    @classmethod
    def _bot_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().startswith("xoxe"):
            raise ValueError(
                "is a token that expires in 12 hours; turn token rotation off in the app's settings, then install it "
                "again and copy the token that begins with xoxb-"
            )
        return _starting_with(value, "xoxb-")

    @field_validator("slack_app_token")
    @classmethod
    def _app_token(cls, value: SecretStr | None) -> SecretStr | None:
        return _starting_with(value, "xapp-")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in all_zones():
            raise ValueError("is no time zone; write it like Europe/Paris")
        ZoneInfo(value)
        return value

    @field_validator("admins")
    @classmethod
    def _admins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _slack_ids(value, PERSON, "a user's id (U…)")

    @field_validator("slack_api_url", "public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.match(r"^https?://[^/\s]+", value):
            raise ValueError("must be an address that begins with https:// (or http:// for a stand-in)")
        return value.rstrip("/") + "/"

    @field_validator("metrics_listen")
    @classmethod
    def _listen(cls, value: str | None) -> str | None:
        if value and not re.match(r"^\S+:\d{1,5}$", value):
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:9464")
        return value or None

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no address, and no network such as 10.0.0.0/8") from None
        return value

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None:
            backend(value)
        return value

    @field_validator("accounts", mode="wrap")
    @classmethod
    def _account_names(cls, value: object, handler: ValidatorFunctionWrapHandler) -> dict[str, dict[str, Any]]:
        accounts: dict[str, dict[str, Any]] = handler(value)
        for name in accounts:
            if not ACCOUNT_NAME.match(name):
                raise ValueError(f"{name!r} is no name for an account; use small letters, digits, - and _")
        return accounts

    @model_validator(mode="after")
    def _everything_named_exists(self) -> Self:
        problems = [*self._unknown_accounts(), *self._unknown_test_audiences()]
        if backend(self.database_url) == "postgresql" and self.secret_key is None:
            problems.append("secret_key must be given with PostgreSQL; `openssl rand -base64 32` makes one")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unknown_accounts(self) -> Iterator[str]:
        for name, audience in self.audiences.items():
            if audience.account not in self.accounts:
                known = ", ".join(sorted(self.accounts)) or "none"
                yield f"audiences.{name}.account: there is no [accounts.{audience.account}]; there are: {known}"

    def _unknown_test_audiences(self) -> Iterator[str]:
        for name, account in self.accounts.items():
            wanted = account.get("test_audience")
            if wanted is not None and wanted not in self.audiences:
                yield f"accounts.{name}.test_audience: there is no [audiences.{wanted}]"
            elif wanted is not None and (account_of := self.audiences[wanted].account) != name:
                yield (
                    f"accounts.{name}.test_audience: [audiences.{wanted}] belongs to the account {account_of}; "
                    "name an audience of this account"
                )


def _slack_ids(ids: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    for id in ids:
        if not pattern.match(id):
            raise ValueError(f"{id!r} is not {what}")
    return ids


def _starting_with(value: SecretStr | None, start: str) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(start):
        raise ValueError(f"does not begin with {start}: it looks like another secret")
    return value


def decoded(value: SecretStr) -> bytes:
    try:
        return base64.b64decode(value.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        return b""
