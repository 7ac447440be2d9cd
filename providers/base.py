"""The contract between the bot and any vendor: words, capabilities, errors and the `Provider` class itself.

This file is public: third-party adapters implement it and join through the entry-point group `bellcrier.providers`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from providers.decoding import decoded, json_in
from providers.durations import Duration, Seconds
from providers.errors import Blocked, NotReady, ProviderError, Refused, Throttled, Unavailable, Uncertain
from providers.guard import ReleaseGuard, last_moment, releasing

#: What adapters use, whichever file holds it.
__all__ = [
    "Accepted",
    "AccountSettings",
    "Answer",
    "Audience",
    "AudienceFound",
    "AudienceKind",
    "Blocked",
    "Callback",
    "Capabilities",
    "Check",
    "DeliveryStatus",
    "Duration",
    "Evidence",
    "Message",
    "NotReady",
    "Paced",
    "Provider",
    "ProviderError",
    "Purpose",
    "Quote",
    "Receipt",
    "ReceiptKind",
    "Receipts",
    "Refused",
    "ReleaseGuard",
    "Seconds",
    "Staged",
    "TextLimits",
    "Throttled",
    "Transport",
    "Unavailable",
    "Uncertain",
    "Vault",
    "last_moment",
    "open_for_quote",
    "real_secret",
    "releasing",
]


class AudienceKind(StrEnum):
    LIST = "list"
    TAG = "tag"
    GROUP = "group"


class Purpose(StrEnum):
    """Decides approval, sending hours, the opt-out mention and the vendor's route."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


class DeliveryStatus(StrEnum):
    """Where one message to one recipient is. Never the state of a broadcast."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    BLACKLISTED = "blacklisted"
    EXPIRED = "expired"
    OTHER = "other"


class Receipts(StrEnum):
    """How receipts reach us."""

    NONE = "none"
    PER_DISPATCH = "per_dispatch"  # each send carries its own callback address
    ACCOUNT = "account"  # one callback address, set once at the vendor for the whole account


class ReceiptKind(StrEnum):
    DELIVERY = "delivery"
    REPLY = "reply"
    OPT_OUT = "opt_out"


@dataclass(frozen=True)
class TextLimits:
    """How long a text may be. `segments` False: chat, counted in UTF-16 units and without parts."""

    max_gsm7: int = 1224
    max_ucs2: int = 536
    max_parts: int = 8
    segments: bool = True


@dataclass(frozen=True)
class Capabilities:
    """What this vendor supports. The form, the limits, the buttons and the docs' table read it."""

    audiences: frozenset[AudienceKind]
    two_step: bool = False
    receipts: Receipts = Receipts.NONE
    polls: bool = False
    looks_up: bool = False
    recalls_staged: bool = False
    discovers: bool = False
    quotes: bool = False
    sizes: bool = False
    id_each: bool = False  # every recipient has their own id, so fewer ids than people must be reported
    id_pattern: str | None = None  # a full-match regular expression of its audiences' ids; None: any text
    id_rule: str = ""  # what that means, as a sentence
    sender_pattern: str | None = None  # a full-match regular expression; None: the vendor takes no sender ID
    sender_rule: str = ""  # what that means, as a sentence
    text: TextLimits = field(default_factory=TextLimits)
    placeholders: tuple[str, ...] = ()
    not_processed: frozenset[int] = frozenset()  # statuses of a release that the vendor documents as "nothing was done"
    reasons: Mapping[str, str] = field(default_factory=dict)  # its words for a delivery that failed, as people say them
    replaces: tuple[str, ...] = ()  # strings that the vendor replaces wherever they occur in a text
    legacy: str | None = None  # a sentence, shown wherever a person meets the vendor


@dataclass(frozen=True)
class Audience:
    """Who receives it, in the vendor's own words: a list's id or name, a tag, a group's id."""

    kind: AudienceKind
    id: str
    everyone: bool = False
    subscribers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """Exactly what was approved, and what identifies this one attempt.

    `dispatch` is unique for each attempt and safe in a URL; `callback_url` is unguessable and only for this dispatch.
    """

    dispatch: str
    text: str
    audience: Audience
    purpose: Purpose
    sender: str | None = None
    campaign: str | None = None
    callback_url: str | None = None


@dataclass(frozen=True)
class Staged:
    """A campaign prepared at the vendor. Nothing has been sent. `cost` is for the whole campaign, in `currency`."""

    id: str
    ready: bool = True
    contacts: int | None = None
    cost: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Accepted:
    """The vendor accepted it. `ids` as the vendor wrote them; `sending_at` in ISO 8601, if the vendor gives it."""

    ids: tuple[str, ...]
    sending_at: str | None = None


@dataclass(frozen=True)
class Receipt:
    """News of one message to one recipient.

    `recipient` is the number as the vendor writes it, "" if the id alone says who; the bot keeps only a keyed hash of
    it. `word` is the vendor's own status word, shown when the bot does not know it.
    """

    id: str
    status: DeliveryStatus
    word: str
    recipient: str = ""
    final: bool = False
    kind: ReceiptKind = ReceiptKind.DELIVERY
    text: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What a look-up found. Only `sent` True is proof; absence proves nothing. `values` fill the `sentence`."""

    sent: bool
    sentence: str
    ids: tuple[str, ...] = ()
    values: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class AudienceFound:
    """An audience that the vendor knows. `unnamed`: recipients without a name; None if the vendor does not say."""

    kind: AudienceKind
    id: str
    name: str
    size: int | None = None
    unnamed: int | None = None


@dataclass(frozen=True)
class Quote:
    contacts: int | None
    cost: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Check:
    """An account that works. `credit` is in the vendor's unit, if it gives one."""

    credit: Decimal | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Callback:
    """One HTTP request from a vendor, already within the size limit and on a known token.

    If its body is empty, the query string is the form.
    """

    content_type: str
    body: bytes

    def fields(self) -> dict[str, str]:
        """The flat fields of a JSON object or a form, as text. Raises ValueError when it is neither.

        A list of one object counts as that object. A null field becomes ``""``, a whole number loses its fraction
        (22.0 becomes ``"22"``), and characters that cannot be stored are replaced.
        """
        text = decoded(self.body, self.content_type)
        if text.lstrip().startswith(("{", "[")) or "json" in self.content_type.lower():
            value = json_in(self.body, self.content_type)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if not isinstance(value, dict):
                raise ValueError("the callback is JSON but no object")
            return {_storable(key): _flat(item) for key, item in value.items()}
        return {_storable(key): _storable(value) for key, value in self._form()}

    def _form(self) -> Iterator[tuple[str, str]]:
        """The fields of a form. Its characters are bytes, plain or percent-encoded; the charset decodes them."""
        raw = self.body.decode("latin-1")  # one character for each byte
        for pair in parse_qsl(raw, keep_blank_values=True, max_num_fields=200, encoding="latin-1"):
            key, value = (decoded(part.encode("latin-1"), self.content_type) for part in pair)
            yield key, value


def _flat(value: object) -> str:
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else json.dumps(value)


def _storable(text: str) -> str:
    """Replace half a surrogate pair, which has no bytes, and NUL, which PostgreSQL text cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


@dataclass(frozen=True)
class Answer:
    """A vendor's whole HTTP answer, at most `providers.http.BODY_CAP` bytes of it. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body, whatever its charset (see `decoded`). Raises ValueError when it is not JSON."""
        return json_in(self.body, self.headers.get("content-type", ""))


#: If set, `quote` calls it with a campaign that is open at the vendor only for a quote, as soon as it has an id. The
#: code that set it then discards the campaign with `recall`, even if this process dies. If not set, `quote` does so
#: itself. An adapter need not use it, but then nobody knows of a campaign that it leaves behind when its process dies.
open_for_quote: ContextVar[Callable[[Staged], Awaitable[None]] | None] = ContextVar("open_for_quote", default=None)


class Transport(Protocol):
    """The HTTP that an adapter needs; `providers.http.Http` is the real one."""

    async def call(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        release: bool = False,
        harmless: bool = False,
    ) -> Answer:
        """One HTTP exchange, any status. Raises Unavailable before the first byte has left and Uncertain after it.

        `url`: absolute, or relative to the account's base URL. `release`: this is the one call that makes phones ring,
        so it takes a fresh connection and calls `last_moment` first. `harmless`: like a login, it has no effect on
        anybody's phone. Set it when `Provider.release` makes such a call, even a GET, since many gateways send by GET.
        """
        ...


@runtime_checkable
class Paced(Protocol):
    """A transport that keeps an account's rate, and lets a release wait before the bot commits itself to it."""

    async def turn(self) -> None:
        """Wait until the rate lets one more request through; the next release then goes without waiting."""
        ...


class Vault(Protocol):
    """A few small secrets that an adapter must keep across restarts (a rotated refresh token)."""

    async def load(self, key: str) -> str | None: ...
    async def save(self, key: str, value: str) -> None: ...


class AccountSettings(BaseModel):
    """What every `[accounts.NAME]` table may hold; a provider's own model adds its credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    base_url: str
    timeout: Seconds = 30.0  # for one whole exchange
    requests_per_second: float = Field(default=5.0, gt=0, le=1000)
    test_audience: str | None = None
    show_replies: bool = False
    low_credit: Decimal | None = Field(default=None, ge=0)  # in the vendor's unit

    @field_validator("timeout")
    @classmethod
    def _within_reason(cls, value: float) -> float:
        if not 0 < value <= 300:
            raise ValueError("must be more than 0 and at most 5m; 30s is a good choice")
        return value


EXAMPLE = re.compile(r"(?i)^\W*$|^(x{3,}|changeme|change-me|example|secret|token|your[-_ ].*)$")


def real_secret(value: SecretStr) -> SecretStr:
    """For validators: a secret that is neither blank nor an example. Raises ValueError without the value."""
    if EXAMPLE.match(value.get_secret_value().strip()):
        raise ValueError("this is blank or an example; put the real secret there")
    return value


class Provider(ABC):
    """One account at one vendor. Only `release` must be implemented; the rest answers neutrally until overridden."""

    name: ClassVar[str]
    title: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    Settings: ClassVar[type[AccountSettings]]

    def __init__(self, account: str, settings: AccountSettings, transport: Transport, vault: Vault) -> None:
        self.account, self.settings, self.transport, self.vault = account, settings, transport, vault

    @property
    def mention(self) -> str | None:
        """The opt-out mention that marketing must end with on this account; None where there is none."""
        return None

    async def stage(self, message: Message, known: Staged | None = None) -> Staged | None:
        """Prepare at the vendor. Safe to repeat; with `known` it continues with that campaign.

        If the answer's `ready` is False, call again with that answer. None: this vendor has nothing to prepare.
        """
        return None

    @abstractmethod
    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """The one call that makes phones ring. Never called twice for a dispatch, and never retried inside."""

    async def recall(self, staged: Staged) -> None:
        """Discard a staged campaign; one already gone is fine. Raises a ProviderError while it may still be open."""
        return

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        """Look up, read-only, what the vendor did after an unknown outcome."""
        return Evidence(False, "The vendor offers no way to check.")

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        """Read the state of these messages; ids without a known state are left out."""
        return []

    def read_callback(self, callback: Callback) -> list[Receipt]:
        """Read one callback. Raises ValueError when it is not one of this vendor's."""
        raise ValueError("this vendor calls nobody back")

    async def audiences(self) -> list[AudienceFound]:
        """Lists, tags and groups that the vendor can name."""
        return []

    async def size(self, audience: Audience) -> AudienceFound | None:
        """This audience with its size, as of now; None where the vendor does not say."""
        return None

    async def check(self) -> Check:
        """Check the credentials. Raises Refused, naming the setting, if they fail. No side effect at the vendor."""
        return Check()

    async def quote(self, message: Message) -> Quote | None:
        """Size and cost before approval. It creates and discards a campaign for that: see `open_for_quote`."""
        return None
