"""`find` and `health`: reading over queues and states. Filters that stores lack are applied here, in bounded scans."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from queuekit import clock
from queuekit.domain import names
from queuekit.domain.duration import parse_duration
from queuekit.domain.events import Job, JobFilter, Page, QueueHealth
from queuekit.domain.job import JobRecord
from queuekit.domain.query import SCAN_MAX, Counts, Where
from queuekit.domain.readers import moment
from queuekit.domain.state import TERMINAL, State
from queuekit.errors import InvalidOption
from queuekit.producing.access import Entry

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

LIMIT_MAX = 1000
_ORDER = (
    State.ACTIVE, State.WAITING, State.DELAYED, State.BLOCKED, State.PARKED, State.FAILED, State.CANCELLED,
    State.COMPLETED,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A checked filter."""

    queue: str | None
    state: State | None
    task: str | None
    tag: str | None
    since: int | timedelta | None  # absolute ms, or an age
    text: str | None
    limit: int
    cursor: str | None

    @property
    def exact(self) -> bool:
        """Whether counting is enough to know how many there are."""
        return self.task is None and self.tag is None and self.since is None and self.text is None


def checked(where: Mapping[str, Any]) -> Search:
    """The filter itself. Raises InvalidOption for words and values there are not."""
    unknown = sorted(where.keys() - JobFilter.__annotations__.keys())
    if unknown:
        raise InvalidOption(f"find takes {', '.join(JobFilter.__annotations__)}, not {', '.join(unknown)}")
    limit = where.get("limit", 100)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LIMIT_MAX:
        raise InvalidOption(f"limit={limit!r}: use 1 to {LIMIT_MAX}, and the cursor for more")
    since = where.get("since")
    if since is not None:
        since = moment(since) if isinstance(since, datetime) else timedelta(milliseconds=parse_duration(since))
    state = where.get("state")
    try:
        state = None if state is None else State(state)
    except ValueError as error:
        raise InvalidOption(f"no state {state!r}; there are: {', '.join(State)}") from error
    return Search(
        queue=None if where.get("queue") is None else names.queue_name(where["queue"]),
        state=state,
        task=where.get("task"),
        tag=where.get("tag"),
        since=since,
        text=where.get("text") or None,
        limit=limit,
        cursor=where.get("cursor"),
    )


async def find(kit: QueueKit, at: Entry, search: Search) -> Page:
    """A page of jobs: of each queue, by name, each state's in the order its store promises."""
    queues = [search.queue] if search.queue is not None else await at.ask(at.store.queues)
    states = [search.state] if search.state is not None else list(_ORDER)
    since = await _since(at, queues, search)
    places = [(queue, state) for queue in queues for state in states]
    index, inner = _start(places, search.cursor)
    jobs: list[Job] = []
    scanned = 0
    while index < len(places) and len(jobs) < search.limit and scanned < SCAN_MAX:
        queue, state = places[index]
        want = Where(state=state, task=search.task, limit=search.limit - len(jobs), cursor=inner)
        found = await at.ask(partial(at.store.find, queue, want))
        scanned += max(found.scanned, len(found.records), 1)
        inner = found.cursor
        for record in found.records:
            if since is not None and state in TERMINAL and (record.ended_at or 0) < since:
                inner = None  # ended jobs come newest first: none of the others is newer
                break
            if _fits(kit, record, search, since):
                jobs.append(kit.snapshot(record))
        if inner is None:
            index += 1
    cursor = _closed(*places[index], inner) if index < len(places) else None
    return Page(tuple(jobs), await _total(at, queues, states, search, len(jobs)), cursor)


def _start(places: list[tuple[str, State]], cursor: str | None) -> tuple[int, str | None]:
    """Where to go on; the queue of a cursor may be gone by now, then with the one behind it."""
    if cursor is None:
        return 0, None
    place, inner = _opened(cursor)
    if place in places:
        return places.index(place), inner
    return next((i for i, other in enumerate(places) if other[0] > place[0]), len(places)), None


async def health(at: Entry, queue: str | None) -> dict[str, QueueHealth]:
    """How queues stand, by name."""
    queues = [names.queue_name(queue)] if queue is not None else await at.ask(at.store.queues)
    workers = await at.ask(at.store.workers)
    answer = {}
    for name in queues:
        counts: Counts = await at.ask(partial(at.store.count, name))
        beating = sum(name in worker.queues for worker in workers)
        oldest = counts.oldest_waiting
        answer[name] = QueueHealth(
            name=name,
            waiting=counts.states.get(State.WAITING, 0),
            active=counts.states.get(State.ACTIVE, 0),
            completed=counts.states.get(State.COMPLETED, 0),
            failed=counts.states.get(State.FAILED, 0),
            delayed=counts.states.get(State.DELAYED, 0),
            blocked=counts.states.get(State.BLOCKED, 0),
            parked=counts.states.get(State.PARKED, 0),
            paused=counts.paused,
            oldest_waiting=None if oldest is None else timedelta(milliseconds=oldest),
            workers=beating,
        )
    return answer


async def _since(at: Entry, queues: list[str], search: Search) -> int | None:
    """Absolute ms; an age is counted from the store's own now."""
    if not isinstance(search.since, timedelta):
        return search.since
    now = (await at.ask(partial(at.store.count, queues[0]))).now if queues else clock.now_ms()
    return now - round(search.since / timedelta(milliseconds=1))


async def _total(at: Entry, queues: list[str], states: Sequence[State], search: Search, found: int) -> int:
    if not search.exact:
        return found
    total = 0
    for queue in queues:
        counts: Counts = await at.ask(partial(at.store.count, queue))
        total += sum(counts.states.get(state, 0) for state in states)
    return total


def _fits(kit: QueueKit, record: JobRecord, search: Search, since: int | None) -> bool:
    if since is not None and (record.ended_at if record.ended_at is not None else record.created_at) < since:
        return False
    if search.tag is not None and search.tag not in kit.policy(record).tags:
        return False
    if search.text is None:
        return True
    wanted = search.text.lower().encode()
    places = (record.id.encode(), record.task.encode(), record.body, (record.reason or "").encode(), *record.errors)
    return any(wanted in place.lower() for place in places)


def _closed(queue: str, state: State, inner: str | None) -> str:
    return base64.urlsafe_b64encode(json.dumps([queue, state, inner]).encode()).decode().rstrip("=")


def _opened(cursor: str) -> tuple[tuple[str, State], str | None]:
    try:
        queue, state, inner = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return (str(queue), State(state)), None if inner is None else str(inner)
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"cursor {cursor!r:.60} is not one of find's") from error
