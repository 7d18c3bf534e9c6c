"""Which kit the module-level names of a facade work through, when none is given. No name of Bull or Agenda is here."""

from __future__ import annotations

import threading
from collections.abc import Callable

from queuekit import QueueKit
from queuekit.handle import KITS

_lock = threading.RLock()
_held: dict[str, Callable[[], QueueKit]] = {}


def use(kit: QueueKit | None) -> None:
    """Let the facades of this process work through `kit`; None: as if this was never called."""
    with _lock:
        if kit is None:
            _held.pop("used", None)
        else:
            _held["used"] = lambda: kit


def provide(kit: Callable[[], QueueKit]) -> None:
    """Where a framework's project has its kit; asked when one is needed, so that nothing is made before."""
    with _lock:
        _held["provided"] = kit


def current() -> QueueKit:
    """The kit given to `use`; else the project's, in Django; else the newest QueueKit named "default" that lives here;
    else one of the settings.

    Asked at each use: a queue may be named before the application has made its kit.
    """
    with _lock:
        said = _held.get("used") or _held.get("provided")
    if said is not None:
        return said()  # without the lock: it may import a module that comes here, too, in another thread
    with _lock:
        kit = KITS.get("default")
        if kit is None:
            kit = made = QueueKit()
            _held["made"] = lambda: made  # holds it: KITS does not
        return kit
