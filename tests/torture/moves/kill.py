"""The mover killed before and after each of its calls: points, their lives, and the table that must have no hole."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from queuekit.move.values import MovingStore
from tests.torture.moves import firing
from tests.torture.moves.judge import SOURCE, TARGET, Breach, Promises, Rule, check
from tests.torture.moves.load import Load
from tests.torture.moves.sites import Aim, Site
from tests.torture.moves.stage import final, seed

# The middle of a move, where another mode takes over: behind a batch that came in, or before one that only left.
EARLY = (Aim(Site(TARGET, "import_batch", nth=2), after=True), Aim(Site(TARGET, "import_batch", nth=1), after=False))
MODES = {"move": ("start",), "resume": ("start", "resume"), "abort": ("start", "abort")}  # the last one is killed
LASTS = (0.1, 0.2, 0.0, 0.4)  # seconds that long runs go on behind the commit point, by the number of the try
PATIENCE = 150.0  # seconds until a point must have come to rest


@dataclass(slots=True, kw_only=True)
class Lived:
    """One mover's life."""

    killed: bool
    ended: bool = False  # it ended by itself, with a report
    agreed: bool = False  # and both sides agree
    sites: set[Site] = field(default_factory=set)
    doubled: frozenset[str] = frozenset()
    said: str = ""


class Ground(Protocol):
    """Two stores, and movers between them."""

    name: str
    stores: dict[str, MovingStore]
    exact: bool  # totals, and places given within one moment
    skew: int  # µs
    late: int  # µs for which clients of the source may not know that it stopped

    def tick(self) -> int:
        """A moment, later than the one before."""

    async def move(self, queue: str, mode: str, aim: Aim | None) -> Lived:
        """A mover of its own: start, resume or abort."""


@dataclass(slots=True, kw_only=True)
class Played:
    """What became of one queue."""

    breaches: list[Breach]
    lives: list[Lived]
    load: Load
    seconds: float


Script = Callable[[Load], Awaitable[list[Lived]]]  # what happens to a queue while it is under load


async def play(ground: Ground, queue: str, number: int, script: Script, *, ends: str = TARGET) -> Played:
    """One queue under load, what its script does to it, and the verdict."""
    begun = time.monotonic()
    load = Load(ground.stores, queue, number, ground.tick)
    load.pace = 0.05
    await seed(load)
    sides = [load.work(side, f"{side}{n}", slots=2) for side in (SOURCE, TARGET) for n in range(2)]
    workers = [asyncio.create_task(one) for one in (*sides, load.watch_target(LASTS[number % len(LASTS)]))]
    if ground.skew:
        workers.append(asyncio.create_task(load.watch_source()))
    plain = (load.produce(SOURCE, 60), load.produce_there(60), firing.edit(load))
    schedulers = [firing.schedule(load, side) for side in (SOURCE, SOURCE, TARGET)]
    producers = [asyncio.create_task(one) for one in (*plain, *schedulers)]
    lives: list[Lived] = []
    try:
        async with asyncio.timeout(PATIENCE):
            lives = await script(load)
            if not lives[-1].ended:
                raise AssertionError(f"{ground.name} {queue}: the last mover broke down: {lives[-1].said}")
            load.pace = 0.005
            load.quiet.set()
            await asyncio.gather(*producers)
            await load.rested()
            load.over.set()
            await asyncio.gather(*workers)
    except TimeoutError:
        said = f"{load.about}: never came to rest: {await standing(load)}; {[life.said for life in lives[-1:]]}"
        breaches = [Breach(Rule.ENDLESS, queue, said)]
        return Played(breaches=breaches, lives=lives, load=load, seconds=time.monotonic() - begun)
    finally:
        for task in (*workers, *producers):
            task.cancel()
        await asyncio.gather(*workers, *producers, return_exceptions=True)
    await final(load, ends)
    doubled = frozenset[str]().union(*(life.doubled for life in lives))
    promises = Promises(ends=ends, exact_totals=ground.exact, skew=ground.skew, late=ground.late, doubled=doubled)
    if ends == SOURCE:
        promises.least = 0
    breaches = check(load.history, promises)
    if not lives[-1].agreed:
        breaches.append(Breach(Rule.AGREED, queue, lives[-1].said))
    return Played(breaches=breaches, lives=lives, load=load, seconds=time.monotonic() - begun)


def killed_at(ground: Ground, scenario: str, aim: Aim | None, number: int) -> Script:
    """Movers one after the other, the last mode's killed at `aim` and taken up again until it ends by itself."""

    async def script(load: Load) -> list[Lived]:
        modes, load.about = MODES[scenario], f"{scenario}, killed {aim}"
        lives = [await ground.move(load.queue, mode, EARLY[number % 2]) for mode in modes[:-1]]
        lives.append(await ground.move(load.queue, modes[-1], aim))
        if lives[-1].killed:
            last = "abort" if modes[-1] == "abort" else "resume"
            lives.append(await ground.move(load.queue, last, None))
        return lives

    return script


async def standing(load: Load) -> str:
    """Where both sides are, for who must find out why they rest not."""
    lines = []
    for side, store in load.stores.items():
        conf, count, journal = (
            await store.conf(load.queue),
            await store.count(load.queue),
            await store.journal(load.queue),
        )
        states = {state.value: n for state, n in count.states.items() if n}
        lines.append(f"{side}: {conf.home.value} to {conf.to}, epoch {conf.epoch}, {states}, journal {journal}")
    return "; ".join(lines)


class Table:
    """Every point of every pair, and which were hit: of each site the first `calls` calls that a process makes there.

    With `keep`, the history of each move that broke a rule is written to that folder.
    """

    def __init__(self, calls: int = 1, keep: Path | None = None) -> None:
        self.calls = calls
        self._keep = keep
        self.recorded: dict[tuple[str, str], Counter[Site]] = defaultdict(Counter)
        self.recordings: Counter[tuple[str, str]] = Counter()
        self.sites: dict[tuple[str, str], set[Site]] = defaultdict(set)  # by pair, scenario
        self.chosen: dict[str, set[tuple[str, Aim]]] = {}  # where not all of a pair's points are meant
        self.hit: set[tuple[str, str, Aim]] = set()
        self.breaches: list[tuple[str, str, Aim | None, Breach]] = []
        self.moves = 0

    def points_of(self, pair: str, scenario: str) -> list[Aim]:
        """Before and after each site, in a fixed order."""
        sites = sorted(site for site in self.sites[pair, scenario] if site.nth <= self.calls)
        aims = [Aim(site, after) for site in sites for after in (False, True)]
        chosen = self.chosen.get(pair)
        return aims if chosen is None else [aim for aim in aims if (scenario, aim) in chosen]

    def only(self, pair: str, aims: Iterable[tuple[str, Aim]]) -> None:
        """Mean only these points of a pair."""
        self.chosen[pair] = set(aims)

    def add(self, pair: str, scenario: str, aim: Aim | None, played: Played) -> Lived:
        """What one point gave; the life that was aimed at."""
        lived = played.lives[len(MODES[scenario]) - 1 :]
        aimed = lived[0] if lived else Lived(killed=False, said="the move came to no end")
        self.moves += 1
        if aim is None:
            self._learn(pair, scenario, aimed.sites)
        elif aimed.killed:
            self.hit.add((pair, scenario, aim))
        self.breaches += [(pair, scenario, aim, breach) for breach in played.breaches]
        if played.breaches and self._keep is not None:
            told = {
                "point": f"{pair} {scenario} {aim}", "breaches": [str(one) for one in played.breaches],
                "history": asdict(played.load.history),
            }  # fmt: skip
            (self._keep / f"{pair}-{self.moves}.json").write_text(json.dumps(told))
        return aimed

    def _learn(self, pair: str, scenario: str, found: set[Site]) -> None:
        """Every site that a recording met; of its later calls those that all of them made: some depend on chance."""
        self.recordings[pair, scenario] += 1
        self.recorded[pair, scenario].update(found)
        known = self.sites[pair, scenario]
        self.sites[pair, scenario] = {site for site in known | found if site.nth == 1 or site in known & found}
        if not known:
            self.sites[pair, scenario] = found

    def chance(self) -> list[str]:
        """First calls of a site that some recordings met and others did not."""
        return [
            f"{pair} {scenario} {site}: met by {met} of {self.recordings[pair, scenario]} movers"
            for (pair, scenario), counts in sorted(self.recorded.items())
            for site, met in sorted(counts.items())
            if site.nth == 1 and met < self.recordings[pair, scenario]
        ]

    def missed(self) -> list[str]:
        """Points that no mover died at."""
        return [
            f"{pair} {scenario} {aim}"
            for pair, scenario in sorted(self.sites)
            for aim in self.points_of(pair, scenario)
            if (pair, scenario, aim) not in self.hit
        ]

    def __str__(self) -> str:
        """A row a site and scenario, a column a pair: points hit of points there are."""
        pairs = sorted({pair for pair, _ in self.sites})
        rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: {pair: [0, 0] for pair in pairs})
        for pair, scenario in self.sites:
            for aim in self.points_of(pair, scenario):
                site = aim.site
                cell = rows[f"{scenario}: {site.side}.{site.step} ({site.where})"][pair]
                cell[0] += (pair, scenario, aim) in self.hit
                cell[1] += 1
        width = max(map(len, rows), default=0)
        lines = [" ".join([f"{'site':{width}}", *(f"{pair:>15}" for pair in pairs)])]
        for name in sorted(rows):
            cells = [f"{hit}/{all_}" if all_ else "-" for hit, all_ in rows[name].values()]
            lines.append(" ".join([f"{name:{width}}", *(f"{cell:>15}" for cell in cells)]))
        return "\n".join(lines)


async def one_move(ground: Ground, queue: str, scenario: str, aim: Aim | None, number: int) -> Played:
    """A move or an abort, its mover killed at one of its calls, or at none."""
    ends = SOURCE if scenario == "abort" else TARGET
    return await play(ground, queue, number, killed_at(ground, scenario, aim, number), ends=ends)


async def record(
    ground: Ground, table: Table, scenarios: Iterable[str], name: Callable[[], str], times: int = 3
) -> None:
    """Take the list of sites from movers that live."""
    for scenario in scenarios:
        for number in range(times):
            played = await one_move(ground, name(), scenario, None, number)
            table.add(ground.name, scenario, None, played)


async def strike(
    ground: Ground, table: Table, points: Sequence[tuple[str, Aim]], name: Callable[[], str], *, lanes: int = 4,
    tries: int = 12, seconds: float = 3600.0,
) -> None:  # fmt: skip
    """Kill at each of these points, some at once; a point that a move did not come by is tried again."""
    left, deadline = iter(points), time.monotonic() + seconds

    async def lane() -> None:
        for scenario, aim in left:
            if time.monotonic() > deadline:
                return  # what is left counts as missed
            for number in range(tries):
                try:
                    played = await one_move(ground, name(), scenario, aim, number)
                except AssertionError as error:
                    table.breaches.append((ground.name, scenario, aim, Breach(Rule.ENDLESS, "the move", str(error))))
                    break
                if table.add(ground.name, scenario, aim, played).killed or not played.lives:
                    break

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())


def names(prefix: str = "q") -> Callable[[], str]:
    """Queue names that are never used again."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"
