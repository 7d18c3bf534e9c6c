"""What the pages point at is there: files, tests, targets of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from queuekit.testing.conformance.suite import FAMILIES
from tests.architecture import ROOT, tracked

PAGES = [ROOT / name for name in tracked() if name.endswith(".md") and (ROOT / name).is_file()]
THEIRS = {"tests/test_conformance.py", "tests/conftest.py"}  # of whoever writes a backend
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_targets_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert named - TARGETS == set()
    paths = re.findall(r"`((?:tests|docs|queuekit|backends|examples)/[\w/.*-]+)`", text)
    assert [path for path in paths if path not in THEIRS and not list(ROOT.glob(path.rstrip("/")))] == []


def test_every_decision_has_its_own_number() -> None:
    numbers = [path.name[:3] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) > 30


def test_every_family_of_the_suite_stands_on_the_page_about_backends() -> None:
    page = (ROOT / "docs" / "writing-a-backend.md").read_text()
    assert {name for name in FAMILIES if f"| `{name}` |" not in page} == set()
