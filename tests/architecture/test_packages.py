"""The three distributions: one version, every data file in its wheel, every dependency pinned and explained."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import queuekit
from tests.architecture import PACKAGES, ROOT


def _project(distribution: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((_folder(distribution) / "pyproject.toml").read_text())
    return project


def _folder(distribution: str) -> Path:
    return ROOT if distribution == "queuekit" else PACKAGES[distribution].parent


def _name(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _dependencies() -> set[str]:
    found: set[str] = set()
    for distribution in PACKAGES:
        content = _project(distribution)
        project = content["project"]
        groups = [project["dependencies"], content["build-system"]["requires"]]
        groups += project.get("optional-dependencies", {}).values()
        groups += content.get("dependency-groups", {}).values()
        found |= {_name(requirement) for group in groups for requirement in group}
    return found - PACKAGES.keys()


def test_the_three_distributions_carry_one_version() -> None:
    backends = {_project(distribution)["project"]["version"] for distribution in PACKAGES if distribution != "queuekit"}
    assert backends == {queuekit.__version__}
    assert _project("queuekit")["tool"]["hatch"]["version"] == {"path": "queuekit/__init__.py"}


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_every_file_of_its_package_and_nothing_else(distribution: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=_folder(distribution), check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = PACKAGES[distribution]
    files = {str(path.relative_to(package.parent)) for path in package.rglob("*") if path.is_file()}
    moved = {"queuekit/cli/door.py": "queuekit_door.py"}  # the command's entry: docs/decisions/065
    assert inside == {moved.get(name, name) for name in files if "__pycache__" not in name}
    assert f"{package.name}/py.typed" in inside


def test_backends_are_found_by_their_schemes() -> None:
    found = {point.name: point.value for point in entry_points(group="queuekit.backends")}
    assert found == {
        "sqlite": "queuekit.embedded:backend",
        "memory": "queuekit.embedded:backend",
        "redis": "queuekit_redis:backend",
        "rediss": "queuekit_redis:backend",
        "redis+sentinel": "queuekit_redis:backend",
        "redis+cluster": "queuekit_redis:backend",
        "mongodb": "queuekit_mongo:backend",
        "mongodb+srv": "queuekit_mongo:backend",
    }


@pytest.mark.parametrize("scheme", [point.name for point in entry_points(group="queuekit.backends")])
def test_every_entry_point_loads_a_backend(scheme: str) -> None:
    (point,) = entry_points(group="queuekit.backends", name=scheme)
    backend = point.load()
    assert callable(backend.blocking)
    assert callable(backend.asynchronous)


def test_every_dependency_is_pinned_and_has_its_line_in_the_decisions() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    page = (ROOT / "docs" / "decisions" / "002-dependencies.md").read_text().lower()
    dependencies = _dependencies()
    assert len(dependencies) > 25
    assert dependencies - pinned == set()
    assert {name for name in dependencies if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)} == set()
