"""A page of the audit, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.domain.i18n import Translator
from bot.slack.blocks.answers import drawn
from bot.slack.blocks.history import deed, reason
from bot.slack.blocks.listing import pages
from bot.slack.blocks.mrkdwn import Block, Post, lines, plain, quote, when

CSV = "broadcast.audit_csv"


@dataclass(frozen=True)
class AuditPage:
    """Rows of the audit, the newest first. `id`: what they are about, or empty. The rest are buttons' values."""

    id: str
    rows: Sequence[Mapping[str, Any]]
    older: str | None = None
    newest: str | None = None
    file: str | None = None


def audit_page(page: AuditPage, zone: str, words: Translator) -> Post:
    """Return a page, with the place of each row in the chain."""
    title = words("The audit of *{id}*", id=quote(page.id)) if page.id else words("The audit")
    told = [drawn(f"#{row['place']}", partial(_line, row, zone, words), words) for row in page.rows]
    shown = lines([f"*{title}*", *(told or [words("There are no more.")])], words)
    return Post(shown.text, [*shown.blocks, *_buttons(page, words)])


def _buttons(page: AuditPage, words: Translator) -> list[Block]:
    elements = [
        one
        for block in pages("broadcast.audit", page.older, page.newest, words, more=words("Older"))
        for one in block["elements"]
    ]
    if page.file is not None:
        elements.append({"type": "button", "action_id": CSV, "text": plain(words("Send as CSV")), "value": page.file})
    return [{"type": "actions", "elements": elements}] if elements else []


def _line(row: Mapping[str, Any], zone: str, words: Translator) -> str:
    version = f" v{row['version']}" if row["version"] is not None else ""
    it = f"*{quote(row['broadcast'])}*{version}" if row["broadcast"] else words("it")
    digest = [f"`{row['digest'][:8]}`"] if row["digest"] else []
    return " · ".join([f"#{row['place']}", when(row["at"], zone), deed(row, it, words), *digest, *reason(row)])
