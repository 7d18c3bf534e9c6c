"""From a store's record to the `Job` people see. Reading one runs nothing and asks no store."""

from __future__ import annotations

from collections.abc import Mapping

from queuekit import clock, codec
from queuekit.domain.events import Job
from queuekit.domain.job import JobRecord
from queuekit.domain.options import resolve, unpack
from queuekit.domain.values import JSON
from queuekit.errors import JobError, PayloadError

_NONE: Mapping[str, object] = {}


def job_from(
    record: JobRecord,
    task: Mapping[str, object] = _NONE,
    queue: Mapping[str, object] = _NONE,
    kit: Mapping[str, object] = _NONE,
    *,
    task_known: bool = True,
) -> Job:
    """The snapshot of a record; the mappings are the parsed options that this process knows for it."""
    policy = resolve(record.options, task, queue, kit)
    return Job(
        id=record.id,
        queue=record.queue,
        task=record.task,
        state=record.state,
        payload=value_of(record.body),
        result=None if record.result is None else value_of(record.result),
        attempt=record.attempt,
        attempts=policy.attempts,
        crashes=record.crashes,
        priority=record.priority,
        created_at=clock.to_datetime(record.created_at),
        run_at=None if record.run_at is None else clock.to_datetime(record.run_at),
        started_at=None if record.claimed_at is None else clock.to_datetime(record.claimed_at),
        finished_at=None if record.ended_at is None else clock.to_datetime(record.ended_at),
        worker=record.worker,
        progress=None if record.progress is None else value_of(record.progress),
        errors=tuple(error_from(data) for data in record.errors),
        group=record.group,
        parent=None,
        tags=policy.tags,
        reason=record.reason,
        snoozes=record.snoozes,
        attempts_known=task_known or "attempts" in unpack(record.options),
    )


def value_of(data: bytes) -> JSON:
    """The JSON of a payload, result or progress; of bytes nobody here can read, a line that says so."""
    try:
        return codec.decode(data)
    except PayloadError as error:
        return {"unreadable": str(error), "bytes": len(data)}


def error_from(data: bytes) -> JobError:
    """An error record as a value; damaged ones become an error that says so."""
    said = value_of(data)
    if not isinstance(said, dict):
        said = {"message": str(said)}
    at = said.get("at", 0)
    attempt = said.get("attempt", 0)
    return JobError(
        type=str(said.get("type", "Unknown")),
        message=str(said.get("message", said.get("unreadable", ""))),
        traceback=str(said.get("traceback", "")),
        attempt=attempt if isinstance(attempt, int) else 0,
        worker=str(said.get("worker", "")),
        at=clock.to_datetime(at if isinstance(at, int) else 0),
    )


def log_line(data: bytes) -> tuple[int, str]:
    """(ms, text) of a line that a handler logged."""
    said = value_of(data)
    if isinstance(said, list) and len(said) == 2 and isinstance(said[0], int):
        return said[0], str(said[1])
    return 0, str(said)
