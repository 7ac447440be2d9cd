"""The audit as people read it: a sentence for each row, with the time in their zone. For operators, so in English."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.domain.clock import Micros, moment
from bot.domain.id_ranges import ids_in_words
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
#: Who did what. `{it}` is what it was done to.
DEEDS: Mapping[str, str] = {
    Action.SUBMIT: "{who} asked for {it}",
    Action.DISCARD: "{who} deleted the draft {it}",
    Action.APPROVE: "{who} approved {it}",
    Action.BREAK_GLASS: "{who} sent {it} without approval",
    Action.WITHDRAW: "{who} withdrew the approval of {it}",
    Action.REJECT: "{who} rejected {it}",
    Action.REQUEST_CHANGES: "{who} asked for changes to {it}",
    Action.EDIT: "{who} edited {it}",
    Action.CANCEL: "{who} cancelled {it}",
    Action.EXPIRE: "{who} ended {it} without a decision",
    Action.STOP: "{who} stopped {it}",
    Action.HOLD: "{who} held {it}",
    Action.RESUME: "{who} resumed {it}",
    Action.SEND_NOW: "{who} set {it} to go at once",
    Action.REPLAN: "{who} re-planned {it}",
    Action.DROP: "{who} dropped {it}",
    Action.START: "{who} started {it}",
    Action.RELEASE: "{who} released {it} to the vendor",
    Action.PUT_BACK: "{who} put {it} back",
    Action.OUTGROW: "{who} asked for the approval of {it} again, since it is larger",
    Action.LAPSE: "{who} let the approval of {it} lapse",
    Action.RETURN: "{who} returned {it} as a draft",
    Action.ACCEPT: "{who} accepted {it}",
    Action.REFUSE: "{who} refused {it}",
    Action.LOSE_TRACK: "{who} lost track of {it}: the outcome is unknown",
    Action.PROVE: "{who} proved that {it} was sent",
    Action.MARK_SENT: "{who} said that {it} was sent",
    Action.MARK_NOT_SENT: "{who} said that {it} was not sent",
    Action.FINISH: "{who} finished {it}",
    "vote": "{who} approved {it}, which needs more approvals",
    "delegate": "{who} approved {it} in somebody else’s place",
    "give_reason": "{who} gave a reason about {it}",
    "ask": "{who} asked the vendor what became of {it}",
    "close_review": "{who} closed the review of {it}",
    "accept_late": "{who} reported late that {it} was accepted",
    "refuse_late": "{who} reported late that {it} was refused",
    "report_late": "{who} reported deliveries of {it} late",
    "remove_text": "{who} had the text of {it} removed",
    "erase": "{who} erased {it}",
    "erase_number": "{who} erased a number",
    "pause_all": "{who} paused all sending",
    "resume_all": "{who} resumed all sending",
    "away": "{who} was away, with a delegate",
    "back": "{who} was back",
    "settings": "{who} changed the settings of the workspace",
    "approve_template": "{who} approved a template",
    "withdraw_template": "{who} withdrew the approval of a template",
    "schedule_broadcast": "{who} scheduled the recurring broadcast {it}",
    "schedule_reminder": "{who} scheduled the reminder {it}",
    "pause_broadcast": "{who} paused the recurring broadcast {it}",
    "pause_reminder": "{who} paused the reminder {it}",
    "resume_broadcast": "{who} resumed the recurring broadcast {it}",
    "resume_reminder": "{who} resumed the reminder {it}",
    "finish_broadcast": "{who} finished the recurring broadcast {it}",
    "finish_reminder": "{who} finished the reminder {it}",
    "stop_broadcast": "{who} stopped the recurring broadcast {it}",
    "stop_reminder": "{who} stopped the reminder {it}",
    "install": "{who} installed the bot",
    "uninstall": "{who} uninstalled the bot, or took its token back",
    "done_reminder": "{who} answered the reminder {it}",
    "snooze_reminder": "{who} put off the reminder {it}",
}


FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # what a cell of a formula begins with


def defused(cell: object) -> object:
    """The cell, which no spreadsheet takes for a formula: a quote before its first character."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def csv_of(found: Sequence[Mapping[str, Any]], zone: str) -> str:
    """Return rows of the audit as CSV, each with its place in the chain."""
    written = io.StringIO()
    writer = csv.DictWriter(written, ("place", *COLUMNS))
    writer.writeheader()
    for row in found:
        time = moment(row["at"]).astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")
        cells = {"time": time, "sentence": sentence(row), **row}
        writer.writerow({name: defused(value) for name, value in cells.items()})
    return written.getvalue()


#: The columns of an export: also the vendor's ids, where the row says that it accepted the broadcast.
EXPORTED = (*COLUMNS, "ids")
ACCEPTING = frozenset({Action.ACCEPT, Action.PROVE, "accept_late"})


def exported(connection: Connection, since: Micros, until: Micros | None, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    """Yield the audit of this time, oldest first, row by row, under `EXPORTED`. Needs little memory."""
    for row in audit.audit_since(connection, since, until):
        stored: dict[str, Any] = dict(row)
        time = moment(stored["at"]).astimezone(zone).isoformat(timespec="seconds")
        ids = audit.ids_of(connection, stored) if stored["action"] in ACCEPTING else []
        yield {"time": time, "sentence": sentence(stored), **stored, "ids": ids_in_words(ids, None)}


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
        said = deed.format(who=who, it=it) if deed else f"{who} did “{row['action']}” to {it}"
    why = re.sub(r"\s+", " ", row["reason"] or "").strip()
    return f"{said}: {why}" if why else f"{said}."
