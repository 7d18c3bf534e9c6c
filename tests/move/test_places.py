"""Which place a job gets at the target: the order of the source, whatever came back or came late."""

from __future__ import annotations

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Parcel
from queuekit.domain.state import Line, State
from queuekit.move.note import Note
from queuekit.move.places import Places

BASE, MARK = 1000, 500


def waiting(id: str, place: int, *, priority: int = 5, claims: int = 0) -> Parcel:
    """A job on the ready line of the source."""
    record = JobRecord(
        queue="q", id=id, task="t", body=b"{}", priority=priority, state=State.WAITING, line=Line.READY, place=place,
        created_at=0, rev=1, epoch=1, claims=claims,
    )  # fmt: skip
    return Parcel(record=record)


def order(*batches: list[Parcel]) -> list[str]:
    """How jobs stand at the target once these batches have come, what comes to its back behind all."""
    note = Note()
    note.base, note.room = BASE, 100
    places = Places(note, MARK)
    for batch in batches:
        places.seat(batch)
    jobs = [parcel for batch in batches for parcel in batch]
    jobs.sort(key=lambda parcel: (parcel.record.priority, parcel.back, parcel.record.place))
    return [parcel.record.id for parcel in jobs]


def test_ranks_follow_the_order_of_the_source() -> None:
    assert order([waiting("a", 10), waiting("b", 20)], [waiting("c", 30)]) == ["a", "b", "c"]


def test_a_job_given_back_behind_the_movers_look_comes_before_all() -> None:
    assert order([waiting("b", 20), waiting("c", 30)], [waiting("a", 10, claims=1)]) == ["a", "b", "c"]


def test_a_job_enqueued_behind_the_movers_look_comes_behind_those_that_were_there() -> None:
    """Its producer took a place before the queue stopped, and wrote it when those of its priority had left."""
    left = [waiting("a", 10, priority=3), waiting("b", 20, priority=3), waiting("c", 5)]
    assert order(left, [waiting("late", 30, priority=3)], [waiting("d", 40)]) == ["a", "b", "late", "c", "d"]


def test_a_job_with_a_place_of_after_the_stop_comes_to_the_back() -> None:
    assert order([waiting("a", 10), waiting("new", MARK + 1)], [waiting("b", 20)]) == ["a", "b", "new"]
