"""Which place a job gets at the target, so that the order of the source is kept. Pure arithmetic on parcels.

Places of two stores cannot be compared, ranks can: jobs come in order, and those that run are merged in where they
stood, in case they are given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Parcel
from queuekit.domain.state import Line, State
from queuekit.move.note import Note

_LINES = {Line.SUSPECT: 0, Line.READY: 1, Line.HELD: 2, None: 1}


def key_of(job: JobRecord) -> list[Any]:
    """Where a job stands, or stood when it was claimed, in the source's order."""
    return [_LINES[job.line], job.priority, job.place, job.id]


class Places:
    """Gives places while jobs come in the source's order. What must survive is in the note."""

    def __init__(self, note: Note, mark: int) -> None:
        self.note = note
        self.mark = mark  # the source's last place when the move began; the way back: the last that came from there
        self.held: dict[str, int] = {}  # place of each job that is held at the target
        self._running: list[tuple[list[Any], str]] = []
        self._parcels: dict[str, Parcel] = {}  # that run and are not held yet

    def run(self, parcels: Iterable[Parcel]) -> list[Parcel]:
        """Learn of running jobs; answers those that stood before what has gone already: to be held now, where the
        note says or before all."""
        late: list[Parcel] = []
        for parcel in parcels:
            job = parcel.record
            if job.id in self.held or job.id in self._parcels:
                continue
            key = key_of(job)
            if job.id in self.note.pending:
                job.place = self.note.pending[job.id]
                late.append(parcel)
                continue
            if self.note.last is not None and key < self.note.last:
                job.place = self.note.base
                late.append(parcel)
                continue
            self._parcels[job.id] = parcel
            heappush(self._running, (key, job.id))
        return late

    def seat(self, parcels: Iterable[Parcel]) -> list[Parcel]:
        """Give each parcel of a checkout its place; answers the running ones that stand between, placed."""
        between: list[Parcel] = []
        for parcel in parcels:
            job = parcel.record
            self._parcels.pop(job.id, None)  # it ran when it was seen, and came back since
            place = self.held.pop(job.id, self.note.pending.get(job.id))
            if job.state is not State.WAITING:
                job.place = self.note.base if place is None else place
                continue
            if job.place > self.mark:
                parcel.back = True  # got its place after the move began
                continue
            key = key_of(job)
            if place is not None:
                job.place = place
            elif self.note.last is not None and key < self.note.last:
                if job.claims:
                    job.place = self.note.base  # given back by a claim that began before and was not seen
                else:
                    self._rank(parcel)  # put there by a call that began before: behind those that were there
            else:
                between += self._before(key)
                self.note.last = key
                self._rank(parcel)
        return between

    def rest(self) -> list[Parcel]:
        """The running ones that stand behind all that waited, placed."""
        return self._before(None)

    def _before(self, key: list[Any] | None) -> list[Parcel]:
        found: list[Parcel] = []
        while self._running and (key is None or self._running[0][0] < key):
            parcel = self._parcels.pop(heappop(self._running)[1], None)
            if parcel is not None:
                self._rank(parcel)
                found.append(parcel)
        return found

    def _rank(self, parcel: Parcel) -> None:
        self.note.rank += 1
        parcel.record.place = self.note.base + self.note.rank
        parcel.back = self.note.rank >= self.note.room  # more came than were counted: in order, behind what came here
