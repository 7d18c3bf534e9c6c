"""Model: exchange, renew, recover."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.absence import LEAST_GRACE
from queuekit.domain.job import BATCH_MAX
from queuekit.domain.outcome import Ask, Exchange, Hold, Home, Op, Outcome, Recovery, Refusal, Renewal
from queuekit.domain.query import Note
from queuekit.domain.state import Line, Move, State
from queuekit.errors import InvalidOption
from queuekit.testing.model.base import Base, snapshot
from queuekit.testing.model.settle import end, note, settle, to
from queuekit.testing.model.world import QueueData

PROMOTED = 500  # a call


class HotPath(Base):
    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            if len(outcomes) > BATCH_MAX or ask.want > BATCH_MAX:
                raise InvalidOption(f"an exchange takes at most {BATCH_MAX} outcomes and claims")
            known = q.recall(op)
            if known is not None:
                assert isinstance(known.answer, tuple)
                claimed, refused = known.answer
                claims = [q.jobs[i] for i in claimed if i in q.jobs and q.jobs[i].token == op.token]
                reply = Exchange(now=now, refused=list(refused), replayed=True)
                reply.claims = [snapshot(job) for job in claims if job.state is State.ACTIVE]
                return self._tail(q, reply, ask)
            refused_now: list[tuple[str, Refusal]] = []
            for outcome in outcomes:
                no = settle(q, outcome, now, self.limit)
                if no is not None:
                    refused_now.append((outcome.id, no))
            here = q.conf.home is Home.HERE
            if here:
                promote(q, now)
            claimed = self._claim(q, op, ask, now) if here and q.conf.effective.paused is None else []
            q.remember(op, now, (tuple(claimed), tuple(refused_now)))
            reply = Exchange(now=now, refused=refused_now, claims=[snapshot(q.jobs[i]) for i in claimed])
            if outcomes:
                self.world.changed()
            return self._tail(q, reply, ask)

    def _tail(self, q: QueueData, reply: Exchange, ask: Ask) -> Exchange:
        delayed = q.of(State.DELAYED)
        reply.next_at = delayed[0].run_at if delayed else None
        reply.paused, reply.home, reply.to = q.conf.effective.paused, q.conf.home, q.conf.to
        due = reply.next_at is not None and reply.next_at <= reply.now
        suspect = ask.suspect and not any(job.line is Line.SUSPECT for job in reply.claims)
        left = q.of(State.WAITING)
        claimable = reply.paused is None and reply.home is Home.HERE
        reply.more = claimable and (due or any(suspect or j.line is not Line.SUSPECT for j in left))
        if reply.more:
            self.wake(q)
        return reply

    def _claim(self, q: QueueData, op: Op, ask: Ask, now: int) -> list[str]:
        claimed: list[str] = []
        suspects = 1 if ask.suspect else 0
        for job in q.of(State.WAITING):
            if len(claimed) >= ask.want:
                break
            if job.line is Line.SUSPECT and not suspects:
                continue
            if job.expires_at is not None and job.expires_at <= now:
                job.reason = "expired"
                end(q, job, Move.EXPIRE, State.CANCELLED, now)
                continue
            if job.line is Line.SUSPECT:
                suspects -= 1
            to(job, Move.CLAIM, State.ACTIVE)
            job.token, job.worker, job.claims = op.token, ask.worker, job.claims + 1
            job.claimed_at, job.lease_until = now, now + ask.lease
            q.free(job, "started")
            claimed.append(job.id)
        return claimed

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            reply = Renewal(now=now, lease_until=now + lease)
            for hold in holds:
                job = q.jobs.get(hold.id)
                if job is None or job.state is not State.ACTIVE or job.token != hold.token:
                    reply.lost.append(hold.id)
                    continue
                job.lease_until = now + lease
                note(q, job, Note(progress=hold.progress, logs=hold.logs, start=hold.start))
                if job.cancel is not None:
                    reply.cancels[hold.id] = job.cancel
            named = {(hold.id, hold.token) for hold in holds}
            for job in q.of(State.ACTIVE):
                owner, _, n = (job.token or "").rpartition(":")
                if actor and owner == actor and int(n) <= upto and (job.id, job.token) not in named:
                    reply.strays.append((job.id, job.token or ""))
            return reply

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            pace, grace = min(every, q.pace or every), max(2 * every, LEAST_GRACE)
            away = q.seen is not None and now - q.seen > (3 * pace if q.grace_until is None else max(3 * pace, grace))
            q.seen, q.pace = now, every if away else pace
            if away:
                q.grace_until = now + grace
            reply = Recovery(now=now)
            if q.grace_until is not None and now < q.grace_until:
                reply.grace_until = q.grace_until
                return reply
            q.grace_until = None
            expired = [job for job in q.of(State.ACTIVE) if job.lease_until is not None and job.lease_until <= now]
            for job in expired[:limit]:
                self._lose(q, job.id, now, reply)
            reply.more = len(expired) > limit
            if reply.suspects:
                self.wake(q)
            elif reply.crashed or reply.cancelled:
                self.world.changed()
            return reply

    def _lose(self, q: QueueData, id: str, now: int, reply: Recovery) -> None:
        job = q.jobs[id]
        if job.cancel is not None:
            job.reason = job.cancel
            end(q, job, Move.LOSE, State.CANCELLED, now)
            reply.cancelled.append(id)
            return
        if job.line is Line.SUSPECT or job.crashes == 0:
            job.crashes, q.totals.crashed = job.crashes + 1, q.totals.crashed + 1
        if job.crashes >= q.conf.max_crashes:
            job.reason = "crash_loop"
            end(q, job, Move.LOSE, State.FAILED, now)
            reply.crashed.append(id)
            return
        to(job, Move.LOSE, State.WAITING)
        job.line = Line.SUSPECT
        reply.suspects.append(id)


def promote(q: QueueData, now: int) -> None:
    """Delayed jobs whose time has come, in order (run_at, id), to the back of their priority."""
    for job in q.of(State.DELAYED)[:PROMOTED]:
        if job.run_at is None or job.run_at > now:
            break
        if job.expires_at is not None and job.expires_at <= now:
            job.reason = "expired"
            end(q, job, Move.EXPIRE, State.CANCELLED, now)
            continue
        to(job, Move.DUE, State.WAITING)
        job.line, job.place = Line.READY, q.back()
