"""The demo's one task, which reads one file, and the kit that runs it. Nothing here starts a worker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, TypedDict

from queuekit import Backoff, Fail, JobContext, Profile, QueueKit
from queuekit.cli.demo.files import count, stumbles, unpacked

STUMBLING: Final = 25  # one file in so many meets a transient error first
ATTEMPTS: Final = 3

LEASE: Final = "3s"  # with the next: a killed worker's jobs run again soon enough to be watched
STALLED_CHECK: Final = "1s"
pause = 0.0  # seconds that each job takes longer, so that somebody can watch


class Reading(TypedDict):
    """What the report needs of one file."""

    bytes: int
    lines: int
    words: int
    code_points: int
    sha256: str
    pid: int


class TransientError(Exception):
    """Injected: what a lock, a full disk or a network would do now and then."""


def kit_of(queue: str, concurrency: int) -> QueueKit:
    """A kit that runs the task on this queue."""
    profile = Profile(name="demo", concurrency=concurrency, lease=LEASE, stalled_check=STALLED_CHECK)
    kit = QueueKit(name="demo", queues={queue: {"profile": profile, "keep_completed": True, "keep_failed": True}})
    kit.task("read-file", queue=queue, attempts=ATTEMPTS, backoff=Backoff.fixed("50ms"))(read_file)
    return kit


def read_file(ctx: JobContext, folder: str, path: str) -> Reading:
    """Count and hash one file; what is not UTF-8, or cannot be read, fails for good."""
    time.sleep(pause)
    if ctx.attempt == 1 and stumbles(path, STUMBLING):
        raise TransientError("injected: recovers at the next attempt")
    try:
        data = Path(unpacked(folder), unpacked(path)).read_bytes()
    except OSError as error:
        raise Fail(f"unreadable: {error.strerror}") from error
    try:
        counted = count(data)
    except UnicodeDecodeError as error:
        raise Fail(f"not UTF-8: {error.reason}") from error
    return {
        "bytes": counted.bytes,
        "lines": counted.lines,
        "words": counted.words,
        "code_points": counted.code_points,
        "sha256": counted.sha256,
        "pid": os.getpid(),
    }
