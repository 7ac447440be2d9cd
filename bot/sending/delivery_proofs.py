"""What a vendor's reports prove, and whom the bot tells."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable
from bot.domain.id_ranges import ids_in_words
from bot.domain.lifecycle import Action, State
from bot.storage import audit, broadcasts, notes, receipts, vendor_ids
from bot.storage.notes import Note
from bot.storage.receipts import Followed
from providers.base import Receipt, ReceiptKind

CONFIRMED = "The vendor reports deliveries of this broadcast. Ids: {ids}"
REPORTED = "The vendor reports deliveries, so it did go out."
ON_ITS_WAY = frozenset({State.SENDING, State.SENT, State.DONE})


class DeliveryProofs:
    """Tells people what a vendor's reports prove: that it went out, or that somebody was wrong about it."""

    def __init__(self, runtime: Runtime) -> None:
        self.clock = runtime.clock

    def prove(self, connection: Connection, current: Followed, reports: list[Receipt]) -> bool:
        """Act on what the reports prove. Return False if they are only news of a broadcast known to be on its way."""
        delivered = any(receipt.kind is ReceiptKind.DELIVERY for receipt in reports)
        proves, confirms = current.state is State.UNKNOWN and bool(reports), current.claimed and delivered
        if not (proves or confirms) and (current.state in ON_ITS_WAY or not delivered):
            return False
        row = whole(connection, current)
        if row is None:
            return False
        ids = row.ids or tuple(dict.fromkeys(receipt.id for receipt in reports))
        if proves:
            self.mark_proven(connection, row, ids, Translatable(REPORTED))
        elif confirms:
            self._confirm(connection, row, ids)
        else:
            self._contradict(connection, row, ids)
        return True

    def _confirm(self, connection: Connection, row: Broadcast, ids: tuple[str, ...]) -> None:
        """Confirm what somebody said: the vendor now also reports that it went out."""
        now = self.clock()
        vendor_ids.own_ids(connection, row, ids)
        notes.add_notes(connection, row, now, [Note(Translatable(CONFIRMED, ids=ids_in_words(ids)))])
        broadcasts.touch(connection, row, now, ids=ids, failure=None, look_at=None if row.ended else now)

    def _contradict(self, connection: Connection, row: Broadcast, ids: tuple[str, ...]) -> None:
        """Warn aloud, once: it went out but was taken for not sent, and somebody may be about to send it again."""
        history = audit.history(connection, row.workspace, row.id)
        if any(step["action"] in ("accept_late", "report_late") for step in history):
            return
        deniers = [str(step["actor"]) for step in history if step["action"] == Action.MARK_NOT_SENT]
        template = (
            "The vendor reports deliveries, so it did go out, although it was treated as not sent. If a follow-up is "
            "under way, stop it. Ids: {ids}"
        )
        sentence = Translatable(template, ids=ids_in_words(ids))
        new_notes = [Note(sentence, " ".join(dict.fromkeys([row.requester, *deniers])), aloud=True)]
        audit.write_audit(connection, row, row.provider, "report_late", row.state, self.clock())
        notes.add_notes(connection, row, self.clock(), new_notes)

    def mark_proven(self, connection: Connection, row: Broadcast, ids: tuple[str, ...], sentence: Translatable) -> None:
        now, ids = self.clock(), tuple(filter(None, ids))  # an answer without an id proves it as well
        vendor_ids.own_ids(connection, row, ids)
        new_notes = [Note(sentence, row.requester, aloud=True)]
        if ids:
            new_notes.append(Note(Translatable("Ids: {ids}", ids=ids_in_words(ids))))
        broadcasts.move(
            connection,
            row,
            Action.PROVE,
            actor=row.provider,
            at=now,
            notes=new_notes,
            ids=ids,
            accepted_at=now,
            look_at=now,
            failure=None,
        )


def whole(connection: Connection, current: Followed) -> Broadcast | None:
    """Return its whole row, or None if it cannot be read; its receipts are counted anyway."""
    with suppress(NotFound):
        return broadcasts.find(connection, current.workspace, current.id)
    return None


def expected_finals(row: Broadcast) -> int:
    """Return for how many people a final status is expected."""
    return (row.staged and row.staged.contacts) or len(row.ids)


def all_final(row: Broadcast) -> bool:
    """Whether all deliveries are final. If the vendor tells its ids one by one, there may be more than are known."""
    expected = expected_finals(row)
    known = sum(number for name, number in row.counts.items() if name not in receipts.ANSWERS.values())
    return expected > 0 and max(expected, known) <= row.finals
