"""How outcomes are settled: plain completions by one statement each kind, all others document by document.

A plain completion changes nothing that depends on its job, so that no document need be read; a job that asks for more
(`care`) is not met by that statement and goes the careful way. `settled` in the document is the call that settled it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from queuekit.domain.job import Retention
from queuekit.domain.outcome import Exchange, Kind, Op, Outcome, Refusal
from queuekit.domain.state import State
from queuekit.errors import StoreUnavailable
from queuekit_mongo import moves, queries
from queuekit_mongo.collections import JOBS
from queuekit_mongo.documents import GONE, Document
from queuekit_mongo.statements import Write
from queuekit_mongo.store.room import Room, View

ROUNDS = 20  # times an outcome is tried anew when its document changed meanwhile


def is_plain(outcome: Outcome) -> bool:
    """Whether an end says nothing but that a run is completed."""
    simple = outcome.kind is Kind.COMPLETED and outcome.error is None and outcome.reason is None
    return simple and outcome.progress is None and not outcome.logs


class Settling:
    """The outcomes of one exchange."""

    def __init__(self, room: Room, queue: str, view: View, op: Op, reply: Exchange, *, again: bool) -> None:
        self.room, self.queue, self.view, self.op, self.reply = room, queue, view, op, reply
        self.again = again  # what an earlier try of this call did is in no total yet

    def sort(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
        """(plain completions of different jobs, all others)."""
        plain: dict[str, Outcome] = {}
        others: list[Outcome] = []
        for outcome in outcomes:
            if is_plain(outcome) and outcome.id not in plain and len(outcome.result or b"") <= self.room.limit:
                plain[outcome.id] = outcome
            else:
                others.append(outcome)
        twice = {outcome.id for outcome in others}
        return [o for o in plain.values() if o.id not in twice], [o for o in outcomes if o.id in twice]

    def statements(self, plain: Sequence[Outcome]) -> list[Write]:
        """The writes that complete plain outcomes: one for all that are alike."""
        groups: dict[tuple[str, bytes | None, Retention | None], list[str]] = {}
        conf_keep = self.view.conf.keep_completed
        removed = conf_keep if conf_keep.count == 0 else None  # by the queue's rule: as if the worker had said it
        for outcome in plain:
            key = (outcome.token, outcome.result, outcome.keep or removed)
            groups.setdefault(key, []).append(self.room.names.job(self.queue, outcome.id))
        return [
            queries.complete(ids, token, op=self.op.token, now=self.view.now, result=result, keep=keep)
            for (token, result, keep), ids in groups.items()
        ]

    def settled(self, count: int) -> None:
        """So many plain completions were applied just now."""
        if count:
            self.room.tally(self.queue, {"completed": count})

    async def confirm(self, plain: Sequence[Outcome], met: int) -> None:
        """The statements met only `met` jobs: find out which were completed, and settle the others carefully."""
        if not plain:
            return
        docs = await self._read(plain, ("settled",))
        done = [o for o in plain if docs.get(o.id, {}).get("settled") == self.op.token]
        self.settled(len(done) if self.again else min(met, len(done)))
        names = {o.id for o in done}
        await self.careful([o for o in plain if o.id not in names])

    async def careful(self, outcomes: Sequence[Outcome]) -> None:
        """Settle outcomes one by one, each as its document says; all in one command a round."""
        pending, applied = list(outcomes), set[str]()
        for _ in range(ROUNDS):
            if not pending:
                return
            docs = await self._read(pending)
            writes: list[Write] = []
            tried: list[tuple[Outcome, moves.Draft]] = []
            later: list[Outcome] = []
            named = set[str]()
            for outcome in pending:
                if outcome.id in named:
                    later.append(outcome)
                    continue
                named.add(outcome.id)
                draft = self._draft(docs.get(outcome.id), outcome, applied)
                if draft is not None:
                    writes.append(queries.drafted(draft.old, draft.update()))
                    tried.append((outcome, draft))
            pending = later + await self._write(writes, tried, applied)
        if pending:  # silence would say that they were applied
            raise StoreUnavailable(
                f"queue {self.queue}: jobs changed faster than their ends could be written; repeat it",
                outcome="unknown",
                op=self.op.token,
            )

    def _draft(self, doc: Document | None, outcome: Outcome, applied: set[str]) -> moves.Draft | None:
        """What settling makes of a document; None where there is nothing to write, its refusal noted."""
        if outcome.id in applied:
            self._refuse(outcome, Refusal.GONE if doc is None or doc["state"] == GONE else Refusal.LOST)
            return None
        if doc is not None and doc.get("settled") == self.op.token:
            applied.add(outcome.id)  # by this very call, whose answer was lost
            return None
        if doc is None or doc["state"] == GONE:
            self._refuse(outcome, Refusal.GONE)
            return None
        if doc["state"] != State.ACTIVE or doc.get("token") != outcome.token:
            self._refuse(outcome, Refusal.LOST)
            return None
        draft = self.room.draft(doc, self.view)
        no = moves.settle(draft, outcome, self.room.limit)
        if no is not None:
            self._refuse(outcome, no)
            return None
        draft.doc["settled"] = self.op.token
        return draft

    async def _write(
        self, writes: list[Write], tried: list[tuple[Outcome, moves.Draft]], applied: set[str]
    ) -> list[Outcome]:
        """Write a round; answers the outcomes to be tried again because their documents changed."""
        if not writes:
            return []
        self.room.marks.pop(self.queue, None)
        done = await self.room.port.bulk(JOBS, writes)
        for index in done.too_large:
            self._refuse(tried[index][0], Refusal.TOO_LARGE)
        tried = [pair for index, pair in enumerate(tried) if index not in done.too_large]
        if done.met < len(tried):
            docs = await self._read([outcome for outcome, _ in tried], ("settled",))
            met = {name for name, doc in docs.items() if doc.get("settled") == self.op.token}
        else:
            met = {outcome.id for outcome, _ in tried}
        for outcome, draft in tried:
            if outcome.id in met:
                applied.add(outcome.id)
                self.room.tally(self.queue, draft.counts)
                self._due(draft)
        return [outcome for outcome, _ in tried if outcome.id not in met]

    def _due(self, draft: moves.Draft) -> None:
        if draft.doc["state"] == State.DELAYED:
            due: int = draft.doc["at"]
            self.reply.next_at = due if self.reply.next_at is None else min(due, self.reply.next_at)

    def _refuse(self, outcome: Outcome, why: Refusal) -> None:
        self.reply.refused.append((outcome.id, why))

    async def _read(self, outcomes: Sequence[Outcome], fields: tuple[str, ...] = ()) -> Mapping[str, Document]:
        keys = {self.room.names.job(self.queue, outcome.id): outcome.id for outcome in outcomes}
        query = queries.known(list(keys), fields) if fields else queries.light(list(keys))
        docs = await self.room.port.find(query)
        return {keys[doc["_id"]]: doc for doc in docs}
