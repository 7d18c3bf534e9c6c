"""Exit codes, and which error means which. Printing belongs to `screen`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
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
        with contextlib.suppress(OSError, ValueError):  # the reader has gone, or closed it
            stream.flush()
    logging.shutdown()
    os._exit(code)
