"""The stores of this repository as sides of a run. Servers are the session's; each run has a namespace of its own."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from queuekit.testing.conformance.harness import Harness
from queuekit.testing.machine.duel import Duel, Plan, Tally
from queuekit.testing.machine.side import Side
from tests.contract.harness_model import ModelHarness

Maker: TypeAlias = Callable[[], Harness]
MODEL: Final = "model"


def maker(name: str, request: pytest.FixtureRequest) -> Maker:
    """What makes a harness of one store for each run."""
    if name == "sqlite":
        from tests.contract.harness_sqlite import SqliteHarness

        folder: Path = request.getfixturevalue("tmp_path")
        files = itertools.count()
        return lambda: SqliteHarness(folder / f"{next(files)}.db")
    module = importlib.import_module(f"tests.contract.harness_{name}")
    return lambda: module.make(request)


def duels(makers: Sequence[Maker], tally: Tally, *, blocking: bool = True) -> Callable[[bool], Duel]:
    """What begins a run of two stores, or of one and the model."""

    def begin(tidy: bool) -> Duel:
        sides = [Side(make(), blocking=blocking) for make in makers]
        if len(sides) == 1:
            sides.append(Side(ModelHarness(), faults=False))
        return Duel(sides, Plan(tidy=tidy), tally)

    return begin
