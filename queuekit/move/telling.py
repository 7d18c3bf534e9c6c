"""What a queue's move tells while it goes: phases and their seconds, rate, progress. It decides nothing."""

from __future__ import annotations

from collections import deque

from queuekit.domain.query import Counts
from queuekit.domain.state import State
from queuekit.move.note import Note
from queuekit.move.values import OnProgress, Phase, Progress, QueueReport
from queuekit.store.retry import Waiter

LATELY = 5.0  # seconds a rate looks back


class Telling:
    """The report of one queue, filled on the way, and whoever wants to hear of it."""

    def __init__(self, queue: str, waiter: Waiter, on_progress: OnProgress | None) -> None:
        self.report = QueueReport(queue=queue)
        self._waiter, self._tell = waiter, on_progress
        self._entered: float | None = None
        self._paused: float | None = None
        self._lately: deque[tuple[float, int]] = deque()

    def enter(self, phase: Phase) -> None:
        """A phase begins; coming back to one adds to its seconds."""
        now = self._waiter.monotonic()
        self._close(now)
        if phase is Phase.DONE:
            self._entered = None
        self.report.phase = phase

    def leave(self) -> None:
        """Nothing is done for this queue for a while."""
        self._close(self._waiter.monotonic())
        self._entered = None

    def _close(self, now: float) -> None:
        if self._entered is not None:
            spent = now - self._entered
            self.report.phases[self.report.phase] = self.report.phases.get(self.report.phase, 0.0) + spent
            self.report.seconds += spent
        self._entered = now

    def paused(self) -> None:
        """From here on nobody can claim."""
        self._paused = self._waiter.monotonic()

    def opened(self) -> None:
        """From here on somebody can."""
        if self._paused is not None:
            self.report.pause = self._waiter.monotonic() - self._paused

    def batch(self, note: Note) -> None:
        """A batch is over."""
        self.sum_up(note)
        now, moved = self._waiter.monotonic(), self.report.jobs
        self._lately.append((now, moved))
        while now - self._lately[0][0] > LATELY:
            self._lately.popleft()
        began, had = self._lately[0]
        rate = (moved - had) / (now - began) if now > began else 0.0
        left = max(0, note.total - moved) / rate if rate else None
        self._say(moved, note.total, rate=rate, left=left)

    def tail(self, note: Note, counts: Counts, since: int | None) -> None:
        """Jobs still run at the source."""
        self.sum_up(note)
        active = counts.states.get(State.ACTIVE, 0)
        ago = "" if since is None else f", the longest for {max(0, counts.now - since) / 1000:.0f} s"
        text = f"{active} still active at the source{ago}: their outcomes follow when they end"
        self._say(self.report.jobs, note.total, active=active, since=since, text=text)

    def sum_up(self, note: Note) -> None:
        """The report's counts are the note's: those of all starts."""
        self.report.moved = note.by_state()
        self.report.digest, self.report.arrived = f"{note.left:064x}", f"{note.arrived:064x}"
        self.report.ran_on_both = list(note.both)
        self.report.schedules, self.report.schedules_apart = note.schedules, list(note.schedules_apart)

    def _say(
        self, moved: int, total: int, *, rate: float = 0.0, left: float | None = None, active: int = 0,
        since: int | None = None, text: str = "",
    ) -> None:  # fmt: skip
        if self._tell is not None:
            self._tell(
                Progress(
                    queue=self.report.queue, phase=self.report.phase, moved=moved, total=max(total, moved), rate=rate,
                    left=left, active=active, since=since, text=text,
                )
            )  # fmt: skip
