"""The contract's stores for the tests of faults, each once over each port, and a closing table of the cells played."""

from __future__ import annotations

from ast import literal_eval
from collections import Counter, defaultdict

import pytest

from tests.contract.conftest import STORES, able, contended, harness, made, open_store, port, store
from tests.faults.engine import FAULTS

__all__ = ["able", "contended", "harness", "made", "open_store", "port", "store"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "made" in metafunc.fixturenames:
        cases = [pytest.param(name, marks=[pytest.mark.store(name)]) for name in STORES]
        metafunc.parametrize("made", cases, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Cells played: a line a store, a column a fault."""
    played: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "cells" and getattr(report, "when", "") == "call":
                    store_name, _, counts = value.split("/", 2)
                    played[store_name].update(literal_eval(counts))
    if not played:
        return
    columns = [*FAULTS, "healed", "never due"]
    terminalreporter.write_sep("=", "faults: cells played (store, call, fault)")
    terminalreporter.write_line(f"{'':<8}" + "".join(f"{name:>20}" for name in columns))
    for store_name, counts in sorted(played.items()):
        terminalreporter.write_line(f"{store_name:<8}" + "".join(f"{counts[name]:>20}" for name in columns))
