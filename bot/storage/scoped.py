"""The database as one workspace's work sees it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from bot.storage.database import OWN, Database, T, Work
from bot.storage.failing_rows import FailingRows
from bot.storage.news import Followers


class WorkspaceDatabase(Database):
    """A database in which work is found for one workspace only, and whose failing rows are that workspace's.

    `workspace`: None for the only one, until Slack has told which it is. All failing rows are its own. `followers`: who
    hears of what in it.
    """

    def __init__(self, whole: Database, workspace: str | None = None) -> None:
        self.whole, self.workspace, self.patience = whole, workspace, whole.patience
        self.followers = Followers()
        self._failing_rows = whole.failing_rows if workspace is None else whole.failing_rows.apart()

    @property
    def exclusive(self) -> bool:
        return self.whole.exclusive

    @property
    def failing_rows(self) -> FailingRows:
        return self._failing_rows

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        return await self.whole.write(self._scoped(work), patience=patience)

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        return await self.whole.read(self._scoped(work), patience=patience)

    def _scoped(self, work: Work[T]) -> Work[T]:
        def run(connection: Connection) -> T:
            """The next work on this connection may be that of another workspace."""
            before = connection.get_execution_options()
            ours = {"workspace": self.workspace, "failing_rows": self._failing_rows, "followers": self.followers}
            connection.execution_options(**ours)
            try:
                return work(connection)
            finally:
                connection.execution_options(**{name: before.get(name) for name in ours})

        return run

    def check_place(self) -> None:
        self.whole.check_place()

    async def check(self) -> None:
        await self.whole.check()

    def claim_dispatch(self) -> None:
        self.whole.claim_dispatch()

    async def listen(self, on_notice: Callable[..., None]) -> None:
        await self.whole.listen(on_notice)

    async def notify_peers(self, *words: str) -> None:
        await self.whole.notify_peers(*words)

    async def close(self) -> None:
        """Close nothing: the process closes the whole database."""
