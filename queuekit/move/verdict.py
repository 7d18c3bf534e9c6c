"""Whether two sides agree about a queue: every job of both, compared by id and digest, in constant memory.

The pairs go through a temporary SQLite file, sorted there; nothing is written to either store.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from queuekit.domain.job import JobRecord
from queuekit.domain.state import State
from queuekit.move import checks
from queuekit.move.checks import Pair
from queuekit.move.end import Real
from queuekit.move.flow import is_held
from queuekit.move.pages import pages
from queuekit.move.records import digest
from queuekit.move.schedules import digests
from queuekit.move.values import (
    DIFFERENCES_SHOWN,
    OnProgress,
    Options,
    Phase,
    Progress,
    QueueVerdict,
    Side,
    Standing,
    Verdict,
)
from queuekit.store.retry import Waiter

SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE source (id TEXT PRIMARY KEY, digest BLOB NOT NULL, held INT NOT NULL) WITHOUT ROWID;
CREATE TABLE target (id TEXT PRIMARY KEY, digest BLOB NOT NULL, held INT NOT NULL) WITHOUT ROWID;
"""
DIFFER: Final = "FROM source AS s JOIN target AS t USING (id) WHERE s.digest <> t.digest AND NOT s.held AND NOT t.held"
BOTH: Final = "FROM source AS s JOIN target AS t USING (id) WHERE NOT s.held AND NOT t.held"
ONLY: Final = "FROM {0} AS s WHERE NOT s.held AND NOT EXISTS (SELECT 1 FROM {1} AS t WHERE t.id = s.id)"


async def verify(
    source: Side, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    on_progress: OnProgress | None = None, waiter: Waiter | None = None,
) -> Verdict:  # fmt: skip
    """Compare both sides job by job.

    Of a queue that is at both (copied by export and import): all must be alike. Of one that has moved: nothing may be
    left at the source, and no id on both sides. Of one under way: no id on both sides, but for what is held.
    Jobs that change while they are read may be told as different: look again when it is quiet.
    """
    pair = Pair(source, target, options or Options(), waiter or Real())
    await checks.two_stores(pair)
    verdict = Verdict(source=source.name, target=target.name)
    for name in await checks.chosen(pair, queues):
        said = QueueVerdict(queue=name, standing=await pair.standing(name))
        with _table() as db:
            said.source = await _read(pair, source, name, db, "source", on_progress)
            said.target = await _read(pair, target, name, db, "target", on_progress)
            _compare(db, said)
        _schedules(said, await digests(pair, source, name), await digests(pair, target, name))
        verdict.queues.append(said)
    return verdict


@contextmanager
def _table() -> Iterator[sqlite3.Connection]:
    with (
        tempfile.TemporaryDirectory(prefix="queuekit-verify-") as folder,
        closing(sqlite3.connect(Path(folder) / "jobs.db", isolation_level=None)) as db,
    ):
        db.executescript(SCHEMA)
        yield db


async def _read(
    pair: Pair, side: Side, queue: str, db: sqlite3.Connection, table: str, on_progress: OnProgress | None
) -> dict[State, int]:
    """Every job of a side into its table; how many of each state."""
    counts: dict[State, int] = {}
    seen = 0
    async for records in pages(pair, side, queue):
        db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", _rows(records))
        for job in records:
            counts[job.state] = counts.get(job.state, 0) + 1
        seen += len(records)
        if on_progress is not None:
            on_progress(Progress(queue=queue, phase=Phase.VERIFY, moved=seen, total=seen, text=f"read at {side.name}"))
    return counts


def _rows(records: Iterable[JobRecord]) -> list[tuple[str, bytes, bool]]:
    return [(job.id, digest(job), is_held(job)) for job in records]


def _compare(db: sqlite3.Connection, said: QueueVerdict) -> None:
    said.source_digest, said.target_digest = _rolled(db, "source"), _rolled(db, "target")
    if said.standing in (Standing.HERE, Standing.LOST):
        differ, said.differ = _found(db, DIFFER)
        mine, said.only_source = _found(db, ONLY.format("source", "target"))
        theirs, said.only_target = _found(db, ONLY.format("target", "source"))
        said.differences = differ + mine + theirs
        if said.source and said.target:
            said.notes.append("it has not moved: both sides are compared as copies, job by job")
        return
    said.differences, said.twice = _found(db, BOTH)
    if said.standing is Standing.MOVED:
        left, said.only_source = _found(db, ONLY.format("source", "target"))
        said.differences += left
        said.notes.append("it has moved: nothing may be left at the source")
    else:
        said.notes.append(f"its move is under way ({said.standing}): only ids on both sides are wrong now")


def _schedules(said: QueueVerdict, mine: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    """Of copies all must be alike; of a queue that has moved none may be left. In between one side's rest."""
    said.source_schedules, said.target_schedules = len(mine), len(theirs)
    apart = set[str]()
    if said.standing in (Standing.HERE, Standing.LOST):
        apart = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
    elif said.standing is Standing.MOVED:
        apart = set(mine)
    said.differences += len(apart)
    said.schedules_apart = sorted(apart)[:DIFFERENCES_SHOWN]


def _rolled(db: sqlite3.Connection, table: str) -> str:
    """sha256 over (id, digest) in the order of the ids."""
    rolled = sha256()
    for name, own in db.execute(f"SELECT id, digest FROM {table} ORDER BY id"):
        rolled.update(name.encode() + b"\0" + own)
    return rolled.hexdigest()


def _found(db: sqlite3.Connection, where: str) -> tuple[int, list[str]]:
    (count,) = db.execute(f"SELECT count(*) {where}").fetchone()
    return count, [name for (name,) in db.execute(f"SELECT s.id {where} ORDER BY s.id LIMIT {DIFFERENCES_SHOWN}")]
