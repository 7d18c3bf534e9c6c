"""Two model stores, producers and workers on both, a clock that stands still, and a mover that may die at any call.

Everything is drawn from one seed. The judge reads only what the clients were told.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NoReturn, cast

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.outcome import Ask, Exchange, Home, Kind, Op, Outcome
from queuekit.domain.schedule import FIRE_MAX, Firing, NoFire, ScheduleRecord
from queuekit.domain.state import TERMINAL, State
from queuekit.errors import Arriving, Conflict, Moved, StoreUnavailable
from queuekit.move import Options, Report, Side, abort, move, resume
from queuekit.store.direct import direct
from queuekit.store.parts import MovingStore
from queuekit.testing.model import ModelStore, ModelWorld
from queuekit.testing.model.world import QueueData

QUEUE = "mail"
START = 1_800_000_000_000
_OTHER = {"here": "there", "there": "here"}
EVERY = {"often": 250, "seldom": 900}  # ms; schedules and their rules, each slot of which is to be fired


class Killed(BaseException):
    """The mover's process ended here."""


class Clock:
    """Virtual milliseconds; the mover's waits let the clients work."""

    def __init__(self) -> None:
        self.ms = START
        self.idle: Callable[[], None] = lambda: None

    def now(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.ms += max(1, int(seconds * 1000))
        self.idle()
        await asyncio.sleep(0)

    def monotonic(self) -> float:
        return self.ms / 1000


@dataclass
class Run:
    """One claim of one job, as its worker saw it."""

    store: str
    token: str
    began: int
    ended: int | None = None
    kind: Kind | None = None  # accepted
    lost: bool = False


@dataclass
class History:
    """What the clients were told."""

    created: dict[str, int] = field(default_factory=dict)  # id -> the how-manieth
    key: dict[str, str] = field(default_factory=dict)
    line: dict[str, tuple[int, str]] = field(default_factory=dict)  # priority, side; of jobs that wait in turn
    traceless: set[str] = field(default_factory=set)  # removed when they complete
    runs: defaultdict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    open: Counter[str] = field(default_factory=Counter)  # ends by id
    wrong: list[str] = field(default_factory=list)
    slots: defaultdict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))  # slot, side
    edits: dict[str, bytes] = field(default_factory=dict)  # the definition that was acknowledged last


class Scene:
    """Two worlds and their clients."""

    def __init__(self, seed: int, *, busy: float = 0.7, traceless: float = 0.2) -> None:
        self.seed, self.random, self.busy = seed, random.Random(seed), busy
        self.traceless = traceless  # share of jobs that are removed when they complete
        self.clock = Clock()
        self.clock.idle = self.stir
        self.worlds = {name: ModelWorld(self.clock.now) for name in ("here", "there")}
        self.stores = {name: ModelStore(world) for name, world in self.worlds.items()}
        self.history = History()
        self.n = 0
        self.producers = [Producer(self, f"p{i}", side) for i, side in enumerate(("here", "here", "there"))]
        self.workers = [Worker(self, f"w{i}", side) for i, side in enumerate(("here", "here", "there", "there"))]
        self.schedulers = [Scheduler(self, side) for side in ("here", "here", "there")]
        self.producing = True
        self.resting = ""  # clients of this side do nothing

    def fill(self, jobs: int) -> None:
        """Jobs in every state at the source, before anything moves."""
        for name in EVERY:
            self.schedulers[0].edit(name)
        for _ in range(jobs):
            self.producers[0].step()
        for _ in range(jobs // 4):
            self.workers[self.random.randrange(2)].step()
            self.clock.ms += self.random.randrange(5)

    def stir(self) -> None:
        """Something happens, or nothing."""
        while self.random.random() < self.busy:
            self.clock.ms += self.random.randrange(20)
            clients: list[Worker | Producer | Scheduler] = [*self.workers]
            clients += [*self.producers, *self.schedulers] if self.producing else []
            client = self.random.choice(clients)
            if client.side != self.resting:
                client.step()

    def side(self, name: str, hook: Callable[[str], Awaitable[Callable[[], None]]] | None = None) -> Side:
        store = self.stores[name]
        return Side(store=cast("MovingStore", store if hook is None else Hooked(store, hook)), name=name)

    def ended_behind_the_mover(self) -> bool:
        """Whether the target has all, and the source forgot that it gave it away."""
        here, there = (self.worlds[name].queue("queuekit", QUEUE).conf for name in ("here", "there"))
        return (there.home, there.to) == (Home.HERE, None) and here.home is not Home.GONE

    def arriving(self) -> bool:
        """Whether the target takes in."""
        return self.worlds["there"].peek("queuekit", QUEUE).conf.home is Home.ARRIVING

    def opened(self) -> bool:
        """Whether the target works already."""
        data = self.worlds["there"].peek("queuekit", QUEUE)
        return data.conf.home is Home.HERE and data.conf.epoch > 0

    def drain(self, stay: Collection[str] = ()) -> None:
        """Let the workers run everything that is left; jobs that `stay` at the source are taken away there."""
        here = self.worlds["here"].queue("queuekit", QUEUE)
        if here.conf.home is Home.GONE:
            for name in stay:
                here.jobs.pop(name, None)
        self.producing = False
        for _ in range(4000):
            self.clock.ms += 1000
            for worker in self.workers:
                worker.step(end=True)
            if not any(
                job.state not in TERMINAL and job.state is not State.PARKED
                for world in self.worlds.values()
                for data in world.queues.values()
                for job in data.jobs.values()
            ):
                return
        raise AssertionError("jobs are left that nobody runs")

    def judge(
        self, final: str = "there", *, begun: bool = True, both: Collection[str] = (), exact: bool = True
    ) -> None:
        """Each job that was accepted ended once, in order, and nothing is left at the other side.

        `both` were named as run on both sides; not `exact`: order and totals are not promised.
        """
        said = self.history
        wrong = [text for text in said.wrong if not any(name in text for name in both)]
        if not exact:  # a source that forgot that it gave a key away gives it again
            wrong = [text for text in wrong if "was created while" not in text]
        for name in said.created:
            if name in both:
                continue
            runs = said.runs[name]
            ends = [run for run in runs if run.kind in (Kind.COMPLETED, Kind.FAILED)]
            if len(ends) != 1:
                wrong.append(f"{name} ended {len(ends)} times: {runs}")
            for one, after in pairwise(runs):
                if one.ended is None or after.began < one.ended:
                    wrong.append(f"{name} ran twice at once: {one} {after}")
        wrong += [*self._order(), *self._slots(final)] if exact else []
        data = self.worlds[final].queue("queuekit", QUEUE)
        gone = self.worlds[_OTHER[final]].queue("queuekit", QUEUE)
        done = {name for name in said.traceless if any(run.kind is Kind.COMPLETED for run in said.runs[name])}
        created = set(said.created) - set(both) - done
        if set(data.jobs) - set(both) != created:
            wrong.append(f"lost {created - set(data.jobs)}, extra {set(data.jobs) - created}")
        left = gone.jobs or gone.out or (begun and gone.conf.epoch and gone.conf.home is not Home.GONE)
        if left or (data.conf.home, data.conf.to) != (Home.HERE, None):
            wrong.append(f"left behind: {gone.jobs} {gone.conf} {data.conf}")
        if data.taken_in or data.note:
            wrong.append("the journal was not dropped")
        totals = (data.totals.enqueued, data.totals.completed, data.totals.failed)
        kinds = Counter(run.kind for runs in said.runs.values() for run in runs)
        if exact and totals != (len(said.created), kinds[Kind.COMPLETED], kinds[Kind.FAILED]):
            wrong.append(f"totals {totals}, told {len(said.created)} {kinds}")
        if wrong:
            raise AssertionError("\n".join(wrong))

    def _slots(self, final: str) -> list[str]:
        """Each slot of each schedule made its job once, wherever it fired, and the last edit of each is kept."""
        here, gone = (self.worlds[name].queue("queuekit", QUEUE) for name in (final, _OTHER[final]))
        wrong = [f"schedules left behind: {list(gone.schedules)}"] if gone.schedules and gone.conf.epoch else []
        for name, step in EVERY.items():
            record, fired = here.schedules.get(name), self.history.slots[name]
            if record is None or record.next is None:
                wrong.append(f"schedule {name}: {record}")
                continue
            slots = [slot for slot, _ in fired]
            if sorted(slots) != list(range(START, record.next, step)):
                twice = [slot for slot, times in Counter(slots).items() if times > 1]
                wrong.append(f"schedule {name}: twice {twice}; next {record.next}, slots {fired[-20:]}")
            if record.fired != len(slots):
                wrong.append(f"schedule {name}: {record.fired} fired, {len(slots)} told")
            if record.definition != self.history.edits[name]:
                wrong.append(f"schedule {name}: {record.definition!r}, not {self.history.edits[name]!r}")
        return wrong

    def _order(self) -> list[str]:
        """First runs of jobs that only ever waited follow the order in which they were enqueued at one side."""
        first: dict[tuple[int, str], list[tuple[int, int, str]]] = defaultdict(list)
        for name, line in self.history.line.items():
            runs = self.history.runs[name]
            if runs:
                first[line].append((runs[0].began, self.history.created[name], name))
        wrong = []
        for line, seen in first.items():
            seen.sort()
            ranks = [rank for _, rank, _ in seen]
            if ranks != sorted(ranks):
                bad = next(i for i in range(1, len(ranks)) if ranks[i] < ranks[i - 1])
                wrong.append(f"order of {line}: {seen[bad - 1 : bad + 1]}")
        return wrong


class Hooked:
    """A store whose every call passes the hook: it may die before, and again after the effect."""

    def __init__(self, store: ModelStore, hook: Callable[[str], Awaitable[Callable[[], None]]]) -> None:
        self._store, self._hook = store, hook

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            after = await self._hook(name)
            answer = await verb(*args, **kwargs)
            after()
            return answer

        return call


class Producer:
    """Enqueues as the kit does: follows Moved, asks the other side first where jobs still arrive."""

    def __init__(self, scene: Scene, name: str, side: str) -> None:
        self.scene, self.name, self.side = scene, name, side
        self.n = 0
        self.calls = Counter[str]()

    def step(self) -> None:
        scene = self.scene
        if self.side == "there" and not scene.worlds["there"].peek("queuekit", QUEUE).conf.epoch:
            return  # what enqueues there is started when the move has begun
        spec = self._spec()
        op = self._op()
        try:
            self._enqueue(spec, op)
        except Moved as moved:
            if isinstance(moved, Arriving):
                known = direct(
                    scene.stores[moved.to or ""].known(QUEUE, [spec.id], [spec.unique.key] if spec.unique else [])
                )
                if known is None or known.ids or known.keys:
                    return
                self._enqueue(spec, self._op(), asked=True)
            else:
                self.side = moved.to or self.side

    def _op(self) -> Op:
        self.calls[self.side] += 1
        return Op(self.name, self.calls[self.side])

    def _enqueue(self, spec: JobSpec, op: Op, *, asked: bool = False) -> None:
        scene, said = self.scene, self.scene.history
        reply = direct(scene.stores[self.side].enqueue(QUEUE, [spec], op, asked=asked))
        receipt = reply.receipts[0]
        if not receipt.created:
            return
        if spec.id in said.created:
            said.wrong.append(f"{spec.id} was created twice")
        if spec.unique is not None:
            alive = [n for n, key in said.key.items() if key == spec.unique.key and not self._ended(n)]
            if alive:
                said.wrong.append(f"{spec.id} was created while {alive} hold {spec.unique.key}")
            said.key[spec.id] = spec.unique.key
        said.created[spec.id] = len(said.created)
        if spec.keep_completed is not None:
            said.traceless.add(spec.id)
        if spec.delay is None and not spec.lifo:
            said.line[spec.id] = spec.priority, self.side

    def _ended(self, name: str) -> bool:
        return any(run.kind in (Kind.COMPLETED, Kind.FAILED) for run in self.scene.history.runs[name])

    def _spec(self) -> JobSpec:
        draw, scene = self.scene.random, self.scene
        scene.n += 1
        name = f"j{scene.n:04}" if draw.random() < 0.9 else f"own{draw.randrange(40)}"
        unique = UniqueKey(key=f"k{draw.randrange(6)}") if draw.random() < 0.2 else None
        return JobSpec(
            id=name, task="t", body=b"%d" % scene.n, priority=draw.choice((5, 10, 10, 10)), unique=unique,
            delay=draw.choice((50, 5000)) if draw.random() < 0.15 else None, lifo=draw.random() < 0.05,
            keep_completed=Retention(count=0) if name[0] == "j" and draw.random() < scene.traceless else None,
        )  # fmt: skip


class Scheduler:
    """Fires what is due, every slot that was missed too, and now and then somebody edits one. Follows Moved."""

    def __init__(self, scene: Scene, side: str) -> None:
        self.scene, self.side = scene, side
        self.n = 0

    def step(self) -> None:
        scene, store = self.scene, self.scene.stores[self.side]
        conf = scene.worlds[self.side].peek("queuekit", QUEUE).conf
        if self.side == "there" and not conf.epoch:
            return  # it knows the store that its queues will come from, and leaves their schedules to that
        if conf.home is not Home.HERE:
            self.side = conf.to or self.side
            return
        if scene.random.random() < 0.1:
            self.edit(scene.random.choice(list(EVERY)))
        due = direct(store.due(QUEUE))
        self.fire([self._firing(record, due.now) for record in due.records])

    def fire(self, firings: list[Firing]) -> None:
        """Write down what became of them, as a scheduler would that lives on."""
        scene, said = self.scene, self.scene.history
        for answer, firing in zip(direct(scene.stores[self.side].fire(QUEUE, firings)), firings, strict=True):
            if answer.no is not None:
                assert answer.no is NoFire.CHANGED
                continue
            for spec, receipt in zip(firing.jobs, answer.receipts, strict=True):
                if not receipt.created or spec.id in said.created:
                    said.wrong.append(f"{spec.id} at {self.side}: {receipt}")
                said.created[spec.id] = len(said.created)
                said.slots[firing.id].append((int(spec.id.partition("@")[2]), self.side))

    def _firing(self, record: ScheduleRecord, now: int) -> Firing:
        assert record.next is not None
        slots = range(record.next, now + 1, EVERY[record.id])[:FIRE_MAX]
        jobs = tuple(JobSpec(id=f"{record.id}@{slot}", task="t", body=b"", priority=7) for slot in slots)
        return Firing(id=record.id, rev=record.rev, next_at=slots[-1] + EVERY[record.id], jobs=jobs)

    def edit(self, name: str) -> None:
        """Another definition, written as a person's tool would: only over what was read."""
        store, said = self.scene.stores[self.side], self.scene.history
        (before,) = direct(store.get_schedules(QUEUE, [name]))
        before = before or ScheduleRecord(id=name, queue=QUEUE, definition=b"", next=START)
        said.edits[name] = b"edit %d" % self.scene.clock.ms
        direct(store.put_schedule(QUEUE, replace(before, definition=said.edits[name])))


class Worker:
    """Claims, runs for a while, settles; renews in time. It goes where the queue goes."""

    def __init__(self, scene: Scene, name: str, side: str) -> None:
        self.scene, self.name, self.side = scene, name, side
        self.actor, self.n = name, 0
        self.running: dict[str, Run] = {}

    def step(self, *, end: bool = False) -> None:
        scene, draw = self.scene, self.scene.random
        done = [name for name in self.running if end or draw.random() < 0.4]
        outcomes = [Outcome(name, self.running[name].token, self._kind(end=end), delay=None) for name in done]
        for outcome in outcomes:
            if outcome.kind in (Kind.RETRY, Kind.SNOOZED):
                outcome.delay = draw.choice((0, 0, 300))
        want = draw.randrange(3) if len(self.running) < 4 else 0
        self.n += 1
        op = Op(self.actor, self.n)
        reply: Exchange = direct(scene.stores[self.side].exchange(QUEUE, op, outcomes, Ask(want=want, lease=3_600_000)))
        refused = dict(reply.refused)
        for outcome in outcomes:
            run = self.running.pop(outcome.id)
            run.ended = scene.clock.ms
            if outcome.id in refused:
                scene.history.wrong.append(f"{outcome.id} at {self.side}: {outcome.kind} refused {refused[outcome.id]}")
            else:
                run.kind = outcome.kind
        for job in reply.claims:
            run = Run(self.side, op.token, scene.clock.ms)
            before = scene.history.runs[job.id]
            if any(one.ended is None for one in before):
                scene.history.wrong.append(f"{job.id} claimed at {self.side} while it runs: {before}")
            before.append(run)
            self.running[job.id] = run
            scene.clock.ms += 1

    def _kind(self, *, end: bool) -> Kind:
        if end:
            return Kind.COMPLETED
        return self.scene.random.choice(
            (Kind.COMPLETED, Kind.COMPLETED, Kind.COMPLETED, Kind.FAILED, Kind.RELEASED, Kind.RETRY, Kind.SNOOZED)
        )


@dataclass
class Plan:
    """Where the mover dies, and what else goes wrong."""

    at: int | None = None  # the n-th call
    after: bool = False
    faults: float = 0.0  # share of calls whose request or reply is lost
    keep: int | None = None  # before this call a replica stops hearing of the source (or of `rolls`)
    roll: int | None = None  # and before this one it takes over; the side's clients rest in between
    rolls: str = "here"


class Mover:
    """One process: counts its calls, dies as planned."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self.scene, self.plan = scene, plan
        self.calls: list[str] = []
        self.dead = self.rolled = False
        self.replica: dict[tuple[str, str], QueueData] | None = None

    async def _hook(self, side: str, verb: str) -> Callable[[], None]:
        await asyncio.sleep(0)
        if self.dead:
            self._die()
        self.scene.stir()
        n = len(self.calls)
        self.calls.append(f"{side}.{verb}")
        if n == self.plan.keep:
            self.replica = deepcopy(self.scene.worlds[self.plan.rolls].queues)
            self.scene.resting = self.plan.rolls
        if n == self.plan.roll and self.replica is not None:
            self.scene.worlds[self.plan.rolls].queues = self.replica
            self.replica, self.scene.resting = None, ""
            self.rolled = True
            for _ in range(8):
                self.scene.stir()
        if n == self.plan.at and not self.plan.after:
            self._die()
        lost = self.plan.faults and self.scene.random.random() < self.plan.faults
        if lost and self.scene.random.random() < 0.5:
            raise StoreUnavailable("request lost", outcome="refused")

        def after() -> None:
            self.scene.stir()
            if n == self.plan.at and self.plan.after:
                self._die()
            if lost:
                raise StoreUnavailable("reply lost", outcome="unknown")

        return after

    def _die(self) -> NoReturn:
        self.dead = True
        raise Killed

    def sides(self) -> tuple[Side, Side]:
        scene = self.scene
        return (
            scene.side("here", lambda verb: self._hook("here", verb)),
            scene.side("there", lambda verb: self._hook("there", verb)),
        )

    async def run(self, start: Callable[..., Awaitable[Report]], **options: Any) -> Report | None:
        """The report, or None where it died."""
        source, target = self.sides()
        try:
            return await start(
                source, target, [QUEUE], options=Options(**{"batch": 7, **options}), waiter=self.scene.clock
            )
        except Killed:
            return None


__all__ = ["Conflict", "Mover", "Plan", "Scene", "abort", "move", "resume"]
