"""Producers and workers on both sides of a move, each written down call by call; over the seam alone, no kit.

They do what a kit does that knows both stores: follow `Moved`, ask the source on `Arriving`. A call whose outcome is
unknown is made again with the same number until it is known, so every history is complete.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from queuekit import ids
from queuekit.domain.job import JobRecord, JobSpec, UniqueKey
from queuekit.domain.limits import QueueConf
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Home, Kind, Op, Outcome, Receipt
from queuekit.domain.state import State
from queuekit.errors import Arriving, Moved, StoreUnavailable
from queuekit.move.values import MovingStore
from tests.torture.moves.judge import ENDS, OTHER, SOURCE, TARGET, Asked, History, Run

R = TypeVar("R")
LEASE = 600_000  # ms: nobody dies here, so nothing runs out
RENEWED = 20  # exchanges of a worker from one renewal to the next
WHO = PRODUCERS, WORKERS = "producers", "workers"
PRIORITIES = (3, 5, 5, 5)
LONG = "long"  # jobs whose first run lasts until the target has opened
FORGOTTEN = "forgotten"  # a job of which nothing is kept but its key, which is held for a time
GIVEN_BACK = "long1"  # and of these, the one whose worker is told to end
TRACELESS = "long2"  # and the one of which nothing is kept once it completed


class Load:
    """One queue's clients. `history` grows while they work."""

    def __init__(self, stores: dict[str, MovingStore], queue: str, seed: int, tick: Callable[[], int]) -> None:
        self.stores = stores
        self.queue = queue
        self.history = History()
        self.about = ""  # what is done to it, for who must find out why it rests not
        self.failed_over = 0  # when the source's other server took over
        self.quiet = asyncio.Event()  # producers stop
        self.over = asyncio.Event()  # all has ended: workers stop
        self.opened = asyncio.Event()  # long runs may end
        self.crashes: set[str] = set()  # workers that shall die with what they hold
        self.leases: dict[str, int] = {}  # ms, of workers that will die
        self.held: dict[str, int] = {}  # how much they have
        self.keepers: set[str] = set()  # workers that end nothing
        self._awake = {(side, who): asyncio.Event() for side in OTHER for who in WHO}
        self._busy = dict.fromkeys(OTHER, 0)
        self.pace = 0.01  # seconds between two calls of a worker, at most
        self._tick = tick
        self._random = random.Random(seed)
        self._calls = 0
        self._empty = 0  # looks that saw nothing left, one behind the other
        self._lanes: dict[str, Op] = {}
        self._asked_at: dict[str, int] = {}  # exchanges by their token
        self._strays: set[tuple[str, str]] = set()  # claims that no answer told of
        for side in OTHER:
            self.go_on(side)

    # ------------------------------------------------------------ calls
    async def _sure(self, call: Callable[[], Awaitable[R]]) -> R:
        """The answer, asked for again until the store is there."""
        while True:
            await asyncio.sleep(0)  # the model store never waits, and others want to work too
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.02)

    async def let(self, side: str, who: str, call: Callable[[], Awaitable[R]]) -> R:
        """As `_sure`, but not while this side's clients rest."""
        await self._awake[side, who].wait()
        self._busy[side] += 1
        try:
            return await self._sure(call)
        finally:
            self._busy[side] -= 1

    async def rest(self, side: str) -> None:
        """Its clients enqueue, claim and settle nothing from now on; returns when nothing is under way."""
        for who in WHO:
            self._awake[side, who].clear()
        while self._busy[side]:  # noqa: ASYNC110  calls under way end soon
            await asyncio.sleep(0.005)

    def go_on(self, side: str, *those: str) -> None:
        """They work again; or only those."""
        for who in those or WHO:
            self._awake[side, who].set()

    def _op(self, lane: str) -> Op:
        last = self._lanes.get(lane) or Op(ids.nonce(), 0)
        self._lanes[lane] = Op(last.actor, last.n + 1)
        return self._lanes[lane]

    async def conf(self, side: str) -> QueueConf:
        """Where a side stands."""
        return await self._sure(lambda: self.stores[side].conf(self.queue))

    # ------------------------------------------------------------ producers
    def spec(self, job: str, **said: object) -> JobSpec:
        """A job whose body only its id decides."""
        priority = 0 if job.startswith(LONG) else PRIORITIES[_draw(job, "priority") % len(PRIORITIES)]
        return JobSpec(id=job, task="t", body=f'"{job}"'.encode(), priority=priority, **said)  # type: ignore[arg-type]

    async def enqueue(self, side: str, specs: Sequence[JobSpec], lane: str = "") -> None:
        """Keep jobs, at this side or where it sends them; written down in the end."""
        self._calls += 1
        lines = [
            Asked(
                call=self._calls, side=side, job=spec.id, body=spec.body.decode(), priority=spec.priority,
                invoked=self._tick(), key=None if spec.unique is None else spec.unique.key,
                until="finished" if spec.unique is None else spec.unique.until, delayed=spec.delay is not None,
                kept=spec.keep_completed is None,
            )
            for spec in specs
        ]  # fmt: skip
        self.history.asked.extend(lines)
        told = await self._find_home(side, specs, lane)
        split = len({home for home, _ in told.values()}) > 1
        self._calls += split
        again = self._calls  # a slow call was taken back in part, and the rest asked for once more
        for line in lines:
            line.side, receipt = told[line.job]
            line.call = again if split and line.side == TARGET else line.call
            line.answered, line.receipt, line.created = self._tick(), receipt.id, bool(receipt.created)

    async def _find_home(self, side: str, specs: Sequence[JobSpec], lane: str) -> dict[str, tuple[str, Receipt]]:
        """By job: where it is, and what was told of it."""
        told: dict[str, tuple[str, Receipt]] = {}
        left, asked = list(specs), False
        while True:
            try:
                reply = await self._enqueue(side, left, self._op(f"{lane}@{side}"), asked)
                made = zip(left, reply.receipts, strict=True)
                return told | {spec.id: (side, receipt) for spec, receipt in made}
            except Arriving:
                there = await self._ask(OTHER[side], left)
                if there is None:
                    await asyncio.sleep(0.01)
                else:
                    told |= {name: (OTHER[side], receipt) for name, receipt in there.items()}
                    left = [spec for spec in left if spec.id not in there]
                    if not left:
                        return told
                asked = there is not None
            except Moved:
                side, asked = OTHER[side], False
                await asyncio.sleep(0.005)

    async def _enqueue(self, side: str, specs: Sequence[JobSpec], op: Op, asked: bool) -> Enqueued:
        return await self.let(side, PRODUCERS, lambda: self.stores[side].enqueue(self.queue, specs, op, asked=asked))

    async def _ask(self, side: str, specs: Sequence[JobSpec]) -> dict[str, Receipt] | None:
        """What the source says of ids and keys: None for "ask later", a receipt for each that is there.

        Of a call of several, whose ids nobody else names, all or some are there if it was answered with an error.
        """
        names = [spec.id for spec in specs]
        keys = [spec.unique.key for spec in specs if spec.unique is not None]
        known = await self._sure(lambda: self.stores[side].known(self.queue, names, keys))
        if known is None:
            return None
        there: dict[str, Receipt] = {}
        for spec in specs:
            holder = None if spec.unique is None else known.keys.get(spec.unique.key)
            told = spec.id if spec.id in known.ids else holder
            if told is not None:
                there[spec.id] = Receipt(told, len(specs) > 1)
        return there

    async def produce(self, side: str, calls: int, pause: float = 0.02) -> None:
        """Enqueue now and then until told to be quiet, at most so many calls."""
        for n in range(calls):
            if self.quiet.is_set():
                return
            draw = self._random.random()
            if draw < 0.2:  # an id that both sides name
                await self.enqueue(side, [self.spec(f"x{n}")], lane=side)
            elif draw < 0.3:
                unique = UniqueKey(f"k{n % 5}")
                await self.enqueue(side, [self.spec(f"u{side[0]}{n}", unique=unique)], lane=side)
            elif draw < 0.4:
                unique = UniqueKey(f"t{n % 5}", until="time", ttl=3_600_000)
                await self.enqueue(side, [self.spec(f"h{side[0]}{n}", unique=unique)], lane=side)
            elif draw < 0.5:
                await self.enqueue(side, [self.spec(f"d{side[0]}{n}", delay=50)], lane=side)
            else:
                size = self._random.randint(1, 3)
                await self.enqueue(side, [self.spec(f"{side[0]}{n}.{i}") for i in range(size)], lane=side)
            await asyncio.sleep(self._random.uniform(0, 2 * pause))

    async def produce_there(self, calls: int, pause: float = 0.02) -> None:
        """As `produce`, at the target, as soon as it knows of the move."""
        await self.begun_there()
        await self.produce(TARGET, calls, pause)

    async def contend(self, times: int) -> int:
        """One id, and one key, asked for on both sides at the same moment; so often, or until told to be quiet."""
        await self.begun_there()
        for n in range(times):
            if self.quiet.is_set():
                return n
            key = UniqueKey(f"c{n}", until="time", ttl=3_600_000)
            await asyncio.gather(
                *(self.enqueue(side, [self.spec(f"cx{n}")], lane=f"{side}x") for side in OTHER),
                *(self.enqueue(side, [self.spec(f"c{side}{n}", unique=key)], lane=f"{side}k") for side in OTHER),
            )
        return times

    def line(self, side: str, job: str, key: str | None) -> Asked:
        """A call that somebody else makes, through a kit; it fills in what it is told. Its order is nobody's matter."""
        self._calls += 1
        line = Asked(
            call=self._calls, side=side, job=job, body=f'j{{"job":"{job}"}}', priority=5, invoked=self._tick(),
            key=key, until="time", delayed=True,
        )  # fmt: skip
        self.history.asked.append(line)
        return line

    def moment(self) -> int:
        """Now."""
        return self._tick()

    async def begun_there(self) -> None:
        """Until the target knows of the move."""
        await self._until(self._begun_there)

    # ------------------------------------------------------------ workers
    async def work(self, side: str, name: str, slots: int = 3) -> None:
        """Claim, run, settle, until the move is over and nothing is held."""
        holding: list[Run] = []
        while not (self.over.is_set() and not holding):
            if name in self.crashes:
                for run in holding:
                    run.crashed = True
                return
            ended = [] if name in self.keepers else [run for run in holding if self._is_over(run)]
            if name in self.keepers:
                self.held[name] = len(holding)
            await self._exchange(side, name, holding, ended, slots)
            await self._find_strays(side, name, holding)
            await asyncio.sleep(self._random.uniform(0, self.pace))

    async def _find_strays(self, side: str, name: str, holding: list[Run]) -> None:
        """As a lease keeper does: what the store holds for this worker, which never heard of it, is given back."""
        last, store = self._lanes[f"{name}@{side}"], self.stores[side]
        if last.n % RENEWED or not store.capabilities.strays or name in self.leases:
            return
        holds = [Hold(id=run.job, token=run.token) for run in holding]
        reply = await self.let(side, WORKERS, lambda: store.renew(self.queue, holds, LEASE, last.actor, last.n))
        names = [job for job, _ in reply.strays]
        for job in await self._sure(lambda: store.get(self.queue, names)) if names else []:
            if job is not None and (job.id, job.token) in reply.strays:
                run = self._begun(side, name, job, self._asked_at[job.token or ""], self._tick())
                self._strays.add((run.job, run.token))
                holding.append(run)
                self.history.runs.append(run)

    async def _exchange(self, side: str, name: str, holding: list[Run], ended: list[Run], slots: int) -> None:
        invoked, op = self._tick(), self._op(f"{name}@{side}")
        self._asked_at[op.token] = invoked
        outcomes = [Outcome(run.job, run.token, self._kind(run), delay=20) for run in ended]
        want = 0 if self.over.is_set() else max(0, slots - len(holding) + len(ended))
        ask = Ask(want=want, lease=self.leases.get(name, LEASE), worker=name)
        reply: Exchange = await self.let(
            side, WORKERS, lambda: self.stores[side].exchange(self.queue, op, outcomes, ask)
        )
        given, refused = self._tick(), dict(reply.refused)
        for run in ended:
            holding.remove(run)
            run.told = invoked if run.told is None else run.told
            if run.job in refused:
                run.refused = refused[run.job].value
            else:
                run.accepted = given
        for job in reply.claims:
            run = self._begun(side, name, job, invoked, given)
            holding.append(run)
            self.history.runs.append(run)

    def _begun(self, side: str, name: str, job: JobRecord, invoked: int, given: int) -> Run:
        token = job.token or ""
        return Run(side=side, worker=name, job=job.id, token=token, claims=job.claims, invoked=invoked, given=given)

    def _is_over(self, run: Run) -> bool:
        """Short ones end at once; long ones when the target is open."""
        if (run.job, run.token) in self._strays:
            return True
        if run.job.startswith(LONG) and run.claims == 1 and not (self.opened.is_set() or self.over.is_set()):
            return False
        return self._random.random() < 0.7

    def _kind(self, run: Run) -> Kind:
        """How a run ends, which its job and the number of the claim decide."""
        draw = _draw(run.job, str(run.claims)) % 20
        early = {0: Kind.RETRY, 1: Kind.RELEASED, 2: Kind.SNOOZED, 3: Kind.RETRY}
        kind = early.get(draw, Kind.COMPLETED) if run.claims < 3 else Kind.COMPLETED
        if draw == 4:
            kind = Kind.FAILED
        if run.job == GIVEN_BACK and run.claims == 1:
            kind = Kind.RELEASED
        if (run.job, run.token) in self._strays:
            kind = Kind.RELEASED
        elif run.job in (TRACELESS, FORGOTTEN):
            kind = Kind.COMPLETED
        run.kind = kind.value
        return kind

    async def watch_target(self, lasts: float) -> None:
        """Long runs end so many seconds after the target has opened, or is gone again: the mover waits for them."""
        await self._until(self._opened_there)
        self.history.opened.setdefault(TARGET, self._tick())
        await asyncio.sleep(lasts)
        self.opened.set()

    async def watch_source(self) -> None:
        """When the source stops, between the last look that saw it work and the first that did not, and works again."""
        before = asked = self._tick()
        while (await self.conf(SOURCE)).home is Home.HERE:
            if self.over.is_set():
                return
            before = asked
            await asyncio.sleep(0.01)
            asked = self._tick()
        self.history.stopped = before, self._tick()
        while (await self.conf(SOURCE)).home is not Home.HERE:
            if self.over.is_set():
                return
            await asyncio.sleep(0.01)
        self.history.opened[SOURCE] = self._tick()

    # ------------------------------------------------------------ looking
    async def _until(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Polled: the stores' own ways of telling are not what is tested here."""
        while not await look():  # noqa: ASYNC110  see above
            await asyncio.sleep(0.01)

    async def _begun_there(self) -> bool:
        return self.quiet.is_set() or (await self.conf(TARGET)).epoch > 0

    async def _opened_there(self) -> bool:
        conf = await self.conf(TARGET)
        return self.over.is_set() or (conf.epoch > 0 and conf.home in (Home.HERE, Home.GONE))

    async def _at_rest(self) -> bool:
        """A count is several looks, and a job may step aside between two: so the clients' word, or a hundred counts."""
        if await self.left(SOURCE) or await self.left(TARGET):
            self._empty = 0
            return False
        self._empty += 1
        made = {one.job for one in self.history.asked if one.created}
        return self._empty > 100 or made <= {run.job for run in self.history.runs if run.accepted and run.kind in ENDS}

    async def rested(self) -> None:
        """Until every job has ended."""
        self._empty = 0
        await self._until(self._at_rest)

    async def left(self, side: str) -> int:
        """Jobs that have not ended."""
        states = (await self._sure(lambda: self.stores[side].count(self.queue))).states
        return sum(states.get(state, 0) for state in (State.WAITING, State.DELAYED, State.ACTIVE, State.PARKED))


def _draw(*words: str) -> int:
    return int.from_bytes(hashlib.blake2b("/".join(words).encode(), digest_size=4).digest())
