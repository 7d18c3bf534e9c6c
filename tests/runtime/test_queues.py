"""Which queues a worker consumes, in what order, how many jobs at once, and what it declares of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuekit import Profile, QueueKit, Settings, State
from queuekit.errors import InvalidOption, Unsupported
from queuekit.runtime.order import Order
from queuekit.runtime.plan import plan
from queuekit.runtime.source import Source
from queuekit.runtime.worker import Worker
from tests.runtime.conftest import WAIT, each_store


def with_tasks(kit: QueueKit, *queues: str) -> QueueKit:
    async def handler() -> None: ...

    for queue in queues:
        kit.task(f"in-{queue}", queue=queue)(handler)
    return kit


@each_store
async def test_a_list_of_queues_is_strict_order(kit: QueueKit) -> None:
    ran: list[str] = []

    for name in ("low", "high", "middle"):

        async def handler(queue: str = name) -> None:
            ran.append(queue)

        task = kit.task(f"in-{name}", queue=name)(handler)
        for _ in range(6):
            await task.aenqueue(name)
    await asyncio.wait_for(Worker(kit, queues=["high", "middle", "low"], concurrency=2, burst=True).arun(), WAIT)
    assert ran == ["high"] * 6 + ["middle"] * 6 + ["low"] * 6


async def test_weights_share_the_slots_while_all_have_work(kit: QueueKit) -> None:
    ran: list[str] = []

    for name in ("often", "seldom"):

        async def handler(queue: str = name) -> None:
            ran.append(queue)

        task = kit.task(f"in-{name}", queue=name)(handler)
        await kit.aenqueue_many([task.make(name) for _ in range(60)])
    await asyncio.wait_for(Worker(kit, queues={"often": 3, "seldom": 1}, concurrency=1, burst=True).arun(), WAIT)
    assert Counter(ran) == {"often": 60, "seldom": 60}
    first = Counter(ran[:40])
    assert 27 <= first["often"] <= 33, first


async def test_queues_that_do_not_compete_get_slots_of_their_own(new_kit: Callable[..., QueueKit]) -> None:
    kit = with_tasks(new_kit(queues={"a": {"concurrency": 2}, "b": {"concurrency": 3}}), "a", "b", "c")
    now: Counter[str] = Counter()
    full, go = asyncio.Event(), asyncio.Event()

    async def holds(queue: str) -> None:
        now[queue] += 1
        if now == {"a": 2, "b": 3, "c": 1}:
            full.set()
        await go.wait()

    handles = []
    for queue in "abc":
        task = kit.task(f"hold-{queue}", queue=queue)(holds)
        handles += await kit.aenqueue_many([task.make(queue) for _ in range(5)])
    async with Worker(kit, grace=5):
        await asyncio.wait_for(full.wait(), WAIT)
        states = Counter([await handle.astatus() for handle in handles])
        go.set()
    assert states == {State.ACTIVE: 6, State.WAITING: 9}


async def test_no_queue_runs_more_at_once_than_its_own_concurrency_inside_shared_slots(
    new_kit: Callable[..., QueueKit],
) -> None:
    kit = new_kit(queues={"narrow": {"concurrency": 1}})
    most: Counter[str] = Counter()
    now: Counter[str] = Counter()

    async def bounded(queue: str) -> None:
        now[queue] += 1
        most[queue] = max(most[queue], now[queue])
        await asyncio.sleep(0.002)
        now[queue] -= 1

    for queue in ("narrow", "wide"):
        task = kit.task(f"in-{queue}", queue=queue)(bounded)
        await kit.aenqueue_many([task.make(queue) for _ in range(20)])
    await asyncio.wait_for(Worker(kit, queues=["narrow", "wide"], concurrency=4, burst=True).arun(), WAIT)
    assert most["narrow"] == 1
    assert 3 <= most["wide"] <= 4


@each_store
async def test_a_worker_declares_its_queues_once_and_leaves_a_persons_override(
    new_kit: Callable[..., QueueKit],
) -> None:
    first = with_tasks(new_kit(queues={"default": {"max_size": 7, "lease": "2m", "max_crashes": 2}}), "default")
    await Worker(first, burst=True).arun()
    store = await first.async_store()
    written = await store.conf("default")
    assert (written.declared.max_size, written.declared.lease, written.declared.max_crashes) == (7, 120_000, 2)
    await first.queue("default").aconfigure(max_size=99, max_crashes=5)
    worker = Worker(first, burst=True)
    await worker.arun()
    conf = await store.conf("default")
    assert (conf.rev, conf.effective.max_size) == (written.rev + 1, 99), "nothing was declared anew"
    assert worker.plan is not None
    assert worker.plan.queues[0].lease == 120_000

    changed = with_tasks(new_kit(queues={"default": {"max_size": 8, "lease": "2m", "max_crashes": 2}}), "default")
    await Worker(changed, burst=True).arun()
    now = (await store.conf("default")).effective
    assert now.max_size == 8, "a changed declaration takes its field back"
    assert now.max_crashes == 5, "and no other"


def planned(options: dict[str, Any], *, queues: dict[str, Any] | None = None, **settings: Any) -> Any:
    said = Settings(url="memory://", chosen_by="test", **settings)
    return plan(with_tasks(QueueKit(settings=said, queues=queues), "heavy-work", "light-work", "other"), options)


def test_a_worker_of_one_type_takes_only_queues_of_that_profile() -> None:
    queues = {"heavy-work": {"profile": Profile.HEAVY}, "light-work": {"profile": "light"}}
    assert [one.queue for one in planned({}, queues=queues).queues] == ["heavy-work", "light-work", "other"]
    heavy = planned({"type": "HEAVY"}, queues=queues).queues
    assert [(one.queue, one.concurrency, one.lease, one.check) for one in heavy] == [
        ("heavy-work", 1, 3_600_000, 300_000)
    ]
    light = planned({}, queues=queues, worker_type="light").queues
    assert [(one.queue, one.concurrency, one.lease) for one in light] == [("light-work", 50, 30_000)]
    with pytest.raises(InvalidOption, match="has the profile 'huge'"):
        planned({"type": "huge"}, queues=queues)


def test_profiles_of_the_settings_file_are_found_by_name() -> None:
    tables = {"profiles": {"video": {"concurrency": 2, "lease": "2h"}}}
    (queue,) = planned({"type": "video"}, queues={"other": {"profile": "video"}}, file_tables=tables).queues
    assert (queue.queue, queue.concurrency, queue.lease) == ("other", 2, 7_200_000)
    with pytest.raises(InvalidOption, match="known: light, medium, heavy, video"):
        planned({}, queues={"other": {"profile": "vidoe"}}, file_tables=tables)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": "5"}, "concurrency='5'"),
        ({"queues": "a,b"}, "a list of names"),
        ({"queues": ["bad name"]}, "bad name"),
        ({"queues": {"a": 0}}, "weight of 'a'"),
        ({"grace": "soon"}, "soon"),
        ({"max_rss": "much"}, "max_rss"),
        ({"max_jobs": -1}, "max_jobs"),
        ({"exclude": ["heavy-work", "light-work", "other"]}, "excluded"),
        ({"threads": 4}, "no option 'threads'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_asked(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises((InvalidOption, ValueError, Exception), match=complaint):
        planned(options)


def test_what_is_not_there_yet_is_refused_and_not_ignored() -> None:
    with pytest.raises(Unsupported, match="groups"):
        planned({}, queues={"other": {"group": {"cap": 1}}})
    with pytest.raises(Unsupported, match="health_port"):
        planned({"health_port": 8080})


def test_a_kit_without_handlers_has_nothing_to_consume(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="no task with a handler"):
        plan(QueueKit("memory://"), {})


def source(name: str, *, cap: int = 100, weight: int = 1) -> Source:
    made = Source(name, cap=cap, lease=1000, weight=weight)
    made.asked = 1e9  # not due for a poll
    return made


def test_an_end_of_a_lower_queue_is_handed_in_while_a_higher_one_always_has_work() -> None:
    high, low = source("high"), source("low")
    low.hungry = False
    low.outbox.append(("claim", "outcome"))  # type: ignore[arg-type]  # only their number counts here
    order = Order([high, low], strict=True, size=10)
    chosen = [order.choose(0.0, 5) for _ in range(4)]
    assert (low, 0) in chosen
    assert [one for one in chosen if one != (low, 0)] == [(high, 5)] * (4 - chosen.count((low, 0)))


def test_a_queue_that_slept_does_not_save_up_turns() -> None:
    busy, sleeper = source("busy"), source("sleeper")
    sleeper.hungry = False
    order = Order([busy, sleeper], strict=False, size=1)
    for _ in range(50):
        assert order.choose(0.0, 1) == (busy, 1)
        order.served(busy, 1)
    sleeper.hungry = True
    turns = []
    for _ in range(10):
        one, _want = order.choose(0.0, 1) or (busy, 0)
        order.served(one, 1)
        turns.append(one.queue)
    assert 4 <= turns.count("sleeper") <= 6


async def test_a_persons_retention_wins_over_the_queues_and_loses_to_the_tasks(
    new_kit: Callable[..., QueueKit],
) -> None:
    kit = new_kit(queues={"default": {"keep_completed": 1000}})

    @kit.task
    async def plain() -> None: ...

    @kit.task(keep_completed=2)
    async def own() -> None: ...

    await Worker(kit, burst=True).arun()  # writes the declaration
    await kit.queue("default").aconfigure(keep_completed=3)
    await kit.aenqueue_many([task.make() for task in (plain, own) for _ in range(6)])
    await asyncio.wait_for(Worker(kit, burst=True, concurrency=1).arun(), WAIT)
    store = await kit.async_store()
    while (await store.prune("default"))[1]:
        continue
    page = await kit.afind(queue="default", state=State.COMPLETED)
    assert Counter(job.task for job in page.jobs) == {"plain": 3, "own": 2}


async def test_a_concurrency_set_by_a_person_holds_for_workers_that_run(
    new_kit: Callable[..., QueueKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuekit.runtime.tuner.EVERY", 0.05)
    kit = new_kit(queues={"default": {"concurrency": 1}})
    three, go = asyncio.Barrier(4), asyncio.Event()

    @kit.task
    async def holds(together: bool) -> None:
        if together:
            await three.wait()
        await go.wait()

    first = await holds.aenqueue(False)
    async with Worker(kit, grace=5) as worker:
        while await first.astatus() is not State.ACTIVE:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.01)
        handles = await kit.aenqueue_many([holds.make(True) for _ in range(3)])
        await kit.queue("default").aconfigure(concurrency=4)
        await asyncio.wait_for(three.wait(), WAIT)
        await kit.queue("default").aconfigure(concurrency=2)
        while worker._consumers[0].slots.size != 2:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)
        go.set()
        for handle in (first, *handles):
            await handle.aresult(timeout=WAIT)
        await (await holds.aenqueue(False)).aresult(timeout=WAIT)
