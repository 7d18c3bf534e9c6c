"""A pytest plugin for runs on a sabotaged copy: notes which code was tested and why each red test was red.

It writes one JSON file, named by QUEUEKIT_WITNESS, and changes nothing about the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest

DISTRIBUTIONS = ("queuekit", "queuekit_redis", "queuekit_mongo")
_seen: dict[str, Any] = {"passed": [], "red": [], "broken": []}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.excinfo is not None:
        why = {"test": item.nodeid, "type": call.excinfo.typename, "says": str(call.excinfo.value)[:2000]}
        _seen["red" if report.when == "call" else "broken"].append(why)
    elif report.passed and report.when == "call":
        _seen["passed"].append(item.nodeid)
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _seen["broken"].append({"test": report.nodeid, "type": "collection", "says": str(report.longrepr)[-2000:]})


def pytest_sessionfinish() -> None:
    _seen["code"] = {name: import_module(name).__file__ for name in DISTRIBUTIONS}
    with open(os.environ["QUEUEKIT_WITNESS"], "w", encoding="utf-8") as file:
        json.dump(_seen, file)
