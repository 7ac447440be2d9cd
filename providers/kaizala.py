"""Microsoft Kaizala: chat to a group. The service was retired on 31 August 2023; this is tested against a stand-in.

Facts: MicrosoftDocs/kaizala-docs, Articles/connectors (messages, Tokens, API, groups), removed in March 2024.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import Field, SecretStr, field_validator

from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
    Audience,
    AudienceFound,
    AudienceKind,
    Capabilities,
    Check,
    Message,
    Provider,
    ProviderError,
    Refused,
    Seconds,
    Staged,
    TextLimits,
    Transport,
    Unavailable,
    Uncertain,
    Vault,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable
from providers.reading import UNREADABLE, code_of, count_of, holds, id_of, word_of

BASE_URL = "https://api.kaiza.la/v1"
RETIRED = "Microsoft retired Kaizala on 31 August 2023. It works only against a stand-in."
GONE = "Kaizala cannot be reached: Microsoft retired it on 31 August 2023."
OWN_HOSTS = re.compile(r"[a-z0-9.-]+\.(?:kaiza\.la|osi\.office\.net)")  # where it is known to send its users
PORTS = {"https": 443, "http": 80}
NOTHING_GIVEN = "Kaizala's answer contains no token."
NOT_TAKEN = "Kaizala did not accept the connector's secret or its refresh token."
EARLY = 600  # seconds before its expiry at which an access token is renewed

REFUSALS: Mapping[int, tuple[str, str | None]] = {
    400: ("Kaizala did not accept the message.", None),
    401: ("Kaizala did not accept the connector's tokens.", "refresh_token"),
    403: (
        "Kaizala does not let this connector send there. The connector needs to be an admin of the group.",
        "application_id",
    ),
    404: ("Kaizala does not know the group {group}.", None),
}


class KaizalaSettings(AccountSettings):
    base_url: str = BASE_URL
    timeout: Seconds = 60.0  # the vendor's own advice
    requests_per_second: float = Field(default=1.5, gt=0, le=1000)  # 100 calls a minute per connector
    application_id: str = Field(min_length=1)
    application_secret: SecretStr
    refresh_token: SecretStr

    @field_validator("application_secret", "refresh_token")
    @classmethod
    def _real(cls, value: SecretStr) -> SecretStr:
        return real_secret(value)


@dataclass(frozen=True)
class Access:
    """An access token, where it is valid, and until when (Unix seconds)."""

    token: str
    endpoint: str
    until: float


class Kaizala(Provider):
    """A message to a group, in one step. Afterwards nothing can be read back or recalled."""

    name = "kaizala"
    title = "Kaizala"
    Settings = KaizalaSettings
    capabilities = Capabilities(
        audiences=frozenset({AudienceKind.GROUP}),
        discovers=True,
        sizes=True,
        text=TextLimits(max_gsm7=4000, max_ucs2=4000, max_parts=1, segments=False),
        not_processed=frozenset({401, 308}),  # an expired access token; the user's endpoint has moved
        legacy=RETIRED,
    )
    settings: KaizalaSettings

    def __init__(self, account: str, settings: KaizalaSettings, transport: Transport, vault: Vault) -> None:
        super().__init__(account, settings, transport, vault)
        self._access: Access | None = None
        self._refreshing = asyncio.Lock()

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """One POST. A 401 and a 308 are documented as not processed, so each is retried once."""
        body: dict[str, object] = {"message": message.text}
        if message.audience.everyone:
            body["sendToAllSubscribers"] = True
        elif message.audience.subscribers:
            body["subscribers"] = list(message.audience.subscribers)
        group = message.audience.id
        answer = await self._authorised("POST", f"groups/{quote(group, safe='')}/messages", json=body, release=True)
        if 200 <= answer.status < 300:
            return Accepted((_reference(answer),))
        raise _refusal(answer, group) or not_understood(answer, _error_code(_fields(answer)) or None)

    async def audiences(self) -> list[AudienceFound]:
        query = {"fetchAllGroups": "true", "showDetail": "true", "showDetails": "true"}
        return [found for found, _ in _groups(await self._read("groups", query))]

    async def size(self, audience: Audience) -> AudienceFound | None:
        """The size of a group. It is documented, so a missing size or a missing group counts as `UNREADABLE`."""
        answer = await self._read(f"groups/{quote(audience.id, safe='')}", {"showDetails": "true"}, audience.id)
        ours = [(group, raw) for group, raw in _groups(answer) if group.id.casefold() == audience.id.strip().casefold()]
        found, entry = ours[0] if ours else (AudienceFound(audience.kind, audience.id, "", UNREADABLE), {})
        _may_reach(audience, entry)
        if not audience.subscribers:
            return found
        return AudienceFound(found.kind, found.id, found.name, len(audience.subscribers))

    async def check(self) -> Check:
        await self._token()
        return Check()

    async def _read(self, path: str, query: Mapping[str, str], group: str = "") -> Answer:
        answer = await self._authorised("GET", path, query=query)
        if answer.status == 200:
            return answer
        raise _refusal(answer, group) or Unavailable("Kaizala answered {status}.", status=answer.status)

    # --- tokens ------------------------------------------------------------------------------------------------------

    async def _authorised(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: object | None = None,
        release: bool = False,
    ) -> Answer:
        access, answered = await self._token(), set[int]()
        while True:
            answer = await self._send(access, method, path, query, json, release)
            if answer.status not in (401, 308) or answer.status in answered:
                return answer
            answered.add(answer.status)
            access = await self._token(stale=access) if answer.status == 401 else self._moved(access, answer)

    async def _send(
        self,
        access: Access,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        json: object | None,
        release: bool,
    ) -> Answer:
        url = f"{access.endpoint}/v1/{path}"
        return await self.transport.call(
            method, url, query=query, json=json, headers={"accessToken": access.token}, release=release
        )

    def _moved(self, access: Access, answer: Answer) -> Access:
        """Follow the user's endpoint, which has moved to the address in `Location`, but only to the vendor."""
        endpoint = self._endpoint(answer.headers.get("location"))
        if endpoint is None:
            raise Uncertain("Kaizala redirected us to an address that is not its own, so we did not follow.")
        self._access = Access(access.token, endpoint, access.until)
        return self._access

    def _endpoint(self, address: object) -> str | None:
        """The root of an address that may receive the token; None for any other, and for one that names a user.

        These are the account's own origin, and the vendor's own hosts over https at the usual port.
        """
        parts, own = _split(address), _split(self.settings.base_url)
        if parts is None or "@" in parts.netloc:
            return None
        host, there = parts.hostname or "", _origin(parts)
        if (own is None or there != _origin(own)) and (
            there != ("https", host, PORTS["https"]) or not OWN_HOSTS.fullmatch(host)
        ):
            return None
        return f"{parts.scheme}://{parts.netloc}{_before_v1(parts.path)}"

    async def _token(self, stale: Access | None = None) -> Access:
        """A token that is valid for ten more minutes. There is one renewal at a time, however many callers ask."""
        async with self._refreshing:
            current = self._access
            if current is not None and current is not stale and current.until - EARLY > time():
                return current
            self._access = await self._renew()
            return self._access

    async def _renew(self) -> Access:
        refresh = await self.vault.load("refresh_token") or self.settings.refresh_token.get_secret_value()
        try:
            headers = self._credentials(refresh.strip())
            answer = await self.transport.call("GET", "accessToken", headers=headers, harmless=True)
        except ProviderError as error:  # nothing was sent: this only asked for a token
            if isinstance(error, Uncertain | Unavailable):
                raise Unavailable(GONE, detail=error.detail) from None
            raise
        if answer.status != 200:
            raise self._token_refused(answer)
        return await self._accessed(answer)

    def _credentials(self, refresh: str) -> dict[str, str]:
        return {
            "applicationId": self.settings.application_id,
            "applicationSecret": self.settings.application_secret.get_secret_value(),
            "refreshToken": refresh,
        }

    def _token_refused(self, answer: Answer) -> ProviderError:
        if answer.status == 429:
            return throttled(answer, _error_code(_fields(answer)) or None)
        if answer.status in (400, 401, 403):
            return Refused(NOT_TAKEN, code=_vendors_code(answer), setting="refresh_token")
        return Unavailable("Kaizala answered {status} instead of a token.", status=answer.status)

    async def _accessed(self, answer: Answer) -> Access:
        fields = _fields(answer)
        token, code = _secret(fields.get("accessToken")), _error_code(fields)
        if code and not token:
            raise Refused(NOT_TAKEN, code=code, setting="refresh_token")
        if not token or _has_error(fields):
            raise Unavailable(NOTHING_GIVEN)
        endpoint = self._endpoint(fields.get("endpointUrl"))
        if endpoint is None:
            raise Unavailable("Kaizala's answer contains no token, or names an address that is not its own.")
        rotated = _secret(fields.get("refreshToken"))
        if rotated:  # late in its life each call returns a new one and ends the old one
            await self.vault.save("refresh_token", rotated)
        return Access(token, endpoint, _expiry(fields.get("accessTokenExpiry")))


def _secret(value: object) -> str:
    """A token that can go in a header; ``""`` for anything else, such as null while there is none."""
    text = value.strip() if isinstance(value, str) and holds(value) else ""
    return text if text.isascii() and text.isprintable() and " " not in text else ""


def _expiry(value: object) -> float:
    """Milliseconds since 1970 as Unix seconds. An unreadable one counts as past: such a token serves one call."""
    try:
        until = float(value) / 1000 if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return until if math.isfinite(until) else 0.0


def _split(address: object) -> SplitResult | None:
    """The parts of an address, if its host and port can be read."""
    try:
        parts = urlsplit(address.strip()) if isinstance(address, str) else None
        return parts if parts and parts.scheme in PORTS and parts.hostname and _origin(parts) else None
    except ValueError:
        return None


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", PORTS[parts.scheme] if parts.port is None else parts.port


def _before_v1(path: str) -> str:
    """The root of a path: `/`, `` and `/v1/groups/…` all have the same one. A stand-in may live under a path."""
    return path.split("/v1")[0].rstrip("/")


def _refusal(answer: Answer, group: str) -> ProviderError | None:
    """The error for a documented refusal, or None. `group`: as in the settings."""
    if answer.status == 429:
        return throttled(answer, _error_code(_fields(answer)) or None)
    if answer.status in REFUSALS:
        template, setting = REFUSALS[answer.status]
        return Refused(template, code=_vendors_code(answer), setting=setting, group=group)
    return None


def _vendors_code(answer: Answer) -> str:
    """Its `errorCode`, for people who look it up; the status if it has none."""
    return _error_code(_fields(answer)) or str(answer.status)


def _fields(answer: Answer) -> dict[str, Any]:
    """The fields of the body; none if it is not a JSON object."""
    try:
        fields = answer.json()
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _error_code(fields: Mapping[str, Any]) -> str:
    """The `errorCode`; ``""`` if it says nothing, as null, an empty text and 0 do, or cannot be read."""
    return id_of(fields.get("errorCode"))[:40] if _has_error(fields) else ""


def _has_error(fields: Mapping[str, Any]) -> bool:
    return code_of(fields.get("errorCode")) is not None


def _reference(answer: Answer) -> str:
    """The `referenceId`. A 2xx with an `errorCode` is a refusal; with neither, or both, it says nothing."""
    fields = object_of(answer)
    given = fields.get("referenceId")
    reference, code = id_of(given) if isinstance(given, str) else "", _error_code(fields)
    if reference and not _has_error(fields):
        return reference
    if code and not holds(given):
        raise Refused("Kaizala refused the message.", code=code)
    raise unreadable(answer)


def _may_reach(audience: Audience, entry: Mapping[str, Any]) -> None:
    """Raise Refused if the connector cannot reach these subscribers.

    Only a public group has subscribers, and only its admin may write to all of them. A group that does not say what it
    is passes: then the vendor decides.
    """
    kind, role = word_of(entry.get("groupType")), word_of(entry.get("callerRole"))
    if (audience.everyone or audience.subscribers) and kind not in ("", "CONNECTGROUP"):
        raise Refused("Only a public Kaizala group has subscribers, and {group} is not one.", group=audience.id)
    if audience.everyone and role not in ("", "ADMIN"):
        raise Refused(REFUSALS[403][0], setting=REFUSALS[403][1])


def _groups(answer: Answer) -> list[tuple[AudienceFound, Mapping[str, Any]]]:
    """The groups in the answer. Those without an id are left out."""
    fields = _fields(answer)
    entries = fields.get("groups")
    if not isinstance(entries, list) or _has_error(fields):
        raise Unavailable("Kaizala's groups cannot be read.", code=_error_code(fields) or None)
    found = [(_group(entry), entry) for entry in entries if isinstance(entry, dict)]
    return [(group, entry) for group, entry in found if group.id]


def _group(entry: Mapping[str, Any]) -> AudienceFound:
    name, size = id_of(entry.get("groupName")), count_of(entry.get("userCount"))
    return AudienceFound(AudienceKind.GROUP, id_of(entry.get("groupId")), name, size)
