"""Several worker processes: starts them, passes signals on, starts a dead one again. Runs no job and asks no store."""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from types import FrameType
from typing import TYPE_CHECKING, Any

from queuekit import clock
from queuekit.domain.duration import parse_duration
from queuekit.errors import ConfigError, InvalidOption, StoreUnavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from queuekit.kit import QueueKit

log = logging.getLogger("queuekit.runtime.supervisor")
UNAVAILABLE, MISCONFIGURED, GAVE_BACK, INTERRUPTED = 69, 78, 75, 130
YOUNG = 5.0  # seconds: a process that ends sooner is started again with a growing pause
_LONGEST_PAUSE = 30.0
_EXTRA = 10.0  # seconds beyond the grace before a child that does not end is killed


def supervise(kit: QueueKit, options: Mapping[str, Any], processes: int) -> int:
    """Run `processes` workers until TERM or INT; the exit code. On the main thread only."""
    app = options.get("app") or where(kit)
    grace = options.get("grace")
    said = {name: value for name, value in options.items() if name not in ("processes", "app")}
    seconds = (kit.settings.grace if grace is None else parse_duration(grace)) / 1000
    return Supervisor(app, said, processes, grace=seconds).run()


def where(kit: QueueKit) -> str:
    """ "module:attribute" of a kit, for a fresh process to find. Raises InvalidOption where it has none."""
    modules = {"__main__", *(one.fn.__module__ for one in kit.definitions.values() if one.fn is not None)}
    for name in (*sorted(modules), *sorted(sys.modules)):
        for attribute, value in vars(sys.modules.get(name, os)).items():
            if value is kit:
                return f"{name}:{attribute}"
    raise InvalidOption(
        "processes > 1 starts fresh interpreters: make the kit a module's global variable, or give app="
    )


class Supervisor:
    """The parent of worker processes."""

    def __init__(self, app: str, options: Mapping[str, Any], processes: int, *, grace: float) -> None:
        self._app = app
        self._options = dict(options)
        self._grace = grace
        self._children: list[_Child] = [_Child(number + 1) for number in range(processes)]
        self._asked = 0  # times somebody asked to stop
        self._interrupts = 0  # of these by Ctrl-C
        self._code = 0
        self._context = multiprocessing.get_context("spawn")
        self._bell_out, self._bell_in = os.pipe()

    def run(self) -> int:
        """Until all children have ended."""
        os.set_blocking(self._bell_in, False)
        names = ["SIGTERM", "SIGQUIT", "SIGUSR1", *(["SIGINT"] if self._options.get("interruptible", True) else [])]
        before = {number: signal.signal(number, self._on_signal) for number in map(_number, names) if number}
        bell = signal.set_wakeup_fd(self._bell_in, warn_on_full_buffer=False)  # rings on whatever thread a signal comes
        try:
            for child in self._children:
                self._start(child)
            self._watch()
        finally:
            signal.set_wakeup_fd(bell)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._bell_in)
            os.close(self._bell_out)
        return INTERRUPTED if self._interrupts > 1 else self._code

    def _watch(self) -> None:
        deadline: float | None = None
        while any(child.process is not None or child.due is not None for child in self._children):
            self._sleep(deadline)
            for child in self._children:
                if child.process is not None and child.process.exitcode is not None:
                    self._ended(child, child.process.exitcode)
                if child.due is not None and self._asked:
                    child.due = None
                if child.due is not None and child.due <= clock.monotonic():
                    self._start(child)
            if self._asked and deadline is None:
                deadline = clock.monotonic() + self._grace + _EXTRA
            if deadline is not None and clock.monotonic() >= deadline:
                self._kill()
                deadline = None

    def _sleep(self, deadline: float | None) -> None:
        """Until a child ends, a signal rings, or something is due."""
        due = [child.due for child in self._children if child.due is not None]
        at = min([*due, *([] if deadline is None else [deadline])], default=None)
        sentinels = [child.process.sentinel for child in self._children if child.process is not None]
        left = None if at is None else max(0.0, at - clock.monotonic())
        if self._bell_out in wait([*sentinels, self._bell_out], left):
            os.read(self._bell_out, 4096)

    def _start(self, child: _Child) -> None:
        child.due, child.started = None, clock.monotonic()
        child.process = self._context.Process(
            target=child_main, args=(self._app, self._options), name=f"queuekit-worker-{child.number}"
        )
        child.process.start()
        if self._asked:  # a signal came while it was being made
            self._tell(child, signal.SIGTERM)

    def _ended(self, child: _Child, code: int) -> None:
        lived = clock.monotonic() - child.started
        pid, child.process = (child.process.pid if child.process else 0), None
        if self._asked:
            early = code == -signal.SIGTERM  # it had not come as far as handling signals, nor as claiming jobs
            self._code = max(self._code, GAVE_BACK if code == GAVE_BACK or (code < 0 and not early) else 0)
            return
        if code in (UNAVAILABLE, MISCONFIGURED) and not child.proven:
            log.error("worker process %s cannot run (exit code %d): all stop", pid, code)
            self._code = code
            self._ask(signal.SIGTERM)
            return
        if code == 0 and self._options.get("burst"):
            return
        child.proven = child.proven or lived >= YOUNG
        child.failures = 0 if lived >= YOUNG or code == 0 else child.failures + 1
        pause = min(2.0 ** (child.failures - 1), _LONGEST_PAUSE) if child.failures else 0.0
        log.warning("worker process %s ended (%s); starting another in %.0f s", pid, _why(code), pause)
        child.due = clock.monotonic() + pause

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None:
                log.error("worker process %s did not end in time and is killed", child.process.pid)
                child.process.kill()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == _number("SIGUSR1"):
            self._pass_on(number)
        else:
            self._ask(number)

    def _ask(self, number: int) -> None:
        self._asked += 1
        self._interrupts += number == _number("SIGINT")
        self._pass_on(signal.SIGQUIT if number == _number("SIGQUIT") else signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        for child in self._children:
            self._tell(child, number)

    def _tell(self, child: _Child, number: int) -> None:
        if child.process is not None and child.process.pid and child.process.exitcode is None:
            # A signal may come in the moment in which a dead child was fetched and its exit code not yet kept.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.process.pid, number)


class _Child:
    """One place among the processes."""

    __slots__ = ("due", "failures", "number", "process", "proven", "started")

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: SpawnProcess | None = None
        self.started = 0.0
        self.due: float | None = None  # when to start another
        self.failures = 0
        self.proven = False  # it has worked once: what ends it now may be over in a minute


def child_main(app: str, options: Mapping[str, Any]) -> None:
    """What a worker process does. INT is the supervisor's: a terminal sends it to the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from queuekit.runtime.process import run_here
    from queuekit.runtime.worker import Worker

    said = {**options, "processes": 1}  # whatever the environment says: this is one of them
    prepare = said.pop("prepare", None)
    try:
        kit = load(app)
        if prepare is not None:
            prepare(kit.settings)
        else:
            _log_to_stderr()
        worker = Worker(kit, **said)
        _follow_parent()
        code = run_here(worker, interruptible=False)
    except StoreUnavailable as error:
        log.error("%s", error)
        code = UNAVAILABLE
    except ConfigError as error:
        log.error("%s", error)
        code = MISCONFIGURED
    sys.exit(code)


def load(app: str) -> QueueKit:
    """The kit of "module:attribute"; an attribute that is called gives it."""
    module, _, attribute = app.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for name in (attribute or "kit").split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"no kit at {app!r}: {error}") from error
    if callable(found) and not hasattr(found, "definitions") and not hasattr(found, "extensions"):
        found = found()
    extensions = getattr(found, "extensions", None)  # of a Flask app, which can be called too
    found = extensions.get("queuekit", found) if isinstance(extensions, dict) else found
    kit: QueueKit = getattr(found, "queuekit", found)
    return kit.concrete()


def _follow_parent() -> None:
    """End politely when the supervisor is gone, however it went."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            wait([parent.sentinel])
            log.warning("the supervisor is gone: worker %d stops", os.getpid())
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="queuekit-parent", daemon=True).start()


def _log_to_stderr() -> None:
    """Logging was configured in the parent only; say the same things here unless the application configures it."""
    root = logging.getLogger()
    if not root.handlers and not logging.getLogger("queuekit").handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _number(name: str) -> int:
    return int(getattr(signal, name, 0))


def _why(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
