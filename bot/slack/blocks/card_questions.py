"""The questions that buttons of a card ask before they act: what will happen, to how many, at what cost, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.hours import HoldUntil, Refuse
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Action, Hold
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.card_stakes import cost, people
from bot.slack.blocks.forms import unmarked
from bot.slack.blocks.mrkdwn import sentence, spelled
from bot.workflow.deadlines import NOT_THEN, PAUSED_ASKS, PAUSED_WAITS

QUESTION = 300  # characters of a question before a press
ASKED_NAME = 40  # characters of an audience's name in a question


def question(action: Action, broadcast: Broadcast, showing: CardContext, words: Translator) -> str | None:
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
    asked = [_to_whom(broadcast, showing, words)]
    if broadcast.everyone:
        asked.insert(0, words("This goes to ALL subscribers of the public group."))
    price = cost(broadcast, words)
    priced = words("It costs {price}.", price=price) if price else words("Its cost is not known.")
    asked += [priced] if price or not showing.training else []
    covers = (
        words("Your approval covers {number} broadcasts, including this one.", number=broadcast.covers)
        if broadcast.covers > 1
        else None
    )
    more = _more_needed(broadcast.quorum - len(showing.votes) - 1, words)
    asked += [text for text in (covers, more) if text]
    if showing.misfit is not None:
        asked.append(sentence(words, showing.misfit))
    elif _is_late(broadcast, showing):
        asked.append(
            words("Its start time has passed. Once approved, it will be held, and I will ask again what to do.")
        )
    elif isinstance(showing.verdict, Refuse):
        asked.append(words(NOT_THEN))
    else:
        closed = isinstance(showing.verdict, HoldUntil)
        asked += _starts(showing.opens if closed else _ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, more, covers, _pause_effect(showing, words), None if price else priced)


def _question_of_letting_go(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    asked = [_to_whom(broadcast, showing, words)]
    if showing.refusal is not None:
        asked.append(unmarked(sentence(words, showing.refusal, showing.zone or broadcast.zone)))
    elif showing.asks_first:
        asked.append(words("It needs approval before it goes out. This asks the approvers."))
    else:
        asked += _starts(_ahead(broadcast, showing), broadcast, showing, words)
    return _brief(asked, _pause_effect(showing, words), asked[0])


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


def _more_needed(missing: int, words: Translator) -> str | None:
    if missing <= 0:
        return None
    return words.count(
        "After yours, {number} more approval is needed.", "After yours, {number} more approvals are needed.", missing
    )


def _is_late(broadcast: Broadcast, showing: CardContext) -> bool:
    """Whether its start has passed by more than the grace, so that an approval no longer sends it."""
    return broadcast.send_at is not None and showing.soonest - broadcast.send_at > showing.grace


def _ahead(broadcast: Broadcast, showing: CardContext) -> Micros | None:
    """Return its start if that is still ahead."""
    return broadcast.send_at if (broadcast.send_at or 0) > showing.soonest else None


def _to_whom(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """Return `clients: 12 people.`, and in training that nothing is really sent."""
    name = broadcast.audience
    shown = name if len(name) <= ASKED_NAME else f"{name[: ASKED_NAME - 1]}…"
    text = f"{shown}: {people(broadcast, showing, words)}."
    return f"{words('Training: nothing is really sent.')} {text}" if showing.training else text


def _starts(start: Micros | None, broadcast: Broadcast, showing: CardContext, words: Translator) -> Iterator[str]:
    """Yield when it starts, until when it can be stopped, and that it cannot be recalled after that.

    Without a `start`, it starts right after the undo window. With a canary, only that gets it then.
    """
    if broadcast.canary is not None and broadcast.continued_at is None and broadcast.hold is not Hold.CANARY:
        yield words(
            "Only {canary} gets it first. The others get it once somebody presses Continue.", canary=broadcast.canary
        )
    if start is not None:
        yield words("It starts {start_at}.", start_at=spelled(start, showing.zone or broadcast.zone))
    if pause := _pause_effect(showing, words):
        yield pause
    if showing.training:
        return
    if start is not None:
        yield words("Until then it can be stopped. After that it cannot be recalled.")
    elif showing.undo:
        yield words(
            "It starts {seconds} s later. Until then it can be stopped. After that it cannot be recalled.",
            seconds=showing.undo,
        )
    else:
        yield words("It starts at once and cannot be recalled.")


def _pause_effect(showing: CardContext, words: Translator) -> str | None:
    """Return what a pause of all sending does to a start; None if there is no pause."""
    if not showing.paused:
        return None
    return words(PAUSED_WAITS if isinstance(showing.verdict, HoldUntil) else PAUSED_ASKS)
