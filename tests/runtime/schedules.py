"""Schedule records as the API would write them, for tests of what fires them."""

from __future__ import annotations

from typing import Any

from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition, JobForm, Layer
from queuekit.domain.timetable import Timetable


def record(
    name: str, now: int, *, queue: str = "default", task: str = "noop", body: bytes = b"j{}",
    form: dict[str, Any] | None = None, first: int | None = None, **rule: Any,
) -> ScheduleRecord:  # fmt: skip
    """A new schedule of that rule, anchored now; its first slot is `first` or what the rule says."""
    table = Timetable.parse(rule, where=name)
    made = JobForm(task=task, body=body, **(form or {}))
    layer = Layer(job=made.to_json(), rule=table.to_json(), by="test", at=now)
    definition = Definition(anchor=now, declared=layer)
    due = table.first(now, now) if first is None else first
    return ScheduleRecord(id=name, queue=queue, definition=definition.dump(), next=due)
