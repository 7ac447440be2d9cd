"""Looks through everything that is logged during a test, at debug, for what no log may hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice

from sandbox.server import Sandbox

#: Of the pretend workspace and its vendors: nearly every test uses these.
SECRETS = (
    *("xoxb-sandbox-bellcrier", "xapp-sandbox-bellcrier", "sandbox-encom-token", "sandbox-octopush-key"),
    *("sandbox-secret", "sandbox-refresh", "CL3578", "sandbox@example.org"),
)
SHORT = 12  # characters of a text that may stand in a log by chance
SOME = 500  # numbers of a list that are looked for


class Canaries(logging.Handler):
    """Keeps what was logged, as it would stand in the log. `formatter`: the one that the log has."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(formatter)
        self.lines: list[str] = []
        self.sandboxes: list[Sandbox] = []

    def begin(self) -> None:
        """Forget what was logged, and by whom: a test begins."""
        self.lines.clear()
        self.sandboxes.clear()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def found(self) -> list[tuple[str, str]]:
        """Each secret, number and text that was logged, with its line."""
        if not (log := "\n".join(self.lines)):
            return []
        looked_for = [*SECRETS, *(one for sandbox in self.sandboxes for one in _of(sandbox))]
        return [(one, next(line for line in self.lines if one in line)) for one in looked_for if one in log]


def _of(sandbox: Sandbox) -> Iterable[str]:
    """The numbers of its vendors, and the texts that they were given."""
    for _, numbers in sandbox.vendors.encom.lists.values():
        yield from (number.lstrip("+") for number in islice(numbers, SOME))
    yield from (entry.text for entry in sandbox.vendors.ledger if len(entry.text) >= SHORT)
