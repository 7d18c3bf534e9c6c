"""All jobs of a queue at one side, page by page. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from queuekit.domain.job import JobRecord
from queuekit.domain.query import Where
from queuekit.domain.state import State
from queuekit.move.checks import Pair
from queuekit.move.values import Side

PAGE: Final = 200  # records a call, at most
FIRST: Final = 20  # records of the first call: how large they are is not known yet
PAGE_BYTES: Final = 4 * 1024 * 1024  # a call, as large as the records of the page before were


async def pages(
    pair: Pair, side: Side, queue: str, states: Sequence[State] = tuple(State), *, limit: int = PAGE
) -> AsyncIterator[list[JobRecord]]:
    """Pages of records. A job that changes its state meanwhile may come twice, or not at all."""
    for state in states:
        cursor: str | None = None
        few = min(FIRST, limit)
        while True:
            found = await pair.ask(side, side.store.find, queue, Where(state=state, limit=few, cursor=cursor))
            each = sum(map(size, found.records)) // max(1, len(found.records))
            few = max(1, min(limit, PAGE_BYTES // max(1, each)))
            if found.records:
                yield found.records
            cursor = found.cursor
            if cursor is None:
                break


def size(job: JobRecord) -> int:
    """About how many bytes a job has."""
    return sum(map(len, (job.body, job.result or b"", job.progress or b"", *job.errors, *job.logs)))


def pieces(records: Sequence[JobRecord]) -> Iterator[list[JobRecord]]:
    """The records again, never more than about 4 MiB together; one alone may be larger."""
    piece, total = list[JobRecord](), 0
    for job in records:
        total += size(job)
        if piece and total > PAGE_BYTES:
            yield piece
            piece, total = [], size(job)
        piece.append(job)
    if piece:
        yield piece
