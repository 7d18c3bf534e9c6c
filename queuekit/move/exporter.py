"""Writes the jobs of a store as lines: page by page, in the order in which they would run. It changes nothing.

How a line looks stands in `records` and `lines`; where it goes, in `files`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, cast

from queuekit import ids
from queuekit.domain.job import JobRecord
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.query import Counts, Where
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import LIVE, TERMINAL, State
from queuekit.errors import JobNotFound, Moved
from queuekit.move.lines import FORMAT, SCHEDULED, Writer
from queuekit.move.records import VERSION, Digests, compact, dumps, schedule_digest, schedule_said
from queuekit.store.parts import Mover, Schedules
from queuekit.store.protocol import JobStore

PAGE: Final = 500  # jobs
PAGE_BYTES: Final = 4 * 1024 * 1024
# A job that goes on while we read is then in the file twice rather than not at all; only one that goes back is missed.
ORDER: Final = (State.WAITING, State.DELAYED, State.BLOCKED, State.PARKED, State.ACTIVE, *sorted(TERMINAL))

Told = Callable[[str, int, int], None]  # queue, jobs so far, jobs in all


@dataclass(slots=True, kw_only=True)
class Exported:
    """What was written."""

    id: str
    queues: dict[str, Digests] = field(default_factory=dict)
    keys: int = 0
    schedules: int = 0
    bytes: int = 0  # before any compression
    changed: list[str] = field(default_factory=list)  # queues that went on while they were read
    active: int = 0  # jobs that ran; an import lets them run again
    gone: dict[str, str] = field(default_factory=dict)  # queues that live elsewhere, and where; nothing of them is here

    @property
    def jobs(self) -> int:
        return sum(one.total for one in self.queues.values())


async def export(
    store: JobStore,
    write: Callable[[bytes], object],
    *,
    namespace: str,
    queues: Sequence[str] = (),
    states: Collection[State] = (),
    schedules: bool = True,
    told: Told | None = None,
) -> Exported:
    """Write what `queues` (none named: all that live here) hold, of `states` (none named: all, and the schedules).

    What does not change while it is read is in the file once. What does may be there twice, or be missing where it went
    back to a line that was read already: `Exported.changed` names such queues. Raises JobNotFound, Moved.
    """
    known = await store.queues()
    missing = sorted(set(queues) - set(known))
    if missing:
        raise JobNotFound(f"no queue {', '.join(missing)}; there are {', '.join(known) or 'none'}")
    pong, out, done = await store.ping(), Writer(write), Exported(id=ids.nonce())
    if not queues:
        confs = {name: await store.conf(name) for name in known}
        done.gone = {name: conf.to or "" for name, conf in confs.items() if conf.home is Home.GONE}
    chosen = sorted(set(queues)) if queues else [name for name in known if name not in done.gone]
    schedules = schedules and not states and await _any_schedules(store, chosen)
    header = {
        "format": FORMAT, "v": SCHEDULED if schedules else VERSION, "id": done.id, "at": pong.now,
        "namespace": namespace, "server": pong.server, "store": pong.store_id, "queues": chosen,
    } | ({"states": sorted(states)} if states else {})  # fmt: skip
    out.line("header", compact(header))
    for queue in chosen:
        await _Queue(store, out, queue, set(states) or set(State), schedules, done, told).write()
    end = {
        "jobs": done.jobs,
        "keys": done.keys,
        "changed": done.changed,
        "queues": {name: sums.as_dict() for name, sums in done.queues.items()},
    } | ({"schedules": done.schedules} if schedules else {})
    out.line("end", compact(end))
    done.bytes = out.bytes
    return done


@dataclass
class _Queue:
    store: JobStore
    out: Writer
    name: str
    states: set[State]
    schedules: bool
    done: Exported
    told: Told | None

    async def write(self) -> None:
        conf, before = await self._still_here(), await self.store.count(self.name)
        self.out.line("queue", compact(_about(self.name, conf, before)))
        sums = self.done.queues[self.name] = Digests()
        planned = await self._schedules(write=True)
        total = sum(n for state, n in before.states.items() if state in self.states)
        for state in ORDER:
            if state in self.states:
                await self._state(state, before.now, sums, total)
        if self.states == set(State):
            await self._keys()
        await self._still_here()
        self.done.active += sums.counts.get(State.ACTIVE, 0)
        same = planned == await self._schedules(write=False) and _same(before, await self.store.count(self.name))
        if not same or sum(before.states.values()) < sums.total:
            self.done.changed.append(self.name)

    async def _state(self, state: State, now: int, sums: Digests, total: int) -> None:
        cursor, limit = None, 50
        while True:
            page = await self.store.find(self.name, Where(state=state, limit=limit, cursor=cursor))
            size = 0
            for record in page.records:
                holds, expires = holding(record, now)
                line = dumps(Parcel(record=record, holds=holds, key_expires=expires))
                self.out.line("job", line)
                sums.add(record)
                size += len(line)
            if self.told is not None:
                self.told(self.name, sums.total, max(total, sums.total))
            cursor = page.cursor
            if cursor is None:
                return
            limit = max(1, min(PAGE, PAGE_BYTES * max(1, len(page.records)) // max(1, size)))

    async def _schedules(self, *, write: bool) -> dict[str, bytes]:
        """Their digests. They stand before the jobs: a slot that fires meanwhile is then in the file as its job, too,
        and makes none when it fires again."""
        found: dict[str, bytes] = {}
        if not self.schedules:
            return found
        async for record in _planned(self.store, self.name):
            found[record.id] = schedule_digest(record)
            if write:
                self.out.line("schedule", compact(schedule_said(record)))
                self.done.schedules += 1
        return found

    async def _keys(self) -> None:
        if "mover" not in self.store.capabilities.parts:
            return
        mover, after = cast("Mover", self.store), ""
        while keys := await mover.timed_keys(self.name, after, PAGE):
            for key in keys:
                said = {"queue": self.name, "key": key.key, "id": key.id, "expires": key.expires}
                self.out.line("key", compact(said))
                self.done.keys += 1
            after = keys[-1].key

    async def _still_here(self) -> QueueConf:
        """The queue's configuration. Raises Moved: a part of a queue looks like all of it."""
        conf = await self.store.conf(self.name)
        if conf.home is not Home.HERE or conf.to is not None:
            raise Moved(
                f"queue {self.name} is {conf.home}, the other side is {conf.to}: a part of its jobs is there. "
                + (
                    "Export it there"
                    if conf.home is Home.GONE
                    else "Let the move end (`queuekit migrate --resume`) first"
                ),
                to=conf.to,
            )
        return conf


async def _planned(store: JobStore, queue: str) -> AsyncIterator[ScheduleRecord]:
    """The schedules of a queue, by id."""
    if "schedules" not in store.capabilities.parts:
        return
    after = ""
    while page := await cast("Schedules", store).schedules(queue, after, PAGE):
        for record in page:
            yield record
        after = page[-1].id


async def _any_schedules(store: JobStore, queues: Sequence[str]) -> bool:
    for queue in queues:
        async for _ in _planned(store, queue):
            return True
    return False


def holding(record: JobRecord, now: int) -> tuple[bool, int | None]:
    """Whether a job holds its unique key, and until when, as far as its record tells.

    A key until "started" of a job that ran before is taken for given back: only a retry by hand takes it again.
    """
    key = record.unique
    if key is None:
        return False, None
    if key.until == "time":
        expires = record.created_at + (key.ttl or 0)
        return (True, expires) if expires > now else (False, None)
    if key.until == "started":
        return record.state in LIVE and record.state is not State.ACTIVE and record.claims == 0, None
    return record.state in LIVE, None


def _about(name: str, conf: QueueConf, counts: Counts) -> dict[str, object]:
    return {
        "name": name,
        "declared": json.loads(conf.declared.to_json()),
        "override": json.loads(conf.override.to_json()),
        "totals": asdict(counts.totals),
        "jobs": {state.value: n for state, n in counts.states.items() if n},
    }


def _same(one: Counts, other: Counts) -> bool:
    return (one.states, one.suspect, one.totals) == (other.states, other.suspect, other.totals)
