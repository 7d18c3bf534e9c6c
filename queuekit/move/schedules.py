"""A queue's schedules at the two sides of its move: counted, copied while neither side fires, read back.

The source drops its own when it is told that the queue is gone; until then both have them, and one of them rests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import MoveStopped, PayloadTooLarge
from queuekit.move.checks import SCHEDULES_PAGE, Pair
from queuekit.move.end import End
from queuekit.move.flow import Flow
from queuekit.move.records import schedule_digest
from queuekit.move.values import Side

PAGE_BYTES: Final = 4 * 1024 * 1024  # of definitions in one call
NAMED: Final = 20


async def digests(pair: Pair, side: Side, queue: str) -> dict[str, bytes]:
    """The digest of each schedule that a side has, by id."""
    return {one.id: schedule_digest(one) async for page in pair.schedules(side, queue) for one in page}


async def carry(flow: Flow) -> None:
    """Copy what the target does not have as it is here, and read it back. Nothing fires at either side meanwhile.

    Of two with one id the one that was written last stays. Raises MoveStopped; repeat it as you like.
    """
    source, target = flow.source, flow.target
    count = 0
    async for page in _pages(source):
        if not target.keeps_schedules:
            raise MoveStopped(
                f"queue {target.queue}: {target.name} keeps no schedules, {source.name} has some, as {page[0].id}."
                " --abort brings the queue back",
                queue=target.queue,
            )
        there = await target.get_schedules([record.id for record in page])
        await _tell_apart(flow, page, there)
        late = [mine for mine, copy in zip(page, there, strict=True) if copy is None or copy.rev < mine.rev]
        for some in chunks(late):
            await _send(target, some)
        count += len(page)
    flow.note.schedules = count


async def name_late(flow: Flow) -> None:
    """Of a source that rolled back when the target worked already: name what fired, or was written, there since."""
    async for page in _pages(flow.source):
        _name(flow, [record.id for record in page if record.rev > flow.note.began])


def chunks(records: Sequence[ScheduleRecord]) -> list[list[ScheduleRecord]]:
    """Pieces of about 4 MiB at most; one alone may be larger."""
    pieces, size = list[list[ScheduleRecord]](), 0
    for record in records:
        size += len(record.definition)
        if not pieces or size > PAGE_BYTES:
            pieces.append([])
            size = len(record.definition)
        pieces[-1].append(record)
    return pieces


async def _pages(end: End) -> AsyncIterator[list[ScheduleRecord]]:
    after = ""
    while end.keeps_schedules and (page := await end.schedules(after, SCHEDULES_PAGE)):
        yield page
        after = page[-1].id


async def _tell_apart(flow: Flow, mine: Sequence[ScheduleRecord], there: Sequence[ScheduleRecord | None]) -> None:
    """Journal the ids under which both sides have different schedules, before one of them is written over."""
    pairs = zip(mine, there, strict=True)
    if _name(flow, [one.id for one, copy in pairs if copy is not None and copy.definition != one.definition]):
        await flow.write()


def _name(flow: Flow, ids: Sequence[str]) -> bool:
    new = [name for name in ids if name not in flow.note.schedules_apart]
    flow.note.schedules_apart += new
    return bool(new)


async def _send(target: End, records: Sequence[ScheduleRecord]) -> None:
    try:
        await target.take_schedules(records)
    except PayloadTooLarge as error:
        raise MoveStopped(
            f"queue {target.queue}: {target.name} refuses a schedule that is larger than it allows: {error}."
            " Raise the payload limit (QUEUEKIT_PAYLOAD_LIMIT) for it, then --resume; or --abort",
            queue=target.queue,
        ) from error
    found = await target.get_schedules([record.id for record in records])
    pairs = zip(records, found, strict=True)
    wrong = [one.id for one, copy in pairs if copy is None or not _is_there(one, copy)]
    if wrong:
        named = ", ".join(wrong[:NAMED]) + (f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
        raise MoveStopped(
            f"queue {target.queue}: {len(wrong)} schedules read back at {target.name} are not what was sent: {named}."
            " None was removed at the source: --resume copies them again, --abort brings all back",
            queue=target.queue,
        )


def _is_there(mine: ScheduleRecord, copy: ScheduleRecord) -> bool:
    return copy.rev > mine.rev or schedule_digest(copy) == schedule_digest(mine)
