"""Reads the settings from a file and the environment, and shows them without their secrets.

The environment is read here and not by pydantic-settings, which ignores a misspelt variable, refuses lists with commas,
and reads a token of digits as a number.
"""

from __future__ import annotations

import base64
import difflib
import os
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy.engine import make_url

from bot.config.settings import ApprovalRule, ApprovalSettings, AudienceSettings, Settings, SettingsError, decoded
from bot.storage.addresses import backend, shown

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
VARIABLES = {name: variable for variable, name in CONVENTIONAL.items()}
NOT_SETTINGS = frozenset({"BELLCRIER_CONFIG"})


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this file (else `BELLCRIER_CONFIG`, else `bellcrier.toml` here), `.env` and the environment.

    The environment wins over `.env`, and both over the file. Raises SettingsError.
    """
    environment = {**_dotenv(), **(os.environ if environ is None else environ)}
    named = path or (Path(environment["BELLCRIER_CONFIG"]) if environment.get("BELLCRIER_CONFIG") else None)
    file = named or Path(FILE)
    raw = _read_file(file, required=named is not None)
    _merge(raw, _from_environment(_with_files(environment)))
    raw.setdefault("database_url", f"sqlite:///{file.parent / 'bellcrier.db'}")
    return parse(raw)


def settings_files(path: Path | None = None) -> list[Path]:
    """The files that `load` reads: that of the settings, `.env`, and those of a secret each."""
    named = path or os.environ.get("BELLCRIER_CONFIG")
    return [Path(named or FILE), Path(".env"), *(Path(file) for _, _, file in _named_files(os.environ) if file)]


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


def _with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with what is kept in files: `X_FILE=path` for X, and systemd's credentials. Raises SettingsError.

    A credential is called as its variable: `SLACK_BOT_TOKEN`, or `BELLCRIER_ACCOUNTS__ENCOM__TOKEN`.
    """
    found = _credentials(environment.get("CREDENTIALS_DIRECTORY"))
    found |= {name: value for name, value in environment.items() if value or name not in found}
    for variable, name, path in _named_files(environment):
        found.pop(variable, None)
        if not path:  # not set
            continue
        if environment.get(name):
            raise SettingsError([f"{variable}: {name} is set too. Keep one of them."])
        found[name] = _secret_in(Path(path), variable)
    return found


def _named_files(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each `X_FILE`, X, and the file, which may be empty."""
    for variable, path in environment.items():
        name = variable.removesuffix("_FILE")
        is_ours = name in CONVENTIONAL or (name.startswith(PREFIX) and name not in NOT_SETTINGS)
        if name != variable and not name.endswith("_") and is_ours:  # `A__FILE` is a setting called `file`
            yield variable, name, path


def _credentials(folder: str | None) -> dict[str, str]:
    if not folder:
        return {}
    files = [
        file for file in sorted(Path(folder).glob("*")) if file.name in CONVENTIONAL or file.name.startswith(PREFIX)
    ]
    return {file.name: _secret_in(file, f"the credential {file.name}") for file in files}


def _secret_in(path: Path, name: str) -> str:
    """What the file holds, without the line break that editors add."""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise SettingsError([f"{name}: there is no file {path}."]) from None
    except OSError as error:
        raise SettingsError([f"{name}: {path} cannot be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{name}: {path} is no text in UTF-8."]) from None
    if not found:
        raise SettingsError([f"{name}: {path} is empty."])
    return found


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
    name = VARIABLES.get(place, place)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _known_names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{name}: there is no such setting.{hint}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}." if name else f"{message}."


def _known_names() -> list[str]:
    tables: tuple[type[BaseModel], ...] = (Settings, AudienceSettings, ApprovalSettings, ApprovalRule)
    return [name for table in tables for name in table.model_fields]


def require_slack(settings: Settings) -> None:
    """Raise SettingsError if the bot cannot reach Slack, or Slack cannot reach the bot."""
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
    """The 32 bytes of `secret_key`; without one, a key that is created once and kept beside the SQLite file."""
    path = made_key_file(settings)
    if path is None:
        return present_key(settings) or b""
    write_key(path, secrets.token_bytes(32))
    return _kept_key(path)


def made_key_file(settings: Settings) -> Path | None:
    """Where the key is kept that was made for an SQLite file; None where `secret_key` is set."""
    if settings.secret_key is not None:
        return None
    return Path(f"{sqlite_file(settings) or 'bellcrier.db'}.key")


def sqlite_file(settings: Settings) -> Path | None:
    """The file of an SQLite database."""
    if backend(settings.database_url) != "sqlite":
        return None
    file = make_url(settings.database_url).database
    return Path(file) if file else None


def present_key(settings: Settings) -> bytes | None:
    """The secret key, if there is one already. Makes none."""
    if settings.secret_key is not None:
        return decoded(settings.secret_key)
    path = made_key_file(settings)
    return _kept_key(path) if path is not None and path.exists() else None


def write_key(path: Path, key: bytes) -> None:
    """Keep this key for its user alone, unless there is one already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(key))


def _kept_key(path: Path) -> bytes:
    key = decoded(SecretStr(path.read_text().strip()))
    if len(key) != 32:
        raise SettingsError([f"secret_key: the key kept in {path} is damaged. Restore it, or set secret_key."])
    return key


SECRET_WORDS = ("token", "secret", "key", "password", "login", "customer_account", "subscribers")


def masked(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values, with every secret and number masked."""
    plain: dict[str, Any] = _mask(settings.model_dump(mode="json"))
    plain |= {name: shown(plain[name]) for name in ("database_url", "database_direct_url") if plain[name]}
    return plain


def _mask(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _mask(item, key) for key, item in value.items()}
    if value and any(word in name for word in SECRET_WORDS):
        return "***"
    return value
