"""Shows the settings without their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bot.config.settings import Settings
from bot.storage.addresses import shown
from providers.base import AccountSettings

SECRET_NAME = re.compile(
    r"token|secret|key|passw|passphrase|passcode|credential|auth|private|login|customer_account|subscribers",
    re.IGNORECASE,
)
HIDDEN = "***"
USER = re.compile(r"://\S*@")
QUERY = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]*)")
HARMLESS_QUERY = frozenset({"sslmode", "ssl", "timeout", "connect_timeout", "application_name", "target_session_attrs"})


def masked(settings: Settings, models: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """The effective settings as plain values, with every secret and number masked.

    `models`: of each provider's accounts. What no model declares is masked, whatever its name is.
    """
    plain: dict[str, Any] = _mask(settings.model_dump(mode="json"))
    addresses = {"database_url": settings.database_url, "database_direct_url": settings.database_direct_url}
    plain |= {name: shown(address) for name, address in addresses.items() if address}
    for name, raw in settings.accounts.items():
        plain["accounts"][name] = _masked_account(raw, (models or {}).get(str(raw.get("provider"))))
    return plain


def _masked_account(raw: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    fields = (model or AccountSettings).model_fields
    plain = {name: name in fields and "Secret" not in str(fields[name].annotation) for name in raw}
    return {
        name: _mask(value, name) if plain[name] and not isinstance(value, Mapping) else HIDDEN
        for name, value in raw.items()
    }


def _mask(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _mask(item, str(key)) for key, item in value.items()}
    if value and not isinstance(value, bool) and SECRET_NAME.search(name):
        return HIDDEN
    return without_user(value) if isinstance(value, str) else value


def without_user(address: str) -> str:
    """Return an address without its user, its password, and whatever else a query may hide."""
    hidden = USER.sub(f"://{HIDDEN}@", address)
    return QUERY.sub(_masked_part, hidden) if "://" in hidden else hidden


def _masked_part(part: re.Match[str]) -> str:
    return part[0] if part[1] in HARMLESS_QUERY else f"{part[1]}={HIDDEN}"
