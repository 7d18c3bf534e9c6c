"""The states of a job and the one table of what may follow what. Stores and the model obey it; nothing here acts."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a job is in its life; the text is what is stored. "scheduled" parses to DELAYED."""

    WAITING = "waiting"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    ACTIVE = "active"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def _missing_(cls, value: object) -> State | None:
        return cls.DELAYED if value == "scheduled" else None


class Line(StrEnum):
    """Where a waiting job stands: to be claimed, held back by its group, or suspected of killing workers."""

    READY = "ready"
    HELD = "held"
    SUSPECT = "suspect"


class Move(StrEnum):
    """Why a state changes."""

    CLAIM = "claim"
    RELEASE = "release"  # given back at its old place, no attempt used
    COMPLETE = "complete"
    RETRY = "retry"  # a failed run with attempts left
    SNOOZE = "snooze"
    FAIL = "fail"
    CANCEL = "cancel"
    PARK = "park"  # the worker cannot run it: unknown task, unfit payload
    BLOCK = "block"  # children were added
    LOSE = "lose"  # its lease ended: suspect line, or failed crash_loop, or cancelled where asked
    DUE = "due"  # its time came, or its last child ended
    PROMOTE = "promote"  # by a person, before its time
    RESCHEDULE = "reschedule"
    EXPIRE = "expire"  # not started in time
    ORPHAN = "orphan"  # a child failed
    REVIVE = "revive"  # retried by a person
    REOPEN = "reopen"


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
LIVE: Final = frozenset(State) - TERMINAL

_S = State
TRANSITIONS: Final[dict[tuple[State, Move], frozenset[State]]] = {
    (_S.DELAYED, Move.DUE): frozenset({_S.WAITING}),
    (_S.DELAYED, Move.PROMOTE): frozenset({_S.WAITING}),
    (_S.WAITING, Move.RESCHEDULE): frozenset({_S.DELAYED, _S.WAITING}),
    (_S.DELAYED, Move.RESCHEDULE): frozenset({_S.DELAYED, _S.WAITING}),
    (_S.WAITING, Move.CLAIM): frozenset({_S.ACTIVE}),
    (_S.ACTIVE, Move.RELEASE): frozenset({_S.WAITING}),
    (_S.ACTIVE, Move.RETRY): frozenset({_S.DELAYED, _S.WAITING}),
    (_S.ACTIVE, Move.SNOOZE): frozenset({_S.DELAYED, _S.WAITING}),
    (_S.ACTIVE, Move.COMPLETE): frozenset({_S.COMPLETED}),
    (_S.ACTIVE, Move.FAIL): frozenset({_S.FAILED}),
    (_S.ACTIVE, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.ACTIVE, Move.PARK): frozenset({_S.PARKED}),
    (_S.ACTIVE, Move.BLOCK): frozenset({_S.BLOCKED}),
    (_S.ACTIVE, Move.LOSE): frozenset({_S.WAITING, _S.FAILED, _S.CANCELLED}),
    (_S.WAITING, Move.EXPIRE): frozenset({_S.CANCELLED}),
    (_S.DELAYED, Move.EXPIRE): frozenset({_S.CANCELLED}),
    (_S.WAITING, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.DELAYED, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.BLOCKED, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.PARKED, Move.CANCEL): frozenset({_S.CANCELLED}),
    (_S.BLOCKED, Move.DUE): frozenset({_S.WAITING, _S.DELAYED}),
    (_S.BLOCKED, Move.ORPHAN): frozenset({_S.FAILED}),
    (_S.COMPLETED, Move.REVIVE): frozenset({_S.WAITING, _S.DELAYED}),
    (_S.FAILED, Move.REVIVE): frozenset({_S.WAITING, _S.DELAYED, _S.BLOCKED}),
    (_S.CANCELLED, Move.REVIVE): frozenset({_S.WAITING, _S.DELAYED}),
    (_S.PARKED, Move.REOPEN): frozenset({_S.WAITING}),
}


def allowed(state: State, move: Move) -> frozenset[State]:
    """The states `move` may lead to from `state`; empty where it may not happen."""
    return TRANSITIONS.get((state, move), frozenset())
