"""What only the MongoDB store does with schedules: locks, workers that stop in the middle, and what a call costs."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from pymongo import monitoring
from queuekit_mongo import commands, slots
from queuekit_mongo.backend import backend
from queuekit_mongo.blocking import BlockingPort
from queuekit_mongo.store import MongoStore
from queuekit_mongo.store.locks import SILENT, Held, Lock

from queuekit import ids
from queuekit.domain.job import KEEP_NOTHING, JobSpec, UniqueKey
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.query import Where
from queuekit.domain.schedule import Fired, Firing, NoFire, ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import Conflict, Moved, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import MongoServer
from tests.unit.test_mongo_store import Standalone

Q, HOUR = "q", 3_600_000
MODES = ("replica", "standalone")


@pytest.fixture(scope="module")
def urls(mongo_server: MongoServer) -> Iterator[dict[str, str]]:
    with Standalone(binary=mongo_server.binary) as alone:
        yield {"replica": mongo_server.url, "standalone": alone.url}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stores:
    """Stores of one namespace, whose clocks are put forward together."""

    def __init__(self, url: str) -> None:
        self.url, self.ahead, self.made = url, 0, list[MongoStore]()
        self.options = StoreOptions(namespace="s" + secrets.token_hex(5))

    def open(self) -> MongoStore:
        store = backend.blocking(self.url, self.options, shift=lambda: self.ahead)
        self.made.append(store)
        direct(store.open())
        return store

    def documents(self, store: MongoStore) -> list[dict[str, Any]]:
        """All that stands among the jobs of the queue: jobs and stubs."""
        port: Any = store.room.port
        name = store.room.names.job(Q, "")
        return list(port._database[store.room.names.prefix].find({"_id": {"$gte": name, "$lt": name + "~"}}))


@pytest.fixture
def stores(urls: dict[str, str], mode: str) -> Iterator[Stores]:
    made = Stores(urls[mode])
    yield made
    for store in made.made:
        direct(store.close())


@pytest.fixture
def one(stores: Stores) -> MongoStore:
    return stores.open()


@pytest.fixture
def other(stores: Stores) -> MongoStore:
    return stores.open()


def put(store: MongoStore, id: str = "s", **said: Any) -> ScheduleRecord:
    fields: dict[str, Any] = {"id": id, "queue": Q, "definition": b"d", "next": 5}
    return direct(store.put_schedule(Q, ScheduleRecord(**(fields | said))))


def spec(id: str, **said: Any) -> JobSpec:
    return JobSpec(**({"id": id, "task": "t", "body": b"j{}"} | said))


def firing(record: ScheduleRecord, *jobs: JobSpec, **said: Any) -> Firing:
    fields: dict[str, Any] = {"id": record.id, "rev": record.rev, "next_at": record.next, "jobs": jobs}
    return Firing(**(fields | said))


def fire(store: MongoStore, *firings: Firing) -> list[Fired]:
    return direct(store.fire(Q, firings))


def read(store: MongoStore, id: str = "s") -> ScheduleRecord:
    (found,) = direct(store.get_schedules(Q, [id]))
    assert found is not None
    return found


def waiting(store: MongoStore) -> list[str]:
    return [job.id for job in direct(store.find(Q, Where(state=State.WAITING))).records]


def run_all(store: MongoStore) -> list[str]:
    """Run what waits; nothing of it is kept."""
    actor = ids.nonce()
    claims = direct(store.exchange(Q, Op(actor, 1), (), Ask(want=100))).claims
    ends = [Outcome(job.id, f"{actor}:1", Kind.COMPLETED, keep=KEEP_NOTHING) for job in claims]
    assert not direct(store.exchange(Q, Op(actor, 2), ends, Ask())).refused
    return [job.id for job in claims]


class Heard(monitoring.CommandListener):
    """The commands of a client, each a round trip."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing more to note."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing more to note."""


async def no_totals(queue: str, *, age: float = 0.0) -> None:
    """They stay where they are."""


@pytest.fixture
def heard(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> tuple[MongoStore, list[str]]:
    """A store, and the commands it sends."""
    listener = Heard()
    monkeypatch.setitem(import_module("queuekit_mongo.backend")._CLIENT, "event_listeners", [listener])
    store = stores.open()
    store.room.flush = no_totals  # type: ignore[method-assign]  # they go when they are due, so not in every run
    return store, listener.names


# ------------------------------------------------------------------ what a call costs


def test_a_firing_costs_a_few_round_trips_whatever_it_holds(
    mode: str, heard: tuple[MongoStore, list[str]], other: MongoStore
) -> None:
    """Of 200 schedules with a job each as of one."""
    store, names = heard
    whole = ["update", "find", "insert", "update", "commitTransaction"]
    apart = ["update", "find", "find", "insert", "update", "update", "update"]
    for many in (1, 200):
        records = [put(other, f"s{n}-{many}") for n in range(many)]
        names.clear()
        fired = fire(store, *(firing(record, spec(f"{record.id}@1")) for record in records))
        assert [one.no for one in fired] == [None] * many
        assert names == (whole if mode == "replica" else apart)


def test_who_comes_second_is_told_in_three_round_trips(heard: tuple[MongoStore, list[str]], other: MongoStore) -> None:
    store, names = heard
    record = put(other)
    assert fire(other, firing(record, spec("a")))[0].no is None
    names.clear()
    assert fire(store, firing(record, spec("b")))[0].no is NoFire.CHANGED
    assert names == ["update", "find", "find"]


def test_due_is_one_round_trip(heard: tuple[MongoStore, list[str]], other: MongoStore) -> None:
    store, names = heard
    for n in range(5):
        put(other, f"s{n}", next=n)
    names.clear()
    assert [record.id for record in direct(store.due(Q, 2)).records] == ["s0", "s1"]
    assert names == ["aggregate"]


def test_due_reads_one_message_however_large_what_is_due_is(
    heard: tuple[MongoStore, list[str]], other: MongoStore
) -> None:
    store, names = heard
    size = 512 * 1024
    for n in range(40):  # 20 MiB
        put(other, f"s{n:02}", next=n + 1, definition=b"x" * size)
    names.clear()
    due = direct(store.due(Q, 100))
    assert [record.id for record in due.records] == [f"s{n:02}" for n in range(len(due.records))]
    assert sum(len(record.definition) for record in due.records) <= 4 * 1024 * 1024
    assert due.next_at == len(due.records) + 1
    assert names == ["aggregate", "killCursors"]


# ------------------------------------------------------------------ workers that stop


class Stop(BaseException):
    """The worker is gone: nothing it would have done next is done."""


@contextmanager
def at_command(store: MongoStore, at: int, happens: Callable[[], object], *, behind: bool = False) -> Iterator[None]:
    """Let something happen before, or behind, a store's command number `at`, in a transaction or not."""
    plain, mine, sent = BlockingPort.run, store.room.port, [0]

    async def run(self: Any, command: Any, session: Any = None) -> Any:
        if self.client is not mine.client:  # type: ignore[attr-defined]
            return await plain(self, command, session)
        sent[0] += 1
        now = sent[0] == at
        if now and not behind:
            happens()
        told = await plain(self, command, session)
        if now and behind:
            happens()
        return told

    BlockingPort.run = run  # type: ignore[method-assign]
    try:
        yield
    finally:
        BlockingPort.run = plain  # type: ignore[method-assign]


def stop() -> None:
    raise Stop


def stopped(store: MongoStore, at: int, *, behind: bool, call: Callable[[], object]) -> bool:
    """Whether a store that stops at this command did so."""
    with at_command(store, at, stop, behind=behind):
        try:
            call()
        except Stop:
            return True
    return False


def test_a_firing_cut_anywhere_makes_its_job_once(stores: Stores, other: MongoStore) -> None:
    """The next one comes 1 s later, the job runs, nothing of it is kept, and it is fired again by who saw it due."""
    at = 0
    went_on = True
    while went_on:
        at += 1
        for behind in (False, True):
            record = put(other, f"s{at}{behind}", next=5)
            job = spec(f"{record.id}@5", unique=UniqueKey(record.id))
            store = stores.open()
            went_on = stopped(store, at, behind=behind, call=lambda: fire(store, firing(record, job, next_at=None)))  # noqa: B023
            stores.ahead += SILENT + 1
            ran = []
            for due in direct(other.due(Q)).records:
                assert (
                    fire(other, firing(due, spec(f"{due.id}@5", unique=UniqueKey(due.id)), next_at=None))[0].no is None
                )
            ran += run_all(other)
            stores.ahead += HOUR
            assert (direct(other.due(Q)).records, run_all(other), ran) == ([], [], [job.id]), (at, behind)
            assert (read(other, record.id).fired, read(other, record.id).last_job) == (1, job.id)
    assert at > 3


@pytest.mark.parametrize("mode", ["standalone"], indirect=True)
def test_a_worker_that_wakes_minutes_later_makes_no_job_again(stores: Stores, other: MongoStore) -> None:
    """It slept before each of its calls in turn; meanwhile another one fired, the job ran, and its stub went."""
    at, slept = 0, True
    while slept:
        at, slept = at + 1, False
        record, store = put(other, f"s{at}"), stores.open()
        ran: list[str] = []

        def meanwhile() -> None:
            nonlocal slept
            slept = True
            stores.ahead += SILENT + 1
            for due in direct(other.due(Q)).records:
                fire(other, firing(due, spec(f"{due.id}@5"), next_at=None))
            ran.extend(run_all(other))  # noqa: B023
            stores.ahead += HOUR
            direct(other.prune(Q))

        with at_command(store, at, meanwhile):
            fire(store, firing(record, spec(f"{record.id}@5"), next_at=None))
        ran += run_all(other)
        assert ran == [f"s{at}@5"], at
        assert (read(other, record.id).fired, direct(other.due(Q)).records) == (1, [])
        direct(other.prune(Q))
        stores.ahead += HOUR
        direct(other.prune(Q))
        assert stores.documents(other) == [], at
    assert at > 5


@pytest.mark.parametrize("mode", ["standalone"], indirect=True)
def test_a_worker_whose_lock_was_taken_over_takes_no_pending_job_away(
    stores: Stores, other: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes at each moment of the one that took over: its job would be set free by nobody."""
    at, woke = 0, True
    while woke:
        at, woke = at + 1, False
        record, job, late = put(other, f"s{at}"), spec(f"s{at}@5"), stores.open()

        def wakes() -> None:
            nonlocal woke
            woke, believed = True, iter([True])

            async def take(self: Lock, wanted: Any, session: Any = None) -> Held:
                if not next(believed, False):
                    raise Stop  # it has seen that the lock is not its own
                return Held(mine=set(wanted))

            with monkeypatch.context() as patch, suppress(Stop):
                patch.setattr(Lock, "take", take)
                fire(late, firing(record, job, next_at=None))  # noqa: B023

        with at_command(other, at, wakes):
            assert fire(other, firing(record, job, next_at=None))[0].no is None
        assert (run_all(other), read(other, record.id).fired) == ([job.id], 1), at
    assert at > 5


@pytest.mark.parametrize("mode", ["standalone"], indirect=True)
def test_a_slot_that_fires_just_before_its_lock_is_broken_has_its_job(
    stores: Stores, one: MongoStore, other: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker dies behind the firing, the mover has looked already: who reads the queue next has both."""
    record, looked, fired = put(other), threading.Event(), threading.Event()
    plain = slots.break_locks

    def waits(queue: str) -> Any:
        looked.set()
        assert fired.wait(60)
        return plain(queue)

    def moves() -> None:
        mover.start()
        assert looked.wait(60)

    monkeypatch.setattr(slots, "break_locks", waits)
    mover = threading.Thread(target=lambda: direct(other.authority(Q, 1, "m", Home.MOVING, "far")))
    with at_command(one, 5, moves):  # before the schedule is written
        assert stopped(one, 5, behind=True, call=lambda: fire(one, firing(record, spec("j"), next_at=None)))
    fired.set()
    mover.join(60)
    assert (read(other).fired, waiting(other)) == (1, ["j"])


@pytest.mark.parametrize("mode", ["replica"], indirect=True)
@pytest.mark.parametrize("call", ["find", "insert", "bulk"])
def test_a_worker_that_sleeps_in_its_transaction_holds_up_nobody(
    stores: Stores, one: MongoStore, other: MongoStore, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is ended by who comes a second later, and it finds that its slot was fired."""
    record = put(other)
    asleep, awake = threading.Event(), threading.Event()
    mine = threading.get_ident()
    plain = getattr(BlockingPort, call)

    async def sleeping(self: Any, *args: Any, **said: Any) -> Any:
        told = await plain(self, *args, **said)
        if self.session is not None and threading.get_ident() != mine and not awake.is_set():
            asleep.set()
            assert awake.wait(60)
        return told

    monkeypatch.setattr(BlockingPort, call, sleeping)
    told: list[Fired] = []
    worker = threading.Thread(target=lambda: told.extend(fire(one, firing(record, spec("slow"), next_at=7))))
    worker.start()
    try:
        assert asleep.wait(60)
        stores.ahead += SILENT + 1
        assert fire(other, firing(record, spec("fast"), next_at=6))[0].no is None
    finally:
        awake.set()
        worker.join(60)
    assert [fired.no for fired in told] == [NoFire.CHANGED]
    assert (waiting(other), read(other).next, read(other).fired) == (["fast"], 6, 1)


def test_a_lock_of_a_live_call_is_waited_for(stores: Stores, one: MongoStore, other: MongoStore) -> None:
    """Who comes second meanwhile is told what became of it, by who came first."""
    record = put(other)
    assert stopped(one, 1, behind=True, call=lambda: fire(one, firing(record, spec("a"))))
    later = stores.open()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        stores.ahead += 100

    later.room.port.sleep = sleep  # type: ignore[method-assign]
    assert fire(later, firing(record, spec("b")))[0].no is None
    assert 1 <= len(slept) <= SILENT // 100 + 1
    assert waiting(other) == ["b"]


def test_a_lock_that_was_taken_over_stands_twice_as_long(stores: Stores, one: MongoStore, other: MongoStore) -> None:
    """On a server on which each call takes a second, nobody would come through."""
    record = put(other)
    assert stopped(one, 1, behind=True, call=lambda: fire(one, firing(record, spec("a"))))
    for times in (2, 4):
        stores.ahead += times * SILENT // 2 + 1
        thief = stores.open()
        assert stopped(thief, 5, behind=False, call=lambda: fire(thief, firing(record, spec("b"))))  # noqa: B023
        port: Any = thief.room.port
        (doc,) = port._database[thief.room.names.collection("schedules")].find(
            {"_id": f"{thief.room.names.queue(Q)}/s"}
        )
        assert doc["lock"]["for"] == times * SILENT
    stores.ahead += 4 * SILENT
    assert fire(other, firing(record, spec("c"), next_at=9))[0].no is None
    assert waiting(other) == ["c"]


def test_an_edit_and_a_removal_of_a_schedule_that_is_being_fired(stores: Stores, other: MongoStore) -> None:
    """Cut behind each call: the firing counts or it does not, and its job with it."""
    for at in range(1, 9):
        for verb in ("put", "delete"):
            record, store = put(other, f"{verb}{at}"), stores.open()
            cut = stopped(
                store,
                at,
                behind=True,
                call=lambda: fire(store, firing(record, spec(f"{record.id}@5"), next_at=6)),  # noqa: B023
            )
            if cut:
                stores.ahead += SILENT + 1
            now = read(other, record.id)
            if verb == "put":
                put(other, record.id, rev=now.rev, definition=b"new", next=None)
                assert read(other, record.id).definition == b"new"
            else:
                assert direct(other.delete_schedule(Q, record.id, now.rev))
            stores.ahead += SILENT + 1
            assert direct(other.due(Q)).records == []
            assert waiting(other) == ([f"{record.id}@5"] if now.fired else []), (at, verb)
            run_all(other)


# ------------------------------------------------------------------ a mover comes


@pytest.mark.parametrize("home", [Home.MOVING, Home.ARRIVING, Home.GONE])
def test_a_firing_is_before_a_change_of_home_or_refused(
    stores: Stores, one: MongoStore, other: MongoStore, home: Home
) -> None:
    """The mover comes before each of its calls in turn."""
    at, came = 0, True
    while came:
        at, came = at + 1, False
        queue = f"q{at}"
        record = direct(other.put_schedule(queue, ScheduleRecord(id="s", queue=queue, definition=b"d", next=5)))
        seen: list[tuple[list[Any], list[str]]] = []

        def mover() -> None:
            nonlocal came
            came = True
            direct(other.authority(queue, 1, "m", home, "far"))  # noqa: B023
            seen.append(state(other, queue))  # noqa: B023

        store = stores.open()
        with at_command(store, at, mover):
            try:
                (told,) = direct(store.fire(queue, [firing(record, spec("a"), next_at=6)]))
            except Moved:
                told = Fired(id="s", no=NoFire.CHANGED)
        if not came:
            break
        assert state(other, queue) == seen[0], at  # nothing came behind the mover
        records, jobs = seen[0]
        assert (len(jobs) == 1) == (told.no is None), at
        if home is not Home.GONE:
            assert [(r.next, r.fired) for r in records] == [(6, 1) if jobs else (5, 0)]
    assert at > 4


def state(store: MongoStore, queue: str) -> tuple[list[Any], list[str]]:
    return (
        direct(store.schedules(queue)),
        [job.id for job in direct(store.find(queue, Where(state=State.WAITING))).records],
    )


@pytest.mark.parametrize("verb", ["put", "edit", "delete"])
def test_a_write_is_before_a_change_of_home_or_refused(stores: Stores, other: MongoStore, verb: str) -> None:
    at, came = 0, True
    while came:
        at, came = at + 1, False
        queue = f"q{at}"
        first = ScheduleRecord(id="a", queue=queue, definition=b"d", next=5)
        record = direct(other.put_schedule(queue, first))
        seen: list[list[ScheduleRecord]] = []

        def mover() -> None:
            nonlocal came
            came = True
            direct(other.authority(queue, 1, "m", Home.MOVING, "far"))  # noqa: B023
            seen.append(direct(other.schedules(queue)))  # noqa: B023

        store = stores.open()
        call: Callable[[], Any] = {
            "put": lambda: direct(store.put_schedule(queue, replace(first, id="b"))),  # noqa: B023
            "edit": lambda: direct(store.put_schedule(queue, replace(record, definition=b"n"))),  # noqa: B023
            "delete": lambda: direct(store.delete_schedule(queue, "a")),  # noqa: B023
        }[verb]
        with at_command(store, at, mover):
            try:
                call()
            except Moved:
                assert came
        if came:
            assert direct(other.schedules(queue)) == seen[0], at
    assert at > 2


# ------------------------------------------------------------------ what comes late


def test_a_removal_that_comes_late_meets_nothing_that_came_after(stores: Stores, one: MongoStore) -> None:
    """Of a queue that was gone and came back with the same records."""
    kept = put(one)
    sent: list[Callable[[], Any]] = []
    port: Any = one.room.port
    plain = port.delete

    async def slow(room: str, filter: dict[str, Any]) -> int:
        if room == "schedules" and "doomed" in filter:
            sent.append(lambda: direct(plain(room, filter)))
            raise StoreUnavailable("no answer", outcome="unknown")
        return int(await plain(room, filter))

    port.delete = slow
    with pytest.raises(StoreUnavailable):
        direct(one.authority(Q, 1, "m", Home.GONE, "far"))
    port.delete = plain
    direct(one.authority(Q, 1, "m", Home.GONE, "far"))
    assert direct(one.schedules(Q)) == []
    direct(one.authority(Q, 2, "m", Home.ARRIVING, "far"))
    direct(one.take_schedules(Q, 2, [kept]))
    sent[0]()
    assert direct(one.schedules(Q)) == [kept]


def test_a_removal_removes_what_another_one_marked_meanwhile(one: MongoStore, other: MongoStore) -> None:
    """Which may die before it removes anything, or be a late request of this very call."""
    put(one)
    port: Any = one.room.port
    plain = port.delete

    async def crossed(room: str, filter: dict[str, Any]) -> int:
        if room == "schedules":
            await other.room.port.bulk(room, [slots.doom(other.room.names.queue(Q), "another's")])
        return int(await plain(room, filter))

    port.delete = crossed
    direct(one.obliterate(Q))
    port.delete = plain
    assert direct(other.schedules(Q)) == []


@pytest.mark.parametrize("mode", ["standalone"], indirect=True)
def test_a_key_that_another_job_took_meanwhile_is_not_held_twice(stores: Stores, other: MongoStore) -> None:
    """Between a firing and its jobs a key is free; who takes it then has it, and the slot makes none."""
    record, store = put(other), stores.open()
    key = UniqueKey("k")
    taken: list[bool | None] = []

    def meanwhile() -> None:
        told = direct(other.enqueue(Q, [spec("mine", unique=key)], Op(ids.nonce(), 1)))
        taken.append(told.receipts[0].created)

    with at_command(store, 7, meanwhile):  # before it sets its jobs free
        assert fire(store, firing(record, spec("b"), spec("a", unique=key), next_at=None))[0].no is None
    assert taken == [True]
    assert sorted(waiting(other)) == ["b", "mine"]
    assert {doc["_id"].rpartition("/")[2] for doc in stores.documents(other)} == {"b", "mine"}


@pytest.mark.parametrize("mode", ["replica"], indirect=True)
def test_a_server_that_lets_nobody_end_sessions_is_waited_for(
    stores: Stores, one: MongoStore, other: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = put(other)
    assert stopped(one, 1, behind=True, call=lambda: fire(one, firing(record, spec("a"))))
    stores.ahead += SILENT + 1
    port: Any = other.room.port
    plain, asked = port.command, list[str]()

    async def denied(command: Any) -> Any:
        asked.append(next(iter(command)))
        return await plain({"noSuchCommand": 1})

    port.command = denied
    assert fire(other, firing(record, spec("b")))[0].no is None
    assert asked in ([], ["killSessions"])


def test_an_empty_place_that_a_dead_call_left_is_none(stores: Stores, one: MongoStore, other: MongoStore) -> None:
    """A call that was to put a new schedule, and died: nobody sees one, and the next call takes its place."""
    assert stopped(one, 2, behind=True, call=lambda: put(one))
    assert (direct(other.schedules(Q)), direct(other.get_schedules(Q, ["s"])), direct(other.due(Q)).next_at) == (
        [],
        [None],
        None,
    )
    stores.ahead += SILENT + 1
    with pytest.raises(Conflict):
        put(other, rev=7)
    assert direct(other.delete_schedule(Q, "s")) is False
    assert put(other).rev > 0
    assert [record.id for record in direct(other.schedules(Q))] == ["s"]


# ------------------------------------------------------------------ plans


def test_ten_thousand_schedules_cost_due_no_more_than_ten(mode: str, stores: Stores, one: MongoStore) -> None:
    port: Any = one.room.port
    names = one.room.names
    key, room = names.queue(Q), port._database[names.collection("schedules")]
    room.insert_many(
        {"_id": f"{key}/s{n:05}", "queue": key, "definition": b"d", "rev": 1, "fired": 0, "skipped": 0, "next": n + 1}
        for n in range(10_000)
    )
    late = None if mode == "replica" else 5
    pipe = slots.due(names.collection("schedules"), key, 5000, 10, unfinished=late)
    parts = [stage["$unionWith"]["pipeline"] for stage in pipe.stages if "$unionWith" in stage]
    keys = [looked(port, names.collection("schedules"), part) for part in parts]
    assert keys == [(1, 0), *[(0, 0)] * (len(parts) - 2), (11, 11)]
    for find, most in ((slots.page(key, "s00500", 10), 11), (slots.these([f"{key}/s00001"]), 1)):
        asked = commands.find(names.collection("schedules"), find)
        stats = port._database.command({"explain": asked, "verbosity": "executionStats"})["executionStats"]
        assert stats["totalKeysExamined"] <= most
    room.delete_many({"queue": key})


def looked(port: Any, room: str, stages: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """(keys, documents) a pipeline looks at."""
    asked = {"aggregate": room, "pipeline": list(stages), "cursor": {}}
    told = port._database.command({"explain": asked, "verbosity": "executionStats"})
    stats = told["stages"][0]["$cursor"]["executionStats"] if "stages" in told else told["executionStats"]
    return stats["totalKeysExamined"], stats["totalDocsExamined"]


@pytest.mark.parametrize("mode", ["replica"], indirect=True)
def test_a_key_of_a_job_that_came_when_the_queue_was_gone_keeps_no_slot(stores: Stores, one: MongoStore) -> None:
    """Its producer was told so, and it is removed where it is met: the slot makes its own job."""
    port: Any = one.room.port
    names = one.room.names
    direct(one.authority(Q, 1, "m", Home.GONE, "far"))
    stranded = {
        "_id": names.job(Q, "late"), "queue": names.queue(Q), "part": 0, "task": "t", "body": b"", "priority": 100,
        "state": "waiting", "line": 1, "place": 1, "created_at": 1, "rev": 1, "epoch": 0, "op": "x:1", "unique": "k",
        "uniq": {"key": "k", "until": "finished", "on_conflict": "existing"}, "care": True,
    }  # fmt: skip
    port._database[names.prefix].insert_one(stranded)
    direct(one.authority(Q, 2, "m", Home.ARRIVING, "far"))
    direct(one.authority(Q, 3, "m", Home.HERE, None))
    (fired,) = fire(one, firing(put(one), spec("a", unique=UniqueKey("k"))))
    assert [(receipt.id, receipt.created) for receipt in fired.receipts] == [("a", True)]
    assert waiting(one) == ["a"]


def test_a_schedule_put_in_a_deleted_ones_place_in_the_same_millisecond_is_another(one: MongoStore) -> None:
    now = one.room.now()
    one.room.now = lambda: now  # type: ignore[method-assign]
    first = put(one)
    assert direct(one.delete_schedule(Q, "s"))
    second = put(one)
    assert (first.rev, second.rev) == (now, now + 1)
    assert fire(one, firing(first, spec("a")))[0].no is NoFire.CHANGED
