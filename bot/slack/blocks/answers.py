"""Answers to one person: lists, details, help."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from bot.domain import suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Action, State
from bot.domain.people import mentions
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_buttons import plain_button
from bot.slack.blocks.card_facts import BADGES, CardContext
from bot.slack.blocks.mrkdwn import Block, Post, Row, literal, quote, section, when
from bot.slack.blocks.refusals import complaint
from bot.workflow.reviews import CLOSE

log = structlog.get_logger(__name__)

#: The steps of the audit, as people read them.
STEPS: Mapping[str, str] = {
    Action.SUBMIT: "asked for",
    Action.DISCARD: "deleted",
    Action.APPROVE: "approved",
    Action.BREAK_GLASS: "sent without approval",
    Action.WITHDRAW: "approval withdrawn",
    Action.REJECT: "rejected",
    Action.REQUEST_CHANGES: "changes asked for",
    Action.EDIT: "edited",
    Action.CANCEL: "cancelled",
    Action.EXPIRE: "ended without a decision",
    Action.STOP: "stopped",
    Action.HOLD: "held",
    Action.RESUME: "resumed",
    Action.SEND_NOW: "set to go at once",
    Action.REPLAN: "re-planned",
    Action.DROP: "dropped",
    Action.START: "started",
    Action.RELEASE: "released to the vendor",
    Action.PUT_BACK: "put back",
    Action.OUTGROW: "asked for approval again",
    Action.LAPSE: "approval lapsed",
    Action.RETURN: "returned as a draft",
    Action.ACCEPT: "accepted by the vendor",
    Action.REFUSE: "refused",
    Action.LOSE_TRACK: "outcome unknown",
    Action.PROVE: "proven sent",
    Action.MARK_SENT: "marked as sent",
    Action.MARK_NOT_SENT: "marked as not sent",
    Action.FINISH: "finished",
    "vote": "approved, more needed",
    "give_reason": "reason given",
    "ask": "asked what happened",
    CLOSE: "review closed",
    "accept_late": "accepted, reported late",
    "refuse_late": "refused, reported late",
    "report_late": "deliveries reported late",
    "remove_text": "text removed",
    "erase": "erased",
}
ACTORS: Mapping[str, str] = {
    "clock": "the clock",
    "policy": "the rules",
    "dispatcher": "the dispatcher",
    "restore": "the restore",
    "slack": "Slack",
    "retention": "the retention period",
    "operator": "the operator",
}


def usage(usage: str, typed: str, words: Translator) -> Post:
    """How a command is written, and what was typed."""
    return complaint([words("Write it like this: `/broadcast {usage}`", usage=quote(usage))], typed, words)


def draft_kept(broadcast: Broadcast, fix: str, words: Translator) -> Post:
    """Say that no card can be posted there, that the draft is kept, and what fixes it."""
    template = "I kept your draft as *{id}*. `/broadcast edit {id}` opens it in any channel that I am in."
    message = words(template, id=broadcast.id)
    return with_draft(Post(f"{fix} {message}", [section(f"{fix}\n{message}")]), broadcast, words)


def with_draft(post: Post, broadcast: Broadcast, words: Translator) -> Post:
    """A message with the text of a draft, and the button that opens it."""
    return Post(
        post.text, [*post.blocks, *literal(suggestions.visible(broadcast.typed)), _draft_button(broadcast, words)]
    )


def _draft_button(broadcast: Broadcast, words: Translator) -> Block:
    button = {**plain_button("edit", words("Open the draft"), broadcast), "style": "primary"}
    return {"type": "actions", "elements": [button]}


def each_line(rows: Iterable[Row], line: Callable[[Row], str], words: Translator) -> Iterator[str]:
    """Yield a line for each row. One that cannot be shown says so, and does not hide the others."""
    for row in rows:
        yield drawn(row.id, partial(line, row), words)


def drawn(id: object, line: Callable[[], str], words: Translator) -> str:
    try:
        return line()
    except Exception as error:  # whatever the row contains
        log.error("a row cannot be shown", id=str(id), exc_info=error)
        return words("*{id}* cannot be shown. Tell whoever runs the bot.", id=str(id))


def details(
    broadcast: Broadcast,
    showing: CardContext,
    history: Iterable[Mapping[str, Any]],
    link: str | None,
    words: Translator,
) -> Post:
    """Return the card without its buttons, and who did what. A draft has no card, so it gets a button to open it."""
    shown = draw_card(broadcast, showing, words, whole=True)
    steps = [
        drawn(f"{broadcast.id}/{row['seq']}", partial(_step, row, broadcast, words), words)
        for row in list(history)[-15:]
    ]
    blocks = [block for block in shown.blocks if block["type"] != "actions"]
    blocks.append(section(f"*{words('History')}*\n" + "\n".join(steps)))
    if link:
        blocks.append(section(words("<{link}|Open its card>", link=link)))
    if broadcast.state is State.DRAFT:
        blocks.append(_draft_button(broadcast, words))
    return Post(shown.text, blocks)


def _step(row: Mapping[str, Any], broadcast: Broadcast, words: Translator) -> str:
    """Return a line of the history: when, who, what, and the state it led to."""
    line = f"{when(row['at'], broadcast.zone)} · {_actor(row['actor'], words)} · {_deed(row['action'], words)}"
    if not row["after"] or row["after"] == row["before"]:
        return line
    after = words(BADGES[State(row["after"])]) if row["after"] in tuple(State) else row["after"]
    return f"{line} → {after}"


def _deed(action: str, words: Translator) -> str:
    """Return what was done, as people read it. An action of a newer version keeps its own name."""
    refused = action.endswith("_refused")
    name = action.removesuffix("_refused")
    step = words(STEPS[name]) if name in STEPS else quote(name)
    return f"{step} ({words('not allowed')})" if refused else step


def _actor(actor: str, words: Translator) -> str:
    if re.fullmatch(r"[UW][A-Z0-9]+", actor):
        return mentions([actor])
    return words(ACTORS[actor]) if actor in ACTORS else quote(actor)


def help_text(usages: Iterable[tuple[str, str]], words: Translator) -> Post:
    """Every subcommand, with examples that can be pasted."""
    lines = [f"• `{usage}` — {words(about)}" for usage, about in usages]
    examples = [
        "/broadcast send clients marketing Soldes demain",
        '/broadcast send clients transactional at="demain 9h" Votre commande est prête',
    ]
    title = words("*What I can do*")
    shown = "\n".join(f"`{example}`" for example in examples)
    blocks = [section(title), section("\n".join(lines)), section(words("*Examples*") + f"\n{shown}")]
    return Post("\n".join([title, *lines, *examples]), blocks)
