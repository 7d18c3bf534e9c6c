"""The fault layer itself: what each fault does to a call, which calls a rule meets, and that an idle plan fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueFull, StoreUnavailable
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Op
from queuekit.store.protocol import JobStore
from queuekit.testing import Faults, TestKit, faulty, faulty_store
from queuekit.testing.conformance.harness import Blocking, Harness
from queuekit.testing.faults import Call, Fault
from queuekit.testing.faults.port import FaultyPort
from tests.contract.conftest import matrix

Q = "q"


def spec(id: str) -> JobSpec:
    return JobSpec(id=id, task="t", body=b"{}")


def over(store: JobStore, faults: Faults) -> JobStore:
    """A faulty store in the coat it had."""
    if isinstance(store, Blocking):
        return Blocking(faulty_store(store.plain, faults))
    return faulty_store(store, faults)


def step(store: JobStore) -> str:
    """The name of an enqueue's own call on this store: the last one that it makes."""
    inner: Any = getattr(store, "plain", store)
    return {"RedisStore": "enqueue.enqueue", "FakeStore": "enqueue.enqueue", "EmbeddedStore": "enqueue.run",
            "ModelStore": "enqueue.call"}.get(type(inner.inner).__name__, "enqueue.insert*")  # fmt: skip


async def ids(store: JobStore, faults: Faults) -> list[str]:
    with faults.suspended():
        return [job.id for job in await store.get(Q, ["a", "b"]) if job is not None]


async def test_a_lost_request_did_nothing_and_a_lost_reply_all(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults)
    name = step(store)
    faults.lose_request(name, nth=1).lose_reply(name, nth=2)
    for there in ([], ["a"]):
        with pytest.raises(StoreUnavailable, match="injected") as caught:
            await store.enqueue(Q, [spec("a")], Op("p", 1))
        assert caught.value.outcome == "unknown"
        assert await ids(store, faults) == there
    assert (await store.enqueue(Q, [spec("a")], Op("p", 1))).receipts[0].id == "a"
    faults.check(2)
    assert [one.fault for one in faults.injected] == [Fault.LOSE_REQUEST, Fault.LOSE_REPLY]


async def test_a_subscription_that_nobody_gets_is_hung_up() -> None:
    class Port:
        open = 0

        async def listen(self, channel: bytes) -> object:
            self.open += 1
            return self

        async def hang_up(self, subscription: object) -> None:
            assert subscription is self
            self.open -= 1

    port = Port()
    faulty_port = FaultyPort(port, Faults().lose_reply("listen"))
    with pytest.raises(StoreUnavailable):
        await faulty_port.listen(b"x")
    assert port.open == 0


async def test_a_refusal_says_that_nothing_happened(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults.refuse("enqueue", nth=1))
    with pytest.raises(StoreUnavailable) as caught:
        await store.enqueue(Q, [spec("a")], Op("p", 1))
    assert caught.value.outcome == "refused"
    assert await ids(store, faults) == []


async def test_a_late_request_arrives_when_it_is_released(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults)
    faults.late(step(store), nth=1, after=None)
    with pytest.raises(StoreUnavailable):
        await store.enqueue(Q, [spec("a")], Op("p", 1))
    assert await ids(store, faults) == []
    faults.release()
    assert await ids(store, faults) == ["a"]


async def test_a_late_request_arrives_after_so_many_calls(made: Harness) -> None:
    if made.name != "model":
        pytest.skip("the count is the same code for every store; only the model makes one call a verb")
    faults = Faults().late("enqueue", nth=1, after=2)
    store = faulty_store(await made.open_store(), faults)
    with pytest.raises(StoreUnavailable):
        await store.enqueue(Q, [spec("a")], Op("p", 1))
    assert await store.get(Q, ["a"]) == [None]
    assert (await store.get(Q, ["a"]))[0] is not None


async def test_a_duplicate_is_done_twice_and_answered_once(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults.duplicate("exchange", every=1))
    with faults.suspended():
        await store.enqueue(Q, [spec("a"), spec("b")], Op("p", 1))
    claims = (await store.exchange(Q, Op("w", 1), [], Ask(want=1))).claims
    assert [job.id for job in claims] == ["a"]
    faults.check()
    with faults.suspended():
        assert (await store.count(Q)).states["active"] == 1  # type: ignore[index]  # a state is its word


async def test_an_error_of_the_plans_is_raised(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults.fail("enqueue", error=QueueFull("full"), nth=1))
    with pytest.raises(QueueFull):
        await store.enqueue(Q, [spec("a")], Op("p", 1))
    assert await ids(store, faults) == []


async def test_a_delayed_call_is_answered_later(store: JobStore) -> None:
    faults = Faults()
    store = over(store, faults.delay("get", seconds=0.001))
    assert await store.get(Q, ["a"]) == [None]
    faults.check()


def test_rules_count_the_calls_they_suit() -> None:
    plan = Faults().lose_reply("exchange", nth=2).refuse("*.bulk", every=3)
    calls = [Call("exchange", "find"), Call("exchange", "bulk"), Call("renew", "bulk"), Call("renew", "bulk")]
    met = [plan.meet(call) for call in calls]
    assert [None if one is None else one.fault for one in met] == [None, Fault.LOSE_REPLY, None, Fault.REFUSE]


def test_a_seed_repeats_what_chance_did() -> None:
    def run(seed: int) -> list[tuple[int, Fault]]:
        plan = Faults(seed=seed).chaos(0.3)
        for _ in range(100):
            plan.meet(Call("exchange", "bulk", 3))
        return [(one.n, one.fault) for one in plan.injected]

    assert run(1) == run(1) != run(2)
    assert 10 < len(run(1)) < 60
    assert len({fault for _, fault in run(1)}) == 7


def test_opening_goes_wrong_only_where_it_is_named() -> None:
    assert Faults().lose_reply("*").meet(Call("open", "commands")) is None
    assert Faults().lose_reply("open").meet(Call("open", "commands")) is not None


def test_a_part_is_done_only_of_several_statements() -> None:
    plan = Faults().partial("*")
    assert plan.meet(Call("exchange", "bulk", 1)) is None
    assert plan.meet(Call("exchange", "bulk", 2)) is not None


def test_a_plan_that_met_nothing_fails() -> None:
    plan = Faults(seed=3).lose_reply("exchange", nth=2).lose_reply("renew")
    plan.meet(Call("renew", "find"))
    with pytest.raises(AssertionError, match=r"lose_reply\('exchange', nth=2\) .*renew.find 1"):
        plan.check()
    with pytest.raises(AssertionError, match="0 faults, not 1"):
        Faults().chaos().check()


@pytest.mark.parametrize("when", [{"nth": 0}, {"every": 0}, {"chance": 2}])
def test_a_rule_that_cannot_be_is_refused(when: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        Faults().lose_reply("*", **when)


def test_a_rule_takes_one_way_of_counting() -> None:
    with pytest.raises(TypeError, match="one of nth, every, chance"):
        Faults().lose_reply("*", nth=1, every=2)
    with pytest.raises(TypeError, match="one of nth, every, chance"):
        Faults().lose_reply("*", Nth=1)


def test_a_kit_goes_wrong_inside_the_block() -> None:
    with TestKit() as kit:
        ran: list[int] = []

        @kit.task
        def note(n: int) -> None:
            ran.append(n)

        with faulty(kit, Faults().lose_reply("enqueue", nth=1).lose_reply("exchange", nth=1)) as faults:
            note.enqueue(1)
            kit.drain()
        assert ran == [1]
        assert len(faults.injected) == 2
        note.enqueue(2)
        assert len(faults.injected) == 2


def test_a_block_in_which_nothing_went_wrong_fails() -> None:
    with TestKit() as kit, pytest.raises(AssertionError, match="never injected"), faulty(kit, Faults().refuse("prune")):
        pass


def test_every_store_is_in_the_matrix() -> None:
    assert {"model", "sqlite", "redis", "mongo"} <= set(matrix(fakes=False))


def test_the_example_of_the_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-faults.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(example, {"__name__": "example"})  # noqa: S102  our own page
    assert "lose_reply" in capsys.readouterr().out
