"""Encom (BlueRockTEL "Clients" API): SMS to a diffusion list. Everything travels in the query string.

Facts: the vendor's pages of July 2020 (documentation-fr: sms-messages-listes, -unitaires, sms-listes-de-diffusion,
sms-destinataires, sms-listener). No newer public copy is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import monotonic
from typing import Any

from pydantic import Field, SecretStr, field_validator

from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
    Audience,
    AudienceFound,
    AudienceKind,
    Callback,
    Capabilities,
    Check,
    DeliveryStatus,
    Evidence,
    Message,
    Provider,
    ProviderError,
    Purpose,
    Receipt,
    Receipts,
    Refused,
    Staged,
    TextLimits,
    Throttled,
    Unavailable,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable
from providers.reading import UNREADABLE, holds, id_of, number_of, word_of

MENTION = "STOP AU 36111"
TYPES = {Purpose.TRANSACTIONAL: "t", Purpose.MARKETING: "m"}

# The only status that is documented. It confirms the sending, not the delivery.
CONFIRMED = ("OK", "000")
PLANNED = "PLANNED"  # what the 201 itself means: accepted, and nothing more

REFUSALS: Mapping[int, tuple[str, str | None]] = {
    400: ("Encom did not accept the request.", None),
    401: ("Encom did not accept the token.", "token"),
    402: ("Encom refused: the account has no credit left.", None),
    403: ("Encom does not let this token use this customer account.", "customer_account"),
    404: ("Encom does not know the list {list} or the customer account.", None),
    422: ("Encom did not accept the request.", None),
}


class EncomSettings(AccountSettings):
    customer_account: str = Field(min_length=1)
    token: SecretStr

    @field_validator("token")
    @classmethod
    def _real(cls, value: SecretStr) -> SecretStr:
        return real_secret(value)


class Encom(Provider):
    """One POST plans a message for everybody on a list. There is no recall and no idempotency key."""

    name = "encom"
    title = "Encom"
    Settings = EncomSettings
    capabilities = Capabilities(
        audiences=frozenset({AudienceKind.LIST}),
        receipts=Receipts.PER_DISPATCH,
        polls=True,
        discovers=True,
        sizes=True,
        id_each=True,
        id_pattern="[0-9]{1,18}",
        id_rule="Encom numbers its lists.",
        text=TextLimits(max_gsm7=918, max_ucs2=402, max_parts=6),  # the vendor names none; long URLs get cut
        placeholders=("%%name%%",),
    )
    settings: EncomSettings

    @property
    def mention(self) -> str:
        return MENTION

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        query: dict[str, str | int] = {
            "smsRecipientListId": message.audience.id,
            "message": message.text,
            "type": TYPES[message.purpose],
            "idSend": message.dispatch,
        }
        if message.callback_url is not None:
            query["listener"] = message.callback_url
        answer = await self._call("POST", "groupedMessage", query, release=True)
        if 200 <= answer.status < 300:
            return Accepted(_stored(answer))
        raise _refusal(answer, message.audience.id) or not_understood(answer)

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        """Read each id once. An id that cannot be read does not stop the ids after it.

        A 429 ends the round. So does a failure once the round has taken as long as one exchange may. What was read
        until then counts. Raises Throttled if a 429 comes before anything was read.
        """
        receipts, failed, began = list[Receipt](), False, monotonic()
        for id in ids:
            if failed and monotonic() - began > self.settings.timeout:
                break
            try:
                receipts += await self._poll_one(id)
            except Throttled:
                if not receipts:
                    raise
                break
            except ProviderError:
                failed = True
        return receipts

    async def _poll_one(self, id: str) -> list[Receipt]:
        answer = await self._call("GET", "singleMessage", {"singleSmsMessageId": id})
        if answer.status == 429:
            raise throttled(answer)
        fields = object_of(answer) if answer.status == 200 else {}
        another = holds(fields.get("id")) and _id(fields["id"]) != _id(id)
        return [_receipt(fields, id)] if any(_status_words(fields)) and not another else []

    def read_callback(self, callback: Callback) -> list[Receipt]:
        fields = callback.fields()
        id = _id(fields.get("id"))
        if not id:
            raise ValueError("no id in the callback")
        return [_receipt(fields, id)]

    async def audiences(self) -> list[AudienceFound]:
        found = [(id_of(entry.get("id")), entry) for entry in await self._lists() if isinstance(entry, dict)]
        return [AudienceFound(AudienceKind.LIST, id, id_of(entry.get("name"))) for id, entry in found if id]

    async def size(self, audience: Audience) -> AudienceFound | None:
        """How many numbers the list holds.

        The answer is documented, so one that holds anything else, such as an error, is `UNREADABLE`. Counted as one
        person, it would pass every guard.
        """
        people = await self._read("recipients", {"smsRecipientListId": audience.id})
        if people == []:  # an empty list, as PHP writes it
            people = {}
        if not isinstance(people, dict) or not all(map(_is_recipient, people.items())):
            return AudienceFound(AudienceKind.LIST, audience.id, "", UNREADABLE)
        unnamed = sum(1 for name in people.values() if not holds(name))
        return AudienceFound(AudienceKind.LIST, audience.id, "", len(people), unnamed)

    async def check(self) -> Check:
        await self._lists()
        return Check()

    async def _lists(self) -> list[Any]:
        lists = await self._read("recipientLists", {})
        if not isinstance(lists, list):
            raise Unavailable("Encom's lists cannot be read.")
        return lists

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return Evidence(False, "Encom offers no search. A delivery report would prove that it went out.")

    async def _read(self, path: str, query: Mapping[str, str | int]) -> Any:
        answer = await self._call("GET", path, query)
        if answer.status == 200:
            try:
                return answer.json()
            except ValueError:
                raise Unavailable("Encom's answer cannot be read.") from None
        raise _refusal(answer, str(query.get("smsRecipientListId", ""))) or Unavailable(
            "Encom answered {status}.", status=answer.status
        )

    async def _call(self, method: str, path: str, query: Mapping[str, str | int], *, release: bool = False) -> Answer:
        # The token is personal and may see several accounts, so each call names the one it means.
        return await self.transport.call(
            method,
            f"/api/v1/sms/{path}",
            query={"customerAccount": self.settings.customer_account, **query},
            headers={"Authorization": f"Bearer {self.settings.token.get_secret_value().strip()}"},
            release=release,
        )


def _is_recipient(entry: tuple[str, Any]) -> bool:
    """Whether it is a telephone number, which is longer than any status, with or without a name."""
    return len(number_of(entry[0])) >= 6 and isinstance(entry[1], str | None)


def _refusal(answer: Answer, list_id: str) -> ProviderError | None:
    if answer.status == 429:
        return throttled(answer)
    if answer.status in REFUSALS:
        template, setting = REFUSALS[answer.status]
        return Refused(template, code=str(answer.status), setting=setting, list=list_id)
    return None


def _stored(answer: Answer) -> tuple[str, ...]:
    """The ids in `store`: `"22,23"`, `20`, `"20"` or `[22, 23]`, without any empty places between them.

    Raises Uncertain if there are none, or if something in it is not an id.
    """
    ids = tuple(dict.fromkeys(_id(part) for part in _parts(object_of(answer).get("store")) if holds(part)))
    if not ids or "" in ids:
        raise unreadable(answer)
    return ids


def _parts(stored: object) -> list[object]:
    """The items of a list, in order, however PHP writes it.

    It may be a list, an object whose keys are positions, or a text with any separator, and one may contain another.
    """
    waiting, parts = [stored], list[object]()
    while waiting:
        place = waiting.pop()
        if isinstance(place, dict) and all(map(str.isdecimal, place)):
            place = list(place.values())
        if isinstance(place, list):
            waiting += reversed(place)
        elif isinstance(place, str):
            parts += re.split(r"[\[\],;\s]+", place)
        else:
            parts.append(place)
    return parts


def _id(value: object) -> str:
    """A message's id, which is a whole number above 0; ``""`` for anything else.

    22, 22.0, `"22"`, `" 22"`, `"0022"` and `"22.0"` are the same id.
    """
    found = re.fullmatch(r"(\d+)(?:\.0+)?", id_of(value), re.ASCII)
    return found[1].lstrip("0") if found else ""


def _status_words(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    """Status, details and code."""
    code = re.sub("^0+$", "000", word_of(fields.get("code")))  # 0, where it is not a text
    return word_of(fields.get("status")), word_of(fields.get("details")), code


def _receipt(fields: Mapping[str, Any], id: str) -> Receipt:
    status, details, code = _status_words(fields)
    known = DeliveryStatus.SENT if (status, code) == CONFIRMED else DeliveryStatus.OTHER
    if PLANNED in (status, details):
        known = DeliveryStatus.ACCEPTED
    return Receipt(id, known, " ".join(part for part in (status, details, code) if part) or "?")
