"""One record an actor and queue: its last call and the answer. Decides what a repeated call is told."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import orjson

from queuekit.domain.outcome import Op
from queuekit.errors import Stale

KEPT: Final = 86_400_000  # ms an actor is remembered after its last call


def recall(conn: sqlite3.Connection, q: int, op: Op) -> Any:
    """The recorded answer if this very op is repeated, else None. Raises Stale for an older one."""
    row = conn.execute("SELECT n, reply FROM ops WHERE q = ? AND actor = ?", (q, op.actor)).fetchone()
    if row is None or op.n > row[0]:
        return None
    if op.n < row[0]:
        raise Stale(f"call {op.n} of {op.actor} comes after its call {row[0]}: it had no effect")
    return orjson.loads(row[1])


def remember(conn: sqlite3.Connection, q: int, op: Op, now: int, reply: object) -> None:
    """Keep what was answered to an op. `reply` is a JSON object or list, never null."""
    conn.execute(
        "INSERT INTO ops VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET n = excluded.n, at = excluded.at, reply = excluded.reply",
        (q, op.actor, op.n, now, orjson.dumps(reply).decode()),
    )


def forget(conn: sqlite3.Connection, q: int, now: int) -> None:
    """Drop actors not seen for a day."""
    conn.execute("DELETE FROM ops WHERE q = ? AND at <= ?", (q, now - KEPT))
