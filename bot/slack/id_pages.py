"""The ids that a vendor gave a broadcast, page by page, for those who may see it."""

from __future__ import annotations

from itertools import islice, takewhile

from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotAllowed, NotFound
from bot.domain.i18n import Translator
from bot.domain.id_ranges import IdRange, id_ranges
from bot.slack.blocks.card_facts import range_text
from bot.slack.blocks.listing import pages
from bot.slack.blocks.mrkdwn import Post, grouped, json_size, lines
from bot.slack.interaction import Interaction
from bot.slack.payload import counted
from bot.workflow.workflow import Workflow

A_PAGE = 200  # ids and ranges
ROOM = 8000  # characters of JSON of a page: an id may have 255
UNKNOWN_BUTTON = "I no longer know this button. Please look at the newest card."


class IdPages:
    """Answers the button that shows all ids, and those that turn its pages."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow

    async def turned(self, value: str, done: Interaction) -> Post:
        """Return a page. `value`: `<id>:<version>`, then from which range on. Raises NotAllowed, NotFound."""
        id, _, place = value.partition(":")
        start = counted(place.partition(":")[2] or "0")
        if start is None:
            raise NotAllowed(UNKNOWN_BUTTON)
        row = await self.workflow.find(done.workspace, id)
        if not await self.workflow.permissions.may_see(done.person, row):
            raise NotFound(row.id)
        return _page(row, start, done.words)


def _page(row: Broadcast, start: int, words: Translator) -> Post:
    found = [*islice(id_ranges(row.ids), start, start + A_PAGE + 1)]
    shown = _fitting(found[:A_PAGE], words)
    head = words("*{id}* has {ids} ids at the vendor.", id=row.id, ids=grouped(len(row.ids), words))
    post = lines([head, *(range_text(one, words) for one in shown)], words)
    value = f"{row.id}:{row.version}"
    after = f"{value}:{start + len(shown)}" if len(found) > len(shown) else None
    first = f"{value}:0" if start else None
    return Post(post.text, [*post.blocks, *pages("broadcast.ids", after, first, words, more=words("Next"))])


def _fitting(ranges: list[IdRange], words: Translator) -> list[IdRange]:
    """Return as many of them as one message can show, at least one."""
    room = ROOM

    def fits(one: IdRange) -> bool:
        nonlocal room
        room -= json_size(range_text(one, words)) + 2
        return room >= 0

    return [*takewhile(fits, ranges)]
