"""From a URL, or a client of the application, to stores. Making one does no I/O; `open` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from queuekit.domain.redact import redact
from queuekit.errors import ConfigError
from queuekit.store.registry import StoreOptions
from queuekit_mongo.asynchronous import AsyncPort
from queuekit_mongo.blocking import BlockingPort
from queuekit_mongo.collections import Names
from queuekit_mongo.store import MongoStore
from queuekit_mongo.threaded import ThreadedPort

DATABASE: Final = "queuekit"  # where a URL names none
_CLIENT: Final[dict[str, Any]] = {"appname": "queuekit", "tz_aware": True}


class MongoBackend:
    """What the entry points `mongodb` and `mongodb+srv` load."""

    def blocking(self, url: str, options: StoreOptions, *, shift: Callable[[], int] | None = None) -> MongoStore:
        client: MongoClient[dict[str, Any]] = _made(url, lambda: MongoClient(url, connect=False, **_settings(options)))
        names, database = _names(options), _database(client)
        port = BlockingPort(client, database, names, timeout=options.timeout / 1000, where=redact(url), owns=True)
        return MongoStore(port, names, options, shift=shift)

    def asynchronous(self, url: str, options: StoreOptions, *, shift: Callable[[], int] | None = None) -> MongoStore:
        client: AsyncMongoClient[dict[str, Any]] = _made(
            url, lambda: AsyncMongoClient(url, connect=False, **_settings(options))
        )
        names, database = _names(options), _database(client)
        port = AsyncPort(client, database, names, timeout=options.timeout / 1000, where=redact(url), owns=True)
        return MongoStore(port, names, options, shift=shift)

    def adopt(self, client: object, options: StoreOptions) -> tuple[MongoStore | None, MongoStore | None] | None:
        """A MongoClient, or the one inside a Motor client, serves both sides, the asynchronous one by threads; an
        AsyncMongoClient serves its own. The application closes its client itself."""
        names, timeout = _names(options), options.timeout / 1000
        inner = unwrapped(client)
        if isinstance(inner, MongoClient):
            where, database = _where(inner), _database(inner)
            port = BlockingPort(inner, database, names, timeout=timeout, where=where)
            return MongoStore(port, names, options), MongoStore(ThreadedPort(port), names, options)
        if isinstance(inner, AsyncMongoClient):
            where, database = _where(inner), _database(inner)
            own = AsyncPort(inner, database, names, timeout=timeout, where=where)
            return None, MongoStore(own, names, options)
        return None


def unwrapped(client: object) -> object:
    """The driver's client inside a Motor client (`delegate`); anything else as it is. Motor is not imported."""
    module = type(client).__module__.partition(".")[0]
    return getattr(client, "delegate", client) if module == "motor" else client


def _made(url: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (PyMongoError, ValueError) as error:
        # The driver's text may quote what it took for a database or a port, and that is often half a password.
        raise ConfigError(
            f"{redact(url)} is no usable MongoDB URL ({type(error).__name__}): write mongodb://host:port/database, "
            "with user and password percent-encoded"
        ) from None


def _settings(options: StoreOptions) -> dict[str, Any]:
    """Bounds for what the per-call timeout does not cover."""
    seconds = options.timeout
    return _CLIENT | {"serverSelectionTimeoutMS": seconds, "connectTimeoutMS": seconds, "waitQueueTimeoutMS": seconds}


def _names(options: StoreOptions) -> Names:
    return Names(options.namespace, options.collection)


def _database(client: Any) -> str:
    """The database of the URL's path."""
    name: str = client.get_default_database(DATABASE).name
    return name


def _where(client: Any) -> str:
    """Hosts of a client that was handed in; credentials are not among what it shows."""
    seeds = ",".join(f"{host}:{port}" for host, port in sorted(client.topology_description.server_descriptions()))
    return f"mongodb://{seeds}/{_database(client)}"


backend: Final = MongoBackend()
