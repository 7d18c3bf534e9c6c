"""`queuekit worker --reload`, for development: a parent that starts the worker anew when a file changes.

It imports nobody's code; the worker is this same command in a process of its own. Decision 131.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from queuekit.cli import exits, screen, watch
from queuekit.clock import monotonic, perf

LEASH: Final = "QUEUEKIT_RELOADER"  # tells the worker that it has a parent, and the pipe that ends with it
EVERY = 0.5  # seconds between two looks
SETTLED = 0.1  # and while files still change
PATIENCE = 5.0  # how long they may go on changing
SHARE = 10  # looking takes at most this part of the time
EXTRA = 15.0  # seconds beyond the grace before a worker that does not end is killed; its own processes it kills at 10
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGCHLD)


def run(grace: float, files: tuple[str, ...] = ()) -> int:
    """Start this command again as a child, now and after every change, until somebody ends it; the exit code.

    `grace`: seconds that running jobs are given. `files`: what to watch beside the program's own code.
    """
    return Reloader(watch.roots(sys.argv[0], os.environ.get("PYTHONPATH")), files, grace).run()


def follow() -> bool:
    """In the worker: whether such a parent started it. Then Ctrl-C is the parent's, and the worker ends with it."""
    leash = os.environ.pop(LEASH, "")
    if not leash:
        return False
    pipe = int(leash)
    os.set_inheritable(pipe, False)
    # Not SIG_IGN: programs that a job starts would inherit that.
    signal.signal(signal.SIGINT, lambda number, frame: None)

    def wait() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    # The thread takes no signal: those are for the main thread, which is not woken by one that another thread takes.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    threading.Thread(target=wait, name="queuekit-parent", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, masked - {signal.SIGINT})
    return True


class Reloader:
    """The parent: one worker at a time."""

    def __init__(self, folders: tuple[str, ...], files: tuple[str, ...], grace: float) -> None:
        self._folders = folders
        self._files = files
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None
        self._seen: watch.Seen = {}
        self._cost = 0.0  # seconds the last look took
        self._asked: list[int] = []  # signals that ask to end
        self._deadline: float | None = None  # when a child that was told to end is killed
        self._code = exits.DONE
        self._bell_out, self._bell_in = os.pipe()
        self._leash_out, self._leash_in = os.pipe()

    def run(self) -> int:
        """Until somebody asks to end."""
        os.set_blocking(self._bell_in, False)
        screen.tell(f"queuekit: watching {', '.join(self._folders)}; a change restarts the worker, Ctrl-C ends it")
        before = {number: signal.signal(number, self._on_signal) for number in PASSED_ON}
        bell = signal.set_wakeup_fd(self._bell_in, warn_on_full_buffer=False)  # rings on whatever thread a signal comes
        try:
            self._start()
            while not (self._asked and self._child is None):
                self._sleep(max(EVERY, self._cost * SHARE))
                self._reap()
                if self._deadline is None and not self._asked:
                    self._react()
        finally:
            signal.set_wakeup_fd(bell)
            for number, handler in before.items():
                signal.signal(number, handler)
            for pipe in (self._bell_in, self._bell_out, self._leash_in, self._leash_out):
                os.close(pipe)  # a worker that is still there ends with the leash
        return exits.INTERRUPTED if self._asked.count(signal.SIGINT) > 1 else self._code

    def _start(self) -> None:
        """The worker, which is this command without the watching."""
        self._seen = self._look()  # before the worker reads any of it
        # What was saved a moment ago may have the size and the second of what a compiled file was made from.
        env = os.environ | {LEASH: str(self._leash_out), "PYTHONDONTWRITEBYTECODE": "1"}
        with _uninterrupted():
            self._child = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]], env=env, pass_fds=(self._leash_out,)
            )  # in our group and with our terminal: a debugger in a handler can be typed at
        if self._asked:
            self._end_child()

    def _reap(self) -> None:
        """See whether the worker has ended, and kill one that does not."""
        if self._child is None:
            return
        code = self._child.poll()
        if code is None:
            if self._deadline is not None and monotonic() > self._deadline:
                screen.tell(f"queuekit: the worker ({self._child.pid}) did not end in time and is killed")
                self._child.kill()
                self._deadline += EXTRA
            return
        told, self._child, self._deadline = self._deadline is not None, None, None
        if self._asked:
            early = code == -signal.SIGTERM  # before it handled signals, so before it had a job
            self._code = exits.DONE if early else exits.GAVE_BACK if code < 0 else code
        elif told:
            self._start()
        else:
            why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            screen.tell(f"queuekit: the worker ended ({why}); the next change starts it again, Ctrl-C ends this too")

    def _react(self) -> None:
        """Restart the worker if files changed, when they have stopped changing."""
        names = self._changes()
        if not names:
            return
        screen.tell(f"queuekit: {_shown(names)} changed: the worker starts anew")
        if self._child is None:
            self._start()
        else:
            self._end_child()

    def _changes(self) -> list[str]:
        seen = self._look()
        names = watch.changed(self._seen, seen)
        patience = monotonic() + PATIENCE
        while names and not self._asked and monotonic() < patience:
            self._sleep(SETTLED)
            now = self._look()
            if now == seen:
                break
            seen, names = now, watch.changed(self._seen, now)
        self._seen = seen
        return names

    def _look(self) -> watch.Seen:
        began = perf()
        seen = watch.look(self._folders, self._files)
        self._cost = perf() - began
        return seen

    def _end_child(self, number: int = signal.SIGTERM) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)
            if self._deadline is None:
                self._deadline = monotonic() + self._grace + EXTRA

    def _sleep(self, seconds: float) -> None:
        """So long, or until a signal rings."""
        if select.select([self._bell_out], [], [], seconds)[0]:
            os.read(self._bell_out, 4096)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            if self._child is not None and self._child.returncode is None:
                self._child.send_signal(number)
        elif number != signal.SIGCHLD:
            self._asked.append(number)
            self._end_child(signal.SIGQUIT if number == signal.SIGQUIT else signal.SIGTERM)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits: in the child, which inherits this, until `follow` can answer it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _shown(names: list[str]) -> str:
    here = Path.cwd()
    first = [str(path.relative_to(here)) if path.is_relative_to(here) else str(path) for path in map(Path, names[:3])]
    return screen.clean(", ".join(first)) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
