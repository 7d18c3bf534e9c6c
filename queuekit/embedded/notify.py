"""Family notify: what to look for while waiting for work or for a job's end. The waiting itself is the port's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from queuekit.domain.job import JobRecord
from queuekit.domain.state import TERMINAL
from queuekit.embedded import ledger, read, rows
from queuekit.embedded.rows import COMPLETED, OUT
from queuekit.embedded.work import Work

Ended = tuple[JobRecord | None] | None  # the job as it ended, (None,) where there is none; None: on its way


class Wanted:
    """Which of some queues rang since a store heard of them last. The bell is in the file: no ring is missed."""

    def __init__(self, ns: str, queues: Sequence[str], heard: dict[str, int]) -> None:
        self._ns, self._names = ns, rows.many(queues)
        self._heard = {name: heard.get(name, 0) for name in queues}
        self.now: dict[str, int] = {}
        self.found: list[str] = []

    def probe(self, conn: sqlite3.Connection) -> bool:
        """Look; `found` names the queues that rang."""
        bells = conn.execute(
            "SELECT name, bell FROM queues WHERE ns = ? AND name IN (SELECT value FROM json_each(?))",
            (self._ns, self._names),
        )
        self.now = dict(bells.fetchall())
        self.found = [name for name, bell in self.now.items() if bell != self._heard[name]]
        return bool(self.found)


def seen(conn: sqlite3.Connection, ns: str, queue: str, id: str) -> Ended:
    """The job if it ended, (None,) if there is none; None while it is on its way."""
    found = read.get(conn, ledger.peek(conn, ns, queue), [id])[0]
    return None if found is not None and found.state not in TERMINAL else (found,)


def mark(work: Work, id: str) -> Ended:
    """As `seen`, and a job on its way is awaited from now on."""
    job = rows.by_id(work.conn, work.ledger.q, [id]).get(id)
    if job is not None and job.line % OUT < COMPLETED:
        work.conn.execute("UPDATE jobs SET awaited = 1 WHERE n = ?", (job.n,))
        return None
    return (read.get(work.conn, work.ledger, [id])[0],)
