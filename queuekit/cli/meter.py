"""How far a long command is: one line that changes on a terminal, a line now and then where nobody watches.

What is measured is not known here; all of it goes to standard error.
"""

from __future__ import annotations

import sys
from typing import Final

from queuekit.cli import screen
from queuekit.clock import monotonic

SHOWN: Final = 0.1  # seconds between two changes on a terminal
TOLD: Final = 10.0  # seconds between two lines elsewhere


class Meter:
    """Told after every batch; it thins out. `close` leaves the cursor on a line of its own."""

    def __init__(self, *, quiet: bool) -> None:
        self._tty = sys.stderr.isatty()
        self._quiet = quiet
        self._began = monotonic()
        self._next = self._began + (0.0 if self._tty else TOLD)
        self._width = 0

    def count(self, what: str, done: int, total: int) -> None:
        """`done` of `total` so far, since the meter was made."""
        spent = monotonic() - self._began
        rate = done / spent if spent > 0 else 0.0
        self.show(f"{what}: {progress(done, total, rate, (total - done) / rate if rate else None)}")

    def show(self, text: str, *, at_once: bool = False) -> None:
        """This line, if it is time for one."""
        now = monotonic()
        if self._quiet or (now < self._next and not at_once):
            return
        self._next = now + (SHOWN if self._tty else TOLD)
        text = screen.clean(text)
        if not self._tty:
            screen.tell(text)
            return
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def close(self) -> None:
        """What comes next begins on a line of its own."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
        self._width = 0


def progress(done: int, total: int, rate: float, left: float | None) -> str:
    """`1,200 of 9,000 jobs (13 %), 8,100/s, 1s left`."""
    share = f" ({100 * done // total} %)" if total else ""
    speed = f", {rate:,.0f}/s" if rate else ""
    ahead = f", {screen.span(left)} left" if left is not None and done < total else ""
    return f"{done:,} of {total:,} jobs{share}{speed}{ahead}"
