"""What the demo found, added up from the store's own job records: each job counts once, whoever ran it how often."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from queuekit import Job, QueueKit
from queuekit.cli import screen
from queuekit.cli.demo.files import unpacked
from queuekit.domain.state import State

LARGEST = 10
PAGE = 500
SHARES = (50, 90, 99)


@dataclass(slots=True, kw_only=True)
class Sums:
    """Totals over all jobs of one demo."""

    files: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    lines: int = 0
    words: int = 0
    code_points: int = 0
    bytes: int = 0
    crashes: int = 0
    digests: list[str] = field(default_factory=list)
    workers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    largest: list[tuple[int, str]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # ms
    runs: list[float] = field(default_factory=list)
    span: timedelta = timedelta(0)

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted SHA-256 digests of the completed files, joined by newlines."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        return {
            "files": self.files,
            "completed": self.completed,
            "failed": self.failed,
            "retried": self.retried,
            "lines": self.lines,
            "words": self.words,
            "code_points": self.code_points,
            "digest": self.digest,
            "workers": dict(sorted(self.workers.items(), key=lambda pair: int(pair[0]))),
        }


def jobs_of(kit: QueueKit, queue: str) -> Iterator[Job]:
    """Every ended job of the queue, from its record."""
    for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
        page = kit.find(queue=queue, state=state, limit=PAGE)
        yield from page.jobs
        while page.cursor is not None:
            page = kit.find(queue=queue, state=state, limit=PAGE, cursor=page.cursor)
            yield from page.jobs


def add_up(jobs: Iterable[Job]) -> Sums:
    """Totals of `jobs`."""
    sums = Sums()
    first = last = None
    for job in jobs:
        sums.files += 1
        sums.retried += job.attempt - 1
        sums.crashes += job.crashes
        if job.started_at is not None and job.finished_at is not None:
            sums.waits.append((job.started_at - (job.run_at or job.created_at)) / timedelta(milliseconds=1))
            sums.runs.append((job.finished_at - job.started_at) / timedelta(milliseconds=1))
            first = min(first or job.started_at, job.started_at)
            last = max(last or job.finished_at, job.finished_at)
        if job.state is State.COMPLETED and isinstance(job.result, dict):
            _add_result(sums, job, job.result)
        else:
            sums.failed += 1
            sums.reasons[_reason(job)] += 1
            sums.workers[_pid(job.worker or "")] += 1
    sums.largest.sort(reverse=True)
    del sums.largest[LARGEST:]
    if first is not None and last is not None:
        sums.span = last - first
    return sums


def show(sums: Sums, *, folder: str, store: str, wall: float) -> None:
    """The closing report."""
    seconds = max(sums.span.total_seconds(), 0.001)
    screen.say("")
    screen.fields(
        {
            "store": store,
            "folder": folder,
            "files": f"{sums.files:,}: {sums.completed:,} completed, {sums.failed:,} failed for good (dead letters)",
            "retries": f"{sums.retried:,} injected transient errors, each gone at the next attempt",
            "speed": f"{sums.files / seconds:,.0f} jobs/s from the first start to the last end, {wall:.1f} s in all",
            "wait": _percentiles(sums.waits),
            "run": _percentiles(sums.runs),
            "read": f"{sums.lines:,} lines, {sums.words:,} words, {sums.code_points:,} code points, "
            f"{sums.bytes / 1e6:,.1f} MB",
            "digest": sums.digest,
        }
    )
    if sums.crashes:
        screen.say(f"{sums.crashes} runs ended with a killed worker; their jobs were given to another")
    screen.say("")
    screen.table(
        ("jobs", "worker pid"), [(n, pid) for pid, n in sorted(sums.workers.items())], right=("jobs", "worker pid")
    )
    if sums.reasons:
        screen.say("")
        screen.table(
            ("jobs", "failed because"), [(n, reason) for reason, n in sums.reasons.most_common()], right=("jobs",)
        )
    screen.say("")
    screen.table(("bytes", "largest files"), [(f"{size:,}", path) for size, path in sums.largest], right=("bytes",))


def _add_result(sums: Sums, job: Job, result: dict[str, object]) -> None:
    sums.completed += 1
    sums.lines += _number(result, "lines")
    sums.words += _number(result, "words")
    sums.code_points += _number(result, "code_points")
    sums.bytes += _number(result, "bytes")
    sums.digests.append(str(result["sha256"]))
    sums.workers[str(result["pid"])] += 1
    path = job.payload.get("path", "") if isinstance(job.payload, dict) else ""
    sums.largest.append((_number(result, "bytes"), unpacked(str(path))))


def _number(result: dict[str, object], name: str) -> int:
    value = result[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}")  # our own task wrote it
    return value


def _reason(job: Job) -> str:
    return f"{job.errors[-1].type}: {job.errors[-1].message}" if job.errors else str(job.state)


def _pid(worker: str) -> str:
    """The process in a worker's name, "host:pid:nonce"."""
    return worker.split(":")[-2] if worker.count(":") >= 2 else "0"


def _percentiles(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ranked = sorted(values)
    picked = [ranked[min(len(ranked) - 1, len(ranked) * share // 100)] for share in SHARES]
    return (
        ", ".join(f"p{share} {value:,.0f} ms" for share, value in zip(SHARES, picked, strict=True))
        + f", max {ranked[-1]:,.0f} ms"
    )
