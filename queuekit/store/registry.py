"""From a URL to a store: backends found by entry point, imported when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, Protocol

from queuekit.domain.job import HARD_PAYLOAD_LIMIT
from queuekit.errors import ConfigError, MissingExtra, UnknownProvider
from queuekit.store.protocol import JobStore

GROUP = "queuekit.backends"
KNOWN_EXTRAS = {
    "redis": "redis", "rediss": "redis", "redis+sentinel": "redis", "redis+cluster": "redis",
    "mongodb": "mongo", "mongodb+srv": "mongo",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What every backend is told besides its URL."""

    namespace: str = "queuekit"
    timeout: int = 5000  # ms, bound of one store call
    payload_limit: int = 256 * 1024  # bytes
    durability: Literal["acknowledged", "replicated"] = "acknowledged"
    allow_eviction: bool = False
    collection: str = "queuekit_jobs"  # MongoDB: the jobs collection, and prefix of the others

    def __post_init__(self) -> None:
        if not 1 <= self.payload_limit <= HARD_PAYLOAD_LIMIT:
            raise ConfigError(f"payload limit {self.payload_limit} is not between 1 and {HARD_PAYLOAD_LIMIT} bytes")


class Backend(Protocol):
    """What an entry point of the group `queuekit.backends` loads. Making a store does no I/O; `open` does."""

    def blocking(self, url: str, options: StoreOptions) -> JobStore:
        """A store whose methods never suspend; shared by threads, never across a fork."""

    def asynchronous(self, url: str, options: StoreOptions) -> JobStore:
        """A store for the running event loop."""

    def adopt(self, client: object, options: StoreOptions) -> tuple[JobStore | None, JobStore | None] | None:
        """(blocking, asynchronous) stores over a client of the application; None where it is not this driver's.

        A side the client cannot serve is None."""


def schemes() -> dict[str, EntryPoint]:
    """Installed URL schemes."""
    return {point.name: point for point in entry_points(group=GROUP)}


def backend(url: str) -> Backend:
    """The backend of a URL's scheme. Raises UnknownProvider (known ones named) or MissingExtra (install line)."""
    scheme = url.partition("://")[0] if "://" in url else ""
    known = schemes()
    point = known.get(scheme)
    if point is None:
        if scheme in KNOWN_EXTRAS:
            raise _missing(scheme)
        names = ", ".join(sorted(known | KNOWN_EXTRAS))
        raise UnknownProvider(f"no backend for the URL scheme {scheme or '(none)'!r}; known: {names}")
    try:
        loaded: Backend = point.load()
    except ModuleNotFoundError as error:
        raise (_missing(scheme) if scheme in KNOWN_EXTRAS else _incomplete(scheme, point, error)) from error
    return loaded


def _missing(scheme: str) -> MissingExtra:
    install = f"pip install 'queuekit[{KNOWN_EXTRAS[scheme]}]'"
    return MissingExtra(f"{scheme}:// needs a package that is not installed: {install}")


def _incomplete(scheme: str, point: EntryPoint, error: ModuleNotFoundError) -> MissingExtra:
    """A third party's backend is registered, and something it imports is not there: its own package knows what."""
    package = point.dist.name if point.dist is not None else point.value.partition(".")[0].partition(":")[0]
    return MissingExtra(
        f"{scheme}:// is a backend of the package {package}, which needs the module {error.name!r}, not installed here:"
        f" pip install --upgrade --force-reinstall {package}, or what its own pages name"
    )
