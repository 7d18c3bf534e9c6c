"""Model: get, locate, find, count, position, queues, workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from queuekit.domain.job import JobRecord
from queuekit.domain.query import SCAN_MAX, Counts, Found, Position, Where, WorkerBeat
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption
from queuekit.testing.model.base import Base, snapshot
from queuekit.testing.model.moving import is_held
from queuekit.testing.model.world import order_of


class Read(Base):
    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        with self.world.lock:
            jobs = self.peek(queue).jobs
            return [snapshot(jobs[job]) if job in jobs else None for job in ids]

    async def locate(self, id: str) -> list[JobRecord]:
        with self.world.lock:
            mine = [q for (space, _), q in sorted(self.world.queues.items()) if space == self.namespace]
            return [snapshot(q.jobs[id]) for q in mine if id in q.jobs]

    async def find(self, queue: str, where: Where) -> Found:
        with self.world.lock:
            q = self.peek(queue)
            jobs, key = q.of(where.state), order_of(where.state)
            total = len(jobs) if where.task is None else None
            if where.cursor is not None:
                after = _opened(where.cursor, where.state)
                jobs = [job for job in jobs if key(job) > after]
            page: list[JobRecord] = []
            scanned = 0
            for job in jobs[:SCAN_MAX]:
                scanned += 1
                if where.task is None or job.task == where.task:
                    page.append(snapshot(job))
                    if len(page) >= where.limit:
                        break
            last = None if scanned == len(jobs) else json.dumps([where.state, *key(jobs[scanned - 1])])
            return Found(records=page, cursor=last, scanned=scanned, total=total)

    async def count(self, queue: str) -> Counts:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            waiting, present = q.of(State.WAITING), q.present
            since = [max(job.created_at, job.run_at or 0) for job in waiting]
            return Counts(
                now=now, states={state: sum(job.state is state for job in present) for state in State},
                suspect=sum(job.line is Line.SUSPECT for job in waiting), held=0,
                oldest_waiting=now - min(since) if since else None, paused=q.conf.effective.paused,
                totals=replace(q.totals),
            )  # fmt: skip

    async def position(self, queue: str, id: str) -> Position | None:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            job = q.jobs.get(id)
            if job is None:
                return None
            place = Position(state=job.state)
            if is_held(job) or id in q.absent:
                place.reasons.append("moving")
                return place
            if job.state is State.WAITING:
                line = [other.id for other in q.of(State.WAITING) if other.line is job.line]
                place.ahead = line.index(id)
            if job.state is State.DELAYED:
                place.reasons.append("delayed")
            if job.line is Line.SUSPECT and job.state is State.WAITING:
                place.reasons.append("suspect")
            if job.state in (State.WAITING, State.DELAYED) and q.conf.effective.paused is not None:
                place.reasons.append(f"paused: {q.conf.effective.paused}".rstrip(": "))
            if job.state in (State.WAITING, State.DELAYED) and job.expires_at is not None and job.expires_at <= now:
                place.reasons.append("expired")
            if job.cancel is not None:
                place.reasons.append("cancel asked")
            return place

    async def queues(self) -> list[str]:
        with self.world.lock:
            return sorted(
                n
                for (s, n), q in self.world.queues.items()
                if s == self.namespace and (q.jobs or q.conf.rev or q.conf.epoch or q.ops or q.schedules)
            )

    async def workers(self) -> list[WorkerBeat]:
        with self.world.lock:
            now = self.world.now()
            mine = sorted((name, beat) for (s, name), beat in self.world.workers.items() if s == self.namespace)
            return [worker for _, (worker, until) in mine if until > now]


def _opened(cursor: str, state: State) -> tuple[int | str, ...]:
    """The sort key a cursor stands for. Raises InvalidOption for one that is not ours."""
    try:
        of, *key = json.loads(cursor)
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"{cursor!r:.80} is no cursor of this store") from error
    if of != state:
        raise InvalidOption(f"the cursor is of state {of!r:.20}, not {state}")
    return tuple(key)
