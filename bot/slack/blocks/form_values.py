"""Reads what people entered in forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain import sms
from bot.domain.broadcast import BroadcastRequest
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.domain.slots import BLOCK
from bot.slack.payload import id_in, inputs_of, make_storable, number, part
from providers.base import Purpose

REST = "text_rest"
NAME, BLOCKS = 64, 20  # characters of a name that a form remembers, and blocks that it has refilled at most
ORIGIN = 80  # characters of what a form was opened from, such as a template's name
MORE_TEXT = re.compile(rf"({REST}([0-9]{{0,3}}))(?::|$)")


@dataclass(frozen=True)
class Choice:
    """The select of a template. `option`: what is chosen, as (name, label). `taken`: what the form was filled from.

    `wrong`: why what is chosen cannot be taken.
    """

    option: tuple[str, str] | None = None
    taken: str | None = None
    wrong: Translatable | None = None

    @property
    def name(self) -> str | None:
        return self.option[0] if self.option else None


@dataclass(frozen=True)
class Composed:
    """What came back from the compose form, still unchecked.

    `choice`: of a template, where the form offers one. `again`: the number of each block that the bot has refilled,
    besides the text, whose number is `refills`. `also`: the id of the broadcast that it may be a duplicate of, if that
    was ticked. `origin`: the refused command that it corrects, or what filled it in. `version`: of what it changes or
    completes. `outdated`: when it was typed, if that was for an earlier version.
    """

    audience: str
    purpose: str
    text: str
    send_at: Micros | None
    sender: str | None
    campaign: str | None
    channel: str
    draft: str | None
    follows: str | None
    edits: tuple[str, int] | None
    refills: int
    test: bool = False
    canary: str | None = None
    template: tuple[str, str] | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    choice: Choice | None = None
    again: Mapping[str, int] = field(default_factory=dict)
    also: str = ""
    origin: str = ""
    version: int = 0
    outdated: Micros | None = None

    def request(self, person: Person) -> BroadcastRequest:
        """What this person asks for with it. Without a valid purpose, it is marketing, the stricter one."""
        return BroadcastRequest(
            workspace=person.workspace,
            requester=person.id,
            channel=self.channel,
            audience=self.audience,
            purpose=Purpose(self.purpose) if self.purpose in list(Purpose) else Purpose.MARKETING,
            text=self.text,
            send_at=self.send_at,
            sender=self.sender,
            campaign=self.campaign,
            canary=self.canary,
            zone=person.zone,
            test=self.test,
        )

    @property
    def about(self) -> str:
        """What it changes, completes, follows, corrects or was opened from; empty for a new broadcast."""
        if self.edits is not None:
            return f"edits:{self.edits[0]}"
        if self.draft is not None:
            return f"draft:{self.draft}"
        return f"follows:{self.follows}" if self.follows is not None else self.origin

    @property
    def values(self) -> dict[str, Any]:
        """What the form is filled with to show the same again."""
        named = {name: getattr(self, name) for name in ("audience", "purpose", "text", "sender", "campaign", "canary")}
        named |= {"template": self.template, "slots": dict(self.slots)} if self.template else {}
        named |= {"version": self.version} if self.version else {}
        return {**named, "send_at": self.send_at // SECOND if self.send_at else None}


def read_compose(view: Mapping[str, Any]) -> Composed:
    """Return what a person filled in. Missing fields come out empty, and later checks report them."""
    kept = kept_in(view)
    values = part(part(view, "state"), "values")
    return Composed(
        audience=_chosen(values, "audience"),
        purpose=_chosen(values, "purpose"),
        text="".join(_written(values)),
        send_at=_start(values),
        sender=_entered(values, "sender").strip() or None,
        campaign=_entered(values, "campaign").strip() or None,
        channel=id_in(kept.get("channel")) or "",
        draft=id_in(kept.get("draft")),
        follows=id_in(kept.get("follows")),
        edits=_edits(kept.get("edits")),
        refills=number(kept.get("refills")),
        test=kept.get("test") is True,
        canary=_chosen(values, "canary") or None,
        template=read_template(kept.get("template")),
        slots={name.removeprefix(BLOCK): _entered(values, name) for name in values if name.startswith(BLOCK)},
        choice=_choice(view, kept.get("taken"), values),
        again={name[:NAME]: number(count) for name, count in list(part(kept, "again").items())[:BLOCKS]},
        also=_ticked(values, "also"),
        origin=str(kept.get("origin") or "")[:ORIGIN],
        version=number(kept.get("version")),
        outdated=number(kept.get("outdated")) * SECOND or None,
    )


def _choice(view: Mapping[str, Any], taken: object, values: Mapping[str, Any]) -> Choice | None:
    """Return what is chosen; where the payload has no word of it, what the form was filled from."""
    if not any(name.split(":")[0] == "template" for name in inputs_of(view)):
        return None
    known = taken[:NAME] if isinstance(taken, str) else None
    if not any(name.split(":")[0] == "template" for name in values):
        return Choice((known, known) if known else None, known)
    option = part(_value(values, "template"), "selected_option")
    name = sms.storable(str(option.get("value") or ""))
    label = sms.storable(str(part(option, "text").get("text") or name))
    return Choice((name, label) if name else None, known)


def _start(values: Mapping[str, Any]) -> Micros | None:
    """Return the start that was chosen; one that has passed if it cannot be read, so that it does not become "now"."""
    chosen = _value(values, "send_at").get("selected_date_time")
    return None if chosen is None else number(chosen) * SECOND


def read_template(kept: object) -> tuple[str, str] | None:
    """Return the name and the digest of the template; those of none if they cannot be read."""
    if kept is None:
        return None
    match kept:
        case [str(name), str(digest)]:
            return name[:NAME], digest[:NAME]
    return "?", ""


def _edits(kept: object) -> tuple[str, int] | None:
    """Return the id and the version; those of no broadcast if they cannot be read, so that it does not become new."""
    if kept is None:
        return None
    match kept:
        case [id, int(version)]:
            return id_in(id) or "?", number(version)
    return "?", 0


def _written(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text, piece by piece. A block that had to be refilled is called `text:2`."""
    yield _entered(values, "text")  # whatever the number of its block
    rest = {match[1]: int(match[2] or 1) for match in map(MORE_TEXT.match, values) if match}
    for name in sorted(rest, key=lambda name: rest[name]):
        yield _entered(values, name)


def _value(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block that had to be refilled is called `text:2`: Slack keeps what was typed under the old name."""
    for block_id, actions in values.items():
        if block_id.split(":")[0] == name:
            return part(actions, "value")
    return {}


def _entered(values: Mapping[str, Any], name: str) -> str:
    return sms.storable(str(_value(values, name).get("value") or ""))


def _chosen(values: Mapping[str, Any], name: str) -> str:
    return str(part(_value(values, name), "selected_option").get("value") or "")


def _ticked(values: Mapping[str, Any], name: str) -> str:
    """The value of the only box, if it was ticked."""
    options = _value(values, name).get("selected_options")
    return str(part({"first": options[0]}, "first").get("value") or "") if isinstance(options, list) and options else ""


def kept_in(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form remembers; an empty dict if it is not ours."""
    try:
        kept = json.loads(str(view.get("private_metadata") or "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(kept, dict):
        return {}
    make_storable(kept)
    return kept


def read_line(view: Mapping[str, Any], name: str) -> str:
    """What was written in a field, trimmed; empty if nothing was."""
    return _entered(part(part(view, "state"), "values"), name).strip()


def read_replan(view: Mapping[str, Any]) -> Micros | None:
    """The start that was chosen."""
    return _start(part(part(view, "state"), "values"))
