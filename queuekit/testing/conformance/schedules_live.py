"""Schedules under contention: threads or tasks that put, fire and move one. No slot twice, none missed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

from queuekit.domain.schedule import Firing, NoFire, ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import Conflict, Moved, StoreUnavailable
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.contention import Part, together
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Blocking
from queuekit.testing.conformance.moving_live import breathe, left_for_good
from queuekit.testing.conformance.slots import fire, firing, kept, read, schedule
from queuekit.testing.conformance.words import Q, counted, totals

SLOTS = 12
WORKERS = 3


class Book:
    """Who fired which slot, by what the store told him. Each firer's job has an id of its own: nothing is hidden."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, int]] = []
        self.jobs: list[str] = []
        self.untold: list[tuple[str, int, str]] = []  # slots and their jobs where the store was away before it answered

    def firer(self, number: int, until: int | None = SLOTS) -> Part:
        """Fires whatever is due until `until` slots of each schedule were, or until the queue leaves."""

        async def part(store: JobStore) -> None:
            mine = cast("SchedulingStore", store)
            while records := (await mine.due(Q, 3)).records:
                call = [self._next(record, number, until) for record in records]
                await breathe()
                try:
                    answers = await mine.fire(Q, call)
                except Moved:
                    return
                except StoreUnavailable:  # as where its session is ended, so that the queue may leave
                    self.untold += [(one.id, one.next or 0, call[n].jobs[0].id) for n, one in enumerate(records)]
                    continue
                for record, answer in zip(records, answers, strict=True):
                    assert answer.no in (None, NoFire.CHANGED)
                    if answer.no is None:
                        assert record.next is not None
                        self.fired.append((record.id, record.next))
                        self.jobs += [receipt.id for receipt in answer.receipts if receipt.created]
                await breathe()

        return part

    def _next(self, record: ScheduleRecord, number: int, until: int | None) -> Firing:
        slot = record.next or 0
        return firing(record, f"{record.id}@{slot} by {number}", next_at=slot + 1 if slot != until else None)


async def agree(store: SchedulingStore, book: Book, *ids: str) -> None:
    """What the store says is what its callers were told, or what came of calls that had no answer."""
    for name, slot, job in book.untold:
        if await store.get(Q, [job]) != [None]:
            book.fired.append((name, slot))
            book.jobs.append(job)
    assert max(Counter(book.fired).values()) == 1
    for record in [await read(store, name) for name in ids]:
        slots = sorted(slot for name, slot in book.fired if name == record.id)
        assert slots == list(range(1, len(slots) + 1))
        assert record.fired == len(slots)
    assert len(book.jobs) == len(set(book.jobs)) == len(book.fired) == (await totals(store)).enqueued
    assert None not in await store.get(Q, book.jobs)


async def test_one_definition_put_by_many_at_once_is_put_once(contended: None, scheduling: SchedulingStore) -> None:
    """Twenty processes start and declare the same."""
    answers: list[ScheduleRecord] = []

    async def declare(store: JobStore) -> None:
        answers.append(await kept(cast("SchedulingStore", store), next=5))

    await together(scheduling, *[declare] * 20)
    assert answers == [await read(scheduling)] * 20


async def test_of_many_who_put_different_definitions_one_wins(contended: None, scheduling: SchedulingStore) -> None:
    won: list[ScheduleRecord] = []
    lost: list[int] = []
    first = await kept(scheduling)

    def part(number: int) -> Part:
        async def put(store: JobStore) -> None:
            mine = cast("SchedulingStore", store)
            try:
                won.append(await mine.put_schedule(Q, replace(first, definition=b"%d" % number)))
            except Conflict:
                lost.append(number)

        return put

    await together(scheduling, *(part(number) for number in range(20)))
    assert (won, len(lost)) == ([await read(scheduling)], 19)


async def test_a_slot_that_many_fire_is_fired_by_one(contended: None, scheduling: SchedulingStore) -> None:
    answers: list[NoFire | None] = []
    records = [await kept(scheduling, f"s{n}", next=5) for n in range(5)]

    def part(number: int) -> Part:
        async def run(store: JobStore) -> None:
            mine = cast("SchedulingStore", store)
            calls = [(record, f"{record.id} by {number}") for record in records]
            answers.extend([(await fire(mine, record, job, next_at=6)).no for record, job in calls])

        return run

    await together(scheduling, *(part(number) for number in range(8)))
    assert Counter(answers) == {None: 5, NoFire.CHANGED: 35}
    assert [(r.fired, r.next) for r in await scheduling.schedules(Q)] == [(1, 6)] * 5
    assert await counted(scheduling) == {State.WAITING: 5}


async def test_workers_fire_each_slot_once_and_leave_none_out(
    contended: None, open_store: Open, scheduling: SchedulingStore
) -> None:
    """Each part has its own store, as each process would."""
    ids = ["a", "b", "c"]
    for name in ids:
        await kept(scheduling, name, next=1)
    book = Book()
    others = [await open_store() for _ in range(WORKERS)]

    def part(number: int, mine: JobStore) -> Part:
        async def run(_: JobStore) -> None:
            await book.firer(number)(mine.plain if isinstance(mine, Blocking) else mine)

        return run

    await together(scheduling, *(part(number, other) for number, other in enumerate(others)))
    assert len(book.fired) == SLOTS * len(ids)
    await agree(scheduling, book, *ids)


async def test_edits_and_firings_do_not_undo_each_other(contended: None, scheduling: SchedulingStore) -> None:
    await kept(scheduling, next=1, definition=b"0")
    book = Book()

    async def edit(store: JobStore) -> None:
        mine, done = cast("SchedulingStore", store), 0
        while done < 5:
            record = await read(mine)
            await breathe()
            try:
                await mine.put_schedule(Q, replace(record, definition=b"%d" % (done + 1)))
            except Conflict:
                continue
            done += 1

    await together(scheduling, edit, *(book.firer(number) for number in range(3)))
    assert len(book.fired) == SLOTS
    assert (await read(scheduling)).definition == b"5"
    await agree(scheduling, book, "s")


async def test_a_slot_is_fired_before_its_queue_leaves_or_leaves_with_it(
    contended: None, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    """What the mover reads behind the move's first step is final, and knows of every job that was made."""
    await scheduling.put_schedule(Q, schedule(next=1))
    book = Book()

    async def go(store: JobStore) -> None:
        while len(book.fired) < 6:
            await store.count(Q)
            await breathe()
        await left_for_good(cast("MovingStore", store))

    await together(scheduling, go, *(book.firer(number, until=None) for number in range(3)))
    await agree(scheduling, book, "s")
    assert (await read(scheduling)).next == len(book.fired) + 1
