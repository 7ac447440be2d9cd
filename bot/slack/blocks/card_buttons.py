"""The buttons of a card, and the questions that they ask before they act."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.hours import HoldUntil, Refuse
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Action, Hold, State, allowed
from bot.slack.blocks.card_facts import CardContext, ahead, is_late, more_needed, pause_effect, starts, to_whom
from bot.slack.blocks.forms import unmarked
from bot.slack.blocks.mrkdwn import Block, plain, sentence
from bot.workflow.deadlines import NOT_THEN

QUESTION = 300  # characters of a question before a press

BUTTONS: Mapping[Action, tuple[str, str | None]] = {  # label and style, in the order shown
    Action.APPROVE: ("Approve", "primary"),
    Action.REJECT: ("Reject", "danger"),
    Action.CANCEL: ("Cancel", None),
    Action.STOP: ("Stop", "danger"),
    Action.SEND_NOW: ("Send now", "primary"),
    Action.REPLAN: ("Re-plan", None),
    Action.DROP: ("Drop", "danger"),
    Action.MARK_SENT: ("It went out", None),
    Action.MARK_NOT_SENT: ("It did not go out", "danger"),
}

#: The label of the follow-up, for a broadcast that is over or can only be corrected.
FOLLOW_UPS: Mapping[State, str] = {
    **dict.fromkeys((State.SENT, State.DONE), "Send a correction"),
    **dict.fromkeys((State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED), "Send a follow-up"),
}


def buttons(broadcast: Broadcast, showing: CardContext, words: Translator) -> list[Block]:
    """Return the buttons, read from the table of transitions so that they cannot disagree with it.

    A follow-up is not a transition: it is a new broadcast, whose form starts with this one's text.
    """
    possible = allowed(broadcast.state) - {Action.CANCEL if broadcast.in_undo_window else Action.STOP}
    if broadcast.hold is Hold.HOURS:  # the hours would only hold it again
        possible -= {Action.SEND_NOW}
    shown = [action for action in BUTTONS if action in possible]
    elements = [_button(action, broadcast, showing, words) for action in shown]
    if broadcast.state in FOLLOW_UPS:
        elements.append(plain_button("follow_up", words(FOLLOW_UPS[broadcast.state]), broadcast))
    if not elements:
        return []
    return [{"type": "actions", "block_id": f"actions:{broadcast.revision}:{showing.since}", "elements": elements}]


def drawing_of(block_id: str) -> tuple[int, Micros] | None:
    """Return the revision that the buttons in this block show, and since when its facts hold.

    None if the block is not ours: then only the message identifies what the person saw.
    """
    matched = re.fullmatch(r"actions:([0-9]{1,9})(?::([0-9]{1,18}))?", block_id)
    return (int(matched[1]), int(matched[2] or 0)) if matched else None


def _button(action: Action, broadcast: Broadcast, showing: CardContext, words: Translator) -> dict[str, Any]:
    label, style = BUTTONS[action]
    button = plain_button(action, words(label), broadcast)
    if style:
        button["style"] = style
    question = _question(action, broadcast, showing, words)
    if question is not None:
        button["confirm"] = {
            "title": plain(words(label)),
            "text": plain(question[:QUESTION]),
            "confirm": plain(words(label)[:30]),
            "deny": plain(words("Go back")),
        }
    return button


def plain_button(name: str, label: str, broadcast: Broadcast) -> dict[str, Any]:
    value = f"{broadcast.id}:{broadcast.version}"
    return {"type": "button", "action_id": f"broadcast.{name}", "text": plain(label), "value": value}


def _question(action: Action, broadcast: Broadcast, showing: CardContext, words: Translator) -> str | None:
    """Return the question before an action: what will happen, to how many, and when; None if there is none."""
    match action:
        case Action.APPROVE:
            return _question_of_approval(broadcast, showing, words)
        case Action.SEND_NOW:
            return _question_of_letting_go(broadcast, showing, words)
        case Action.MARK_SENT:
            return words(
                "Are you sure that it went out? It will count as sent, although the vendor has not confirmed it."
            )
        case Action.MARK_NOT_SENT:
            return words(
                "Are you sure that it did not go out? It will be marked as failed, and nothing will be sent again."
            )
    return None


def _question_of_approval(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    asked = [to_whom(broadcast, showing, words)]
    if broadcast.everyone:
        asked.insert(0, words("This goes to ALL subscribers of the public group."))
    covers = (
        words("Your approval covers {number} broadcasts, including this one.", number=broadcast.covers)
        if broadcast.covers > 1
        else None
    )
    more = more_needed(broadcast.quorum - len(showing.votes) - 1, words)
    asked += [text for text in (covers, more) if text]
    if showing.misfit is not None:
        asked.append(sentence(words, showing.misfit))
    elif is_late(broadcast, showing):
        asked.append(
            words("Its start time has passed. Once approved, it will be held, and I will ask again what to do.")
        )
    elif isinstance(showing.verdict, Refuse):
        asked.append(words(NOT_THEN))
    else:
        closed = isinstance(showing.verdict, HoldUntil)
        asked += starts(showing.opens if closed else ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, more, covers, pause_effect(showing, words))


def _question_of_letting_go(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    asked = [to_whom(broadcast, showing, words)]
    if showing.refusal is not None:
        asked.append(unmarked(sentence(words, showing.refusal, showing.zone or broadcast.zone)))
    elif showing.asks_first:
        asked.append(words("It needs approval before it goes out. This asks the approvers."))
    else:
        asked += starts(ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, pause_effect(showing, words), asked[0])


def _brief(asked: Sequence[str], *spare: str | None) -> str:
    """Return the question, short enough for Slack.

    If it is too long, drop the `spare` sentences one at a time: the card or its thread says them too. The
    sentence that it cannot be recalled always stays.
    """
    kept = list(asked)
    for least in spare:
        if len(" ".join(kept)) > QUESTION and least in kept:
            kept.remove(least)
    return " ".join(kept)
