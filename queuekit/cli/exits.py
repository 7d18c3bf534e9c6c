"""Exit codes, and which error means which. Printing belongs to `screen`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final, NoReturn

from queuekit import errors
from queuekit.cli.apps import AppError
from queuekit.producing.modules import NotImported

DONE: Final = 0
NO: Final = 1  # asked and answered: unhealthy, not found, refused
USAGE: Final = 2
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE: the store cannot be reached
GAVE_BACK: Final = 75  # EX_TEMPFAIL: a worker gave jobs back at its deadline
CONFIG: Final = 78  # EX_CONFIG: an evicting Redis, a schema of another time
INTERRUPTED: Final = 130

_USAGE = (
    errors.UnknownProvider,
    errors.MissingExtra,
    errors.InvalidName,
    errors.InvalidOption,
    errors.DuplicateTask,
    errors.Unsupported,
    errors.PayloadError,
    AppError,
    NotImported,
)


def code_of(error: errors.QueueKitError) -> int:
    """The exit code that tells a script what happened."""
    if isinstance(error, errors.StoreUnavailable):
        return UNAVAILABLE
    if isinstance(error, _USAGE):
        return USAGE
    if isinstance(error, (errors.ConfigError, errors.SchemaMismatch)):
        return CONFIG
    return NO


def at_once(code: int) -> NoReturn:
    """End the process without what Python does at an exit: pymongo's own hook waits half a second for its threads.

    For commands that are done: everything is closed, and nobody else's code was imported that might wait for its end.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # the reader has gone, or it prints just now
            stream.flush()
    logging.shutdown()
    os._exit(code)


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """In this block, in which only a store is waited for, Ctrl-C ends the process; not where it was ignored.

    A KeyboardInterrupt may come in the middle of `threading.Condition` or `Thread.start`: a lock stays held then, or is
    let go twice, and what closes the store meets it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # a command in the background of a script, say
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: at_once(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
