"""The contract between the bot and any vendor: words, capabilities, errors and the `Provider` class itself.

This file is public: third-party adapters implement it and join through the entry-point group `bellcrier.providers`.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from threading import Lock
from typing import Annotated, Any, ClassVar, NoReturn, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, field_validator


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
    sender_pattern: str | None = None  # a full-match regular expression; None: the vendor takes no sender ID
    sender_rule: str = ""  # what that means, as a sentence
    text: TextLimits = field(default_factory=TextLimits)
    placeholders: tuple[str, ...] = ()
    not_processed: frozenset[int] = frozenset()  # statuses of a release that the vendor documents as "nothing was done"
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


CHARSET = re.compile(r"""(?i)\bcharset\s*=\s*["']?([^\s"';,]{1,40})""")
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: Python's own notations, which it lists as charsets but no vendor uses.
NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"})


def decoded(body: bytes, content_type: str) -> str:
    """A vendor's bytes as text: by their byte order mark, else by the declared charset, else as UTF-8.

    Anything else is read as Latin-1, where every byte is a character. Codes and ids are ASCII, so a wrong accent beside
    them makes nothing unreadable. An unknown charset counts as none.
    """
    declared = CHARSET.search(content_type)
    names = [name for mark, name in MARKS if body.startswith(mark)]
    names += [declared[1]] if declared else []
    for name in (*names, "utf-8"):
        try:
            if codecs.lookup(name).name.replace("-", "_") not in NO_CHARSETS:
                return body.decode(name)
        except (LookupError, ValueError):  # not a charset's name, or not its bytes
            continue
    return body.decode("latin-1")


def parsed(text: str) -> Any:
    """Parse this JSON. Raises ValueError if it is not JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_in(body: bytes, content_type: str) -> Any:
    """The same for bytes. A declared charset that makes nonsense of them, as UTF-16 does of ASCII, is ignored."""
    try:
        return parsed(decoded(body, content_type))
    except ValueError:
        return parsed(decoded(body, ""))


@dataclass(frozen=True)
class Answer:
    """A vendor's whole HTTP answer, at most `providers.http.BODY_CAP` bytes of it. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body, whatever its charset (see `decoded`). Raises ValueError when it is not JSON."""
        return json_in(self.body, self.headers.get("content-type", ""))


class ProviderError(Exception):
    """The vendor, or the transport to it, refused something.

    `template` with `values` is the plain sentence for the person. It is translated by its template, and never contains
    a secret, a number or a text. `detail` is a redacted note for the operator, `code` the vendor's own code, and
    `setting` the name of the account's setting to look at.
    """

    def __init__(
        self,
        template: str,
        *,
        detail: str = "",
        code: str | None = None,
        setting: str | None = None,
        **values: str | int,
    ) -> None:
        super().__init__(template)
        self.template, self.values = template, values
        self.detail, self.code, self.setting = detail, code, setting

    def __str__(self) -> str:
        try:
            return self.template.format_map(self.values)
        except (LookupError, ValueError, AttributeError, TypeError):  # a sentence with braces that name no value
            return str(self.template)


class Refused(ProviderError):
    """The vendor said no: key, credit, sender ID, text. Asking again will not help."""


class Blocked(ProviderError):
    """Something else at the vendor is in the way, and a person must clear it. Nothing was sent."""


class NotReady(ProviderError):
    """The vendor is still computing. Nothing was sent; ask again later."""


class Throttled(ProviderError):
    """Too fast. Nothing was sent; `wait` is how many seconds the vendor asked for."""

    def __init__(self, wait: float, template: str = "The vendor asked us to slow down.", *, detail: str = "") -> None:
        super().__init__(template, detail=detail)
        self.wait = wait


class Unavailable(ProviderError):
    """The request never left. Safe to ask again."""


class Uncertain(ProviderError):
    """It may have been sent. A look-up, a receipt or a person decides, never a retry."""

    def harmless(self) -> Unavailable:
        """The same error for a call that sends nothing, so it is safe to ask again."""
        error = Unavailable(self.template, detail=self.detail, code=self.code)
        error.values = self.values
        return error


#: Called just before the first byte of a release leaves. It raises when the release must no longer happen (lease
#: lapsed, kill switch) or when one has already left; then nothing leaves. Transports of third-party adapters call it
#: too, preferably through `releasing`.
last_moment: ContextVar[Callable[[], None] | None] = ContextVar("last_moment", default=None)
#: The same, as the bot set it, whatever an adapter sets instead.
_last_moment: ContextVar[Callable[[], None] | None] = ContextVar("_last_moment", default=None)


@contextmanager
def asking(check: Callable[[], None]) -> Iterator[None]:
    """In this block `check` is called just before a release leaves, even if an adapter sets another `last_moment`."""
    tokens = last_moment.set(check), _last_moment.set(check)
    try:
        yield
    finally:
        last_moment.reset(tokens[0])
        _last_moment.reset(tokens[1])


def asked_here() -> Callable[[], None]:
    """The check to call before a release leaves."""
    return _last_moment.get() or last_moment.get() or out_of_turn


def out_of_turn() -> NoReturn:
    """The `last_moment` outside a release: it refuses."""
    raise Refused("The adapter tried to send when it was not its turn, so the bot stopped it.")


#: Statuses for which a vendor did nothing. Not 408, 409 and 425, which may mean that an earlier request was accepted,
#: nor a proxy's 499.
NO = frozenset({400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429})
HARMLESS = 2  # this many in one release are not a login: they may be the messages, declared as harmless


class ReleaseGuard:
    """The bot's `last_moment` during `Provider.release`: only one releasing call leaves, whatever the adapter does.

    The bot believes "nothing was sent" only where the transport itself saw that it may be true. `check` raises when the
    release must no longer happen. `not_processed`: see `Capabilities`. Any thread may ask.
    """

    def __init__(self, check: Callable[[], None], not_processed: frozenset[int] = frozenset()) -> None:
        self._check, self._not_processed = check, not_processed
        self.asked = False  # whether it was asked at all before the end
        self.blocked = False  # a second releasing call was stopped, or was seen too late
        self.held: ProviderError | None = None  # the error with which `check` stopped it
        self.took = True  # whether the vendor may have accepted it, by the last releasing call; True if none was seen
        self._raised: list[ProviderError] = []  # by the transport, or here
        self._left = False  # one has left, and nothing says that the vendor did not process it
        self._status: int | None = None  # of its answer, once that is complete
        self._seen = False  # the bot's own transport saw that answer
        self._no = False  # the last answer to a call that may have sent something said that nothing was done
        self._since = False  # another call left after the release, whose answer is therefore not the last one
        self._effects = 0  # calls that left without being declared a release or harmless, and that nobody refused
        self._harmless = 0  # calls that left and were declared harmless
        self._closed = False
        self._turn = Lock()

    def __call__(self) -> None:
        with self._turn:
            self.asked, self._seen = True, False
            self._raised.clear()
            if self._left or self._closed:
                self.blocked = True
                raise Uncertain(
                    "The adapter tried to send a second time, which is not allowed. The first send may have gone out."
                )
            try:
                self._check()
            except ProviderError as error:
                self.held = self.raising(error, release=True)
                raise
            self.took = True
            self._left, self._since, self._status, self._no = True, False, None, False

    def raising(self, error: ProviderError, *, release: bool = False) -> ProviderError:
        """Record an error that the transport raises: it knows what has left, whatever the adapter knows.

        `release`: the releasing call has no answer.
        """
        self._raised.append(error)
        self.took = self.took and not release
        return error

    def raised(self, error: ProviderError) -> bool:
        """Whether the transport raised this error itself, or the one that the adapter raised it from."""
        return any(one is error or one is error.__cause__ for one in self._raised)

    def answered(self, status: int, *, seen: bool = False) -> None:
        """Record that the releasing call has its whole answer.

        If the vendor documents that nothing was done for this status, one more try may leave. `seen`: by the bot's own
        transport; nobody knows what else any other did.
        """
        self._seen = seen
        nothing_done = status in self._not_processed and self._status is None
        if self._status is not None:  # asked once, but sent twice
            self.blocked = True
        self._status, self._left = status, not nothing_done
        self.took = 200 <= status < 300
        self._no = nothing_done or status in NO

    def leaves(self, *, effect: bool) -> None:
        """Record that the first byte of a call other than the release leaves. `effect`: not declared harmless."""
        with self._turn:
            if effect and self._closed:
                out_of_turn()
            self._no, self._since = False, self._since or self._left
            self._raised.clear()  # none of them is the last word now
            self._effects += effect
            self._harmless += not effect

    def other_answered(self, status: int, *, effect: bool) -> None:
        """Record the answer to such a call. A no means no effect; to a harmless call it says nothing of the send."""
        self._no = effect and status in NO
        self._effects -= self._no

    def close(self) -> None:
        """The release is over, or its caller has given up: nothing more of it leaves."""
        with self._turn:
            self._closed = True

    def nothing_left(self, error: ProviderError, *, ours: bool = False) -> bool:
        """Whether this error may mean that nothing was sent. `ours`: its adapter has no transport but this one.

        After a 3xx or a 5xx nobody knows what the vendor did. An error that makes us try again needs a status that says
        no, except for a vendor's own code for "busy", which our adapters know. The body of a 2xx may say no, but an
        error after a later call says nothing about it.
        """
        if self.blocked or self._effects:
            return False
        if not self._left:
            return ours or self._no or (self.raised(error) and self._harmless < HARMLESS)
        if self._status is None or isinstance(error, Unavailable) or not (ours or self._seen):
            return False
        if isinstance(error, Throttled) or (isinstance(error, NotReady) and not ours):
            return self._status in NO
        return (self._status < 300 and not self._since) or self._status in NO


@contextmanager
def releasing() -> Iterator[ReleaseGuard]:
    """For a custom transport: wrap its one releasing exchange in this block.

    Call the guard that it yields just before the first byte leaves. Pass the status to the guard's `answered` once the
    whole answer is here. A `Refused` or `Blocked` raised in the block before the guard is called means that nothing was
    sent. An error that would make the bot try again is not believed, since nobody else sees that transport. Raises
    Refused if no release is under way, as in a thread without its context.
    """
    check = asked_here()
    guard = check if isinstance(check, ReleaseGuard) else ReleaseGuard(check)
    try:
        yield guard
    except (Refused, Blocked) as error:
        guard.raising(error)
        raise


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


# --- durations in settings -------------------------------------------------------------------------------------------

UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
PARTS = re.compile(r"\s*".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*{unit}(?![a-z]))?" for unit in UNITS), re.ASCII)
BARE = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
LONGEST = 36_500 * UNITS["d"]  # a hundred years: any date computed with it stays valid
NO_DURATION = "must be a duration such as 200ms, 30s, 15m, 1.5h, 1h30m or 2d; a bare number is seconds"


def seconds_of(value: object) -> float:
    """A duration in seconds. Raises ValueError with an example.

    It may be `200ms`, `30s`, `15m`, `1.5h`, `1h30m`, `2d`, a timedelta, or a number (also as text, since the
    environment holds nothing else).
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) <= LONGEST else math.inf
    else:
        seconds = _parsed_seconds(value.strip()) if isinstance(value, str) else math.nan
    if not 0 <= seconds <= LONGEST:  # NaN is neither
        raise ValueError(NO_DURATION)
    return seconds


def _parsed_seconds(text: str) -> float:
    if BARE.fullmatch(text):
        return float(text)
    parts = PARTS.fullmatch(text)
    amounts = {unit: number for unit, number in parts.groupdict().items() if number} if parts else {}
    return sum(float(number) * UNITS[unit] for unit, number in amounts.items()) if amounts else math.nan


def shown_duration(duration: timedelta) -> str:
    """A duration as settings write it: `1h30m`, `200ms`, `0s`."""
    left, parts = round(duration / timedelta(milliseconds=1)), []
    for unit, seconds in UNITS.items():
        number, left = divmod(left, round(seconds * 1000))
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


#: For settings: the one way to write a duration, as a timedelta and as seconds.
Duration = Annotated[
    timedelta,
    BeforeValidator(lambda value: timedelta(seconds=seconds_of(value))),
    PlainSerializer(shown_duration, return_type=str, when_used="json"),
]
Seconds = Annotated[float, BeforeValidator(seconds_of)]


class AccountSettings(BaseModel):
    """What every `[accounts.NAME]` table may hold; a provider's own model adds its credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    base_url: str
    timeout: Seconds = 30.0  # for one whole exchange
    requests_per_second: float = Field(default=5.0, gt=0, le=1000)
    test_audience: str | None = None
    show_replies: bool = False

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
