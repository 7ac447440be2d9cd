"""`/broadcast list`: the latest broadcasts, or those that somebody asks for, in pages."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock
from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translator
from bot.domain.options import folded
from bot.domain.people import DirectoryUnavailable, Person
from bot.slack.blocks import mrkdwn
from bot.slack.blocks.listing import ListPage, listing
from bot.slack.blocks.mrkdwn import Post
from bot.slack.interaction import Interaction
from bot.slack.links import Links
from bot.slack.payload import id_in, instant
from bot.slack.replies import Command
from bot.storage import cards, keys
from bot.storage.listings import Listing, Place, Recipients, Wanted, page
from bot.workflow.audiences import Audiences
from bot.workflow.workflow import Workflow

LISTED = 10
LOOKED_AT = 100  # rows of one page, for as many as are listed that somebody may see
LONGEST_WORD = 100
SLIP = 0.75  # how alike a word and a filter are, to ask whether that was meant
FILTERS = {
    **dict.fromkeys(("mine", "my", "mes", "miens", "miennes", "mios", "mias", "mis"), Wanted.MINE),
    **dict.fromkeys(("waiting", "pending", "attente", "en attente", "pendientes", "pendiente"), Wanted.WAITING),
    **dict.fromkeys(
        ("upcoming", "coming", "prevues", "prevus", "a venir", "proximas", "proximos", "previstas"), Wanted.UPCOMING
    ),
    **dict.fromkeys(
        ("unknown", "inconnues", "inconnue", "inconnus", "desconocidas", "desconocida", "desconocidos"), Wanted.UNKNOWN
    ),
}
UNKNOWN_BUTTON = "I no longer know this button. Please look at the newest card."


@dataclass(frozen=True)
class Asked:
    """Which page of which list somebody asks for."""

    wanted: Wanted = Wanted.LATEST
    word: str = ""
    after: Place | None = None

    def value(self) -> str:
        """As a button holds it."""
        place = [self.after.at, self.after.id] if self.after else []
        return json.dumps([self.wanted, self.word, *place], ensure_ascii=False)

    @classmethod
    def of(cls, value: str) -> Asked:
        """The reverse of `value`. Raises NotAllowed for anything else."""
        try:
            wanted, word, *place = json.loads(value)
            after = Place(instant(place[0]), id_in(place[1]) or "") if place else None
            return cls(Wanted(wanted), str(word)[:LONGEST_WORD], after)
        except (ValueError, TypeError, IndexError, RecursionError):
            raise NotAllowed(UNKNOWN_BUTTON) from None


class ListCommand:
    """Lists broadcasts that the asker may see."""

    def __init__(self, workflow: Workflow, clock: Clock, links: Links) -> None:
        self.workflow, self.audiences, self.clock, self.links = workflow, workflow.audiences, clock, links

    async def list_broadcasts(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show the latest broadcasts, or yours, or those that you name."""
        typed = " ".join(slack_text.decode_slack(asked.text).split())[:LONGEST_WORD]
        wanted = read_filter(typed, self.audiences)
        notices = await self._standing_still(asked.person.workspace, asked.words)
        if wanted.wanted is Wanted.WORD and (near := near_filter(typed)):
            notices.append(asked.words("Did you mean `/broadcast list {near}`?", near=near))
        return await self._page(wanted, asked.person, client, asked.words, notices)

    async def turned(self, value: str, done: Interaction) -> Post:
        """Return another page. Raises NotAllowed for a value that no button of ours has."""
        asked = Asked.of(value)
        notices = [] if asked.after else await self._standing_still(done.workspace, done.words)
        return await self._page(asked, done.person, done.client, done.words, notices)

    async def _page(
        self, asked: Asked, person: Person, client: AsyncWebClient, words: Translator, notices: list[str]
    ) -> Post:
        rows, after = await self._seen(asked, person)
        shown = await self.workflow.database.read(lambda c: [cards.card_of(c, row) for row in rows])
        found = await self.links.to([card for card in shown if card], client)
        links = {id: link for (id, _), link in found.items()}
        older = replace(asked, after=after).value() if after else None
        newest = replace(asked, after=None).value() if asked.after else None
        return listing(ListPage(asked.wanted, asked.word, rows, links, notices, older, newest), words)

    async def _seen(self, asked: Asked, person: Person) -> tuple[list[Broadcast], Place | None]:
        """Return the next rows that this person may see, and the place after the last that was looked at."""
        wanted, after, seen = self._listing(asked, person), asked.after, list[Broadcast]()
        for _ in range(0, LOOKED_AT, LISTED):
            place = after
            found = await self.workflow.database.read(lambda c, place=place: page(c, wanted, place, LISTED))  # type: ignore[misc]
            for row in found.found:
                seen += [row] if await self._is_seen(person, row) else []
                if len(seen) == LISTED:
                    last = row is found.found[-1] and found.after is None
                    return seen, None if last else wanted.place_of(row)
            after = found.after
            if after is None or asked.wanted is Wanted.WORD:
                break
        return seen, after

    def _listing(self, asked: Asked, person: Person) -> Listing:
        wanted = Listing(person.workspace, person.id, asked.wanted, asked.word)
        audience = self.audiences.audience(asked.word) if asked.wanted is Wanted.AUDIENCE else None
        if audience is not None:
            return replace(wanted, to=Recipients(audience.account, audience.kind, audience.id))
        return replace(wanted, wanted=Wanted.WORD) if asked.wanted is Wanted.AUDIENCE else wanted

    async def _is_seen(self, person: Person, row: Broadcast) -> bool:
        """Whether this person may see it. One whose channel Slack does not tell of hides no other."""
        try:
            return await self.workflow.permissions.may_see(person, row)
        except DirectoryUnavailable:
            return False

    async def _standing_still(self, workspace: str, words: Translator) -> list[str]:
        stops = await self.workflow.database.read(lambda c: keys.stops(c, self.clock()))
        return list(self._stops(stops, workspace, words))

    def _stops(self, stops: keys.Stops, workspace: str, words: Translator) -> Iterator[str]:
        """Yield what stops all sending here, or all sending through one vendor."""
        if workspace in stops.paused:
            yield words("⏸️ All sending is paused until an admin types `/broadcast resume all`.")
        for account in sorted(stops.away.keys() & self.audiences.providers.keys()):
            vendor, again_at = self.audiences.providers[account].title, mrkdwn.when(stops.away[account])
            yield words(
                "⚠️ I cannot reach {vendor}. Everything due there is waiting. I will try again {again_at}.",
                vendor=mrkdwn.quote(vendor),
                again_at=again_at,
            )


def read_filter(typed: str, audiences: Audiences) -> Asked:
    """Return what a filter asks for, in any of the three languages. Whatever is none is a word of the text."""
    if not typed:
        return Asked()
    if wanted := FILTERS.get(folded(typed)):
        return Asked(wanted)
    if audiences.audience(typed.lower()) is not None:
        return Asked(Wanted.AUDIENCE, typed.lower())
    return Asked(Wanted.WORD, typed)


def near_filter(typed: str) -> str | None:
    """Return the filter that was probably meant; None if nothing is close."""
    return next(iter(difflib.get_close_matches(folded(typed), FILTERS, n=1, cutoff=SLIP)), None)
