"""Schedules on Redis alone: what calls cost, a server without memory, numbers as they are, and lists of queues."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import redis
from queuekit_redis import RedisStore, backend
from queuekit_redis.keys import queue_keys

from queuekit import QueueFull, ids
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import Fired, Firing, NoFire, ScheduleRecord
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

Q: Final = "q"
FAR: Final = 4_000_000_000_000
NUMBERS: Final = (2**53 - 1, 2**53 - 2, 1_763_802_000_001, 1, 0)  # doubles hold them all; a score has no more
OURS: Final = ("cmdstat_info", "cmdstat_eval", "cmdstat_evalsha")  # the first of a script is sent twice


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One of its own: its memory is limited here, and what it counts is ours alone."""
    with RedisServer() as started:
        yield started


class Side:
    """A store of a fresh namespace, and a client beside it."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        self.namespace = "t" + ids.nonce()[:11]
        self.store = self.another(url)
        self.keys = queue_keys(self.namespace, Q)

    def another(self, url: str) -> RedisStore:
        made = backend.blocking(url, StoreOptions(namespace=self.namespace))
        assert isinstance(made, RedisStore)
        direct(made.open())
        return made

    def put(self, name: str, **said: Any) -> ScheduleRecord:
        fields: dict[str, Any] = {"definition": b"d" * 300, "next": FAR} | said
        return direct(self.store.put_schedule(Q, ScheduleRecord(id=name, queue=Q, **fields)))

    def fire(self, record: ScheduleRecord, *jobs: JobSpec, next_at: int | None = FAR) -> Fired:
        firing = Firing(id=record.id, rev=record.rev, next_at=next_at, jobs=jobs)
        return direct(self.store.fire(Q, [firing]))[0]

    def read(self, name: str) -> ScheduleRecord | None:
        return direct(self.store.get_schedules(Q, [name]))[0]

    def whole(self) -> dict[bytes, Any]:
        """Everything that stands in the queue's keys."""
        found = {}
        for key in sorted(self.client.scan_iter(match="{" + self.namespace + "/" + Q + "}*")):
            kind = self.client.type(key)
            found[key] = (
                self.client.hgetall(key) if kind == b"hash" else self.client.zrange(key, 0, -1, withscores=True)
            )
        return found

    def commands(self, call: Coroutine[Any, Any, Any]) -> dict[str, int]:
        before = self.stats()
        direct(call)
        after = self.stats()
        return {name: calls - before.get(name, 0) for name, calls in after.items() if calls > before.get(name, 0)}

    def stats(self) -> dict[str, int]:
        return {
            name: value["calls"] for name, value in self.client.info("commandstats").items() if name not in OURS
        }  # fmt: skip


@pytest.fixture
def side(server: RedisServer) -> Iterator[Side]:
    made = Side(server.url)
    yield made
    made.client.config_set("maxmemory", "0")
    direct(made.store.close())
    made.client.flushdb()
    made.client.close()


def job(name: str, **said: Any) -> JobSpec:
    return JobSpec(id=name, task="t", body=b"x", **said)


# ---- cost


def firings(records: Sequence[ScheduleRecord]) -> list[Firing]:
    return [Firing(id=one.id, rev=one.rev, next_at=FAR, jobs=(job(f"{one.id}@1"),)) for one in records]


CALLS: dict[str, Callable[[Side], Coroutine[Any, Any, Any]]] = {
    "due, none": lambda side: side.store.due(Q),
    "due, some": lambda side: side.store.due("d"),
    "a page": lambda side: side.store.schedules(Q, "s00100", 50),
    "get": lambda side: side.store.get_schedules(Q, ["s00100", "nobody"]),
    "put": lambda side: side.store.put_schedule(Q, side.read("s00100")),  # type: ignore[arg-type]  # it is there
    "delete": lambda side: side.store.delete_schedule(Q, "s00100"),
    "fire": lambda side: side.store.fire(Q, firings(direct(side.store.schedules(Q, "s00100", 10)))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_runs_as_many_commands_among_many_schedules(side: Side, name: str) -> None:
    counts = []
    for many in (200, 2000):
        records = [ScheduleRecord(id=f"s{n:05}", queue=Q, definition=b"d", rev=1, next=FAR + n) for n in range(many)]
        direct(side.store.take_schedules(Q, 0, records))
        direct(side.store.take_schedules("d", 0, [replace(record, next=record.next) for record in records[:30]]))
        direct(side.store.take_schedules("d", 0, [replace(record, rev=2, next=5) for record in records[:20]]))
        counts.append(side.commands(CALLS[name](side)))
        side.client.flushdb()
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) >= 1


def test_firings_of_a_call_are_one_script(side: Side) -> None:
    records = [side.put(f"s{n:03}") for n in range(100)]
    side.fire(records[0], job("first"))  # the script is known now
    before = side.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    ran = side.commands(side.store.fire(Q, firings(records)))
    assert side.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    assert sum(ran.values()) <= 8 * 100
    assert direct(side.store.count(Q)).states["waiting"] == 100  # type: ignore[index]  # a state is its word
    direct(side.store.fire(Q, []))


def test_a_scripts_text_that_the_server_forgot_is_sent_again(side: Side) -> None:
    record = side.put("s")
    side.client.script_flush()
    assert side.fire(record, job("s@1")).no is None
    side.client.script_flush()
    assert side.fire(record, job("s@1")).no is NoFire.CHANGED


# ---- what is kept


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_are_kept_to_the_last_digit(side: Side, number: int) -> None:
    first = side.put("s", next=number, fired=number, skipped=number)
    assert side.read("s") == first
    assert side.client.zscore(side.keys["due"], "s") == number
    assert direct(side.store.due(Q)).next_at in (number, None)
    direct(side.store.take_schedules(Q, 0, [replace(first, id="t", rev=max(number, 1))]))
    assert side.read("t") == replace(first, id="t", rev=max(number, 1))
    if number < 2**53 - 1:  # one more than that no double holds
        second = side.read("t")
        assert second is not None
        fired = Firing(id="t", rev=second.rev, next_at=number + 1, jobs=(), skipped=0)
        assert direct(side.store.fire(Q, [fired]))[0].no is None
        third = side.read("t")
        assert third is not None
        assert third.rev > second.rev
        assert (third.next, third.fired) == (number + 1, number)


def test_a_firing_rewrites_no_definition(side: Side) -> None:
    record = side.put("s", definition=b"x" * 500_000)
    with side.client.monitor() as monitor:
        assert side.fire(record, job("s@1")).no is None
        side.client.ping()
        ran = [monitor.next_command()["command"]]
        while not ran[-1].startswith("PING"):
            ran.append(monitor.next_command()["command"])
    assert [command.split()[0] for command in ran].count("HSET") == 2  # vars and slots
    assert max(map(len, ran)) < 100_000  # a script that is new to the server among them
    assert (side.read("s") or record).definition == b"x" * 500_000


def test_a_queue_of_schedules_is_named_though_another_process_removed_it(server: RedisServer, side: Side) -> None:
    side.put("s")
    other = side.another(server.url)
    direct(other.obliterate(Q))
    assert direct(side.store.queues()) == []
    side.put("s")
    assert direct(other.queues()) == [Q]
    direct(other.obliterate(Q))
    direct(side.store.take_schedules(Q, 0, [ScheduleRecord(id="t", queue=Q, definition=b"d", rev=5)]))
    assert direct(other.queues()) == [Q]
    direct(other.close())


@pytest.mark.parametrize("end", ["deleted", "obliterated", "gone"])
def test_nothing_is_left_of_schedules_that_are_removed(side: Side, end: str) -> None:
    for name in ("a", "b"):
        side.fire(side.put(name), next_at=7)
    names = ("schedules", "rules", "slots", "due")
    assert side.client.exists(*(side.keys[name] for name in names)) == 4
    if end == "deleted":
        direct(side.store.delete_schedule(Q, "a"))
        direct(side.store.delete_schedule(Q, "b"))
    elif end == "obliterated":
        direct(side.store.obliterate(Q))
    else:
        direct(side.store.authority(Q, 1, "m", Home.MOVING, "far"))
        direct(side.store.authority(Q, 2, "m", Home.GONE, "far"))
    assert side.client.exists(*(side.keys[name] for name in names)) == 0


# ---- a server without memory


def test_a_full_server_lets_schedules_be_paused_and_deleted_and_fires_none(side: Side) -> None:
    record, other, third = side.put("s", next=5), side.put("other", next=5), side.put("third")
    before = side.whole()
    side.client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull, match="out of memory"):
        side.fire(record, job("s@1"))
    with pytest.raises(QueueFull):
        side.fire(other, job("k@1", unique=UniqueKey("k")))
    with pytest.raises(QueueFull):
        side.fire(other)
    with pytest.raises(QueueFull):
        side.put("new")
    with pytest.raises(QueueFull):
        direct(side.store.take_schedules(Q, 0, [ScheduleRecord(id="new", queue=Q, definition=b"d", rev=5)]))
    assert side.whole() == before
    paused = direct(side.store.put_schedule(Q, replace(record, next=None, definition=b"paused")))
    assert direct(side.store.delete_schedule(Q, "other", other.rev)) is True
    assert direct(side.store.schedules(Q)) == [paused, third]
    assert direct(side.store.due(Q)).records == []
    side.client.config_set("maxmemory", "0")
    assert side.fire(paused, job("s@1")).no is None


def test_a_call_of_many_firings_is_applied_as_a_whole_or_not_by_a_full_server(side: Side) -> None:
    records = [side.put(f"s{n}") for n in range(20)]
    skips = [Firing(id=one.id, rev=one.rev, next_at=FAR, skipped=1) for one in records[:10]]
    before = side.whole()
    side.client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        direct(side.store.fire(Q, [*skips, *firings(records[10:])]))
    assert side.whole() == before


def test_firings_that_find_a_queue_full_leave_no_trace_and_others_are_applied(side: Side) -> None:
    direct(side.store.configure(Q, QueueConf(override=Limits(max_size=2))))
    one, two, three = side.put("one"), side.put("two"), side.put("three")
    fits = Firing(id="one", rev=one.rev, next_at=FAR, jobs=(job("one@1"),))
    over = Firing(id="two", rev=two.rev, next_at=FAR, jobs=(job("two@1"), job("two@2")))
    last = Firing(id="three", rev=three.rev, next_at=FAR, jobs=(job("three@1"),))
    said = direct(side.store.fire(Q, [fits, over, last]))
    assert [one.no for one in said] == [None, NoFire.FULL, None]
    assert side.read("two") == two
    assert sorted(side.client.hkeys(side.keys["jobs"])) == [b"one@1", b"three@1"]
