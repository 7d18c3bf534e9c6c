"""Schedulers, editors and a clock on the model store, all cut off at random calls: judged at each firing.

Jobs are removed as they are made, so that nothing but the record's rev keeps a slot from firing twice.
`python -m tests.torture.slots` is the full form, with millions of slots.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord
from queuekit.domain.scheduled import Definition
from queuekit.errors import Conflict, StoreUnavailable
from queuekit.runtime.firing import Firer
from queuekit.testing import VirtualClock
from queuekit.testing.model import ModelStore, ModelWorld
from tests.runtime.schedules import record

QUEUE = "default"
RULES: tuple[dict[str, Any], ...] = (
    {"every": "1s"}, {"every": "7s"}, {"every": 1.25}, {"cron": "*/5 * * * * *"}, {"cron": "* * * * *"},
    {"every": "3s", "jitter": "2s"}, {"cron": "*/2 * * * *", "timezone": "Europe/Berlin"},
    {"every": "2s", "count": 500},
)  # fmt: skip
GRACES: tuple[dict[str, Any], ...] = (
    {"missed": "all"}, {"missed": "all"}, {"missed": "all", "grace": "30s"}, {}, {"missed": "skip"},
    {"missed": "once", "grace": "10s"},
)  # fmt: skip


OFTEN = 6  # times the risk of other calls that something happens to a firing
TROUBLE = ("lost", "unanswered", "killed before", "killed after")


class Killed(BaseException):
    """The process ended here."""


@dataclass(slots=True)
class Course:
    """What is known of one schedule: its definition, and where its next firing must begin."""

    definition: Definition
    next: int | None
    fired: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Judge:
    """Sees every change at the moment it is made."""

    courses: dict[str, Course] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    slots: int = 0
    skipped: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def put(self, kept: ScheduleRecord) -> None:
        """A definition was written: from here on it holds."""
        self.courses[kept.id] = Course(Definition.load(kept.definition), kept.next, kept.fired, kept.skipped)

    def fired(self, firing: Firing, now: int) -> None:
        """A firing was applied: its slots must be those that follow, none left out but for the grace."""
        course = self.courses.get(firing.id)
        if course is None:
            self.breaches.append(f"{firing.id} fired and is deleted")
            return
        table, anchor, slot = course.definition.timetable, course.definition.anchor, course.next
        passed = 0
        for job in firing.jobs:
            while slot is not None and course.definition.job(firing.id, slot).id != job.id:
                if slot > now or passed > 2_000_000:
                    self.breaches.append(f"{job.id} fired: not after {course.next}, or before its time ({now})")
                    return
                passed += 1
                if table.missed == "all" and (table.grace is None or now - slot <= table.grace):
                    self.breaches.append(f"{firing.id}: slot {slot} was passed over at {now} for {job.id}")
                slot = table.after(slot, anchor)
            if slot is None or slot > now:
                self.breaches.append(f"{job.id} fired at {now}: no such slot has come")
                return
            slot = table.after(slot, anchor)
        self.slots += len(firing.jobs)
        self.skipped += firing.skipped
        course.fired += len(firing.jobs)
        course.skipped += firing.skipped
        if firing.jobs and slot != firing.next_at and not (table.count == course.fired and firing.next_at is None):
            self.breaches.append(f"{firing.id}: goes on at {firing.next_at}, and {slot} comes next")
        course.next = firing.next_at


class Shaky(ModelStore):
    """A store whose calls wait, are lost on their way, lose their answers, or end the caller."""

    def __init__(self, world: ModelWorld, judge: Judge, rng: random.Random, risk: float) -> None:
        super().__init__(world)
        self._judge, self._rng, self._risk = judge, rng, risk

    async def _around(self, name: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        rng = self._rng
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        risk = self._risk * (OFTEN if name == "fire" else 1)
        trouble = rng.choice(TROUBLE) if rng.random() < risk else ""
        if trouble:
            self._judge.faults[f"{name} {trouble}"] += 1
        if trouble == "lost":
            raise StoreUnavailable("the request is lost")
        if trouble == "killed before":
            raise Killed
        said = await act()
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        if trouble == "unanswered":
            raise StoreUnavailable("the answer is lost", outcome="unknown")
        if trouble == "killed after":
            raise Killed
        return said

    async def due(self, queue: str, limit: int = 100) -> Due:
        said: Due = await self._around("due", lambda: super(Shaky, self).due(queue, limit))
        return said

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        async def act() -> list[Fired]:
            said = await super(Shaky, self).fire(queue, firings)
            now = self.world.now()
            for firing, fired in zip(firings, said, strict=True):
                if fired.no is None:
                    self._judge.fired(firing, now)
            self._forget(queue)
            return said

        found: list[Fired] = await self._around("fire", act)
        return found

    def _forget(self, queue: str) -> None:
        """No job is kept: an id that exists must not be what keeps a slot from firing twice."""
        self.world.queue(self.namespace, queue).jobs.clear()

    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        async def act() -> ScheduleRecord:
            kept = await super(Shaky, self).put_schedule(queue, schedule)
            self._judge.put(kept)
            return kept

        found: ScheduleRecord = await self._around("put", act)
        return found

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        async def act() -> bool:
            gone = await super(Shaky, self).delete_schedule(queue, id, rev)
            if gone:
                self._judge.courses.pop(id, None)
            return gone

        said: bool = await self._around("delete", act)
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked of a run."""

    slots: int = 30_000
    schedulers: int = 8
    editors: int = 3
    schedules: int = 24
    risk: float = 0.03
    away: int = 1200  # seconds nobody is there, at most


class Run:
    """One run: coroutines that take turns at random, until enough slots have fired."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size, self.rng = size, random.Random(seed)
        self.clock = VirtualClock()
        self.world = ModelWorld(self.clock.ms)
        self.judge = Judge()
        self.over = False
        self.absences = 0

    def store(self) -> Shaky:
        return Shaky(self.world, self.judge, self.rng, self.size.risk)

    async def scheduler(self) -> None:
        """A worker's firing, begun anew by another worker whenever it was killed."""
        while not self.over:
            firer = Firer(self.store(), QUEUE)
            try:
                while not self.over:
                    try:
                        await firer.round()
                    except StoreUnavailable:
                        pass
                    for _ in range(self.rng.randrange(40)):
                        await asyncio.sleep(0)
            except Killed:
                continue

    async def editor(self, names: Sequence[str]) -> None:
        """Someone who edits, deletes and puts schedules while they fire."""
        while not self.over:
            store, name = self.store(), self.rng.choice(names)
            try:
                for _ in range(self.rng.randrange(40)):
                    await asyncio.sleep(0)
                (stored,) = await store.get_schedules(QUEUE, [name])
                if stored is not None and self.rng.random() < 0.2:
                    await store.delete_schedule(QUEUE, name, self.rng.choice((None, stored.rev)))
                else:
                    new = self.made(name)
                    await store.put_schedule(QUEUE, new if stored is None else replace(new, rev=stored.rev))
            except (Killed, StoreUnavailable, Conflict):
                continue

    def made(self, name: str) -> ScheduleRecord:
        rule = {**self.rng.choice(RULES), **self.rng.choice(GRACES)}
        return record(name, self.clock.ms(), **rule)

    async def time(self) -> None:
        """Small steps, and now and then nobody is there for a while."""
        while self.judge.slots < self.size.slots:
            if self.rng.random() < 0.05:
                self.absences += 1
                self.clock.travel(seconds=self.rng.randrange(5, self.size.away))
            else:
                self.clock.travel(seconds=self.rng.randrange(1, 20_000) / 1000)
            for _ in range(self.rng.randrange(60)):
                await asyncio.sleep(0)
        self.over = True

    async def whole(self) -> None:
        quiet = ModelStore(self.world)
        still = [f"s{n}" for n in range(self.size.schedules)]
        edited = [f"e{n}" for n in range(self.size.schedules // 4)]
        for name in [*still, *edited]:
            self.judge.put(await quiet.put_schedule(QUEUE, self.made(name)))
        await asyncio.gather(
            self.time(), *(self.scheduler() for _ in range(self.size.schedulers)),
            *(self.editor(edited) for _ in range(self.size.editors)),
        )  # fmt: skip
        last = Shaky(self.world, self.judge, self.rng, 0)
        firer = Firer(last, QUEUE)
        while (await firer.round()).more:
            continue
        self._left(await quiet.schedules(QUEUE))

    def _left(self, kept: Sequence[ScheduleRecord]) -> None:
        """What stands at the end is what was seen, and nothing that has come is still due."""
        found, now = {one.id: one for one in kept}, self.clock.ms()
        if found.keys() != self.judge.courses.keys():
            self.judge.breaches.append(f"schedules are {sorted(found)}, not {sorted(self.judge.courses)}")
        for name, course in self.judge.courses.items():
            one = found.get(name)
            if one is None:
                continue
            if (one.next, one.fired, one.skipped) != (course.next, course.fired, course.skipped):
                self.judge.breaches.append(f"{name}: {one} is not what was seen: {course}")
            if one.next is not None and one.next <= now:
                self.judge.breaches.append(f"{name}: slot {one.next} is due at {now} and nobody fires it")


def run(size: Size, seed: int) -> tuple[list[str], dict[str, object]]:
    """One run: what it broke, and its figures."""
    logging.getLogger("queuekit.runtime.scheduler").setLevel(logging.ERROR)
    begun, one = time.monotonic(), Run(size, seed)
    asyncio.run(one.whole())
    judge = one.judge
    said: dict[str, object] = {
        "torture": "slots", "store": "model", "seed": seed, "slots": judge.slots, "skipped": judge.skipped,
        "faults": sum(judge.faults.values()), "of_fire": sum(n for what, n in judge.faults.items() if "fire" in what),
        "absences": one.absences, "seconds": round(time.monotonic() - begun, 1), "breaches": len(judge.breaches),
    }  # fmt: skip
    if not judge.faults or not one.absences:
        judge.breaches.append("0 faults injected: this run proves nothing")
    return judge.breaches, said


def main() -> int:
    """A line of JSON; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=2_000_000)
    parser.add_argument("--risk", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    said = parser.parse_args()
    breaches, figures = run(Size(slots=said.slots, risk=said.risk), said.seed)
    print(json.dumps(figures), flush=True)
    print(*breaches[:20], sep="\n", file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
