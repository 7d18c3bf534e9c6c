"""Every mutating operation, with each fault at each call to the driver, on every store: the effect of one.

`make faults` plays late arrivals at every moment; without it each call has one of them.
"""

from __future__ import annotations

import inspect

import pytest

from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from tests.faults import moves, slots
from tests.faults.engine import FAULTS, FULL, Theatre, table
from tests.faults.scenes import SCENES

assert moves.SCENES is slots.SCENES is SCENES  # the mover's and the schedules' are among them
VERBS = sorted({scene.verb for scene in SCENES.values()})
LAGGING = ("mongo",)  # seam.md: totals at most a call late, a lost reply may drop some, never add
LOOKING = {
    "capabilities", "open", "close", "ping", "get", "locate", "find", "count", "position", "queues", "workers", "conf",
    "wait", "running", "timed_keys", "journal", "taken", "known", "schedules", "get_schedules", "due",
}  # fmt: skip


@pytest.mark.timeout(900 if FULL else 120)  # pytest's own for all tests is 120
@pytest.mark.parametrize("verb", VERBS)
async def test_a_repeated_call_has_the_effect_of_one(
    harness: Harness, store: JobStore, port: str, verb: str, request: pytest.FixtureRequest
) -> None:
    if verb in slots.VERBS and slots.PART not in store.capabilities.parts:
        pytest.skip("the store declares no schedules")
    played, wrong = await table(Theatre(harness, store, port), verb, lagging=harness.name in LAGGING)

    request.node.user_properties.append(("cells", f"{harness.name}/{verb}/{dict(played)!r}"))
    least = {"lost reply"} if port == "blocking" else set(FAULTS) - {"refused", "partial", "late in the repeat"}
    assert {fault for fault in least if not played[fault]} == set()
    assert not wrong, f"{len(wrong)} of {played.total()} cells:\n" + "\n".join(wrong[:40])


def test_every_mutating_verb_has_scenes() -> None:
    parts = (MovingStore, SchedulingStore)
    verbs = {name for part in parts for name, _ in inspect.getmembers(part) if not name.startswith("_")}
    assert verbs - LOOKING == set(VERBS)


def test_every_outcome_and_every_change_has_a_scene() -> None:
    told = " ".join(SCENES)
    assert [kind.value for kind in Kind if kind.value not in told] == []
    assert [verb.value for verb in Verb if verb.value not in told] == []
    pruned = {State.WAITING, State.DELAYED, State.FAILED, State.PARKED}
    assert [state for state in pruned if f"prune: {state.value} jobs" not in SCENES] == []
