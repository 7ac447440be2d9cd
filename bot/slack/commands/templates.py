"""The subcommand about templates."""

from __future__ import annotations

from collections.abc import Iterator

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.clock import moment
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.people import mentions, must_be_member
from bot.slack.blocks import answers, forms, mrkdwn
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands import parse
from bot.slack.commands.broadcasts import BroadcastCommands
from bot.slack.replies import Command, Subcommand, offered
from bot.storage import templates
from bot.workflow import checks
from providers.base import Purpose

LONGEST_NAME = 64  # characters of a template's name


class TemplateCommands:
    """The subcommand about templates."""

    def __init__(self, broadcasts: BroadcastCommands) -> None:
        self.broadcasts, self.workflow, self.audiences = broadcasts, broadcasts.workflow, broadcasts.audiences
        self.clock = broadcasts.clock
        self.table: dict[str, Subcommand] = {
            "template": ("template save|use|list|delete <name> [<text>]", self.template),
        }

    async def template(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Save a text under a name: `save <name> [audience] [purpose] <text>`, `use`, `list`, `delete <name>`."""
        verb, rest = parse.first_word(slack_text.decode_slack(asked.text))
        name, rest = parse.first_word(rest)
        if len(name) > LONGEST_NAME:
            template = "A template name can have at most {most} characters. This one has {count}. Shorten it."
            raise InvalidRequest(FieldError("template", Translatable(template, most=LONGEST_NAME, count=len(name))))
        verbs = {"save": self._save_template, "use": self._use_template, "delete": self._delete_template}
        if verb.lower() == "list":
            return await self._list_templates(asked)
        if verb.lower() not in verbs or not name:
            return answers.usage(self.table["template"][0], asked.line, asked.words)
        return await verbs[verb.lower()](asked, name.lower(), rest, client)

    async def _save_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        first, after = parse.first_word(rest)
        audience = first.lower() if self.audiences.audience(first.lower()) is not None else None
        parts = parse.read_send(f"x {after if audience else rest}", ("sender", "campaign"))
        if not parts.text:
            return answers.usage(self.table["template"][0], asked.line, asked.words)
        if complaints := (*parts.complaints, *self._template_complaints(parts, asked)):
            raise InvalidRequest(*complaints)
        kept = templates.Template(
            workspace=asked.person.workspace,
            name=name,
            owner=asked.person.id,
            audience=audience,
            purpose=parts.purpose or Purpose.MARKETING,
            text=parts.text,
            sender=parts.options.get("sender"),
            campaign=parts.options.get("campaign"),
            changed_at=self.clock(),
        )
        must_be_member(asked.person)
        owner = await self.workflow.database.write(
            lambda c: templates.keep_template(c, kept, self.audiences.settings.admins)
        )
        if owner is not None:
            raise NotAllowed(
                "The template “{name}” belongs to {who}. Choose another name.", name=name, who=mentions([owner])
            )
        return Post(asked.words("I saved the template “{name}”. `/broadcast template use {name}` opens it.", name=name))

    def _template_complaints(self, parts: parse.Typed, asked: Command) -> Iterator[FieldError]:
        """Yield the complaints. What is only a question for one broadcast is refused here: a template is reused."""
        yield from checks.lost_names(asked.text)
        yield from checks.name_complaints(parts.options.get("sender"), parts.options.get("campaign"))
        yield from checks.option_questions(parts.text, zone=asked.person.zone, now=moment(self.clock()))

    async def _use_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self._template(asked, name)
        form = forms.Form(offered(self.audiences, asked.words), asked.channel, values=kept.values())
        return await self.broadcasts.open_form(form, asked, client)

    async def _delete_template(self, asked: Command, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self._template(asked, name)
        if asked.person.id not in (kept.owner, *self.audiences.settings.admins):
            raise NotAllowed("Only {who} can delete “{name}”.", who=mentions([kept.owner]), name=name)
        await self.workflow.database.write(lambda c: templates.drop_template(c, kept.workspace, kept.name))
        return Post(
            asked.words("I deleted the template “{name}”. It said: “{text}”", name=name, text=mrkdwn.quote(kept.text))
        )

    async def _list_templates(self, asked: Command) -> Post:
        found = await self.workflow.database.read(lambda c: templates.templates_of(c, asked.person.workspace))
        if not found:
            return Post(asked.words("There are no templates yet. `/broadcast template save <name> <text>` saves one."))
        return mrkdwn.lines(
            [f"• *{mrkdwn.quote(t.name)}* · {mentions([t.owner])} · “{mrkdwn.quote(t.text)}”" for t in found]
        )

    async def _template(self, asked: Command, name: str) -> templates.Template:
        kept = await self.workflow.database.read(lambda c: templates.find_template(c, asked.person.workspace, name))
        if kept is None:
            template = "There is no template “{name}”. `/broadcast template list` shows all templates."
            raise InvalidRequest(FieldError("template", Translatable(template, name=name)))
        return kept
