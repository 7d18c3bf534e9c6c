"""Writes what code and file declare of a queue, when a worker starts and only where it changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from queuekit.domain.limits import Limits, QueueConf, redeclare
from queuekit.domain.values import Profile
from queuekit.errors import Conflict, Moved
from queuekit.producing import limiting
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.declare")
_TRIES = 10  # workers of one deploy start together


_KEPT = ("max_crashes", "keep_completed", "keep_failed")


def declared(options: Mapping[str, Any] | None, profile: Profile | None, defaults: Mapping[str, Any]) -> Limits | None:
    """The declared layer of a queue's options and profile over the kit's defaults (all parsed); None: none is there."""
    inherited = {name: defaults[name] for name in _KEPT if name in defaults}
    if options is None and not inherited:
        return None
    said = {**inherited, **(options or {})}
    if profile is not None:
        said["profile"] = profile
    return replace(limiting.declared(said), by="code")


async def declare(store: JobStore, queue: str, limits: Limits | None) -> QueueConf:
    """The queue's configuration after its declaration was put in; `limits` None: nothing is declared here.

    Raises Unsupported where the store lacks what is declared, before any job is claimed.
    """
    for _ in range(_TRIES):
        conf = await store.conf(queue)
        if limits is None or limits.digest == conf.declared.digest:
            return conf
        try:
            written = await store.configure(queue, redeclare(conf, limits))
        except Conflict:
            continue  # another worker wrote between: look again
        except Moved as moved:
            log.warning("queue %s: its declared configuration is not written here: %s", queue, moved)
            return conf
        log.info("queue %s: its declared configuration was written", queue)
        return written
    raise Conflict(f"queue {queue}: its configuration changed {_TRIES} times while it was being declared")
