"""The family `exchange`: settle outcomes, promote what is due, claim the next jobs.

In the common case three round trips: the head (time, configuration, earliest delayed job), the candidates, and one
command that settles the old jobs and claims the new ones, so that both wait for the journal once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.domain.job import BATCH_MAX, JobRecord
from queuekit.domain.outcome import Ask, Exchange, Home, Op, Outcome, Refusal
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption, StoreUnavailable
from queuekit_mongo import documents, queries, removals
from queuekit_mongo.collections import JOBS
from queuekit_mongo.documents import READY, SUSPECT, Document
from queuekit_mongo.statements import Group, Write
from queuekit_mongo.store.delayed import expire, promote
from queuekit_mongo.store.room import CLAIMED, MARK_AGE, SLOW_SCAN, Mark, Room, View
from queuekit_mongo.store.settle import Settling

ROUNDS: Final = 8  # times a claim is tried anew when others were faster
EXPIRING: Final = 8  # times a call searches anew because it met jobs which were not started in time,
EXPIRED: Final = 500  # and how many of those it cancels each time


async def exchange(room: Room, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
    if len(outcomes) > BATCH_MAX or ask.want > BATCH_MAX:
        raise InvalidOption(f"an exchange takes at most {BATCH_MAX} outcomes and claims")
    begun = room.calls.begin(op)
    view = await room.view(queue)
    reply = Exchange(now=view.now, paused=view.paused, home=view.conf.home, to=view.conf.to, next_at=view.due)
    settling = Settling(room, queue, view, op, reply, again=begun.again)
    want = 0 if view.paused is not None or view.conf.home is not Home.HERE else ask.want
    if begun.maybe:
        claims = await room.port.find(queries.held(room.names.queue(queue), op.token))
        if begun.answer is not None or claims:
            reply.replayed, want = True, 0
            reply.claims = sorted(map(documents.record, claims), key=_order)
        if begun.answer is not None:
            reply.refused, outcomes = list(begun.answer), ()
    if view.conf.home is Home.GONE:
        reply.refused, outcomes = [(outcome.id, Refusal.GONE) for outcome in outcomes], ()
    plain, others = settling.sort(outcomes)
    await settling.careful(others)
    if view.due is not None and view.due <= view.now:
        reply.next_at = await promote(room, queue, view)
    claiming = _Claiming(room, queue, view, op, ask, reply)
    await claiming.run(want, settling, plain)
    reply.more = view.paused is None and (reply.more or (reply.next_at is not None and reply.next_at <= view.now))
    room.calls.end(op, tuple(reply.refused))
    return reply


class _Claiming:
    """The second half of an exchange."""

    def __init__(self, room: Room, queue: str, view: View, op: Op, ask: Ask, reply: Exchange) -> None:
        self.room, self.queue, self.view, self.op, self.ask, self.reply = room, queue, view, op, ask, reply
        self.key = room.names.queue(queue)
        self.suspects = 1 if ask.suspect and all(job.line is not Line.SUSPECT for job in reply.claims) else 0

    async def run(self, want: int, settling: Settling, plain: Sequence[Outcome]) -> None:
        """Claim up to `want`, and settle the plain outcomes with the first claim's command."""
        pending: Sequence[Outcome] = plain
        for _ in range(ROUNDS):
            docs = await self._candidates(want)
            settles = settling.statements(pending)
            writes = settles + [self._claim(group) for group in _groups(docs)]
            if not writes:
                await self.room.flush(self.queue)
                return
            met = await self._write(writes)
            if met == sum(write.expects for write in writes):
                settling.settled(len(pending))
                won = docs
            else:
                won = await self._won(docs)
                await settling.confirm(pending, met - len(won))
            pending = ()
            if won:
                self._answer(won)
                self.room.claimed[self.queue] = self.room.claimed.get(self.queue, 0) + len(won)
            if len(won) == len(docs):
                return
            want -= len(won)

    async def _write(self, writes: list[Write]) -> int:
        """One command, with the totals that wait for one."""
        totals = self.room.take_totals(self.queue)
        if not totals:
            return (await self.room.port.bulk(JOBS, writes)).met
        writes = [*writes, queries.add_totals(self.room.names.totals(self.queue), totals)]
        try:
            return (await self.room.port.bulk(JOBS, writes)).met - 1
        except StoreUnavailable as error:
            if error.outcome == "refused":  # else they may be counted already, and must not be twice
                self.room.tally(self.queue, totals)
            raise

    async def _candidates(self, want: int) -> list[Document]:
        """Up to `want` jobs in order, at most one suspect among all of a call; notes whether more are there."""
        if self.view.paused is not None:
            return []
        docs, slow = await self._scan(want)
        late = self._late(docs)
        for _ in range(EXPIRING):
            if not want or not late:
                break
            more = await self.room.port.find(removals.unstarted(self.key, self.view.now, EXPIRED))
            together = {doc["_id"]: doc for doc in (*late, *(doc for doc in more if "line" in doc))}
            await expire(self.room, self.queue, self.view, list(together.values()))
            docs, slow = await self._scan(want)
            late = self._late(docs)
        if want and late:  # outcomes wait for this search: the next call goes on
            self.reply.more = True
            return []
        suspects = [doc for doc in docs if doc["line"] == SUSPECT]
        ready = [doc for doc in docs if doc["line"] == READY]
        if len(suspects) > 1 and len(ready) <= want:
            ready = await self.room.port.find(queries.candidates(self.key, want + 1, suspects=False))
            ready = [doc for doc in ready if doc.get("expiry", self.view.now + 1) > self.view.now]
        usable = suspects[: min(self.suspects, want)]
        chosen = (usable + ready)[:want]
        held_back = bool(suspects and self.suspects and not usable)  # a second suspect is no work for this worker
        self.reply.more = held_back or len(usable) + len(ready) > len(chosen)
        self.suspects -= sum(doc["line"] == SUSPECT for doc in chosen)
        if slow and chosen and chosen[-1]["line"] == READY and self.room.claimed.get(self.queue, 0) >= CLAIMED:
            self._mark(chosen[-1])
        return chosen

    def _late(self, docs: Sequence[Document]) -> list[Document]:
        """Those that were not started in time."""
        return [doc for doc in docs if doc.get("expiry", self.view.now + 1) <= self.view.now]

    async def _scan(self, want: int) -> tuple[list[Document], bool]:
        """The foremost waiting jobs: behind the low-water mark if one is set and enough stand there, else all."""
        port, mark = self.room.port, self.room.marks.get(self.queue)
        if mark is not None and want:
            if port.monotonic() < mark.until:
                behind = queries.candidates_behind(self.key, want + 1, priority=mark.priority, place=mark.place)
                docs = await port.find(behind)
                if len(docs) > want:
                    mark.place = docs[want - 1]["place"]
                    return docs, False
            self.room.marks.pop(self.queue, None)
        sent = port.monotonic()
        docs = await port.find(queries.candidates(self.key, want + 2, suspects=True))
        return docs, port.monotonic() - sent > SLOW_SCAN

    def _mark(self, last: Document) -> None:
        until = self.room.port.monotonic() + MARK_AGE
        self.room.marks[self.queue] = Mark(last["priority"], last["place"], until)

    def _claim(self, group: Group) -> Write:
        return queries.claim(
            group,
            epoch=self.view.conf.epoch,
            token=self.op.token,
            now=self.view.now,
            lease=self.ask.lease,
            worker=self.ask.worker,
        )

    async def _won(self, docs: Sequence[Document]) -> list[Document]:
        """Of the candidates, those that this call got."""
        if not docs:
            return []
        now = await self.room.port.find(queries.known([doc["_id"] for doc in docs], ("token", "state")))
        mine = {doc["_id"] for doc in now if doc.get("token") == self.op.token and doc["state"] == State.ACTIVE}
        return [doc for doc in docs if doc["_id"] in mine]

    def _answer(self, docs: Sequence[Document]) -> None:
        view, ask, token = self.view, self.ask, self.op.token
        for doc in docs:
            job = documents.record(doc)
            job.state, job.token, job.worker = State.ACTIVE, token, ask.worker
            job.claimed_at, job.lease_until = view.now, view.now + ask.lease
            job.rev, job.claims = job.rev + 1, job.claims + 1
            self.reply.claims.append(job)


def _groups(docs: Sequence[Document]) -> list[Group]:
    """Candidates that one statement can claim, together: nearly always all of them."""
    groups: dict[tuple[int, int, bool, bool], Group] = {}
    for doc in docs:
        uniq = doc.get("uniq")
        frees = uniq is not None and uniq["until"] == "started"
        key = (doc["line"], doc["rev"], frees, "expiry" in doc)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(line=key[0], rev=key[1], frees=frees, expires=key[3])
        group.ids.append(doc["_id"])
    return list(groups.values())


def _order(job: JobRecord) -> tuple[bool, int, int, str]:
    return (job.line is not Line.SUSPECT, job.priority, job.place, job.id)
