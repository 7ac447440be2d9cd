"""The card that shows a broadcast."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.hours import HoldUntil, Refuse
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Hold, Phase, State
from bot.domain.people import mentions
from bot.slack.blocks.break_glass import review
from bot.slack.blocks.card_buttons import FEW_IDS, buttons
from bot.slack.blocks.card_facts import (
    BADGES,
    HOLDS,
    CardContext,
    deliveries,
    excerpt,
    ids,
    length,
    planned,
    progress,
    reached,
    small_print,
    warnings,
    whole_text,
)
from bot.slack.blocks.card_stakes import large, stakes, title
from bot.slack.blocks.mrkdwn import (
    Block,
    Post,
    clock_time,
    context,
    contexts,
    plain,
    quote,
    section,
    sentence,
    when,
)
from bot.storage.votes import Vote
from bot.workflow.approval_rules import still_asked
from bot.workflow.deadlines import draft_end

LOOK_AGAIN = 3600 * SECOND  # at the card of a held broadcast: what blocks it may come and go

EXCERPT = 80  # characters of the text where one line shows it

WAS_PAUSED = "sending was paused"


def draw_card(broadcast: Broadcast, showing: CardContext, words: Translator, *, whole: bool = False) -> Post:
    """Return the message that shows a broadcast: everything that an approver must know, at a glance.

    One that has ended takes two lines. `whole`: show all of its text even so.
    """
    if broadcast.ended:
        blocks = _ended(broadcast, showing, words, whole=whole)
    elif goes := _countdown(broadcast, showing, words):
        head, *rest = _open(broadcast, showing, words)
        blocks = [head, section(f"⏳ *{goes}*"), *buttons(broadcast, showing, words), *rest]
    else:
        blocks = _open(broadcast, showing, words)
        blocks[-1:-1] = buttons(broadcast, showing, words)
    return Post(summary(broadcast, words), blocks, [plainer for block in blocks for plainer in _plainer(block)])


def _countdown(broadcast: Broadcast, showing: CardContext, words: Translator) -> str | None:
    """Return when it goes, in the undo window; None if something that is known already will keep it from going then."""
    kept = showing.paused or showing.misfit is not None or isinstance(showing.verdict, HoldUntil | Refuse)
    if kept or not broadcast.in_undo_window:
        return None
    time = clock_time(broadcast.due or 0, showing.zone or broadcast.zone)
    if broadcast.canary is not None and broadcast.continued_at is None:
        return words("Goes to {canary} first at {time}", canary=quote(broadcast.canary), time=time)
    return words("Goes out at {time}", time=time)


def _open(broadcast: Broadcast, showing: CardContext, words: Translator) -> list[Block]:
    """Return the card without its buttons: what is at stake, all of the text, what to look at, and the small print."""
    about = [length(broadcast, words), planned(broadcast, showing, words)]
    return [
        large(title(broadcast, showing, words)),
        large(stakes(broadcast, showing, words)),
        *whole_text(broadcast, words),
        *contexts(*[text for text in about if text], *warnings(broadcast, showing, words)),
        *progress(broadcast, words),
        *review(broadcast, words),
        section(_next_step(broadcast, showing, words), f"next:{broadcast.revision}"),
        context(small_print(broadcast, showing, words)),
    ]


def _ended(broadcast: Broadcast, showing: CardContext, words: Translator, *, whole: bool) -> list[Block]:
    """Return what became of it, and the small print; the ids and the text are whole only where that is asked for."""
    line, small = f"*{quote(title(broadcast, showing, words))}*", small_print(broadcast, showing, words)
    if whole:
        shown = [section(line), *whole_text(broadcast, words), *progress(broadcast, words)]
    else:
        lines = [f"{line}: “{quote(excerpt(broadcast, words, EXCERPT))}”"]
        lines += [sentence(words, broadcast.failure)] if broadcast.failure is not None else []
        shown = [section("\n".join(lines))]
        small = " · ".join([*deliveries(broadcast, words), *ids(broadcast, words, FEW_IDS), small])
    return [*shown, *review(broadcast, words), context(small), *buttons(broadcast, showing, words)]


def _plainer(block: Block) -> list[Block]:
    """Return the same in the plainest blocks, with nothing left out: people decide by these too."""
    match block:
        case {"type": "header", "text": text}:
            return [{"type": "section", "text": text}]
        case {"type": "rich_text"}:
            return [{"type": "section", "text": plain(piece)} for piece in _literally(block)]
        case {"type": "context", "elements": texts} | {"fields": texts}:
            return [section(one["text"]) for one in texts]
    return [block]


def _literally(block: Block) -> list[str]:
    """The text in a block that `literal` made."""
    return [piece["text"] for element in block["elements"] for piece in element["elements"]]


def moved(broadcast: Broadcast, link: str | None, words: Translator) -> Post:
    """What is left of the card of an earlier version: a line with a link to the newer one."""
    text = words("*{id}* has changed, so this card is out of date.", id=broadcast.id)
    if link:
        text = f"{text} {words('<{link}|Open its card>', link=link)}"
    return Post(text, [section(text, f"moved:{broadcast.version}")])


def summary(broadcast: Broadcast, words: Translator) -> str:
    """The card in one sentence."""
    template = "{badge}: broadcast {id} to {audience}: “{text}”"
    if broadcast.test_of is not None:
        template = "{badge}: test {id} to {audience}: “{text}”"
    return words(
        template,
        badge=words(BADGES[broadcast.state]),
        id=broadcast.id,
        audience=quote(broadcast.audience),
        text=quote(excerpt(broadcast, words, EXCERPT)),
    )


def _given(vote: Vote, words: Translator) -> str:
    if vote.stands_for is None:
        return mentions([vote.approver])
    return words("{who} for {seat}", who=mentions([vote.approver]), seat=mentions([vote.stands_for]))


def _next_step(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    yes = ", ".join(_given(vote, words) for vote in showing.votes)
    match broadcast.state:
        case State.PENDING:
            missing = max(broadcast.quorum - len(showing.votes), 0)
            spent = [id for vote in showing.votes for id in (vote.approver, vote.seat)]
            who = mentions(still_asked(broadcast, spent))
            step = words.count(
                "Needs {number} approval from {who}: press Approve.",
                "Needs {number} approvals from {who}: press Approve.",
                missing,
                who=who,
            )
            if showing.notify:
                step = words(
                    "Approvals still needed: {missing}, from {who} or other approvers. Press Approve.",
                    missing=missing,
                    who=mentions(showing.notify),
                )
            if showing.training:
                step = words("Needs approval from {who}, or from anybody who practises: press Simulate.", who=who)
            for delegate, seats in showing.delegates.items():
                if delegate not in spent and (free := [seat for seat in seats if seat not in spent]):
                    template = "{who} may approve in the place of {seats}."
                    step = f"{step} {words(template, who=mentions([delegate]), seats=mentions(free))}"
            if showing.reaction and not broadcast.everyone:
                step = f"{step} {words('Or react with :{reaction}:.', reaction=showing.reaction)}"
            return f"{step}\n{words('Approved so far by {who}', who=yes)}" if showing.votes else step
        case State.SCHEDULED:
            by = words("Approved by {by}.", by=yes) if showing.votes else words("No approval is needed.")
            if broadcast.skips_approval:
                by = words("It goes out without approval.")
            elif broadcast.is_canary and (showing.counterpart is None or showing.counterpart.quorum):
                by = words("Approved with *{id}*.", id=broadcast.follows or "?")
            return f"{by} {sentence(words, showing.then)}" if showing.then else by
        case State.HELD:
            return "\n".join([_held(broadcast, showing, words), *_canary(broadcast, showing, words)])
        case State.SENDING:
            releasing = broadcast.phase is Phase.RELEASING
            return words("It is going out now.") if releasing else words("It is being prepared at the vendor.")
        case State.UNKNOWN:
            return words("It may have gone out, so it will not be sent again. What happened?")
        case State.SENT if showing.training:
            return words("Training: nothing was really sent.")
        case State.SENT if broadcast.claimed:  # a person said so; the vendor has not
            return words("It cannot be recalled.")
        case State.SENT:
            return words("The vendor accepted it. It cannot be recalled.")
        case _:  # a draft
            template = (
                "It is kept as a draft until {end_at}. Nobody is asked to approve it until somebody opens and submits "
                "it."
            )
            return words(template, end_at=when(draft_end(broadcast), broadcast.zone))


def _held(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    held = HOLDS[broadcast.hold or Hold.LATE]
    if broadcast.hold is Hold.PAUSED and not showing.paused:
        held = WAS_PAUSED
    why = words("Held: {why}.", why=words(held))
    if broadcast.hold_until is not None:
        opens = when(broadcast.hold_until, showing.zone or broadcast.zone)
        if showing.paused:
            template = (
                "All sending is paused too. It will go out by itself once sending resumes, {opens_at} at the earliest."
            )
            return f"{why} {words(template, opens_at=opens)}"
        return f"{why} {words('It will go out by itself {opens_at}.', opens_at=opens)}"
    asked = words("Send it now, re-plan it, or drop it.")
    if broadcast.hold is Hold.CANARY and showing.refusal is not None:
        asked = sentence(words, showing.refusal, showing.zone or broadcast.zone)
    elif broadcast.hold is Hold.CANARY:
        asked = words(
            "*{canary}* has it. Press *Continue* to send it to the others, or *Stop here*.",
            canary=quote(broadcast.canary or ""),
        )
    elif broadcast.is_canary:
        asked = _asked_of_canary(broadcast, showing, words)
    elif broadcast.hold is Hold.HOURS:
        asked = words("Re-plan it or drop it.")
    elif showing.paused and showing.asks_first:
        template = (
            "Once an admin resumes sending, press *Send now* to ask for approval. You can also re-plan it or drop it."
        )
        asked = words(template)
    elif showing.paused:
        asked = words("Once an admin resumes sending, press *Send now* to send it. You can also re-plan it or drop it.")
    elif showing.refusal is not None:
        asked = sentence(words, showing.refusal, showing.zone or broadcast.zone)
    elif showing.asks_first:
        asked = words(
            "It needs approval before it goes out. Press *Send now* to ask for it. You can also re-plan it or drop it."
        )
    if broadcast.expires_at is None:
        return f"{why} {asked}"
    ends = words("Without a decision, it expires {end_at}.", end_at=when(broadcast.expires_at, broadcast.zone))
    return f"{why} {asked} {ends}"


def _canary(broadcast: Broadcast, showing: CardContext, words: Translator) -> Iterator[str]:
    """Yield which broadcast goes to the canary that this one waits for, and what has become of it."""
    first = showing.counterpart
    if broadcast.hold is not Hold.CANARY or first is None:
        return
    badge = words(BADGES[first.state])
    if first.accepted_at is not None:
        badge = f"{badge} {when(first.accepted_at, showing.zone or broadcast.zone)}"
    link = [words("<{link}|Open its card>", link=showing.counterpart_link)] if showing.counterpart_link else []
    yield " · ".join([f"🐤 *{first.id}*", quote(first.audience), badge, *reached(first, words), *link])


def _asked_of_canary(broadcast: Broadcast, showing: CardContext, words: Translator) -> str:
    """What to do with a canary that is held. Anything else in it changes with the broadcast that it tries out."""
    asked = [words("Send it now or drop it.")] if broadcast.hold is not Hold.HOURS else []
    if showing.refusal is not None:
        asked = [sentence(words, showing.refusal, showing.zone or broadcast.zone)]
    goes_first = words("It goes first for *{id}*. Edit or re-plan that one.", id=broadcast.follows or "?")
    return " ".join([*asked, goes_first])


def goes_stale_at(broadcast: Broadcast, showing: CardContext) -> Micros | None:
    """Return when its card becomes wrong although its row is the same; None if that does not happen.

    Its start passes, or the hours open. Anything else that blocks a held broadcast may be gone within the hour.
    """
    if broadcast.state not in (State.PENDING, State.HELD):
        return None
    passing = [showing.opens or 0]
    if broadcast.send_at is not None:
        passes = broadcast.send_at - showing.undo * SECOND
        passing += [passes, passes + showing.grace + 1]
    if broadcast.state is State.HELD and broadcast.hold is not Hold.HOURS:
        passing.append(showing.now + LOOK_AGAIN)
    return min((at for at in passing if at > showing.now), default=None)
