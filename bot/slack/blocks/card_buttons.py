"""The buttons of a card, and the questions that they ask before they act."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Action, Hold, State, allowed
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.card_questions import QUESTION, question
from bot.slack.blocks.mrkdwn import Block, plain
from bot.workflow.reviews import CLOSE

BUTTONS: Mapping[Action, tuple[str, str | None]] = {  # label and style, in the order shown
    Action.APPROVE: ("Approve", "primary"),
    Action.REQUEST_CHANGES: ("Ask for changes", None),
    Action.REJECT: ("Reject", "danger"),
    Action.STOP: ("Stop", "danger"),
    Action.SEND_NOW: ("Send now", "primary"),
    Action.EDIT: ("Edit", None),
    Action.CANCEL: ("Cancel", None),
    Action.REPLAN: ("Re-plan", None),
    Action.BREAK_GLASS: ("Send without approval", None),
    Action.DROP: ("Drop", "danger"),
    Action.MARK_SENT: ("It went out", None),
    Action.MARK_NOT_SENT: ("It did not go out", "danger"),
}

#: What these buttons are called once a few people have got it.
AFTER_CANARY: Mapping[Action, str] = {Action.SEND_NOW: "Continue", Action.DROP: "Stop here"}

#: What hides behind ⋯ while the card asks for an approval.
IN_MENU = frozenset({Action.EDIT, Action.CANCEL, Action.REPLAN, Action.BREAK_GLASS})
MENU = "broadcast.more"
SHOW_IDS = "show_ids"
FEW_IDS = 3  # of the vendor's, which a card shows anyway

SHOWN_AGAIN = "shown:"  # begins the id of a card's buttons outside of the card

#: The label of the follow-up, for a broadcast that is over or can only be corrected.
FOLLOW_UPS: Mapping[State, str] = {
    **dict.fromkeys((State.SENT, State.DONE), "Send a correction"),
    **dict.fromkeys((State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED), "Send again"),
}


def buttons(broadcast: Broadcast, showing: CardContext, words: Translator) -> list[Block]:
    """Return the buttons, read from the table of transitions so that they cannot disagree with it.

    A follow-up is not a transition: it is a new broadcast, whose form starts with this one's text.
    """
    possible = allowed(broadcast.state) - {Action.CANCEL if broadcast.in_undo_window else Action.STOP}
    if broadcast.hold is Hold.HOURS:  # the hours would only hold it again
        possible -= {Action.SEND_NOW}
    if broadcast.is_canary:  # it changes with the broadcast that it tries out
        possible -= {Action.EDIT, Action.REPLAN}
    if not showing.glass:
        possible -= {Action.BREAK_GLASS}
    shown = [action for action in BUTTONS if action in possible]
    menu = [action for action in shown if broadcast.state is State.PENDING and action in IN_MENU]
    elements = [_button(action, broadcast, showing, words) for action in shown if action not in menu]
    if menu:
        elements.append(_menu(menu, broadcast, words))
    if broadcast.state is State.DRAFT:
        elements.append({**plain_button("edit", words("Edit"), broadcast), "style": "primary"})
    if broadcast.state in FOLLOW_UPS and not broadcast.is_canary:
        again = words(FOLLOW_UPS[broadcast.state])
        elements.append(plain_button("follow_up", words("Ask to send it") if broadcast.test_of else again, broadcast))
    if len(broadcast.ids) > FEW_IDS:
        elements.append(plain_button(SHOW_IDS, words("Show ids"), broadcast))
    if broadcast.review_open:
        elements.append(plain_button(CLOSE, words("Close the review"), broadcast))
    if not elements:
        return []
    return [{"type": "actions", "block_id": f"actions:{broadcast.revision}:{showing.since}", "elements": elements}]


def _menu(actions: Iterable[Action], broadcast: Broadcast, words: Translator) -> dict[str, Any]:
    value = f"{broadcast.id}:{broadcast.version}"
    options = [{"text": plain(words(BUTTONS[action][0])), "value": f"{action}:{value}"} for action in actions]
    return {"type": "overflow", "action_id": MENU, "options": options}


def press_of(action: Mapping[str, Any]) -> tuple[str, str]:
    """Return what was chosen, by a button or in the menu, and the value with its broadcast and version."""
    name, value = str(action.get("action_id") or ""), str(action.get("value") or "")
    if name == MENU:
        option = action.get("selected_option")
        name, _, value = str(option.get("value") or "" if isinstance(option, Mapping) else "").partition(":")
    return name.removeprefix("broadcast."), value


def drawing_of(block_id: str) -> tuple[int, Micros] | None:
    """Return the revision that the buttons in this block show, and since when its facts hold.

    None if the block is not ours: then only the message identifies what the person saw.
    """
    matched = re.fullmatch(r"(?:actions|shown):([0-9]{1,9})(?::([0-9]{1,18}))?", block_id)
    return (int(matched[1]), int(matched[2] or 0)) if matched else None


def shown_again(buttons: Block, drawing: tuple[int, Micros]) -> Block:
    """Return the buttons of a card for an answer that shows the same; a press on them counts as one on the card."""
    revision, since = drawing
    return {**buttons, "block_id": f"{SHOWN_AGAIN}{revision}:{since}"}


def is_shown_again(block_id: str) -> bool:
    return block_id.startswith(SHOWN_AGAIN)


def _button(action: Action, broadcast: Broadcast, showing: CardContext, words: Translator) -> dict[str, Any]:
    name, style = BUTTONS[action]
    label = words(name)
    if broadcast.hold is Hold.CANARY and action in AFTER_CANARY:
        label = words(AFTER_CANARY[action])
    elif showing.training and action in (Action.APPROVE, Action.SEND_NOW):
        label = words("Simulate")
    button = plain_button(action, label, broadcast)
    if style:
        button["style"] = style
    if asked := question(action, broadcast, showing, words):
        button["confirm"] = {
            "title": plain(label),
            "text": plain(asked[:QUESTION]),
            "confirm": plain(label[:30]),
            "deny": plain(words("Go back")),
        }
    return button


def plain_button(name: str, label: str, broadcast: Broadcast) -> dict[str, Any]:
    value = f"{broadcast.id}:{broadcast.version}"
    return {"type": "button", "action_id": f"broadcast.{name}", "text": plain(label), "value": value}
