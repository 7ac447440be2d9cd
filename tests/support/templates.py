"""A template with slots, and the form that fills it in."""

from __future__ import annotations

from typing import Any

from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.slack import HERE, ask, filled

WORDING = "Nos soldes à {{city:20}} dès le {{day:date}}"
SAVE = f"template save promo newsletter marketing {WORDING}"
PARIS = {"city": "Paris", "day": "24/12/2027"}
FILLED = "Nos soldes à Paris dès le 24/12/2027"


def with_slots(slots: dict[str, str], **more: Any) -> Json:
    values = filled("newsletter", "", **more)
    del values["text"]
    return values | {f"slot_{name}": {"value": {"type": "plain_text_input", "value": v}} for name, v in slots.items()}


async def opened(sandbox: Sandbox, user: str = "U0DAN", line: str = "template use promo") -> Json:
    assert await ask(sandbox, line, user=user) == ""
    return sandbox.acting.views(user)[-1]


async def approve(sandbox: Sandbox, user: str = "U0ANA", line: str = "template approve promo") -> str:
    """Look at it, press the button, and return what one is told then."""
    await ask(sandbox, line, user=user)
    before = sandbox.acting.ephemerals(user)
    seen, count = before[-1], len(before)
    await sandbox.acting.click(user, HERE, seen["ts"], "broadcast.approve_template")
    await sandbox.until(lambda: len(sandbox.acting.ephemerals(user)) > count)
    return str(sandbox.acting.ephemerals(user)[-1]["text"])


def chosen(name: str | None) -> Json:
    option = name and {"value": name, "text": {"type": "plain_text", "text": f"{name} → newsletter"}}
    return {"value": {"type": "external_select", "selected_option": option}}


def inputs(sandbox: Sandbox) -> dict[str, Json]:
    """The inputs of the open form, each with what it is filled with."""
    blocks = sandbox.acting.views("U0DAN")[-1]["blocks"]
    return {block["block_id"]: block["element"] for block in blocks if block["type"] == "input"}


def holds(sandbox: Sandbox) -> Json:
    """What Slack has in the form: what its inputs are filled with."""
    values: Json = {}
    for name, element in inputs(sandbox).items():
        option = element.get("initial_option")
        values[name] = {"value": {"type": element["type"], "value": element.get("initial_value")}}
        values[name]["value"] |= {"selected_option": option} if option else {}
    return values
