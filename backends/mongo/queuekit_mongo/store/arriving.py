"""The mover's verbs of a queue that arrives: import_batch, unhold.

A batch comes in with its journal. Jobs are told apart by what their documents say: one of this very batch (`op`) is
there already, a held one gives way, a stub is no job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from queuekit.domain.job import limits_error
from queuekit.domain.moving import Clash, HeldKey, Parcel
from queuekit.errors import PayloadTooLarge
from queuekit_mongo import documents, moves, parcels, queries, transit
from queuekit_mongo.collections import JOBS, after_slash
from queuekit_mongo.documents import GONE, Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.replies import Contended
from queuekit_mongo.statements import Write
from queuekit_mongo.store.authority import note_key, taken_key
from queuekit_mongo.store.moving import atomic, kept_key, lone, mine, queue_document, written
from queuekit_mongo.store.room import Room

UNHELD: Final = 1000  # a call


async def import_batch(
    room: Room, queue: str, epoch: int, batch: int, parcels_: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
) -> list[Clash]:
    for parcel in parcels_:
        for data in (parcel.record.body, parcel.record.result or b""):
            wrong = limits_error(data, room.limit)
            if wrong is not None:
                raise PayloadTooLarge(f"job {parcel.record.id}: {wrong}")

    async def work(port: MongoPort) -> list[Clash]:
        await mine(port, room, queue, epoch)
        own = await queue_document(port, room, queue)
        journal = taken_key(room, queue, own, batch)
        before = await port.find(queries.known([journal]))
        if before:
            return [parcels.clash(told) for told in before[0]["clashes"]]
        taking = _Taking(room, queue, epoch, f"move:{own.get('era', 0)}:{batch}")
        await taking.look(port, parcels_, keys)
        for parcel in parcels_:
            taking.take(parcel)
        for key in keys:
            taking.hold(key)
        await taking.write(port)
        told = [[clash.id, clash.why, clash.by] for clash in taking.clashes]
        await port.bulk(JOBS, [transit.note(note_key(room, queue, own), note)])
        await written(port, JOBS, [{"_id": journal, "batch": batch, "ids": taking.ids, "clashes": told}])
        return taking.clashes

    room.marks.pop(queue, None)
    return await atomic(room, queue, work)


class _Taking:
    """One batch on its way in. What is there is read first, and brought up to date with each parcel."""

    def __init__(self, room: Room, queue: str, epoch: int, op: str) -> None:
        self.room, self.queue, self.epoch, self.op = room, queue, epoch, op
        self.key, self.now = room.names.queue(queue), room.now()
        self.clashes: list[Clash] = []
        self.ids: list[str] = []
        self.there: dict[str, Document] = {}
        self.held: dict[str, str] = {}  # key -> job
        self.lone: dict[str, str] = {}  # key -> document that holds it without a job
        self.docs: list[Document] = []
        self.writes: list[Write] = []

    async def look(self, port: MongoPort, parcels_: Sequence[Parcel], keys: Sequence[HeldKey]) -> None:
        names = [self.room.names.job(self.queue, parcel.record.id) for parcel in parcels_]
        self.there = {doc["_id"]: doc for doc in await port.find(queries.light(names))} if names else {}
        wanted = {key.key for key in keys if key.expires > self.now}
        wanted |= {key.key for parcel in parcels_ if (key := parcels.held_key(parcel, self.now)) is not None}
        for doc in await port.find(queries.holders(self.key, sorted(wanted))) if wanted else []:
            if doc.get("unique_until", self.now + 1) > self.now:
                self.held[doc["unique"]] = documents.holder(doc)
                if "holder" in doc:
                    self.lone[doc["unique"]] = doc["_id"]
            else:
                self.writes.append(queries.free_key(doc))

    def take(self, parcel: Parcel) -> None:
        """Let a parcel become a job, or note what is in its way."""
        job = parcel.record
        name = self.room.names.job(self.queue, job.id)
        old = self.there.get(name)
        stands = old is not None and old["state"] != GONE and not documents.is_held(old)
        if old is not None and stands and old.get("op") == self.op and "batched" not in old:
            self.ids.append(job.id)  # by an earlier try of this very call
            return
        if stands:
            self.clashes.append(Clash(id=job.id, why="id", by=job.id))
            return
        key = parcels.held_key(parcel, self.now)
        by = None if key is None else self.held.get(key.key)
        if by is not None and by != name:
            self.clashes.append(Clash(id=job.id, why="key", by=after_slash(by)))
            return
        place = self.room.back() if parcel.back else job.place
        if key is not None:
            self._free(key.key)
        doc = parcels.incoming(parcel, id=name, queue=self.key, epoch=self.epoch, place=place, op=self.op, now=self.now)
        self._put(old, doc)
        if key is not None:
            self.held[key.key] = name
        self.ids.append(job.id)

    def _free(self, key: str) -> None:
        """Take a key from the document that held it without a job: its job came."""
        if key in self.lone:
            self.writes.append(transit.drop_keys([self.lone.pop(key)]))

    def _put(self, old: Mapping[str, Any] | None, doc: Document) -> None:
        name = doc["_id"]
        if old is None:
            self.docs.append(doc)
        elif any(one["_id"] == name for one in self.docs) if "batched" in old else False:
            self.docs = [one for one in self.docs if one["_id"] != name] + [doc]  # a held one, not written yet
        else:
            there, update = parcels.instead(old, doc)
            self.writes.append(Write(filter=there, update=update))
            self.writes += kept_key(self.room, self.queue, old, self.now)
        own = old.get("uniq") if old is not None and old["state"] != GONE else None
        if own is not None and self.held.get(own["key"]) == name:
            del self.held[own["key"]]
        self.there[name] = doc | {"batched": True}

    def hold(self, key: HeldKey) -> None:
        """Let a key be held that no job here stands for."""
        if key.expires <= self.now or key.key in self.held:
            return
        holder = self.room.names.job(self.queue, key.id)
        self.writes.append(lone(self.room, self.queue, key))
        self.held[key.key] = holder

    async def write(self, port: MongoPort) -> None:
        if self.writes:
            done = await port.bulk(JOBS, self.writes)
            if done.met < len(self.writes) or done.duplicates:
                raise Contended(f"queue {self.queue}: another call changed what this batch met")
        if self.docs:
            done = await port.insert(JOBS, self.docs)
            if done.too_large:
                name = after_slash(self.docs[done.too_large[0]]["_id"])
                raise PayloadTooLarge(f"job {name}: its document would be over 16 MiB")
            if done.duplicates:
                raise Contended(f"queue {self.queue}: another call took an id or a key of this batch")


async def unhold(room: Room, queue: str, epoch: int, *, ids: Sequence[str] | None, lose: bool) -> list[str]:
    names = None if ids is None else sorted(room.names.job(queue, name) for name in ids)

    async def work(port: MongoPort) -> list[str]:
        await mine(port, room, queue, epoch)
        if names is None:
            docs = await port.find(transit.held_jobs(room.names.queue(queue), UNHELD))
        else:
            docs = [doc for doc in await port.find(queries.light(names)) if documents.is_held(doc)][:UNHELD]
            docs.sort(key=lambda doc: str(doc["_id"]))
        if not docs:
            return []
        if lose:
            done = (await port.bulk(JOBS, [_lost(room, doc) for doc in docs])).met
        else:
            done = await port.delete(JOBS, transit.unhold([doc["_id"] for doc in docs]))
        if done < len(docs):
            raise Contended(f"queue {queue}: another call changed a job that was held")
        return [after_slash(doc["_id"]) for doc in docs]

    return await atomic(room, queue, work)


def _lost(room: Room, doc: Document) -> Write:
    """Put a held job on the suspect line. A cancel that was asked stays asked; no crash is counted."""
    draft = moves.Draft(doc, now=room.now(), conf=documents.conf({}), back=room.back)
    stays = {name: doc[name] for name in ("cancel",) if name in doc}
    moves.give_up(draft)
    draft.doc.update(stays)
    write = queries.drafted(draft.old, draft.update())
    write.filter["token"] = None
    return write
