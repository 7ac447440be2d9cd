"""Parts of sentences that several modules of this package share."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable, Value, in_a_row
from bot.domain.people import Person
from bot.storage.notes import Note
from providers.base import Purpose

PURPOSES: Mapping[Purpose, Translatable] = {
    Purpose.MARKETING: Translatable("Marketing"),
    Purpose.TRANSACTIONAL: Translatable("Transactional"),
}


REASON = "reason"  # the value `asks` of a sentence to which its author may add a reason


def reader_of(broadcast: Broadcast, actor: str) -> str | None:
    """Return whom a note about a decision names: the requester, if its thread is where they hear of it."""
    elsewhere = broadcast.asked_in is not None or actor in (broadcast.requester, "policy")
    return None if elsewhere else broadcast.requester


def agreed_note(broadcast: Broadcast, actor: str, then: Translatable) -> Note:
    sentence = Translatable("No approval is needed.")
    if actor != "policy":
        sentence = Translatable("Approved by {by}.", by=people.mentions([actor]))
    return Note(Translatable("{told} {then}", told=sentence, then=then), mention=reader_of(broadcast, actor))


#: What an edit may change, as people read it.
FIELDS: Mapping[str, str] = {
    "audience": "Audience: {now} instead of {before}.",
    "purpose": "Purpose: {now} instead of {before}.",
    "sender": "Sender: {now} instead of {before}.",
    "canary": "First to: {now} instead of {before}.",
    "campaign": "Campaign: {now} instead of {before}.",
}
NEW_START = "It now starts {start_at} instead of {before_at}."
NEW_START_NOW = "It now starts right after approval instead of {before_at}."
NEW_START_THEN = "It now starts {start_at} instead of right after approval."


def edited(template: str, actor: str, before: Broadcast, after: Broadcast) -> Translatable:
    """Return what an edit changed. `template` has places for `by` and `changes`.

    If the text has changed, both texts stand beside the sentence as `text_before` and `text_after`, for a diff.
    """
    differ = [name for name in FIELDS if getattr(before, name) != getattr(after, name)]
    changes = [Translatable(FIELDS[name], **_shown(name, before, after)) for name in differ]
    if before.send_at != after.send_at:
        start = NEW_START_NOW if after.send_at is None else NEW_START_THEN if before.send_at is None else NEW_START
        changes.append(Translatable(start, start_at=after.send_at or 0, before_at=before.send_at or 0))
    values: dict[str, Value] = {"by": people.mentions([actor]), "changes": in_a_row(changes)}
    if before.typed != after.typed:
        values |= {"text_before": before.typed, "text_after": after.typed}
    return Translatable(template, **values)


def _shown(name: str, before: Broadcast, after: Broadcast) -> dict[str, Value]:
    """Return both values of a field, a purpose in the reader's language."""
    if name == "purpose":
        return {"before": PURPOSES[before.purpose], "now": PURPOSES[after.purpose]}
    return {"before": getattr(before, name) or "—", "now": getattr(after, name) or "—"}


def by_person(person: Person, **more: Micros) -> dict[str, Value]:
    return {"by": people.mentions([person.id]), **more}
