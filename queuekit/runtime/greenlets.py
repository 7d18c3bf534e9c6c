"""Whether gevent or eventlet stand where a worker needs real threads. Neither is imported here."""

from __future__ import annotations

import sys

from queuekit.errors import ConfigError

_PARTS = ("threading", "thread", "socket", "select", "time")


def refuse_patched() -> None:
    """Raises ConfigError in a process whose threads are greenlets.

    Leases are renewed by a thread of their own, so that a handler that computes cannot hold them up. A greenlet is held
    up by it, loses the lease, and the job runs a second time elsewhere.
    """
    for name in (_gevent(), _eventlet()):
        if name is not None:
            raise ConfigError(
                f"a worker cannot run here: {name} has patched this process, and leases need real threads to be"
                f" renewed. Run `queuekit worker` as a process of its own, without {name}; enqueueing works here"
            )


def _gevent() -> str | None:
    monkey = sys.modules.get("gevent.monkey")
    patched = monkey is not None and any(monkey.is_module_patched(part) for part in _PARTS)
    return "gevent" if patched else None


def _eventlet() -> str | None:
    patcher = sys.modules.get("eventlet.patcher")
    patched = patcher is not None and any(patcher.is_monkey_patched(part) for part in _PARTS)
    return "eventlet" if patched else None
