"""The processes that demo and bench start: none is begun and then forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from queuekit.cli import crew
from queuekit.settings import Settings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_moment_of_a_start_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def begin(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        begun = subprocess.Popen(*args, **options)
        os.kill(os.getpid(), number)
        return begun

    monkeypatch.setattr(crew, "subprocess", Interrupting(begin))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does: TERM is raised, too
    try:
        with crew.Crew(
            "json.tool", Settings(url="memory://", chosen_by="url")
        ) as hands:  # reads to the end of its input
            with pytest.raises(KeyboardInterrupt):
                hands.start({})
            (left,) = hands.alive
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert left.returncode is not None
    finally:
        signal.signal(signal.SIGTERM, before)


class Interrupting:
    """The module `subprocess` with another Popen."""

    def __init__(self, begin: Any) -> None:
        self.Popen = begin

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)
