"""Makes jobs and schedules of every state and with every field that a store can be brought to, from a seed.

Standing rule: whoever adds a field or a state to one of them makes it here too; a test counts what is made.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Home, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.store.protocol import JobStore

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
QUEUES: Final = ("mail", "orders:eu", "video.high-res_1")
ROUND: Final = 300  # jobs
PASSES: Final = 3  # of claiming, a round: what is retried at once runs again
BODIES: Final = (
    b"", b"\x00", b"\xff\xfe\x80", bytes(range(256)), b'j{"to":"a@b.c","n":1}', b'J{"n":99999999999999999999999}',
    'j"ünïcode \u2028 \U0001f600"'.encode(), b"one\r\ntwo\n", b"  x  ", b"00012", b"$set", b'{"b64":"eA=="}',
    b"\xed\xa0\x80",
)  # fmt: skip
TEXTS: Final = ("too late", "", "ünïcode \U0001f600", 'a "quoted" \\ line\nand one more', "{}")
PLANS: Final = ("fresh", "due", "fired", "skipped", "paused", "over", "by.hand:A-1_b", "s" * 128)
_UNTIL: Final[tuple[Literal["finished", "started", "time"], ...]] = ("finished", "started", "time")

Advance = Callable[[int], Awaitable[None]]


async def mix(store: JobStore, advance: Advance, *, seed: int, jobs: int, running: bool = True) -> tuple[str, ...]:
    """Enqueue about `jobs` jobs and live through their lives; the names of the queues.

    Without `running` no job is active in the end. `advance` moves the store's clock by ms; with a clock that only
    moves so, the same seed makes the same jobs.
    """
    queues = tuple(_Queue(store, advance, random.Random(f"{seed} {name}"), name, seed) for name in QUEUES)  # noqa: S311  seeded on purpose
    for queue in queues:
        await queue.configure()
    share = -(-jobs // len(queues))
    for queue in queues:
        for start in range(0, share, ROUND):
            await queue.round(min(ROUND, share - start))
        await queue.finish(running=running)
    return QUEUES


@dataclass
class _Queue:
    """One queue, its producer, its workers and its people."""

    store: JobStore
    advance: Advance
    random: random.Random
    name: str
    seed: int
    n: int = 0
    made: int = 0
    known: list[str] = field(default_factory=list)
    held: list[Outcome] = field(default_factory=list)  # how what still runs is given back, where it must

    def op(self) -> Op:
        self.n += 1
        return Op(f"mix-{self.seed}-{self.name}", self.n)

    def some(self, of: Sequence[str], part: float) -> list[str]:
        return self.random.sample(of, int(len(of) * part))

    async def configure(self) -> None:
        """Both layers say all that a store without further parts takes; the last queue says nothing but a pause."""
        stored = await self.store.conf(self.name)
        declared = override = Limits()
        if self.name != QUEUES[-1]:
            declared = Limits(
                lease=45 * SECOND, concurrency=7, max_size=10_000_000, max_crashes=2,
                keep_completed=Retention(500_000, DAY), keep_failed=Retention(None, 30 * DAY),
                by="shop.tasks", at=1_790_000_000_000,
            )  # fmt: skip
        if self.name == QUEUES[1]:
            override = Limits(
                lease=90 * SECOND, concurrency=3, max_size=9_000_000, max_crashes=3,
                keep_completed=Retention(400_000, 2 * DAY), keep_failed=Retention(400_000),
                by="ann@night", at=1_790_000_100_000,
            )  # fmt: skip
        if "mover" in self.store.capabilities.parts and self.name == QUEUES[1]:
            mover: Any = self.store  # it came from somewhere before: its epoch is not the first
            await mover.authority(self.name, 3, "mix", Home.HERE, None)
        await self.store.configure(self.name, QueueConf(rev=stored.rev, declared=declared, override=override))

    # ------------------------------------------------------------------ producing

    def spec(self, now: int) -> JobSpec:
        """A job with a few of the things a caller may set."""
        pick, self.made = self.random, self.made + 1
        name = f"{self.name[0]}{self.made:07d}{pick.getrandbits(40):010x}"
        if pick.random() < 0.03:
            name = f"{name}-Own.id_of:caller".ljust(200, "x")
        body = (
            pick.choice(BODIES)
            if pick.random() < 0.3
            else b'j{"n":%d}' % self.made + pick.randbytes(pick.choice((0, 0, 90)))
        )
        said = JobSpec(id=name, task=pick.choice(("send", "charge-card", "a.b:c_D")), body=body)
        if self.made == 5:
            said.body = pick.randbytes(100_000)
        said.priority = pick.choice((10, 10, 10, 1, 5, 15, 0, 1000))
        chance = pick.random
        if chance() < 0.2:
            said.version = pick.choice((2, 17))
        if chance() < 0.4:
            said.options = pick.choice((b'j{"attempts":5}', b"\x80odd", b'j{"tags":["a","b"]}'))
        if chance() < 0.1:
            said.lifo = True
        due = chance()
        if due < 0.12:
            said.delay = pick.choice((1, 5 * SECOND, 40 * DAY))
        elif due < 0.24:
            said.run_at = now + pick.choice((-HOUR, 7, 3 * SECOND, 50 * DAY))
        if chance() < 0.15:
            until = pick.choice(_UNTIL)
            said.unique = UniqueKey(
                f"k{pick.randrange(self.made)}/ü" if until != "time" else f"t{self.made}",
                until,
                pick.choice(("existing", "replace")),
                pick.choice((30 * SECOND, 20 * DAY)) if until == "time" else None,
                pick.choice((None, HOUR)),
            )
        if chance() < 0.1:
            said.keep_completed = pick.choice(
                (Retention(50), Retention(None, 9 * DAY), Retention(0), Retention(70, 8 * DAY))
            )
        if chance() < 0.1:
            said.keep_failed = pick.choice((Retention(60), Retention(None, 20 * DAY), Retention()))
        expires = chance()
        if expires < 0.05:
            said.expires_in = pick.choice((2 * SECOND, 60 * DAY))
        elif expires < 0.1:
            said.expires_at = now + pick.choice((SECOND, 61 * DAY))
        if chance() < 0.2:
            said.trace = f"00-{pick.getrandbits(128):032x}-{pick.getrandbits(64):016x}-01"
        return said

    async def round(self, jobs: int) -> None:
        """Enqueue, run some of it, do to some of it what people do, and let time pass."""
        now = (await self.store.ping()).now
        while jobs > 0:
            specs = [self.spec(now) for _ in range(min(jobs, self.random.choice((1, 40, 150))))]
            jobs -= len(specs)
            answer = await self.store.enqueue(self.name, specs, self.op())
            self.known += [r.id for r in answer.receipts if r.created]
        fresh = self.known[-ROUND:]
        for name in self.some(fresh, 0.05):
            await self.store.watch(self.name, name, 0)
        for _ in range(PASSES):
            await self.advance(self.random.randrange(1, 3 * SECOND))
            await self.work(ROUND // 5)
        await self.people(fresh)

    # ------------------------------------------------------------------ running

    async def work(self, want: int) -> None:
        """Claim, report, and end in every way; some run on."""
        pick = self.random
        asked = Ask(want=want, lease=90 * DAY, worker=pick.choice(("web-1@host/7", "ünï worker", "")))
        claims = (await self.store.exchange(self.name, self.op(), [], asked)).claims
        for job in claims:
            if pick.random() < 0.1:
                note = Note(progress=pick.choice((b"j0.5", b"\xffhalf")), logs=(b'j"line"', b"\xfe", b""))
                await self.store.annotate(self.name, job.id, job.token or "", note)
            elif pick.random() < 0.05:
                hold = Hold(id=job.id, token=job.token or "", progress=b"j1", logs=(b"renewed",))
                await self.store.renew(self.name, [hold], 91 * DAY)
        await self.advance(pick.randrange(1, SECOND))
        asked_to_stop = [job.id for job in claims if pick.random() < 0.04]
        if asked_to_stop:
            await self.change(Change(id=name, verb=Verb.CANCEL, reason=pick.choice(TEXTS)) for name in asked_to_stop)
        ends = [end for job in claims if (end := self.end(job)) is not None]
        await self.store.exchange(self.name, self.op(), ends, Ask())

    def end(self, job: JobRecord) -> Outcome | None:
        """How a run ends. None: it does not yet."""
        pick, token = self.random, job.token or ""
        kind = pick.choices(
            (None, Kind.COMPLETED, Kind.FAILED, Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.CANCELLED, Kind.PARKED),
            (10, 30, 12, 18, 8, 8, 4, 8),
        )[0]
        if kind is None:
            self.held.append(Outcome(job.id, token, Kind.RELEASED))
            return None
        end = Outcome(job.id, token, kind)
        if kind is Kind.COMPLETED and pick.random() < 0.7:
            end.result = pick.choice(BODIES)
        if kind in (Kind.FAILED, Kind.RETRY):
            end.error = pick.choice((b'j{"type":"ValueError","message":"no","traceback":"..."}', b"\x80not text", b""))
        if kind in (Kind.FAILED, Kind.CANCELLED, Kind.PARKED):
            end.reason = pick.choice(("attempts", *TEXTS))
        if kind in (Kind.RETRY, Kind.SNOOZED):
            end.delay = pick.choice((None, None, 2 * SECOND, 30 * DAY))
        if kind in (Kind.COMPLETED, Kind.FAILED) and pick.random() < 0.2:
            end.keep = pick.choice((Retention(80), Retention(None, 7 * DAY)))
        if pick.random() < 0.1:
            end.progress, end.logs = b"j1.0", (b"bye",)
        return end

    # ------------------------------------------------------------------ people

    async def people(self, fresh: Sequence[str]) -> None:
        """Every verb on some of the jobs, whatever they are; what is not possible is refused."""
        pick = self.random
        for verb, part in (
            (Verb.CANCEL, 0.03),
            (Verb.RETRY, 0.06),
            (Verb.PROMOTE, 0.03),
            (Verb.REOPEN, 0.02),
            (Verb.DELETE, 0.03),
        ):
            await self.change(
                Change(id=name, verb=verb, reason=pick.choice(TEXTS) if verb is Verb.CANCEL else None)
                for name in self.some(fresh, part)
            )
        await self.change(
            Change(
                id=name, verb=Verb.RESCHEDULE, delay=pick.choice((None, 0, 10 * DAY)), priority=pick.choice((None, 3))
            )
            for name in self.some(fresh, 0.04)
        )
        await self.change(
            Change(id=name, verb=Verb.REPLACE, body=pick.choice(BODIES)) for name in self.some(fresh, 0.04)
        )
        if pick.random() < 0.5:
            await self.store.prune(self.name)

    async def change(self, changes: Any) -> None:
        some = list(changes)
        if some:
            await self.store.change(self.name, some, self.op())

    # ------------------------------------------------------------------ the end

    async def finish(self, *, running: bool) -> None:
        """Workers that died, a job that failed often and told much, a key whose job is gone; then pauses."""
        await self.often()
        if "schedules" in self.store.capabilities.parts:
            await self.schedules()
        key = UniqueKey("held by nobody", "time", ttl=25 * DAY)
        await self.store.enqueue(self.name, [JobSpec(id="deleted", task="send", body=b"", unique=key)], self.op())
        await self.change([Change(id="deleted", verb=Verb.DELETE)])
        await self.store.recover(self.name, 1000)
        for crowd in (8, 1, 1, 8, 1, 1):
            dead = Ask(want=crowd, lease=SECOND, worker="it died")
            claims = (await self.store.exchange(self.name, self.op(), [], dead)).claims
            if crowd > 1 and claims:
                await self.change([Change(id=claims[-1].id, verb=Verb.CANCEL, reason="asked, then dead")])
            await self.advance(2 * SECOND)
            await self.store.recover(self.name, 1000)
        for start in range(0, 0 if running else len(self.held), ROUND):
            await self.store.exchange(self.name, self.op(), self.held[start : start + ROUND], Ask())
        conf = await self.store.conf(self.name)
        declared, override = conf.declared, conf.override
        if self.name == QUEUES[0]:
            declared = replace(declared, paused="declared so")
        if self.name == QUEUES[-1]:
            override = Limits(paused="", by="bob", at=1_790_000_200_000)
        await self.store.configure(self.name, QueueConf(rev=conf.rev, declared=declared, override=override))

    async def schedules(self) -> None:
        """One of each plan: as it was put, fired once and often, skipped, without a next slot, its job gone or not."""
        store: Any = self.store
        pick = random.Random(f"{self.seed} {self.name} schedules")  # noqa: S311  seeded on purpose
        now = (await self.store.ping()).now
        for n, name in enumerate(PLANS):
            definition = pick.choice(BODIES) if n else pick.randbytes(100_000)
            record = ScheduleRecord(
                id=name, queue=self.name, definition=definition, next=now + pick.randrange(90 * DAY)
            )
            if name == "due":
                record.next = now - HOUR
            record = await store.put_schedule(self.name, record)
            for turn in range({"fresh": 0, "due": 0, "fired": 7, "over": 2}.get(name, 1)):
                await self.fire(record, turn, now)
                (record,) = await store.get_schedules(self.name, [name])
            if name in ("paused", "over"):
                await store.put_schedule(self.name, replace(record, next=None))
        over = f"over@1-{self.seed}"
        await self.change([Change(id=over, verb=Verb.CANCEL), Change(id=over, verb=Verb.DELETE)])
        await store.put_schedule(self.name, ScheduleRecord(id="deleted", queue=self.name, definition=b"", next=now))
        await store.delete_schedule(self.name, "deleted")

    async def fire(self, record: ScheduleRecord, turn: int, now: int) -> None:
        """One slot with a job, or three that make none."""
        store: Any = self.store
        due = now + 40 * DAY if record.id == "by.hand:A-1_b" else None
        job = JobSpec(id=f"{record.id}@{turn}-{self.seed}", task="send", body=b"j{}", run_at=due)
        skips = record.id == "skipped"
        firing = Firing(
            id=record.id, rev=record.rev, next_at=(record.next or now) + DAY, jobs=() if skips else (job,),
            skipped=3 if skips or record.id == "over" else 0,
        )  # fmt: skip
        (fired,) = await store.fire(self.name, [firing])
        assert fired.no is None

    async def often(self) -> None:
        """One job that goes before all, is retried 23 times and writes many lines."""
        spec = JobSpec(id=f"often-{self.seed}", task="send", body=b"j0", priority=0, lifo=True)
        await self.store.enqueue(self.name, [spec], self.op())
        for n in range(23):
            await self.change([Change(id=spec.id, verb=Verb.RESCHEDULE, priority=0)])
            claimed = (
                await self.store.exchange(self.name, self.op(), [], Ask(want=40, lease=HOUR, suspect=False))
            ).claims
            ends = [Outcome(job.id, job.token or "", Kind.RELEASED) for job in claimed]
            for end in ends:
                if end.id == spec.id:
                    end.kind, end.error, end.logs = Kind.RETRY, b"j%d" % n, tuple(b"%d.%d" % (n, i) for i in range(9))
            await self.store.exchange(self.name, self.op(), ends, Ask())
