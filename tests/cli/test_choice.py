"""A selection acts on jobs as they were seen, in batches, at the rate that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit, State
from queuekit.cli import choice, exits
from queuekit.cli.choice import BATCH, Choice
from queuekit.cli.session import Session
from queuekit.domain.query import Verb
from queuekit.errors import InvalidOption


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with QueueKit(f"sqlite:///{tmp_path / 'queue.db'}") as kit:
        yield Session(json=True, _kit=kit)


def test_a_job_that_changed_since_it_was_seen_is_told_and_left(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = session.kit.queue("q")
    moved, still = queue.enqueue("t", delay="1h"), queue.enqueue("t", delay="1h")
    records = Choice(queue="q", state=State.DELAYED).records(session)
    assert moved.reschedule(delay="2h")

    assert choice.act(session, Verb.CANCEL, records, rate=None) == exits.NO

    assert (moved.status(), still.status()) == (State.DELAYED, State.CANCELLED)
    assert "changed meanwhile" in capsys.readouterr().out


def test_more_jobs_than_one_call_takes_are_all_changed(session: Session) -> None:
    count = 2 * BATCH + 3
    for queue in ("a", "b"):
        one = session.kit.queue(queue)
        session.kit.enqueue_many([one.make("t") for _ in range(count)])
    records = Choice(task="t", state=State.WAITING).records(session)
    assert len(records) == 2 * count
    assert choice.act(session, Verb.CANCEL, records, rate=None) == exits.DONE
    assert [h.waiting for h in session.kit.health().values()] == [0, 0]


def test_the_reason_of_a_cancel_is_kept(session: Session) -> None:
    handle = session.kit.queue("q").enqueue("t")
    choice.act(session, Verb.CANCEL, Choice(jobs=[handle.ref]).records(session), rate=None, reason="stock-taking")
    job = handle.get()
    assert job is not None
    assert job.reason == "stock-taking"


@pytest.mark.parametrize("rate", ["0/s", "fast", "-1/s", "/s", "nan/s", "inf/s"])
def test_what_is_no_rate_is_refused_before_anything_is_done(session: Session, rate: str) -> None:
    handle = session.kit.queue("q").enqueue("t")
    with pytest.raises(InvalidOption, match=r"(?i)rate"):
        choice.act(session, Verb.CANCEL, Choice(jobs=[handle.ref]).records(session), rate=rate)
    assert handle.status() == State.WAITING


def test_a_bare_id_is_found_and_one_of_two_queues_is_asked_for(session: Session) -> None:
    for queue in ("a", "b"):
        session.kit.queue(queue).enqueue("t", id="same")
    session.kit.queue("b").enqueue("t", id="other")
    assert [record.ref for record in Choice(jobs=["other"]).records(session)] == ["b/other"]
    with pytest.raises(Exception, match="name it as queue/id"):
        Choice(jobs=["same"]).records(session)
