"""Transactions: one call, or many calls of one loop that share a commit. Nothing here knows a table.

They are bounded by a deadline, and what SQLite says against them is translated.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from queuekit import clock
from queuekit.embedded import replies
from queuekit.embedded.hub import Hub
from queuekit.errors import StoreUnavailable

R = TypeVar("R")
Act = Callable[[sqlite3.Connection], R]
_LONGEST: Final = 0.004  # seconds between two tries to get the write lock


@dataclass(slots=True, eq=False)
class Write:
    """A call that writes: what `first` finds on a snapshot if it finds something, else `act`; then `after`."""

    act: Act[Any]
    first: Act[Any] | None
    after: Callable[[], None] | None
    deadline: float


@dataclass(slots=True, eq=False)
class Done:
    """What became of one of many writes."""

    answer: Any = None
    error: BaseException | None = None
    write: Write | None = None  # it was applied: its `after` is due


def alone(conn: sqlite3.Connection, hub: Hub, write: Write) -> Any:
    """One call in a transaction of its own."""
    found = None if write.first is None else look(conn, hub, write.first, write.deadline)
    if found is not None:
        return found
    answer = transact(conn, hub, write.act, write.deadline)
    if write.after is not None:
        write.after()
    return answer


def together(conn: sqlite3.Connection, hub: Hub, writes: Sequence[Write]) -> list[Done]:
    """Many calls in their order, each all or nothing, in one transaction: one sync of the disk serves them all."""

    def act(conn: sqlite3.Connection) -> list[Done]:
        return [_part(conn, hub, write) for write in writes]

    try:
        done = transact(conn, hub, act, min(write.deadline for write in writes))
    except StoreUnavailable as error:
        return [Done(error=type(error)(str(error), outcome=error.outcome)) for _ in writes]
    for one in done:
        if one.write is not None and one.write.after is not None:
            one.write.after()
    return done


def _part(conn: sqlite3.Connection, hub: Hub, write: Write) -> Done:
    conn.execute("SAVEPOINT part")
    try:
        found = None if write.first is None else write.first(conn)
        answer = write.act(conn) if found is None else found
    except Exception as error:
        if not conn.in_transaction:  # SQLite gave the whole transaction up: so do all
            raise
        conn.execute("ROLLBACK TO part")
        conn.execute("RELEASE part")
        known = replies.translate(error, hub.path) if isinstance(error, sqlite3.Error) else error
        return Done(error=known)
    conn.execute("RELEASE part")
    return Done(answer, write=write if found is None else None)


def transact(conn: sqlite3.Connection, hub: Hub, act: Act[R], deadline: float) -> R:
    """`act` in one BEGIN IMMEDIATE transaction; everything or nothing."""
    if not hub.lock.acquire(timeout=max(0.0, deadline - clock.monotonic())):
        raise StoreUnavailable(f"{hub.path}: another call held it for the whole timeout", outcome="refused")
    committing = False
    try:
        _begin(conn, deadline)
        answer = act(conn)
        committing = True
        conn.execute("COMMIT")
        return answer
    except sqlite3.Error as error:
        _rollback(conn)
        raise replies.translate(error, hub.path, committing=committing) from error
    except BaseException:
        _rollback(conn)
        raise
    finally:
        hub.lock.release()


def look(conn: sqlite3.Connection, hub: Hub, act: Act[R], deadline: float) -> R:
    """`act` on one snapshot; it waits for no writer."""
    while True:
        try:
            conn.execute("BEGIN")
            try:
                return act(conn)
            finally:
                _rollback(conn)
        except sqlite3.Error as error:
            if replies.code(error) != sqlite3.SQLITE_BUSY or clock.monotonic() >= deadline:
                raise replies.translate(error, hub.path) from error


def _begin(conn: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock. SQLite's own waiting grows to 100 ms a sleep; a job waits too long behind that."""
    pause = 0.0005
    while True:
        try:
            conn.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if replies.code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or clock.monotonic() >= deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreading retries needs no secrecy
        pause = min(pause * 2, _LONGEST)


def _rollback(conn: sqlite3.Connection) -> None:
    if conn.in_transaction:
        try:
            conn.execute("ROLLBACK")
        except sqlite3.Error:  # SQLite rolled back by itself, or will when the connection goes
            return
