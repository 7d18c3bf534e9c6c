"""Races end in one legal outcome each, and an illegal one is seen; of many processes one gets a key."""

from __future__ import annotations

import json

import pytest

from queuekit.domain.query import Verb
from queuekit.domain.state import State
from tests.torture.conftest import FULL, each_store
from tests.torture.director import staging
from tests.torture.program import claim_key
from tests.torture.races import Told, illegal, run
from tests.torture.records import lines, now

DONE, GONE = State.COMPLETED, State.CANCELLED
PROCESSES = 50 if FULL else 12
pytestmark = pytest.mark.timeout(150)


@each_store
def test_cancel_retry_and_delete_race_claims_and_ends_to_one_legal_outcome(store: str) -> None:
    wrong, figures = run(store, races=300, seed=5)
    print(json.dumps(figures))
    assert not wrong, "\n".join(wrong)
    ends = figures["ends"]
    assert isinstance(ends, dict)
    assert {"cancel ok", "cancel no", "delete ok", "delete no", "retry ok", "retry no"} <= {
        end.rpartition(" ")[0] for end in ends
    }, "contenders that never meet prove nothing"


@pytest.mark.parametrize(
    "told",
    [
        Told(Verb.CANCEL, [True], accepted=1, final=GONE),
        Told(Verb.CANCEL, [True], accepted=0, final=DONE),
        Told(Verb.CANCEL, [False], accepted=0, final=GONE),
        Told(Verb.CANCEL, [True], accepted=2, final=DONE),
        Told(Verb.CANCEL, [True], final=State.ACTIVE),
        Told(Verb.DELETE, [True], accepted=1, final=DONE),
        Told(Verb.DELETE, [False], final=None),
        Told(Verb.DELETE, [True, True], final=None),
        Told(Verb.DELETE, [False], accepted=0, final=DONE),
        Told(Verb.RETRY, [True], accepted=1, final=DONE),
        Told(Verb.RETRY, [False], accepted=2, final=DONE),
        Told(Verb.RETRY, [True], accepted=2, final=State.WAITING),
    ],
)
def test_an_illegal_outcome_is_seen(told: Told) -> None:
    assert illegal(told) is not None


@each_store
@pytest.mark.parametrize("by", ["key", "id"])
def test_of_many_processes_that_enqueue_one_thing_one_creates_it(store: str, by: str) -> None:
    with staging(store) as director:
        at = now() + (4_000_000 if FULL else 1_500_000)
        names = [director.start_claimant(claim_key, by, at) for _ in range(PROCESSES)]
        codes = [director.join(name) for name in names]
        assert codes == [0] * PROCESSES, director.errors()
        answers = [line[1:] for path in sorted(director.setting.folder.glob("u*.log")) for line in lines(path)]
        assert len(answers) == PROCESSES
        assert sorted(created for _, created in answers) == ["False"] * (PROCESSES - 1) + ["True"]
        assert len({job for job, _ in answers}) == 1
        assert director.counts() == {"waiting": 1}
