"""A deep queue costs no more commands than a shallow one, and no call does more than its bound, counted by the server.

Seconds are for tests/bench/redis_depth.py: here nothing is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
from queuekit_redis import RedisStore, backend

from queuekit.domain.job import JobRecord, JobSpec, Retention
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

DAY = 86_400_000
DEPTHS = (300, 3000)  # the shallow one has more than any call here takes
PROMOTED = 500  # at most, a call
OURS = ("cmdstat_info", "cmdstat_eval", "cmdstat_evalsha")  # the first of a script is sent twice


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One of its own: what it counts is ours alone."""
    with RedisServer() as started:
        yield started


class Counted:
    """A store, and how many commands of each kind the server ran for a call, those inside scripts among them."""

    def __init__(self, url: str, namespace: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        made = backend.blocking(url, StoreOptions(namespace=namespace))
        assert isinstance(made, RedisStore)
        self.store = made
        self.ahead, self.n = 0, 0
        made.move_clock(lambda: self.ahead)
        direct(made.open())

    def op(self, actor: str) -> Op:
        self.n += 1
        return Op(actor, self.n)

    def fill(self, names: str, many: int, **said: Any) -> None:
        for n in range(0, many, 1000):
            specs = [spec(f"{names}{n + k:06}", **said) for k in range(min(1000, many - n))]
            direct(self.store.enqueue("q", specs, self.op("fill")))

    def take(self, want: int) -> list[JobRecord]:
        return direct(self.store.exchange("q", self.op("w"), [], Ask(want=want))).claims

    def commands(self, call: Coroutine[Any, Any, Any]) -> dict[str, int]:
        before = self.stats()
        direct(call)
        after = self.stats()
        return {name: calls - before.get(name, 0) for name, calls in after.items() if calls > before.get(name, 0)}

    def stats(self) -> dict[str, int]:
        found = self.client.info("commandstats")
        return {name: value["calls"] for name, value in found.items() if name not in OURS}

    def close(self) -> None:
        direct(self.store.close())
        self.client.flushdb()
        self.client.close()


def spec(name: str, **said: Any) -> JobSpec:
    return JobSpec(id=name, task="t", body=b"x", **said)


def done(jobs: list[JobRecord]) -> list[Outcome]:
    return [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in jobs]


def exchange(want: int) -> Callable[[Counted], Coroutine[Any, Any, Any]]:
    """Complete as many as are claimed."""

    def call(side: Counted) -> Coroutine[Any, Any, Any]:
        held = side.take(want)
        return side.store.exchange("q", side.op("w"), done(held), Ask(want=want))

    return call


def renew(side: Counted) -> Coroutine[Any, Any, Any]:
    holds = [Hold(id=job.id, token=job.token or "", progress=b"p") for job in side.take(10)]
    return side.store.renew("q", holds, 30_000)


def recover(side: Counted) -> Coroutine[Any, Any, Any]:
    side.take(20)
    side.ahead += 60_000
    direct(side.store.recover("q", 1, every=DAY))  # the seen time
    return side.store.recover("q", 10, every=DAY)


def change(verb: Verb, names: str) -> Callable[[Counted], Coroutine[Any, Any, Any]]:
    changes = [Change(id=f"{names}{n:06}", verb=verb) for n in (250, 260, 270)]
    return lambda side: side.store.change("q", changes, side.op("c"))


CALLS: dict[str, Callable[[Counted], Coroutine[Any, Any, Any]]] = {
    "enqueue one": lambda side: side.store.enqueue("q", [spec("new")], side.op("p")),
    "enqueue a delayed one": lambda side: side.store.enqueue("q", [spec("new", delay=DAY)], side.op("p")),
    "enqueue many": lambda side: side.store.enqueue("q", [spec(f"new{n}") for n in range(100)], side.op("p")),
    "exchange 1": exchange(1), "exchange 10": exchange(10), "exchange 100": exchange(100),
    "exchange of nothing": lambda side: side.store.exchange("q", side.op("w"), [], Ask()),
    "renew": renew, "recover": recover,
    "count": lambda side: side.store.count("q"),
    "get": lambda side: side.store.get("q", ["a000250", "d000250", "nobody"]),
    "position": lambda side: side.store.position("q", "a000299"),
    "find": lambda side: side.store.find("q", Where(state=State.WAITING, limit=20)),
    "find delayed": lambda side: side.store.find("q", Where(state=State.DELAYED, limit=20)),
    "find completed": lambda side: side.store.find("q", Where(state=State.COMPLETED, limit=20)),
    "cancel": change(Verb.CANCEL, "a"), "promote": change(Verb.PROMOTE, "d"), "delete": change(Verb.DELETE, "a"),
    "prune": lambda side: side.store.prune("q"),
    "prune by age": lambda side: side.store.prune("q", state=State.COMPLETED, older_than=DAY),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_runs_as_many_commands_on_a_deep_queue(server: RedisServer, name: str) -> None:
    counts = []
    for depth in DEPTHS:
        side = Counted(server.url, f"depth{depth}")
        direct(side.store.configure("q", QueueConf(override=Limits(keep_completed=Retention(50)))))  # both are over it
        side.fill("c", depth // 2)
        for _ in range(depth // 2 // 150):
            ended = done(side.take(150))
            direct(side.store.exchange("q", side.op("w"), ended, Ask()))
        side.fill("a", depth)
        side.fill("d", depth, delay=DAY)
        counts.append(side.commands(CALLS[name](side)))
        side.close()
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) >= 1


@pytest.mark.parametrize("due", [400, 1200, 5000])
def test_jobs_due_in_one_millisecond_are_promoted_in_bounded_steps(server: RedisServer, due: int) -> None:
    side = Counted(server.url, "due")
    side.fill("d", due, run_at=4_000_000_000_000)
    side.ahead = 4_000_000_000_000
    steps, most, found = 0, 0, list[str]()
    while True:
        before = direct(side.store.count("q")).states[State.DELAYED]
        ran = side.commands(side.store.exchange("q", side.op("w"), done([]), Ask(want=10)))
        left = direct(side.store.count("q")).states[State.DELAYED]
        assert before - left == min(before, PROMOTED)
        most = max(most, sum(ran.values()))
        steps += 1
        if not left:
            break
    assert steps == -(-due // PROMOTED)
    assert most <= 40, "the commands of a call grow with what it promotes"
    while claims := side.take(500):
        found += [job.id for job in claims]
    assert len(found) == due - 10 * steps
    assert found == sorted(found)
    side.close()
