"""The settings of a workspace that its admins change in Slack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from bot.config.own_settings import EDITABLE, Unsuitable, changed_values, values_of, with_values
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.people import Directory, Person, Unknown, mentions, must_be_member
from bot.storage import audit
from bot.storage.own_settings import OwnSettings, keep_own_settings, own_settings_of
from bot.workflow.permissions import Permissions

ACTION = "settings"  # in the audit
LONGEST_UNDO = 24 * 3600  # seconds
MOST_PEOPLE = 30  # who are looked at one by one, within the time that Slack leaves; the others count as members


@dataclass(frozen=True)
class Shown:
    """The settings as the database has them now. `changed`: the names of those that admins have changed."""

    values: Mapping[str, Any]
    changed: frozenset[str]
    stored: OwnSettings


class WorkspaceSettings:
    """Shows and changes them, for admins alone. Every process of the bot follows within seconds."""

    def __init__(self, runtime: Runtime, permissions: Permissions, people: Directory) -> None:
        self.database, self.clock, self.changed = runtime.database, runtime.clock, runtime.on_settings
        self.settings, self.file = runtime.settings, runtime.file or runtime.settings
        self.permissions, self.people = permissions, people

    async def shown(self, person: Person) -> Shown:
        """Raises NotAllowed, audited, for whoever is no admin."""
        await self._must_be_admin(person)
        stored = await self.database.read(lambda c: own_settings_of(c, person.workspace))
        try:
            settings = with_values(self.file, stored.settings)
        except Unsuitable:  # then the form shows what is in force
            settings = self.settings
        return Shown(values_of(settings), frozenset(stored.settings), stored)

    async def change(self, person: Person, wanted: Mapping[str, Any], seen: int) -> tuple[str, ...]:
        """Store what differs from the file, and return the names of what has changed.

        `wanted`: what is not in it stays as it is. `seen`: the version that the person saw. Raises NotAllowed,
        InvalidRequest or DirectoryUnavailable.
        """
        await self._must_be_admin(person)
        stored = await self.database.read(lambda c: own_settings_of(c, person.workspace))
        try:
            settings = changed_values(self.file, {**values_of(self.file), **stored.settings, **wanted})
            await self._must_work(person, with_values(self.file, settings))
        except Unsuitable as error:
            template = "This cannot be used. {reason}"
            wrong = error.wrong.items()
            raise InvalidRequest(
                *(FieldError(name, Translatable(template, reason=why)) for name, why in wrong)
            ) from None
        made = OwnSettings(
            workspace=person.workspace,
            settings=settings,
            version=seen,
            changed_by=person.id,
            changed_at=self.clock(),
        )
        changes = await self.database.write(lambda c: self._write(c, made))
        self.changed()
        return tuple(changes)

    def _write(self, connection: Connection, made: OwnSettings) -> list[str]:
        before = own_settings_of(connection, made.workspace)
        if before.version != made.version or not keep_own_settings(connection, made):
            template = "{who} has changed the settings since you opened this form. Open it again."
            raise NotAllowed(template, who=mentions([own_settings_of(connection, made.workspace).changed_by]))
        of_file = values_of(self.file)
        was, is_now = {**of_file, **before.settings}, {**of_file, **made.settings}
        changes = [name for name in EDITABLE if was[name] != is_now[name]]
        told = "; ".join(f"{name}: {_plain(was[name])} → {_plain(is_now[name])}" for name in changes)
        audit.write_event(connection, made.workspace, made.changed_by, ACTION, told or None, made.changed_at)
        return changes

    async def _must_be_admin(self, person: Person) -> None:
        must_be_member(person)
        admins = self.settings.admins
        if person.id not in admins:
            await self.permissions.audit_refusal(person, ACTION, "not an admin")
            raise NotAllowed("Only an admin can change the settings: {who}.", who=mentions(admins))

    async def _must_work(self, person: Person, settings: Settings) -> None:
        """Refuse what Slack says nobody could fulfil. Raises InvalidRequest or DirectoryUnavailable."""
        approval = settings.approval
        if not approval.approvers:
            raise _refused("approval.approvers", Translatable("Name at least one approver."))
        if approval.undo.total_seconds() > LONGEST_UNDO:
            raise _refused("approval.undo", Translatable("Choose a day at most, such as `30s` or `5m`."))
        rules = [(one.approvers or approval.approvers, one.quorum, "approval.rules") for one in approval.rules]
        for approvers, quorum, field in ((approval.approvers, approval.quorum, "approval.quorum"), *rules):
            able = await self._able(person.workspace, approvers, field)
            if len(able) < quorum:
                template = "It asks for {number} approvals, and only {able} of these people can approve."
                raise _refused(field, Translatable(template, number=quorum, able=len(able)))
        if approval.channel and approval.channel != self.settings.approval.channel:
            await self._must_be_open(approval.channel)

    async def _able(self, workspace: str, ids: Iterable[str], field: str) -> frozenset[str]:
        """Return who of these users and groups can approve. Raises InvalidRequest if one who is named cannot."""
        named = {id for id in ids if not id.startswith("S")}
        groups = await asyncio.gather(*(self.people.members(id) for id in ids if id.startswith("S")))
        everybody = sorted(named.union(*groups))
        able = await asyncio.gather(*(self._can(workspace, id) for id in everybody[:MOST_PEOPLE]))
        of = dict(zip(everybody, able, strict=False))
        if cannot := sorted(id for id in named if of.get(id) is False):
            place = "approval.approvers" if field == "approval.quorum" else field
            raise _refused(place, Translatable("{who} cannot approve: no full member here.", who=mentions(cannot)))
        return frozenset(id for id in everybody if of.get(id, True))

    async def _can(self, workspace: str, id: str) -> bool:
        try:
            person = await self.people.person(workspace, id)
            must_be_member(person)
        except (NotAllowed, Unknown):
            return False
        return True

    async def _must_be_open(self, channel: str) -> None:
        if (closed := await self.people.why_closed(channel)) is not None:
            raise _refused("approval.channel", closed)


def _refused(field: str, sentence: Translatable) -> InvalidRequest:
    return InvalidRequest(FieldError(field, sentence))


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
