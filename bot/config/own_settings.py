"""What the admins of a workspace change in Slack, over the settings of the operator's file.

Only what is named here can be changed there. Accounts, secrets, addresses and the admins themselves are the operator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bot.config.complaints import complaint
from bot.config.misfits import misfits_of_approval
from bot.config.settings import ApprovalSettings, Settings
from bot.config.sources import Written

M = TypeVar("M", bound=BaseModel)
OF_APPROVAL = ("approvers", "channel", "quorum", "undo", "approve_reactions", "reject_reactions", "rules")
OF_WORKSPACE = ("locale", "asks_per_hour")
#: The names of all, as docs and the audit write them.
EDITABLE = (*(f"approval.{name}" for name in OF_APPROVAL), *OF_WORKSPACE)

RESET = "`bellcrier config reset {id}` takes it back."

Values = Mapping[str, Any]  # by these names, as JSON has them


class Unsuitable(Exception):
    """These settings cannot be used. `wrong`: why, by the name of the setting."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__("; ".join(wrong.values()))
        self.wrong = wrong


def values_of(settings: Settings) -> dict[str, Any]:
    """Return what admins can change, as it is now."""
    plain = settings.model_dump(mode="json", include={"approval", *OF_WORKSPACE})
    rules = settings.approval.model_dump(mode="json", include={"rules"}, exclude_none=True, exclude_defaults=False)
    found = {f"approval.{name}": plain["approval"][name] for name in OF_APPROVAL}
    found["approval.rules"] = [_as_written(rule) for rule in rules["rules"]]
    return found | {name: plain[name] for name in OF_WORKSPACE}


def _as_written(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule as a file has it, without what is left out."""
    written = {name: value for name, value in rule.items() if value not in (None, [])}
    if "between" in written:
        written["between"] = "-".join(one[:5] for one in written["between"])
    return written


def changed_values(file: Settings, wanted: Values) -> dict[str, Any]:
    """Return those that differ from the file's. The others go on following the file. Raises Unsuitable."""
    before, after = values_of(file), values_of(with_values(file, wanted))
    return {name: after[name] for name in EDITABLE if after[name] != before[name]}


def with_values(file: Settings, values: Values) -> Settings:
    """Return the settings of the file with these in their place. Raises Unsuitable, just as the file is refused."""
    if unknown := values.keys() - set(EDITABLE):
        raise Unsuitable({name: f"{name}: admins cannot change this in Slack." for name in sorted(unknown)})
    given = {name.removeprefix("approval."): value for name, value in values.items() if name.startswith("approval.")}
    of_file = {name: getattr(file.approval, name) for name in file.approval.model_fields_set}
    wrong = dict[str, str]()
    approval = _read(ApprovalSettings, of_file | given, "approval.", wrong)
    own = _read(Settings, {name: values[name] for name in OF_WORKSPACE if name in values}, "", wrong)
    if approval is not None:
        for (_, name, *_rest), why in misfits_of_approval(approval, file, {}):
            if name in given or (name == "reject_reactions" and "approve_reactions" in given):
                wrong.setdefault(f"approval.{name}", f"approval.{name}: {why}.")
    if wrong or approval is None or own is None:
        raise Unsuitable(wrong)
    update = {name: getattr(own, name) for name in OF_WORKSPACE if name in values}
    return file.model_copy(update=update | ({"approval": approval} if given else {}))


def _read(model: type[M], raw: Mapping[str, Any], prefix: str, wrong: dict[str, str]) -> M | None:
    """Return what the model reads; None, with what is wrong by name, if it refuses."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        written, at = Written(_placed(raw, prefix)), tuple(filter(None, [prefix.rstrip(".")]))
        for detail in error.errors(include_input=False, include_url=False):
            name = f"{prefix}{detail['loc'][0]}"
            told = {**detail, "loc": (*at, *detail["loc"])}
            wrong[name] = " ".join(filter(None, [wrong.get(name), complaint(told, written)]))
    return None


def _placed(raw: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {prefix.rstrip("."): dict(raw)} if prefix else dict(raw)
