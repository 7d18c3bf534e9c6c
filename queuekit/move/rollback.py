"""A source that lost its last writes has jobs again that moved: they are removed once more, unless they ran there.

What the source gave out anew is left to the source where the target has not run it, and named where both have.
"""

from __future__ import annotations

from collections.abc import Sequence

from queuekit import ids as names
from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Op
from queuekit.domain.query import Change, Verb
from queuekit.domain.state import TERMINAL, State
from queuekit.move.flow import Flow, is_held
from queuekit.move.note import MODULUS
from queuekit.move.records import digest


async def reclaim(flow: Flow, number: int, ids: Sequence[str]) -> None:
    """Remove the jobs of one batch at the source again. Call it when nothing can be claimed there any more."""
    found = await flow.source.ask(flow.source.store.get, flow.source.queue, ids)
    again = {job.id: job for job in found if job is not None}
    if not again:
        return
    wanted = list(again)
    copies = await flow.target.ask(flow.target.store.get, flow.target.queue, wanted)
    keep = set[str]()
    for job, copy in zip(again.values(), copies, strict=True):
        if not _touched(job, copy, flow.note.began):
            continue
        if copy is not None and _untouched(copy, flow.note.arriving) and await _drop(flow, copy):
            keep.add(job.id)
            _expect(flow, job, copy)
        else:
            flow.note.name(job.id)
    await flow.source.confirm(number, [name for name in wanted if name not in keep])


def _touched(job: JobRecord, copy: JobRecord | None, began: int) -> bool:
    """Whether the source did something with a job after it had moved."""
    if copy is not None and digest(copy) == digest(job):
        return False
    claimed = job.claimed_at is not None and job.claimed_at >= began
    ended = job.state in TERMINAL and (job.ended_at or 0) >= began and (copy is None or job.rev > copy.rev)
    return claimed or ended


def _untouched(copy: JobRecord, arriving: int) -> bool:
    """Whether the target has surely not run its copy."""
    live = copy.state not in TERMINAL and copy.state is not State.ACTIVE and not is_held(copy)
    return live and (copy.claimed_at is None or copy.claimed_at < arriving)


async def _drop(flow: Flow, copy: JobRecord) -> bool:
    change, op = Change(id=copy.id, verb=Verb.DELETE, rev=copy.rev), Op(names.nonce(), 1)
    answers = await flow.target.ask(flow.target.store.change, flow.target.queue, [change], op)
    return answers[0].ok


def _expect(flow: Flow, job: JobRecord, copy: JobRecord) -> None:
    """It comes once more, at the place it had; so it is not counted yet."""
    if job.state is State.ACTIVE:
        flow.note.pending[job.id] = copy.place
    else:
        flow.places.held[job.id] = copy.place
    own = digest(copy)
    flow.note.count(copy.state.value, own, -1)
    flow.note.arrived = (flow.note.arrived - int.from_bytes(own)) % MODULUS
