"""The family `exchange`: settle outcomes, promote what is due, claim the next jobs.

In the common case two round trips: a look (time, configuration, earliest delayed job, candidates), and one command that
settles the old jobs and claims the new ones, so that both wait for the journal once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from queuekit.domain.job import BATCH_MAX, JobRecord
from queuekit.domain.outcome import Ask, Exchange, Home, Op, Outcome, Refusal
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption, StoreUnavailable
from queuekit_mongo import documents, queries, removals, transit
from queuekit_mongo.collections import JOBS
from queuekit_mongo.documents import READY, SUSPECT, Document
from queuekit_mongo.statements import Find, Group, Write
from queuekit_mongo.store.delayed import expire, promote
from queuekit_mongo.store.room import BRISK, CROWDED, MARK_AGE, Mark, Room, View
from queuekit_mongo.store.settle import Settling, is_plain

ROUNDS: Final = 8  # times a claim is tried anew when others were faster
FEW: Final = 4  # claims that are taken one by one where many want the same
APART: Final = 16  # ends and claims, each, from which on they are two commands side by side
EXPIRING: Final = 8  # times a call searches anew because it met jobs which were not started in time,
EXPIRED: Final = 500  # and how many of those it cancels each time


async def exchange(room: Room, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
    if len(outcomes) > BATCH_MAX or ask.want > BATCH_MAX:
        raise InvalidOption(f"an exchange takes at most {BATCH_MAX} outcomes and claims")
    begun = room.calls.begin(op)
    view, found = await _look(room, queue, ask, alone=begun.maybe or not all(map(is_plain, outcomes)))
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
    if view.conf.home is not Home.HERE:
        room.marks.pop(queue, None)
    elif view.due is not None and view.due <= view.now and not reply.replayed:
        reply.next_at, found = await promote(room, queue, view), None
    claiming = _Claiming(room, queue, view, op, ask, reply)
    claiming.found = None if others else found
    await claiming.run(want, settling, plain)
    if reply.claims and not reply.replayed and room.is_old(view):
        await _confirm_home(room, queue, view, reply)
    due = reply.next_at is not None and reply.next_at <= view.now
    reply.more = view.paused is None and reply.home is Home.HERE and (reply.more or due)
    room.calls.end(op, tuple(reply.refused))
    return reply


async def _confirm_home(room: Room, queue: str, view: View, reply: Exchange) -> None:
    """Claims that took long count only if the queue did not leave meanwhile; one whose mover is still about waits for
    them. What is not told here, `renew` names as strays."""
    now = await room.view(queue)
    if now.conf.epoch != view.conf.epoch and now.conf.home in (Home.GONE, Home.ARRIVING):
        reply.claims, reply.home, reply.to = [], now.conf.home, now.conf.to


async def _look(room: Room, queue: str, ask: Ask, *, alone: bool) -> tuple[View, list[Document] | None]:
    """The queue, and in the same round trip its foremost jobs, where nothing can come before them in this call.

    While calls follow each other at full speed only the jobs are read, from behind the last claim on.
    """
    if alone or not ask.want:
        return await room.view(queue), None
    view = room.brisk(queue)
    if view is not None:
        docs = await _behind(room, queue, ask.want)
        if docs is not None:
            return view, docs
    if room.calm(queue):
        return await room.look(queue, ask.want + 2 + len(room.chosen.get(queue, ())))
    return await room.view(queue), None


async def _behind(room: Room, queue: str, want: int) -> list[Document] | None:
    """The jobs behind the low-water mark if enough stand there; else there is no mark any more."""
    mark = room.marks.get(queue)
    if mark is not None and want and room.port.monotonic() < mark.until:
        find = queries.candidates_behind(room.names.queue(queue), want + 1, priority=mark.priority, place=mark.place)
        docs = room.free(queue, await room.port.find(find))
        if len(docs) > want:
            mark.place = docs[want - 1]["place"]
            return docs
    room.marks.pop(queue, None)
    return None


class _Claiming:
    """The second half of an exchange."""

    def __init__(self, room: Room, queue: str, view: View, op: Op, ask: Ask, reply: Exchange) -> None:
        self.room, self.queue, self.view, self.op, self.ask, self.reply = room, queue, view, op, ask, reply
        self.key = room.names.queue(queue)
        self.found: list[Document] | None = None  # read already
        self.suspects = 1 if ask.suspect and all(job.line is not Line.SUSPECT for job in reply.claims) else 0

    async def run(self, want: int, settling: Settling, plain: Sequence[Outcome]) -> None:
        """Claim up to `want`, and settle the plain outcomes with the first claim's command."""
        pending: Sequence[Outcome] = plain
        for _ in range(ROUNDS):
            if 0 < want <= FEW and self.room.port.monotonic() < self.room.crowds.get(self.queue, 0.0):
                await self._settle(settling, pending)
                await self._take(want)
                return
            docs = await self._candidates(want)
            chosen = [doc["_id"] for doc in docs]
            self.room.choose(self.queue, chosen)
            won: list[Document] = []
            try:
                won = await self._claim(docs, settling, pending)
            finally:
                self.room.unchoose(self.queue, chosen)
                if len(won) != len(docs):  # what was not got may stand before the mark
                    self.room.marks.pop(self.queue, None)
            pending = ()
            if won:
                self._answer(won)
                self.room.claimed[self.queue] = self.room.claimed.get(self.queue, 0) + len(won)
            if len(won) == len(docs):
                return
            self.room.crowds[self.queue] = self.room.port.monotonic() + CROWDED
            want -= len(won)

    async def _settle(self, settling: Settling, pending: Sequence[Outcome]) -> None:
        if pending:
            met = await self._write(settling.statements(pending), [])
            if met == len(pending):
                settling.settled(met)
            else:
                await settling.confirm(pending, met)

    async def _take(self, want: int) -> None:
        """Claim one by one what stands first. Whoever looks before finds what 15 others are about to claim, too."""
        room, ask = self.room, self.ask
        self.reply.more = True
        for _ in range(want):
            doc = await room.port.update(JOBS, queries.take(
                self.key, suspects=self.suspects > 0, epoch=self.view.epochs, token=self.op.token,
                now=self.view.now, lease=ask.lease, worker=ask.worker,
            ))  # fmt: skip
            if doc is None:
                self.reply.more = False
                return
            self.suspects -= doc.get("was") == SUSPECT
            self.reply.claims.append(documents.record(doc))

    async def _claim(self, docs: list[Document], settling: Settling, pending: Sequence[Outcome]) -> list[Document]:
        """Settle and claim in one command; those that were got."""
        ends, starts = settling.statements(pending), [self._statement(group) for group in _groups(docs)]
        if not ends and not starts:
            await self.room.flush(self.queue)
            return []
        met = await self._write(ends, starts)
        if met == len(pending) + len(docs):
            settling.settled(len(pending))
            return docs
        won = await self._won(docs)
        await settling.confirm(pending, met - len(won))
        return won

    async def _write(self, ends: list[Write], starts: list[Write]) -> int:
        """Settles and claims, with the totals that wait for a write; how many documents were met."""
        room, port = self.room, self.room.port
        totals = room.take_totals(self.queue)
        if totals:
            ends = [*ends, room.totals(self.queue, totals)]
        many = min(sum(write.expects for write in half) for half in (ends, starts)) >= APART
        try:
            done = await port.bulk(JOBS, [*ends, *starts], len(ends) if many else 0)
        except StoreUnavailable as error:
            if error.outcome == "refused":  # else they may be counted already, and must not be twice
                room.tally(self.queue, totals)
            raise
        return done.met - bool(totals)

    async def _candidates(self, want: int) -> list[Document]:
        """Up to `want` jobs in order, at most one suspect among all of a call; notes whether more are there."""
        if self.view.paused is not None:
            return []
        docs = await self._scan(want)
        while want and self.view.floor and await self._stranded(docs):
            docs = await self._scan(want)
        late = self._late(docs)
        for _ in range(EXPIRING):
            if not want or not late:
                break
            more = await self.room.port.find(removals.unstarted(self.key, self.view.now, EXPIRED))
            together = {doc["_id"]: doc for doc in (*late, *(doc for doc in more if "line" in doc))}
            await expire(self.room, self.queue, self.view, list(together.values()))
            docs = await self._scan(want)
            late = self._late(docs)
        if want and late:  # outcomes wait for this search: the next call goes on
            self.reply.more = True
            return []
        suspects = [doc for doc in docs if doc["line"] == SUSPECT]
        ready = [doc for doc in docs if doc["line"] == READY]
        if len(suspects) > 1 and len(ready) <= want:
            ready = await self._read(queries.candidates(self.key, want + 1, suspects=False))
            ready = [doc for doc in ready if doc.get("expiry", self.view.now + 1) > self.view.now]
        usable = suspects[: min(self.suspects, want)]
        chosen = (usable + ready)[:want]
        held_back = bool(suspects and self.suspects and not usable)  # a second suspect is no work for this worker
        self.reply.more = held_back or len(usable) + len(ready) > len(chosen)
        self.suspects -= sum(doc["line"] == SUSPECT for doc in chosen)
        if self.reply.more and chosen and chosen[-1]["line"] == READY:
            self._mark(chosen[-1])
        return chosen

    async def _stranded(self, docs: Sequence[Document]) -> bool:
        """Remove jobs that came in while the queue was gone; their producers were told so. Those that a mover put back
        are the queue's own again. Whether there were any."""
        floor, port = self.view.floor, self.room.port
        ids = [doc["_id"] for doc in docs if doc["epoch"] < floor]
        if not ids:
            return False
        removed = await port.delete(JOBS, transit.stranded(ids, floor))
        return bool((await port.bulk(JOBS, [transit.adopt(ids, floor, self.view.conf.epoch)])).met or removed)

    def _late(self, docs: Sequence[Document]) -> list[Document]:
        """Those that were not started in time."""
        return [doc for doc in docs if doc.get("expiry", self.view.now + 1) <= self.view.now]

    async def _scan(self, want: int) -> list[Document]:
        """The foremost waiting jobs: those read already, behind the low-water mark, or from the start."""
        found, self.found = self.found, None
        if found is not None:
            free = self.room.free(self.queue, found)
            if len(free) == len(found) or len(free) > want:
                return free
        behind = await _behind(self.room, self.queue, want)
        if behind is not None:
            return behind
        return await self._read(queries.candidates(self.key, want + 2, suspects=True))

    async def _read(self, query: Find) -> list[Document]:
        """Candidates that no other call of this store is about to claim. Others may choose while this one reads."""
        while True:
            limit = query.limit + len(self.room.chosen.get(self.queue, ()))
            docs = await self.room.port.find(replace(query, limit=limit))
            free = self.room.free(self.queue, docs)
            if len(free) >= query.limit or len(docs) < limit:
                return free

    def _mark(self, last: Document) -> None:
        """Where the next calls may begin to search, once this store drains the queue at full speed."""
        if self.queue not in self.room.marks and self.room.claimed.get(self.queue, 0) >= BRISK:
            until = self.room.port.monotonic() + MARK_AGE
            self.room.marks[self.queue] = Mark(last["priority"], last["place"], until)

    def _statement(self, group: Group) -> Write:
        return queries.claim(
            group,
            epoch=self.view.epochs,
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
