"""How a run ended, and what a store answers to a worker. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from queuekit.domain.job import JobRecord, Retention


class Kind(StrEnum):
    """The end of a run."""

    COMPLETED = "completed"
    RETRY = "retry"  # failed, attempts left
    FAILED = "failed"
    RELEASED = "released"  # back to its old place, no attempt used
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    PARKED = "parked"


class Refusal(StrEnum):
    """Why an outcome was not accepted."""

    LOST = "lost"  # the token is not the job's: recovered, claimed by another, or settled before
    GONE = "gone"  # no such job
    TOO_LARGE = "too_large"
    ILLEGAL = "illegal"  # an outcome this store cannot apply


class Home(StrEnum):
    """Whether this store is where the queue lives."""

    HERE = "here"
    MOVING = "moving"
    ARRIVING = "arriving"
    GONE = "gone"


@dataclass(slots=True)
class Outcome:
    """The end of one run, to be settled. `error` is added to the job's history, `result` and `reason` are kept."""

    id: str
    token: str
    kind: Kind
    result: bytes | None = None
    error: bytes | None = None
    reason: str | None = None
    delay: int | None = None  # ms from the store's now: retry, snoozed; None is at once
    at: int | None = None  # or an absolute time
    keep: Retention | None = None  # the worker's, used where the stored job names none
    progress: bytes | None = None
    logs: tuple[bytes, ...] = ()
    start: int | None = None  # lines of this claim reported before logs[0]; None: these are new


@dataclass(frozen=True, slots=True)
class Op:
    """The n-th call of one actor. Repeating it with the same arguments has the effect of one.

    `actor` is a fresh nonce for each consumer start or producer lane; one call in flight per actor; n counts from 1.
    """

    actor: str
    n: int

    @property
    def token(self) -> str:
        return f"{self.actor}:{self.n}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a consumer wants with an exchange."""

    want: int = 0
    lease: int = 30_000  # ms
    suspect: bool = True  # False while the worker holds a suspect: then it gets none
    worker: str = ""  # a name for people, stored with the claim


@dataclass(slots=True, kw_only=True)
class Exchange:
    """The answer to `exchange`."""

    now: int
    claims: list[JobRecord] = field(default_factory=list)
    refused: list[tuple[str, Refusal]] = field(default_factory=list)
    next_at: int | None = None  # when the earliest delayed job is due; compare with `now`, never with a local clock
    more: bool = False  # work was left that this worker could claim or promote at once
    paused: str | None = None
    home: Home = Home.HERE
    to: str | None = None  # where the queue went, unless here
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one spec. `id` is the job that exists now: another's where a unique key was held.

    `created` is None where the caller's own transaction will write it, or not.
    """

    id: str
    created: bool | None


@dataclass(slots=True, kw_only=True)
class Enqueued:
    """The answer to `enqueue`, in the order of the specs."""

    now: int
    receipts: list[Receipt]
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A claim to renew, with what its handler reported since the last time."""

    id: str
    token: str
    progress: bytes | None = None
    logs: tuple[bytes, ...] = ()
    start: int | None = None  # lines of this claim reported before logs[0]; None: these are new


@dataclass(slots=True, kw_only=True)
class Renewal:
    """The answer to `renew`."""

    now: int
    lease_until: int
    lost: list[str] = field(default_factory=list)  # ids this worker owns no longer
    cancels: dict[str, str] = field(default_factory=dict)  # id -> reason
    strays: list[tuple[str, str]] = field(default_factory=list)  # (id, token) held for the actor but not named


@dataclass(slots=True, kw_only=True)
class Recovery:
    """The answer to `recover`."""

    now: int
    suspects: list[str] = field(default_factory=list)  # ids put on the suspect line
    crashed: list[str] = field(default_factory=list)  # failed `crash_loop`
    cancelled: list[str] = field(default_factory=list)
    grace_until: int | None = None  # nothing is recovered until then
    more: bool = False
    calm: bool = field(default=False, compare=False)  # surely no job is active; a store need not look
