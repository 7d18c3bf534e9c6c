"""The mover's verbs of where a queue lives: authority, journal, taken, known.

The queue's document decides. Nothing reads it in the same step as a claim or an insert: docs/decisions/084 tells why
that loses nothing and runs nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from queuekit.domain.moving import Journal, Known, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.errors import Conflict
from queuekit_mongo import documents, queries, transit
from queuekit_mongo.collections import JOBS, QUEUES, after_slash
from queuekit_mongo.documents import GONE, OUT, Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.replies import Contended
from queuekit_mongo.store.moving import atomic, number, queue_document
from queuekit_mongo.store.room import CONF_AGE, FRESH, Room

CHUNK: Final = 1000  # documents changed or removed by one command
SPARE: Final = 10_000_000  # places between a room and those before all that others may give by an older document
TAKES: Final = frozenset({Home.HERE, Home.ARRIVING})  # jobs from producers


async def authority(
    room: Room, queue: str, epoch: int, by: str, home: Home, to: str | None, *, places: int, add: Totals | None
) -> Standing:
    from queuekit_mongo.store import locks, schedules  # here: whoever only enqueues needs neither

    if home is Home.ARRIVING:
        await room.ensure(queue, fresh=room.now())  # a queue that was not known: nobody goes on by what he read of it
    else:
        await room.ensure(queue)
    before = await room.view(queue)
    if room.replica and before.conf.home in TAKES and home not in TAKES:
        await _wait_for_transactions(room, queue)  # those open by now, while the queue still works
    wanted = _Wanted(room, queue, epoch, by, home, to, places, add)
    await atomic(room, queue, wanted.write, by=by)
    room.forget(queue)
    if home is not Home.HERE:
        await locks.freeze(room, queue)
    view = await room.view(queue)
    if home is not Home.HERE and not {"settles", "still"} <= view.doc.keys():
        if room.replica and home is not Home.ARRIVING:
            await _wait_for_transactions(room, queue)
        moment = transit.settles(room.names.queue(queue), epoch, transit.LATE + room.shift())
        if not (await room.port.bulk(QUEUES, [moment])).met:
            raise Conflict(f"queue {queue}: another mover has taken it meanwhile")
    if home is Home.GONE:
        await _drop_keys(room, queue)
        await schedules.drop(room, queue)
    if home is Home.GONE or (home is Home.HERE and to is None):
        await _drop_journal(room, queue, int(view.doc.get("era", 0)))
    view = await room.view(queue)
    doc = view.doc
    return Standing(
        conf=view.conf, now=view.now, mark=int(doc.get("mark", 0)), base=int(doc.get("base", 0)),
        settles_at=max(view.now, int(doc.get("settles", 0))),
    )  # fmt: skip


class _Wanted:
    """What one call of `authority` wants of the queue's document."""

    def __init__(
        self, room: Room, queue: str, epoch: int, by: str, home: Home, to: str | None, places: int, add: Totals | None
    ) -> None:
        self.room, self.queue, self.epoch, self.by, self.home, self.to = room, queue, epoch, by, home, to
        self.places, self.add = places, add

    async def write(self, port: MongoPort) -> None:
        room, queue = self.room, self.queue
        doc = await queue_document(port, room, queue)
        conf, mover = documents.conf(doc), doc.get("mover", "")
        if self.epoch < conf.epoch or (self.epoch == conf.epoch and self.by != mover):
            raise Conflict(f"queue {queue}: another mover has epoch {conf.epoch}, this one {self.epoch}")
        if (self.epoch, self.by, self.home, self.to) == (conf.epoch, mover, conf.home, conf.to):
            return
        if self.home is Home.HERE and self.to is None:
            await self._nothing_out(port)
        said: Document = {"epoch": self.epoch, "mover": self.by, "home": str(self.home)}
        if self.by != mover:
            said["sessions"] = [session for name, session in room.sessions if name == queue]
        gone: set[str] = set()
        counts: Document = {}
        if self.to is None:
            gone.add("to")
        else:
            said["to"] = self.to
        self._times(conf.home, said, gone, fresh=doc.get("fresh", 0) > room.now() - FRESH // 2)
        if self.home is Home.GONE or (self.home is Home.HERE and self.to is None):
            counts["era"] = 1  # the journal of another era says nothing any more
        if self.places:
            said["base"] = int(doc.get("base", 0)) - room.front_of_all() - self.places - SPARE
        if self.add is not None:
            counts |= {f"added.{name}": count for name, count in asdict(self.add).items() if count}
        key = room.names.queue(queue)
        if not (await port.bulk(QUEUES, [transit.become(key, doc, said, sorted(gone), counts)])).met:
            raise Contended(f"queue {queue}: another mover wrote its document meanwhile")

    def _times(self, before: Home, said: Document, gone: set[str], *, fresh: bool) -> None:
        """What a change of home says of calls under way, and of jobs that come after."""
        if self.home is Home.MOVING and before is not Home.MOVING:
            said["mark"] = self.room.cut()
        gone.add("fresh")
        if self.home is Home.ARRIVING and (fresh or before not in TAKES):
            said["settles"] = said["still"] = 0  # nobody trusts a look at it by which it takes jobs unasked
        elif self.home is Home.ARRIVING and before is Home.ARRIVING:
            pass  # what the mover before noted holds
        elif self.home in TAKES or before in TAKES:
            gone |= {"settles", "still"}
        elif self.home is not before:
            gone.add("settles")  # ends of jobs may come until then; producers were told long ago (`still`)
        if before is Home.GONE and self.home is Home.ARRIVING:
            said["floor"] = self.epoch  # what is found on a line now, its mover never saw: nobody was promised it

    async def _nothing_out(self, port: MongoPort) -> None:
        out = await port.find(transit.outs(self.room.names.move(self.queue, OUT)))
        if out:
            batches = sorted(doc["batch"] for doc in out)
            raise Conflict(f"queue {self.queue}: batches {batches} are checked out: confirm or restore them first")


async def _wait_for_transactions(room: Room, queue: str) -> None:
    """Write to all gates: transactions that wrote to one are over then, others see the change or are ended by it."""
    keys = gate_keys(room, queue)
    while (await room.port.bulk(JOBS, transit.gates(keys))).duplicates:
        continue


def gate_keys(room: Room, queue: str) -> list[str]:
    return [room.names.move(queue, "gate", str(n)) for n in range(transit.GATES)]


async def _drop_keys(room: Room, queue: str) -> None:
    while docs := await room.port.find(transit.keyed(room.names.queue(queue), CHUNK)):
        await room.port.bulk(JOBS, [transit.drop_keys([doc["_id"] for doc in docs])])


async def _drop_journal(room: Room, queue: str, era: int) -> None:
    for kind in ("taken", "note"):
        key = room.names.move(queue, kind)
        await room.port.delete(JOBS, {"_id": {"$gte": key, "$lt": key + number(era)}})


def taken_key(room: Room, queue: str, doc: Any, batch: int) -> str:
    """The key of the journal's document of a batch taken in."""
    return room.names.move(queue, "taken", f"{number(int(doc.get('era', 0)))}/{number(batch)}")


def note_key(room: Room, queue: str, doc: Any) -> str:
    return room.names.move(queue, "note", number(int(doc.get("era", 0))))


async def journal(room: Room, queue: str) -> Journal | None:
    doc = await queue_document(room.port, room, queue)
    prefix = room.names.move(queue, "taken", number(int(doc.get("era", 0))) + "/")
    taken = await room.port.find(transit.outs(prefix))
    out = await room.port.find(transit.outs(room.names.move(queue, OUT)))
    if not taken and not out:
        return None
    notes = await room.port.find(queries.known([note_key(room, queue, doc)]))
    return Journal(
        epoch=int(doc.get("epoch", 0)),
        taken=[int(one["batch"]) for one in taken],
        note=notes[0]["note"] if notes else b"",
        out=[int(one["batch"]) for one in out],
    )


async def taken(room: Room, queue: str, batch: int) -> list[str]:
    doc = await queue_document(room.port, room, queue)
    found = await room.port.find(queries.known([taken_key(room, queue, doc, batch)]))
    return list(found[0]["ids"]) if found else []


async def known(room: Room, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
    """What is told is kept: who was slow to write one of these takes it back no more. Where the queue is gone, a job
    on a line came too late to leave; it is removed, since the caller will make it where the queue lives."""
    names = [room.names.job(queue, name) for name in ids]
    key = room.names.queue(queue)
    while True:
        view = await room.view(queue)
        home = view.conf.home
        if home in TAKES or view.now < view.doc.get("still", view.now + 1):
            return None
        if names and home is Home.GONE:
            await room.port.delete(JOBS, transit.stranded(names))
        elif names:
            await room.port.bulk(JOBS, [transit.tell(names)])
        docs = await room.port.find(queries.known(names, ("state",))) if names else []
        holders = (
            await room.port.find(queries.holders(key, sorted(set(keys)))) if keys and home is not Home.GONE else []
        )
        if room.port.monotonic() - view.at <= CONF_AGE:
            break
    held = {doc["unique"]: doc for doc in holders if doc.get("unique_until", view.now + 1) > view.now}
    return Known(
        ids={after_slash(doc["_id"]) for doc in docs if doc["state"] != GONE},
        keys={name: after_slash(documents.holder(doc)) for name, doc in held.items()},
    )
