"""All jobs of a queue at one side, page by page. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from queuekit.domain.job import JobRecord
from queuekit.domain.query import Where
from queuekit.domain.state import State
from queuekit.move.checks import Pair
from queuekit.move.values import Side

PAGE: Final = 200  # records a call: a page of the largest payloads still fits in memory


async def pages(
    pair: Pair, side: Side, queue: str, states: Sequence[State] = tuple(State), *, limit: int = PAGE
) -> AsyncIterator[list[JobRecord]]:
    """Pages of records. A job that changes its state meanwhile may come twice, or not at all."""
    for state in states:
        cursor: str | None = None
        while True:
            found = await pair.ask(side, side.store.find, queue, Where(state=state, limit=limit, cursor=cursor))
            if found.records:
                yield found.records
            cursor = found.cursor
            if cursor is None:
                break
