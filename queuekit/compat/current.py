"""Which kit the module-level names of a facade work through, when none is given. No name of Bull or Agenda is here."""

from __future__ import annotations

import threading

from queuekit import QueueKit
from queuekit.handle import KITS

_lock = threading.Lock()
_held: dict[str, QueueKit] = {}  # "used": given by hand; "made": of the settings, for a process that made none


def use(kit: QueueKit | None) -> None:
    """Let the facades of this process work through `kit`; None: as if this was never called."""
    with _lock:
        if kit is None:
            _held.pop("used", None)
        else:
            _held["used"] = kit


def current() -> QueueKit:
    """The kit given to `use`; else the newest QueueKit named "default" that lives here; else one of the settings.

    Asked at each use: a queue may be named before the application has made its kit.
    """
    with _lock:
        kit = _held.get("used") or KITS.get("default")
        if kit is None:
            kit = _held["made"] = QueueKit()
        return kit
