"""The family of control: conf, configure, prune, obliterate, beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from queuekit.domain.job import Retention
from queuekit.domain.limits import QueueConf, checked
from queuekit.domain.outcome import Home
from queuekit.domain.query import WorkerBeat
from queuekit.domain.state import TERMINAL, State
from queuekit.errors import Conflict, InvalidOption, Moved, Unsupported
from queuekit_mongo import documents, moves, pages, queries, removals, transit
from queuekit_mongo.collections import JOBS, KEPT, QUEUES, TIMER, WORKERS
from queuekit_mongo.documents import GONE, OWN, STUB_KEPT, Document
from queuekit_mongo.replies import Contended, Duplicate
from queuekit_mongo.statements import Find
from queuekit_mongo.store.delayed import expire
from queuekit_mongo.store.room import Room, View

LANE_STILL: Final = 3_600_000  # ms after which a process that added nothing to the totals is taken to be gone
CHUNK: Final = 1000  # documents removed by one command


async def conf(room: Room, queue: str) -> QueueConf:
    return (await room.view(queue)).conf


async def configure(room: Room, queue: str, conf: QueueConf) -> QueueConf:
    for layer in (conf.declared, conf.override):
        if checked(layer).cap is not None or layer.rates is not None:
            raise Unsupported("this store has no limits over all workers: leave global_concurrency and rate unset")
    declared, override = conf.declared.to_json(), conf.override.to_json()
    write = queries.configure(room.names.queue(queue), conf.rev, declared, override)
    try:
        done = await room.port.bulk(QUEUES, [write])
        applied = done.met == 1 and not done.duplicates
    except Duplicate:
        applied = False
    room.forget(queue)
    stored = (await room.view(queue)).conf
    if not applied and stored.home in (Home.MOVING, Home.GONE):
        raise Moved(f"queue {queue} is {stored.home}: it lives in {stored.to}", to=stored.to)
    if applied:
        return replace(stored, rev=conf.rev + 1, declared=conf.declared, override=conf.override)
    same = stored.declared.to_json() == declared and stored.override.to_json() == override
    if stored.rev == conf.rev + 1 and same:
        return stored  # by an earlier try of this very call, whose answer was lost
    raise Conflict(f"queue {queue}: its configuration has rev {stored.rev}, not {conf.rev}; read it again")


async def prune(room: Room, queue: str, *, state: State | None, older_than: int, limit: int) -> tuple[int, bool]:
    if state is State.ACTIVE:
        raise InvalidOption("active jobs are not pruned: cancel them, or obliterate the queue")
    view = await room.view(queue)
    pruning = _Pruning(room, queue, view, limit)
    if state is None:
        await pruning.retention()
    else:
        await pruning.older(state, view.now - older_than)
    await room.flush(queue)
    return pruning.removed, pruning.more


class _Pruning:
    """One call: removes up to `limit` jobs. What is younger than a repeat may be becomes a stub, the rest goes."""

    def __init__(self, room: Room, queue: str, view: View, limit: int) -> None:
        self.room, self.queue, self.view, self.limit = room, queue, view, limit
        self.key = room.names.queue(queue)
        self.removed, self.more = 0, False

    async def retention(self) -> None:
        """Housekeeping, then ended jobs beyond the count or the age of their class."""
        await self._housekeeping()
        for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            kept = self.view.conf.keep_completed if state is State.COMPLETED else self.view.conf.keep_failed
            await self._class(state, kept, None)
            for found in await self.room.port.aggregate(removals.classes(self.key, state)):
                await self._class(state, Retention.parse(found["_id"]), found["_id"])

    async def _housekeeping(self) -> None:
        room, now = self.room, self.view.now
        late = await room.port.find(removals.unstarted(self.key, now, CHUNK))
        if late:
            await expire(room, self.queue, self.view, late)
            self.more = self.more or len(late) == CHUNK
        await self._merge()
        dead = await room.port.find(removals.dead_stubs(now, CHUNK))
        if dead:
            await room.port.delete(JOBS, removals.dead([doc["_id"] for doc in dead], now))

    async def _merge(self) -> None:
        """Bring what transactions of producers, and processes that are gone, added to the totals together."""
        room, key = self.room, self.room.names.totals(self.queue)
        still = self.view.now - LANE_STILL
        added = await room.port.find(pages.additions(key, CHUNK)) if room.replica else []
        added = [doc for doc in added if doc.get("seen", 0) < still]  # a transaction's has no `seen`: nobody adds to it
        if added:
            counts = {name: count for name, count in asdict(documents.totals(added)).items() if count}
            try:
                await room.port.merge(JOBS, added, queries.add_totals(key, counts, self.view.now))
            except Contended:
                return  # another one prunes just now, or a process that was silent is back

    async def _class(self, state: State, kept: Retention, label: str | None) -> None:
        """Bring one class of ended jobs within its limits."""
        stored = str(state) if label is None else state + OWN
        if kept.count is not None:
            await self._trim(stored, kept.count, label)
        if kept.age is not None:
            await self._remove(stored, self.limit + 1, self.view.now - kept.age, label)

    async def _trim(self, stored: str, count: int, label: str | None) -> None:
        """Remove the oldest over a count. They are counted again once they are found: of two that prune at once, one
        that counted before the other removed, and looked for the oldest after it, would remove what is to be kept."""
        more = {} if label is None else {"keep": label}
        index, port = TIMER if label is None else KEPT, self.room.port
        standing = Find(room=JOBS, filter=pages.timed(self.key, stored, **more), index=index)
        over, left = await port.count(standing) - count, self.limit - self.removed
        if over <= 0 or left <= 0:
            self.more = self.more or over > 0
            return
        docs = await port.find(removals.oldest(self.key, stored, min(over, left + 1), keep=label))
        over = await port.count(standing) - count
        await self._drop(docs[: max(0, over)])

    async def older(self, state: State, moment: int) -> None:
        """Remove jobs that entered a state before a moment."""
        if state is State.WAITING:
            await self._drop(await self.room.port.find(removals.made_before(self.key, moment, self.limit + 1)))
        elif state is State.DELAYED:
            await self._drop(await self.room.port.find(removals.delayed_before(self.key, moment, self.limit + 1)))
        else:
            docs: list[Document] = []
            for stored in (state, state + OWN) if state in TERMINAL else (state,):
                docs += await self.room.port.find(removals.oldest(self.key, stored, self.limit + 1, until=moment))
            await self._drop(sorted(docs, key=lambda doc: (doc["at"], doc["_id"])))

    async def _remove(self, stored: str, count: int, until: int | None, label: str | None) -> None:
        room_left = self.limit - self.removed
        if count <= 0:
            return
        find = removals.oldest(self.key, stored, min(count, room_left + 1), until=until, keep=label)
        await self._drop(await self.room.port.find(find))

    async def _drop(self, docs: Sequence[Document]) -> None:
        """Remove documents as far as they are still in the state they were read in."""
        left = self.limit - self.removed
        self.more = self.more or len(docs) > left
        by_state: dict[str, list[Document]] = {}
        for doc in docs[:left]:
            by_state.setdefault(doc["state"], []).append(doc)
        for stored, group in by_state.items():
            for start in range(0, len(group), CHUNK):
                self.removed += await self._drop_group(stored, group[start : start + CHUNK])

    async def _drop_group(self, stored: str, docs: Sequence[Document]) -> int:
        room, now = self.room, self.view.now
        keyed = [doc for doc in docs if doc.get("unique_until", 0) > now]
        young = [doc["_id"] for doc in docs if doc not in keyed and _young(doc, now)]
        known = {*young, *(doc["_id"] for doc in keyed)}
        old = [doc["_id"] for doc in docs if doc["_id"] not in known]
        removed = 0
        if keyed:
            whole = await room.port.find(queries.light([doc["_id"] for doc in keyed]))
            drafts = [room.draft(doc, self.view) for doc in whole if doc["state"] == stored]
            for draft in drafts:
                moves.remove(draft)
            if drafts:
                removed += (await room.port.bulk(JOBS, [queries.drafted(d.old, d.update()) for d in drafts])).met
        if young:
            removed += (await room.port.bulk(JOBS, [removals.stubs(young, stored, now)])).met
        if old:
            removed += await room.port.delete(JOBS, {"_id": {"$in": old}, "state": stored})
        return removed


def _young(doc: Document, now: int) -> bool:
    """Whether the call that made or ended this job may still be repeated."""
    return bool(max(doc["created_at"], doc.get("at", 0) if doc["state"] != State.DELAYED else 0) > now - STUB_KEPT)


async def obliterate(room: Room, queue: str, *, force: bool, limit: int) -> tuple[int, bool]:
    from queuekit_mongo.store import schedules  # here: whoever only enqueues does not need them

    key = room.names.queue(queue)
    conf = (await room.view(queue)).conf
    if conf.home in (Home.MOVING, Home.ARRIVING) or (conf.home is Home.HERE and conf.to is not None):
        raise Conflict(f"queue {queue} is on the move: end that first, with migrate --resume or --abort")
    if not force and await room.port.count(Find(room=JOBS, filter=pages.timed(key, "active"), index=TIMER, limit=1)):
        raise Conflict(f"queue {queue} has active jobs: stop its workers first, or force")
    await schedules.drop(room, queue)  # first, or they would make new jobs meanwhile
    docs = await room.port.find(removals.everything(key, limit + 1))
    doomed = docs[:limit]
    if doomed:
        await room.port.delete(JOBS, {"_id": {"$in": [doc["_id"] for doc in doomed]}})
    more = len(docs) > limit
    if not more:
        room.take_totals(queue)
        await room.port.delete(JOBS, {"_id": room.names.own(queue)})
        await room.port.delete(QUEUES, {"_id": key, "home": {"$ne": str(Home.GONE)}})
        await room.port.bulk(QUEUES, [transit.bare(key)])
    room.forget(queue)
    return sum(doc["state"] != GONE for doc in doomed), more


async def beat(room: Room, worker: WorkerBeat, ttl: int) -> int:
    said = documents.beat(worker, room.names.namespace)
    write = pages.seen_worker(room.names.worker(worker.id), said, ttl=ttl, shift=room.shift())
    stored = await room.port.update(WORKERS, write)
    await room.flush_all()
    assert stored is not None, "an upsert answers the document"
    return int(stored["seen"])
