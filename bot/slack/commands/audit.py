"""`/broadcast audit [<id>]`: who did what to which version, when and why; in pages, and as a file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from functools import partial

import structlog
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection

from bot.domain import slack_text
from bot.domain.clock import Clock, moment
from bot.domain.errors import NotAllowed, NotFound
from bot.domain.i18n import Translator
from bot.domain.people import Person, mentions
from bot.exporting import csv_of
from bot.slack.blocks.audit import AuditPage, audit_page
from bot.slack.blocks.mrkdwn import Post, section
from bot.slack.client import UNREACHABLE, error_code, error_name
from bot.slack.commands import parse
from bot.slack.commands.listing import UNKNOWN_BUTTON
from bot.slack.interaction import Interaction
from bot.slack.payload import number
from bot.slack.replies import Command, Subcommand, reply_privately
from bot.storage import audit, audit_chain
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

LISTED = 10
IN_A_FILE = 20_000  # rows, the newest
LONGEST = 120.0  # seconds that a file may take


@dataclass(frozen=True)
class Asked:
    """Which page of the audit somebody asks for. `before`: a row; None: the newest page. No id: of everything."""

    id: str = ""
    before: int | None = None

    def value(self) -> str:
        """As a button holds it."""
        return json.dumps([self.id, self.before])

    @classmethod
    def of(cls, value: str) -> Asked:
        """The reverse of `value`. Raises NotAllowed for anything else."""
        try:
            id, before = json.loads(value)
        except (ValueError, TypeError, RecursionError):
            raise NotAllowed(UNKNOWN_BUTTON) from None
        return cls(str(id)[:64], None if before is None else number(before))


class AuditCommand:
    """Shows the audit to admins; that of one broadcast also to its requester and its approvers."""

    def __init__(self, workflow: Workflow, clock: Clock) -> None:
        self.workflow, self.database, self.clock = workflow, workflow.database, clock
        self.admins = workflow.audiences.settings.admins
        self.table: dict[str, Subcommand] = {"audit": ("audit [<id>]", self.audit)}
        self._sending: dict[str, asyncio.Task[None]] = {}  # to whom a file is on its way

    async def audit(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show who did what, when and why: of one broadcast, or of everything (admins)."""
        word, _ = parse.first_word(slack_text.decode_slack(asked.text))
        wanted = Asked(parse.id_of(word) if word else "")
        await self._may(asked.person, wanted)
        await self.database.write(audit_chain.seal_recent)
        return await self._page(wanted, asked.person, asked.words)

    async def turned(self, value: str, done: Interaction) -> Post:
        """Return another page. Raises NotAllowed or NotFound."""
        wanted = Asked.of(value)
        await self._may(done.person, wanted)
        return await self._page(wanted, done.person, done.words)

    async def send_file(self, value: str, done: Interaction) -> Post:
        """Send the same as a file in a direct message. Raises NotAllowed or NotFound."""
        wanted, person = Asked.of(value), done.person
        await self._may(person, wanted)
        under_way = self._sending.get(person.id)
        if under_way is None or under_way.done():
            self._sending[person.id] = asyncio.create_task(self._send(wanted, done), name="audit as a file")
        return Post(done.words("The file comes as a direct message in a moment."))

    async def _may(self, person: Person, wanted: Asked) -> None:
        if person.id in self.admins:
            return
        if not wanted.id:
            await self.workflow.permissions.audit_refusal(person, "audit", "not an admin")
            who = mentions(self.admins) or "—"
            raise NotAllowed("Only an admin can see the whole audit: {who}. You can see it by id.", who=who)
        row = await self.workflow.find(person.workspace, wanted.id)
        if not await self.workflow.permissions.may_see(person, row):
            raise NotFound(row.id)
        if not await self.workflow.permissions.may_audit(person, row):
            await self.workflow.permissions.audit_refusal(person, "audit", "not a requester or approver", row)
            raise NotAllowed("Only its requester, its approvers and admins can see the audit of {id}.", id=row.id)

    async def _page(self, wanted: Asked, person: Person, words: Translator) -> Post:
        rows = await self.database.read(
            lambda c: audit.page(c, person.workspace, wanted.id or None, wanted.before, LISTED + 1)
        )
        if not rows and wanted.id and wanted.before is None:
            raise NotFound(wanted.id)
        shown = [dict(row) for row in rows[:LISTED]]
        older = replace(wanted, before=shown[-1]["place"]).value() if len(rows) > LISTED else None
        newest = Asked(wanted.id).value() if wanted.before is not None else None
        return audit_page(AuditPage(wanted.id, shown, older, newest, Asked(wanted.id).value()), person.zone, words)

    async def _send(self, wanted: Asked, done: Interaction) -> None:
        """Send the file, or say in one sentence why it cannot be sent and what to do."""
        try:
            async with asyncio.timeout(LONGEST):
                await self._upload(wanted, done)
            return
        except (*UNREACHABLE, SlackRequestError) as error:
            log.info("the audit could not be sent", error=error_name(error))
            text = done.words("I could not send the file. Please try again, or use `bellcrier export` in the shell.")
            if isinstance(error, SlackApiError) and error_code(error) == "missing_scope":
                text = done.words(
                    "I may not upload files here. Ask an admin to add the scope `files:write` to the app and to "
                    "install it again, or use `bellcrier export` in the shell."
                )
        except Exception as error:
            log.error("the audit could not be written", exc_info=error)
            text = done.words("I could not send the file. Please try again, or use `bellcrier export` in the shell.")
        await reply_privately(done.client, done.channel or done.person.id, done.person.id, Post(text, [section(text)]))

    async def _upload(self, wanted: Asked, done: Interaction) -> None:
        person = done.person
        written = await self.database.read(partial(_csv, person=person, id=wanted.id or None))
        opened = await done.client.conversations_open(users=person.id)
        day = f"{moment(self.clock()):%Y-%m-%d}"
        name = f"audit-{wanted.id}-{day}.csv" if wanted.id else f"audit-{day}.csv"
        comment = done.words("The audit of *{id}*", id=wanted.id) if wanted.id else done.words("The audit")
        if not wanted.id:
            comment += " " + done.words("The latest {most} rows. `bellcrier export` writes all.", most=IN_A_FILE)
        await done.client.files_upload_v2(
            channel=opened["channel"]["id"], content=written, filename=name, title=name, initial_comment=comment
        )


def _csv(connection: Connection, person: Person, id: str | None) -> str:
    found = audit.page(connection, person.workspace, id, None, IN_A_FILE)
    return csv_of([dict(row) for row in found], person.zone)
