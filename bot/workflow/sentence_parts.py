"""Parts of sentences that several modules of this package share."""

from __future__ import annotations

from bot.domain import people
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable, Value
from bot.domain.people import Person
from bot.storage.notes import Note


def agreed_note(actor: str, then: Translatable) -> Note:
    sentence = Translatable("No approval is needed.")
    if actor != "policy":
        sentence = Translatable("Approved by {by}.", by=people.mentions([actor]))
    return Note(Translatable("{told} {then}", told=sentence, then=then))


def by_person(person: Person, **more: Micros) -> dict[str, Value]:
    return {"by": people.mentions([person.id]), **more}
