"""What becomes of a job's document by each transition: pure functions over a draft, which then tells its update.

The rules are those of the domain's transition table; this is their only place in this package. Nothing here asks the
server: an update made from a draft applies only while the document's `rev` is the one that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from queuekit.domain.job import ERRORS_KEPT, LOGS_KEPT, Retention
from queuekit.domain.limits import QueueConf, kept_awaited
from queuekit.domain.outcome import Kind, Outcome, Refusal
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.state import TERMINAL, Move, State, allowed
from queuekit_mongo.documents import GONE, HEAVY, OWN, READY, STUB_FIELDS, STUB_KEPT, SUSPECT, Document, state_of, when

_MOVES: Final = {
    Kind.COMPLETED: Move.COMPLETE, Kind.FAILED: Move.FAIL, Kind.CANCELLED: Move.CANCEL, Kind.RETRY: Move.RETRY,
    Kind.SNOOZED: Move.SNOOZE, Kind.RELEASED: Move.RELEASE, Kind.PARKED: Move.PARK,
}  # fmt: skip
_ENDS: Final = {Kind.COMPLETED: State.COMPLETED, Kind.FAILED: State.FAILED, Kind.CANCELLED: State.CANCELLED}
_YIELDS: Final = frozenset({Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.PARKED})  # to a cancel that was asked


class Draft:
    """A document as read, maybe without its heavy fields, and as it shall be. `counts` is what the totals gain."""

    __slots__ = ("back", "conf", "counts", "doc", "dropped", "now", "old", "pushed")

    def __init__(self, doc: Document, *, now: int, conf: QueueConf, back: Callable[[], int]) -> None:
        self.old, self.doc = doc, dict(doc)
        self.now, self.conf, self.back = now, conf, back  # `back` gives a place behind all
        self.counts: dict[str, int] = {}
        self.pushed: dict[str, tuple[list[Any], int]] = {}
        self.dropped: set[str] = set()  # heavy fields to be unset, read or not

    @property
    def state(self) -> State:
        state = state_of(self.doc)
        assert state is not None, "a stub takes no part in transitions"
        return state

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def push(self, name: str, values: list[bytes], kept: int) -> None:
        """Append to a list without replacing it: others may append meanwhile, and `rev` does not tell."""
        self.pushed[name] = ([bytes(value) for value in values], kept)

    def update(self) -> Document:
        """The classic update that makes the stored document the drafted one; no value in it is ever evaluated."""
        old, doc = self.old, self.doc
        update: Document = {}
        changed = {k: v for k, v in doc.items() if k not in old or old[k] != v}
        dropped = {k: "" for k in (*old, *self.dropped) if k not in doc}
        if changed:
            update["$set"] = changed
        if dropped:
            update["$unset"] = dropped
        if self.pushed and doc["state"] != GONE:
            update["$push"] = {k: {"$each": values, "$slice": -kept} for k, (values, kept) in self.pushed.items()}
        return update


def _unsaid(said: Mapping[str, Any], outcome: Outcome) -> list[bytes]:
    """The lines of an outcome that its claim did not report before."""
    known = said["lines"] if said.get("token") == outcome.token else 0
    return list(outcome.logs[max(0, known - (known if outcome.start is None else outcome.start)) :])


def settle(draft: Draft, outcome: Outcome, limit: int) -> Refusal | None:
    """Apply the end of a run to an active job whose token was compared, or say why not."""
    if outcome.kind not in _MOVES:
        return Refusal.ILLEGAL
    if outcome.result is not None and len(outcome.result) > limit:
        return Refusal.TOO_LARGE
    doc, kind, reason, token = draft.doc, outcome.kind, outcome.reason, outcome.token
    if outcome.progress is not None:
        doc["progress"] = bytes(outcome.progress)
    new = _unsaid(doc.pop("said", {}), outcome)
    if new:
        draft.push("logs", new, LOGS_KEPT)
    if outcome.error is not None:
        draft.push("errors", [outcome.error], ERRORS_KEPT)
    if "cancel" in doc and kind in _YIELDS:
        kind, reason = Kind.CANCELLED, doc["cancel"]
    if kind is Kind.COMPLETED and outcome.result is not None:
        doc["result"] = bytes(outcome.result)
    if kind in _ENDS:
        _reason(doc, reason)
        end(draft, _MOVES[kind], _ENDS[kind], outcome.keep)
        if doc["state"] != GONE:
            doc["token"] = token
    elif kind is Kind.RELEASED:
        line = doc.get("was", READY)
        _to(draft, Move.RELEASE, State.WAITING)
        doc["line"] = line
        draft.count("released")
    elif kind is Kind.PARKED:
        _to(draft, Move.PARK, State.PARKED)
        _reason(doc, reason)
        doc["at"] = draft.now
    else:
        due = outcome.at if outcome.at is not None else draft.now + (outcome.delay or 0)
        wait_or_delay(draft, _MOVES[kind], due)
        counter = "failures" if kind is Kind.RETRY else "snoozes"
        doc[counter] = doc.get(counter, 0) + 1
        if kind is Kind.RETRY:
            draft.count("retried")
    return None


def end(draft: Draft, move: Move, state: State, keep: Retention | None = None) -> None:
    """End a job: its retention is its own, else the worker's `keep`, else the queue's; kept by nobody, it is a stub."""
    doc = draft.doc
    _to(draft, move, state)
    doc["at"] = draft.now
    _free(doc)
    draft.count(str(state))
    label = doc.get("keep_completed" if state is State.COMPLETED else "keep_failed")
    own = Retention.parse(label) if label is not None else keep
    kept = own or (draft.conf.keep_completed if state is State.COMPLETED else draft.conf.keep_failed)
    if doc.pop("awaited", False):
        longer = kept_awaited(kept)
        if longer != kept:
            own = kept = longer
    if kept.count == 0:
        remove(draft)
    elif own is not None:
        doc["state"], doc["keep"] = state + OWN, own.label


def expire(draft: Draft) -> None:
    """Cancel a job that was not started in time."""
    draft.doc["reason"] = "expired"
    end(draft, Move.EXPIRE, State.CANCELLED)


def lose(draft: Draft) -> State:
    """Take an active job from a worker that went silent; the state it is in then."""
    doc = draft.doc
    if "cancel" in doc:
        doc["reason"] = doc["cancel"]
        end(draft, Move.LOSE, State.CANCELLED)
        return State.CANCELLED
    if doc.get("was") == SUSPECT or not doc.get("crashes"):
        doc["crashes"] = doc.get("crashes", 0) + 1
        draft.count("crashed")
    if doc.get("crashes", 0) >= draft.conf.max_crashes:
        doc["reason"] = "crash_loop"
        end(draft, Move.LOSE, State.FAILED)
        return State.FAILED
    give_up(draft)
    return State.WAITING


def give_up(draft: Draft) -> None:
    """Put a job that was lost on the suspect line, at its old place."""
    _to(draft, Move.LOSE, State.WAITING)
    draft.doc["line"] = SUSPECT


def wait_or_delay(draft: Draft, move: Move, due: int) -> None:
    """At the back of its priority if due, else among the delayed. A suspect that a person moves stays one."""
    doc = draft.doc
    line = doc.get("line", READY) if move is Move.RESCHEDULE else READY
    if due > draft.now:
        _to(draft, move, State.DELAYED)
        doc["at"] = due
    else:
        _to(draft, move, State.WAITING)
        doc["line"], doc["place"] = line, draft.back()
    doc["run_at"] = due


def change(draft: Draft, change: Change) -> No | None:
    """Do what a person asks of one job, or say why not."""
    return _VERBS[change.verb](draft, change)


def replace(draft: Draft, spec: Mapping[str, Any], due: int | None) -> None:
    """Debounce: a holder of a key that does not run takes a new job's content, priority and time."""
    doc, line = draft.doc, draft.doc.get("line", READY)
    for name in ("task", "body", "version", "options", "priority"):
        if name in spec:
            doc[name] = spec[name]
        else:
            doc.pop(name, None)
    for name in ("line", "at", "run_at"):
        doc.pop(name, None)
    if due is not None:
        doc["run_at"] = due
    if due is not None and due > draft.now:
        doc["state"], doc["at"] = "delayed", due
    else:
        doc["state"], doc["line"] = "waiting", line
    doc["place"], doc["rev"] = draft.back(), doc["rev"] + 1


def replace_new(doc: Document, spec: Mapping[str, Any], due: int | None, now: int, place: int) -> None:
    """The same for a holder that is about to be written by the very call, and so is changed where it stands."""
    draft = Draft(doc, now=now, conf=QueueConf(), back=lambda: place)
    replace(draft, spec, due)
    doc.clear()
    doc.update(draft.doc)


def remove(draft: Draft) -> None:
    """Leave a stub of a job: it answers repeats, and keeps a key that is held for a time."""
    old = draft.doc
    until = old.get("unique_until", 0)
    draft.doc = stub = {k: v for k, v in old.items() if k in STUB_FIELDS}
    if until <= draft.now:
        stub.pop("unique", None)
        stub.pop("unique_until", None)
    draft.dropped.update(HEAVY)
    stub["state"] = GONE
    stub["expire_at"] = when(max(draft.now + STUB_KEPT, until))


def _to(draft: Draft, move: Move, state: State) -> None:
    """Change a state by the one table, and with it what the indexes see."""
    doc, before = draft.doc, draft.state
    assert state in allowed(before, move), f"{before} -{move}-> {state}"
    doc["state"], doc["rev"] = str(state), doc["rev"] + 1
    for name in ("line", "at", "was", "cancel") if before is State.ACTIVE or state in TERMINAL else ("line", "at"):
        doc.pop(name, None)
    if state in (State.WAITING, State.DELAYED):
        doc.pop("token", None)
        if "expires_at" in doc:
            doc["expiry"] = doc["expires_at"]
    else:
        doc.pop("expiry", None)
        if state is State.PARKED:
            doc.pop("token", None)


def _free(doc: Document) -> None:
    """Give a unique key back at the end, unless it is held for a time."""
    if "unique_until" not in doc:
        doc.pop("unique", None)


def _reason(doc: Document, reason: str | None) -> None:
    if reason is None:
        doc.pop("reason", None)
    else:
        doc["reason"] = reason


def _due(draft: Draft, change: Change) -> int:
    return change.run_at if change.run_at is not None else draft.now + (change.delay or 0)


def _cancel(draft: Draft, change: Change) -> No | None:
    if draft.state in TERMINAL:
        return No.ILLEGAL
    reason = change.reason or ""
    if draft.state is State.ACTIVE:
        draft.doc["cancel"], draft.doc["rev"] = reason, draft.doc["rev"] + 1
        return None
    draft.doc["reason"] = reason
    end(draft, Move.CANCEL, State.CANCELLED)
    return None


def _retry(draft: Draft, change: Change) -> No | None:
    doc, state = draft.doc, draft.state
    if state is State.PARKED:
        return _reopen(draft, change)
    if state not in TERMINAL:
        return No.ILLEGAL
    doc["state"] = str(state)  # without its retention class
    for name in ("failures", "crashes", "snoozes", "result", "reason", "keep", "expires_at"):
        doc.pop(name, None)
    draft.dropped.add("result")
    uniq = doc.get("uniq")
    if uniq is not None and uniq["until"] != "time":
        doc["unique"] = uniq["key"]
    wait_or_delay(draft, Move.REVIVE, _due(draft, change))
    return None


def _reopen(draft: Draft, change: Change) -> No | None:
    if draft.state is not State.PARKED:
        return No.ILLEGAL
    _to(draft, Move.REOPEN, State.WAITING)
    draft.doc.pop("reason", None)
    draft.doc.update(line=READY, place=draft.back(), run_at=draft.now)
    return None


def _promote(draft: Draft, change: Change) -> No | None:
    if draft.state is not State.DELAYED:
        return No.ILLEGAL
    wait_or_delay(draft, Move.PROMOTE, draft.now)
    return None


def _reschedule(draft: Draft, change: Change) -> No | None:
    if draft.state not in (State.WAITING, State.DELAYED):
        return No.ILLEGAL
    if change.priority is not None:
        draft.doc["priority"] = change.priority
    if change.run_at is None and change.delay is None:
        draft.doc.update(place=draft.back(), rev=draft.doc["rev"] + 1)
    else:
        wait_or_delay(draft, Move.RESCHEDULE, _due(draft, change))
    return None


def _replace(draft: Draft, change: Change) -> No | None:
    if draft.state not in (State.WAITING, State.DELAYED, State.PARKED) or change.body is None:
        return No.ILLEGAL
    draft.doc.update(body=bytes(change.body), rev=draft.doc["rev"] + 1)
    return None


def _delete(draft: Draft, change: Change) -> No | None:
    if draft.state is State.ACTIVE:
        return No.ILLEGAL
    _free(draft.doc)
    remove(draft)
    return None


_VERBS: Final[dict[Verb, Callable[[Draft, Change], No | None]]] = {
    Verb.CANCEL: _cancel, Verb.RETRY: _retry, Verb.PROMOTE: _promote, Verb.RESCHEDULE: _reschedule,
    Verb.REPLACE: _replace, Verb.REOPEN: _reopen, Verb.DELETE: _delete,
}  # fmt: skip
