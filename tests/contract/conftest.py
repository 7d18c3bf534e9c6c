"""The matrix of the conformance suite: every store, over both ports.

A store comes in by its `harness_<name>.py` with a function `make(request) -> Harness`.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import pytest

from queuekit.testing.conformance.fixtures import (
    able,
    begin,
    contended,
    harness,
    mover,
    open_store,
    pair,
    port,
    scheduling,
    store,
)
from queuekit.testing.conformance.harness import Harness

__all__ = ["able", "begin", "contended", "harness", "mover", "open_store", "pair", "port", "scheduling", "store"]

STORES = ("model", "sqlite", "redis", "mongo")
VARIANTS = ("redis_cluster",)  # another server of a store: it has the whole suite too
FAKES = ("redis_fake",)  # one thread only: they have no part in the contended tests


def matrix(fakes: bool) -> list[str]:
    """The stores there is a harness for."""
    names = STORES + VARIANTS + (FAKES if fakes else ())
    return [name for name in names if find_spec(f"tests.contract.harness_{name}") is not None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "made" in metafunc.fixturenames:
        cases: list[Any] = []
        for name in matrix(fakes="contended" not in metafunc.fixturenames):
            marks = [pytest.mark.store(name)]
            cases.append(pytest.param(name, marks=marks))
        metafunc.parametrize("made", cases, indirect=True)


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Harness:
    """The harness of one store. Where a server is missing it skips, and fails in CI (tests/conftest.py)."""
    module = importlib.import_module(f"tests.contract.harness_{request.param}")
    maker: Harness = module.make(request)
    return maker
