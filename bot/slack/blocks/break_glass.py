"""Draws the form that sends an alert without approval, the one that closes its review, and what a card says of both."""

from __future__ import annotations

from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translator
from bot.domain.people import mentions
from bot.slack.blocks.card_stakes import cost
from bot.slack.blocks.forms import input_block, modal
from bot.slack.blocks.mrkdwn import Block, quote, section, when
from bot.workflow.break_glass import LEAST
from providers.reading import UNREADABLE

GLASS, REVIEW = "broadcast_break_glass", "broadcast_close_review"
MOST = 500  # characters of a reason or a comment


def glass_form(broadcast: Broadcast, words: Translator) -> dict[str, Any]:
    """Says what will happen, and asks for a reason. To submit it is the confirmation."""
    about = [
        words("*{id}* will go to *{audience}* without approval.", id=broadcast.id, audience=quote(broadcast.audience)),
        f"• {_reach(broadcast, words)}",
        "• "
        + words("Everybody who may approve it is told at once, with your reason, and can stop it until it starts."),
        "• " + words("Its review stays open until somebody else closes it. They are reminded every day."),
    ]
    if price := cost(broadcast, words):
        about.insert(2, "• " + words("It costs {price}.", price=price))
    if broadcast.mode == "training":
        about.insert(0, words("Training: nothing is really sent."))
    reason = {"type": "plain_text_input", "multiline": True, "min_length": 1, "max_length": MOST}
    hint = words("Why it cannot wait for approval, in at least {least} characters.", least=LEAST)
    blocks = [section("\n".join(about)), input_block("reason", words("Reason"), reason, hint=hint)]
    kept = {"id": broadcast.id, "version": broadcast.version, "most": broadcast.most}
    return modal(GLASS, words("Send without approval"), words("Send without approval"), blocks, kept, words)


def _reach(broadcast: Broadcast, words: Translator) -> str:
    """How many people it reaches."""
    most = None if broadcast.most == UNREADABLE else broadcast.most
    if most is None:
        return words("It is not known how many people will get it.")
    if broadcast.size is None:
        return words.count("Up to {number} person will get it.", "Up to {number} people will get it.", most)
    return words.count("{number} person will get it.", "{number} people will get it.", most)


def review_form(broadcast: Broadcast, words: Translator) -> dict[str, Any]:
    """Asks for a comment, which may be left out."""
    comment = {"type": "plain_text_input", "multiline": True, "max_length": MOST}
    about = words("Close the review of *{id}* to *{audience}*?", id=broadcast.id, audience=quote(broadcast.audience))
    told = words(
        "{by} skipped the approval: “{reason}”",
        by=mentions([broadcast.glass_by or ""]),
        reason=quote(broadcast.glass_reason or ""),
    )
    field = input_block("comment", words("Comment"), comment, optional=True)
    kept = {"id": broadcast.id, "version": broadcast.version}
    title = words("Close the review")
    return modal(REVIEW, title, title, [section(f"{about}\n{told}"), field], kept, words)


def review(broadcast: Broadcast, words: Translator) -> list[Block]:
    """Who skipped the approval and why, and who has reviewed that; nothing for any other broadcast."""
    if broadcast.glass_by is None:
        return []
    values = {"by": mentions([broadcast.glass_by]), "reason": quote(broadcast.glass_reason or "")}
    if broadcast.reviewed_by is None:
        return [section("🔓 " + words("Review open: {by} skipped the approval: “{reason}”", **values))]
    line = words("{by} skipped the approval: “{reason}”", **values)
    at = when(broadcast.reviewed_at or 0, broadcast.zone)
    closed = words("Reviewed by {by} {reviewed_at}.", by=mentions([broadcast.reviewed_by]), reviewed_at=at)
    comment = f" “{quote(broadcast.review_comment)}”" if broadcast.review_comment else ""
    return [section(f"🔏 {line}\n{closed}{comment}")]
