"""The vendors: one for each account in each mode, three adapters for them, and the line between, where faults occur."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from bot.sending.tokens import token_for
from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
    Audience,
    AudienceFound,
    AudienceKind,
    Blocked,
    Callback,
    Capabilities,
    DeliveryStatus,
    Evidence,
    Message,
    NotReady,
    Provider,
    Quote,
    Receipt,
    ReceiptKind,
    Receipts,
    Refused,
    Staged,
    Throttled,
    Unavailable,
    Uncertain,
    releasing,
)
from providers.guard import ReleaseGuard
from tests.simulation.world import AUDIENCES, CANARY_NUMBER, CANARY_TEXT, SECRET_KEY, TIMEOUT

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.run import World


class Fate(StrEnum):
    """What becomes of one exchange. Only the vendor knows which of them reached it."""

    FINE = "arrives, and so does its answer"
    UNREACHABLE = "never leaves"
    REQUEST_LOST = "is lost on the way"
    ANSWER_LOST = "arrives, and its answer is lost"
    IN_THE_AIR = "arrives long after everybody has given it up"
    SILENT = "arrives, and nothing is ever answered"
    GARBLED = "arrives, and its answer cannot be read"
    LIED = "arrives, and something in its answer is not what it ought to be"
    BAD_GATEWAY = "is answered by a proxy"
    THROTTLED = "is too fast for the vendor"
    REFUSED = "is refused"
    NOT_READY = "comes too soon"
    BLOCKED = "finds another campaign open"


#: Answers that mean that the vendor took nothing.
SAID_NO = {Fate.THROTTLED: 429, Fate.REFUSED: 400, Fate.NOT_READY: 425, Fate.BLOCKED: 409}
FAULTS = tuple(fate for fate in Fate if fate is not Fate.FINE)
#: Values put where an answer should have an id, ids, a size or news; none could be taken for the truth.
LIES: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 10**400, float("nan"), "", "   ", "many", "\x07", "x" * 300),
    *([], [None], ["", "x\ny"], {}, {"ids": None}, [[]], [{"id": 5}]),
)


# --- the vendor ------------------------------------------------------------------------------------------------------


@dataclass
class Campaign:
    id: str
    message: dict[str, Any]
    contacts: int
    ready_at: float
    state: str = "open"  # open | sent | recalled


@dataclass(frozen=True)
class News:
    """The status that one recipient's delivery takes at an instant of the loop's time."""

    at: float
    body: dict[str, Any]


@dataclass
class Sent:
    """A message for which phones rang."""

    message: dict[str, Any]
    ids: tuple[str, ...]
    news: list[News] = field(default_factory=list)

    @property
    def dispatch(self) -> str:
        return str(self.message["dispatch"])

    @property
    def broadcast(self) -> str:
        return self.dispatch.split("-")[0]


class Vendor:
    """One company's side: what it was asked, what it took, and whom it calls back."""

    def __init__(self, world: World, account: str, *, live: bool) -> None:
        self.world, self.account, self.live = world, account, live
        self.sizes = {audience.id: audience.size for audience in AUDIENCES.values() if audience.account == account}
        self.ledger: list[Sent] = []
        self.campaigns: dict[str, Campaign] = {}
        self.away_until = 0.0
        self._count = 0

    def __str__(self) -> str:
        return self.account if self.live else f"{self.account}'s sandbox"

    def handle(self, path: str, body: Mapping[str, Any]) -> Answer:
        status, answer = getattr(self, f"_{path.strip('/')}")(body)
        return Answer(status, {}, json.dumps(answer).encode())

    def asked_to_send(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message that would reach phones; for a campaign, the one that it was prepared with."""
        if path == "/go":
            return self.campaigns[body["campaign"]].message | {"dispatch": body["dispatch"]}
        return dict(body)

    def _send(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if body["to"] not in self.sizes:
            return 400, {}
        people = self.world.chance.randint(1, 3) if self.account == "solo" else 1
        return 200, {"ids": list(self._accept(dict(body), [self._new_id() for _ in range(people)]))}

    def _stage(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Prepare a campaign; the same request again continues with it."""
        known = self.campaigns.get(str(body.get("campaign"))) or self._made_of(body)
        if known is None and body["to"] in self.sizes:
            ready_at = self.world.time() + self.world.chance.choice((0, 0, 2, 20))
            known = Campaign(self._new_id(), dict(body), self.sizes[body["to"]], ready_at)
            self.campaigns[known.id] = known
        if known is None or known.state != "open":
            return 400, {}
        return 200, {"id": known.id, "ready": self.world.time() >= known.ready_at, "contacts": known.contacts}

    def _made_of(self, body: Mapping[str, Any]) -> Campaign | None:
        return next((c for c in self.campaigns.values() if c.message == body and c.state == "open"), None)

    def _go(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        campaign = self.campaigns[body["campaign"]]
        if campaign.state != "open":
            return 400, {}
        campaign.state = "sent"
        return 200, {"ids": list(self._accept(self.asked_to_send("/go", body), [campaign.id]))}

    def _recall(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        campaign = self.campaigns.get(body["campaign"])  # one prepared in the other mode is unknown here
        if campaign is not None and campaign.state == "open":
            campaign.state = "recalled"
        return 200, {}

    def _size(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        size = self.sizes.get(body["to"])
        return (400, {}) if size is None else (200, {"size": size})

    def _look(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Show what was sent, though not always at once; never show what was not sent."""
        mine = [sent for sent in self.ledger if sent.dispatch == body["dispatch"] or body.get("campaign") in sent.ids]
        visible = mine and self.world.chance.random() < 0.7
        return 200, {"ids": list(mine[0].ids) if visible else []}

    def _poll(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        now = self.world.time()
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for sent in self.ledger:
            for news in sent.news:
                if news.at <= now and news.body["id"] in body["ids"]:
                    latest[news.body["id"], news.body["to"]] = news.body
        return 200, {"news": list(latest.values())}

    def _new_id(self) -> str:
        self._count += 1
        return f"{self.account}{'' if self.live else 'T'}{self._count}"

    def _accept(self, message: dict[str, Any], ids: list[str]) -> tuple[str, ...]:
        sent = Sent(message, tuple(ids))
        self.ledger.append(sent)
        self.world.witness.accepted(self, sent)
        if self.account != "mute":
            self._deliver(sent)
        return sent.ids

    def _deliver(self, sent: Sent) -> None:
        """Decide what becomes of each delivery, and plan its callbacks: late, twice, in the wrong order."""
        chance = self.world.chance
        for number, id in enumerate(sent.ids * (1 if len(sent.ids) > 1 else 2)):
            to = f"{CANARY_NUMBER}{chance.randrange(10**4):04}{number}"
            at = self.world.time() + chance.choice((0.1, 3, 60, 4000))
            for word in chance.choice((("SENT", "DELIVERED"), ("SENT", "FAILED"), ("SENT",), ("DELIVERED",), ("HUM",))):
                body = {"id": id, "to": to, "word": word, "kind": "delivery"}
                sent.news.append(News(at, body))
                self._will_call(sent, at, body)
                at += chance.choice((0.1, 10, 900, 40_000))
            if chance.random() < 0.1:
                reply = {"id": id, "to": to, "word": "REPLY", "kind": "reply", "text": f"{CANARY_TEXT}? No, {to}"}
                self._will_call(sent, at, reply)

    def _will_call(self, sent: Sent, at: float, body: dict[str, Any]) -> None:
        chance = self.world.chance
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            when = at + chance.choice((0, 0, 5, 2000, 9 * 24 * 3600))
            self.world.at(when, lambda: self.world.call_back(self.account, self.token_of(sent), body))

    def token_of(self, sent: Sent) -> str:
        """Return the token that ends the callback address: the dispatch's, or the account's, which is pasted once."""
        if self.account == "solo":
            return str(sent.message["callback"]).rsplit("/", 1)[-1]
        return self.token_of_account

    @property
    def token_of_account(self) -> str:
        return token_for(SECRET_KEY, self.account)


# --- the line --------------------------------------------------------------------------------------------------------


class Wire:
    """The transport of one process's account: what leaves, what arrives, and what comes back."""

    def __init__(self, process: Process, vendor: Vendor) -> None:
        self.process, self.world, self.vendor = process, process.world, vendor

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
        if not release:
            return await self._call(url, json, None)
        with releasing() as guard:
            return await self._call(url, json, guard)

    async def _call(self, url: str, json: object | None, guard: ReleaseGuard | None) -> Answer:
        body: dict[str, Any] = dict(json) if isinstance(json, Mapping) else {}
        fate = self.world.fate(release=guard is not None)
        await self.process.seam(f"before {url}")
        if fate is Fate.UNREACHABLE or self.vendor.away_until > self.world.time():
            await asyncio.sleep(self.world.chance.choice((0, 5)))
            raise Unavailable("The vendor could not be reached.")
        if guard is None:
            return await self._exchange(fate, url, body, patience=TIMEOUT)
        guard()
        left = self.world.witness.first_byte(self.process, self.vendor, self.vendor.asked_to_send(url, body))
        answer = await self._exchange(fate, url, body, patience=10**6)  # the bot has its own deadline
        left.answered(answer.status)
        guard.answered(answer.status)
        return answer

    async def _exchange(self, fate: Fate, url: str, body: Mapping[str, Any], patience: float) -> Answer:
        self.world.say(f"  {url} to {self.vendor} {fate}")
        lost = Uncertain("The connection broke.")
        if fate is Fate.REQUEST_LOST:
            raise lost
        if fate is Fate.IN_THE_AIR:
            arrives = self.world.time() + self.world.chance.uniform(1, 200)
            self.world.at(arrives, lambda: self.vendor.handle(url, body))
            await asyncio.sleep(TIMEOUT)
            raise lost
        answer = Answer(SAID_NO[fate], {}, b"{}") if fate in SAID_NO else self.vendor.handle(url, body)
        if fate is Fate.SILENT:
            await asyncio.sleep(patience)
            raise lost
        await asyncio.sleep(self.world.chance.choice((0, 0, 0.3, 0.8 * TIMEOUT)))
        await self.process.seam(f"after {url}")
        return self._heard(fate, answer, lost)

    def _heard(self, fate: Fate, answer: Answer, lost: Exception) -> Answer:
        if fate is Fate.ANSWER_LOST:
            raise lost
        if fate is Fate.GARBLED:
            return Answer(200, {}, self.world.chance.choice((b"<html>", b"{}")))
        if fate is Fate.LIED:
            return self._lying(answer)
        if fate is Fate.BAD_GATEWAY:
            return Answer(502, {}, b"")
        return answer

    def _lying(self, answer: Answer) -> Answer:
        told: dict[str, Any] = answer.json()
        if told:
            told[self.world.chance.choice(sorted(told))] = self.world.chance.choice(LIES)
        return Answer(answer.status, {}, json.dumps(told).encode())


# --- the adapters ----------------------------------------------------------------------------------------------------

STATUSES = {"SENT": DeliveryStatus.SENT, "DELIVERED": DeliveryStatus.DELIVERED, "FAILED": DeliveryStatus.FAILED}


class Pretended(Provider):
    """What the three adapters share: how they read an answer. They trust its contents, as a first draft would."""

    Settings = AccountSettings

    async def ask(self, path: str, **body: Any) -> Any:
        """Make an exchange that sends nothing, so that asking again is always safe."""
        try:
            return await self.told(path, body, release=False)
        except Uncertain as error:
            raise error.harmless() from None

    async def told(self, path: str, body: Mapping[str, Any], *, release: bool) -> Any:
        answer = await self.transport.call("POST", path, json=body, release=release)
        match answer.status:
            case 200:
                return self.read(answer)
            case 400:
                raise Refused("The vendor refused it.")
            case 409:
                raise Blocked("Another campaign is open there.")
            case 425:
                raise NotReady("It is still being prepared.")
            case 429:
                raise Throttled(7.0)
            case _:
                raise Uncertain("The vendor's answer is not understood.")

    def read(self, answer: Answer) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise Uncertain("The vendor accepted it, but its answer cannot be read.") from None

    def receipt(self, body: Mapping[str, str]) -> Receipt:
        word, kind = body["word"], ReceiptKind(body["kind"])
        status = STATUSES.get(word, DeliveryStatus.OTHER)
        return Receipt(body["id"], status, word, body["to"], word in ("DELIVERED", "FAILED"), kind, body.get("text"))

    def read_callback(self, callback: Callback) -> list[Receipt]:
        return [self.receipt(callback.fields())]

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        return [self.receipt(news) for news in (await self.ask("/poll", ids=list(ids)))["news"]]

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        answer = await self.ask("/look", dispatch=message.dispatch, campaign=staged.id if staged else None)
        return Evidence(bool(answer["ids"]), "The vendor shows it.", answer["ids"])


class Solo(Pretended):
    """One step, a callback address for each dispatch, an id for each recipient."""

    name, title = "solo", "Solo"
    capabilities: ClassVar[Capabilities] = Capabilities(
        audiences=frozenset({AudienceKind.LIST}),
        receipts=Receipts.PER_DISPATCH,
        polls=True,
        looks_up=True,
        sizes=True,
        id_each=True,
        sender_pattern="[A-Za-z]{3,11}",
        sender_rule="Three to eleven letters.",
    )

    @property
    def mention(self) -> str:
        return "STOP 36111"

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        answer = await self.told("/send", encoded(message), release=True)
        return Accepted(answer["ids"])

    async def size(self, audience: Audience) -> AudienceFound:
        answer = await self.ask("/size", to=audience.id)
        return AudienceFound(audience.kind, audience.id, audience.id, answer["size"])


class Duo(Pretended):
    """Two steps, one callback address for the account, one ticket for a campaign."""

    name, title = "duo", "Duo"
    capabilities: ClassVar[Capabilities] = Capabilities(
        audiences=frozenset({AudienceKind.LIST, AudienceKind.TAG}),
        two_step=True,
        receipts=Receipts.ACCOUNT,
        polls=True,
        looks_up=True,
        recalls_staged=True,
        quotes=True,
    )

    async def stage(self, message: Message, known: Staged | None = None) -> Staged:
        answer = await self.ask("/stage", **encoded(message), **({"campaign": known.id} if known else {}))
        return Staged(answer["id"], answer["ready"], answer["contacts"])

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        if staged is None:
            raise Refused("Nothing was prepared.")
        answer = await self.told("/go", {"campaign": staged.id, "dispatch": message.dispatch}, release=True)
        return Accepted(answer["ids"])

    async def recall(self, staged: Staged) -> None:
        await self.ask("/recall", campaign=staged.id)

    async def quote(self, message: Message) -> Quote:
        staged = await self.stage(message)
        await self.recall(staged)
        return Quote(staged.contacts)


class Mute(Pretended):
    """One step, no receipts, no look-up: after an unknown outcome only a person can tell."""

    name, title = "mute", "Mute"
    capabilities: ClassVar[Capabilities] = Capabilities(audiences=frozenset({AudienceKind.GROUP}))

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        answer = await self.told("/send", encoded(message), release=True)
        return Accepted(answer["ids"])


ADAPTERS: dict[str, type[Pretended]] = {"solo": Solo, "duo": Duo, "mute": Mute}


class NoVault:
    """A vault for vendors that issue no secrets."""

    async def load(self, key: str) -> str | None:
        return None

    async def save(self, key: str, value: str) -> None:
        raise NotImplementedError


def encoded(message: Message) -> dict[str, Any]:
    return {
        "dispatch": message.dispatch,
        "text": message.text,
        "kind": message.audience.kind.value,
        "to": message.audience.id,
        "everyone": message.audience.everyone,
        "subscribers": list(message.audience.subscribers),
        "purpose": message.purpose.value,
        "sender": message.sender,
        "callback": message.callback_url,
    }
