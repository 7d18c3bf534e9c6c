"""Enqueues within a caller's own transaction: job and data come together or not at all.

Everything is read and written in the caller's session, over the caller's client: a session serves no other. Nothing is
repeated here, and what the driver raises goes through as it is; `with_transaction` begins anew by its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Enqueued, Op, Receipt
from queuekit.errors import InvalidOption, PayloadTooLarge, QueueFull, Unsupported
from queuekit_mongo import documents, queries, transit
from queuekit_mongo.collections import JOBS
from queuekit_mongo.port import Full, MongoPort
from queuekit_mongo.replies import transient
from queuekit_mongo.store.authority import gate_keys
from queuekit_mongo.store.produce import Call, check
from queuekit_mongo.store.room import Room, View, elsewhere


async def enqueue(
    room: Room, queue: str, jobs: Sequence[JobSpec], op: Op, session: object, *, asked: bool
) -> Enqueued:  # fmt: skip
    port = await _port(room, session)
    check(jobs, room.limit)
    view = await room.recent(queue)
    no = elsewhere(view, queue, asked)
    if no is not None:
        raise no
    if not view.doc:  # outside the transaction: in it, nobody else could write to that document before its end
        await room.ensure(queue)
        view = await room.view(queue)
    if jobs:
        await _enter(room, port, queue, view)
    call = Call(room, queue, view, op, jobs, port=port)
    if jobs:
        await _write(call, view.limits.max_size)
    receipts = [call.receipts.get(index, Receipt(spec.id, None)) for index, spec in enumerate(jobs)]
    return Enqueued(now=call.now, receipts=[r if r.created is False else Receipt(r.id, None) for r in receipts])


async def _enter(room: Room, port: MongoPort, queue: str, view: View) -> None:
    """Write to a gate: a mover that takes the queue writes to all of them, so that this transaction is over before he
    goes on, or ends here. What it sees of the queue must be what was read before it."""
    docs = await port.find(transit.own(room.names.queue(queue)))
    seen = documents.conf(docs[0] if docs else {})
    if (seen.epoch, seen.home, seen.to) != (view.conf.epoch, view.conf.home, view.conf.to):
        room.forget(queue)
        raise transient(f"queue {queue}: a mover changed where it lives while this transaction was open")
    keys = gate_keys(room, queue)
    await port.bulk(JOBS, transit.gates([keys[next(room.gates) % len(keys)]]))


async def _write(call: Call, size: int | None) -> None:
    """Look what is there, and write: what was read in a transaction is what it writes to, or the server ends it."""
    port, room = call.port, call.room
    todo, writes = await call.look()
    docs = [call.docs[index] for index in todo]
    made = len(docs) + call.revived
    if size is not None and made:
        try:
            await call.fit(made, size)
        except Full as full:
            raise QueueFull(
                f"queue {call.queue}: {full.have} jobs wait, {made} more are over max_size {size}"
            ) from full
    if writes:
        done = await port.bulk(JOBS, writes)
        if done.met < len(writes) or done.duplicates:
            raise transient(f"queue {call.queue}: another call changed what this transaction met")
    if docs:
        done = await port.insert(JOBS, docs)
        if done.too_large:
            raise PayloadTooLarge(f"queue {call.queue}: the document of a job would be over 16 MiB")
        if done.duplicates:
            raise transient(f"queue {call.queue}: another call took an id or a unique key of this transaction")
    if made:
        await port.insert(JOBS, [{"_id": room.names.addition(call.queue, call.op.token), "enqueued": made}])
    room.marks.pop(call.queue, None)


async def _port(room: Room, session: Any) -> MongoPort:
    """The port over a caller's session. Raises InvalidOption for what is none, or is not of this store."""
    if not room.replica:
        raise Unsupported("within: a standalone MongoDB has no transactions; enqueue after your own write")
    bare = room.port.of(session)
    if bare is None:
        other = "enqueue() takes" if room.port.blocking else "aenqueue() takes"
        kind = "a ClientSession of a MongoClient" if room.port.blocking else "a session of the client's own kind"
        raise InvalidOption(f"within: {other} {kind}, not {type(session).__module__}.{type(session).__name__}")
    if session.has_ended or not session.in_transaction:
        raise InvalidOption("within: this session is in no transaction: call start_transaction() or with_transaction()")
    if session.client not in room.joined:
        stored = await bare.find(queries.store())
        if not stored or stored[0].get("store_id") != room.store_id:
            raise InvalidOption(
                f"within: this session belongs to a client of another server than {room.port.where}, where the queue is"
            )
        room.joined.add(session.client)
    return room.port.within(session)
