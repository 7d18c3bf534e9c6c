"""The ground a scene is played on: one queue of its own on an open store, who works there, and a look at it.

What `look` answers is the abstract state: times as steps of ten seconds from the start, places as ranks, actors as
roles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias, cast

from queuekit import clock
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Exchange, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where, WorkerBeat
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import State
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.store.protocol import JobStore

NAMES: Final = ("a", "b", "c", "d", "e", "f")  # every id that a scene uses
STEP: Final = 10_000  # ms; what scenes do with time are multiples of this
LEASE: Final = 30_000
MINUTE: Final = 60_000
HOUR: Final = 3_600_000
NEVER_AWAY: Final = 3650 * 24 * HOUR
TIMES: Final = ("created_at", "run_at", "claimed_at", "lease_until", "ended_at", "expires_at")
MOMENTS: Final = ("now", "next_at", "next", "lease_until", "grace_until", "key_expires", "expires")
UNTOLD: Final = ("replayed", "mark", "base", "settles_at")  # places and moments of one store
REVS: Final = ("rev", "queue")  # of a schedule: a rev is a moment too
MOVER: Final = ("authority", "checkout", "import_batch", "confirm", "restore", "unhold")  # the part's changing verbs
Call: TypeAlias = Callable[[], Awaitable[Any]]


class Actor:
    """One role's calls, counted."""

    def __init__(self, name: str) -> None:
        self.name, self.n = name, 0

    def op(self) -> Op:
        self.n += 1
        return Op(self.name, self.n)


class Ground:
    """A fresh queue on a store, and who works there."""

    def __init__(self, store: JobStore, queue: str, advance: Callable[[int], Awaitable[None]], ahead: int) -> None:
        self.store, self.queue, self._advance = store, queue, advance
        self._ahead = ahead
        self.start = clock.now_ms() + ahead
        self.producer, self.worker, self.other = (Actor(f"{role}.{queue}") for role in ("producer", "worker", "other"))
        self.person = Actor(f"person.{queue}")
        self.answered: ScheduleRecord | None = None  # what the last put said is kept
        self.beat = WorkerBeat(
            id=f"w.{queue}", host="h", pid=1, queues=(queue,), concurrency=1, started_at=self.start
        )  # fmt: skip

    async def advance(self, ms: int) -> None:
        await self._advance(ms)

    async def put(self, *specs: JobSpec) -> None:
        await self.store.enqueue(self.queue, specs, self.producer.op())

    async def exchange(
        self, outcomes: Iterable[Outcome] = (), want: int = 0, *, by: Actor | None = None, lease: int = LEASE
    ) -> Exchange:
        ask = Ask(want=want, lease=lease, worker="w")
        return await self.store.exchange(self.queue, (by or self.worker).op(), list(outcomes), ask)

    async def claim(self, want: int = 1, *, by: Actor | None = None, lease: int = LEASE) -> list[JobRecord]:
        return (await self.exchange((), want, by=by, lease=lease)).claims

    async def end(self, job: JobRecord, kind: Kind = Kind.COMPLETED, **said: Any) -> None:
        await self.exchange([done(job, kind, **said)])

    async def change(self, id: str, verb: Verb, **said: Any) -> None:
        await self.store.change(self.queue, [Change(id=id, verb=verb, **said)], self.person.op())

    async def limit(self, **said: Any) -> None:
        conf = await self.store.conf(self.queue)
        await self.store.configure(self.queue, dataclasses.replace(conf, override=Limits(**said)))

    async def look(self, verb: str, *, schedules: bool = False) -> dict[str, Any]:
        """The abstract state of the queue, as far as the verb can change it; its schedules where they are asked for."""
        store, queue = self.store, self.queue
        found = [job for job in await store.get(queue, NAMES) if job is not None]
        counts = await store.count(queue)
        seen = {
            "jobs": {job.id: self.told(job, found) for job in found},
            "counts": {state.value: n for state, n in counts.states.items() if n},
            "suspect": counts.suspect,
            "paused": counts.paused,
            "totals": dataclasses.asdict(counts.totals),
        }
        if verb in ("configure", "obliterate"):
            conf = await store.conf(queue)
            seen["conf"] = (conf.rev, conf.declared, conf.override)
        if verb in MOVER:
            mover = cast("MovingStore", store)
            journal, conf = await mover.journal(queue), await store.conf(queue)
            seen["authority"] = (conf.home, conf.to, conf.epoch)
            seen["journal"] = journal
            seen["taken"] = [await mover.taken(queue, batch) for batch in (journal.taken if journal else ())]
            seen["running"] = [parcel.record.id for parcel in await mover.running(queue, "", 9)]
            seen["keys"] = [(key.key, key.id) for key in await mover.timed_keys(queue, "", 9)]
            pages = [await store.find(queue, Where(state=each)) for each in State]
            seen["lines"] = [[job.id for job in found.records] for found in pages]
        if schedules:
            kept = await cast("SchedulingStore", store).schedules(queue)
            seen["schedules"] = {record.id: self.answer(record) for record in kept}
            told = self.answered
            seen["known"] = told is not None and (told.id, told.rev) in [(record.id, record.rev) for record in kept]
        if verb == "beat":
            seen["workers"] = [beat.pid for beat in await store.workers() if beat.id == self.beat.id]
        return seen

    def told(self, job: JobRecord, among: Iterable[JobRecord]) -> dict[str, Any]:
        """A record without what differs from one run to the next; its place as a rank among those it competes with."""
        said = {f.name: getattr(job, f.name) for f in dataclasses.fields(job) if f.name != "queue"}
        said |= {name: self.steps(said[name]) for name in TIMES}
        rivals = [one.place for one in among if (one.state, one.priority) == (job.state, job.priority)]
        said["place"] = sorted(rivals).index(job.place)
        said["token"] = self.named(job.token)
        return said

    def steps(self, at: int | None) -> int | None:
        return None if at is None else round((at - self.start) / STEP)

    def named(self, token: str | None) -> str | None:
        return None if token is None else token.replace(self.queue, "")

    def answer(self, given: Any) -> Any:
        """An answer without times and marks of a repeat."""
        if isinstance(given, JobRecord):
            return self.told(given, [given])
        if isinstance(given, list | tuple):
            return [self.answer(one) for one in given]
        if isinstance(given, dict):
            return {self.answer(key): self.answer(value) for key, value in given.items()}
        if dataclasses.is_dataclass(given) and not isinstance(given, type):
            said = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
            if isinstance(given, ScheduleRecord):
                said = {name: value for name, value in said.items() if name not in REVS}
            return {
                name: self.steps(value) if name in MOMENTS else self.answer(value)
                for name, value in said.items()
                if name not in UNTOLD
            }
        return given.replace(self.queue, "") if isinstance(given, str) else given


def spec(id: str, **said: Any) -> JobSpec:
    return JobSpec(**({"id": id, "task": "t", "body": b"j{}"} | said))


def done(job: JobRecord, kind: Kind = Kind.COMPLETED, **said: Any) -> Outcome:
    return Outcome(job.id, str(job.token), kind, **said)
