"""What a kit declares: schedules of its code, and over its code's none, those of its file. Nothing is written here."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from queuekit import clock
from queuekit.domain import names
from queuekit.domain.options import options_of
from queuekit.domain.scheduled import JobForm, Layer, Origin
from queuekit.errors import InvalidOption, QueueKitError
from queuekit.producing.configuration import settings_of
from queuekit.producing.newjob import NewJob
from queuekit.producing.schedules import Rule
from queuekit.producing.scheduling.forms import checked, form_of, over

if TYPE_CHECKING:
    from queuekit.domain.timetable import Timetable
    from queuekit.kit import QueueKit

_log = logging.getLogger("queuekit")
_RULE: Final = frozenset(Rule.__annotations__)
_OWN: Final = ("task", "queue", "payload")
_NOT_IN_FILE: Final = {"id", "run_at", "within"}  # one job's, or this process's


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One schedule, as somebody declared it."""

    id: str
    queue: str
    job: NewJob[Any]
    rule: Mapping[str, Any]
    where: str
    origin: Origin = "code"

    def layer(self, kit: QueueKit) -> Layer:
        """As it is stored. Raises ConfigError; PayloadTooLarge for one of code."""
        with self._place:
            form = form_of(kit, self.job, self._said)
        return Layer(
            job=form.to_json(), rule=self.timetable(kit.access.settings.timezone).to_json(), by=kit.name,
            at=clock.now_ms(), origin=self.origin,
        )  # fmt: skip

    def timetable(self, zone: str) -> Timetable:
        """Its rule. Raises InvalidOption; a plain ConfigError for one of a file."""
        from queuekit.domain.timetable import Timetable

        with self._place:
            return Timetable.parse(self.rule, where=self._said, zone=zone)

    def warn(self, now: int) -> None:
        """Log if it has no slot to come. Raises ConfigError."""
        table = self.timetable("UTC")
        if table.first(now, now) is None:
            _log.warning("%s %s", self._said, over(table, 0))

    def same(self, other: Declaration) -> bool:
        """Whether it is the same line of a module that is run again."""
        mine, theirs = self.job, other.job
        same_job = (mine.queue, mine.task, mine.body) == (theirs.queue, theirs.task, theirs.body)
        return self.where == other.where and self.rule == other.rule and same_job

    @property
    def _place(self) -> AbstractContextManager[object]:
        return settings_of(self.where) if self.origin == "file" else nullcontext()

    @property
    def _said(self) -> str:
        return f"schedule {self.id!r} ({self.where})"


def add(kit: QueueKit, id: str, job: NewJob[Any], rule: Mapping[str, Any], where: str) -> None:
    """See `QueueKit.schedule`."""
    said = f"schedule {names.schedule_id(id)!r} ({where})"
    checked(job, said)
    declared = Declaration(id=id, queue=job.queue, job=job, rule=dict(rule), where=where)
    before = kit.declarations.get(id)
    if before is not None and not before.same(declared):
        raise InvalidOption(
            f"schedule {id!r} is declared twice in kit {kit.name!r}: {before.where}, and {where}: give one of them"
            " another id"
        )
    if kit.settled:
        form_of(kit, job, said)
    declared.warn(clock.now_ms())
    kit.declarations[id] = declared


def declarations(kit: QueueKit, queues: Collection[str] | None = None) -> list[Declaration]:
    """Those of the code, and of the file what the code does not declare; of these queues, if any are named.

    Raises ConfigError: for a task that nobody knows, and what cannot be.
    """
    found = dict(kit.declarations)
    file = os.path.basename(kit.settings.file or "queuekit.toml")
    for name, said in kit.settings.file_tables.get("schedules", {}).items():
        where = f'{file} [schedules."{name}"]'
        code = kit.declarations.get(name)
        if code is not None:
            _log.warning("%s is not used: %s declares that schedule, and code goes before the file", where,
                         code.where)  # fmt: skip
        elif isinstance(said, Mapping) and (queues is None or said.get("queue") in (None, *queues)):
            with settings_of(where):
                found[name] = _of_file(kit, names.schedule_id(name), said, where)
    return [one for one in found.values() if queues is None or one.queue in queues]


def tell_others(kit: QueueKit, queues: Collection[str]) -> None:
    """Log which declared schedules are of other queues than these: a worker of these neither writes nor fires them."""
    others: dict[str, list[str]] = {}
    file = {name: said for name, said in kit.settings.file_tables.get("schedules", {}).items()
            if name not in kit.declarations and isinstance(said, Mapping)}  # fmt: skip
    where = {one.id: one.queue for one in kit.declarations.values()}
    for name, said in file.items():
        known = kit.definition(str(said.get("task")))
        where[name] = str(said.get("queue", known.queue if known is not None else ""))
    for name, queue in where.items():
        if queue and queue not in queues:
            others.setdefault(queue, []).append(name)
    consumed = {one.queue for one in kit.definitions.values()} | {*kit.catch_all, *kit.finders.queues()}
    for queue, ids in others.items():
        _log.log(
            logging.INFO if queue in consumed else logging.WARNING,
            "queue %s is none of this worker's: schedules that need another one, -Q %s, to be written and to fire: %s",
            queue, queue, ", ".join(ids),
        )  # fmt: skip


def caller(depth: int) -> str:
    """file:line of the code that called."""
    frame = sys._getframe(depth + 1)  # noqa: SLF001  the only way to the caller's line
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _of_file(kit: QueueKit, id: str, said: Mapping[str, Any], where: str) -> Declaration:
    rule = {key: value for key, value in said.items() if key in _RULE}
    options = {key: value for key, value in said.items() if key not in _RULE and key not in _OWN}
    known = {*_RULE, *_OWN, *options_of("job")} - _NOT_IN_FILE
    for key in options:
        if key not in known:
            raise InvalidOption(f"{where} has no key {key!r}: {_near(key, known)}")
    if "task" not in said:
        raise InvalidOption(f'{where} names no task: task = "reconcile"')
    task = names.task_name(str(said["task"]))
    queue = _queue(kit, task, said.get("queue"), where)
    payload = said.get("payload", {})
    if not isinstance(payload, Mapping):
        raise InvalidOption(f"{where}: payload is a table of the task's arguments, not {payload!r:.80}")
    try:
        job = kit.queue(queue).make(task, payload, **options)
        JobForm.of(job.spec_in(kit), where)
    except QueueKitError as error:
        error.args = (f"{where}: {str(error).removeprefix(f'{where}: ')}",)
        raise
    return Declaration(id=id, queue=queue, job=job, rule=rule, where=where, origin="file")


def _queue(kit: QueueKit, task: str, queue: object, where: str) -> str:
    """The queue that is named, else the task's own. Raises InvalidOption for a task that nobody here knows."""
    if queue is not None and not isinstance(queue, str):
        raise InvalidOption(f"{where}: queue is a name, not {queue!r:.80}")
    definition = kit.definition(task)
    if definition is None and (queue is None or queue not in kit.catch_all):
        hint = _near(task, kit.known()) if kit.known() else "no task is registered: is its module in imports?"
        raise InvalidOption(f"{where}: there is no task {task!r}: {hint}")
    return names.queue_name(queue if queue is not None else str(definition and definition.queue))


def _near(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
