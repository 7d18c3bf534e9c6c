"""From a URL, or a client of the application, to a Redis store. No I/O happens here."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from queuekit.errors import ConfigError
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit_redis.port import AsyncPort, BlockingPort
from queuekit_redis.replies import redact
from queuekit_redis.store import RedisStore

REPLICATED_MS: Final = 1000  # how long a write waits for a replica where durability is "replicated"


class RedisBackend:
    """What the registry asks for `redis`, `rediss`, `redis+sentinel` and `redis+cluster`."""

    def blocking(self, url: str, options: StoreOptions) -> JobStore:
        """A store whose methods never suspend; threads may share it."""
        return RedisStore(BlockingPort(_client(url, options, blocking=True), redact(url), _replicas(options)), options)

    def asynchronous(self, url: str, options: StoreOptions) -> JobStore:
        """A store for the running event loop."""
        return RedisStore(AsyncPort(_client(url, options, blocking=False), redact(url), _replicas(options)), options)

    def adopt(self, client: object, options: StoreOptions) -> tuple[JobStore | None, JobStore | None] | None:
        """Stores over the application's client: its address, login and TLS, on connections of our own.

        The client's own retries are not used: they would run a script again after a lost reply.
        """
        if isinstance(client, redis.Redis):
            return RedisStore(BlockingPort(client, _address(client), _replicas(options)), options), None
        if isinstance(client, redis.asyncio.Redis):
            return None, RedisStore(AsyncPort(client, _address(client), _replicas(options)), options)
        return None


def _replicas(options: StoreOptions) -> int:
    return min(REPLICATED_MS, options.timeout) if options.durability == "replicated" else 0


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


def _client(url: str, options: StoreOptions, *, blocking: bool) -> Any:
    scheme = urlsplit(url).scheme
    settings = _settings(options, blocking=blocking)
    try:
        if scheme == "redis+sentinel":
            return _sentinel(url, settings, blocking=blocking)
        return (redis.Redis if blocking else redis.asyncio.Redis).from_url(url, **settings)
    except ValueError as error:
        raise ConfigError(f"{redact(url)} is no Redis address: {error}") from error


def _sentinel(url: str, settings: dict[str, Any], *, blocking: bool) -> Any:
    """redis+sentinel://user:password@host:port,host:port/service/db: the primary that the sentinels name."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigError(f"{redact(url)} names no service: redis+sentinel://host:26379,host:26379/mymaster/0")
    user, _, password = login.partition(":")
    addresses = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":")
        addresses.append((name or host, int(port) if name else 26379))
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    secret = options.get("sentinel_password")
    sentinel_settings = {**settings, **({"password": secret} if secret else {})}
    chosen: Any = Sentinel if blocking else AsyncSentinel
    login_settings = {"db": int(db or 0), "username": unquote(user) or None, "password": unquote(password) or None}
    return chosen(addresses, sentinel_kwargs=sentinel_settings, **settings, **login_settings).master_for(service)
