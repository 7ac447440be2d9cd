"""Loads the settings, and finds or makes the secret key."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import make_url

from bot.config.complaints import complaint, sentence
from bot.config.misfits import misfits
from bot.config.settings import Settings, SettingsError, decoded
from bot.config.sources import Steps, Written, gather, named_files
from bot.config.workspaces import wrong_with_workspaces
from bot.storage.addresses import backend

MOST_WRONG = 1000  # rounds of leaving out what is wrong


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this file (else `BELLCRIER_CONFIG`, else `bellcrier.toml` here), `.env` and the environment.

    The environment wins over `.env`, and both over the file. Raises SettingsError.
    """
    settings, wrong = load_what_is_right(path, environ)
    if wrong:
        raise SettingsError(wrong)
    return settings


def load_what_is_right(
    path: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """The same without the settings that are wrong, and what is wrong with them, so that the others can be checked."""
    written = gather(path, os.environ if environ is None else environ)
    return what_is_right(written) if not written.wrong else (Settings(), written.wrong)


def parse(raw: Mapping[str, Any]) -> Settings:
    """Settings from a plain dict. Raises SettingsError."""
    settings, wrong = what_is_right(Written(dict(raw)))
    if wrong:
        raise SettingsError(wrong)
    return settings


def what_is_right(written: Written) -> tuple[Settings, list[str]]:
    """Settings without those that are wrong, and what is wrong with them."""
    tree, wrong = written.tree, dict[Steps, str]()
    for _ in range(MOST_WRONG):
        try:
            settings = Settings.model_validate(tree)
            break
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False):
                if not any(detail["loc"][: len(place)] == place for place in wrong):  # what was left out is missing now
                    wrong[detail["loc"]] = complaint(detail, written)
            for place in sorted((detail["loc"] for detail in error.errors()), key=str, reverse=True):
                tree = _without(tree, place)
    else:
        return Settings(), list(wrong.values())
    settings.remember(written)
    wrong |= {steps: sentence(written, steps, what) for steps, what in misfits(settings, written.tree)}
    told = [*wrong.values(), *wrong_with_workspaces(settings)]
    known = {name: one for name, one in settings.audiences.items() if one.account in settings.accounts}
    return (settings.model_copy(update={"audiences": known}) if told else settings), told


def _without(tree: Any, place: Steps) -> Any:
    """Return a copy without what is at this place, or without the innermost table around it."""
    if isinstance(tree, list) and place and isinstance(place[0], int) and place[0] < len(tree):
        return [_without(one, place[1:]) if at == place[0] else one for at, one in enumerate(tree)]
    if not isinstance(tree, dict) or not place or place[0] not in tree:
        return tree
    inside = tree[place[0]]
    ends = not isinstance(inside, dict) or len(place) == 1 or (len(place) == 2 and place[1] not in inside)
    rest = {name: one for name, one in tree.items() if name != place[0]}
    return rest if ends else rest | {place[0]: _without(inside, place[1:])}


def settings_files(path: Path | None = None) -> list[Path]:
    """The files that `load` reads: that of the settings, `.env`, and those of a secret each."""
    return named_files(path, os.environ)


def require_slack(settings: Settings) -> None:
    """Raise SettingsError if the bot cannot reach Slack, or Slack cannot reach the bot."""
    if missing := list(missing_of_slack(settings)):
        raise SettingsError(missing)


def missing_of_slack(settings: Settings) -> Iterator[str]:
    """What is missing to reach Slack, and for Slack to reach the bot."""
    many = settings.slack_client_id is not None and settings.slack_client_secret is not None
    if settings.is_written("slack_bot_token") and many:
        yield "SLACK_BOT_TOKEN: it is for one workspace, and SLACK_CLIENT_ID is for many. Leave one of them out."
    if many and settings.public_url is None:
        yield "public_url: it is missing. Slack brings people back there when they have installed the bot."
    if not settings.is_written("slack_bot_token") and not settings.is_written("slack_client_id"):
        what = "it is missing. Copy the bot token (xoxb-…) from the app's page at Slack."
        yield f"SLACK_BOT_TOKEN: {what}{_meant(settings, 'SLACK_BOT_TOKEN')}"
    if not settings.is_written("slack_app_token") and not settings.is_written("slack_signing_secret"):
        what = "it is missing. Set it (xapp-…) for Socket Mode, or SLACK_SIGNING_SECRET for HTTP."
        yield f"SLACK_APP_TOKEN: {what}{_meant(settings, 'SLACK_APP_TOKEN', 'SLACK_SIGNING_SECRET')}"


def _meant(settings: Settings, *names: str) -> str:
    """Return a question about a variable that may be meant for one of these."""
    for name in names:
        if (other := settings.written().look_alike(name)) is not None:
            return f" Is {other} meant to be {name}?"
    return ""


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
