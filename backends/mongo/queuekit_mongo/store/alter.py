"""The families `change` and `annotate`: what a person does to jobs, and what a handler reports of its own.

`did` in the document are the calls that changed it of late: one of them repeated finds its answer there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from queuekit.domain.job import LOGS_KEPT, limits_error
from queuekit.domain.outcome import Home, Op
from queuekit.domain.query import Change, Changed, No, Note, Verb
from queuekit.domain.state import State
from queuekit.errors import PayloadTooLarge, StoreUnavailable
from queuekit_mongo import documents, moves, queries
from queuekit_mongo.collections import JOBS
from queuekit_mongo.documents import GONE, Document, state_of
from queuekit_mongo.statements import Write
from queuekit_mongo.store.room import Room, View

ROUNDS: Final = 20  # times a change is tried anew when its document changed meanwhile


async def change(room: Room, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
    begun = room.calls.begin(op)
    if begun.answer is not None:
        return list(begun.answer)
    for one in changes:
        wrong = None if one.body is None else limits_error(one.body, room.limit)
        if wrong is not None:
            raise PayloadTooLarge(f"job {one.id}: {wrong}")
    view = await room.view(queue)
    answers = await _Changing(room, queue, view, op).run(changes)
    room.calls.end(op, tuple(answers))
    await room.flush(queue)
    return answers


class _Changing:
    """One call on its way."""

    def __init__(self, room: Room, queue: str, view: View, op: Op) -> None:
        self.room, self.queue, self.view, self.op = room, queue, view, op
        self.key = room.names.queue(queue)
        self.answers: dict[int, Changed] = {}
        self.first = 0  # of the places of this call, one a change

    async def run(self, changes: Sequence[Change]) -> list[Changed]:
        """Rounds of one command each; several changes of one job, and those that met another writer, come later."""
        self.first = self.room.ranks.back(len(changes), self.room.port.monotonic())
        pending = dict(enumerate(changes))
        for _ in range(ROUNDS + len(changes)):
            if not pending:
                return [self.answers[index] for index in range(len(changes))]
            first: dict[str, int] = {}
            for index, one in pending.items():
                first.setdefault(one.id, index)
            await self._round({index: pending[index] for index in first.values()})
            pending = {index: one for index, one in pending.items() if index not in self.answers}
        raise StoreUnavailable(
            f"queue {self.queue}: jobs changed faster than they could be read; repeat it", op=self.op.token
        )

    async def _round(self, changes: dict[int, Change]) -> None:
        room = self.room
        ids = {room.names.job(self.queue, one.id) for one in changes.values()}
        docs = {doc["_id"]: doc for doc in await room.port.find(queries.light(sorted(ids)))}
        held = await self._holders(docs.values(), changes.values())
        writes: list[Write] = []
        drafts: list[tuple[int, moves.Draft]] = []
        for index, one in changes.items():
            draft = self._draft(index, one, docs.get(room.names.job(self.queue, one.id)), held)
            if draft is not None:
                writes.append(queries.drafted(draft.old, draft.update()))
                drafts.append((index, draft))
        if writes:
            await self._write(writes, drafts, changes)

    def _draft(self, index: int, one: Change, doc: Document | None, held: dict[str, Any]) -> moves.Draft | None:
        """What a change makes of a document; None where the answer is known without writing."""
        did = None if doc is None else documents.did(doc, self.op.token)
        told = {} if did is None else did.get("told", {})
        if str(index) in told:
            self.answers[index] = _told(one.id, *told[str(index)])
            return None
        if doc is None or doc["state"] == GONE:
            elsewhere = self.view.conf.home is not Home.HERE or self.view.conf.to is not None
            self.answers[index] = Changed(id=one.id, ok=False, no=No.MOVED if elsewhere else No.GONE)
            return None
        state = state_of(doc)
        if documents.is_moving(doc):
            self.answers[index] = Changed(id=one.id, ok=False, no=No.MOVED, state=state)
            return None
        if one.rev is not None and one.rev != doc["rev"]:
            self.answers[index] = Changed(id=one.id, ok=False, no=No.CHANGED, state=state)
            return None
        draft = self.room.draft(doc, self.view)
        draft.back = lambda: self.first + index  # in the order of the call, whichever round writes it
        no = moves.change(draft, one)
        uniq = doc.get("uniq")
        if (
            no is None
            and one.verb is Verb.RETRY
            and uniq is not None
            and held.get(uniq["key"], doc["_id"]) != doc["_id"]
        ):
            no = No.HELD
        if no is not None:
            self.answers[index] = Changed(id=one.id, ok=False, no=no, state=state)
            return None
        said = {i: answer for i, answer in self.answers.items() if answer.id == one.id and i < index}
        said[index] = Changed(id=one.id, ok=True, state=state_of(draft.doc))
        told = {str(i): [answer.no or "", answer.state or ""] for i, answer in said.items()}
        documents.note(draft.doc, self.op.token, self.view.now, told=told)
        return draft

    async def _holders(self, docs: Any, changes: Any) -> dict[str, str]:
        """Who holds the keys that retried jobs had; keys whose time is over are given back on the way."""
        retried = {self.room.names.job(self.queue, one.id) for one in changes if one.verb is Verb.RETRY}
        keys = sorted({doc["uniq"]["key"] for doc in docs if doc["_id"] in retried and "uniq" in doc})
        if not keys:
            return {}
        held: dict[str, str] = {}
        freed: list[Write] = []
        for holder in await self.room.port.find(queries.holders(self.key, keys)):
            if holder.get("unique_until", self.view.now + 1) > self.view.now:
                held[holder["unique"]] = documents.holder(holder)
            else:
                freed.append(queries.free_key(holder))
        if freed:
            await self.room.port.bulk(JOBS, freed)
        return held

    async def _write(
        self, writes: list[Write], drafts: list[tuple[int, moves.Draft]], changes: dict[int, Change]
    ) -> None:
        room = self.room
        room.marks.pop(self.queue, None)
        done = await room.port.bulk(JOBS, writes)
        for position in done.too_large:
            raise PayloadTooLarge(f"job {changes[drafts[position][0]].id}: its document would be over 16 MiB")
        if done.met < len(writes):  # others were faster, or a key was taken: the next round sees what they left
            read = [draft.old["_id"] for _, draft in drafts]
            now = {doc["_id"]: doc for doc in await room.port.find(queries.known(read, ("did",)))}
            mine = documents.did
            drafts = [
                (i, d)
                for i, d in drafts
                if mine(now.get(d.old["_id"], {}), self.op.token) == mine(d.doc, self.op.token)
            ]
        for index, draft in drafts:
            self.answers[index] = Changed(id=changes[index].id, ok=True, state=state_of(draft.doc))
            room.tally(self.queue, draft.counts)


def _told(id: str, no: str, state: str) -> Changed:
    """An answer as `did` keeps it: of all changes of a call to one job, so that a repeat answers each as before."""
    return Changed(id=id, ok=not no, no=No(no) if no else None, state=State(state) if state else None)


async def annotate(room: Room, queue: str, id: str, token: str, note: Note) -> bool:
    key = room.names.job(queue, id)
    if note.progress is None and not note.logs:
        docs = await room.port.find(queries.known([key], ("token", "state")))
        return any(doc["state"] == State.ACTIVE and doc.get("token") == token for doc in docs)
    write = queries.note(key, token, note, until=None, kept=LOGS_KEPT)
    return (await room.port.bulk(JOBS, [write])).met == 1
