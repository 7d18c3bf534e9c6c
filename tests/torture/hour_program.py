"""The processes of the tortured hour: workers that fire schedules, and editors; all in the faster time of fast.py.

Each writes down what it fires, before and after, and every start and end of a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from queuekit import JobContext, QueueKit, QueueOptions
from queuekit.domain.schedule import Fired, Firing, ScheduleRecord
from queuekit.errors import Conflict, StoreUnavailable
from queuekit.runtime.process import handling_signals
from queuekit.store.direct import direct
from tests.runtime.schedules import record
from tests.torture.fast import FastLoop, Pace
from tests.torture.program import QUEUE, Setting, _begin, note_ends
from tests.torture.records import Pen

RULES: dict[str, dict[str, Any]] = {
    "each": {"every": "2s", "missed": "all"},
    "seven": {"every": "7s", "missed": "all"},
    "cron": {"cron": "* * * * *", "missed": "all"},
    "six": {"cron": "*/20 * * * * *", "missed": "all"},
    "berlin": {"cron": "*/3 * * * *", "timezone": "Europe/Berlin", "missed": "all"},
    "spread": {"every": "15s", "jitter": "10s", "missed": "all"},
    "some": {"every": "5s", "count": 25, "missed": "all"},
    "once": {"every": "4s"},
    "graced": {"every": "3s", "missed": "skip", "grace": "5s"},
    "alone": {"every": "6s", "overlap": "skip"},
    "newest": {"every": "10s", "overlap": "replace"},
}
EDITED = ("e0", "e1", "e2", "e3")
EDITS: tuple[dict[str, Any], ...] = (
    {"every": "2s", "missed": "all"}, {"every": "9s"}, {"cron": "*/10 * * * * *", "missed": "all"},
    {"cron": "* * * * *"}, {"every": "5s", "overlap": "skip"},
)  # fmt: skip
MARGIN = 30_000  # ms: an editor's clock is a call behind the workers', and its first slot must be later than theirs


def made_kit(setting: Setting, pace: Pace) -> QueueKit:
    """A kit in the faster time; its calls may take as long as they take."""
    os.environ["QUEUEKIT_TIMEOUT"] = f"{setting.timeout * pace.times}s"
    limits: QueueOptions = {"lease": setting.lease, "max_crashes": setting.max_crashes, "keep_completed": True}
    kit = QueueKit(setting.url, namespace=setting.namespace, queues={QUEUE: limits})
    pace.open(kit)
    return kit


def work(setting: Setting, actor: str, pace: Pace, wrong: int) -> None:
    """A worker process whose wall clock is wrong by so many seconds."""
    _begin(setting, actor)
    pen, kit = Pen(setting.folder, actor), made_kit(setting, pace)
    pace.patch(wrong)
    _add_task(kit, pen)
    _note_firings(kit, pen)
    worker = kit.worker(concurrency=setting.concurrency, grace=setting.grace)

    async def main() -> None:
        with handling_signals(worker, enabled=True):
            await worker.arun()

    with asyncio.Runner(loop_factory=lambda: FastLoop(pace.times)) as runner:
        runner.run(main())
    sys.exit(worker.exit_code)


def _add_task(kit: QueueKit, pen: Pen) -> None:
    rng = random.Random(os.getpid())

    @kit.task
    async def tick(ctx: JobContext, by: str, longest: float) -> None:
        pen.write("start", ctx._record.id, ctx.token, by)
        await asyncio.sleep(rng.random() * longest)
        pen.write("end", ctx._record.id, ctx.token, by)

    note_ends(kit, lambda: pen)


def _note_firings(kit: QueueKit, pen: Pen) -> None:
    """Write down what this worker asks to be fired, and what was."""
    connect = kit.async_store

    async def store() -> Any:
        real: Any = await connect()
        fire: Callable[..., Any] = real.fire

        async def noted(queue: str, firings: Sequence[Firing]) -> list[Fired]:
            pen.write("fire", len(firings))
            said: list[Fired] = await fire(queue, firings)
            words = [f"{one.id}/{int(bool(one.created))}" for fired in said for one in fired.receipts]
            pen.write("fired", sum(fired.no is None for fired in said), *words)
            return said

        real.fire = noted
        return real

    kit.async_store = store  # type: ignore[method-assign]  # what a worker opens


def schedule(name: str, now: int, rule: dict[str, Any], by: str) -> ScheduleRecord:
    """A new schedule; its job's payload tells which definition made it."""
    longest = 12 if rule.get("overlap") in ("skip", "replace") else 0.2  # seconds, in the faster time
    body = f'j{{"by":"{by}","longest":{longest}}}'.encode()
    return record(name, now, queue=QUEUE, task="tick", body=body, **rule)


def edit(setting: Setting, actor: str, pace: Pace, seed: int, seconds: float) -> None:
    """An editor: puts, changes and deletes schedules while they fire; every put is noted before and after."""
    _begin(setting, actor)
    pen, rng = Pen(setting.folder, actor), random.Random(seed)
    until = time.monotonic() + seconds
    with made_kit(setting, pace) as kit:
        store: Any = kit.blocking_store()
        done = 0
        while time.monotonic() < until:
            time.sleep(rng.uniform(0, 0.2))
            name, done = rng.choice(EDITED), done + 1
            try:
                (stored,) = direct(store.get_schedules(QUEUE, [name]))
                if stored is not None and rng.random() < 0.15:
                    pen.write("deleting", name)
                    if direct(store.delete_schedule(QUEUE, name, stored.rev)):
                        pen.write("deleted", name)
                    continue
                rule, by = rng.choice(EDITS), f"{actor}.{done}"
                new = schedule(name, pace.now() + MARGIN, rule, by)
                if stored is not None:
                    new = replace(new, rev=stored.rev, fired=stored.fired, skipped=stored.skipped)
                pen.write("putting", name, by, EDITS.index(rule), pace.now())
                kept = direct(store.put_schedule(QUEUE, new))
                pen.write("put", name, by, kept.rev, kept.next)
            except Conflict:
                pen.write("conflict", name)
            except StoreUnavailable as error:
                pen.write("unknown", name, type(error).__name__)
