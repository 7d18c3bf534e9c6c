"""Which jobs a person means, and one verb done to all of them.

Shared by retry, cancel, promote and delete; no rule of a verb is here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import typer

from queuekit import codec
from queuekit.cli import exits, screen
from queuekit.cli.session import Session
from queuekit.clock import monotonic
from queuekit.domain import names
from queuekit.domain.duration import parse_duration
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Change, Changed, No, Verb, Where
from queuekit.domain.state import TERMINAL, State
from queuekit.domain.values import to_rates
from queuekit.errors import Conflict, InvalidOption, Moved, PayloadError
from queuekit.kit import QueueKit
from queuekit.producing import seeking
from queuekit.store.lanes import Lanes

BATCH = 200  # changes a call: one round trip, and a quick answer to Ctrl-C
WHY = {
    No.GONE: "no such job",
    No.ILLEGAL: "not possible in its state",
    No.CHANGED: "it changed meanwhile; look again",
    No.HELD: "its unique key belongs to another job now",
    No.MOVED: "it is, or may be, in the store its queue moves to or comes from",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The selection options of one command line."""

    jobs: Sequence[str] = ()
    queue: str | None = None
    state: State = State.FAILED
    task: str | None = None
    error: str | None = None
    since: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.jobs and (self.queue or self.task or self.error or self.since):
            raise InvalidOption("name jobs, or describe them with -Q, -t, --error, --since; not both")
        if not (self.jobs or self.queue or self.task or self.error or self.since):
            raise InvalidOption(
                "which jobs? Name them (queue/id), or describe them: -Q QUEUE, -t TASK, --error TEXT, --since 1h"
            )

    def records(self, session: Session) -> list[JobRecord]:
        """The jobs as they are now. Named ones that do not exist are told and left out."""
        found = self._named(session) if self.jobs else self._described(session)
        return list(islice(found, self.limit))

    def _named(self, session: Session) -> Iterator[JobRecord]:
        kit = session.kit
        for text in self.jobs:
            queue, name = names.reference(text)
            some = _found(kit, queue, name)
            if len(some) > 1:
                raise Conflict(f"{name} is a job of {', '.join(r.queue for r in some)}: name it as queue/id")
            if not some:
                screen.tell(f"{text}: no such job")
            yield from some

    def _described(self, session: Session) -> Iterator[JobRecord]:
        store = session.store()
        queues = [names.queue_name(self.queue)] if self.queue else session.ask(store.queues())
        start = session.ask(store.ping()).now - parse_duration(self.since) if self.since else 0
        for queue in queues:
            cursor: str | None = None
            while True:
                where = Where(state=self.state, task=self.task, limit=1000, cursor=cursor)
                page = session.ask(store.find(queue, where))
                yield from (record for record in page.records if self._fits(record, start))
                cursor = page.cursor
                if cursor is None:
                    break

    def _fits(self, record: JobRecord, start: int) -> bool:
        entered = record.ended_at if record.state in TERMINAL and record.ended_at is not None else record.created_at
        return entered >= start and (self.error is None or self.error.casefold() in error_text(record).casefold())


def act(session: Session, verb: Verb, records: Sequence[JobRecord], *, rate: str | None, reason: str = "") -> int:
    """Do `verb` to every record that is still as it was seen. Prints what became of them; the exit code."""
    per_second = _rate(rate)
    lanes, store = Lanes(), session.store()
    refused: list[tuple[str, str]] = []
    began = monotonic()
    done = 0
    for queue, at, batch in _batches(records):
        changes = [_change(verb, record, _delay(verb, at + n, per_second), reason) for n, record in enumerate(batch)]
        if (
            per_second and verb is not Verb.RETRY
        ):  # retried jobs carry their own delay: the work is spread, not the call
            time.sleep(max(0.0, began + at / per_second - monotonic()))
        with lanes.op() as op:
            answers = session.ask(store.change(queue, changes, op))
        answers = [_elsewhere(session, queue, *pair) for pair in zip(changes, answers, strict=True)]
        for answer in answers:
            if answer.ok:
                done += 1
            else:
                refused.append((f"{queue}/{answer.id}", WHY[answer.no or No.GONE]))
    if session.json:
        screen.show_json({"asked": len(records), "done": done, "refused": [{"job": j, "why": w} for j, w in refused]})
    else:
        for job, why in refused:
            screen.tell(f"{job}: {why}")
        screen.say(f"{verb.value}: {done} of {len(records)} jobs")
    return exits.NO if refused else exits.DONE


def agreed(session: Session, verb: Verb, count: int, *, yes: bool) -> None:
    """Ask before more than one job is changed. Raises InvalidOption where nobody can be asked, Exit when told no."""
    if count <= 1 or yes:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or session.json:
        raise InvalidOption(
            f"{verb.value} {count} jobs? There is no terminal to ask on: say -y, or --dry-run to count only"
        )
    if not typer.confirm(f"{verb.value} {count} jobs?"):
        raise typer.Exit(exits.NO)


def error_text(record: JobRecord) -> str:
    """Type and message of the last error, or the reason of the end."""
    if record.errors:
        try:
            last = codec.decode(record.errors[-1])
        except PayloadError:
            last = None
        if isinstance(last, dict):
            return f"{last.get('type', '')}: {last.get('message', '')}"
    return record.reason or ""


def _found(kit: QueueKit, queue: str | None, name: str) -> list[JobRecord]:
    """The jobs of that name, in the store their queue went to where it moved."""
    if queue is None:
        return kit.run(lambda at: seeking.locate(kit.access, at, name))
    found = kit.run(lambda at: seeking.record(kit.access, at, queue, name))
    return [] if found is None else [found]


def _elsewhere(session: Session, queue: str, change: Change, answer: Changed) -> Changed:
    """The answer itself, or that of the other store where the job is there."""
    if answer.no is not No.MOVED:
        return answer
    kit = session.kit
    try:
        return kit.run(lambda at: seeking.change(kit.access, at, queue, change))
    except Moved:
        return answer


def _batches(records: Sequence[JobRecord]) -> Iterator[tuple[str, int, Sequence[JobRecord]]]:
    start = 0
    while start < len(records):
        end = start
        while end < len(records) and end - start < BATCH and records[end].queue == records[start].queue:
            end += 1
        yield records[start].queue, start, records[start:end]
        start = end


def _change(verb: Verb, record: JobRecord, delay: int | None, reason: str) -> Change:
    return Change(id=record.id, verb=verb, rev=record.rev, delay=delay, reason=reason if verb is Verb.CANCEL else None)


def _delay(verb: Verb, n: int, per_second: float | None) -> int | None:
    return int(n * 1000 / per_second) or None if per_second and verb is Verb.RETRY else None


def _rate(text: str | None) -> float | None:
    """Jobs a second. Raises InvalidOption."""
    if text is None:
        return None
    ((count, per),) = to_rates(text)
    return count * 1000 / per
