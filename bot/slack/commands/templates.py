"""The subcommand about templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.errors import InvalidRequest
from bot.domain.options import folded
from bot.slack.blocks import answers, mrkdwn, template_answers, template_forms
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands import parse
from bot.slack.commands.broadcasts import BroadcastCommands, open_view
from bot.slack.replies import Command, Subcommand, form_audiences
from bot.storage.templates import Template
from bot.workflow import checks
from bot.workflow.audiences import Audiences
from providers.base import Purpose

#: What people who speak French or Spanish call what can be done with a template.
VERBS = {
    **dict.fromkeys(("enregistrer", "sauvegarder", "guardar", "guarda"), "save"),
    **dict.fromkeys(("nouveau", "nouvelle", "creer", "nuevo", "nueva", "crear"), "new"),
    **dict.fromkeys(("modifier", "modifie", "editer", "editar", "edita", "modificar"), "edit"),
    **dict.fromkeys(("utiliser", "utilise", "usar", "usa", "utilizar"), "use"),
    **dict.fromkeys(("approuver", "approuve", "valider", "aprobar", "aprueba"), "approve"),
    **dict.fromkeys(("liste", "lister", "lista", "listar"), "list"),
    **dict.fromkeys(("supprimer", "supprime", "effacer", "borrar", "borra", "eliminar"), "delete"),
}

Verb = Callable[[Command, str, str, AsyncWebClient], Awaitable[Post | None]]


class TemplateCommands:
    """The subcommand about templates."""

    def __init__(self, broadcasts: BroadcastCommands) -> None:
        self.broadcasts, self.workflow, self.audiences = broadcasts, broadcasts.workflow, broadcasts.audiences
        self.clock, self.templates = broadcasts.clock, broadcasts.workflow.templates
        self.table: dict[str, Subcommand] = {
            "template": ("template new|save|use|edit|approve|list|delete <name> [<text>]", self.template),
        }
        self.verbs: dict[str, Verb] = {
            "save": self._save_template,
            "use": self._use_template,
            "edit": self._edit_template,
            "approve": self._approve_template,
            "delete": self._delete_template,
        }

    async def template(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Keep texts under a name, with slots to fill in: `new`, `save`, `use`, `edit`, `approve`, `list`, `delete`."""
        word, rest = parse.first_word(slack_text.decode_slack(asked.text))
        verb, (name, rest) = VERBS.get(folded(word), word.lower()), parse.first_word(rest)
        if verb == "list":
            return await self._list_templates(asked)
        if verb == "new":
            return await self._open(template_forms.MakeForm(self._offered(asked), asked.channel), asked, client)
        if verb not in self.verbs or not name:
            return answers.usage(self.table["template"][0], asked.line, asked.words)
        return await self.verbs[verb](asked, name.lower(), rest, client)

    async def _save_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        values, parts = read_template(name, rest, self.audiences)
        if not parts.text:
            return answers.usage(self.table["template"][0], asked.line, asked.words)
        if complaints := (*parts.complaints, *checks.lost_names(asked.text)):
            raise InvalidRequest(*complaints)
        person = asked.person
        wanted = Template(workspace=person.workspace, owner=person.id, changed_at=self.clock(), **values)
        saved = await self.templates.save(wanted, asked.person)
        return template_answers.saved(saved.template, saved.fell, asked.words)

    async def _use_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        form = await self.broadcasts.opened.prefilled(
            asked.person, asked.channel, asked.words, f"template:{name}", template=name
        )
        return await self.broadcasts.open_form(form, asked, client)

    async def _edit_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self.templates.find(asked.person.workspace, name)
        self.templates.must_own(kept, asked.person)
        return await self._open(template_forms.MakeForm(self._offered(asked), asked.channel, kept), asked, client)

    async def _open(self, form: template_forms.MakeForm, asked: Command, client: AsyncWebClient) -> Post | None:
        return await open_view(template_forms.make_form(form, asked.words), asked, client)

    def _offered(self, asked: Command) -> list[tuple[str, str]]:
        return form_audiences(self.audiences, asked.words)

    async def _approve_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        person = await self.broadcasts.people.person(asked.person.workspace, asked.person.id, fresh=True)
        offer = await self.workflow.template_approval.offer(asked.person.workspace, name, person)
        return template_answers.question(offer, person.id, asked.words)

    async def _delete_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self.templates.delete(asked.person.workspace, name, asked.person)
        told = {"name": mrkdwn.quote(kept.name), "text": mrkdwn.quote(kept.text)}
        return Post(asked.words("I deleted the template “{name}”. It said: “{text}”", **told))

    async def _list_templates(self, asked: Command) -> Post:
        found = await self.templates.listed(asked.person.workspace)
        given = [(template, self.workflow.template_approval.given(template)) for template in found]
        return template_answers.listing(given, asked.words)


def read_template(name: str, rest: str, audiences: Audiences) -> tuple[dict[str, Any], parse.Typed]:
    """What a template is to say, from `[<audience>] [<purpose>] [<options>] <text>`, and how that was read."""
    first, after = parse.first_word(rest)
    audience = first.lower() if audiences.audience(first.lower()) is not None else None
    parts = parse.read_send(f"x {after if audience else rest}", ("sender", "campaign"))
    values = {"name": name, "audience": audience, "purpose": parts.purpose or Purpose.MARKETING, "text": parts.text}
    return values | {option: parts.options.get(option) for option in ("sender", "campaign")}, parts
