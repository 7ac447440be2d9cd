"""Tells the admins in Slack once when something that the bot needs is in trouble, and once when it works again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.clock import Micros, steady
from bot.domain.i18n import Translatable, Translator
from bot.scheduler import Lanes
from bot.sending.credit import is_low, last_cost, shown
from bot.slack.blocks.thread import thread_message
from bot.slack.client import CLOCK_OFF, UNREACHABLE, error_name
from bot.slack.self_check import SelfCheck
from bot.storage import keys, outbox, sql
from providers.base import ProviderError

log = structlog.get_logger(__name__)

CREDIT_FIRST, CREDIT_AGAIN = 60.0, 3600.0  # seconds from the start, and from one look at the credit to the next

CANNOT_WRITE = Translatable(
    "I cannot write to the database: its disk is full, or it is read-only or damaged. Nothing is sent, and nobody can "
    "ask for anything, until that is fixed. The log has the details."
)
CAN_WRITE = Translatable("I can write to the database again. I could not since {from_at}.")
KNOWN_AGAIN = Translatable(
    "Slack accepts my token again. It had not since {from_at} ({code}), so what happened in the meantime is only "
    "posted now."
)
CLOCK_WRONG = Translatable(
    "The clock of {host} is {number} seconds away from Slack's, so it sends early or late. Let NTP set it."
)
CLOCK_RIGHT = Translatable("The clock of {host} agrees with Slack's again. It was wrong since {from_at}.")
VENDOR_AWAY = Translatable(
    "I cannot reach {vendor} (account {account}). Everything due there waits, and I keep trying. I will say when it "
    "answers again."
)
VENDOR_BACK = Translatable("{vendor} (account {account}) answers again. I could not reach it since {from_at}.")
CREDIT_LOW = Translatable(
    "The credit at {vendor} (account {account}) is low: {credit}. Top it up before the next broadcast."
)
CREDIT_ENOUGH = Translatable("The credit at {vendor} (account {account}) is enough again: {credit}.")


@dataclass(frozen=True)
class Condition:
    """Something that may be in trouble, as one process sees it now.

    `code`: why, while it is. `began`: None if nobody can be told at that time. `ended`: may use {from_at} and {code}.
    """

    name: str
    code: str | None
    began: Translatable | None
    ended: Translatable


def filled(sentence: Translatable, **values: str | int) -> Translatable:
    """Return the sentence with more values."""
    return Translatable(sentence.template, **sentence.values, **values)


class OperatorNotices:
    """Keeps in the database which troubles have begun, so that of all processes one tells of each, once.

    `workspace`: where the admins of the settings are. `of`: that, if it is one of many, which are told apart. `writes`:
    what knows whether the database takes a write, if `check` only asks Slack.
    """

    def __init__(
        self,
        runtime: Runtime,
        workspace: Callable[[], str],
        check: SelfCheck,
        words: Translator,
        *,
        of: str | None = None,
        writes: SelfCheck | None = None,
    ) -> None:
        self.runtime, self.workspace, self.check, self.words = runtime, workspace, check, words
        self.of, self.writes = of, writes or check
        self.database, self.clock, self.admins = runtime.database, runtime.clock, runtime.settings.admins
        self.lanes = Lanes("credit", only_asks=True)
        self.credit_due = steady() + CREDIT_FIRST
        self._full_since: Micros | None = None  # since when the admins know that nothing can be written

    async def tick(self) -> None:
        await self.check.look()
        if self.writes.refused is not None:
            if self.writes.full:
                await self._tell_of_full_disk()
            return
        await self._tell_that_it_writes_again()
        conditions = [*self._of_this_process(), *await self.database.read(self._of_breakers)]
        await self.record(conditions)
        if steady() >= self.credit_due:
            await self._look_at_credit()

    # --- conditions --------------------------------------------------------------------------------------------------

    def _of_this_process(self) -> Iterator[Condition]:
        """Yield what this process knows. What it does not know is not over because of that."""
        if self.check.told:
            yield Condition("token", self.check.dead, None, KNOWN_AGAIN)
        ahead = self.check.clock_ahead
        if ahead is not None:
            host = socket.gethostname()
            wrong = filled(CLOCK_WRONG, host=host, number=round(abs(ahead)))
            code = f"{ahead:+.0f} s" if abs(ahead) > CLOCK_OFF else None
            yield Condition(f"clock:{host}", code, wrong, filled(CLOCK_RIGHT, host=host))

    def _of_breakers(self, connection: Connection) -> list[Condition]:
        tripped, told = keys.tripped(connection), (VENDOR_AWAY, VENDOR_BACK)
        return [self._of_account("breaker", name, name in tripped, told) for name in self._accounts]

    @property
    def _accounts(self) -> Mapping[str, Account]:
        return self.runtime.providers

    def _of_account(
        self, kind: str, name: str, is_wrong: bool, told: tuple[Translatable, Translatable], credit: str = ""
    ) -> Condition:
        """`told`: what to tell when it begins, and when it ends."""
        values = {"vendor": self._accounts[name].title, "account": name} | ({"credit": credit} if credit else {})
        began, ended = (filled(sentence, **values) for sentence in told)
        return Condition(f"{kind}:{name}", kind if is_wrong else None, began, ended)

    async def _look_at_credit(self) -> None:
        """Ask the vendors for the credit, in one of the processes."""
        self.credit_due = steady() + CREDIT_AGAIN
        lease = partial(
            keys.take_lease, name=keys.lease_of_credit(self.of), owner=self.runtime.owner, seconds=CREDIT_AGAIN
        )
        if await self.database.write(lambda c: lease(c, at=sql.database_time(c) or self.clock())):
            for name in self._accounts:
                self.lanes.start(name, partial(self.look_at_credit_of, name))

    async def look_at_credit_of(self, name: str) -> None:
        """Ask one vendor, and record whether the credit is low. A vendor that tells none is left out."""
        account = self._accounts[name]
        try:
            check = await account.check()
        except ProviderError as error:
            log.info("a vendor did not tell its credit", account=name, error=type(error).__name__)
            return
        if check.credit is None:
            return
        await self.database.write(lambda c: keys.keep_credit(c, name, shown(check), self.clock()))
        cost = await self.database.read(lambda c: last_cost(c, self.workspace(), name))
        low = is_low(check, account.settings, cost)
        await self.record([self._of_account("credit", name, low, (CREDIT_LOW, CREDIT_ENOUGH), shown(check))])

    # --- telling -----------------------------------------------------------------------------------------------------

    async def record(self, conditions: Sequence[Condition]) -> None:
        """Tell of what has begun or ended since any process last looked."""
        open_now = await self.database.read(lambda c: keys.open_notices(c, self.of))
        changed = [one for one in conditions if (one.name in open_now) != (one.code is not None)]
        if changed:
            await self.database.write(partial(self._record_each, conditions=changed))

    def _record_each(self, connection: Connection, conditions: Sequence[Condition]) -> None:
        for condition in conditions:
            self._record(connection, condition)

    def _record(self, connection: Connection, condition: Condition) -> None:
        sql.alone(connection, f"notice:{self.of or ''}{condition.name}")
        known, now = keys.open_notices(connection, self.of).get(condition.name), self.clock()
        if condition.code is not None and known is None:
            keys.open_notice(connection, condition.name, condition.code, now, self.of)
            log.error("something that the bot needs is in trouble", what=condition.name, code=condition.code)
            if condition.began is not None:
                self._post(connection, f"{condition.name}:{now}", condition.began, now)
        elif condition.code is None and known is not None:
            keys.close_notice(connection, condition.name, now, self.of)
            log.warning("what was in trouble works again", what=condition.name)
            ended = filled(condition.ended, from_at=known.at, code=known.code)
            self._post(connection, f"{condition.name}:{known.at}:ended", ended, now)

    def _post(self, connection: Connection, about: str, sentence: Translatable, now: Micros) -> None:
        for admin in self.admins:
            key = f"notice:{about}:{admin}"[:255]
            outbox.post(connection, self.workspace(), key, admin, sentence, None, now)

    async def _tell_of_full_disk(self) -> None:
        """Post directly: nothing can be queued. With several processes, the one that last painted does it."""
        client = self.check.client
        if client is None or self._full_since is not None or not await self._paints():
            return
        self._full_since = self.clock()
        log.error("the database takes no write", error=self.writes.refused)
        post = thread_message(CANNOT_WRITE, None, self.words)
        for admin in self.admins:
            try:
                opened = await client.conversations_open(users=admin)
                await client.chat_postMessage(channel=opened["channel"]["id"], text=post.text, blocks=post.blocks)
            except UNREACHABLE as error:
                log.warning("an admin could not be told", error=error_name(error))

    async def _tell_that_it_writes_again(self) -> None:
        if self._full_since is None:
            return
        sentence, about = filled(CAN_WRITE, from_at=self._full_since), f"disk:{self._full_since}"
        await self.database.write(partial(self._post, about=about, sentence=sentence, now=self.clock()))
        self._full_since = None

    async def _paints(self) -> bool:
        if self.database.exclusive:
            return True
        return await self.database.read(lambda c: keys.last_painter(c, self.of)) == self.runtime.owner
