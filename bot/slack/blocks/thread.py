"""Messages under a card."""

from __future__ import annotations

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import mentions
from bot.slack.blocks.mrkdwn import Post, section, sentence
from bot.storage.notes import Note


def thread_note(said: Note, broadcast: Broadcast, words: Translator) -> Post:
    """Return the message for one note."""
    post = thread_message(said.sentence, said.mention, words)
    return Post(f"{post.text} ({broadcast.id})", post.blocks) if said.aloud else post


def thread_message(said: Translatable, mention: str | None, words: Translator) -> Post:
    """Return a message that needs no card. `mention`: ids of people, separated by spaces."""
    told = sentence(words, said)
    if mention:
        told = f"{mentions(mention.split())} {told}"
    return Post(told, [section(told)])
