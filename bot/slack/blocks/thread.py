"""Messages under a card."""

from __future__ import annotations

from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import mentions
from bot.slack.blocks.mrkdwn import Post, section, sentence
from bot.storage.notes import Note


def thread_note(note: Note, broadcast: Broadcast, words: Translator) -> Post:
    """Return the message for one note."""
    post = thread_message(note.sentence, note.mention, words)
    return Post(f"{post.text} ({broadcast.id})", post.blocks) if note.aloud else post


def thread_message(message: Translatable, mention: str | None, words: Translator) -> Post:
    """Return a message that needs no card. `mention`: ids of people, separated by spaces."""
    text = sentence(words, message)
    if mention:
        text = f"{mentions(mention.split())} {text}"
    return Post(text, [section(text)])
