"""A vendor's ids as people read them: `24–10023 (10,000)` for those that follow each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

MOST = 100  # ids and ranges in a sentence
FEWEST = 3  # ids in a range; fewer are shown one by one
NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # an id with a leading zero, or a longer one, is a text


class IdRange(NamedTuple):
    """Ids that follow each other by one, or a single id."""

    first: str
    last: str
    number: int


def id_ranges(ids: Iterable[str]) -> Iterator[IdRange]:
    """Yield the ids in their order, with those that follow each other by one as one range. Needs no memory."""
    first = last = follower = ""
    count = 0
    for id in ids:
        if count and id == follower:
            last, count = id, count + 1
        else:
            yield from _shown(first, last, count)
            first, last, count = id, id, 1
        follower = str(int(id) + 1) if NUMBER.fullmatch(id) else ""
    yield from _shown(first, last, count)


def _shown(first: str, last: str, count: int) -> Iterator[IdRange]:
    if count >= FEWEST:
        yield IdRange(first, last, count)
    else:
        yield from (IdRange(id, id, 1) for id in (first, last)[:count])


def ids_in_words(ids: Sequence[str], most: int | None = MOST) -> str:
    """`22, 24–10023 (10000)`, the same in each language, and how many more there are beyond the `most`."""
    shown = [*islice(id_ranges(ids), most)]
    left = len(ids) - sum(one.number for one in shown)
    named = (one.first if one.number == 1 else f"{one.first}–{one.last} ({one.number})" for one in shown)
    return ", ".join(named) + (f" … (+{left})" if left else "")
