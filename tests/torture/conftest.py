"""Which stores a torture test runs on: all of them in `make torture`, one of them, by turns, where CI runs it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import cast

import pytest

STORES = ("redis", "mongo", "sqlite")
_turns = itertools.cycle(STORES)
FULL = os.environ.get("QUEUEKIT_TORTURE") == "full"


def each_store(test: Callable[..., None]) -> Callable[..., None]:
    """Every store, or the one whose turn it is."""
    decorate = pytest.mark.parametrize("store", STORES if FULL else [next(_turns)])
    return cast(Callable[..., None], decorate(test))
