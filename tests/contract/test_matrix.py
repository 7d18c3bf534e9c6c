"""The matrix itself: a store or a family that is left out of it must be noticed."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import queuekit.testing.conformance
from queuekit.store.parts import Mover, Schedules
from queuekit.store.protocol import Alter, Control, HotPath, Life, Notify, Produce, Read
from queuekit.testing.conformance import Blocking, suite
from tests.contract.conftest import FAKES, STORES, VARIANTS, matrix

HERE = Path(__file__).parent
SUITE = Path(queuekit.testing.conformance.__file__).parent
ROOMS = {"__init__", "harness", "fixtures", "words", "transit", "slots", "suite"}
FAMILIES = sorted(path.stem for path in SUITE.glob("*.py") if path.stem not in ROOMS)


def behaviours(module: ModuleType) -> set[str]:
    return {name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")}


def test_every_store_is_in_the_matrix() -> None:
    assert list(STORES) == ["model", "sqlite", "redis", "mongo"]
    assert matrix(fakes=False) == [*STORES, *VARIANTS]


def test_fakes_have_no_part_in_contended_tests() -> None:
    assert not set(FAKES) & set(matrix(fakes=False))


def test_every_family_runs_here() -> None:
    here = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")}
    assert sorted(here - {"matrix", "third_party"}) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_runs_with_all_its_tests(family: str) -> None:
    shipped = behaviours(importlib.import_module(f"queuekit.testing.conformance.{family}"))
    assert len(shipped) >= 5
    assert behaviours(importlib.import_module(f"tests.contract.test_{family}")) == shipped


def test_no_two_families_share_a_name() -> None:
    """Whoever imports all of them into one file would lose one of the two."""
    seen: dict[str, str] = {}
    for family in FAMILIES:
        for name in behaviours(importlib.import_module(f"queuekit.testing.conformance.{family}")):
            assert seen.setdefault(name, family) == family


def test_the_suite_in_one_place_is_all_of_it() -> None:
    assert sorted(suite.FAMILIES) == FAMILIES
    families = [importlib.import_module(f"queuekit.testing.conformance.{family}") for family in FAMILIES]
    assert behaviours(suite) == {name for module in families for name in behaviours(module)}


def test_every_test_asks_for_a_store() -> None:
    for family in FAMILIES:
        module = importlib.import_module(f"queuekit.testing.conformance.{family}")
        for name in behaviours(module):
            assert {"store", "open_store", "able", "mover", "scheduling", "pair", "harness"} & set(
                inspect.signature(getattr(module, name)).parameters
            ), name


def test_the_coat_of_a_blocking_store_has_every_method_with_its_signature() -> None:
    for family in (Life, Produce, HotPath, Read, Alter, Control, Notify, Mover, Schedules):
        for name, method in inspect.getmembers(family, inspect.isfunction):
            if not name.startswith("_"):
                assert inspect.signature(getattr(Blocking, name)) == inspect.signature(method), name
