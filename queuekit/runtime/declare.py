"""Writes what code and file declare of a queue, when a worker starts and only where it changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from queuekit.domain.duration import parse_duration
from queuekit.domain.limits import Limits, QueueConf, redeclare
from queuekit.domain.values import Profile
from queuekit.errors import Conflict
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.declare")
_TRIES = 10  # workers of one deploy start together


def declared(options: Mapping[str, Any], profile: Profile | None) -> Limits:
    """The declared layer of a queue's options (parsed) and profile."""
    lease = options.get("lease")
    if lease is None and profile is not None:
        lease = parse_duration(profile.lease)
    concurrency = options.get("concurrency")
    if concurrency is None and profile is not None:
        concurrency = profile.concurrency
    return Limits(
        lease=lease, concurrency=concurrency, cap=options.get("global_concurrency"), rates=options.get("rate"),
        max_size=options.get("max_size"), max_crashes=options.get("max_crashes"),
        keep_completed=options.get("keep_completed"), keep_failed=options.get("keep_failed"), by="code",
    )  # fmt: skip


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
        log.info("queue %s: its declared configuration was written", queue)
        return written
    raise Conflict(f"queue {queue}: its configuration changed {_TRIES} times while it was being declared")
