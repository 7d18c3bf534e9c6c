"""How a worker ends: what runs may finish, the rest goes back without using an attempt, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from queuekit import JobContext, QueueKit, State
from queuekit.errors import LeaseLost
from queuekit.runtime.worker import GAVE_BACK, MISCONFIGURED, Worker
from tests.runtime.conftest import WAIT, each_store, working


@each_store
async def test_what_runs_ends_within_the_grace(kit: QueueKit) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @kit.task
    async def finishes() -> str:
        started.set()
        await go.wait()
        return "done"

    handle, waiting = await finishes.aenqueue(), await finishes.aenqueue()
    async with working(kit, concurrency=1, grace=WAIT) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        go.set()
        await stopping
        assert worker.exit_code == 0
    assert await handle.aresult(timeout=WAIT) == "done"
    assert await waiting.astatus() is State.WAITING


@each_store
async def test_what_runs_at_the_deadline_goes_back_without_using_an_attempt(
    kit: QueueKit, new_kit: Callable[..., QueueKit]
) -> None:
    started = asyncio.Event()

    @kit.task(attempts=1)
    async def endless() -> None:
        started.set()
        await asyncio.sleep(WAIT * 10)

    handle = await endless.aenqueue()
    async with working(kit, grace=0.05) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        await worker.stop()
        assert worker.exit_code == GAVE_BACK
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.attempt, job.crashes, job.errors) == (State.WAITING, 1, 0, ())

    later = new_kit()

    @later.task("endless")
    async def short() -> str:
        return "ran again"

    async with working(later):
        assert await later.job(handle.ref).aresult(timeout=WAIT) == "ran again"


async def test_a_thread_that_runs_at_the_deadline_is_given_back_and_its_end_dropped(kit: QueueKit) -> None:
    started, go, over = asyncio.Event(), threading.Event(), threading.Event()
    seen: list[type[BaseException]] = []
    loop = asyncio.get_running_loop()

    @kit.task
    def stuck(ctx: JobContext) -> str:
        loop.call_soon_threadsafe(started.set)
        go.wait(WAIT)
        try:
            ctx.check_cancelled()
        except LeaseLost as error:
            seen.append(type(error))
        over.set()
        return "too late"

    handle = await stuck.aenqueue()
    async with working(kit) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        await asyncio.wait_for(worker.stop(grace=0), WAIT)
        assert worker.exit_code == GAVE_BACK
    assert await handle.astatus() is State.WAITING
    go.set()
    assert await asyncio.to_thread(over.wait, WAIT)
    assert seen == [LeaseLost]
    assert await handle.astatus() is State.WAITING


async def test_a_coroutine_that_ends_while_it_is_interrupted_has_completed(kit: QueueKit) -> None:
    started = asyncio.Event()

    @kit.task
    async def cleans_up() -> str:
        started.set()
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            pass
        return "cleaned"

    handle = await cleans_up.aenqueue()
    async with working(kit) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        await worker.stop(grace=0)
    assert await handle.aresult(timeout=WAIT) == "cleaned"


async def test_a_second_stop_shortens_the_grace(kit: QueueKit) -> None:
    started = asyncio.Event()

    @kit.task
    async def endless() -> None:
        started.set()
        await asyncio.sleep(WAIT * 10)

    handle = await endless.aenqueue()
    async with working(kit, grace="1h") as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        first = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        assert not first.done()
        await asyncio.wait_for(worker.stop(grace=0), WAIT)
        await asyncio.wait_for(first, WAIT)
    assert await handle.astatus() is State.WAITING


async def test_a_stop_may_give_more_time_than_the_worker_s_own_grace(kit: QueueKit) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @kit.task
    async def long() -> str:
        started.set()
        await go.wait()
        return "in its own time"

    handle = await long.aenqueue()
    async with working(kit, grace=0.05) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        asyncio.get_running_loop().call_later(0.4, go.set)
        stopping = asyncio.create_task(worker.stop("1h"))
        await asyncio.sleep(0)
    await asyncio.wait_for(stopping, WAIT)
    assert worker.exit_code == 0
    assert await handle.aresult(timeout=WAIT) == "in its own time"


async def test_cancelling_the_task_that_runs_a_worker_gives_everything_back(kit: QueueKit) -> None:
    started = asyncio.Event()

    @kit.task
    async def endless() -> None:
        started.set()
        await asyncio.sleep(WAIT * 10)

    handle = await endless.aenqueue()
    running = asyncio.create_task(Worker(kit, concurrency=2, grace="1h").arun())
    await asyncio.wait_for(started.wait(), WAIT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, WAIT)
    assert await handle.astatus() is State.WAITING


def test_an_event_loop_that_goes_down_gives_everything_back(new_kit: Callable[..., QueueKit], store_url: str) -> None:
    """asyncio.run cancels every task at its end, the consumer's and the slots' too, in any order."""
    kit = new_kit()
    full = asyncio.Barrier(5)

    @kit.task
    async def endless() -> None:
        await full.wait()
        await asyncio.sleep(WAIT * 10)

    handles = kit.enqueue_many([endless.make() for _ in range(6)])

    async def main() -> None:
        worker = Worker(kit, concurrency=4, grace="1h")
        await worker.__aenter__()
        await asyncio.wait_for(full.wait(), WAIT)  # four run, and the loop ends without stopping the worker

    asyncio.run(main())
    assert {handle.status() for handle in handles} == {State.WAITING}
    kit.close()


def test_an_event_loop_that_goes_down_gives_back_what_waits_for_its_tasks_turn(
    new_kit: Callable[..., QueueKit], store_url: str
) -> None:
    kit = new_kit()

    @kit.task(concurrency=1)
    async def one_by_one() -> None:
        await asyncio.sleep(WAIT * 10)

    handles = kit.enqueue_many([one_by_one.make() for _ in range(3)])

    async def main() -> None:
        worker = Worker(kit, concurrency=3, grace="1h")
        await worker.__aenter__()
        async with asyncio.timeout(WAIT):
            while len(worker.running()) < 3:  # noqa: ASYNC110  nobody tells of a job that waits for its turn
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert {handle.status() for handle in handles} == {State.WAITING}
    kit.close()


@each_store
async def test_burst_runs_what_is_due_and_ends(kit: QueueKit) -> None:
    ran: list[int] = []

    @kit.task
    async def counts(n: int) -> None:
        ran.append(n)
        if n == 0:
            await counts.aenqueue(99)

    for n in range(30):
        await counts.aenqueue(n)
    later = await counts.using(delay="1h").aenqueue(1000)
    await asyncio.wait_for(Worker(kit, burst=True, concurrency=3).arun(), WAIT)
    assert sorted(ran) == [*range(30), 99]
    assert await later.astatus() is State.DELAYED


async def test_burst_on_an_empty_queue_ends_at_once(kit: QueueKit) -> None:
    @kit.task
    async def never() -> None: ...

    await asyncio.wait_for(Worker(kit, burst=True).arun(), WAIT)


@pytest.mark.parametrize("concurrency", [1, 4, 100])
async def test_max_jobs_takes_exactly_so_many_and_finishes_them(kit: QueueKit, concurrency: int) -> None:
    ran: list[int] = []

    @kit.task
    async def counts(n: int) -> None:
        await asyncio.sleep(0.001)
        ran.append(n)

    handles = [await counts.aenqueue(n) for n in range(10)]
    worker = Worker(kit, max_jobs=6, concurrency=concurrency)
    await asyncio.wait_for(worker.arun(), WAIT)
    assert ran == [0, 1, 2, 3, 4, 5]
    assert [await handle.astatus() for handle in handles[6:]] == [State.WAITING] * 4
    assert worker.exit_code == 0


async def test_a_worker_lives_inside_another_loop_without_touching_signals(kit: QueueKit) -> None:
    import signal

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}

    @kit.task
    async def fine() -> int:
        return 1

    async with kit.worker(concurrency=2):
        assert {number: signal.getsignal(number) for number in before} == before
        assert await (await fine.aenqueue()).aresult(timeout=WAIT) == 1


async def test_a_worker_starts_once(kit: QueueKit) -> None:
    @kit.task
    async def fine() -> None: ...

    worker = Worker(kit)
    async with worker:
        pass
    with pytest.raises(RuntimeError, match="starts once"):
        await worker.arun()


async def test_max_jobs_holds_for_queues_with_slots_of_their_own_together(new_kit: Callable[..., QueueKit]) -> None:
    kit = new_kit(queues={name: {"concurrency": 1} for name in "abc"})
    ran: list[int] = []

    @kit.task
    async def one() -> None:
        ran.append(1)

    for _ in range(2):
        for name in "abc":
            await one.using(queue=name).aenqueue()
    worker = Worker(kit, queues=dict.fromkeys("abc", 1), max_jobs=4)
    async with asyncio.timeout(WAIT):
        await worker.arun()
    assert len(ran) == 4


async def test_a_process_that_grew_too_large_finishes_what_it_holds_and_ends(kit: QueueKit) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @kit.task
    async def holds() -> str:
        started.set()
        await go.wait()
        return "finished"

    handle = await holds.aenqueue()
    worker = Worker(kit, max_rss="1GiB")
    run = asyncio.create_task(worker.arun())
    await asyncio.wait_for(started.wait(), WAIT)
    worker._over(2**30 + 1)  # what the pulse tells it
    waits = await holds.aenqueue()
    go.set()
    await asyncio.wait_for(run, WAIT)
    assert (await handle.astatus(), await waits.astatus()) == (State.COMPLETED, State.WAITING)
    assert worker.exit_code == 0


async def test_a_process_below_its_limit_goes_on(kit: QueueKit) -> None:
    @kit.task
    async def quick() -> str:
        return "done"

    async with working(kit, max_rss="1GiB") as worker:
        worker._over(2**30)
        assert await (await quick.aenqueue()).aresult(timeout=WAIT) == "done"


async def test_a_limit_that_no_worker_can_keep_is_no_reason_to_start_again(kit: QueueKit) -> None:
    @kit.task
    async def quick() -> None: ...

    worker = Worker(kit, max_rss="1MiB")
    await asyncio.wait_for(worker.arun(), WAIT)  # its first look finds it larger
    assert worker.exit_code == MISCONFIGURED
