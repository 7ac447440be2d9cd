"""File and environment in, typed settings out. Every complaint names the setting and the fix, never a secret."""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.hours import Holidays, all_zones
from bot.words import Language
from providers.base import AudienceKind, Duration, Purpose

FILE = "bellcrier.toml"
PREFIX = "BELLCRIER_"

#: Names that other tools use for the same things.
CONVENTIONAL = {
    "SLACK_BOT_TOKEN": "slack_bot_token",
    "SLACK_APP_TOKEN": "slack_app_token",
    "SLACK_SIGNING_SECRET": "slack_signing_secret",
    "SLACK_API_URL": "slack_api_url",
    "SLACK_CLIENT_ID": "slack_client_id",
    "SLACK_CLIENT_SECRET": "slack_client_secret",
    "DATABASE_URL": "database_url",
}
SPOKEN = {name: variable for variable, name in CONVENTIONAL.items()}
NOT_SETTINGS = frozenset({"BELLCRIER_CONFIG"})

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
    """From the environment a list is written with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AudienceSettings(_Table):
    """What people type, and what it stands for at an account."""

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
    """Who must agree to what matches. A rule without a word about something matches all of it."""

    purpose: Purpose | None = None
    larger_than: int | None = Field(default=None, ge=0)
    audience: str | None = None
    account: str | None = None
    approvers: Names = ()
    quorum: int = Field(ge=0, le=20)


class ApprovalSettings(_Table):
    approvers: Names = ()
    channel: str | None = None
    quorum: int = Field(default=1, ge=0, le=20)
    expires_after: Duration = timedelta(hours=24)
    remind_after: Duration = timedelta(minutes=15)
    undo: Duration = timedelta(seconds=30)
    approve_reactions: Names = ("white_check_mark", "+1")
    reject_reactions: Names = ("x", "-1")
    rules: tuple[ApprovalRule, ...] = (ApprovalRule(purpose=Purpose.TRANSACTIONAL, larger_than=500, quorum=1),)

    @property
    def everybody(self) -> frozenset[str]:
        """The users and groups that approve anything at all."""
        return frozenset(self.approvers).union(*(rule.approvers for rule in self.rules))

    @field_validator("approvers")
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
    """Everything that an operator may say. Accounts and policies stay raw: their own models read them."""

    mode: Literal["live", "training"] = "live"
    public_url: str | None = None
    timezone: str = "UTC"
    locale: Language = "en"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    admins: Names = ()
    secret_key: SecretStr | None = None
    hourly_cap: int = Field(default=60, ge=1)
    holidays: Holidays | None = None
    metrics_listen: str | None = None
    allow_private_hosts: bool = False
    grace: Duration = timedelta(minutes=10)
    report_after: Duration = timedelta(hours=24)
    database_url: str = "sqlite:///bellcrier.db"
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

    @field_validator("secret_key", "slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_secret")
    @classmethod
    def _a_real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and EXAMPLES.match(value.get_secret_value().strip()):
            raise ValueError("this is blank or an example; put the real secret there, or leave the setting out")
        return value

    @field_validator("secret_key")
    @classmethod
    def _thirty_two_bytes(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(_decoded(value)) != 32:
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

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        try:
            backend = make_url(value).get_backend_name()
        except ArgumentError:
            backend = ""
        if backend not in ("sqlite", "postgresql"):
            raise ValueError("must be sqlite:///FILE or postgresql://…")
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
        if make_url(self.database_url).get_backend_name() == "postgresql" and self.secret_key is None:
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


def _slack_ids(ids: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    for id in ids:
        if not pattern.match(id):
            raise ValueError(f"{id!r} is not {what}")
    return ids


def _starting_with(value: SecretStr | None, start: str) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(start):
        raise ValueError(f"does not begin with {start}: it looks like another secret")
    return value


def _decoded(value: SecretStr) -> bytes:
    try:
        return base64.b64decode(value.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        return b""


# --- reading ---------------------------------------------------------------------------------------------------------


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this file (else `BELLCRIER_CONFIG`, else `bellcrier.toml` here), `.env` and the environment.

    The environment wins over `.env`, and both over the file. Raises SettingsError.
    """
    environment = {**_dotenv(), **(os.environ if environ is None else environ)}
    named = path or (Path(environment["BELLCRIER_CONFIG"]) if environment.get("BELLCRIER_CONFIG") else None)
    file = named or Path(FILE)
    raw = _read_file(file, required=named is not None)
    _merge(raw, _from_environment(environment))
    raw.setdefault("database_url", f"sqlite:///{file.parent / 'bellcrier.db'}")
    return parse(raw)


def parse(raw: Mapping[str, Any]) -> Settings:
    """Settings from a plain dict. Raises SettingsError."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise SettingsError([_complaint(detail) for detail in details]) from None


def _dotenv() -> dict[str, str]:
    return {name: value for name, value in dotenv_values(".env").items() if value is not None}


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise SettingsError([f"BELLCRIER_CONFIG or --config: there is no file {path}."]) from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: it is not valid TOML: {error}."]) from None
    except OSError as error:
        raise SettingsError([f"{path}: it cannot be read: {error.strerror}."]) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """`BELLCRIER_A__B=x` becomes {"a": {"b": "x"}}; the conventional names come first, so ours win over them."""
    found: dict[str, Any] = {
        name: environment[variable] for variable, name in CONVENTIONAL.items() if environment.get(variable)
    }
    for variable, value in environment.items():
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS:
            _place(found, variable.removeprefix(PREFIX).lower().split("__"), value)
    return found


def _place(tree: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        else:
            base[name] = value


def _complaint(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    name = SPOKEN.get(place, place)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _known_names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{name}: there is no such setting.{hint}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}." if name else f"{message}."


def _known_names() -> list[str]:
    tables: tuple[type[BaseModel], ...] = (Settings, AudienceSettings, ApprovalSettings, ApprovalRule)
    return [name for table in tables for name in table.model_fields]


# --- what running needs ----------------------------------------------------------------------------------------------


def require_slack(settings: Settings) -> None:
    """Raises SettingsError when there is no road to Slack and back."""
    missing = []
    if settings.slack_bot_token is None:
        missing.append("SLACK_BOT_TOKEN: it is missing. Copy the bot token (xoxb-…) from the app's page at Slack.")
    if settings.slack_app_token is None and settings.slack_signing_secret is None:
        missing.append(
            "SLACK_APP_TOKEN: it is missing. Set it (xapp-…) for Socket Mode, or SLACK_SIGNING_SECRET for HTTP."
        )
    if missing:
        raise SettingsError(missing)


def secret_key_for(settings: Settings) -> bytes:
    """The 32 bytes of `secret_key`; without one, a key that is made once and kept beside the SQLite file."""
    if settings.secret_key is not None:
        return _decoded(settings.secret_key)
    database = make_url(settings.database_url).database or "bellcrier.db"
    path = Path(f"{database}.key")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _kept_key(path)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)))
    return _kept_key(path)


def _kept_key(path: Path) -> bytes:
    key = _decoded(SecretStr(path.read_text().strip()))
    if len(key) != 32:
        raise SettingsError([f"secret_key: the key kept in {path} is damaged. Restore it, or set secret_key."])
    return key


SECRET_WORDS = ("token", "secret", "key", "password", "login", "customer_account", "subscribers")


def masked(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values, every secret and number masked."""
    plain: dict[str, Any] = _mask(settings.model_dump(mode="json"))
    url = make_url(settings.database_url)
    plain["database_url"] = url.render_as_string(hide_password=True)
    return plain


def _mask(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _mask(item, key) for key, item in value.items()}
    if value and any(word in name for word in SECRET_WORDS):
        return "***"
    return value
