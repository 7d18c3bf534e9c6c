"""Who does something by hand: the name that stands beside what a person set."""

from __future__ import annotations

import getpass
import socket


def who() -> str:
    """user@host of this process; only the host where the user has no name."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError, ImportError):
        return socket.gethostname()
