"""Handles: looking, waiting, acting, in both ways; find, health, and what an operator does to a queue."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from queuekit import Cancel, Job, JobHandle, Keep, QueueKit, Rate, State, Unique
from queuekit import clock as real_clock
from queuekit.domain.events import JobFact
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.query import Found, Where
from queuekit.errors import (
    ConfigError,
    Conflict,
    InvalidName,
    InvalidOption,
    JobCancelled,
    JobFailed,
    JobNotFound,
    PayloadError,
    ResultGone,
    ResultTimeout,
    Unsupported,
    WouldDeadlock,
)
from queuekit.testing import TestKit, VirtualClock


def ended(kit: TestKit, fn: Callable[[], Any], **options: Any) -> JobHandle[Any]:
    """A handle of a job that ran."""
    fn.__name__ = f"task{len(kit.tasks())}"
    handle: JobHandle[Any] = kit.task(attempts=1)(fn).using(**options).enqueue()
    kit.drain()
    return handle


def raising(error: BaseException) -> Callable[[], None]:
    def fn() -> None:
        raise error

    return fn


def test_status_and_get_of_what_never_was(kit: TestKit) -> None:
    handle = kit.job("q/none")
    assert (handle.status(), handle.get(), kit.get("none"), kit.job("none").status()) == (
        "unknown",
        None,
        None,
        "unknown",
    )
    assert (handle.id, handle.queue, handle.ref, handle.created) == ("none", "q", "q/none", None)
    assert not any((handle.cancel(), handle.retry(), handle.promote(), handle.delete(), handle.replace({})))
    with pytest.raises(JobNotFound):
        handle.result(timeout=1)
    with pytest.raises(JobNotFound):
        kit.job("none").result(timeout=1)


def test_references_are_checked(kit: TestKit) -> None:
    with pytest.raises(InvalidName):
        kit.job("a b")
    with pytest.raises(InvalidOption, match="names queue 'a'"):
        kit.job("a/x", queue="b")
    assert kit.job("a/x", queue="a").ref == kit.job("x", queue="a").ref == "a/x"


def test_a_bare_id_in_two_queues_is_a_conflict(kit: TestKit) -> None:
    kit.queue("a").enqueue("t", {}, id="x")
    assert kit.job("x").status() is State.WAITING
    assert kit.job("x").cancel()
    kit.queue("b").enqueue("t", {}, id="x")
    with pytest.raises(Conflict, match="queues a, b"):
        kit.get("x")
    assert kit.job("b/x").status() is State.WAITING


def test_every_end_of_a_result_has_a_name(kit: TestKit) -> None:
    assert ended(kit, lambda: {"a": 1}).result(timeout=1) == {"a": 1}
    assert ended(kit, lambda: None).result(timeout=1) is None
    with pytest.raises(JobFailed, match="failed in run 1: ValueError: bad") as failed:
        ended(kit, raising(ValueError("bad"))).result(timeout=1)
    assert (failed.value.error.type, failed.value.error.message, failed.value.error.attempt) == ("ValueError", "bad", 1)
    assert "raise error" in failed.value.error.traceback
    with pytest.raises(JobCancelled, match="enough"):
        ended(kit, raising(Cancel("enough"))).result(timeout=1)
    with pytest.raises(ResultGone):
        ended(kit, lambda: 1, keep_completed=False).result(timeout=1)
    with pytest.raises(ResultTimeout, match="waiting after"):
        kit.queue("q").enqueue("t", {}).result(timeout=0.01)
    assert issubclass(ResultTimeout, TimeoutError)


def test_a_result_is_as_the_annotation_says_only_where_the_handle_is_typed(kit: TestKit) -> None:
    @kit.task
    def cost() -> Decimal:
        return Decimal("1.50")

    handle = cost.enqueue()
    kit.drain()
    assert handle.result(timeout=1) == Decimal("1.50")
    assert kit.job(handle.ref).result(timeout=1) == "1.50"
    assert kit.queue("default").enqueue("cost", id=handle.id).result(timeout=1) == "1.50"


def test_a_result_wakes_who_waits(kit: TestKit) -> None:
    @kit.task
    def slow() -> int:
        return 5

    handle = slow.enqueue()
    thread = threading.Timer(0.05, kit.drain)
    thread.start()
    began = real_clock.monotonic()
    assert handle.result(timeout=30) == 5
    assert real_clock.monotonic() - began < 10
    thread.join()


async def test_a_result_wakes_who_waits_on_a_loop(kit: TestKit) -> None:
    @kit.task
    async def slow() -> int:
        return 5

    handle = await slow.aenqueue()
    waiting = asyncio.create_task(handle.aresult(timeout=30))
    await asyncio.sleep(0)
    await kit.adrain()
    assert await waiting == 5
    await kit.aclose()


def test_waiting_inside_a_job_is_refused(kit: TestKit) -> None:
    @kit.task(attempts=1)
    def outer(how: str) -> str:
        other = kit.queue("q").enqueue("t", {})
        return str(other.result(timeout=1 if how == "timed" else None))

    @kit.task(attempts=1)
    async def aouter(how: str) -> str:
        other = await kit.queue("q").aenqueue("t", {})
        if how == "sync":
            return str(other.result(timeout=1))
        return str(await other.aresult(timeout=0.01 if how == "timed" else None))

    handles = [outer.enqueue("plain"), outer.enqueue("timed"), aouter.enqueue("plain"), aouter.enqueue("sync")]
    timed = aouter.enqueue("timed")
    kit.drain("default")
    for handle in handles:
        with pytest.raises(JobFailed, match="WouldDeadlock"):
            handle.result(timeout=1)
    with pytest.raises(JobFailed, match="ResultTimeout"):
        timed.result(timeout=1)
    assert issubclass(WouldDeadlock, Exception)


def test_a_task_called_directly_may_wait(kit: TestKit) -> None:
    @kit.task
    def five() -> int:
        return 5

    @kit.task
    def waits() -> int:
        return five.enqueue().result(timeout=30) + 1

    done = threading.Event()

    def work() -> None:
        while not done.wait(0.01):
            kit.drain()

    thread = threading.Thread(target=work)
    thread.start()
    assert waits() == 6
    done.set()
    thread.join()


def test_verbs(kit: TestKit, clock: VirtualClock) -> None:
    q = kit.queue("q")
    handle = q.enqueue("t", {"a": 1}, delay="1h")
    assert handle.promote()
    assert not handle.promote()
    assert handle.reschedule(delay="2h", priority="low")
    job = handle.get()
    assert job is not None
    assert (job.priority, job.run_at) == (15, clock.now() + timedelta(hours=2))
    assert handle.reschedule(run_at=clock.now() + timedelta(hours=3))
    assert handle.replace({"b": 2})
    assert handle.cancel("no")
    assert not handle.cancel()
    assert not handle.reschedule(delay=5)
    job = handle.get()
    assert job is not None
    assert (job.state, job.reason, job.payload) == (State.CANCELLED, "no", {"b": 2})
    assert handle.retry()
    assert handle.status() is State.WAITING
    assert handle.delete()
    assert handle.status() == "unknown"


async def test_verbs_have_twins(kit: TestKit, clock: VirtualClock) -> None:
    handle = await kit.queue("q").aenqueue("t", {"a": 1}, delay="1h")
    assert await handle.apromote()
    assert await handle.areschedule(delay="2h")
    assert await handle.areplace({"b": 2})
    assert await handle.acancel("no")
    assert await handle.aretry()
    assert await handle.astatus() is State.WAITING
    job = await handle.aget()
    assert job is not None
    assert job.payload == {"b": 2}
    assert (await kit.aget(handle.ref)) == job
    assert await handle.adelete()
    await kit.aclose()


@pytest.mark.parametrize(("given", "words"), [
    ({}, "takes run_at"), ({"delay": 1, "run_at": datetime(2027, 1, 1, tzinfo=UTC)}, "twice"),
    ({"run_at": datetime(2027, 1, 1)}, "naive"), ({"priority": "now"}, "critical"),
])  # fmt: skip
def test_reschedule_checks_what_it_is_told(kit: TestKit, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        kit.job("q/x").reschedule(**given)


def test_replace_validates_where_the_task_is_known(kit: TestKit) -> None:
    @kit.task
    def resize(path: str, width: int = 1) -> None: ...

    handle = resize.using(delay=60).enqueue("p")
    with pytest.raises(PayloadError, match="width"):
        handle.replace({"path": "p", "width": "x"})
    assert handle.replace({"path": "p", "width": "5"})
    job = handle.get()
    assert job is not None
    assert job.payload == {"path": "p", "width": 5}


def test_a_retried_job_whose_key_is_held_stays(kit: TestKit) -> None:
    first = ended(kit, raising(ValueError("x")), unique=Unique("k"))
    kit.queue("default").enqueue("other", {}, unique="k")
    assert first.retry() is False
    assert first.status() is State.FAILED


def test_kill_after_comes_later(kit: TestKit) -> None:
    with pytest.raises(Unsupported, match="process executor"):
        kit.queue("q").enqueue("t", {}).cancel(kill_after=5)


def test_handles_travel_in_pickles(kit: TestKit) -> None:
    named = TestKit(name="travelling")
    handle = named.queue("q").enqueue("t", {})
    back = pickle.loads(pickle.dumps(handle))
    assert back == handle
    assert (back.created, back.status()) == (True, State.WAITING)
    assert hash(back) == hash(handle)
    assert b"redis" not in pickle.dumps(handle)
    assert len(pickle.dumps(handle)) < 300
    lost = pickle.loads(pickle.dumps(handle).replace(b"travelling", b"strangers!"))
    with pytest.raises(ConfigError, match="no QueueKit named 'strangers!'"):
        lost.status()


def test_find_pages_over_queues_and_states(kit: TestKit) -> None:
    for queue in ("b", "a"):
        for n in range(4):
            kit.queue(queue).enqueue("t" if n % 2 else "u", {"n": n}, id=f"{queue}{n}", delay=60 if n == 3 else 0)
    seen, cursor, pages = [], None, 0
    while True:
        page = kit.find(limit=3) if cursor is None else kit.find(limit=3, cursor=cursor)
        seen += [job.id for job in page.jobs]
        pages, cursor = pages + 1, page.cursor
        assert page.total == 8
        if cursor is None:
            break
    assert seen == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
    assert [job.id for job in kit.find(queue="a", task="t").jobs] == ["a1", "a3"]
    assert [job.id for job in kit.find(state="scheduled").jobs] == ["a3", "b3"]
    assert kit.find(queue="nowhere").jobs == ()


def test_find_filters_by_tag_text_and_age(kit: TestKit, clock: VirtualClock) -> None:
    @kit.task(tags=["mine"])
    def tagged(text: str) -> None:
        raise ValueError("broken pipe")

    old = tagged.using(attempts=1).enqueue("Äpfel")
    kit.drain()
    clock.travel(hours=2)
    new = tagged.using(attempts=1, tags=["own"]).enqueue("pears")
    kit.drain()
    waiting = kit.queue("q").enqueue("t", {"x": "PEARS"})

    def ids(**where: Any) -> list[str]:
        return [job.id for job in kit.find(**where).jobs]

    assert ids(tag="mine") == [old.id]
    assert ids(tag="own") == [new.id]
    assert ids(text="pears") == [new.id, waiting.id]
    assert ids(text="broken PIPE") == [new.id, old.id]
    assert ids(since="1h") == [new.id, waiting.id]
    assert ids(since=clock.now() - timedelta(hours=3), state="failed") == [new.id, old.id]
    assert kit.find(text="pears").total == 2


def test_find_stops_at_ended_jobs_that_are_too_old(kit: TestKit, clock: VirtualClock) -> None:
    kit.enqueue_many([kit.queue("q").make("t", {"n": n}) for n in range(9)])
    for job in kit.find(queue="q").jobs:
        kit.job(job.ref).cancel()
    clock.travel(hours=2)
    newest = kit.queue("q").enqueue("t")
    newest.cancel()
    store = kit.blocking_store()
    real, scanned = store.find, []

    async def counted(queue: str, where: Where) -> Found:
        found = await real(queue, where)
        scanned.extend(found.records)
        return found

    store.find = counted  # type: ignore[method-assign]  # watched by this test
    page = kit.find(queue="q", state="cancelled", since="1h", limit=2)
    assert [job.id for job in page.jobs] == [newest.id]
    assert (page.cursor, len(scanned)) == (None, 2)


def test_find_goes_on_where_a_bounded_scan_stopped(kit: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.producing.search.SCAN_MAX", 10)
    jobs = [kit.queue("q").make("t", {"n": n}, tags=["last"] if n == 39 else []) for n in range(40)]
    kit.enqueue_many(jobs)
    pages, cursor = 0, None
    found: list[Job] = []
    while pages == 0 or cursor is not None:
        page = kit.find(tag="last", limit=5) if cursor is None else kit.find(tag="last", limit=5, cursor=cursor)
        pages, cursor, found = pages + 1, page.cursor, found + list(page.jobs)
    assert [job.id for job in found] == [jobs[39].id]
    assert pages >= 4


@pytest.mark.parametrize(("where", "words"), [
    ({"limit": 0}, "1 to 1000"), ({"state": "lost"}, "waiting"), ({"cursor": "zzz"}, "cursor"),
    ({"colour": 1}, "find takes"), ({"since": datetime(2027, 1, 1)}, "naive"),
])  # fmt: skip
def test_find_checks_what_it_is_told(kit: TestKit, where: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        kit.find(**where)


def test_a_cursor_whose_queue_is_gone_goes_on_behind_it(kit: TestKit) -> None:
    for queue in ("a", "b", "c"):
        kit.queue(queue).enqueue("t", {}, id=queue)
    page = kit.find(limit=2)
    assert page.cursor is not None
    kit.queue("b").obliterate(confirm="b")
    assert [job.id for job in kit.find(cursor=page.cursor).jobs] == ["c"]


def test_health_names_the_six_and_more(kit: TestKit, clock: VirtualClock) -> None:
    kit.queue("q").enqueue("t", {})
    kit.queue("q").enqueue("t", {}, delay=60)
    clock.travel("90s")
    kit.queue("q").pause("night")
    health = kit.health()["q"]
    assert (health.name, health.waiting, health.delayed, health.paused) == ("q", 1, 1, "night")
    assert health.oldest_waiting == timedelta(seconds=90)
    assert kit.health("empty")["empty"].waiting == 0


def test_an_operator_s_layer_is_above_the_declared_one(kit: TestKit) -> None:
    q = kit.queue("q")
    q.configure(max_size=5, lease="1m", keep_completed=Keep(count=3))
    q.configure(concurrency=2)
    layer = q.conf().override
    assert (layer.max_size, layer.lease, layer.concurrency) == (5, 60_000, 2)
    assert layer.by
    assert layer.at > 0
    q.pause("why")
    q.reset()
    assert (q.conf().override.max_size, q.conf().override.paused) == (None, "why")
    q.resume()
    assert q.conf().override.paused is None
    with pytest.raises(InvalidOption, match="attempts of queue 'q' belong to code"):
        q.configure(attempts=5)
    with pytest.raises(InvalidOption, match="nothing to configure"):
        q.configure()
    q.configure(profile="heavy")
    assert (q.conf().override.concurrency, q.conf().override.lease) == (1, 3_600_000)


def test_configuring_goes_on_after_somebody_else_s_write(kit: TestKit) -> None:
    store = kit.blocking_store()
    real, writes = store.configure, []

    async def contended(queue: str, conf: QueueConf) -> QueueConf:
        writes.append(conf.rev)
        if len(writes) == 1:
            theirs = replace(conf, override=Limits(max_size=7))
            await real(queue, theirs)  # the same revision, a moment earlier: by somebody else
        return await real(queue, conf)

    store.configure = contended  # type: ignore[method-assign]  # made to be contended
    kit.queue("q").configure(max_size=5)
    assert writes == [0, 1]
    assert kit.queue("q").conf().override.max_size == 5


def test_pause_and_cancel_are_told_to_hooks(kit: TestKit) -> None:
    told: list[str] = []

    def tell(fact: JobFact) -> None:
        told.append(f"{fact.event} {fact.queue} {fact.job.state.value if fact.job else ''}")

    for event in ("paused", "resumed", "cancelled"):
        kit.on(event, tell)  # type: ignore[call-overload, arg-type, unused-ignore]  # a str from a tuple
    kit.queue("q").pause()
    kit.queue("q").resume()
    kit.queue("q").enqueue("t", {}).cancel()
    assert told == ["paused q ", "resumed q ", "cancelled q cancelled"]
    with pytest.raises(InvalidOption, match="no event 'faild'"):
        kit.on("faild")(tell)  # type: ignore[arg-type]  # what the checker refuses too


def test_prune_and_obliterate(kit: TestKit, clock: VirtualClock) -> None:
    q = kit.queue("q")
    kit.enqueue_many([q.make("t") for _ in range(5)])
    clock.travel(hours=1)
    kit.enqueue_many([q.make("t") for _ in range(2)])
    assert q.prune(State.WAITING, older_than="30m", limit=3) == 3
    assert q.prune(State.WAITING, older_than="30m") == 2
    with pytest.raises(InvalidOption, match="confirm='q'"):
        q.obliterate(confirm="yes")
    assert q.obliterate(confirm="q") == 2
    assert kit.find(queue="q").jobs == ()


async def test_operating_has_twins(kit: TestKit) -> None:
    q = kit.queue("q")
    await q.aconfigure(max_size=5)
    await q.apause("x")
    assert (await q.aconf()).override.paused == "x"
    await q.aresume()
    await q.areset()
    await q.aenqueue("t")
    assert (await kit.ahealth("q"))["q"].waiting == 1
    assert len((await kit.afind(queue="q")).jobs) == 1
    assert await q.aprune(State.WAITING) == 1
    assert await q.aobliterate(confirm="q") == 0
    await kit.aclose()


def test_a_snapshot_as_json(kit: TestKit) -> None:
    handle = ended(kit, raising(ValueError("x")))
    job = handle.get()
    assert job is not None
    said: Any = job.to_dict()
    assert (said["state"], said["errors"][0]["message"], said["tags"]) == ("failed", "x", [])
    assert datetime.fromisoformat(said["created_at"]) == job.created_at
    assert job.ref == handle.ref


def test_making_a_kit_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUEKIT_URL", "nonsense://")
    kit = QueueKit(imports=["no.such.module"], queues={"q": {"concurrency": 5, "rate": Rate(10, 1)}})
    kit.task(lambda_named)
    assert kit.queue("q").name == "q"
    with pytest.raises(ConfigError):
        kit.queue("q").enqueue("t", {})


def lambda_named() -> None: ...
