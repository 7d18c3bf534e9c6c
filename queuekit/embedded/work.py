"""One transaction at work on one queue: its clock, its ledger, the moves of single jobs, and whom to wake after it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from queuekit.domain.job import ERRORS_KEPT, LOGS_KEPT
from queuekit.domain.query import Note
from queuekit.embedded.ledger import Ledger, save
from queuekit.embedded.rows import DELAYED, ERROR, LOG, TAKEN, Job

_FORGET: Final = (
    "DELETE FROM notes WHERE n = ?1 AND kind = ?2 AND seq <= (SELECT seq FROM notes"
    " WHERE n = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)"
)
_shapes: dict[tuple[str, ...], str] = {}


@dataclass(slots=True)
class Work:
    """What the families share while a transaction is open."""

    conn: sqlite3.Connection
    now: int
    ledger: Ledger
    limit: int  # bytes of a payload or result
    wake: bool = False  # work was added: ring for it after the commit
    ended: list[str] = field(default_factory=list)  # ids that ended: ring for those who watch them
    touched: set[tuple[int, str | None]] = field(default_factory=set)  # retention classes that grew

    def move(self, job: Job, line: int, key1: int, key2: int, **fields: object) -> None:
        """Put a job on a line; `fields` are columns set with it."""
        counts = self.ledger.counts
        counts[job.line] -= 1
        counts[line] += 1
        self.conn.execute(_statement(tuple(fields)), (line, key1, key2, *fields.values(), job.n))

    def wait_or_delay(self, job: Job, line: int, due: int, *, priority: int | None = None, **fields: object) -> None:
        """At the back of its priority on `line` if due, else among the delayed."""
        rank = job.priority if priority is None else priority
        fields |= {"priority": rank, "run_at": due, "since": self.now, "token": None, "origin": None}
        if due > self.now:
            self.move(job, DELAYED, due, 0, **fields)
        else:
            place = self.ledger.last()
            self.move(job, line, rank, place, place=place, **fields)
        self.wake = True  # a delayed one too: whoever waits may have to set his timer earlier

    def note(self, job: Job, note: Note, error: bytes | None = None) -> None:
        """Keep what a handler reported, the last of each kind; no line of a claim twice."""
        logs = note.logs
        if logs:
            logs = self._unknown(job, note)
        lines = [(LOG, data) for data in logs[-LOGS_KEPT:]]
        if error is not None:
            lines.append((ERROR, error))
        if not lines and note.progress is None:
            return
        noted = self.conn.execute(
            "UPDATE jobs SET noted = noted + ?, progress = ifnull(?, progress) WHERE n = ? RETURNING noted",
            (len(lines), note.progress, job.n),
        ).fetchall()[0][0]
        seq = noted - len(lines)
        rows = [(job.n, kind, seq + i, data) for i, (kind, data) in enumerate(lines)]
        self.conn.executemany("INSERT INTO notes VALUES (?, ?, ?, ?)", rows)
        for kind, kept in ((LOG, LOGS_KEPT), (ERROR, ERRORS_KEPT)):
            if noted > kept:
                self.conn.execute(_FORGET, (job.n, kind, kept))

    def _unknown(self, job: Job, note: Note) -> tuple[bytes, ...]:
        """The lines that this claim did not report before; from now on they are known."""
        known = 0
        for (data,) in self.conn.execute("SELECT data FROM notes WHERE n = ? AND kind = ?", (job.n, TAKEN)):
            token, _, lines = bytes(data).decode().rpartition(" ")
            known = int(lines) if token == job.token else 0
        start = known if note.start is None else note.start
        new = note.logs[max(0, known - start) :]
        if new:
            mark = f"{job.token} {start + len(note.logs)}".encode()
            self.conn.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, 0, ?)", (job.n, TAKEN, mark))
        return new

    def finish(self) -> None:
        """Write the ledger; the last thing before the commit."""
        self.ledger.bell += self.wake
        save(self.conn, self.ledger)


def _statement(names: tuple[str, ...]) -> str:
    """The UPDATE of a move; one text a shape, so that SQLite keeps it prepared."""
    text = _shapes.get(names)
    if text is None:
        extra = "".join(f", {name} = ?" for name in names)
        text = _shapes[names] = f"UPDATE jobs SET line = ?, key1 = ?, key2 = ?, rev = rev + 1{extra} WHERE n = ?"
    return text
