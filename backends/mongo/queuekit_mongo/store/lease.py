"""The families `renew` and `recover`: claims extended, and taken from workers that went silent."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit import ids
from queuekit.domain.absence import Watch
from queuekit.domain.job import LOGS_KEPT
from queuekit.domain.outcome import Hold, Recovery, Renewal
from queuekit.domain.query import Note
from queuekit.domain.state import State
from queuekit_mongo import moves, queries
from queuekit_mongo.collections import JOBS, QUEUES, after_slash
from queuekit_mongo.statements import Write
from queuekit_mongo.store.room import Room, View

TRIES = 5  # times a recovery is begun anew when another one was noted meanwhile


async def renew(room: Room, queue: str, holds: Sequence[Hold], lease: int, actor: str, upto: int) -> Renewal:
    view = await room.view(queue)
    until = view.now + lease
    reply = Renewal(now=view.now, lease_until=until)
    keys = [room.names.job(queue, hold.id) for hold in holds]
    writes = _renewals(keys, holds, until)
    if writes:
        await room.port.bulk(JOBS, writes)
        docs = await room.port.find(queries.known(sorted({*keys}), ("token", "state", "cancel")))
        found = {doc["_id"]: doc for doc in docs}
        for key, hold in zip(keys, holds, strict=True):  # a worker that lost a job may name it with both its claims
            doc = found.get(key)
            if doc is None or doc["state"] != State.ACTIVE or doc.get("token") != hold.token:
                reply.lost.append(hold.id)
            elif "cancel" in doc:
                reply.cancels[hold.id] = doc["cancel"]
    if actor:
        reply.strays = await _strays(room, queue, holds, actor, upto)
    return reply


def _renewals(keys: Sequence[str], holds: Sequence[Hold], until: int) -> list[Write]:
    """One statement for all silent holds of a token, one for each that reports something."""
    silent: dict[str, list[str]] = {}
    writes: list[Write] = []
    for key, hold in zip(keys, holds, strict=True):
        if hold.progress is None and not hold.logs:
            silent.setdefault(hold.token, []).append(key)
        else:
            note = Note(progress=hold.progress, logs=hold.logs, start=hold.start)
            writes.append(queries.note(key, hold.token, note, until=until, kept=LOGS_KEPT))
    return writes + [queries.renew(those, token, until) for token, those in silent.items()]


async def _strays(room: Room, queue: str, holds: Sequence[Hold], actor: str, upto: int) -> list[tuple[str, str]]:
    """Claims that a call of this actor made whose answer it never saw."""
    named = {(hold.id, hold.token) for hold in holds}
    docs = await room.port.find(queries.held_by(room.names.queue(queue), actor))
    claims = [(after_slash(doc["_id"]), str(doc["token"])) for doc in docs]
    return [claim for claim in claims if claim not in named and int(claim[1].rpartition(":")[2]) <= upto]


async def recover(room: Room, queue: str, limit: int, every: int) -> Recovery:
    await room.ensure(queue)
    for _ in range(TRIES):
        view = await room.view(queue)
        reply = Recovery(now=view.now)
        before = Watch(seen=view.doc.get("seen"), pace=view.doc.get("pace"), grace=view.doc.get("grace_until"))
        after = before.called(view.now, every)
        done = await room.port.bulk(QUEUES, [queries.seen(room.names.queue(queue), before.seen, after)])
        if done.met:
            break
    if after.grace is not None:
        reply.grace_until = after.grace
        return reply
    docs = await room.port.find(queries.expired_leases(room.names.queue(queue), view.now, limit + 1))
    reply.more = len(docs) > limit
    await _lose(room, queue, view, docs[:limit], reply)
    await room.flush(queue)
    return reply


async def _lose(room: Room, queue: str, view: View, docs: Sequence[dict[str, object]], reply: Recovery) -> None:
    """Take jobs away, each only if its lease is still the one that ran out."""
    if not docs:
        return
    drafts = [room.draft(doc, view) for doc in docs]
    states = [moves.lose(draft) for draft in drafts]
    by = ids.nonce()
    for draft in drafts:
        draft.doc["settled"] = by  # of two that recover at once each reports its own
    writes = [queries.lost(draft.old, draft.update()) for draft in drafts]
    room.marks.pop(queue, None)
    done = await room.port.bulk(JOBS, writes)
    taken = {draft.old["_id"] for draft in drafts}
    if done.met < len(drafts):
        now = await room.port.find(queries.known(sorted(taken), ("settled",)))
        taken = {doc["_id"] for doc in now if doc.get("settled") == by}
    lists = {State.WAITING: reply.suspects, State.FAILED: reply.crashed, State.CANCELLED: reply.cancelled}
    for draft, state in zip(drafts, states, strict=True):
        if draft.old["_id"] in taken:
            lists[state].append(after_slash(draft.old["_id"]))
            room.tally(queue, draft.counts)
