"""The settings as models. Every complaint names the setting and the fix, never a secret."""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from datetime import time, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bot.config.fields import CHANNEL, PERSON, PERSON_OR_GROUP, Names, Table, slack_ids
from bot.config.notifications import DigestSettings, NotificationSettings
from bot.config.sources import Written
from bot.domain.hours import Holidays, all_zones
from bot.domain.i18n import Language
from bot.storage.addresses import backend
from providers.base import AudienceKind, Purpose
from providers.durations import Duration, seconds_of, shown_duration

EXAMPLES = re.compile(
    r"(?i)^\W*$|^(xox[abp]-|xapp-)?(1-)?"
    r"(…|\.\.\.|x{3,}.*|change[-_ ]?me|example.*|secret|token|password|todo|dummy|placeholder"
    r"|your[-_ ].*|<.*>|\$\{.*\})$"
)
CLIENT_ID = re.compile(r"\d+\.\d+")
#: How Slack's secrets begin, by the setting that each belongs in.
BEGINS = {"slack_bot_token": ("xoxb-", "xoxe.xoxb-"), "slack_app_token": ("xapp-",)}
SHORTEST_KEPT, FOREVER = timedelta(days=7), "forever"


class SettingsError(Exception):
    """The settings cannot be used. `lines` name each setting and its fix."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class AudienceSettings(Table):
    """An audience that people can type, and what it means at an account."""

    account: str = Field(examples=["octo"])
    kind: AudienceKind = AudienceKind.LIST
    id: str = Field(min_length=1, examples=["123456"])
    everyone: bool = False
    subscribers: Names = ()
    policy: str | None = Field(default=None, examples=["fr"])
    max_size: int | None = Field(default=None, ge=1, examples=[5000])
    requesters: Names = Field(default=(), examples=[("S0MARKETING",)])
    stop_mention: str | None = Field(default=None, examples=["STOP au 30101"])
    watchers: Names = Field(default=(), examples=[("U0ANA",)])  # who hears of each of its broadcasts

    @field_validator("id", mode="before")
    @classmethod
    def _numbers_are_ids_too(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @field_validator("requesters")
    @classmethod
    def _people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return slack_ids(value, PERSON_OR_GROUP, "a user (U…) or a user group (S…)")

    @field_validator("watchers")
    @classmethod
    def _watchers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return slack_ids(value, PERSON, "a user's id (U…)")

    @model_validator(mode="after")
    def _one_way_to_reach_a_public_group(self) -> Self:
        if self.everyone and self.subscribers:
            raise ValueError("say either everyone or subscribers, not both")
        return self


class ApprovalRule(Table):
    """Who must approve the broadcasts that match. A field that is left out matches everything."""

    purpose: Purpose | None = Field(default=None, examples=["marketing"])
    larger_than: int | None = Field(default=None, ge=0, examples=[500])
    costs_more_than: Decimal | None = Field(default=None, ge=0, examples=[100])  # in the currency that the vendor tells
    between: tuple[time, time] | None = None  # the hours of the day in which it starts, in `timezone`
    timezone: str | None = None
    audience: str | None = None
    account: str | None = None
    approvers: Names = Field(default=(), examples=[("U0ANA", "S0APPROVERS")])
    quorum: int = Field(ge=0, le=20, examples=[1])

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

    @model_validator(mode="after")
    def _marketing_is_looked_at(self) -> Self:
        if self.quorum == 0 and self.purpose is not Purpose.TRANSACTIONAL:
            raise ValueError(
                "its quorum of 0 would let marketing go out without approval; set it to 1 or more, or add "
                'purpose = "transactional"'
            )
        return self


class ApprovalSettings(Table):
    approvers: Names = Field(default=(), examples=[("U0ANA", "S0APPROVERS")])
    notify: Names = Field(
        default=(), examples=[("U0ANA", "S0APPROVERS")]
    )  # who is mentioned, if not all who may approve
    break_glass: Names = Field(
        default=(), examples=[("U0ANA", "S0APPROVERS")]
    )  # who may send an alert without approval; nobody: it is off
    delegates: Names = Field(
        default=(), examples=[("U0ANA", "S0APPROVERS")]
    )  # who may approve in the place of approvers who are away
    channel: str | None = Field(default=None, examples=["C0APPROVALS"])
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
        return slack_ids(value, PERSON_OR_GROUP, "a user (U…) or a user group (S…)")

    @field_validator("approve_reactions", "reject_reactions")
    @classmethod
    def _bare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Slack names a reaction without its colons and its skin tone."""
        return tuple(name.strip().strip(":").split("::")[0] for name in value if name.strip(" :"))

    @field_validator("channel")
    @classmethod
    def _channel(cls, value: str | None) -> str | None:
        if value:
            slack_ids((value,), CHANNEL, "a channel's id (C… or G…)")
        return value or None

    @field_validator("quorum")
    @classmethod
    def _marketing_is_looked_at(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must be 1 or more, or marketing would go out without approval")
        return value


def _kept_for(value: object) -> timedelta | None:
    """How long something is kept; None: for ever."""
    if value is None or (isinstance(value, str) and value.strip().lower() == FOREVER):
        return None
    try:
        kept = timedelta(seconds=seconds_of(value))
    except ValueError:
        kept = timedelta(0)
    if kept < SHORTEST_KEPT:
        raise ValueError(f'must be at least 7d, such as 365d, or "{FOREVER}"')
    return kept


Kept = Annotated[
    timedelta | None,
    BeforeValidator(_kept_for),
    PlainSerializer(lambda kept: FOREVER if kept is None else shown_duration(kept), when_used="json"),
]


class RetentionSettings(Table):
    """How long what has ended is kept. A vendor may report for a week, so nothing is removed earlier."""

    texts: Kept = timedelta(days=365)
    deliveries: Kept = timedelta(days=365)
    set_aside: Kept = timedelta(days=30)


class Settings(Table):
    """Everything that an operator may set. Accounts and policies stay raw: their own models read them."""

    mode: Literal["live", "training"] = "live"
    public_url: str | None = Field(default=None, examples=["https://bell.example.org"])
    timezone: str = Field(default="UTC", examples=["Europe/Paris"])
    locale: Language = "en"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    admins: Names = Field(default=(), examples=[("U0ANA",)])
    secret_key: SecretStr | None = None
    hourly_cap: int = Field(default=60, ge=1)
    asks_per_hour: int = Field(default=1000, ge=0)  # of one person; 0: as many as they like
    holidays: Holidays | None = None
    host: str | None = Field(default=None, examples=["127.0.0.1"])
    metrics_listen: str | None = None
    heartbeat_url: SecretStr | None = None  # whoever knows it can keep the alarm silent
    trusted_proxies: Names = ("127.0.0.1", "::1")
    allow_private_hosts: bool = False
    grace: Duration = timedelta(minutes=10)
    report_after: Duration = timedelta(hours=24)
    database_url: str = Field(default="sqlite:///bellcrier.db", examples=["postgresql://user:password@host/name"])
    database_direct_url: str | None = Field(default=None, examples=["postgresql://user:password@host/name"])
    slack_bot_token: SecretStr | None = Field(default=None, examples=["xoxb-…"])
    slack_app_token: SecretStr | None = Field(default=None, examples=["xapp-…"])
    slack_signing_secret: SecretStr | None = None
    slack_api_url: str = "https://slack.com/api/"
    slack_client_id: str | None = None
    slack_client_secret: SecretStr | None = None
    accounts: dict[str, dict[str, Any]] = Field(default={})
    audiences: dict[str, AudienceSettings] = Field(default={})
    policies: dict[str, dict[str, Any]] = Field(default={})
    workspaces: dict[str, dict[str, Any]] = Field(default={})
    approval: ApprovalSettings = ApprovalSettings()
    retention: RetentionSettings = RetentionSettings()
    notifications: NotificationSettings = NotificationSettings()
    digest: DigestSettings = DigestSettings()

    _written: Written = PrivateAttr(default_factory=lambda: Written({}))

    @property
    def listening_host(self) -> str:
        """Where to listen if `--host` does not say it. In Socket Mode a proxy on this machine is all that calls."""
        return self.host or ("0.0.0.0" if self.slack_app_token is None else "127.0.0.1")  # noqa: S104 - Slack calls

    @field_validator("secret_key", "slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_secret")
    @classmethod
    def _a_real_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = value.get_secret_value().strip() if value is not None else "-"
        if value is not None and EXAMPLES.match(text):
            raise ValueError("this is blank or an example; put the real secret there, or leave the setting out")
        if value is not None and any(letter.isspace() for letter in text):
            raise ValueError("holds a space or a line break; copy the secret alone")
        if (other := _belongs_elsewhere(str(info.field_name), text)) is not None:
            raise ValueError(f"this secret belongs in {other.upper()}; put the right one here")
        return SecretStr(text) if value is not None else None

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
            near = difflib.get_close_matches(
                value.casefold(), zones := {one.casefold(): one for one in all_zones()}, n=1
            )
            raise ValueError(f"is no time zone{f'; did you mean {zones[near[0]]}?' if near else ''}")
        ZoneInfo(value)
        return value

    @field_validator("admins")
    @classmethod
    def _admins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return slack_ids(value, PERSON, "a user's id (U…)")

    @field_validator("slack_api_url", "public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not is_address(value):
            raise ValueError("must be an address that begins with https:// (or http:// for a stand-in)")
        return value.rstrip("/") + "/"

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"^https?://[^/\s@]+(/\S*)?$", value.get_secret_value()):
            raise ValueError("must be an address that begins with https://, such as https://hc-ping.com/your-uuid")
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _listen(cls, value: str | None) -> str | None:
        if value and not (re.match(r"^\S+:\d{1,5}$", value) and 0 < int(value.rsplit(":", 1)[1]) < 65536):
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:9464, with a port of at most 65535")
        return value or None

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError("must be addresses and networks, such as 10.0.0.0/8") from None
        return value

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None:
            backend(value)
        return value

    def remember(self, written: Written) -> None:
        """Keep where each setting is written, for what is found wrong with it later."""
        self._written = written

    def written(self) -> Written:
        return self._written

    def is_written(self, name: str) -> bool:
        """Whether somebody set this, be it right or wrong."""
        return getattr(self, name) is not None or self._written.tree.get(name) is not None


def _starting_with(value: SecretStr | None, start: str) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(start):
        raise ValueError(f"does not begin with {start}: it looks like another secret")
    return value


def _belongs_elsewhere(name: str, text: str) -> str | None:
    """Return the setting that this secret belongs in, if it is not this one."""
    if name == "slack_client_secret" and CLIENT_ID.fullmatch(text):
        return "slack_client_id"
    return next((other for other, begins in BEGINS.items() if other != name and text.startswith(begins)), None)


def is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0  # reading the port raises if it is none
        return named and re.match(r"^https?://[^/\s]+", value) is not None
    except ValueError:
        return False


def decoded(value: SecretStr) -> bytes:
    try:
        return base64.b64decode(value.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        return b""
