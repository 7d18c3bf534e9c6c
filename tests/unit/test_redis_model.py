"""The Redis store and the model store are asked the same for a while, at random, and must answer the same.

Times may differ by what a call takes; everything else is compared, after each step. The seed is in the test's name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import redis
from queuekit_redis import RedisStore, backend

from queuekit import clock, ids
from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where
from queuekit.domain.state import State
from queuekit.errors import QueueKitError
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.model import ModelStore, ModelWorld

Q = "q"
NAMES = [f"j{n}" for n in range(30)]
TIMES = {"created_at", "run_at", "claimed_at", "lease_until", "ended_at", "expires_at"}
STEPS = 120
CLOSE = 240  # ms that a call may take: the clock moves by whole seconds, and no two delays differ by whole ones


def like(a: Any, b: Any) -> bool:
    """Equal, or two times that are close."""
    return bool(a == b or (isinstance(a, int) and isinstance(b, int) and abs(a - b) < CLOSE))


class Pair:
    """Both stores, the clock they share, and what was done so far."""

    apart = frozenset({"place"})  # fields that each store decides by itself

    def __init__(self, url: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = clock.now_ms()
        self.log: list[str] = []
        self.q = Q
        self.ops: dict[str, int] = {}
        self.said: dict[Op, Any] = {}
        self.held: dict[str, list[JobRecord]] = {}
        namespace = "f" + ids.nonce()[:11]
        self.pattern = "{" + namespace + "*"
        world = ModelWorld(lambda: self.now)
        self.model: JobStore = ModelStore(world, namespace=namespace, blocking=True)
        made = backend.blocking(url, StoreOptions(namespace=namespace))
        assert isinstance(made, RedisStore)
        made.move_clock(lambda: self.now - clock.now_ms())
        direct(made.open())
        self.redis: JobStore = made

    def both(self, method: str, *args: Any, **more: Any) -> tuple[Any, Any]:
        """What both answer, or the name of the error."""
        answers = []
        self.log.append(f"{method} {args}")
        for store in (self.model, self.redis):
            try:
                answers.append(direct(getattr(store, method)(*args, **more)))
            except QueueKitError as error:
                answers.append(type(error).__name__)
        return answers[0], answers[1]

    def same(self, a: Any, b: Any, *names: str) -> None:
        """Both answers, or these attributes of them, are alike."""
        if isinstance(a, str) or isinstance(b, str) or not names:
            assert a == b, self.log[-5:]
            return
        for name in names:
            assert like(getattr(a, name), getattr(b, name)), (name, self.log[-5:])

    def same_record(self, a: JobRecord | None, b: JobRecord | None) -> None:
        if a is None or b is None:
            assert a is b, self.log[-5:]
            return
        for field in fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if field.name not in self.apart:  # of places only comparisons inside one store mean anything
                assert like(x, y) if field.name in TIMES else x == y, (a.id, field.name, x, y, self.log[-5:])

    def op(self, actor: str, make: Any) -> tuple[Op, Any]:
        """A new call of an actor, or now and then its last one again; with the same arguments."""
        actor = f"{actor}{self.q}"
        if actor not in self.ops or self.random.random() > 0.1:
            self.ops[actor] = self.ops.get(actor, 0) + 1
        op = Op(actor, self.ops[actor])
        if op not in self.said:
            self.said[op] = make()
        return op, self.said[op]

    def retention(self) -> Retention | None:
        kept = [Retention(0), Retention(2), Retention(None, 50_250), Retention(3, 90_250)]
        return self.random.choice([None, None, None, None, *kept])

    def spec(self) -> JobSpec:
        pick, chance = self.random.choice, self.random.random
        key = None
        if chance() < 0.3:
            key = UniqueKey(
                pick("xyz"), on_conflict=pick(["existing", "replace", "error"]), max_wait=pick([None, 30_500])
            )
            key = pick([key, replace(key, until="started"), replace(key, until="time", ttl=pick([20_250, 90_250]))])
        return JobSpec(
            id=pick(NAMES), task=pick("ab"), body=self.random.randbytes(3), priority=pick([0, 1, 10, 1000]),
            lifo=chance() < 0.2, options=pick([b"", b"o"]), trace=pick([None, "t"]), unique=key,
            keep_completed=self.retention(), keep_failed=self.retention(),
            delay=pick([None, None, 0, 25_250, 75_750]), expires_in=pick([None, None, None, 15_250, 45_250]),
        )  # fmt: skip

    def enqueue(self) -> None:
        actor = self.random.choice(["p1", "p2"])
        op, specs = self.op(actor, lambda: [self.spec() for _ in range(self.random.randint(1, 4))])
        self.same(*self.both("enqueue", self.q, specs, op), "receipts", "replayed")

    def outcome(self, job: JobRecord) -> Outcome:
        pick = self.random.choice
        kind = pick([Kind.COMPLETED] * 4 + list(Kind))
        return Outcome(
            job.id, job.token or "", kind, result=pick([None, b"", b"r"]) if kind is Kind.COMPLETED else None,
            error=b"e" if kind in (Kind.RETRY, Kind.FAILED) else None, reason=pick([None, "why"]),
            delay=pick([None, 0, 25_250]), keep=pick([None, None, self.retention()]), progress=pick([None, None, b"p"]),
            logs=pick([(), (), (b"l1", b"l2")]),
        )  # fmt: skip

    def exchange(self) -> None:
        worker = self.random.choice(["w1", "w2"])

        def make() -> tuple[list[Outcome], Ask]:
            running = self.running(worker)
            ended = [job for job in running if self.random.random() < 0.6]
            self.held[worker + self.q] = [job for job in running if job not in ended]
            outcomes = [outcome for job in ended for outcome in [self.outcome(job)] * self.random.choice([1, 1, 1, 2])]
            suspect = self.random.random() < 0.8
            return outcomes, Ask(want=self.random.randint(0, 5), lease=30_250, suspect=suspect, worker=worker)

        op, (outcomes, ask) = self.op(worker, make)
        a, b = self.both("exchange", self.q, op, outcomes, ask)
        self.same(a, b, "refused", "paused", "next_at", "replayed", "home", "to")
        assert len(a.claims) == len(b.claims), self.log[-5:]
        for x, y in zip(a.claims, b.claims, strict=True):
            self.same_record(x, y)
        if not a.replayed:
            self.held[worker + self.q] = self.running(worker) + a.claims

    def running(self, worker: str) -> list[JobRecord]:
        return self.held.get(worker + self.q, [])

    def renew(self) -> None:
        jobs = self.running(self.random.choice(["w1", "w2"]))
        holds = [Hold(id=job.id, token=job.token or "", progress=b"pp", logs=(b"x",)) for job in jobs]
        self.same(*self.both("renew", self.q, holds, 30_250), "lost", "cancels")

    def recover(self) -> None:
        every = self.random.choice([5250, 100_250])
        self.same(*self.both("recover", self.q, 100, every), "suspects", "crashed", "cancelled", "grace_until")

    def change(self) -> None:
        pick = self.random.choice

        def make() -> list[Change]:
            return [
                Change(
                    id=pick(NAMES), verb=pick(list(Verb)), reason=pick([None, "", "r"]), delay=pick([None, 0, 25_250]),
                    priority=pick([None, 3]), body=pick([None, b"new"]),
                )
                for _ in range(self.random.randint(1, 3))
            ]  # fmt: skip

        op, changes = self.op("c1", make)
        self.same(*self.both("change", self.q, changes, op))

    def configure(self) -> None:
        pick = self.random.choice
        limits = Limits(
            paused=pick([None, None, None, ""]), max_size=pick([None, None, 12]), max_crashes=pick([None, 1, 2]),
            keep_completed=self.retention(), keep_failed=self.retention(),
        )  # fmt: skip
        self.same(*self.both("configure", self.q, replace(direct(self.model.conf(self.q)), override=limits)))

    def look(self) -> None:
        self.same(*self.both("position", self.q, self.random.choice(NAMES)))
        state, pages = self.random.choice(list(State)), list[list[str]]()
        for store in (self.model, self.redis):
            found, cursor, more = list[str](), None, True
            while more:
                page = direct(store.find(self.q, Where(state=state, limit=3, cursor=cursor)))
                found, cursor, more = found + [job.id for job in page.records], page.cursor, page.cursor is not None
            pages.append(found)
        assert pages[0] == pages[1], (state, self.log[-5:])

    def prune(self) -> None:
        self.both("prune", self.q)

    def travel(self) -> None:
        self.now += self.random.choice([1000, 10_000, 20_000, 60_000])

    def compare(self) -> None:
        for a, b in zip(direct(self.model.get(self.q, NAMES)), direct(self.redis.get(self.q, NAMES)), strict=True):
            self.same_record(a, b)
        self.same(
            direct(self.model.count(self.q)), direct(self.redis.count(self.q)), "states", "suspect", "paused", "totals"
        )


@pytest.fixture
def pair(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(redis_url, request.param)
    yield made
    direct(made.redis.close())
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=made.pattern, count=1000):
            client.unlink(key)


@pytest.mark.parametrize("pair", range(12), indirect=True, ids=lambda seed: f"seed{seed}")
def test_whatever_is_asked_the_answer_is_the_models(pair: Pair) -> None:
    steps = {
        pair.enqueue: 25, pair.exchange: 35, pair.renew: 6, pair.recover: 6, pair.change: 10, pair.travel: 6,
        pair.prune: 3, pair.configure: 2, pair.look: 7,
    }  # fmt: skip
    for _ in range(STEPS):
        pair.now += 1000  # no two steps at the same ms: ties would fall differently
        pair.random.choices(list(steps), list(steps.values()))[0]()
        pair.compare()
