"""Slack's limits on blocks, views and text, refused as Slack refuses them: with a pointer to what is wrong.

Numbers: docs.slack.dev/reference/block-kit, and bolt-js issue 2509 for the undocumented total.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sandbox.world import Json, SlackError

TOTAL = 13_200
MOST_VIEW = 250_000
ELEMENTS = frozenset(
    {
        *("button", "static_select", "multi_static_select", "users_select", "multi_users_select", "overflow"),
        *("conversations_select", "channels_select", "external_select", "datepicker", "timepicker", "datetimepicker"),
        *("checkboxes", "radio_buttons", "plain_text_input", "number_input", "email_text_input", "url_text_input"),
    }
)
INPUTS_ONLY = frozenset({"plain_text_input", "number_input", "email_text_input", "url_text_input"})

Problem = tuple[str, str]


def check_blocks(blocks: Any, *, most: int = 50, modal: bool = False) -> None:
    """Raise SlackError for blocks that Slack would refuse."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    problems = list(_problems(blocks, most, modal))
    if problems:
        said = [f"[ERROR] {what} [json-pointer:{where}]" for where, what in problems]
        raise SlackError("invalid_blocks", response_metadata={"messages": said})
    if not modal and len(json.dumps(blocks, ensure_ascii=False)) > TOTAL + 200 * len(blocks):
        raise SlackError("msg_blocks_too_long")


def _problems(blocks: list[Json], most: int, modal: bool) -> Iterator[Problem]:
    if len(blocks) > most:
        yield "/blocks", f"no more than {most} items allowed"
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        where = f"/blocks/{index}"
        id = block.get("block_id")
        if id is not None and (not isinstance(id, str) or len(id) > 255):
            yield f"{where}/block_id", "must be at most 255 characters"
        if id in seen:
            yield f"{where}/block_id", "block_id must be unique"
        seen |= {id} if id else set()
        check = CHECKS.get(str(block.get("type")))
        if check is None:
            yield f"{where}/type", f"unsupported type: {block.get('type')}"
        elif block["type"] == "data_visualization" and modal:
            yield f"{where}/type", "not allowed here"
        elif block["type"] == "input" and not modal:
            yield where, "input blocks need a submit here"
        else:
            yield from check(block, where)


def _text(value: Any, where: str, most: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> Iterator[Problem]:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield where, f"must be {' or '.join(kinds)}"
        return
    text = value.get("text")
    if not isinstance(text, str) or not text:
        yield f"{where}/text", "must be more than 0 characters"
    elif len(text) > most:
        yield f"{where}/text", f"must be less than {most + 1} characters"
    if value["type"] == "mrkdwn" and "emoji" in value:
        yield f"{where}/emoji", "not allowed for mrkdwn"


def _header(block: Json, where: str) -> Iterator[Problem]:
    yield from _text(block.get("text"), f"{where}/text", 150, ("plain_text",))


def _section(block: Json, where: str) -> Iterator[Problem]:
    if "text" not in block and "fields" not in block:
        yield where, "needs text or fields"
    if "text" in block:
        yield from _text(block["text"], f"{where}/text", 3000)
    fields = block.get("fields", [])
    if len(fields) > 10:
        yield f"{where}/fields", "no more than 10 items allowed"
    for index, entry in enumerate(fields):
        yield from _text(entry, f"{where}/fields/{index}", 2000)
    if "accessory" in block:
        yield from _element(block["accessory"], f"{where}/accessory")


def _context(block: Json, where: str) -> Iterator[Problem]:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 10:
        yield f"{where}/elements", "between 1 and 10 items"
    for index, element in enumerate(elements):
        if element.get("type") != "image":
            yield from _text(element, f"{where}/elements/{index}", 3000)


def _actions(block: Json, where: str) -> Iterator[Problem]:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 25:
        yield f"{where}/elements", "between 1 and 25 items"
    ids = [element.get("action_id") for element in elements]
    if len(ids) != len(set(ids)):
        yield f"{where}/elements", "action_id must be unique in its block"
    for index, element in enumerate(elements):
        if element.get("type") in INPUTS_ONLY:
            yield f"{where}/elements/{index}", "not allowed in actions"
        yield from _element(element, f"{where}/elements/{index}")


def _input(block: Json, where: str) -> Iterator[Problem]:
    yield from _text(block.get("label"), f"{where}/label", 2000, ("plain_text",))
    if "hint" in block:
        yield from _text(block["hint"], f"{where}/hint", 2000, ("plain_text",))
    yield from _element(block.get("element"), f"{where}/element")


def _image(block: Json, where: str) -> Iterator[Problem]:
    if not block.get("alt_text") or len(block["alt_text"]) > 2000:
        yield f"{where}/alt_text", "is required"
    if len(str(block.get("image_url", ""))) > 3000:
        yield f"{where}/image_url", "must be less than 3001 characters"


def _rich_text(block: Json, where: str) -> Iterator[Problem]:
    known = {"rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"}
    for index, element in enumerate(block.get("elements") or [{}]):
        if element.get("type") not in known:
            yield f"{where}/elements/{index}", "unknown rich text element"
        for inner, part in enumerate(element.get("elements", [])):
            if part.get("type") == "text" and not part.get("text"):
                yield f"{where}/elements/{index}/elements/{inner}", "must be more than 0 characters"


def _divider(block: Json, where: str) -> Iterator[Problem]:
    yield from ()


def _element(element: Any, where: str) -> Iterator[Problem]:
    if not isinstance(element, dict) or element.get("type") not in ELEMENTS | {"image"}:
        yield where, "unsupported element"
        return
    if len(str(element.get("action_id", ""))) > 255:
        yield f"{where}/action_id", "must be at most 255 characters"
    if element["type"] == "button":
        yield from _button(element, where)
    for name in ("options", "initial_options"):
        yield from _options(element.get(name), f"{where}/{name}", required=name in element)
    if "placeholder" in element:
        yield from _text(element["placeholder"], f"{where}/placeholder", 150, ("plain_text",))
    if element.get("max_length", 1) not in range(1, 3001) or element.get("min_length", 0) not in range(3001):
        yield where, "length limits must be within 0-3000"
    if len(str(element.get("initial_value") or "").encode("utf-16-le")) // 2 > element.get("max_length", 3000):
        yield f"{where}/initial_value", "must not be longer than max_length"
    initial = element.get("initial_option")
    if initial is not None and initial not in element.get("options", [initial]):
        yield f"{where}/initial_option", "must be one of the options"
    if "confirm" in element:
        yield from _confirm(element["confirm"], f"{where}/confirm")


def _button(element: Json, where: str) -> Iterator[Problem]:
    yield from _text(element.get("text"), f"{where}/text", 75, ("plain_text",))
    if len(str(element.get("value", ""))) > 2000:
        yield f"{where}/value", "must be less than 2001 characters"
    if element.get("style") not in (None, "primary", "danger"):
        yield f"{where}/style", "primary or danger"


def _options(options: Any, where: str, *, required: bool) -> Iterator[Problem]:
    if not required:
        return
    if not isinstance(options, list) or not 1 <= len(options) <= 100:
        yield where, "between 1 and 100 items"
        return
    for index, option in enumerate(options):
        yield from _text(option.get("text"), f"{where}/{index}/text", 75)
        if not option.get("value") or len(option["value"]) > 150:
            yield f"{where}/{index}/value", "between 1 and 150 characters"


def _confirm(confirm: Json, where: str) -> Iterator[Problem]:
    for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
        yield from _text(confirm.get(name), f"{where}/{name}", most)


def _chart(block: Json, where: str) -> Iterator[Problem]:
    """A pie: docs.slack.dev/reference/block-kit/blocks/data-visualization-block. The bot draws no other chart."""
    if not 1 <= len(str(block.get("title") or "")) <= 50:
        yield f"{where}/title", "between 1 and 50 characters"
    chart = block.get("chart")
    segments = chart.get("segments") if isinstance(chart, dict) else None
    if not isinstance(chart, dict) or chart.get("type") != "pie" or not isinstance(segments, list):
        yield f"{where}/chart", "must be a pie with segments"
        return
    if not 1 <= len(segments) <= 6:
        yield f"{where}/chart/segments", "between 1 and 6 items"
    for index, segment in enumerate(segments):
        if not 1 <= len(str(segment.get("label") or "")) <= 20:
            yield f"{where}/chart/segments/{index}/label", "between 1 and 20 characters"
        if type(segment.get("value")) not in (int, float) or segment["value"] <= 0:
            yield f"{where}/chart/segments/{index}/value", "must be a positive number"


CHECKS: dict[str, Callable[[Json, str], Iterator[Problem]]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "input": _input,
    "image": _image,
    "rich_text": _rich_text,
    "divider": _divider,
    "data_visualization": _chart,
}


def check_view(view: Any) -> None:
    """Raise SlackError for a modal that Slack would refuse."""
    blocks = _view_blocks(view, "modal")
    said = [what for name in ("title", "submit", "close") for what in _view_text(view, name)]
    if any(block.get("type") == "input" for block in blocks) and "submit" not in view:
        said.append("a view with inputs needs a submit")
    _check_rest(view, blocks, said)


def check_home(view: Any) -> None:
    """Raise SlackError for a Home that Slack would refuse: it has blocks alone, with nothing to submit or to close."""
    blocks = _view_blocks(view, "home")
    said = [f"a home view must not have {name}" for name in ("submit", "close") if name in view]
    if len(json.dumps(view)) > MOST_VIEW:
        raise SlackError("view_too_large")
    _check_rest(view, blocks, said)


def _view_blocks(view: Any, type: str) -> list[Json]:
    if not isinstance(view, dict) or view.get("type") != type:
        raise SlackError("invalid_arguments", response_metadata={"messages": [f"[ERROR] view must be a {type}"]})
    return view.get("blocks") or []


def _check_rest(view: Json, blocks: list[Json], said: list[str]) -> None:
    if len(view.get("private_metadata") or "") > 3000:
        said.append("private_metadata must be at most 3000 characters")
    if len(view.get("callback_id") or "") > 255:
        said.append("callback_id must be at most 255 characters")
    if said:
        raise SlackError("invalid_arguments", response_metadata={"messages": [f"[ERROR] {one}" for one in said]})
    check_blocks(blocks, most=100, modal=True)


def _view_text(view: Json, name: str) -> Iterator[str]:
    if name not in view:
        if name == "title":
            yield "a view needs a title"
        return
    yield from (f"{name}: {what}" for _, what in _text(view[name], f"/{name}", 24, ("plain_text",)))
