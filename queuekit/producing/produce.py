"""Writing jobs: one call a queue and thousand jobs, each under an op of its own lane, repeated until it is answered.

Within a transaction of the caller nothing is repeated: the owner of a broken one begins it anew. Behind one that an
integration watches (`kit.transactions`), jobs are written when it has committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuekit import ids
from queuekit.domain.job import BATCH_MAX, JobRecord, JobSpec
from queuekit.domain.outcome import Op, Receipt
from queuekit.domain.redact import redact
from queuekit.errors import EnqueueNotApplied, Moved, QueueKitError, StoreUnavailable, Unsupported
from queuekit.handle import JobHandle
from queuekit.producing import following, seeking
from queuekit.producing.access import Access, Entry
from queuekit.producing.newjob import Later, NewJob, Register, Template, settle
from queuekit.store.direct import direct

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_log = logging.getLogger("queuekit")
_SHOWN = 20  # of the jobs that an error names in its message; all are in `jobs`


def send(kit: QueueKit, template: Template, body: bytes) -> JobHandle[Any]:
    """Write one job. The hot path: about 10 us above the store call."""
    if kit.transactions is not None and template.within is None:
        register = kit.transactions.opened()
        if register is not None:
            kit.access.blocking()  # what cannot be opened at all is told now, while it can be rolled back
            return hold(kit, [template.new(body)], register)[0]
    spec, queue = template.make(body), template.queue
    access = kit.access
    at = access.blocking()
    store = at.store
    if template.within is not None:
        receipt = direct(_join(access, at, queue, [spec], template.within))[0]
        return JobHandle.of(kit, queue, receipt.id, receipt.created, typed=template.typed)
    op = at.lanes.take()
    if access.roads.known and access.roads.of(queue) is not None:
        receipt = direct(_sent(access, at, template, spec, op))
    else:
        try:
            receipt = direct(store.enqueue(queue, [spec], op, None, template.asked)).receipts[0]
        except (StoreUnavailable, Moved) as first:
            receipt = direct(_sent(access, at, template, spec, op, first))
    at.lanes.give(op)
    if not receipt.created and template.chosen_id is not None:
        _compare(queue, spec, direct(seeking.record(access, at, queue, receipt.id)))
    return JobHandle.of(kit, queue, receipt.id, receipt.created, typed=template.typed)


async def asend(kit: QueueKit, template: Template, body: bytes) -> JobHandle[Any]:
    """Write one job."""
    if kit.transactions is not None and template.within is None:
        register = await kit.transactions.aopened()
        if register is not None:
            await _openable(kit.access)
            return hold(kit, [template.new(body)], register)[0]
    spec, queue = template.make(body), template.queue
    access = kit.access
    at = await access.asynchronous()
    store = at.store
    if template.within is not None:
        receipt = (await _join(access, at, queue, [spec], template.within))[0]
        return JobHandle.of(kit, queue, receipt.id, receipt.created, typed=template.typed)
    op = at.lanes.take()
    if access.roads.known and access.roads.of(queue) is not None:
        receipt = await _sent(access, at, template, spec, op)
    else:
        try:
            receipt = (await store.enqueue(queue, [spec], op, None, template.asked)).receipts[0]
        except (StoreUnavailable, Moved) as first:
            receipt = await _sent(access, at, template, spec, op, first)
    at.lanes.give(op)
    if not receipt.created and template.chosen_id is not None:
        _compare(queue, spec, await seeking.record(access, at, queue, receipt.id))
    return JobHandle.of(kit, queue, receipt.id, receipt.created, typed=template.typed)


def send_many(kit: QueueKit, jobs: Sequence[NewJob[Any]]) -> list[JobHandle[Any]]:
    """Write jobs, queue by queue; all of one call of a queue or none. Handles in the order of the jobs."""
    if not jobs:
        return []
    if kit.transactions is not None:
        register = kit.transactions.opened()
        if register is not None:
            kit.access.blocking()
            written = write(kit, [job for job in jobs if job.within is not None])
            return _in_order(jobs, written, hold(kit, [job for job in jobs if job.within is None], register))
    return write(kit, jobs)


async def asend_many(kit: QueueKit, jobs: Sequence[NewJob[Any]]) -> list[JobHandle[Any]]:
    """Write jobs, all queues at once; all of one call of a queue or none. Handles in the order of the jobs."""
    if not jobs:
        return []
    if kit.transactions is not None:
        register = await kit.transactions.aopened()
        if register is not None:
            await _openable(kit.access)
            written = await awrite(kit, [job for job in jobs if job.within is not None])
            return _in_order(jobs, written, hold(kit, [job for job in jobs if job.within is None], register))
    return await awrite(kit, jobs)


def commit(laters: Sequence[Later], behind: Sequence[Later] = ()) -> None:
    """Write jobs of one kit and store whose transactions have committed: one call a queue and thousand jobs.

    A job that cannot be written any more is told in an error line of its own, and at the end all of them are raised as
    EnqueueNotApplied; `behind` are those that nobody tries when this raises. A store that is away is waited for once.
    """
    jobs, handles = _taken(laters)
    failed: list[tuple[NewJob[Any], BaseException]] = []
    try:
        for first in [later.first for later in laters if later.first is not None]:
            first()
        for queue, indexes in _calls(jobs):
            away = next((error for _, error in failed if isinstance(error, StoreUnavailable)), None)
            error = away or _committed(laters[0].access, queue, [(jobs[i], handles[i]) for i in indexes])
            failed += [(jobs[i], error) for i in indexes if error is not None]
    except BaseException as end:  # Ctrl-C, say: what was not tried is lost as well
        told = {id(job) for job, _ in failed}
        left = [
            job for job, handle in zip(jobs, handles, strict=True) if handle.created is None and id(job) not in told
        ]
        _lost([*failed, *((job, end) for job in [*left, *_taken(behind)[0]])])
        _tell(laters)
        raise
    _tell(laters)
    if failed:
        cause = failed[0][1]
        raise _lost([*failed, *((job, cause) for job in _taken(behind)[0])]) from cause


def _tell(laters: Sequence[Later]) -> None:
    """Tell those that want to know it, and whose jobs are all written."""
    for later in laters:
        if later.written is not None and all(handle.created is not None for handle in later.handles):
            later.written()


def dropped(later: Later) -> None:
    """Its transactions have committed, and nobody will call `commit` for it any more."""
    jobs, _ = _taken([later])
    for job in jobs:
        _log.error(
            "job %s/%s (%s) was not written, although the transaction it waited for has committed: a hook before it"
            " raised; enqueue it again, with the same id",
            job.queue, job.id, job.task, extra={"queue": job.queue, "job": job.id, "task": job.task},
        )  # fmt: skip


def _taken(laters: Sequence[Later]) -> tuple[list[NewJob[Any]], list[JobHandle[Any]]]:
    """Jobs and handles of those that still wait, which now do not any more."""
    mine = [later for later in laters if later.waits]
    for later in mine:
        later.waits = False
    return [job for later in mine for job in later.jobs], [handle for later in mine for handle in later.handles]


def write(kit: QueueKit, jobs: Sequence[NewJob[Any]]) -> list[JobHandle[Any]]:
    """`send_many` now, whatever transaction of the application is open."""
    if not jobs:
        return []
    access = kit.access
    at = access.blocking()
    handles: list[JobHandle[Any] | None] = [None] * len(jobs)
    done: list[str] = []
    for queue, indexes in _calls(jobs):
        try:
            receipts = direct(_write(access, at, queue, [jobs[i].spec for i in indexes], jobs[indexes[0]].within))
        except QueueKitError as error:
            _note_written(error, done)
            raise
        clashes = _filled(kit, jobs, indexes, receipts, handles)
        if clashes:
            _compare_all(queue, clashes, direct(seeking.records(access, at, queue, [job.id for job in clashes])))
        done.append(f"{len(indexes)} on {queue!r}")
    return [handle for handle in handles if handle is not None]


async def awrite(kit: QueueKit, jobs: Sequence[NewJob[Any]]) -> list[JobHandle[Any]]:
    """`asend_many` now, whatever transaction of the application is open."""
    if not jobs:
        return []
    access = kit.access
    at = await access.asynchronous()
    handles: list[JobHandle[Any] | None] = [None] * len(jobs)
    done: list[str] = []
    by_queue: dict[str, list[list[int]]] = {}
    for queue, indexes in _calls(jobs):
        by_queue.setdefault(queue, []).append(indexes)

    async def fill(queue: str, calls: list[list[int]]) -> None:
        for indexes in calls:  # one after the other: the order within a queue is the caller's
            receipts = await _write(access, at, queue, [jobs[i].spec for i in indexes], jobs[indexes[0]].within)
            clashes = _filled(kit, jobs, indexes, receipts, handles)
            if clashes:
                _compare_all(queue, clashes, await seeking.records(access, at, queue, [job.id for job in clashes]))
            done.append(f"{len(indexes)} on {queue!r}")

    # gather, not a TaskGroup: a call that is under way must not be cut off because another queue is full
    ends = await asyncio.gather(*(fill(queue, calls) for queue, calls in by_queue.items()), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    if errors:
        _note_written(errors[0], done)
        for other in errors[1:]:  # what it says may have been written must not be lost
            errors[0].add_note("\n".join((f"another queue's call: {other}", *getattr(other, "__notes__", ()))))
        raise errors[0]
    return [handle for handle in handles if handle is not None]


def hold(kit: QueueKit, jobs: Sequence[NewJob[Any]], register: Register) -> list[JobHandle[Any]]:
    """Leave jobs to a transaction."""
    if not jobs:
        return []
    later = Later(kit, jobs)
    register(later)
    return later.handles


async def _openable(access: Access) -> None:
    """Open the store that the commit, a plain call, will write to: what cannot be opened at all is told while the
    transaction can be rolled back.
    """
    if not access.is_open:
        await asyncio.to_thread(access.blocking)


def _in_order(
    jobs: Sequence[NewJob[Any]], written: list[JobHandle[Any]], held: list[JobHandle[Any]]
) -> list[JobHandle[Any]]:
    """One list again of those written `within=` something and those left to a transaction."""
    one, other = iter(written), iter(held)
    return [next(other if job.within is None else one) for job in jobs]


def _committed(access: Access, queue: str, pairs: list[tuple[NewJob[Any], JobHandle[Any]]]) -> Exception | None:
    """One call behind a commit; what prevented it."""
    try:
        at = access.blocking()
        receipts = direct(_write(access, at, queue, [job.spec for job, _ in pairs], None))
    except Exception as error:  # noqa: BLE001  whatever it is: the data is committed, and the other queues must go on
        return error
    for (_, handle), receipt in zip(pairs, receipts, strict=True):
        settle(handle, receipt)
    clashes = [job for (job, _), receipt in zip(pairs, receipts, strict=True) if _clashes(job, receipt)]
    if clashes:
        try:
            _compare_all(queue, clashes, direct(seeking.records(access, at, queue, [job.id for job in clashes])))
        except QueueKitError as error:  # they are there: only the word about another payload is missing
            _log.warning("queue %s: jobs whose ids existed were not compared: %s", queue, redact(str(error)))
    return None


def _lost(failed: Sequence[tuple[NewJob[Any], BaseException]]) -> EnqueueNotApplied:
    """Say of each job that its data is there and it is not."""
    refs = [f"{job.queue}/{job.id}" for job, _ in failed]
    for ref, (job, error) in zip(refs, failed, strict=True):
        may = "may not have been" if getattr(error, "outcome", None) == "unknown" else "was not"
        _log.error(
            "job %s (%s) %s written, although the transaction it waited for has committed: %s: %s",
            ref, job.task, may, type(error).__name__, redact(str(error)),
            extra={"queue": job.queue, "job": job.id, "task": job.task},
        )  # fmt: skip
    shown = ", ".join(refs[:_SHOWN]) + (f" and {len(refs) - _SHOWN} more" if len(refs) > _SHOWN else "")
    return EnqueueNotApplied(
        f"the transaction has committed, its jobs could not all be written: {shown}; enqueue them again, with the same"
        f" ids: {redact(str(failed[0][1]))}",
        jobs=refs,
    )


async def _sent(
    access: Access, at: Entry, template: Template, spec: JobSpec, op: Op, first: StoreUnavailable | Moved | None = None
) -> Receipt:
    """One job that the store did not take at once."""
    queue = template.queue
    with _named(op, f"{queue}/{spec.id}"):
        receipts = await following.enqueue(access, at, queue, [spec], op, asked=template.asked, first=first)
    receipt = receipts[0]
    if template.chosen_id is None and receipt.id == spec.id:
        return Receipt(spec.id, True)  # nobody else has such an id: an earlier try wrote it
    return receipt


async def _write(access: Access, at: Entry, queue: str, specs: list[JobSpec], within: object | None) -> list[Receipt]:
    if within is not None:
        return await _join(access, at, queue, specs, within)
    op, first = at.lanes.take(), None
    if not access.roads.known or access.roads.of(queue) is None:
        try:
            receipts = (await at.store.enqueue(queue, specs, op)).receipts
        except (StoreUnavailable, Moved) as error:
            first = error
        else:
            at.lanes.give(op)
            return receipts
    with _named(op, f"{queue}/{specs[0].id} and {len(specs) - 1} more"):
        receipts = await following.enqueue(access, at, queue, specs, op, first=first)
    at.lanes.give(op)
    return receipts


async def _join(access: Access, at: Entry, queue: str, specs: list[JobSpec], within: object) -> list[Receipt]:
    """Let the caller's own transaction write the jobs. Under an op of its own: nobody knows when it is applied."""
    if "within" not in at.store.capabilities.parts:
        raise Unsupported(
            "within: this store cannot write a job with the caller's own write; Redis does in a pipeline (MULTI),"
            " MongoDB in a session's transaction on a replica set"
        )
    op = Op(ids.nonce(), 1)
    try:
        return (await at.store.enqueue(queue, specs, op, within)).receipts
    except Moved as moved:
        return await following.enqueue(access, at, queue, specs, op, first=moved, within=within)


@contextmanager
def _named(op: Op, what: str) -> Iterator[None]:
    """Put into the error of a store that stays away what may have been written: with the same id, again is safe."""
    try:
        yield
    except StoreUnavailable as error:
        error.op = op.token
        if error.outcome == "unknown":
            error.add_note(f"it may have been written: {what}; enqueue with the same id again is safe")
        raise


def _calls(jobs: Sequence[NewJob[Any]]) -> list[tuple[str, list[int]]]:
    """(queue, indexes) a call: at most BATCH_MAX, of one `within`, in the caller's order within a queue."""
    calls: list[tuple[str, list[int]]] = []
    last: dict[str, list[int]] = {}
    for index, job in enumerate(jobs):
        known = last.get(job.queue)
        if known is None or len(known) >= BATCH_MAX or jobs[known[0]].within is not job.within:
            known = last[job.queue] = []
            calls.append((job.queue, known))
        known.append(index)
    return calls


def _filled(
    kit: QueueKit,
    jobs: Sequence[NewJob[Any]],
    indexes: list[int],
    receipts: list[Receipt],
    handles: list[JobHandle[Any] | None],
) -> list[NewJob[Any]]:
    """Puts handles in; answers which jobs with a chosen id existed."""
    clashes = []
    for index, receipt in zip(indexes, receipts, strict=True):
        job = jobs[index]
        handles[index] = _handle(kit, job, receipt)
        if _clashes(job, receipt):
            clashes.append(job)
    return clashes


def _clashes(job: NewJob[Any], receipt: Receipt) -> bool:
    """Whether its id, chosen by the caller, was there."""
    return receipt.created is False and job.chosen and receipt.id == job.spec.id


def _compare_all(queue: str, jobs: Sequence[NewJob[Any]], records: Sequence[JobRecord | None]) -> None:
    for job, record in zip(jobs, records, strict=True):
        _compare(queue, job.spec, record)


def _handle(kit: QueueKit, job: NewJob[Any], receipt: Receipt) -> JobHandle[Any]:
    return JobHandle.of(kit, job.queue, receipt.id, receipt.created, typed=job.typed)


def _compare(queue: str, spec: JobSpec, record: JobRecord | None) -> None:
    """The same id again is the same job; another payload under it is worth a word."""
    if record is not None and record.id == spec.id and (record.body != spec.body or record.task != spec.task):
        _log.warning(
            "job %s/%s exists with another payload or task: nothing was overwritten, the existing job stands",
            queue,
            spec.id,
        )


def _note_written(error: BaseException, done: list[str]) -> None:
    if done:
        error.add_note(
            f"written before this: {', '.join(done)} (each queue's call is atomic, not all of them together)"
        )
