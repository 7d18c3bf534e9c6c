"""The embedded store when things go wrong: a lock held, a full disk, a file removed, a caller gone, a disk asleep."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuekit import clock
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend, files, ops, port, replies, transact
from queuekit.errors import QueueFull, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

QUICKLY = StoreOptions(timeout=150)
FULL = 60  # pages of a disk that is full


def job(name: str, body: bytes = b"") -> JobSpec:
    return JobSpec(id=name, task="t", body=body)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/q.db"


@pytest.fixture
def store(url: str) -> Iterator[EmbeddedStore]:
    made = backend.blocking(url, QUICKLY)
    direct(made.open())
    yield made
    direct(made.close())


@pytest.fixture
def other_program(store: EmbeddedStore) -> Iterator[sqlite3.Connection]:
    """A connection the store knows nothing of, as another process has."""
    conn = sqlite3.connect(direct(store.ping()).where, isolation_level=None)
    yield conn
    conn.close()


def test_a_lock_held_too_long_is_refused_in_time_and_harms_nothing(
    store: EmbeddedStore, other_program: sqlite3.Connection
) -> None:
    other_program.execute("BEGIN IMMEDIATE")
    before = clock.monotonic()
    with pytest.raises(StoreUnavailable, match="for the whole timeout") as caught:
        direct(store.enqueue("q", [job("a")], Op("p", 1)))
    assert caught.value.outcome == "refused"
    assert 0.1 < clock.monotonic() - before < 5
    assert direct(store.count("q")).states[State.WAITING] == 0  # reading waits for nobody
    other_program.execute("COMMIT")
    assert direct(store.enqueue("q", [job("a")], Op("p", 1))).receipts[0].created


async def test_a_lock_held_too_long_is_refused_to_a_loop_that_goes_on_meanwhile(
    url: str, store: EmbeddedStore, other_program: sqlite3.Connection
) -> None:
    loop_store = backend.asynchronous(url, QUICKLY)
    await loop_store.open()
    other_program.execute("BEGIN IMMEDIATE")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    turning = asyncio.ensure_future(turn())
    with pytest.raises(StoreUnavailable) as caught:
        await loop_store.enqueue("q", [job("a")], Op("p", 1))
    turning.cancel()
    assert caught.value.outcome == "refused"
    assert turns > 5
    other_program.execute("COMMIT")
    await loop_store.close()


def test_a_call_that_waits_gets_the_lock_when_it_is_free(
    store: EmbeddedStore, other_program: sqlite3.Connection
) -> None:
    other_program.execute("BEGIN IMMEDIATE")
    release = threading.Event()
    threading.Timer(0.05, release.set).start()
    answers: list[object] = []
    caller = threading.Thread(
        target=lambda: answers.append(direct(store.enqueue("q", [job("a")], Op("p", 1))).receipts[0].created)
    )
    caller.start()
    release.wait(5)
    other_program.execute("COMMIT")
    caller.join(5)
    assert answers == [True]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether the file may grow. SQLite answers as it does when the disk is full."""
    limit, made = [FULL], list[sqlite3.Connection]()
    plain = files.connect

    def connect(*args: object, **kwargs: object) -> sqlite3.Connection:
        conn = plain(*args, **kwargs)  # type: ignore[arg-type]  # handed on as it came
        conn.execute(f"PRAGMA max_page_count = {limit[0]}")
        made.append(conn)
        return conn

    def full(yes: bool) -> None:
        limit[0] = FULL if yes else 1_000_000
        for conn in made:
            try:
                conn.execute(f"PRAGMA max_page_count = {limit[0]}")
            except sqlite3.ProgrammingError:  # closed meanwhile
                continue

    monkeypatch.setattr(files, "connect", connect)
    return full


def test_a_full_disk_refuses_producers_loses_nothing_and_goes_on_when_freed(
    url: str, full_disk: Callable[[bool], None]
) -> None:
    store = backend.blocking(url, QUICKLY)
    direct(store.open())
    n = 0

    def fill() -> None:
        nonlocal n
        while True:
            n += 1
            direct(store.enqueue("q", [job(f"{n}-{i}", b"x" * 900) for i in range(10)], Op("p", n)))

    with pytest.raises(QueueFull, match="its disk is full"):
        fill()
    kept = 10 * (n - 1)
    assert kept > 0
    assert direct(store.count("q")).states[State.WAITING] == kept
    full_disk(False)
    assert direct(store.enqueue("q", [job(f"{n}-{i}", b"x" * 900) for i in range(10)], Op("p", n))).receipts[9].created
    claims = direct(store.exchange("q", Op("w", 1), [], Ask(want=1000))).claims
    assert len(claims) == kept + 10
    direct(store.close())


def test_a_worker_on_a_full_disk_hears_that_nothing_happened_and_may_repeat(
    url: str, full_disk: Callable[[bool], None]
) -> None:
    store = backend.blocking(url, QUICKLY)
    direct(store.open())
    full_disk(False)
    direct(store.enqueue("q", [job(f"{i}", b"x" * 900) for i in range(300)], Op("p", 1)))
    claims = direct(store.exchange("q", Op("w", 1), [], Ask(want=300))).claims
    ends = [Outcome(c.id, c.token or "", Kind.COMPLETED, result=b"r" * 200_000) for c in claims]
    full_disk(True)
    with pytest.raises(StoreUnavailable) as caught:
        direct(store.exchange("q", Op("w", 2), ends, Ask()))
    assert caught.value.outcome == "refused"
    assert not isinstance(caught.value, QueueFull)
    full_disk(False)
    reply = direct(store.exchange("q", Op("w", 2), ends, Ask()))
    assert (reply.refused, reply.replayed) == ([], False)
    assert direct(store.count("q")).totals.completed == 300
    direct(store.close())


def remove(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        os.unlink(path + suffix)


def test_writes_to_a_removed_file_are_refused_not_lost(store: EmbeddedStore, url: str) -> None:
    direct(store.enqueue("q", [job("a")], Op("p", 1)))
    path = direct(store.ping()).where
    remove(path)
    with pytest.raises(StoreUnavailable, match="is gone") as caught:
        direct(store.enqueue("q", [job("b")], Op("p", 2)))
    assert caught.value.outcome == "refused"
    assert not Path(path).exists()
    direct(backend.blocking(url, QUICKLY).open())
    assert direct(store.enqueue("q", [job("b")], Op("p", 2))).receipts[0].created
    fresh = sqlite3.connect(path)
    assert fresh.execute("SELECT id FROM jobs").fetchall() == [("b",)]
    fresh.close()


def test_a_file_that_took_the_place_of_ours_is_ours_from_the_next_call_on(store: EmbeddedStore, url: str) -> None:
    direct(store.enqueue("q", [job("a")], Op("p", 1)))
    path = direct(store.ping()).where
    remove(path)
    files.prepare(Path(path), timeout=5)  # another process made it anew
    assert direct(store.enqueue("q", [job("b")], Op("p", 2))).receipts[0].created
    fresh = sqlite3.connect(path)
    assert fresh.execute("SELECT id FROM jobs").fetchall() == [("b",)]
    fresh.close()


async def test_a_waiting_worker_finds_the_file_that_took_the_place_of_its_own(url: str, store: EmbeddedStore) -> None:
    waiter = backend.asynchronous(url, QUICKLY)
    await waiter.open()
    await waiter.wait(["q"], 0)
    waiting = asyncio.ensure_future(waiter.wait(["q"], 20_000))
    await asyncio.sleep(0.05)  # the watching thread has looked at the old file
    remove(direct(store.ping()).where)
    direct(store.open())
    direct(store.enqueue("q", [job("a")], Op("p", 1)))
    assert await asyncio.wait_for(waiting, 10) == ["q"]
    await waiter.close()


async def test_a_cancelled_call_is_done_once_or_not_at_all(url: str, store: EmbeddedStore) -> None:
    loop_store = backend.asynchronous(url, QUICKLY)
    await loop_store.open()
    for n in range(1, 60):
        call = asyncio.ensure_future(loop_store.enqueue("q", [job(f"j{n}")], Op("p", n)))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            again = await loop_store.enqueue("q", [job(f"j{n}")], Op("p", n))
            assert again.receipts[0].created
    counts = await loop_store.count("q")
    assert (counts.states[State.WAITING], counts.totals.enqueued) == (59, 59)
    await loop_store.close()


async def test_a_disk_that_does_not_answer_is_reported_and_a_repeat_hears_what_was_done(
    url: str, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "SPARE", 0.0)
    awake = threading.Event()
    plain = transact.transact

    def slow(conn: sqlite3.Connection, *rest: object) -> object:
        awake.wait(10)
        return plain(conn, *rest)  # type: ignore[arg-type]  # handed on as it came

    loop_store = backend.asynchronous(url, StoreOptions(timeout=1000))
    await loop_store.open()
    monkeypatch.setattr(transact, "transact", slow)
    with pytest.raises(StoreUnavailable, match="did not answer in time") as caught:
        await loop_store.enqueue("q", [job("a")], Op("p", 1))
    assert caught.value.outcome == "unknown"
    awake.set()
    again = await loop_store.enqueue("q", [job("a")], Op("p", 1))
    assert again.receipts[0].created
    assert (await loop_store.count("q")).totals.enqueued == 1
    await loop_store.close()


async def test_calls_that_share_a_commit_are_refused_each_alone(
    url: str, other_program: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_store = backend.asynchronous(url, StoreOptions(timeout=5000))
    await loop_store.open()
    commits, plain = list[int](), transact.transact

    def counted(conn: sqlite3.Connection, *rest: object) -> object:
        commits.append(1)
        return plain(conn, *rest)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(transact, "transact", counted)
    other_program.execute("BEGIN IMMEDIATE")
    key = UniqueKey("k", on_conflict="error")
    calls = [loop_store.enqueue("q", [job(f"j{n}"), job(f"k{n}")], Op(f"p{n}", 1)) for n in range(30)]
    calls += [
        loop_store.enqueue("q", [JobSpec(id=f"u{n}", task="t", body=b"", unique=key)], Op(f"u{n}", 1)) for n in range(3)
    ]
    waiting = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0.05)
    other_program.execute("COMMIT")
    said = await waiting
    assert [type(answer).__name__ for answer in said] == ["Enqueued"] * 31 + ["Conflict"] * 2
    assert len(commits) <= 3
    counts = await loop_store.count("q")
    assert (counts.states[State.WAITING], counts.totals.enqueued) == (61, 61)
    await loop_store.close()


async def test_a_call_that_is_refused_before_it_writes_spoils_none_of_its_commit(
    url: str, other_program: sqlite3.Connection
) -> None:
    loop_store = backend.asynchronous(url, StoreOptions(timeout=5000))
    await loop_store.open()
    await loop_store.enqueue("q", [job("a")], Op("p", 1))
    assert len((await loop_store.exchange("q", Op("w", 5), [], Ask(want=1))).claims) == 1
    other_program.execute("BEGIN IMMEDIATE")
    waiting = asyncio.gather(
        loop_store.enqueue("q", [job("b")], Op("p", 2)),  # this one alone waits for the lock
        loop_store.enqueue("q", [job("c")], Op("o", 1)),
        loop_store.exchange("q", Op("w", 4), [], Ask(want=1)),
        loop_store.enqueue("q", [job("d")], Op("n", 1)),
        return_exceptions=True,
    )
    await asyncio.sleep(0.05)
    other_program.execute("COMMIT")
    assert [type(answer).__name__ for answer in await waiting] == ["Enqueued", "Enqueued", "Stale", "Enqueued"]
    assert (await loop_store.count("q")).states[State.WAITING] == 3
    await loop_store.close()


async def test_a_call_that_breaks_in_the_middle_leaves_nothing_in_the_commit_it_shares(
    url: str, other_program: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ops.remember

    def broken(conn: sqlite3.Connection, q: int, op: Op, *rest: object) -> None:
        if op.actor == "p2":  # its jobs are written by now
            raise ZeroDivisionError
        plain(conn, q, op, *rest)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(ops, "remember", broken)
    loop_store = backend.asynchronous(url, StoreOptions(timeout=5000))
    await loop_store.open()
    await loop_store.enqueue("q", [job("first")], Op("p0", 1))
    other_program.execute("BEGIN IMMEDIATE")
    waiting = asyncio.gather(
        *(loop_store.enqueue("q", [job(f"a{n}"), job(f"b{n}")], Op(f"p{n}", 2)) for n in range(4)),
        return_exceptions=True,
    )
    await asyncio.sleep(0.05)
    other_program.execute("COMMIT")
    said = [type(answer).__name__ for answer in await waiting]
    assert said == ["Enqueued", "Enqueued", "ZeroDivisionError", "Enqueued"]
    assert await loop_store.get("q", ["a2", "b2"]) == [None, None]
    counts = await loop_store.count("q")
    assert (counts.states[State.WAITING], counts.totals.enqueued) == (7, 7)
    await loop_store.close()


@pytest.mark.parametrize(
    ("code", "committing", "outcome"),
    [
        (sqlite3.SQLITE_IOERR, True, "unknown"),  # the sync failed: what is on the disk nobody knows
        (sqlite3.SQLITE_IOERR, False, "refused"),
        (sqlite3.SQLITE_BUSY, True, "refused"),
        (sqlite3.SQLITE_CORRUPT, True, "unknown"),
    ],
)
def test_only_a_commit_that_broke_on_the_disk_is_unknown(code: int, committing: bool, outcome: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    said = replies.translate(error, Path("/q.db"), committing=committing)
    assert isinstance(said, StoreUnavailable)
    assert said.outcome == outcome


async def test_calls_that_share_a_commit_on_a_full_disk_did_nothing_and_may_be_repeated(
    url: str, full_disk: Callable[[bool], None]
) -> None:
    loop_store = backend.asynchronous(url, QUICKLY)
    await loop_store.open()
    bodies = [[job(f"{n}-{i}", b"x" * 900) for i in range(5)] for n in range(40)]

    def all_of_them() -> asyncio.Future[list[object]]:
        calls = [loop_store.enqueue("q", jobs, Op(f"p{n}", 1)) for n, jobs in enumerate(bodies)]
        return asyncio.gather(*calls, return_exceptions=True)

    said = await all_of_them()
    kept = sum(not isinstance(answer, BaseException) for answer in said)
    assert {type(answer).__name__ for answer in said} >= {"QueueFull"}
    assert (await loop_store.count("q")).states[State.WAITING] == 5 * kept
    full_disk(False)
    again = await all_of_them()
    assert [type(answer).__name__ for answer in again] == ["Enqueued"] * 40
    assert (await loop_store.count("q")).states[State.WAITING] == 200
    await loop_store.close()


def test_text_that_utf8_cannot_carry_spoils_no_call(store: EmbeddedStore) -> None:
    direct(store.enqueue("q", [job("a"), job("b")], Op("p", 1)))
    took = direct(store.exchange("q", Op("w", 1), [], Ask(want=2, worker="w\udc80"))).claims
    odd = "no\x00w \ud800 \u2028 é \"'"
    ends = [Outcome(claim.id, claim.token or "", Kind.FAILED, reason=odd) for claim in took]
    assert direct(store.exchange("q", Op("w", 2), ends, Ask())).refused == []
    a = direct(store.get("q", ["a"]))[0]
    assert a is not None
    assert (a.reason, a.worker) == (odd.replace("\ud800", "\\ud800"), "w\\udc80")


def test_a_retry_tells_the_others_when_it_is_due(store: EmbeddedStore, url: str) -> None:
    """The worker that made it may be gone by then."""
    direct(store.enqueue("q", [job("a")], Op("p", 1)))
    claim = direct(store.exchange("q", Op("w", 1), [], Ask(want=1))).claims[0]
    idle = backend.blocking(url, QUICKLY)
    direct(idle.wait(["q"], 0))
    assert direct(idle.wait(["q"], 0)) == []
    again = Outcome("a", claim.token or "", Kind.RETRY, delay=60_000)
    direct(store.exchange("q", Op("w", 2), [again], Ask()))
    assert direct(idle.wait(["q"], 5_000)) == ["q"]
    direct(idle.close())


def threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("queuekit-embedded")}


async def test_a_closed_store_leaves_no_thread_and_no_open_file(url: str, tmp_path: Path) -> None:
    before = threads()
    loop_store = backend.asynchronous(url, QUICKLY)
    await loop_store.open()
    await loop_store.wait(["q"], 1)
    await loop_store.close()
    await loop_store.close()
    for thread in threads() - before:
        thread.join(5)
    assert threads() == before
    assert opened_in(tmp_path) == []


def opened_in(folder: Path) -> list[str]:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [where for link in links if os.path.islink(link) and (where := os.readlink(link)).startswith(str(folder))]


def test_a_forgotten_async_store_gives_its_thread_back(url: str) -> None:
    before = threads()

    async def forget() -> None:
        loop_store = backend.asynchronous(url, QUICKLY)
        await loop_store.open()
        await loop_store.count("q")

    asyncio.run(forget())
    gc.collect()
    for thread in threads() - before:
        thread.join(5)
    assert threads() == before


def test_a_store_closes_when_ctrl_c_came_as_its_thread_started(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Thread.start` waits for the thread to tell that it runs: there a KeyboardInterrupt comes out of it."""
    waits = backend.blocking(url, QUICKLY)
    direct(waits.open())

    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            direct(waits.wait(["q"], 50))
    direct(waits.close())


def test_an_idle_worker_writes_nothing(store: EmbeddedStore, other_program: sqlite3.Connection) -> None:
    """Each write makes every process that waits look up: idle workers would keep each other awake."""
    direct(store.enqueue("q", [JobSpec(id="a", task="t", body=b"", delay=10**6)], Op("p", 1)))
    direct(store.exchange("q", Op("w", 1), [], Ask(want=5)))

    def version() -> int:
        return int(other_program.execute("PRAGMA data_version").fetchone()[0])

    before = version()
    for n in range(2, 5):
        assert direct(store.exchange("q", Op("w", n), [], Ask(want=5))).claims == []
    assert version() == before
    direct(store.exchange("q", Op("w", 5), [Outcome("a", "w:1", Kind.COMPLETED)], Ask(want=5)))
    assert version() != before


def test_a_sleeping_store_wakes_nobody_and_costs_next_to_nothing(store: EmbeddedStore, url: str) -> None:
    direct(store.enqueue("q", [job("a")], Op("p", 1)))
    direct(store.wait(["q"], 0))
    direct(store.wait(["q"], 2500))  # past the time of quick looks
    shares: list[float] = []
    while len(shares) < 3 and (not shares or min(shares) >= 0.02):  # other threads of this process may be at work
        busy, before = time.process_time(), clock.monotonic()
        assert direct(store.wait(["q"], 2000)) == []
        shares.append((time.process_time() - busy) / (clock.monotonic() - before))
    assert min(shares) < 0.02, shares  # 0.2 % where nothing else runs
