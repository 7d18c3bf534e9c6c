"""The family `enqueue`: a call's jobs come in as one.

Several jobs are one transaction where there are transactions and the call is not huge; one job is one document. Else
a call that dies half-way leaves the jobs it wrote, and the same call repeated adds the others: a document holds the
op that made it, so that the receipts say created again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from queuekit.domain.job import BATCH_MAX, JobSpec, limits_error
from queuekit.domain.outcome import Enqueued, Op, Receipt
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption, PayloadTooLarge, QueueFull, StoreUnavailable, Unsupported
from queuekit_mongo import documents, moves, queries, transit
from queuekit_mongo.collections import JOBS, after_slash
from queuekit_mongo.documents import GONE, Document
from queuekit_mongo.port import Full, Insertion, MongoPort
from queuekit_mongo.replies import Contended, Duplicate, transient
from queuekit_mongo.statements import Write
from queuekit_mongo.store.moving import kept_key
from queuekit_mongo.store.room import TALLY_AGE, Room, View, elsewhere

ROUNDS: Final = 40  # times a call is worked out anew when others changed what it met
WHOLE_BYTES: Final = 8 * 1024 * 1024  # of bodies; a larger transaction would weigh on the server's cache
FILLING: Final = frozenset({State.WAITING, State.DELAYED})


async def enqueue(room: Room, queue: str, jobs: Sequence[JobSpec], op: Op, *, asked: bool) -> Enqueued:
    begun = room.calls.begin(op)
    if begun.answer is not None:
        return Enqueued(now=room.now(), receipts=list(begun.answer), replayed=True)
    check(jobs, room.limit)
    view = await room.recent(queue)
    again = begun.again
    while True:
        if view.limits.max_size is not None or not view.doc:
            await room.ensure(queue)
            view = await room.view(queue)
        call = Call(room, queue, view, op, jobs, again=again)
        no = elsewhere(view, queue, asked)
        if no is not None and not (begun.maybe and await call.was_made()):
            raise no
        if no is not None or not jobs or await _write(call):
            break
        view, again = await room.view(queue), False  # its jobs were taken back: it begins anew
    receipts = [call.receipts[index] for index in range(len(jobs))]
    room.calls.end(op, tuple(receipts))
    return Enqueued(now=call.now, receipts=receipts, replayed=begun.maybe and call.replayed)


async def _write(call: Call) -> bool:
    """Write the jobs of a call; False where the queue moved meanwhile, and they were taken back."""
    size = call.view.limits.max_size
    keyed = any(spec.unique is not None for spec in call.jobs)
    await call.run(look_first=call.again or size is not None or keyed, size=size)
    stays = await call.confirm_home()
    await call.room.flush(call.queue, age=TALLY_AGE)
    return stays


def check(jobs: Sequence[JobSpec], limit: int) -> None:
    """What refuses the whole call before the store is asked."""
    if len(jobs) > BATCH_MAX:
        raise InvalidOption(f"{len(jobs)} jobs in one call are over the limit of {BATCH_MAX}")
    for spec in jobs:
        if spec.group is not None:
            raise Unsupported("this store has no groups")
        wrong = limits_error(spec.body, limit)
        if wrong is not None:
            raise PayloadTooLarge(f"job {spec.id}: {wrong}")


class Call:
    """One call on its way: which specs have their receipt, and what is still to write."""

    def __init__(
        self, room: Room, queue: str, view: View, op: Op, jobs: Sequence[JobSpec], *, again: bool = False,
        port: MongoPort | None = None,
    ) -> None:  # fmt: skip
        self.again = again  # what an earlier try of this call made is in no total yet
        self.port = port or room.port  # what it looks through; in a caller's transaction, that one's
        self.room, self.queue, self.view, self.op, self.jobs = room, queue, view, op, jobs
        self.key = room.names.queue(queue)
        self.now = room.now()
        self.receipts: dict[int, Receipt] = {}
        self.replayed = False
        self.made: set[str] = set()  # written by this very attempt
        self.merged = False  # one job of the call took the content of another
        self.revived = 0  # of what is to be written, jobs that come in where a stub stands
        self.passes_key = False  # a removed job's key, to a document of its own
        self.begun = room.port.monotonic()
        self.docs = self._documents()

    def _documents(self) -> list[Document]:
        """A document for each spec, with places in the order of the call."""
        room, count, since = self.room, len(self.jobs), self.room.port.monotonic()
        self._count_from(room.ranks.back(count, since) if count else 0)
        lifo = any(spec.lifo for spec in self.jobs)
        front = self.view.base + room.ranks.front(count, since) if lifo else 0
        docs = []
        named = Counter(spec.id for spec in self.jobs)
        for index, spec in enumerate(self.jobs):
            own = front - index if spec.lifo else self.backs[index]
            key = room.names.job(self.queue, spec.id)
            epoch = self.view.conf.epoch
            doc = documents.new(spec, id=key, queue=self.key, epoch=epoch, now=self.now, place=own, op=self.op.token)
            if named[spec.id] > 1:
                doc["nth"] = index  # the receipts of a repeat must tell which of the equal ids made the job
            docs.append(doc)
        return docs

    def _count_from(self, first: int) -> None:
        """Let the call's places at the back begin here. A holder of a key that is replaced goes there, lifo or not."""
        self.backs = range(first, first + len(self.jobs))

    def _stand_with(self, met: Sequence[Document]) -> None:
        """Where an earlier try of this very call wrote some of its jobs, let the others stand in the call's order with
        them: a call's places follow each other, so each tells where they began. One that has another place since
        tells nothing."""
        named = {doc["_id"]: index for index, doc in enumerate(self.docs)}
        front, count = None, len(self.docs)
        for old in met:
            note = documents.did(old, self.op.token)
            if note is not None and "first" in note:
                self._count_from(int(note["first"]))
            index = old.get("nth", named.get(old["_id"], count))
            if index >= count or not self._stands_as_written(old, index):
                continue
            if self.jobs[index].lifo:
                front = int(old["place"]) + index
            else:
                self._count_from(int(old["place"]) - index)
        for index, (spec, doc) in enumerate(zip(self.jobs, self.docs, strict=True)):
            if not spec.lifo:
                doc["place"] = self.backs[index]
            elif front is not None:
                doc["place"] = front - index

    def _stands_as_written(self, old: Document, index: int) -> bool:
        """Whether a document is this call's, and its place is the one that the call gave it: it was only claimed."""
        mine = old.get("op") == self.op.token and old["state"] != GONE and old["epoch"] == self.docs[index]["epoch"]
        return mine and old["rev"] - old.get("claims", 0) == 1

    async def run(self, *, look_first: bool, size: int | None) -> None:
        """Write until each spec has its receipt."""
        deadline = self.room.port.monotonic() + self.room.options.timeout / 1000
        for round_ in range(ROUNDS):
            try:
                todo, writes = await self.look() if look_first or round_ else (self.distinct(), [])
            except Conflict:
                await self._withdraw()
                raise
            try:
                if await self._write(todo, writes, size):
                    return
            except Full as full:
                if await self._came_late(todo):
                    continue
                await self._withdraw()
                more = len(todo) + self.revived
                raise QueueFull(
                    f"queue {self.queue}: {full.have} jobs wait, {more} more are over max_size {size}"
                ) from full
            except (Duplicate, Contended):
                if self.room.port.monotonic() > deadline:
                    break
                await self.room.port.sleep(random.uniform(0.0005, 0.002) * min(round_ + 1, 16))  # noqa: S311
        raise StoreUnavailable(
            f"queue {self.queue}: other calls changed what this one met, {ROUNDS} times over; repeat it",
            outcome="unknown",
            op=self.op.token,
        )

    async def _came_late(self, todo: Sequence[int]) -> bool:
        """Whether an earlier try of this very call came in behind the look: what fills the queue are its own jobs."""
        keys = [self.docs[index]["_id"] for index in todo]
        found = await self.port.find(queries.known(keys, ("op", "state")))
        return any(doc.get("op") == self.op.token and doc["state"] != GONE for doc in found)

    async def _withdraw(self) -> None:
        """The whole call is refused: what it wrote goes. Only where a race was lost outside a transaction."""
        if self.made:
            await self.room.port.delete(JOBS, queries.withdraw(sorted(self.made), self.op.token))

    def distinct(self) -> list[int]:
        """Every spec whose id is not named twice; of equal ones the first."""
        first: dict[str, int] = {}
        for index, spec in enumerate(self.jobs):
            if first.setdefault(spec.id, index) != index:
                self.receipts[index] = Receipt(spec.id, False)
        return list(first.values())

    async def look(self) -> tuple[list[int], list[Write]]:
        """Give receipts to what exists already; answers specs to insert and what else is to write."""
        if self.merged:  # in a round before, which came to nothing
            self.docs, self.merged = self._documents(), False
        ids = [doc["_id"] for doc in self.docs]
        keys = sorted({spec.unique.key for spec in self.jobs if spec.unique is not None})
        there = {doc["_id"]: doc for doc in await self.port.find(queries.light(ids))}
        holders = await self.port.find(queries.holders(self.key, keys)) if keys else []
        there |= {doc["_id"]: doc for doc in holders if doc["_id"] in ids}  # an earlier try came in between the two
        if self.view.floor:
            there, holders = await self._without_stranded(there, holders)
        self._stand_with([*there.values(), *holders])
        held: dict[str, Document] = {}
        writes: list[Write] = []
        for holder in holders:
            if holder.get("unique_until", self.now + 1) > self.now:
                held[holder["unique"]] = holder
            else:
                writes.append(queries.free_key(holder))
        return self._sort(there, held, writes), writes

    def _sort(self, there: dict[str, Document], held: dict[str, Document], writes: list[Write]) -> list[int]:
        self.receipts.clear()
        self.revived = 0
        todo: list[int] = []
        new: dict[str, int] = {}
        drafts: dict[str, moves.Draft] = {}
        revived: list[tuple[Document, Document]] = []
        for index, (spec, doc) in enumerate(zip(self.jobs, self.docs, strict=True)):
            old = there.get(doc["_id"])
            if spec.id in new:
                self.receipts[index] = Receipt(spec.id, False)
            elif old is not None and self._stands(old, index, held):
                mine = old.get("op") == self.op.token and old.get("nth", index) == index
                self.replayed = self.replayed or (mine and doc["_id"] not in self.made)
                new[spec.id] = index
                self.receipts[index] = Receipt(spec.id, mine)
            elif spec.unique is not None and spec.unique.key in held:
                holder = held[spec.unique.key]
                if spec.unique.on_conflict == "error":
                    raise Conflict(f"job {spec.id}: the unique key {spec.unique.key!r} is held")
                if spec.unique.on_conflict == "replace":
                    self._replace(index, holder, drafts)
                self.receipts[index] = Receipt(after_slash(documents.holder(holder)), False)
            else:
                new[spec.id] = index
                if spec.unique is not None:
                    held[spec.unique.key] = doc
                if old is None:
                    todo.append(index)
                else:
                    revived.append((old, doc))
                    self.revived += 1
                    self.made.add(doc["_id"])
                    self.receipts[index] = Receipt(spec.id, True)
        writes += [self.revive(old, doc) for old, doc in revived]  # a later spec may have replaced its content
        keys = [write for old, _ in revived for write in kept_key(self.room, self.queue, old, self.now)]
        self.passes_key = bool(keys)
        writes += keys
        writes += [queries.drafted(draft.old, draft.update()) for draft in drafts.values()]
        return todo

    def revive(self, old: Document, doc: Document) -> Write:
        return queries.revive_stub(old, doc)

    def _stands(self, old: Document, index: int, held: dict[str, Document]) -> bool:
        """Whether a document is what this spec meets: a job, or what this very call left of one.

        Not where an earlier try made it for a later spec of the same id, because the key of this one was held.
        """
        mine, unique = old.get("op") == self.op.token, self.jobs[index].unique
        later = mine and old.get("nth", index) > index and unique is not None and unique.key in held
        return (mine or old["state"] != GONE) and not later

    def _replace(self, index: int, holder: Document, drafts: dict[str, moves.Draft]) -> None:
        """Let the holder of a key take a new job's content, unless it runs, is parked, or took it in this call."""
        spec, doc = self.jobs[index], self.docs[index]
        assert spec.unique is not None
        own = any(holder is one for one in self.docs)
        if holder["state"] not in FILLING or (not own and documents.did(holder, self.op.token) is not None):
            return
        due = doc.get("run_at")
        if due is not None and spec.unique.max_wait is not None:
            due = min(due, holder["created_at"] + spec.unique.max_wait)
        if own:
            moves.replace_new(holder, doc, due, self.now, self.backs[index])
            documents.note(holder, self.op.token, self.now, first=self.backs.start)
            self.merged = True
            return
        draft = drafts.setdefault(holder["_id"], self.room.draft(holder, self.view))
        draft.now, draft.back = self.now, lambda: self.backs[index]
        moves.replace(draft, doc, due)
        documents.note(draft.doc, self.op.token, self.now, first=self.backs.start)

    async def _write(self, todo: list[int], writes: list[Write], size: int | None) -> bool:
        """Write a round; False where something was not as it had been read."""
        room = self.room
        docs = [self.docs[index] for index in todo]
        if writes:
            if size is not None and (docs or self.revived):  # before the first write: a refused call leaves nothing
                await self.fit(len(docs) + self.revived, size)
            if not await self._change(writes):
                return False
        if docs and not await self._insert(docs, size):
            return False
        for index in todo:
            self.receipts[index] = Receipt(self.jobs[index].id, True)
            self.made.add(self.docs[index]["_id"])
        created = sum(receipt.created is True for receipt in self.receipts.values()) if self.again else len(self.made)
        room.tally(self.queue, {"enqueued": created} if created else {})
        room.marks.pop(self.queue, None)
        return True

    async def _change(self, writes: list[Write]) -> bool:
        """False where something was not as it had been read. A key that passes from a removed job to a document of its
        own does so in one transaction where there are some: half of it would set the key free."""

        async def whole(port: MongoPort) -> None:
            done = await port.bulk(JOBS, writes)
            if done.met < len(writes) or done.duplicates:
                raise Contended(f"queue {self.queue}: another call changed what this one met")

        if self.passes_key and self.room.replica:
            await self.room.port.joined(whole)
            return True
        done = await self.room.port.bulk(JOBS, writes)
        return done.met >= len(writes) and not done.duplicates

    async def _insert(self, docs: list[Document], size: int | None) -> bool:
        room = self.room
        if size is not None:
            return await self._insert_bounded(docs, size)
        small = sum(len(doc["body"]) for doc in docs) <= WHOLE_BYTES
        if len(docs) > 1 and room.replica and small:
            await room.port.insert_whole(Insertion(room=JOBS, docs=docs))
            return True
        return await self._insert_each(docs)

    async def _insert_each(self, docs: list[Document]) -> bool:
        done = await self.room.port.insert(JOBS, docs)
        missing = {*done.duplicates, *done.too_large}
        self.made.update(doc["_id"] for index, doc in enumerate(docs) if index not in missing)
        for index in done.too_large:
            await self._withdraw()
            raise PayloadTooLarge(f"job {after_slash(docs[index]['_id'])}: its document would be over 16 MiB")
        return not done.duplicates

    async def _insert_bounded(self, docs: list[Document], size: int) -> bool:
        """Insert unless the queue would be over its size: exact where there are transactions."""
        room = self.room
        if room.replica:
            gate, full = queries.touch(self.key), queries.filling(self.key)
            await room.port.insert_whole(Insertion(room=JOBS, docs=docs, gate=gate, full=full, size=size))
            return True
        await self.fit(len(docs), size)
        return await self._insert_each(docs)

    async def fit(self, more: int, size: int) -> None:
        """Raises Full where so many jobs more would be over the size of the queue."""
        have = sum([await self.port.count(query) for query in queries.filling(self.key)])
        if have + more > size:
            raise Full(have)

    async def confirm_home(self) -> bool:
        """A call that took long asks again whether the queue still lives here as it did, and takes its jobs back if
        not: those that nobody started, checked out or was told of."""
        room = self.room
        if not room.is_old(self.view):
            return True
        view = await room.view(self.queue)
        if _place(view) == _place(self.view):
            return True
        mine = [doc["_id"] for index, doc in enumerate(self.docs) if self.receipts[index].created]
        if mine:
            gone = await room.port.delete(JOBS, queries.withdraw(mine, self.op.token))
            room.tally(self.queue, {"enqueued": -gone} if gone else {})
        return False

    async def was_made(self) -> bool:
        """Whether an earlier try of this very call wrote all its jobs. If it wrote some, those come by the mover."""
        try:
            todo, writes = await self.look()
        except Conflict:
            return False
        return self.replayed and not todo and not writes

    async def _without_stranded(
        self, there: dict[str, Document], holders: list[Document]
    ) -> tuple[dict[str, Document], list[Document]]:
        """What a call met, without jobs that came in while the queue was gone. Those are removed."""
        floor = self.view.floor
        lost = {doc["_id"] for doc in (*there.values(), *holders) if doc.get("epoch", floor) < floor}
        if lost:
            gone = await self.room.port.delete(JOBS, transit.stranded(sorted(lost), floor))
            if gone and self.port is not self.room.port:
                raise transient(f"queue {self.queue}: jobs that this transaction still sees were none of the queue's")
            lost -= {doc["_id"] for doc in await self.port.find(queries.known(sorted(lost), ("state",)))}
        left = {name: doc for name, doc in there.items() if name not in lost}
        return left, [doc for doc in holders if doc["_id"] not in lost]


def _place(view: View) -> tuple[int, str, str | None]:
    return view.conf.epoch, view.conf.home, view.conf.to
