"""What is wrong with the words of a request, and what to ask about them before they go. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from bot.domain import marketing, placeholders, slack_text, sms
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Value
from bot.domain.options import NAMELESS, slipped
from providers.base import Capabilities

#: The most characters that these may have, whether from a command, a form, a template or a draft.
MOST = {"sender": 40, "campaign": 80}
NAMED = 5  # placeholders in one sentence

Values = dict[str, Value]


@dataclass(frozen=True)
class Terms:
    """The terms for a text to one audience.

    `mention`: what the text must end with. `opt_out`: what marketing to this audience ends with, even if this text is
    not marketing. `elsewhere`: the placeholders that any vendor knows.
    """

    vendor: str
    capabilities: Capabilities
    mention: str | None = None
    opt_out: str | None = None
    elsewhere: frozenset[str] = frozenset()


def check_rate(asked: int, most: int) -> None:
    """Raise InvalidRequest if this person has asked for `most` things within the hour already. 0: there is no limit."""
    if not most or asked < most:
        return
    template = (
        "You have asked for {most} within the last hour, which is the most for one person. Ask again later, or have an "
        "admin raise `asks_per_hour`."
    )
    raise InvalidRequest(FieldError("text", Translatable(template, most=most)))


# --- what is wrong ---------------------------------------------------------------------------------------------------


def final_text(typed: str, terms: Terms) -> tuple[str, list[FieldError]]:
    """The text that people would read, in composed characters and with its mention, and why it cannot be sent."""
    body, mention = sms.composed(typed), terms.mention
    mentioned = marketing.with_mention(body, mention) if mention and body else marketing.Mentioned(body, added=False)
    if mentioned.near_miss is not None:
        values: Values = {"found": mentioned.near_miss, "mention": mention or ""}
        template = (
            "The text has its own mention, “{found}”. It must read exactly “{mention}” and come at the end. Write it "
            "that way, or leave it out: I add it for you."
        )
        return mentioned.text, [FieldError("text", Translatable(template, **values))]
    limits = terms.capabilities.text
    problems = [*sms.problems(body, limits), *sms.problems(mentioned.text, limits)]
    complaints = [FieldError("text", Translatable(problem.template, **problem.values)) for problem in problems[:1]]
    return mentioned.text, complaints or list(_placeholder_complaints(mentioned.text, terms))


def _placeholder_complaints(final: str, terms: Terms) -> Iterator[FieldError]:
    known = terms.capabilities.placeholders
    unknown = placeholders.unknown_placeholders(final, known, terms.elsewhere)
    if unknown:
        values: Values = {"name": _list(unknown), "vendor": terms.vendor, "allowed": ", ".join(known)}
        template = "{vendor} does not fill in “{name}”. It fills in: {allowed}."
        if not known:
            template = "{vendor} does not fill in “{name}” or any other placeholder. Write the words themselves."
        yield FieldError("text", Translatable(template, **values))


def name_complaints(sender: str | None, campaign: str | None) -> Iterator[FieldError]:
    """Complaints about a sender or a campaign that is too long to store and to show in the form."""
    for name, value in (("sender", sender), ("campaign", campaign)):
        if value is not None and len(value) > MOST[name]:
            template = "A sender ID can have at most {most} characters. This one has {count}. Shorten it."
            if name == "campaign":
                template = "A campaign name can have at most {most} characters. This one has {count}. Shorten it."
            yield FieldError(name, Translatable(template, most=MOST[name], count=len(value)))


def lost_names(raw: str, *, channels: bool = True) -> Iterator[FieldError]:
    """Complaints about names that would be lost, since Slack gives only their ids. `channels`: channels too."""
    found = [name for name in slack_text.nameless(raw) if channels or not name.startswith("#")]
    if found:
        template = "Slack does not tell me the name behind {name}. Write the name itself, without @ or #."
        yield FieldError("text", Translatable(template, name=_list(found)))


# --- what is asked about ---------------------------------------------------------------------------------------------


def questions(typed: str, terms: Terms, *, zone: str, now: datetime) -> tuple[FieldError, ...]:
    """Questions about possible slips, one sentence each. The text goes only once the person has read them."""
    body = sms.composed(typed)
    own = body.removesuffix(terms.opt_out).rstrip() if terms.opt_out else body
    return (*option_questions(own, zone=zone, now=now), *_slot_questions(body, own, terms), *_opt_outs(body, terms))


def option_questions(body: str, *, zone: str, now: datetime) -> Iterator[FieldError]:
    """Questions about an option at the end or the beginning of a text: it would go out as part of it."""
    slip = slipped(body, zone=zone, now=now)
    if slip is not None and slip.name in NAMELESS:
        template = (
            "“{found}” is part of the text here. Write the audience and the purpose as plain words before the text: "
            "`/broadcast send clients transactional …`."
        )
        yield FieldError("text", Translatable(template, found=slip.found[:80]))
    elif slip is not None:
        template = (
            "“{found}” looks like the option `{name}=`, but here it is part of the text. Put options before the text, "
            "or in their own fields in the form."
        )
        yield FieldError("text", Translatable(template, found=slip.found[:80], name=slip.name))


def _slot_questions(body: str, own: str, terms: Terms) -> Iterator[FieldError]:
    found = placeholders.slots(body, terms.capabilities.placeholders)
    if found:
        values: Values = {"name": _list(found), "vendor": terms.vendor}
        template = (
            "“{name}” looks like a placeholder, but {vendor} sends it exactly as written. Write the words themselves."
        )
        if known := terms.capabilities.placeholders:
            values["allowed"] = ", ".join(known)
            template = (
                "“{name}” looks like a placeholder, but {vendor} sends it exactly as written. It fills in: {allowed}."
            )
        yield FieldError("text", Translatable(template, **values))
    for code in terms.capabilities.replaces:
        if code in own:
            template = (
                "{vendor} replaces every “{code}” with its short code, not only the one in the mention. Write "
                "something else instead."
            )
            yield FieldError("text", Translatable(template, vendor=terms.vendor, code=code))


def _opt_outs(body: str, terms: Terms) -> Iterator[FieldError]:
    """A mention in a transactional text may make a vendor take it for marketing."""
    if terms.mention or not terms.opt_out or not body:
        return
    mentioned = marketing.with_mention(body, terms.opt_out)
    found = terms.opt_out if not mentioned.added else mentioned.near_miss
    if found:
        template = (
            "“{found}” is an opt-out mention. With it, a transactional text may be taken for marketing. Leave it out, "
            "or choose marketing."
        )
        yield FieldError("text", Translatable(template, found=found))


def _list(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:NAMED])
