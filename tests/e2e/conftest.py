"""The demo as a person runs it, on each store in turn."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit
from queuekit.settings import VARIABLES

BIN = Path(sys.executable).parent
QUEUEKIT = BIN / "queuekit"


@pytest.fixture
def clean_env() -> dict[str, str]:
    """This process's environment without any setting of queuekit, and with its commands on the path."""
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    return env | {"PATH": f"{BIN}{os.pathsep}{env.get('PATH', '')}"}


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def store_env(request: pytest.FixtureRequest, tmp_path: Path, clean_env: dict[str, str]) -> dict[str, str]:
    """The same, with one of the three stores chosen."""
    store = request.param
    url = f"sqlite:///{tmp_path / 'queue.db'}" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    return clean_env | {"QUEUEKIT_URL": url}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on a SQLite file of its own."""
    with QueueKit(f"sqlite:///{tmp_path / 'kit.db'}") as made:
        yield made
