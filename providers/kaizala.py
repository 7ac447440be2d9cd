"""Microsoft Kaizala: chat to a group. The service was retired on 31 August 2023; this is tested against a stand-in.

Facts: MicrosoftDocs/kaizala-docs, Articles/connectors (messages, Tokens, API, groups), removed in March 2024.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import quote, urlsplit

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
    Staged,
    TextLimits,
    Transport,
    Unavailable,
    Uncertain,
    Vault,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable

BASE_URL = "https://api.kaiza.la/v1"
RETIRED = "Kaizala was retired by Microsoft on 31 August 2023; it works against a stand-in only."
GONE = "Kaizala cannot be reached: Microsoft retired it on 31 August 2023."
OWN_HOSTS = (".kaiza.la", ".osi.office.net")  # where the vendor has been seen to send its users
EARLY = 600  # seconds before its end at which an access token is renewed

REFUSALS: Mapping[int, tuple[str, str | None]] = {
    400: ("Kaizala did not accept the message.", None),
    401: ("Kaizala did not accept the connector's tokens.", "refresh_token"),
    403: ("Kaizala does not let this connector send there: it needs to be an admin of the group.", "application_id"),
    404: ("Kaizala does not know the group {group}.", None),
}


class KaizalaSettings(AccountSettings):
    base_url: str = BASE_URL
    timeout: float = Field(default=60.0, gt=0, le=300)  # the vendor's own advice
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
    """An access token, where it is good, and until when (Unix seconds)."""

    token: str
    endpoint: str
    until: float


class Kaizala(Provider):
    """A message to a group, in one step. Nothing can be read back afterwards, and nothing recalled."""

    name = "kaizala"
    title = "Kaizala"
    Settings = KaizalaSettings
    capabilities = Capabilities(
        audiences=frozenset({AudienceKind.GROUP}),
        discovers=True,
        sizes=True,
        text=TextLimits(max_gsm7=4000, max_ucs2=4000, max_parts=1, segments=False),
        not_processed=frozenset({401, 308}),  # an access token that ended; the user's endpoint has moved
        legacy=RETIRED,
    )
    settings: KaizalaSettings

    def __init__(self, account: str, settings: KaizalaSettings, transport: Transport, vault: Vault) -> None:
        super().__init__(account, settings, transport, vault)
        self._access: Access | None = None
        self._refreshing = asyncio.Lock()

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """One POST. A 401 and a 308 are documented as not processed, so each is answered once with another try."""
        body: dict[str, object] = {"message": message.text}
        if message.audience.everyone:
            body["sendToAllSubscribers"] = True
        elif message.audience.subscribers:
            body["subscribers"] = list(message.audience.subscribers)
        group = message.audience.id
        answer = await self._authorised("POST", f"groups/{quote(group, safe='')}/messages", json=body, release=True)
        if 200 <= answer.status < 300:
            return Accepted((_reference(answer),))
        raise _refusal(answer, group) or not_understood(answer)

    async def audiences(self) -> list[AudienceFound]:
        query = {"fetchAllGroups": "true", "showDetail": "true", "showDetails": "true"}
        return [found for found, _ in _groups(await self._read("groups", query))]

    async def size(self, audience: Audience) -> AudienceFound | None:
        answer = await self._read(f"groups/{quote(audience.id, safe='')}", {"showDetails": "true"})
        found, entry = next(((group, raw) for group, raw in _groups(answer) if group.id == audience.id), (None, {}))
        _may_reach(audience, entry)
        if found is None or not audience.subscribers:
            return found
        return AudienceFound(found.kind, found.id, found.name, len(audience.subscribers))

    async def check(self) -> Check:
        await self._token()
        return Check()

    async def _read(self, path: str, query: Mapping[str, str]) -> Answer:
        answer = await self._authorised("GET", path, query=query)
        if answer.status == 200:
            return answer
        group = path.removeprefix("groups/")
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
        access = await self._token()
        answer = await self._send(access, method, path, query, json, release)
        if answer.status == 401:
            access = await self._token(stale=access)
            answer = await self._send(access, method, path, query, json, release)
        if answer.status == 308:
            access = self._moved(access, answer)
            answer = await self._send(access, method, path, query, json, release)
        return answer

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
        """The user's endpoint has moved; the new one is in `Location`. Followed by hand, and only to the vendor."""
        parts = urlsplit(answer.headers.get("location", ""))
        if not self._is_vendor(parts.hostname or ""):
            raise Uncertain("Kaizala sent us on to a place that is not Kaizala's, so we did not follow.")
        self._access = Access(access.token, f"{parts.scheme}://{parts.netloc}{_before_v1(parts.path)}", access.until)
        return self._access

    def _is_vendor(self, host: str) -> bool:
        own = urlsplit(self.settings.base_url).hostname
        return host == own or host.lower().endswith(OWN_HOSTS)

    async def _token(self, stale: Access | None = None) -> Access:
        """A token that is good for ten minutes yet; one renewal at a time, however many ask."""
        async with self._refreshing:
            current = self._access
            if current is not None and current is not stale and current.until - EARLY > time():
                return current
            self._access = await self._renew()
            return self._access

    async def _renew(self) -> Access:
        refresh = await self.vault.load("refresh_token") or self.settings.refresh_token.get_secret_value()
        try:
            answer = await self.transport.call("GET", "accessToken", headers=self._credentials(refresh.strip()))
        except ProviderError as error:  # nothing has been sent: only a token was asked for
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
            return throttled(answer)
        if answer.status in (400, 401, 403):
            return Refused(
                "Kaizala did not accept the connector's secret or its refresh token.", setting="refresh_token"
            )
        return Unavailable("Kaizala answered {status} instead of a token.", status=answer.status)

    async def _accessed(self, answer: Answer) -> Access:
        try:
            fields = answer.json()
            token, endpoint, until = fields["accessToken"], fields["endpointUrl"], float(fields["accessTokenExpiry"])
            parts = urlsplit(endpoint)
        except (ValueError, KeyError, TypeError):
            raise Unavailable("Kaizala's answer holds no token.") from None
        if not token or not self._is_vendor(parts.hostname or ""):
            raise Unavailable("Kaizala's answer holds no token, or names a place that is not Kaizala's.")
        rotated = fields.get("refreshToken")
        if rotated:  # late in its life each call brings a new one, and the old one dies
            await self.vault.save("refresh_token", str(rotated))
        return Access(str(token), f"{parts.scheme}://{parts.netloc}{_before_v1(parts.path)}", until / 1000)


def _before_v1(path: str) -> str:
    """`/`, `` and `/v1/groups/…` are all the root; a stand-in may live under a path."""
    return path.split("/v1")[0].rstrip("/")


def _refusal(answer: Answer, group: str) -> ProviderError | None:
    if answer.status == 429:
        return throttled(answer)
    if answer.status in REFUSALS:
        template, setting = REFUSALS[answer.status]
        return Refused(template, code=str(answer.status), setting=setting, group=group)
    return None


def _reference(answer: Answer) -> str:
    """The `referenceId`. An `errorCode` under a 200 is a refusal; neither is an answer that cannot be read."""
    fields = object_of(answer)
    reference = fields.get("referenceId")
    if isinstance(reference, str) and 0 < len(reference) <= 200:
        return reference
    if fields.get("errorCode") is not None:
        raise Refused("Kaizala refused the message.", code=str(fields["errorCode"])[:40])
    raise unreadable(answer)


def _may_reach(audience: Audience, entry: Mapping[str, Any]) -> None:
    """All subscribers, or chosen ones, are a public group's; all of them only their admin may write to. A group that
    does not say what it is passes: the vendor decides then."""
    public, role = entry.get("groupType", "ConnectGroup") == "ConnectGroup", entry.get("callerRole", "Admin")
    if (audience.everyone or audience.subscribers) and not public:
        raise Refused("Only a public Kaizala group has subscribers, and {group} is none.", group=audience.id)
    if audience.everyone and role != "Admin":
        raise Refused(REFUSALS[403][0], setting=REFUSALS[403][1])


def _groups(answer: Answer) -> list[tuple[AudienceFound, Mapping[str, Any]]]:
    try:
        entries = answer.json()["groups"]
        return [(_group(entry), entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable("Kaizala's groups cannot be read.") from None


def _group(entry: Mapping[str, Any]) -> AudienceFound:
    count = entry.get("userCount")
    size = count if isinstance(count, int) and not isinstance(count, bool) else None
    return AudienceFound(AudienceKind.GROUP, str(entry["groupId"]), str(entry.get("groupName") or ""), size)
