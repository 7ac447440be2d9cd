"""What a submitted form must have done once it was acknowledged: Slack closes it, and what it held is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from bot.domain import slots
from bot.domain.clock import SECOND
from bot.slack.blocks import form_values
from bot.slack.payload import make_storable, part
from bot.storage.tables import audit, broadcasts, notes, templates
from bot.storage.templates import find_template
from sandbox.world import Json
from tests.support.generated import FORMS


def lost(connection: Connection, body: Json) -> str | None:
    """What is lost of a form that was acknowledged without errors; None if it is stored, or has had its effect."""
    body = json.loads(json.dumps(body))
    make_storable(body)
    view, keeps = body["view"], form_values.kept_in(body["view"])
    field, action = FORMS.get(view["callback_id"], ("", ""))
    user, id = str(part(body, "user").get("id")), str(keeps.get("id")).upper()
    written = wrote(view, field)
    if view["callback_id"] == "broadcast_compose":
        done = _is_asked(connection, view, keeps)
    elif view["callback_id"] == "broadcast_template":
        done = _is_kept(connection, view, keeps)
    elif view["callback_id"] == "broadcast_replan":
        done = _is_planned(connection, id, chosen(view, "send_at", "selected_date_time"))
    else:
        action = "give_reason" if keeps.get("after") and action == "reject" else action
        mine = (audit.c.broadcast == id, audit.c.actor == user, audit.c.action == action)
        said = {*connection.execute(select(audit.c.reason).where(*mine)).scalars()}
        again = action == "close_review" and said  # who has closed it may close it again, which changes nothing
        done = bool(action and (again or (written.strip() or None) in said))
    return None if done else f"“{written}” is lost"


def wrote(view: Json, name: str) -> str:
    """What stands in a field; of the text, in all of its inputs."""
    pieces = [
        str(part(part(inputs, block), "value").get("value") or "")
        for inputs in [part(part(view, "state"), "values")]
        for block in inputs
        if block.split(":")[0] == name or (name == "text" and block.startswith("text_rest"))
    ]
    return "".join(pieces)


def chosen(view: Json, name: str, key: str) -> Any:
    return part(part(part(part(view, "state"), "values"), name), "value").get(key)


def _is_asked(connection: Connection, view: Json, keeps: Mapping[str, Any]) -> bool:
    """Whether a broadcast has the text, or had it before somebody changed it since."""
    text = wrote(view, "text")
    if keeps.get("template"):
        name, digest = keeps["template"]
        template = find_template(connection, "T0BELL", name.lower())
        if template is None or template.digest != digest:  # somebody else changed it since
            by_key = select(broadcasts.c.id).where(broadcasts.c.key == f"view:{view['id']}")
            return bool(keeps.get("edits")) or connection.execute(by_key).first() is not None
        wording = template.text
        text = slots.fill(wording, {name: slots.clean(wrote(view, f"slot_{name}")) for name in ("city", "day")})
    of = [broadcasts.c.id == str(keeps["edits"][0]).upper()] if keeps.get("edits") else []
    if connection.execute(select(broadcasts.c.id).where(broadcasts.c.typed == text, *of).limit(1)).first():
        return True
    said = connection.execute(select(notes.c.broadcast, notes.c.sentence)).all()
    texts = [
        (one.broadcast, one.sentence["values"].get(f"text_{when}")) for one in said for when in ("before", "after")
    ]
    return any(found == text and (not of or id == str(keeps["edits"][0]).upper()) for id, found in texts)


def _is_kept(connection: Connection, view: Json, keeps: Mapping[str, Any]) -> bool:
    """Whether the template has the text; one that others know may have been changed or deleted since."""
    kept = select(templates.c.text, templates.c.changed_at).where(
        templates.c.name == wrote(view, "name").strip().lower()
    )
    row = connection.execute(kept).first()
    if keeps.get("seen") is not None and (row is None or row.changed_at != keeps["seen"]):
        return True
    return row is not None and row.text == wrote(view, "text").strip()


def _is_planned(connection: Connection, id: str, start: Any) -> bool:
    said = connection.execute(select(notes.c.sentence).where(notes.c.broadcast == id)).scalars()
    return start is not None and any(sentence["values"].get("start_at") == start * SECOND for sentence in said)
