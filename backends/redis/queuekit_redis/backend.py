"""From a URL, or a client of the application, to a Redis store. No I/O happens here."""

from __future__ import annotations

from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from queuekit.errors import ConfigError, Unsupported
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit_redis.cluster import Address, ClusterPort
from queuekit_redis.port import AsyncPort, BlockingPort, RedisPort
from queuekit_redis.replies import redact
from queuekit_redis.store import RedisStore

Kind: TypeAlias = "type[BlockingPort] | type[AsyncPort]"
REPLICATED_MS: Final = 1000  # how long a write waits for a replica where durability is "replicated"


class RedisBackend:
    """What the registry asks for `redis`, `rediss`, `redis+sentinel` and `redis+cluster`."""

    def blocking(self, url: str, options: StoreOptions) -> JobStore:
        """A store whose methods never suspend; threads may share it."""
        return RedisStore(_port(url, options, BlockingPort), options)

    def asynchronous(self, url: str, options: StoreOptions) -> JobStore:
        """A store for the running event loop."""
        return RedisStore(_port(url, options, AsyncPort), options)

    def adopt(self, client: object, options: StoreOptions) -> tuple[JobStore | None, JobStore | None] | None:
        """Stores over the application's client: its address, login and TLS, on connections of our own.

        The client's own retries are not used: they would run a script again after a lost reply.
        """
        if isinstance(client, redis.Redis):
            return RedisStore(BlockingPort(client, _address(client), _replicas(options)), options), None
        if isinstance(client, redis.asyncio.Redis):
            return None, RedisStore(AsyncPort(client, _address(client), _replicas(options)), options)
        if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
            raise Unsupported("a RedisCluster client cannot be handed in: give its address, redis+cluster://host:port")
        return None


def _replicas(options: StoreOptions) -> int:
    return min(REPLICATED_MS, options.timeout // 2) if options.durability == "replicated" else 0


def _address(client: Any) -> str:
    kwargs = client.connection_pool.connection_kwargs
    return str(kwargs.get("path") or f"redis://{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")


def _settings(options: StoreOptions, *, blocking: bool) -> dict[str, Any]:
    """One try a call, every wait bounded, replies as bytes in the protocol all servers speak."""
    seconds = options.timeout / 1000
    return {
        "socket_timeout": seconds, "socket_connect_timeout": seconds, "protocol": 2, "decode_responses": False,
        "retry": (Retry if blocking else AsyncRetry)(NoBackoff(), 0), "health_check_interval": 0,
    }  # fmt: skip


def _port(url: str, options: StoreOptions, kind: Kind) -> RedisPort:
    blocking, where = kind is BlockingPort, redact(url)
    try:
        parts = urlsplit(url)
        settings = _settings(options, blocking=blocking)
        if parts.scheme == "redis+sentinel":
            service, guards = _sentinel(parts, settings, blocking=blocking)
            return kind(guards.master_for(service), where, _replicas(options), sentinels=guards.sentinels)
        client = redis.Redis if blocking else redis.asyncio.Redis
        if parts.scheme != "redis+cluster":
            number = parts.path.strip("/")
            if number and not number.isdecimal():  # redis-py would take database 0 without a word
                raise ValueError(f"the database is a number, not {number!r}")
            return kind(client.from_url(url, **settings), where, _replicas(options))
        login, seeds = _hosts(parts, 6379)

        def node(address: Address) -> RedisPort:
            at = f"redis://{login}{address[0]}:{address[1]}"
            return kind(client.from_url(at, **settings), redact(at), _replicas(options))

        return ClusterPort(seeds, node, where)
    except ValueError as error:
        raise ConfigError(f"{where} is no Redis address: {error}") from error


def _hosts(parts: SplitResult, port: int) -> tuple[str, list[Address]]:
    """("user:password@", addresses) of "user:password@host:port,host:port"."""
    login, at, hosts = parts.netloc.rpartition("@")
    found = []
    for host in hosts.split(","):
        name, colon, number = host.rpartition(":")
        found.append((name, int(number)) if colon else (host, port))
    return login + at, found


def _sentinel(parts: SplitResult, settings: dict[str, Any], *, blocking: bool) -> tuple[str, Any]:
    """redis+sentinel://user:password@host:port,host:port/service/db: the primary that the sentinels name."""
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("it names no service, as in redis+sentinel://host:26379,host:26379/mymaster/0")
    login, addresses = _hosts(parts, 26379)
    user, _, password = login.removesuffix("@").partition(":")
    own = {"db": int(db or 0), "username": unquote(user) or None, "password": unquote(password) or None}
    secret = parse_qs(parts.query).get("sentinel_password")
    asked = {**settings, "password": secret[-1]} if secret else settings
    chosen: Any = Sentinel if blocking else AsyncSentinel
    return service, chosen(addresses, sentinel_kwargs=asked, **settings, **own)
