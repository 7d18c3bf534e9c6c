"""The mover's verbs of Redis and of the model are asked the same at random, while workers and producers go on.

Two queues of one store play both sides. After each step all that can be seen of both queues must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.store.direct import direct
from tests.unit.test_redis_model import NAMES, Pair, like

SIDES = ("a", "b")
STEPS = 150
BEFORE_ALL = -1_000_000  # no place that a store gave: those differ, and so would what lies between them
MET = {
    *Home, "refused", "checkout", "import", "id", "key", "confirmed", "active", "restored", "unheld", "timed",
}  # fmt: skip


class Movers(Pair):
    """Both stores with two queues, and what a mover of each knows."""

    apart = frozenset({"place", "epoch"})  # the epoch of a job that was not moved means nothing

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(url, seed)
        self.sides = dict.fromkeys(SIDES, Home.HERE)
        self.epochs = dict.fromkeys(SIDES, 0)
        self.by = dict.fromkeys(SIDES, "")
        self.standing: dict[str, tuple[Any, Any]] = {}
        self.out: dict[str, dict[int, list[str]]] = {side: {} for side in SIDES}
        self.luggage: dict[str, list[tuple[Parcel, Parcel]]] = {side: [] for side in SIDES}  # left the other side
        self.keys: dict[str, list[HeldKey]] = {side: [] for side in SIDES}
        self.batch = 0
        self.ranks = 0
        self.hits: set[str] = set()

    @property
    def other(self) -> str:
        return "b" if self.q == "a" else "a"

    def same_parcels(self, many: Any) -> list[tuple[Parcel, Parcel]]:
        a, b = many
        if isinstance(a, str) or isinstance(b, str):
            assert a == b, self.log[-5:]
            return []
        assert [p.record.id for p in a] == [p.record.id for p in b], self.log[-5:]
        for x, y in zip(a, b, strict=True):
            self.same_record(x.record, y.record)
            self.same(x, y, "holds", "awaited")
            assert like(x.key_expires, y.key_expires), self.log[-5:]
        return list(zip(a, b, strict=True))

    def spec(self) -> JobSpec:
        """Now and then a key that is held longer than its job is there."""
        spec = super().spec()
        if self.random.random() < 0.2:
            spec.unique = UniqueKey(self.random.choice("xyz"), until="time", ttl=400_250)
            spec.keep_completed = spec.keep_failed = Retention(0)
        return spec

    def authority(self) -> None:
        pick, side = self.random.choice, self.q
        home = pick([*Home, Home.HERE])
        to = None if home is Home.HERE and self.random.random() < 0.5 else "other"
        epoch = max(self.epochs[side] + pick([1, 1, 1, 0, -1]), 1)
        by = pick([self.by[side], "m2", "m3"])
        add = pick([None, None, Totals(enqueued=3, crashed=1)])
        a, b = self.both("authority", side, epoch, by, home, to, room=pick([0, 0, 50]), add=add)
        if isinstance(a, str) or isinstance(b, str):
            assert a == b, self.log[-5:]
            self.hits.add("refused")
            return
        assert like(a.now, b.now), self.log[-5:]
        assert a.conf == b.conf, self.log[-5:]
        self.epochs[side], self.by[side], self.sides[side], self.standing[side] = epoch, by, home, (a, b)
        self.hits.add(home)

    def epoch(self) -> int:
        return self.epochs[self.q] + self.random.choice([0] * 19 + [1])

    def checkout(self) -> None:
        if self.sides[self.q] is Home.HERE and self.random.random() < 0.8:
            return  # seldom: a mover does not
        known, pick = self.out[self.q], self.random.choice
        batch = pick(list(known)) if known and self.random.random() < 0.3 else self.batch + 1
        self.batch = max(self.batch, batch)
        history, limit = self.random.random() < 0.5, self.random.randint(1, 5)
        found = self.same_parcels(self.both("checkout", self.q, self.epoch(), batch, limit, history=history))
        if found:
            known[batch] = [a.record.id for a, _ in found]
            self.luggage[self.other] += found
            self.hits.add("checkout")

    def bring(self) -> None:
        """What left the other side comes in, in batches of any size; now and then something comes twice."""
        if self.sides[self.q] is Home.HERE and self.q not in self.standing:
            return
        coming = self.luggage[self.q]
        taking = list({pair[0].record.id: pair for pair in coming[: self.random.randint(0, 6)]}.values())
        if self.random.random() < 0.8:
            self.luggage[self.q] = [pair for pair in coming if pair not in taking]
        args: list[list[Parcel]] = [[], []]
        for pair in taking:
            self.ranks += 1
            back = self.random.random() < 0.1
            for i, parcel in enumerate(pair):
                record = replace(parcel.record, place=BEFORE_ALL + self.ranks)
                args[i].append(replace(parcel, record=record, back=back))
        self.batch += 1
        keys, self.keys[self.q] = self.keys[self.q], []
        epoch = self.epoch()
        for _ in range(self.random.choice([1, 1, 2])):
            self.log.append(f"import {self.q} {self.batch} {[p.record.id for p in args[0]]} {keys}")
            answers = []
            for store, parcels in zip((self.model, self.redis), args, strict=True):
                try:
                    answers.append(direct(store.import_batch(self.q, epoch, self.batch, parcels, keys, b"n")))  # type: ignore[attr-defined]  # both have the part
                except Exception as error:
                    answers.append(type(error).__name__)
            self.same(*answers)
        if answers[0] and not isinstance(answers[0], str):
            self.hits |= {clash.why for clash in answers[0]}
        if taking and not answers[0]:
            self.hits.add("import")

    def confirm(self) -> None:
        known, pick = self.out[self.q], self.random.choice
        ids = [pick(NAMES)] if self.random.random() < 0.2 else []
        batch = pick(list(known)) if known else 99
        ids += [name for name in known.get(batch, []) if self.random.random() < 0.9]
        a, b = self.both("confirm", self.q, self.epoch(), batch, ids)
        self.same(a, b, *([] if isinstance(a, str) else ["removed", "active"]))
        if not isinstance(a, str):
            known.pop(batch, None)
            self.out[self.q] = {n: left for n, out in known.items() if (left := [i for i in out if i not in ids])}
            self.hits |= {"confirmed"} if a.removed else set()
            self.hits |= {"active"} if a.active else set()

    def restore(self) -> None:
        known = self.out[self.q]
        batch = self.random.choice(list(known)) if known else 98
        ids = None if self.random.random() < 0.5 else [n for n in known.get(batch, []) if self.random.random() < 0.5]
        a, b = self.both("restore", self.q, self.epoch(), batch, ids)
        self.same(a, b)
        if not isinstance(a, str):
            out = known.pop(batch, [])
            left = [] if ids is None else [name for name in out if name not in ids]
            if left:
                known[batch] = left
            self.hits |= {"restored"} if a else set()

    def unhold(self) -> None:
        a, b = self.both("unhold", self.q, self.epoch(), lose=self.random.random() < 0.5)
        self.same(a, b)
        self.hits |= {"unheld"} if a and not isinstance(a, str) else set()

    def look_at_moves(self) -> None:
        after = self.random.choice(["", "", "j2"])
        running = self.same_parcels(self.both("running", self.q, after, self.random.randint(1, 4)))
        if self.random.random() < 0.5:
            self.luggage[self.other] += running
        keys = self.both("timed_keys", self.q, "", 2)
        assert [(k.key, k.id) for k in keys[0]] == [(k.key, k.id) for k in keys[1]], self.log[-5:]
        self.keys[self.other] += keys[0]
        self.hits |= {"timed"} if keys[0] else set()
        self.same(*self.both("known", self.q, NAMES[::3], ["x", "y", "z"]))

    def watch(self) -> None:
        self.same_record(*self.both("watch", self.q, self.random.choice(NAMES), 0))

    def obliterate(self) -> None:
        if self.random.random() < 0.15:
            a, b = self.both("obliterate", self.q, force=True, limit=1000)
            self.same(a, b)
            if not isinstance(a, str):
                self.out[self.q].clear()
                if self.sides[self.q] is Home.HERE:
                    self.epochs[self.q], self.by[self.q] = 0, ""
                    self.standing.pop(self.q, None)

    def compare(self) -> None:
        was = self.q
        for side in SIDES:
            self.q = side
            super().compare()
            self.same(*self.both("journal", side))
            del self.log[-1]
            a, b = self.both("conf", side)
            del self.log[-1]
            assert a == b, self.log[-5:]
            for batch in range(max(1, self.batch - 3), self.batch + 1):
                self.same(*self.both("taken", side, batch))
                del self.log[-1]
        self.q = was


@pytest.fixture
def movers(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Movers]:
    made = Movers(redis_url, request.param)
    yield made
    direct(made.redis.close())
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=made.pattern, count=1000):
            client.unlink(key)


def steps_of(pair: Movers) -> dict[Any, int]:
    return {
        pair.enqueue: 30, pair.exchange: 25, pair.renew: 4, pair.recover: 6, pair.change: 10, pair.travel: 3,
        pair.prune: 3, pair.configure: 2, pair.look: 5, pair.authority: 14, pair.checkout: 25, pair.bring: 22,
        pair.confirm: 10, pair.restore: 5, pair.unhold: 3, pair.look_at_moves: 10, pair.watch: 4, pair.obliterate: 1,
    }  # fmt: skip


def run(pair: Movers) -> set[str]:
    for _ in range(STEPS):
        pair.now += 1000  # no two steps at the same ms: ties would fall differently
        pair.q = pair.random.choice(SIDES)
        steps = steps_of(pair)
        pair.random.choices(list(steps), list(steps.values()))[0]()
        pair.compare()
    return pair.hits


@pytest.mark.parametrize("movers", range(14), indirect=True, ids=lambda seed: f"seed{seed}")
def test_whatever_a_mover_asks_the_answer_is_the_models(movers: Movers) -> None:
    run(movers)


def test_all_that_can_happen_to_a_mover_happens_in_some_seed(redis_url: str) -> None:
    met = set[str]()
    for seed in range(30, 90):
        pair = Movers(redis_url, seed)
        try:
            met |= run(pair)
        finally:
            direct(pair.redis.close())
        if met >= MET:
            break
    assert met >= MET
