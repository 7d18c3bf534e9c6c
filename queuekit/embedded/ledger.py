"""A queue's own row during one transaction: configuration, places, counts, totals. Read once, written once."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from queuekit.domain.absence import Watch
from queuekit.domain.job import Retention
from queuekit.domain.limits import DEFAULT_KEEP_COMPLETED, DEFAULT_KEEP_FAILED, Limits, QueueConf
from queuekit.domain.outcome import Home
from queuekit.embedded.rows import LINES

_COUNTERS: Final = (
    "ready", "suspect", "held", "delayed", "active", "blocked", "parked",
    "completed", "completed_own", "failed", "failed_own", "cancelled", "cancelled_own",
)  # fmt: skip
_TOTALS: Final = ("enqueued", "completed", "failed", "retried", "crashed", "cancelled", "released")
ENQUEUED, DONE, FAILURES, RETRIED, CRASHED, CANCELS, RELEASED = range(7)

_HEAD = "q, rev, home, moved_to, epoch, declared, override, back, front, bell, seen, pace, grace"
_MOVING = ("back", "front", "bell", "seen", "pace", "grace", *_COUNTERS, *(f"t_{name}" for name in _TOTALS))
_UNWATCHED: Final = Watch()
_READ = f"SELECT {_HEAD}, {', '.join(_COUNTERS)}, {', '.join(f't_{t}' for t in _TOTALS)} FROM queues"
_WRITE = f"UPDATE queues SET {', '.join(f'{name} = ?' for name in _MOVING)} WHERE q = ?"


@dataclass(slots=True)
class Ledger:
    """One queue. `counts` is indexed by line code, `totals` by the constants above."""

    q: int
    name: str
    conf: QueueConf
    limits: Limits  # conf.effective
    back: int = 0
    front: int = 0
    bell: int = 0
    watch: Watch = _UNWATCHED
    counts: list[int] = field(default_factory=lambda: [0] * LINES)
    totals: list[int] = field(default_factory=lambda: [0] * len(_TOTALS))

    def keeps(self, completed: bool) -> Retention:
        """The queue's own retention. From `limits`: the configuration works its own out anew each time it is asked."""
        if completed:
            return self.limits.keep_completed or DEFAULT_KEEP_COMPLETED
        return self.limits.keep_failed or DEFAULT_KEEP_FAILED

    def last(self, jobs: int = 1) -> int:
        """The first of `jobs` new places behind all."""
        self.back += jobs
        return self.back - jobs + 1

    def first(self) -> int:
        """A new place before all."""
        self.front -= 1
        return self.front

    def clear(self) -> None:
        """As a queue that was never used; only its bell goes on."""
        self.back = self.front = 0
        self.watch, self.counts, self.totals = _UNWATCHED, [0] * LINES, [0] * len(_TOTALS)


def look(conn: sqlite3.Connection, ns: str, name: str) -> Ledger | None:
    """The queue's row, None where there is none."""
    row = conn.execute(f"{_READ} WHERE ns = ? AND name = ?", (ns, name)).fetchone()
    return None if row is None else _ledger(name, row)


def peek(conn: sqlite3.Connection, ns: str, name: str) -> Ledger:
    """The queue's row to look at; an empty one, q = 0, where there is none."""
    return look(conn, ns, name) or Ledger(0, name, _BLANK, _BLANK.effective)


def take(conn: sqlite3.Connection, ns: str, name: str) -> Ledger:
    """The queue's row to write to, made where there is none."""
    known = look(conn, ns, name)
    if known is not None:
        return known
    conn.execute("INSERT INTO queues (ns, name) VALUES (?, ?)", (ns, name))
    made = look(conn, ns, name)
    assert made is not None
    return made


def save(conn: sqlite3.Connection, ledger: Ledger) -> None:
    """Write places, counts and totals back."""
    values = (
        ledger.back,
        ledger.front,
        ledger.bell,
        ledger.watch.seen,
        ledger.watch.pace,
        ledger.watch.grace,
        *ledger.counts,
        *ledger.totals,
        ledger.q,
    )
    conn.execute(_WRITE, values)


@lru_cache(maxsize=1024)
def _parsed(
    rev: int, home: str, moved_to: str | None, epoch: int, declared: str, override: str
) -> tuple[QueueConf, Limits]:
    conf = QueueConf(rev=rev, home=Home(home), to=moved_to, epoch=epoch,
                     declared=Limits.from_json(declared), override=Limits.from_json(override))  # fmt: skip
    return conf, conf.effective


def _ledger(name: str, row: tuple[Any, ...]) -> Ledger:
    q, rev, home, moved_to, epoch, declared, override, back, front, bell, seen, pace, grace, *rest = row
    conf, limits = _parsed(rev, home, moved_to, epoch, declared, override)
    watch = _UNWATCHED if seen is None else Watch(seen=seen, pace=pace, grace=grace)
    return Ledger(q, name, conf, limits, back, front, bell, watch, rest[:LINES], rest[LINES:])


_BLANK: Final = QueueConf()
