"""A stored record as people see it, and the moments that come. Nothing here asks a store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from queuekit import clock
from queuekit.domain import options
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition, JobForm, Layer, Mark
from queuekit.domain.timetable import Timetable
from queuekit.domain.values import JSON
from queuekit.errors import InvalidOption, SchemaMismatch
from queuekit.producing.schedules import Schedule
from queuekit.producing.scheduling.editing import astray
from queuekit.producing.snapshot import value_of

MOST: Final = 1000  # moments of a preview
_OPTIONS: Final = ("priority", "delay", "lifo", "keep_completed", "keep_failed", "unique", "group")


def view(record: ScheduleRecord) -> Schedule:
    """The schedule; one that a newer queuekit wrote with its `problem` instead of a rule."""
    known: dict[str, Any] = {
        "id": record.id, "queue": record.queue, "next_at": _moment(record.next), "last_job": record.last_job,
        "fired": record.fired, "skipped": record.skipped,
    }  # fmt: skip
    try:
        definition = Definition.load(record.definition)
        if definition.passing:
            known["next_at"] = None  # that is no slot
        return Schedule(**known, **_defined(definition))
    except SchemaMismatch as error:
        return Schedule(**known, task="", rule={}, origin="operator", paused=None, problem=str(error))


def put_off(schedule: Schedule, definition: Definition | None, now: int) -> bool:
    """Whether its next slot lies where only a clock far ahead can have put it, as far as this host's clock tells."""
    if definition is None:
        return False
    record = ScheduleRecord(
        id=schedule.id, queue=schedule.queue, definition=b"", fired=schedule.fired, last_job=schedule.last_job,
        next=None if schedule.next_at is None else clock.to_ms(schedule.next_at),
    )  # fmt: skip
    return astray(record, definition, now)


def coming(schedule: Schedule, definition: Definition | None, n: int) -> list[datetime]:
    """The next moments of a stored schedule."""
    _some(n)
    if definition is None or (schedule.next_at is None and schedule.paused is None):
        return []
    table, left = definition.timetable, n
    if table.count is not None:
        left = min(n, table.count - schedule.fired)
    if left <= 0:
        return []
    if schedule.next_at is None:
        return _moments(table, left, clock.now_ms(), definition.anchor)
    following = table.moments(left - 1, clock.to_ms(schedule.next_at), definition.anchor) if left > 1 else []
    return [schedule.next_at, *map(clock.to_datetime, following)]


def trial(rule: Mapping[str, Any], n: int, zone: str, now: int) -> list[datetime]:
    """The moments of a rule that begins now."""
    _some(n)
    anchor = now - now % 1000  # as `put` would give it
    return _moments(Timetable.parse(rule, where="preview", zone=zone), n, now, anchor)


def _moments(table: Timetable, n: int, now: int, anchor: int) -> list[datetime]:
    first = table.first(now, anchor)
    if first is None:
        return []
    return [clock.to_datetime(slot) for slot in table.moments(n, first - 1, anchor)]


def _defined(definition: Definition) -> dict[str, Any]:
    form, paused = definition.form, definition.paused
    for passage, word in ((definition.leaving, "moving to"), (definition.coming, "moving from")):
        if passage is not None and paused is None:
            paused = Mark(by="", at=0, reason=f"{word} {passage.queue}" if passage.queue else "not written to the end")
    definition.timetable.count  # noqa: B018  a rule that cannot be read is told here, not at a preview
    return {
        "task": form.task,
        "rule": definition.rule,
        "origin": definition.origin,
        "paused": None if paused is None else paused.reason,
        "paused_by": None if paused is None or not paused.by else paused.by,
        "paused_at": None if paused is None else _moment(paused.at or None),
        "payload": value_of(form.body),
        "options": _options(form),
        "anchor": clock.to_datetime(definition.anchor),
        "by_hand": None if definition.by_hand is None else _mark(definition.by_hand),
        "declared": None if definition.declared is None else _layer(definition.declared),
        "override": None if definition.override is None else _layer(definition.override),
        "_definition": definition,
    }


def _layer(layer: Layer) -> dict[str, JSON]:
    said: dict[str, JSON] = {"by": layer.by, "at": clock.to_datetime(layer.at).isoformat()}
    if layer.job is not None:
        form = JobForm.from_json(layer.job)
        said["job"] = {"task": form.task, "payload": value_of(form.body), **_options(form)}
    if layer.rule is not None:
        said["rule"] = layer.rule
    return said


def _mark(mark: Mark) -> dict[str, JSON]:
    return {"by": mark.by, "at": clock.to_datetime(mark.at).isoformat(), "job": mark.job}


def _options(form: JobForm) -> dict[str, JSON]:
    """Those of the job that differ from the defaults, as people write them."""
    plain = JobForm(task="", body=b"")
    said: dict[str, Any] = {
        name: getattr(form, name) for name in _OPTIONS if getattr(form, name) != getattr(plain, name)
    }
    if form.expires_in is not None:
        said["expires"] = ("in", form.expires_in)
    return options.dump("job", {**said, **options.unpack(form.options)})


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else clock.to_datetime(ms)


def _some(n: object) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MOST:
        raise InvalidOption(f"preview of {n!r} moments: use 1 to {MOST}")
