"""Keeps templates, and decides who may change them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people, slots
from bot.domain.clock import Micros, moment
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.storage import templates
from bot.storage.templates import Template
from bot.workflow import checks
from bot.workflow.audiences import Audiences
from providers.base import Purpose

LONGEST_NAME = 64  # characters of a template's name


@dataclass(frozen=True)
class Saved:
    """A template as it was saved. `fell`: whose approval no longer counts, since it says something else now."""

    template: Template
    fell: tuple[str, ...] = ()


class Templates:
    """Keeps templates."""

    def __init__(self, runtime: Runtime, audiences: Audiences) -> None:
        self.database, self.clock = runtime.database, runtime.clock
        self.admins, self.audiences = runtime.settings.admins, audiences

    async def find(self, workspace: str, name: str) -> Template:
        """Raises InvalidRequest if there is none."""
        found = await self.database.read(lambda c: templates.find_template(c, workspace, name))
        if found is None:
            raise no_template(name)
        return found

    async def own(self, person: Person, name: str) -> Template | None:
        """The template of this name, if there is one that this person may change."""
        found = await self.database.read(lambda c: templates.find_template(c, person.workspace, name))
        return found if found is not None and self._owns(found, person) else None

    async def listed(self, workspace: str) -> list[Template]:
        return await self.database.read(lambda c: templates.templates_of(c, workspace))

    async def save(self, wanted: Template, person: Person, *, new: bool = False, seen: Micros | None = None) -> Saved:
        """Keep it, in place of one with its name unless it must be `new`. `seen`: when the one it changes was changed.

        Saying something else ends its approval. Raises InvalidRequest, NotAllowed or DirectoryUnavailable.
        """
        people.must_be_member(person)
        if complaints := tuple(self._complaints(wanted, person)):
            raise InvalidRequest(*complaints)
        return await self.database.write(lambda c: self._save(c, wanted, person, new, seen))

    def _save(self, connection: Connection, wanted: Template, person: Person, new: bool, seen: Micros | None) -> Saved:
        if (new or seen is None) and templates.add_template(connection, wanted):
            return Saved(wanted)
        known = templates.find_template(connection, wanted.workspace, wanted.name, lock=True)
        if known is None:
            raise no_template(wanted.name)
        if new and not self._owns(known, person):
            raise InvalidRequest(FieldError("name", _belongs(known)))
        self.must_own(known, person)
        if new:
            template = "There is already a template “{name}”. `/broadcast template edit {name}` changes it."
            raise InvalidRequest(FieldError("name", Translatable(template, name=known.name)))
        if seen is not None and known.changed_at != seen:
            by = people.mentions([known.editor or known.owner])
            template = (
                "{by} changed the template “{name}” in the meantime. Copy your text, then open it as it is now: "
                "`/broadcast template edit {name}`."
            )
            raise InvalidRequest(FieldError("text", Translatable(template, name=known.name, by=by)))
        kept = _in_place_of(known, wanted, person)
        templates.change_template(connection, known, kept)
        fell = () if kept.approved_by else tuple(one.id for one in known.approved_by)
        return Saved(kept, fell)

    def must_own(self, template: Template, person: Person) -> None:
        """Raises NotAllowed unless this person may change it."""
        if not self._owns(template, person):
            sentence = _belongs(template)
            raise NotAllowed(sentence.template, name=template.name, who=people.mentions([template.owner]))

    def _owns(self, template: Template, person: Person) -> bool:
        return person.id in (template.owner, *self.admins)

    def _complaints(self, wanted: Template, person: Person) -> Iterator[FieldError]:
        """What is wrong with it. What is only a question for one broadcast is refused here: a template is reused."""
        yield from _name_complaints(wanted.name)
        yield from checks.name_complaints(wanted.sender, wanted.campaign)
        yield from checks.option_questions(wanted.text, zone=person.zone, now=moment(self.clock()))
        if wanted.audience is not None and self.audiences.audience(wanted.audience) is None:
            yield FieldError("audience", self.audiences.unknown_audience(wanted.audience))
        try:
            found = slots.slots_of(wanted.text)
        except slots.BadSlot as error:
            yield FieldError("text", error.sentence)
        else:
            yield from self._complaints_about_wording(wanted, found)

    def _complaints_about_wording(self, wanted: Template, found: tuple[slots.Slot, ...]) -> list[FieldError]:
        """Why the audience's vendor would not take the text, whatever fills its slots."""
        if wanted.audience is None or self.audiences.audience(wanted.audience) is None:
            return []
        sample = slots.fill(wanted.text, {slot.name: "x" for slot in found})
        return checks.final_text(sample, self.audiences.terms(wanted.audience, Purpose(wanted.purpose)))[1]

    async def delete(self, workspace: str, name: str, person: Person) -> Template:
        """Raises InvalidRequest or NotAllowed."""
        kept = await self.find(workspace, name)
        if not self._owns(kept, person):
            who = people.mentions([kept.owner])
            raise NotAllowed("Only {who} can delete “{name}”.", who=who, name=kept.name)
        await self.database.write(lambda c: templates.drop_template(c, workspace, kept.name))
        return kept


def _in_place_of(known: Template, wanted: Template, person: Person) -> Template:
    """The template as it will be. One that says the same stays approved, and written by whoever wrote it."""
    kept = dataclasses.replace(wanted, owner=known.owner)
    if wanted.digest == known.digest:
        by, digest = known.approved_by, known.approved_digest
        return dataclasses.replace(kept, editor=known.editor, approved_by=by, approved_digest=digest)
    return dataclasses.replace(kept, editor=person.id if person.id != known.owner else None)


def _belongs(template: Template) -> Translatable:
    return Translatable(
        "The template “{name}” belongs to {who}. Choose another name.",
        name=template.name,
        who=people.mentions([template.owner]),
    )


def _name_complaints(name: str) -> Iterator[FieldError]:
    if len(name) > LONGEST_NAME:
        template = "A template name can have at most {most} characters. This one has {count}. Shorten it."
        yield FieldError("name", Translatable(template, most=LONGEST_NAME, count=len(name)))
    elif not name or len(name.split()) > 1:
        written = "-".join(name.split()) or "promo"
        template = "A template’s name is one word. Write, for example: {written}."
        yield FieldError("name", Translatable(template, written=written))


def no_template(name: str) -> InvalidRequest:
    template = "There is no template “{name}”. `/broadcast template list` shows all templates."
    return InvalidRequest(FieldError("template", Translatable(template, name=name)))
