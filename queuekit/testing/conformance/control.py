"""Control: configuration in two layers, pruning, obliterating, and who is at work."""

from __future__ import annotations

import dataclasses

import pytest

from queuekit.domain.job import KEEP_ALL, KEEP_NOTHING, Retention
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home, Kind
from queuekit.domain.query import Verb, WorkerBeat
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption, Unsupported
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    bring,
    change,
    counted,
    created,
    done,
    hold,
    look,
    names,
    recover,
    set_limits,
    spec,
    state,
)

PRUNED = [kept_as for kept_as in State if kept_as not in (State.BLOCKED, State.ACTIVE)]
SAID = Limits(
    paused="night", lease=60_000, concurrency=7, max_size=99, max_crashes=5, keep_completed=Retention(3, HOUR),
    keep_failed=KEEP_ALL, by="anna", at=1_700_000_000_000,
)  # fmt: skip


# ---- configure


async def test_a_queue_that_nobody_configured_has_the_defaults(store: JobStore) -> None:
    assert await store.conf(Q) == QueueConf()
    await Producer(store).put("a")
    conf = await store.conf(Q)
    assert (conf.rev, conf.home, conf.declared, conf.override) == (0, Home.HERE, Limits(), Limits())


async def test_both_layers_come_back_as_they_were_written(open_store: Open, store: JobStore) -> None:
    declared = Limits(lease=40_000, max_size=10, by="code")

    answer = await store.configure(Q, QueueConf(declared=declared, override=SAID))

    assert (answer.rev, answer.declared, answer.override) == (1, declared, SAID)
    assert await store.conf(Q) == answer
    assert await (await open_store()).conf(Q) == answer


async def test_each_write_is_a_new_revision(store: JobStore) -> None:
    first = await store.configure(Q, QueueConf(override=Limits(max_size=1)))
    second = await store.configure(Q, dataclasses.replace(first, override=Limits(max_size=2)))
    third = await store.configure(Q, second)
    assert [first.rev, second.rev, third.rev] == [1, 2, 3]
    assert third.override == Limits(max_size=2)


async def test_a_write_over_another_revision_is_refused(store: JobStore) -> None:
    first = await store.configure(Q, QueueConf(override=Limits(max_size=1)))
    await store.configure(Q, dataclasses.replace(first, override=Limits(max_size=2)))

    for old in (first, QueueConf(), dataclasses.replace(first, rev=9)):
        with pytest.raises(Conflict):
            await store.configure(Q, dataclasses.replace(old, override=Limits(max_size=3)))

    conf = await store.conf(Q)
    assert (conf.rev, conf.override) == (2, Limits(max_size=2))


async def test_a_first_write_must_name_revision_zero(store: JobStore) -> None:
    with pytest.raises(Conflict):
        await store.configure(Q, QueueConf(rev=1))
    assert await store.conf(Q) == QueueConf()


async def test_configuring_does_not_move_a_queue(store: JobStore) -> None:
    await store.configure(Q, QueueConf(home=Home.GONE, to="elsewhere", epoch=9))
    conf = await store.conf(Q)
    assert (conf.home, conf.to, conf.epoch) == (Home.HERE, None, 0)
    assert created(await Producer(store).put("a")) == [True]


async def test_the_override_wins_over_the_declaration(store: JobStore) -> None:
    await store.configure(
        Q, QueueConf(declared=Limits(max_size=1, paused="declared"), override=Limits(max_size=2, paused="person"))
    )
    await Producer(store).put("a", "b")
    assert (await Worker(store).exchange((), 1)).paused == "person"

    conf = await store.conf(Q)
    await store.configure(Q, dataclasses.replace(conf, override=Limits()))
    assert (await Worker(store).exchange((), 1)).paused == "declared"


async def test_a_declaration_alone_is_in_force(store: JobStore) -> None:
    await store.configure(Q, QueueConf(declared=Limits(paused="code")))
    await Producer(store).put("a")
    answer = await Worker(store).exchange((), 1)
    assert (answer.paused, answer.claims) == ("code", [])


async def test_a_configuration_is_of_one_queue(store: JobStore) -> None:
    await set_limits(store, "one", paused="x")
    await Producer(store, "two").put("a")
    assert (await store.conf("two")).rev == 0
    assert names(await Worker(store, "two").claim()) == ["a"]


@pytest.mark.parametrize("limits", [Limits(cap=5), Limits(rates=((10, 1000),))])
async def test_limits_over_all_workers_are_refused_where_the_store_has_none(store: JobStore, limits: Limits) -> None:
    if "limits" not in store.capabilities.parts:
        for conf in (QueueConf(override=limits), QueueConf(declared=limits)):
            with pytest.raises(Unsupported):
                await store.configure(Q, conf)
        assert await store.conf(Q) == QueueConf()


async def test_a_limit_that_cannot_be_is_refused(store: JobStore) -> None:
    with pytest.raises(InvalidOption):
        await store.configure(Q, QueueConf(override=Limits(max_size=0)))
    assert await store.conf(Q) == QueueConf()


# ---- prune


@pytest.mark.parametrize("kept_as", PRUNED)
async def test_a_state_is_pruned_of_its_old_jobs(harness: Harness, store: JobStore, kept_as: State) -> None:
    await bring(store, "old", kept_as)
    if kept_as in (State.WAITING, State.DELAYED):
        await change(store, "old", Verb.RESCHEDULE, priority=999)
    await harness.advance(10 * MINUTE)
    await bring(store, "young", kept_as)
    for other in (State.COMPLETED, State.FAILED):
        if other is not kept_as and kept_as is not State.WAITING:
            await bring(store, other, other)

    assert await store.prune(Q, state=kept_as, older_than=HOUR) == (0, False)
    assert await store.prune(Q, state=kept_as, older_than=5 * MINUTE) == (1, False)

    assert await state(store, "old") is None
    assert await state(store, "young") is kept_as
    assert (await store.count(Q)).states[kept_as] == 1
    for other in (State.COMPLETED, State.FAILED):
        if other is not kept_as and kept_as is not State.WAITING:
            assert await state(store, other) is other


@pytest.mark.parametrize("kept_as", PRUNED)
async def test_a_state_may_be_pruned_of_all_its_jobs_in_bounded_steps(
    harness: Harness, store: JobStore, kept_as: State
) -> None:
    own = Retention(count=9)  # every other job's: age is what counts here, whoever says how many are kept
    said = [{}, {"keep_completed": own, "keep_failed": own}]
    delay = HOUR if kept_as is State.DELAYED else None
    await Producer(store).put(*(spec(f"j{i}", delay=delay, **said[i % 2]) for i in range(5)))
    worker = Worker(store)
    kinds = {
        State.COMPLETED: Kind.COMPLETED, State.FAILED: Kind.FAILED, State.CANCELLED: Kind.CANCELLED,
        State.PARKED: Kind.PARKED,
    }  # fmt: skip
    if kept_as in kinds:
        for job in await worker.claim(5):
            await worker.end(job, kinds[kept_as])
            await harness.advance(10)

    assert await store.prune(Q, state=kept_as, limit=2) == (2, True)
    if kept_as in kinds:
        assert await store.get(Q, ["j0", "j1"]) == [None, None]
        assert await state(store, "j2") is kept_as
    assert await store.prune(Q, state=kept_as, limit=2) == (2, True)
    assert await store.prune(Q, state=kept_as, limit=2) == (1, False)
    assert await counted(store) == {}
    assert await worker.claim(5) == []


async def test_what_waits_is_pruned_by_the_age_of_the_job(harness: Harness, store: JobStore) -> None:
    """Not by how long it has been waiting again, and whatever its line."""
    worker = Worker(store)
    await Producer(store).put("b")
    back = await worker.take("b")
    await harness.advance(MINUTE)
    await Producer(store).put("a")
    await worker.take("a")
    await harness.advance(MINUTE)
    assert (await recover(store)).suspects == ["b", "a"]
    (back,) = await worker.claim()
    await worker.end(back, Kind.SNOOZED)

    assert await store.prune(Q, state=State.WAITING, older_than=HOUR) == (0, False)
    assert await store.prune(Q, state=State.WAITING, older_than=MINUTE + 30 * SECOND) == (1, False)
    assert (await state(store, "b"), await state(store, "a")) == (None, State.WAITING)


async def test_active_jobs_are_not_pruned(store: JobStore) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    with pytest.raises(InvalidOption):
        await store.prune(Q, state=State.ACTIVE)
    assert await state(store, "a") is State.ACTIVE


async def test_pruning_a_queue_that_is_not_removes_nothing(store: JobStore) -> None:
    assert await store.prune("never-seen") == (0, False)
    assert await store.prune("never-seen", state=State.FAILED) == (0, False)


async def test_a_pruned_id_is_free_again(harness: Harness, store: JobStore) -> None:
    await bring(store, "a", State.COMPLETED)
    await harness.advance(MINUTE)
    await store.prune(Q, state=State.COMPLETED)
    assert created(await Producer(store).put("a")) == [True]


async def test_a_prune_of_one_queue_leaves_others_alone(harness: Harness, store: JobStore) -> None:
    await Producer(store, "one").put("a")
    await Producer(store, "two").put("a")
    await harness.advance(MINUTE)
    assert await store.prune("one", state=State.WAITING) == (1, False)
    assert await state(store, "a", "two") is State.WAITING


# ---- obliterate


async def test_an_obliterated_queue_is_as_if_it_had_never_been(harness: Harness, store: JobStore) -> None:
    for kept_as in (State.COMPLETED, State.FAILED, State.CANCELLED, State.PARKED, State.DELAYED, State.WAITING):
        await bring(store, kept_as, kept_as)
    await set_limits(store, max_size=100)

    removed, more = await store.obliterate(Q)

    assert (removed, more) == (6, False)
    assert await store.queues() == []
    assert await store.conf(Q) == QueueConf()
    counts = await store.count(Q)
    assert not any(counts.states.values())
    assert counts.totals.enqueued == 0
    assert await store.locate("waiting") == []
    assert created(await Producer(store).put("waiting", "failed")) == [True, True]
    assert names(await Worker(store).claim(9)) == ["waiting", "failed"]


async def test_obliterating_goes_in_bounded_steps(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c", spec("d", delay=HOUR), spec("e", delay=HOUR))
    removed, more, steps = 0, True, 0
    while more:
        gone, more = await store.obliterate(Q, limit=2)
        assert gone <= 2
        removed, steps = removed + gone, steps + 1
    assert removed == 5
    assert steps >= 3
    assert await store.queues() == []


async def test_a_queue_with_active_jobs_is_not_obliterated(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    job = await worker.take("a")

    with pytest.raises(Conflict):
        await store.obliterate(Q)

    assert await counted(store) == {State.ACTIVE: 1, State.WAITING: 1}
    await worker.end(job)
    assert await store.obliterate(Q) == (2, False)


async def test_a_queue_with_active_jobs_may_be_obliterated_by_force(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    job = await worker.take("a")

    assert await store.obliterate(Q, force=True) == (2, False)

    assert (await store.renew(Q, [hold(job)], LEASE)).lost == ["a"]
    assert await counted(store) == {}


async def test_obliterating_a_queue_that_is_not_removes_nothing(store: JobStore) -> None:
    assert await store.obliterate("never-seen") == (0, False)


async def test_obliterating_one_queue_leaves_others_alone(store: JobStore) -> None:
    for queue in ("a", "ab", "a:b", "a-b"):
        await Producer(store, queue).put("x")
        await set_limits(store, queue, max_size=5)
    await store.obliterate("a")
    assert await store.queues() == ["a-b", "a:b", "ab"]
    for queue in ("ab", "a:b", "a-b"):
        assert await state(store, "x", queue) is State.WAITING
        assert (await store.conf(queue)).override.max_size == 5


async def test_an_obliterated_queue_has_forgotten_its_absence(harness: Harness, store: JobStore) -> None:
    await store.recover(Q, every=MINUTE)
    await store.obliterate(Q)
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(HOUR)
    assert (await store.recover(Q, every=MINUTE)).suspects == ["a"]


async def test_nobody_waits_for_the_namesake_of_a_job_that_was_obliterated(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    for name in ("a", "b"):
        await store.watch(Q, name, 1)
    assert await store.obliterate(Q, limit=1) == (1, True)
    (gone,) = [name for name in ("a", "b") if await state(store, name) is None]
    await Producer(store).put(spec(gone, keep_completed=KEEP_NOTHING))
    worker = Worker(store)
    await worker.settle(*(done(job) for job in await worker.claim(2)))
    assert await state(store, gone) is None


# ---- pause and resume


async def test_a_pause_survives_whatever_happens_to_jobs(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", spec("b", delay=MINUTE))
    worker = Worker(store)
    job = await worker.take("a")
    await set_limits(store, paused="stop")
    await worker.end(job, Kind.RELEASED)
    await harness.advance(2 * MINUTE)
    await Producer(store).put("c")
    await recover(store)

    assert await worker.claim(9) == []
    assert (await look(store, "a")).state is State.WAITING
    await set_limits(store)
    assert names(await worker.claim(9)) == ["a", "c", "b"]  # the claim before promoted b behind c


# ---- workers


def beat(id: str, **said: object) -> WorkerBeat:
    known = WorkerBeat(id=id, host="web-1", pid=42, queues=("a", "b:c"), concurrency=8, started_at=1_700_000_000_000)
    return dataclasses.replace(known, **said)  # type: ignore[arg-type]  # fields of WorkerBeat by name


async def test_a_worker_that_beats_is_known_with_all_it_told(open_store: Open, store: JobStore) -> None:
    told = beat("w1", running=3, done=99, version="1.2", rss=123_456_789, lag=0.25, info='{"a": "$b"}')

    now = await store.beat(told, 30 * SECOND)

    (known,) = await (await open_store()).workers()
    assert known.seen == now
    assert dataclasses.replace(known, seen=0) == told


async def test_the_last_beat_is_what_is_known(store: JobStore) -> None:
    await store.beat(beat("w1", done=1), 30 * SECOND)
    await store.beat(beat("w1", done=2, queues=()), 30 * SECOND)
    (known,) = await store.workers()
    assert (known.done, known.queues) == (2, ())


async def test_workers_are_told_by_id(store: JobStore) -> None:
    for name in ("w2", "w10", "W3", "w1"):
        await store.beat(beat(name), 30 * SECOND)
    assert [worker.id for worker in await store.workers()] == ["W3", "w1", "w10", "w2"]


async def test_a_silent_worker_is_forgotten(harness: Harness, store: JobStore) -> None:
    await store.beat(beat("short"), 30 * SECOND)
    await store.beat(beat("long"), HOUR)
    await harness.advance(31 * SECOND)
    assert [worker.id for worker in await store.workers()] == ["long"]
    await store.beat(beat("short"), 30 * SECOND)
    assert [worker.id for worker in await store.workers()] == ["long", "short"]


async def test_a_worker_that_says_goodbye_is_forgotten(store: JobStore) -> None:
    await store.beat(beat("w1"), 30 * SECOND)
    await store.beat(beat("w2"), 30 * SECOND)
    await store.beat(beat("w1"), 0)
    assert [worker.id for worker in await store.workers()] == ["w2"]


async def test_no_workers_are_no_workers(store: JobStore) -> None:
    assert await store.workers() == []
