"""usage: what the server counts of itself. Nothing is decided by it."""

from __future__ import annotations

from queuekit.store.parts import Used
from queuekit_redis.store.base import Base


class Usage(Base):
    async def usage(self) -> Used:
        """Of the whole server: Redis does not count by key."""
        replies = await self._port.commands([(b"INFO", b"stats"), (b"INFO", b"memory")])
        lines = b"\n".join(replies).decode(errors="replace").splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        reads = info.get("total_reads_processed")
        return Used(
            bytes=int(info["used_memory"]),
            commands=int(info["total_commands_processed"]),
            requests=None if reads is None else int(reads),
        )
