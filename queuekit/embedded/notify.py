"""Family notify: what to look for while waiting for work or for a job's end. The waiting itself is the port's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from queuekit.domain.job import JobRecord
from queuekit.domain.state import TERMINAL
from queuekit.embedded import ledger, read, rows
from queuekit.embedded.hub import Hub
from queuekit.embedded.rows import COMPLETED, DELAYED, READY, SUSPECT
from queuekit.embedded.work import Work

FOREVER = 1 << 62


class Wanted:
    """Which of some queues may have work: ready jobs, a suspect more, or a delayed job earlier than was known."""

    def __init__(self, hub: Hub, ns: str, queues: Sequence[str]) -> None:
        self._ns, self._queues = ns, queues
        self._known = {name: hub.seen.get((ns, name)) for name in queues}
        self.found: list[str] = []

    def probe(self, conn: sqlite3.Connection) -> bool:
        """Look; `found` names the queues."""
        self.found = [name for name in self._queues if self._worth(conn, name)]
        return bool(self.found)

    def _worth(self, conn: sqlite3.Connection, name: str) -> bool:
        queue = ledger.look(conn, self._ns, name)
        if queue is None or queue.limits.paused is not None:
            return False
        if queue.counts[READY]:
            return True
        due = FOREVER
        if queue.counts[DELAYED]:
            due = conn.execute(
                "SELECT key1 FROM jobs WHERE q = ? AND line = ? ORDER BY key1, key2, id LIMIT 1", (queue.q, DELAYED)
            ).fetchone()[0]
        suspects = queue.counts[SUSPECT]
        known = self._known[name]
        if known is None:
            self._known[name] = (due, suspects)
            return due < FOREVER or suspects > 0
        return due < (FOREVER if known[0] is None else known[0]) or suspects > known[1]


def seen(conn: sqlite3.Connection, ns: str, queue: str, id: str) -> tuple[JobRecord | None] | None:
    """The job if it ended, (None,) if there is none; None while it is on its way."""
    found = read.get(conn, ledger.peek(conn, ns, queue), [id])[0]
    return None if found is not None and found.state not in TERMINAL else (found,)


def mark(work: Work, id: str) -> tuple[JobRecord | None] | None:
    """As `seen`, and a job on its way is awaited from now on."""
    job = rows.by_id(work.conn, work.ledger.q, [id]).get(id)
    if job is not None and job.line < COMPLETED:
        work.conn.execute("UPDATE jobs SET awaited = 1 WHERE n = ?", (job.n,))
        return None
    return (read.get(work.conn, work.ledger, [id])[0],)
