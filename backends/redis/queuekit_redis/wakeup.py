"""Waking: one blocking pop over the markers of queues. A marker holds no data, so a lost pop costs latency only."""

from __future__ import annotations

from collections.abc import Mapping

from queuekit_redis.port import RedisPort


async def pop_marker(port: RedisPort, markers: Mapping[bytes, str], seconds: float) -> list[str]:
    """The queue whose marker was taken, as a list; [] after `seconds`, or earlier."""
    if not markers:
        await port.sleep(seconds)
        return []
    popped = await port.block_pop(list(markers), seconds)
    return [] if popped is None else [markers[popped]]
