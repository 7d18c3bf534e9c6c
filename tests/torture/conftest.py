"""Which stores a torture test runs on: all of them in `make torture`, one of them, by turns, where CI runs it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import cast

import pytest

STORES = ("redis", "mongo", "sqlite")
FULL = os.environ.get("QUEUEKIT_TORTURE") == "full"


def each_store(test: Callable[..., None]) -> Callable[..., None]:
    """Every store, or the one whose turn it is."""
    turn = zlib.crc32(test.__name__.encode()) % len(STORES)
    decorate = pytest.mark.parametrize("store", STORES if FULL else STORES[turn : turn + 1])
    return cast(Callable[..., None], decorate(test))
