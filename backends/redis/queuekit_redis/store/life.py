"""open, close, ping: what is checked of a server before a store works on it."""

from __future__ import annotations

from typing import Final

from queuekit import ids
from queuekit.domain.query import Pong
from queuekit.errors import ConfigError, SchemaMismatch
from queuekit.store.protocol import Capabilities
from queuekit_redis.store.base import Base

SCHEMA: Final = 1
OLDEST: Final = (6, 2)


class Life(Base):
    capabilities = Capabilities(parts=frozenset({"unique", "usage", "within", "mover", "schedules"}), floor=120_000)

    async def open(self) -> None:
        """Checks the server and the schema, and gives the store its id once."""
        info = await self._info()
        version = tuple(int(part) for part in info.get("redis_version", "0").split(".")[:2])
        if version < OLDEST:
            raise ConfigError(f"Redis at {self._port.where} is {info.get('redis_version')}; queuekit needs 6.2 or more")
        policy = info.get("maxmemory_policy", "")
        if policy.startswith("allkeys") and not self._options.allow_eviction:
            raise ConfigError(
                f"Redis at {self._port.where} may evict any key (maxmemory-policy {policy}): jobs would vanish. "
                "Set maxmemory-policy noeviction, or QUEUEKIT_ALLOW_EVICTION=1 to lose jobs knowingly"
            )
        _, found, *_ = await self._port.commands([
            (b"SET", self._store["schema"], SCHEMA, b"NX"),
            (b"GET", self._store["schema"]),
            (b"SET", self._store["store_id"], ids.nonce(), b"NX"),
        ])  # fmt: skip
        if int(found) != SCHEMA:
            raise SchemaMismatch(
                f"namespace {self._namespace} in Redis at {self._port.where} has schema {int(found)}, this queuekit "
                f"{SCHEMA}: use the queuekit that wrote it, or another namespace"
            )

    async def close(self) -> None:
        """Gives back the connections that this process made."""
        await self._port.close()

    def abandon(self) -> None:
        """`close` of a store whose event loop has been closed: nothing can be awaited there any more."""
        self._port.abandon()

    async def ping(self) -> Pong:
        """One look at the server: what it is, and what is unwise about its settings."""
        info = await self._info()
        store_id, schema, time = await self._port.commands([
            (b"GET", self._store["store_id"]), (b"GET", self._store["schema"]), (b"TIME",),
        ])  # fmt: skip
        product = "valkey" if info.get("server_name") == "valkey" else "redis"
        version = info.get("valkey_version") if product == "valkey" else info.get("redis_version")
        return Pong(
            now=int(time[0]) * 1000 + int(time[1]) // 1000 + self._moved(), server=f"{product} {version}",
            store_id=store_id.decode() if store_id else "", schema=int(schema or SCHEMA), warnings=warnings(info),
            where=self._port.where,
        )  # fmt: skip

    async def _info(self) -> dict[str, str]:
        """INFO of the sections that matter, as text by name."""
        sections = ("server", "memory", "persistence", "replication")
        replies = await self._port.commands([(b"INFO", section) for section in sections])
        lines = b"\n".join(replies).decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def warnings(info: dict[str, str]) -> tuple[str, ...]:
    """What a person should know about a server's settings."""
    found = []
    if info.get("aof_enabled") != "1":
        found.append("appendonly is off: a restart loses what was not in the last snapshot, or everything")
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys"):
        found.append(f"maxmemory-policy {policy} may evict jobs: set noeviction")
    elif policy.startswith("volatile"):
        found.append(f"maxmemory-policy {policy}: set noeviction, so that a full server refuses loudly")
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append("the last write to disk failed: look at the server's log and disk")
    if info.get("role") == "slave":
        found.append("this is a replica: it takes no writes")
    return tuple(found)
