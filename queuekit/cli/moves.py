"""What a move answers, as people and scripts read it: plans, reports, comparisons. Nothing is decided here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from queuekit.cli import exits, screen
from queuekit.cli.session import Session
from queuekit.cli.sides import Pair
from queuekit.domain.moving import Clash
from queuekit.domain.redact import redact
from queuekit.domain.state import State
from queuekit.move.values import Plan, QueuePlan, QueueReport, QueueVerdict, Report, Verdict

SHOWN: Final = 20  # ids listed for people; all with --json
_SIZES: Final = ("bytes", "KiB", "MiB", "GiB")


def tell_plan(session: Session, pair: Pair, plan: Plan) -> int:
    """What would be moved; 1 where it could not begin."""
    if session.json:
        sides = {"from": redact(pair.source), "to": redact(pair.target)}
        queues = {q.queue: _plain(q) for q in plan.queues}
        screen.show_json({**sides, **_plain(plan), "queues": queues, "possible": plan.possible})
        return exits.DONE if plan.possible else exits.NO
    chosen = {"from": (pair.source, pair.source_by), "to": (pair.target, pair.target_by)}
    screen.fields({name: f"{redact(url)} (by {by})" for name, (url, by) in chosen.items()})
    if plan.rate_from:
        screen.say(f"estimated by {plan.rate_from}")
    columns = ("queue", "now", "jobs", "size", "time", "pause", "at target")
    screen.table(columns, (_planned(q) for q in plan.queues), right=columns[2:])
    for q in plan.queues:
        _states(q.queue, q.jobs)
        _schedules(q.queue, q.schedules, q.schedules_at_target)
        _clashes(q.queue, q.clashes)
        _told(q.queue, [*q.warnings, *(f"refused: {why}" for why in q.refused)])
    _told("", [*plan.warnings, *(f"refused: {why}" for why in plan.refused)])
    screen.say("it can begin" if plan.possible else "it would not begin; nothing was written")
    return exits.DONE if plan.possible else exits.NO


def tell_report(session: Session, report: Report, *, back: bool = False) -> int:
    """What was moved (or brought `back`), by state, and whether both sides agree."""
    if session.json:
        queues = {q.queue: {**_plain(q), "jobs": q.jobs, "rate": q.rate, "agrees": q.agrees} for q in report.queues}
        screen.show_json({**_plain(report), "queues": queues, "jobs": report.jobs, "agrees": report.agrees})
        return exits.DONE if report.agrees else exits.NO
    way = f"{report.target} back to {report.source}" if back else f"{report.source} to {report.target}"
    if not report.queues:
        _told("", report.notes)
        screen.say(f"{way}: there was nothing to do")
        return exits.DONE
    columns = ("queue", "state", "jobs", "digest", "arrived", "pause")
    screen.table(columns, (row for q in report.queues for row in _reported(q)), right=("jobs", "pause"))
    for q in report.queues:
        _clashes(q.queue, q.clashes)
        _listed(q.queue, q.ran_on_both, "may have run on both sides, for the source had rolled back")
        _listed(q.queue, q.changed, "was changed by a person at the target before it was compared", wrong=False)
        _listed(
            q.queue, q.schedules_apart, "this schedule was another at each side: the one that was written last stayed"
        )
        _listed(q.queue, q.suspects, "its worker is gone with the source: it will run again", wrong=False)
        _told(q.queue, q.notes)
    _told("", report.notes)
    verdict = "both sides agree" if report.agrees else "both sides do NOT agree: see above"
    spent = screen.span(report.seconds)
    screen.say(f"{way}: {report.jobs:,} jobs in {spent}; {verdict}")
    return exits.DONE if report.agrees else exits.NO


def tell_verdict(session: Session, verdict: Verdict) -> int:
    """Both sides beside each other, differences by id."""
    if session.json:
        queues = {q.queue: {**_plain(q), "agrees": q.agrees} for q in verdict.queues}
        screen.show_json({**_plain(verdict), "queues": queues, "agrees": verdict.agrees})
        return exits.DONE if verdict.agrees else exits.NO
    columns = ("queue", "state", verdict.source, verdict.target)
    screen.table(columns, (row for q in verdict.queues for row in _beside(q)), right=columns[2:])
    for q in verdict.queues:
        _listed(q.queue, q.differ, "differs")
        _listed(q.queue, q.only_source, f"only in {verdict.source}")
        _listed(q.queue, q.only_target, f"only in {verdict.target}")
        _listed(q.queue, q.twice, "is in both, though its queue has moved")
        _listed(q.queue, q.schedules_apart, "this schedule differs, is missing, or was left behind")
        _told(q.queue, q.notes)
    wrong = sum(q.differences for q in verdict.queues)
    screen.say("both sides agree" if verdict.agrees else f"both sides do NOT agree: {wrong:,} differences")
    return exits.DONE if verdict.agrees else exits.NO


def _planned(q: QueuePlan) -> tuple[object, ...]:
    seconds = None if q.seconds is None else f"about {screen.span(q.seconds)}"
    pause = None if q.pause is None else f"about {screen.span(q.pause)}"
    there = sum(q.at_target.values()) or None
    return q.queue, q.standing, f"{sum(q.jobs.values()):,}", _size(q.bytes), seconds, pause, there


def _reported(q: QueueReport) -> Iterable[tuple[object, ...]]:
    pause = None if q.pause is None else f"{q.pause:.1f} s"
    for state, n in q.moved.items():
        yield q.queue, state, f"{n:,}", None, None, None
    if q.schedules:
        yield q.queue, "schedules", f"{q.schedules:,}", None, None, None
    yield q.queue, "all", f"{q.jobs:,}", q.digest[:16] or None, q.arrived[:16] or None, pause


def _beside(q: QueueVerdict) -> Iterable[tuple[object, ...]]:
    for state in State:
        if state in q.source or state in q.target:
            yield q.queue, state, f"{q.source.get(state, 0):,}", f"{q.target.get(state, 0):,}"
    if q.source_schedules or q.target_schedules:
        yield q.queue, "schedules", f"{q.source_schedules:,}", f"{q.target_schedules:,}"
    yield q.queue, f"digest ({q.standing})", q.source_digest[:16] or None, q.target_digest[:16] or None


def _states(queue: str, jobs: Mapping[State, int]) -> None:
    some = ", ".join(f"{n:,} {state}" for state, n in jobs.items() if n)
    if some:
        screen.tell(f"{queue}: {some}")


def _schedules(queue: str, here: int, there: int) -> None:
    if here or there:
        screen.tell(f"{queue}: {here:,} schedules" + (f", {there:,} at the target already" if there else ""))


def _clashes(queue: str, clashes: Iterable[Clash]) -> None:
    reasons = {"id": "another job has its id", "key": "its unique key is held by"}
    some = [f"{c.id}: {reasons[c.why]}{f' {c.by}' if c.why == 'key' else ''}; it stays at the source" for c in clashes]
    _cut(f"{queue}/{line}" for line in some)


def _listed(queue: str, ids: Iterable[str], what: str, *, wrong: bool = True) -> None:
    _cut(f"{'' if wrong else 'note: '}{queue}/{name}: {what}" for name in ids)


def _told(queue: str, lines: Iterable[str]) -> None:
    for line in lines:
        screen.tell(
            screen.clean(redact(line if not queue or line.startswith(("queue ", f"{queue}:")) else f"{queue}: {line}"))
        )


def _cut(lines: Iterable[str]) -> None:
    some = list(lines)
    for line in some[:SHOWN]:
        screen.tell(screen.clean(line))
    if len(some) > SHOWN:
        screen.tell(f"… and {len(some) - SHOWN:,} more; all with --json")


def _size(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_SIZES) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:,.0f} {_SIZES[unit]}" if unit < 2 else f"{size:,.1f} {_SIZES[unit]}"


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON types; enums as keys become their text."""
    plain: dict[str, Any] = {f.name: _json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return plain


def _json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_json(key): _json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_json(one) for one in value]
    return redact(value) if isinstance(value, str) else value
