"""An hour of schedules in a minute, on every store: workers killed and paused, definitions edited, then judged.

`python -m tests.torture.hour` is the full form. What may happen is written in schedules' own words in `judge`.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from queuekit import State
from queuekit.domain.query import Where
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition
from queuekit.domain.timetable import slot_name
from queuekit.domain.timetable.table import SKIPPED_MAX
from queuekit.store.direct import direct
from tests.torture.conftest import STORES
from tests.torture.crowd import versions
from tests.torture.director import Director, staging
from tests.torture.fast import Pace
from tests.torture.hour_program import EDITED, EDITS, MARGIN, RULES, edit, made_kit, schedule, work
from tests.torture.program import QUEUE
from tests.torture.records import lines, now

PAGE, MANY = 500, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """How large a run is. Seconds are real ones; time runs `times` as fast."""

    seconds: float = 60.0
    times: int = 60
    workers: int = 8
    editors: int = 20  # MANY of them must come into each other's way
    every: float = 0.5  # between a kill or a pause and the next
    longest: float = 1.5  # a pause
    absence: float = 1.0  # once nobody is there for so long
    lease: float = 240.0  # in the faster time


@dataclass(slots=True)
class Found:
    """What was written down, and what the store holds."""

    schedules: dict[str, ScheduleRecord] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))  # name -> job id -> payload
    states: Counter[str] = field(default_factory=Counter)
    fired: dict[str, int] = field(default_factory=dict)  # job -> when its firing was answered
    twice: list[str] = field(default_factory=list)  # jobs that a firing found made
    ends: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    runs: int = 0
    puts: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))  # name -> (rev, by)
    tried: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # by -> name, edit, when
    conflicts: int = 0
    inside: int = 0  # processes that ended between a firing and its answer


def run(store: str, hour: Hour, seed: int) -> tuple[list[str], dict[str, object]]:
    """One run on one store: what it broke, and its figures."""
    rng = random.Random(seed)
    with staging(store, concurrency=20, lease=hour.lease, grace=hour.lease) as director:
        begun = time.monotonic()
        stage = Stage(director, hour, rng)
        stage.play()
        found = stage.collected()
        breaches = judge(found, stage.anchor)
        if not (stage.kills and stage.pauses and (found.conflicts or hour.editors < MANY)):
            breaches.append("0 faults injected: this run proves nothing")
        said: dict[str, object] = {
            "torture": "hour", "store": store, "seed": seed, "versions": versions(director),
            "hours": round(hour.seconds * hour.times / 3600, 2), "slots": sum(map(len, found.jobs.values())),
            "runs": found.runs, "kills": stage.kills, "pauses": stage.pauses, "killed_in_fire": found.inside,
            "absences": stage.absences, "editor_kills": stage.editor_kills,
            "puts": sum(map(len, found.puts.values())), "conflicts": found.conflicts,
            "seconds": round(time.monotonic() - begun, 1), "breaches": len(breaches),
        }  # fmt: skip
        if breaches:
            print(director.errors()[-4000:], file=sys.stderr)
        return breaches, said


class Stage:
    """Workers and editors on one store, and what happens to them."""

    def __init__(self, director: Director, hour: Hour, rng: random.Random) -> None:
        self.director, self.hour, self.rng = director, hour, rng
        self.pace = Pace(since=now() // 1000, times=hour.times)
        self.kit = made_kit(director.setting, self.pace)
        self.store: Any = self.kit.blocking_store()
        self.anchor = 0
        self.workers: list[str] = []
        self.editors: list[str] = []
        self.kills = self.pauses = self.absences = self.editor_kills = 0

    def play(self) -> None:
        """The hour, then rest."""
        hour, director = self.hour, self.director
        self.anchor = self.pace.now()
        for name, rule in RULES.items():
            direct(self.store.put_schedule(QUEUE, schedule(name, self.anchor, rule, "first")))
        for _ in range(hour.workers):
            self._worker()
        for _ in range(hour.editors):
            self._editor(hour.seconds)
        until = time.monotonic() + hour.seconds
        absent_at = time.monotonic() + hour.seconds * self.rng.uniform(0.3, 0.7)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, hour.every))
            if absent_at < time.monotonic():
                self._all_away()
                absent_at = until + 1
            elif self.rng.random() < 0.6:
                self._kill()
            else:
                self._pause()
            if self.editors and self.rng.random() < 0.5:
                self.director.kill(self.editors.pop(self.rng.randrange(len(self.editors))))
                self.editor_kills += 1
                self._editor(left)
        for name in self.editors:
            assert director.join(name) == 0, director.errors()
        director.wait("every slot that has come was fired", self._caught_up)
        for name in [name for name in self.workers if name in director.live]:
            director.signal(name, signal.SIGTERM)
        for name in self.workers:
            director.join(name)

    def _worker(self) -> None:
        wrong = self.rng.choice((0, -86_400, 7200, 31_536_000))
        self.workers.append(self.director.start_claimant(work, self.pace, wrong))

    def _editor(self, seconds: float) -> None:
        seed = self.rng.randrange(10**9)
        self.editors.append(self.director.start_claimant(edit, self.pace, seed, seconds))

    def _kill(self) -> None:
        """A worker that has fired or run something, so that the machine need not be quick."""
        folder = self.director.setting.folder
        worked = [name for name in self.workers if (folder / f"{name}.log").exists()]
        if not worked:
            return
        victim = self.rng.choice(worked)
        self.workers.remove(victim)
        self.director.kill(victim)
        self.kills += 1
        self._worker()

    def _pause(self) -> None:
        victim = self.rng.choice(self.workers)
        self.director.signal(victim, signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.1, self.hour.longest))
        self.director.signal(victim, signal.SIGCONT)
        self.pauses += 1

    def _all_away(self) -> None:
        """Nobody is there over some slots."""
        self.director.kill(*self.workers)
        self.kills += len(self.workers)
        self.workers.clear()
        time.sleep(self.hour.absence)
        self.absences += 1
        for _ in range(self.hour.workers):
            self._worker()

    def _caught_up(self) -> bool:
        """Whether a quiet look finds nothing that is long due."""
        kept = direct(self.store.schedules(QUEUE))
        return all(one.next is None or one.next > self.pace.now() - 2000 * self.hour.times for one in kept)

    # ------------------------------------------------------------ what is left
    def collected(self) -> Found:
        """All of it; a last worker's firings are in it, since nobody fires any more."""
        found = Found()
        found.schedules = {one.id: one for one in direct(self.store.schedules(QUEUE))}
        for state in State:
            where: Where | None = Where(state=state, limit=PAGE)
            while where is not None:
                page = direct(self.store.find(QUEUE, where))
                for job in page.records:
                    found.states[str(state.value)] += 1
                    found.jobs[job.id.partition("@")[0]][job.id] = json.loads(job.body[1:])
                where = None if page.cursor is None else Where(state=state, limit=PAGE, cursor=page.cursor)
        for path in sorted(self.director.setting.folder.glob("*.log")):
            _read(path, found)
        self.kit.close()
        return found


def _read(path: Path, found: Found) -> None:
    open_call = False
    for at, kind, *words in lines(path):
        if kind == "fire":
            open_call = True
        elif kind == "fired":
            open_call = False
            for word in words[1:]:
                job, _, created = word.rpartition("/")
                if created == "1":
                    found.fired[job] = int(at)
                else:
                    found.twice.append(job)
        elif kind == "start":
            found.runs += 1
        elif kind == "end":
            found.ends[words[0]].append(int(at))
        elif kind == "putting":
            found.tried[words[1]] = words[0], int(words[2]), int(words[3])
        elif kind == "put":
            found.puts[words[0]].append((int(words[2]), words[1]))
        elif kind == "conflict":
            found.conflicts += 1
    found.inside += open_call


# ---------------------------------------------------------------- judging
def judge(found: Found, anchor: int) -> list[str]:
    """What was promised and is not so."""
    breaches = [f"{job} was fired twice" for job in found.twice]
    for name, rule in RULES.items():
        breaches += _course(name, rule, found, anchor)
    for name in EDITED:
        breaches += _edited(name, found)
    breaches += _one_at_once("alone", found)
    return breaches


def _course(name: str, rule: dict[str, Any], found: Found, anchor: int) -> list[str]:
    """A schedule nobody edited: every slot made its job, or is counted as one that made none."""
    kept, made = found.schedules.get(name), found.jobs[name]
    if kept is None:
        return [f"{name} is gone"]
    definition = Definition.load(kept.definition)
    slots: list[int] = []
    slot = definition.timetable.after(anchor, definition.anchor)
    while slot is not None and (kept.next is None or slot < kept.next) and (kept.next or len(slots) < rule["count"]):
        slots.append(slot)
        slot = definition.timetable.after(slot, definition.anchor)
    names = {f"{name}@{slot_name(slot)}" for slot in slots}
    said = [f"{job} is no slot of {name}, or was not due" for job in made.keys() - names]
    if rule.get("missed") == "all":
        said += [f"{job} was missed" for job in sorted(names - made.keys())]
    if kept.fired != len(made):
        said.append(f"{name}: {len(made)} jobs, and {kept.fired} are counted")
    counted = kept.fired + kept.skipped
    if not len(slots) - _uncounted(slots, name, made) <= counted <= len(slots):
        said.append(f"{name}: {len(slots)} slots came; {kept.fired} fired and {kept.skipped} skipped are counted")
    if not slots:
        said.append(f"{name}: no slot came, which proves nothing")
    return said


def _uncounted(slots: list[int], name: str, made: Collection[str]) -> int:
    """Missed slots that need not be counted: a turn counts so many, and nobody may have been there for longer."""
    fired = [n for n, slot in enumerate(slots) if f"{name}@{slot_name(slot)}" in made]
    return sum(max(0, after - before - 1 - SKIPPED_MAX) for before, after in pairwise([-1, *fired, len(slots)]))


def _edited(name: str, found: Found) -> list[str]:
    """A schedule that many edited: each job is one of a definition that somebody wrote; the last one written stands."""
    said = []
    for job, payload in found.jobs[name].items():
        by = found.tried.get(payload["by"])
        if by is None or by[0] != name:
            said.append(f"{job} was made by a definition nobody wrote: {payload}")
            continue
        slot = next((s for s in (_slot(job),) if s is not None), 0)
        table = Definition.load(schedule(name, by[2] + MARGIN, EDITS[by[1]], payload["by"]).definition).timetable
        anchor = by[2] + MARGIN
        if abs((table.after(slot - 1500, anchor) or 0) - slot) > 1500:
            said.append(f"{job} is no slot of the definition that made it")
    kept = found.schedules.get(name)
    if kept is None or not found.puts[name]:
        return said
    by_now = json.loads(Definition.load(kept.definition).form.body[1:])["by"]
    last_rev, last_by = max(found.puts[name])
    answered = {by for puts in found.puts.values() for _, by in puts}
    if by_now != last_by and by_now in answered:
        said.append(f"{name}: {by_now} stands, and {last_by} was written last (rev {last_rev})")
    return said


def _slot(job: str) -> int | None:
    from datetime import UTC, datetime

    text = job.rpartition("@")[2]
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return round(moment.timestamp() * 1000)


def _one_at_once(name: str, found: Found) -> list[str]:
    """No slot was fired while all runs of the slot before it had still to end.

    A worker that was paused hears late that it fired: so slots are compared in their own order, and a late answer only
    hides a breach, it makes none.
    """
    jobs = sorted((job for job in found.jobs[name] if job in found.fired), key=lambda job: _slot(job) or 0)
    said = []
    for before, after in pairwise(jobs):
        ends = found.ends.get(before)
        if ends and min(ends) > found.fired[after]:
            said.append(f"{after} was fired while {before} ran")
    return said


def main() -> int:
    """Every store, one after the other; a line of JSON each. 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=60, help="how much faster time runs")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    said = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    broken = 0
    for store in said.store or STORES:
        breaches, figures = run(store, Hour(seconds=said.seconds, times=said.times), said.seed)
        print(json.dumps(figures), flush=True)
        print(*breaches[:30], sep="\n", file=sys.stderr)
        broken += len(breaches)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
