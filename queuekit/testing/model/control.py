"""Model: conf, configure, prune, obliterate, beat."""

from __future__ import annotations

from dataclasses import replace

from queuekit.domain.limits import QueueConf, checked
from queuekit.domain.outcome import Home
from queuekit.domain.query import WorkerBeat
from queuekit.domain.state import TERMINAL, Move, State
from queuekit.errors import Conflict, InvalidOption, Moved, Unsupported
from queuekit.testing.model.base import Base
from queuekit.testing.model.settle import end, trim
from queuekit.testing.model.world import OPS_KEPT, QueueData, by_age


class Control(Base):
    async def conf(self, queue: str) -> QueueConf:
        with self.world.lock:
            return self.peek(queue).conf

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        with self.world.lock:
            for layer in (conf.declared, conf.override):
                if checked(layer).cap is not None or layer.rates is not None:
                    raise Unsupported(
                        "this store has no limits over all workers: leave global_concurrency and rate unset"
                    )
            q = self.queue(queue)
            if q.conf.home in (Home.MOVING, Home.GONE):
                raise Moved(f"queue {queue} is {q.conf.home}: it lives in {q.conf.to}", to=q.conf.to)
            if conf.rev + 1 == q.conf.rev and (conf.declared, conf.override) == (q.conf.declared, q.conf.override):
                return q.conf  # by this very call, whose answer was lost
            if conf.rev != q.conf.rev:
                raise Conflict(f"queue {queue}: its configuration has rev {q.conf.rev}, not {conf.rev}; read it again")
            q.conf = replace(q.conf, rev=conf.rev + 1, declared=conf.declared, override=conf.override)
            self.wake(q)
            return q.conf

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            if state is State.ACTIVE:
                raise InvalidOption("active jobs are not pruned: cancel them, or obliterate the queue")
            doomed = self._outlived(q, now) if state is None else self._older(q, state, now - older_than)
            for name in doomed[:limit]:
                q.free(q.jobs[name], "finished")
                q.awaited.discard(name)
                del q.jobs[name]
            return min(len(doomed), limit), len(doomed) > limit

    def _older(self, q: QueueData, state: State, moment: int) -> list[str]:
        aged = sorted((j.ended_at or j.created_at, j.id) for j in q.present if j.state is state)
        return [name for entered, name in aged if entered <= moment]

    def _outlived(self, q: QueueData, now: int) -> list[str]:
        """Housekeeping, then the ended jobs whose time is over."""
        for actor in [a for a, record in q.ops.items() if record.seen + OPS_KEPT <= now]:
            del q.ops[actor]
        for key in [k for k, held in q.unique.items() if held.expires is not None and held.expires <= now]:
            del q.unique[key]
        for job in q.present:
            if job.state in (State.WAITING, State.DELAYED) and job.expires_at is not None and job.expires_at <= now:
                job.reason = "expired"
                end(q, job, Move.EXPIRE, State.CANCELLED, now)
        for kept in {(job.state, job.keep) for job in q.present if job.state in TERMINAL}:
            trim(q, *kept)
        ended = by_age(job for job in q.present if job.state in TERMINAL)
        ages = ((job, q.kept(job).age) for job in ended)
        return [job.id for job, age in ages if age is not None and (job.ended_at or 0) + age <= now]

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        with self.world.lock:
            q = self.peek(queue)
            if q.conf.home in (Home.MOVING, Home.ARRIVING) or (q.conf.home is Home.HERE and q.conf.to is not None):
                raise Conflict(f"queue {queue} is on the move: end that first, with migrate --resume or --abort")
            if not force and any(job.state is State.ACTIVE for job in q.jobs.values()):
                raise Conflict(f"queue {queue} has active jobs: stop its workers first, or force")
            q.schedules.clear()  # with the first call, or they would make new jobs meanwhile
            doomed = list(q.jobs)[:limit]
            for name in doomed:
                q.awaited.discard(name)
                del q.jobs[name]
            q.out = {batch: left for batch, out in q.out.items() if (left := [name for name in out if name in q.jobs])}
            if not q.jobs and q.conf.home is Home.GONE:
                self.world.queues[self.namespace, queue] = QueueData(
                    queue, conf=QueueConf(home=q.conf.home, to=q.conf.to, epoch=q.conf.epoch), mover=q.mover
                )
            elif not q.jobs:
                self.world.queues.pop((self.namespace, queue), None)
            self.world.changed()
            return len(doomed), bool(q.jobs)

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        with self.world.lock:
            now = self.world.now()
            self.world.workers[(self.namespace, worker.id)] = (replace(worker, seen=now), now + ttl)
            return now
