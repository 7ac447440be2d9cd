"""The audit as people read it: a sentence for each row, with the time in their zone. For operators, so in English."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.domain.clock import Micros, moment
from bot.domain.lifecycle import Action
from bot.storage import audit
from bot.storage.tables import audit as rows

#: The columns, in their order: what people read, then the row as it is stored, and the hash of its seal.
COLUMNS = ("time", "sentence", *(column.name for column in rows.columns), "hash")

ACTORS: Mapping[str, str] = {
    "clock": "The clock",
    "policy": "The rules",
    "dispatcher": "The dispatcher",
    "restore": "The restore",
    "slack": "Slack",
    "retention": "The retention period",
    "operator": "The operator",
}
#: What was done. `{it}` is what it was done to, `{why}` the reason.
DEEDS: Mapping[str, str] = {
    Action.SUBMIT: "asked for {it}",
    Action.DISCARD: "deleted the draft {it}",
    Action.APPROVE: "approved {it}",
    Action.BREAK_GLASS: "sent {it} without approval",
    Action.WITHDRAW: "withdrew the approval of {it}",
    Action.REJECT: "rejected {it}",
    Action.REQUEST_CHANGES: "asked for changes to {it}",
    Action.EDIT: "edited {it}",
    Action.CANCEL: "cancelled {it}",
    Action.EXPIRE: "ended {it} without a decision",
    Action.STOP: "stopped {it}",
    Action.HOLD: "held {it}",
    Action.RESUME: "resumed {it}",
    Action.SEND_NOW: "set {it} to go at once",
    Action.REPLAN: "re-planned {it}",
    Action.DROP: "dropped {it}",
    Action.START: "started {it}",
    Action.RELEASE: "released {it} to the vendor",
    Action.PUT_BACK: "put {it} back",
    Action.OUTGROW: "asked for the approval of {it} again, since it is larger",
    Action.LAPSE: "let the approval of {it} lapse",
    Action.RETURN: "returned {it} as a draft",
    Action.ACCEPT: "accepted {it}",
    Action.REFUSE: "refused {it}",
    Action.LOSE_TRACK: "lost track of {it}: the outcome is unknown",
    Action.PROVE: "proved that {it} was sent",
    Action.MARK_SENT: "said that {it} was sent",
    Action.MARK_NOT_SENT: "said that {it} was not sent",
    Action.FINISH: "finished {it}",
    "vote": "approved {it}, which needs more approvals",
    "delegate": "approved {it} in somebody's place",
    "give_reason": "gave a reason about {it}",
    "ask": "asked the vendor what became of {it}",
    "close_review": "closed the review of {it}",
    "accept_late": "reported late that {it} was accepted",
    "refuse_late": "reported late that {it} was refused",
    "report_late": "reported deliveries of {it} late",
    "remove_text": "had the text of {it} removed",
    "erase": "erased {it}",
    "erase_number": "erased a number",
    "pause_all": "paused all sending",
    "resume_all": "resumed all sending",
    "away": "was away, with a delegate",
    "back": "was back",
    "settings": "changed the settings of the workspace",
    "approve_template": "approved a template",
    "withdraw_template": "withdrew the approval of a template",
    "schedule_broadcast": "scheduled the recurring broadcast {it}",
    "schedule_reminder": "scheduled the reminder {it}",
    "pause_broadcast": "paused the recurring broadcast {it}",
    "pause_reminder": "paused the reminder {it}",
    "resume_broadcast": "resumed the recurring broadcast {it}",
    "resume_reminder": "resumed the reminder {it}",
    "finish_broadcast": "finished the recurring broadcast {it}",
    "finish_reminder": "finished the reminder {it}",
    "stop_broadcast": "stopped the recurring broadcast {it}",
    "stop_reminder": "stopped the reminder {it}",
    "install": "installed the bot",
    "uninstall": "uninstalled the bot, or took its token back",
    "done_reminder": "answered the reminder {it}",
    "snooze_reminder": "put off the reminder {it}",
}


def exported(connection: Connection, since: Micros, until: Micros | None, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    """Yield the audit of this time, oldest first, row by row, under `COLUMNS`. Needs little memory."""
    for row in audit.audit_since(connection, since, until):
        stored: dict[str, Any] = dict(row)
        time = moment(stored["at"]).astimezone(zone).isoformat(timespec="seconds")
        yield {"time": time, "sentence": sentence(stored), **stored}


def sentence(row: Mapping[str, Any]) -> str:
    """Say who did what, and why."""
    actor = str(row["actor"])
    who = ACTORS.get(actor, actor)
    it = str(row["broadcast"] or "it")
    if row["version"] is not None:
        it = f"{it} (version {row['version']})"
    refused = str(row["action"]).removesuffix("_refused")
    if refused != row["action"]:
        about = f" {it}" if row["broadcast"] else ""
        wanted = "ask for the findings of doctor" if refused == "doctor" else refused.replace("_", " ")
        said = f"{who} was not allowed to {wanted}{about}"
    else:
        deed = DEEDS.get(str(row["action"]))
        said = f"{who} {deed.format(it=it)}" if deed else f"{who} did “{row['action']}” to {it}"
    why = re.sub(r"\s+", " ", row["reason"] or "").strip()
    return f"{said}: {why}" if why else f"{said}."
