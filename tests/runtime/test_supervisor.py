"""The supervisor and a child that will not end: step by step, with a child that is no worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from queuekit import clock
from queuekit.runtime import supervisor
from queuekit.runtime.supervisor import GAVE_BACK, Supervisor


def stubborn(app: str, options: Mapping[str, Any]) -> None:
    """A child that does not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(options["ready"]).touch()
    time.sleep(60)


def polite(app: str, options: Mapping[str, Any]) -> None:
    """A child that ends when it is asked to."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    Path(options["ready"]).touch()
    time.sleep(60)


def test_a_signal_that_another_thread_takes_is_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system gives a signal to any thread: a second one that comes with Ctrl-C, to one that the app started."""
    monkeypatch.setattr(supervisor, "child_main", polite)
    ready, ended, late = tmp_path / "ready", threading.Event(), threading.Event()

    def thread_of_the_app() -> None:
        patience = clock.monotonic() + 30
        while not ready.exists() and clock.monotonic() < patience:
            time.sleep(0.01)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        if not ended.wait(20):
            late.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    thread = threading.Thread(target=thread_of_the_app)
    thread.start()
    code = Supervisor("no:app", {"ready": str(ready)}, 1, grace=20).run()
    ended.set()
    thread.join()
    assert (code, late.is_set()) == (0, False)


def test_a_child_that_does_not_end_in_time_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "child_main", stubborn)
    monkeypatch.setattr(supervisor, "_EXTRA", 0.2)
    one = Supervisor("no:app", {"ready": str(tmp_path / "ready")}, 1, grace=0.1)
    (child,) = one._children
    one._start(child)
    process = child.process
    assert process is not None
    try:
        patience = clock.monotonic() + 20
        while not (tmp_path / "ready").exists():
            assert clock.monotonic() < patience
            time.sleep(0.01)
        one._ask(signal.SIGTERM)
        os.write(one._bell_in, b"!")  # as the handler of a signal does
        one._watch()
        assert not process.is_alive()
        assert one._code == GAVE_BACK
    finally:
        process.kill()
        process.join()
        os.close(one._bell_in)
        os.close(one._bell_out)
