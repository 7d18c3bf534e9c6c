"""Writing what a kit declares, where it changed: for a worker's start, and for `schedules sync`.

Any number of processes may do it at once: what they write is the same, and who comes second finds it done.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from queuekit.domain.redact import redact
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition, Layer
from queuekit.errors import Conflict, Moved, QueueFull, SchemaMismatch
from queuekit.producing.access import Entry
from queuekit.producing.schedules import Schedule
from queuekit.producing.scheduling import finding, verbs
from queuekit.producing.scheduling.declared import Declaration, declarations
from queuekit.producing.scheduling.editing import astray, mended, rewritten, store_now
from queuekit.producing.scheduling.finding import Found
from queuekit.producing.scheduling.gate import fires_here
from queuekit.producing.scheduling.root import Root, schedules_in, scheduling

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_log = logging.getLogger("queuekit")
_TRIES: Final = 50
_ASKED: Final = 100  # ids a call: an answer may hold a payload each


@dataclass(slots=True, kw_only=True)
class Written:
    """What became of declarations, by id."""

    written: list[str] = field(default_factory=list)  # new, or changed
    unchanged: list[str] = field(default_factory=list)
    later: set[str] = field(default_factory=set)  # queues to try again: on their way between stores, or no memory
    refused: dict[str, str] = field(default_factory=dict)  # a newer queuekit's, another kit's, in two queues: why


async def declare_schedules(kit: QueueKit, at: Entry, queues: Collection[str] | None = None) -> Written:
    """Write the declared schedules of these queues (None: of all) whose declaration is not the stored one.

    Raises ConfigError for a declaration that cannot be, Unsupported where schedules are declared and the store keeps
    none. *Cost* one round trip a queue, one a queue and hundred schedules; O(queues) once for what is new.
    """
    wanted = declarations(kit, queues)
    answer = Written()
    if not wanted:
        return answer
    scheduling(at)
    layers = {one.id: one.layer(kit) for one in wanted}
    for queue in dict.fromkeys(one.queue for one in wanted):
        mine = [one for one in wanted if one.queue == queue]
        if queues is not None and not await fires_here(kit, at, queue):
            answer.later.add(queue)
            continue
        try:
            await _declare(kit, at, queue, mine, layers, answer)
        except Moved as moved:
            _log.info("queue %s: its schedules are not written yet: %s", queue, redact(str(moved)))
            answer.later.add(queue)
    if answer.written:
        _log.info("schedules were written: %s", ", ".join(answer.written))
    for one in wanted:
        if one.origin == "file" and one.id in answer.written:  # code is told of where it says so
            one.warn(layers[one.id].at)
    return answer


async def compared(kit: QueueKit, at: Entry) -> Written:
    """What `declare_schedules` would do: `written` is what it would write. Nothing is."""
    wanted, answer = declarations(kit), Written()
    if not wanted:
        return answer
    scheduling(at)
    for queue in dict.fromkeys(one.queue for one in wanted):
        mine = [one for one in wanted if one.queue == queue]
        stored = await _stored(at, queue, [one.id for one in mine])
        now = await store_now(at, queue) if stored else 0
        for one in mine:
            layer, record = one.layer(kit), stored.get(one.id)
            try:
                same = record is not None and _same(record, layer, now)
                if record is not None and not same:
                    _not_anothers(record, layer)
                (answer.unchanged if same else answer.written).append(one.id)
            except (SchemaMismatch, Conflict) as error:
                answer.refused[one.id] = str(error)
    return answer


async def orphans(kit: QueueKit, at: Entry) -> list[Schedule]:
    """Stored schedules that a kit of this name declared, and this one declares no more. Only people remove them: while
    two versions of an application run, each finds the other's.
    """
    if not schedules_in(at.store):
        return []
    declared = {one.id for one in declarations(kit)}
    return [one for one in await verbs.every(kit, at) if one.id not in declared and _mine(kit, one)]


async def prune(kit: QueueKit, at: Entry, found: Iterable[Schedule]) -> list[str]:
    """Remove orphans, if nobody declared them anew meanwhile, and they are not foreign; their ids."""
    kept = {one.id for one in declarations(kit)}
    mine = [one for one in found if one.id not in kept and not foreign(kit, one)]
    return [one.id for one in mine if await verbs.delete(kit, at, one.ref)]


def foreign(kit: QueueKit, orphan: Schedule) -> bool:
    """Whether an orphan may be another application's, whose kit was given no name of its own either: nothing here knows
    its task or its queue.
    """
    queues = {one.queue for one in kit.definitions.values()} | {one.queue for one in declarations(kit)}
    queues |= {*kit.catch_all, *kit.finders.queues(), *kit.queue_options}
    return kit.definition(orphan.task) is None and orphan.queue not in queues


def _mine(kit: QueueKit, schedule: Schedule) -> bool:
    return schedule.declared is not None and schedule.declared["by"] == kit.name


async def _declare(
    kit: QueueKit, at: Entry, queue: str, mine: Sequence[Declaration], layers: dict[str, Layer], answer: Written
) -> None:
    """All of one queue."""
    stored = await _stored(at, queue, [one.id for one in mine])
    now = await store_now(at, queue) if stored else 0
    missing = [one.id for one in mine if one.id not in stored]
    elsewhere = await _elsewhere(kit, at, missing) if missing else {}
    for one in mine:
        record = stored.get(one.id)
        try:
            if record is not None and _same(record, layers[one.id], now):
                answer.unchanged.append(one.id)
                continue
            begin = Root(kit.access, at)
            places = elsewhere.get(one.id, [])
            found = finding.only(places, one.id) if record is None else Found(begin, at, record)
            if found is not None:
                _not_anothers(found.record, layers[one.id])
            written = await _declared(kit, at, one, layers[one.id], found)
            (answer.written if written else answer.unchanged).append(one.id)
        except (SchemaMismatch, Conflict) as error:  # one schedule stops no worker
            _log.warning("schedule %s of queue %s is not declared: %s", one.id, queue, error)
            answer.refused[one.id] = str(error)
        except QueueFull as error:  # nor does a server without memory, which workers are to empty
            _log.warning("schedule %s of queue %s is not declared yet: %s", one.id, queue, redact(str(error)))
            answer.later.add(queue)


async def _declared(kit: QueueKit, at: Entry, one: Declaration, layer: Layer, found: Found | None) -> bool:
    """Whether anything was written. `found`: as it was just now."""
    moved = False
    for attempt in range(_TRIES):
        if attempt or (found is not None and finding.passing(found.record)):
            found = await verbs.settled(kit, at, one.id, sure=False)
        if found is None:
            made = await verbs.created(
                kit, at, one.id, one.queue, Definition(anchor=0, declared=layer), may_be_over=True
            )
            if made is not None:
                return True
        elif found.record.queue != one.queue:
            _log.info("schedule %s goes from queue %s to %s", one.id, found.record.queue, one.queue)
            await verbs.move(found, one.queue)
            moved = True
        else:
            edited = await verbs.edited(found, partial(_redeclared, layer))
            if edited is not None:
                return edited or moved
    raise Conflict(f"schedule {one.id!r} changes all the time: {_TRIES} tries lost")


def _redeclared(layer: Layer, record: ScheduleRecord, before: Definition, now: int) -> ScheduleRecord | None:
    if before.declared is not None and before.declared.digest == layer.digest:
        return mended(record, before, now)
    return rewritten(record, before, before.redeclared(layer), now)


def _not_anothers(record: ScheduleRecord, layer: Layer) -> None:
    """Raise Conflict for what another kit declared: two applications would take it from each other at every start."""
    declared = Definition.load(record.definition).declared
    if declared is not None and declared.by != layer.by:
        raise Conflict(
            f"kit {declared.by!r} declares a schedule of that id, in queue {record.queue}, and this is kit"
            f" {layer.by!r}: give one of them another id. If the kit has a new name: queuekit schedules delete"
            f" {record.queue}/{record.id}, then queuekit schedules sync"
        )


def _same(record: ScheduleRecord, layer: Layer, now: int) -> bool:
    """Whether it is there as it is declared, and has the next slot that its rule says: nothing is to be written."""
    definition = Definition.load(record.definition)
    if definition.passing or astray(record, definition, now):
        return False
    return definition.declared is not None and definition.declared.digest == layer.digest


async def _stored(at: Entry, queue: str, ids: Sequence[str]) -> dict[str, ScheduleRecord]:
    found = dict[str, ScheduleRecord]()
    for begin in range(0, len(ids), _ASKED):
        asked = ids[begin : begin + _ASKED]
        for record in await at.ask(partial(scheduling(at).get_schedules, queue, asked)):
            if record is not None:
                found[record.id] = record
    return found


async def _elsewhere(kit: QueueKit, at: Entry, ids: Sequence[str]) -> dict[str, list[Found]]:
    """Schedules of these ids in all queues of the own store."""
    everywhere: dict[str, list[Found]] = {}
    for queue in await at.ask(at.store.queues):
        for name, record in (await _stored(at, queue, ids)).items():
            everywhere.setdefault(name, []).append(Found(Root(kit.access, at), at, record))
    return everywhere
