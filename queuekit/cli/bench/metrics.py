"""The ten figures. Each function yields lines as soon as they are measured; where and with what is `ground`'s."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from queuekit.cli.bench.ground import BATCH, BenchFailed, Ground, Line, last_line, percentile
from queuekit.cli.bench.tasks import due, hold, noop, payload, stamp
from queuekit.cli.crew import Crew
from queuekit.clock import now, perf
from queuekit.store.direct import direct
from queuekit.store.parts import Used

SETTLE = 2.0  # seconds an idle worker gets to become idle
SPACING = 0.02  # between two latency samples: the worker is idle again
FRACTION: Final = {1: 10, 10: 2, 100: 1}  # share of the jobs at each concurrency


def enqueue_one(ground: Ground) -> Iterator[Line]:
    """Jobs a second, one sync call each."""
    count = max(ground.sizes.jobs // 10, 100)
    rates = []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue:
            one = noop.using(queue=queue)
            one.enqueue(-1, "", "", "", "")  # connects, and loads what is loaded once
            start = perf()
            for n in range(count):
                one.enqueue(*payload(n))
            rates.append(count / (perf() - start))
            expect(ground, queue, count + 1)
    yield Line(metric="enqueue_one", settings=f"{count} jobs, sync, one process", values=tuple(rates), unit="jobs/s")


def enqueue_many(ground: Ground) -> Iterator[Line]:
    """Jobs a second in large calls."""
    rates = []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue:
            start = perf()
            ground.fill(queue, "noop", ground.sizes.jobs)
            rates.append(ground.sizes.jobs / (perf() - start))
            expect(ground, queue, ground.sizes.jobs)
    yield Line(
        metric="enqueue_many", settings=f"{ground.sizes.jobs} jobs, {BATCH} a call", values=tuple(rates), unit="jobs/s"
    )


def drain_noop(ground: Ground) -> Iterator[Line]:
    """Jobs a second through one worker process that does nothing with them."""
    for concurrency, fraction in FRACTION.items():
        count = max(ground.sizes.jobs // fraction, 100)
        yield drain(ground, "drain_noop", "noop", count, concurrency)


def drain_sleep50(ground: Ground) -> Iterator[Line]:
    """Jobs a second where each waits 50 ms, 100 at once: 2,000 would be ideal."""
    yield drain(ground, "drain_sleep50", "sleep50", max(ground.sizes.jobs // 4, 500), 100)


def latency_idle(ground: Ground) -> Iterator[Line]:
    """From before the enqueue call to the handler's first line, into an idle worker."""
    count = 50 if ground.sizes.quick else ground.sizes.samples
    p50, p99 = [], []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue, ground.crew() as crew:
            one = stamp.using(queue=queue)
            hand = crew.start({"queue": queue, "concurrency": 10}, listen=True)
            one.enqueue(-1, perf())
            ground.await_jobs(queue, 1)
            for n in range(count):
                time.sleep(SPACING)
                one.enqueue(n, perf())
            ground.await_jobs(queue, count + 1)
            samples = stop(ground, queue, hand, crew, count + 1)[1:]
        p50.append(percentile(samples, 0.50))
        p99.append(percentile(samples, 0.99))
    for name, values in (("p50", p50), ("p99", p99)):
        yield Line(metric="latency_idle", settings=f"{name} of {count} jobs", values=tuple(values), unit="ms")


def lateness_delayed(ground: Ground) -> Iterator[Line]:
    """How late delayed jobs start; below zero would be early."""
    count = 50 if ground.sizes.quick else ground.sizes.samples * 2 // 3
    picked: dict[str, list[float]] = {"p50": [], "p99": [], "earliest": []}
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue, ground.crew() as crew:
            hand = crew.start({"queue": queue, "concurrency": 10}, listen=True)
            first = now() + timedelta(seconds=SETTLE)
            ground.kit.enqueue_many(
                [due.using(queue=queue, run_at=first + timedelta(milliseconds=20 * n)).make(n) for n in range(count)]
            )
            ground.await_jobs(queue, count)
            samples = stop(ground, queue, hand, crew, count)
        picked["p50"].append(percentile(samples, 0.50))
        picked["p99"].append(percentile(samples, 0.99))
        picked["earliest"].append(min(samples))
    for name, values in picked.items():
        yield Line(metric="lateness_delayed", settings=f"{name} of {count} jobs", values=tuple(values), unit="ms")


def idle_commands(ground: Ground) -> Iterator[Line]:
    """What an idle worker asks of the server, by the server's own counters; and what it costs this machine."""
    seconds = 5.0 if ground.sizes.quick else 20.0
    seen: dict[str, list[float]] = {"commands/s": [], "requests/s": [], "%": []}
    for _ in range(1 if ground.sizes.quick else ground.sizes.runs):
        with ground.queue() as queue, ground.crew() as crew:
            hand = crew.start({"queue": queue, "concurrency": 10}, listen=True)
            noop.using(queue=queue).enqueue(*payload(0))
            ground.await_jobs(queue, 1)
            time.sleep(SETTLE)
            looks = [_used(ground), _used(ground)]  # their difference is what looking costs
            busy, start = cpu_seconds(hand.pid), perf()
            time.sleep(seconds)
            spent = perf() - start
            looks.append(_used(ground))
            seen["%"].append((cpu_seconds(hand.pid) - busy) / spent * 100)
            for unit, counts in (
                ("commands/s", [o.commands for o in looks]),
                ("requests/s", [o.requests for o in looks]),
            ):
                before, after, end = counts
                if before is not None and after is not None and end is not None:
                    seen[unit].append((end - after - (after - before)) / spent)
            stop(ground, queue, hand, crew, 1)
    told = {
        "commands/s": "one idle worker; commands inside scripts counted",
        "requests/s": "one idle worker; reads from its sockets",
        "%": "one idle worker; CPU of its process",
    }
    for unit, values in seen.items():
        if values:
            yield Line(metric="idle_commands", settings=told[unit], values=tuple(values), unit=unit)


def bytes_per_job(ground: Ground) -> Iterator[Line]:
    """What the store grows by for one waiting job of 100 bytes."""
    size = len(noop.make(*payload(10_000)).spec.body)
    values = []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue:
            ground.fill(queue, "noop", BATCH)
            before = _used(ground).bytes
            ground.fill(queue, "noop", ground.sizes.jobs)
            values.append((_used(ground).bytes - before) / ground.sizes.jobs)
    said = f"{ground.sizes.jobs} waiting jobs, payload of {size} bytes"
    yield Line(metric="bytes_per_job", settings=said, values=tuple(values), unit="bytes")


def worker_rss(ground: Ground) -> Iterator[Line]:
    """The most memory one worker process held while draining at concurrency 100."""
    values = []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue:
            values.append(float(str(ground.drained(queue, "noop", ground.sizes.jobs, 100)["peak"])) / 2**20)
    yield Line(
        metric="worker_rss",
        settings=f"peak, {ground.sizes.jobs} no-op jobs, concurrency 100",
        values=tuple(values),
        unit="MiB",
    )


def redelivery(ground: Ground) -> Iterator[Line]:
    """From `kill -9` of a worker in mid-job to the job's next start in another."""
    leases = [("lease 2 s", 2_000)] + ([("defaults (lease 30 s)", 30_000)] if ground.sizes.slow else [])
    for name, lease in leases:
        values = []
        for _ in range(1 if ground.sizes.quick else ground.sizes.runs):
            with ground.queue() as queue, ground.crew(lease=lease) as crew:
                first = crew.start({"queue": queue, "concurrency": 1}, listen=True)
                hold.using(queue=queue).enqueue(0)
                _started(first, crew)
                second = crew.start({"queue": queue, "concurrency": 1}, listen=True)
                await_beat(ground, second.pid)
                killed = perf()
                os.kill(first.pid, signal.SIGKILL)
                values.append(_started(second, crew) - killed)
        yield Line(metric="redelivery", settings=name, values=tuple(values), unit="s")


METRICS: Final[dict[str, Callable[[Ground], Iterator[Line]]]] = {
    one.__name__: one
    for one in (
        enqueue_one, enqueue_many, drain_noop, drain_sleep50, latency_idle, lateness_delayed, idle_commands,
        bytes_per_job, worker_rss, redelivery,
    )
}  # fmt: skip


def drain(ground: Ground, metric: str, task: str, count: int, concurrency: int) -> Line:
    rates = []
    for _ in range(ground.sizes.runs):
        with ground.queue() as queue:
            rates.append(count / float(str(ground.drained(queue, task, count, concurrency)["seconds"])))
    said = f"{count} jobs, one process, concurrency {concurrency}"
    return Line(metric=metric, settings=said, values=tuple(rates), unit="jobs/s")


def expect(ground: Ground, queue: str, count: int) -> None:
    waiting = sum(direct(ground.store.count(queue)).states.values())
    if waiting != count:
        raise BenchFailed(f"{count} jobs were enqueued, the store has {waiting}")


def stop(ground: Ground, queue: str, hand: subprocess.Popen[bytes], crew: Crew, count: int) -> list[float]:
    hand.terminate()
    said = last_line(hand, crew)
    ground.prove(queue, said, count)
    samples = said["samples"]
    return [float(one) for one in samples] if isinstance(samples, list) else []


def _started(hand: subprocess.Popen[bytes], crew: Crew) -> float:
    if hand.stdout is None:
        raise ValueError("started without listening")
    line = hand.stdout.readline()
    if not line:
        raise BenchFailed(f"a worker process ended before it started the job; it wrote:\n{crew.last_words()}")
    return float(line)


def await_beat(ground: Ground, pid: int) -> None:
    """Until a worker has told the store that it is there."""
    for _ in range(3000):
        if any(beat.pid == pid for beat in direct(ground.store.workers())):
            return
        time.sleep(0.01)
    raise BenchFailed(f"worker process {pid} told the store nothing for 30 s")


def _used(ground: Ground) -> Used:
    """What the server counts of itself; nothing where the store lacks that part."""
    store = ground.store
    if "usage" not in store.capabilities.parts:
        return Used(bytes=0)
    used: Used = direct(store.usage())  # type: ignore[attr-defined]  # the part is there
    return used


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
