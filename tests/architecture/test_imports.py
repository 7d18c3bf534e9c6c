"""Imports point down only: the contracts of pyproject.toml hold, and each of them can be broken."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import PACKAGES, ROOT, imported, shipped, tree

LINT = Path(sys.executable).parent / "lint-imports"


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    paths = [root, root / "backends" / "redis", root / "backends" / "mongo"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(LINT), "--no-cache", "--config", str(root / "pyproject.toml")]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to be broken one at a time."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", root)
    for folder in PACKAGES.values():
        shutil.copytree(folder, root / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_all_contracts_hold() -> None:
    result = _lint(ROOT)
    assert result.returncode == 0, result.stdout
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("queuekit/domain/state.py", "import queuekit.store", "imports point down only"),
        ("queuekit/errors.py", "from queuekit import domain", "imports point down only"),
        ("queuekit/surprise.py", "", "imports point down only"),
        ("queuekit/embedded/__init__.py", "import queuekit.settings", "the embedded store imports"),
        ("queuekit/embedded/__init__.py", "import queuekit_redis", "the embedded store imports"),
        ("backends/redis/queuekit_redis/__init__.py", "import queuekit.settings", "the Redis store imports"),
        ("backends/redis/queuekit_redis/__init__.py", "import queuekit_mongo", "the Redis store imports"),
        ("backends/mongo/queuekit_mongo/__init__.py", "import queuekit.embedded", "the MongoDB store imports"),
        ("backends/mongo/queuekit_mongo/__init__.py", "from queuekit import QueueKit", "the MongoDB store imports"),
        ("queuekit/store/registry.py", "import queuekit_mongo", "the core imports no driver"),
        ("queuekit/codec.py", "from redis import Redis", "the core imports no driver"),
        ("queuekit/store/registry.py", "import queuekit.testing.servers", "nobody imports the testing kit"),
        ("queuekit/store/registry.py", "from queuekit import QueueKit", "the public names are for users"),
        ("queuekit/settings/load.py", "import flask", "flask, django and fastapi only in contrib"),
        ("backends/redis/queuekit_redis/__init__.py", "from django.db import models", "flask, django and fastapi only"),
        ("queuekit/store/registry.py", "from rich.console import Console", "typer and rich only in cli"),
        ("queuekit/domain/job.py", "import asyncio", "the domain does no I/O"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    path = copy / module
    before = path.read_text() if path.exists() else None
    path.write_text((before or "") + f"\ndef _sabotage() -> None:\n    {line or 'return'}\n")
    try:
        result = _lint(copy)
    finally:
        path.write_text(before) if before is not None else path.unlink()
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if " BROKEN" in row]
    assert any(row.startswith(contract) for row in broken) or (not line and "surprise" in result.stdout), result.stdout


def test_stores_know_no_event_loop_outside_their_ports() -> None:
    stores = [ROOT / "queuekit" / "embedded", ROOT / "backends"]
    guilty = [
        str(path.relative_to(ROOT))
        for path in shipped(".py")
        if any(path.is_relative_to(store) for store in stores)
        and any(name.partition(".")[0] == "asyncio" for name in imported(path))
        and not _is_port(path)
    ]
    assert guilty == []


def _is_port(path: Path) -> bool:
    """A file called port.py or ports.py, line.py for what one is made of, or a file whose classes all are ports."""
    classes = [
        node.name for node in tree(path).body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    return path.stem in ("port", "ports", "line") or (bool(classes) and all(name.endswith("Port") for name in classes))
