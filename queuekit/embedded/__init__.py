"""The store that needs nothing: one SQLite file, many processes of one host; `memory://` is a private file of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from queuekit import clock
from queuekit.embedded.files import path_of
from queuekit.embedded.port import AsyncPort, BlockingPort
from queuekit.embedded.store import EmbeddedStore
from queuekit.store.registry import StoreOptions


class EmbeddedBackend:
    """What the URL schemes `sqlite` and `memory` load."""

    def blocking(self, url: str, options: StoreOptions, clock: Callable[[], int] = clock.now_ms) -> EmbeddedStore:
        """A store for threads; shared by them, never across a fork."""
        key, path, lasting = _where(url, options)
        return EmbeddedStore(BlockingPort(key, path, lasting=lasting, timeout=options.timeout / 1000), options, clock)

    def asynchronous(self, url: str, options: StoreOptions, clock: Callable[[], int] = clock.now_ms) -> EmbeddedStore:
        """A store for the running event loop."""
        key, path, lasting = _where(url, options)
        return EmbeddedStore(AsyncPort(key, path, lasting=lasting, timeout=options.timeout / 1000), options, clock)

    def adopt(self, client: object, options: StoreOptions) -> None:
        """There is no client to hand in: the file is the store."""
        return


def _where(url: str, options: StoreOptions) -> tuple[object, Path | None, bool]:
    """Under which key this process shares the file, its path (None: private), and whether it outlives its stores."""
    scheme, _, name = url.partition("://")
    if scheme == "memory":
        return (("memory", name) if name else ("memory", options), None, bool(name))
    path = path_of(url)
    return str(path), path, False


backend = EmbeddedBackend()

__all__ = ["EmbeddedBackend", "EmbeddedStore", "backend"]
