"""docs/schedules.md: its programs run as they stand there, and its table has every key there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from queuekit import Rule, Settings
from queuekit.producing.scheduling.declaring import declare_schedules
from queuekit.testing import TestKit

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(TOML,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.QueueKit", TestKit)
    here: dict[str, Any] = {}
    for text in PYTHON:
        exec(compile(text, "docs/schedules.md", "exec"), here)  # noqa: S102
    kit = here["kit"]
    kit.run(lambda at: declare_schedules(kit, at))
    assert [one.id for one in kit.schedules.all()] == ["digest", "report"]
    assert [job.id.partition("@")[0] for job in kit.find(queue="mail").jobs] == ["digest-tenant-7"]


def test_the_file_of_the_page_declares_a_schedule(tmp_path: Path) -> None:
    (tmp_path / "queuekit.toml").write_text(TOML)
    kit = TestKit(settings=Settings.load({"QUEUEKIT_URL": "memory://"}, file=str(tmp_path / "queuekit.toml")))

    @kit.task(queue="execution")
    def reconcile(exchange: str) -> None: ...

    assert kit.run(lambda at: declare_schedules(kit, at)).written == ["exchange-sync"]


def test_the_table_has_every_key_of_a_rule() -> None:
    table = PAGE.partition("## When: the rule")[2].partition("\nTry one")[0]
    keys = {key for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}
    assert keys == set(Rule.__annotations__)


def test_the_page_names_every_command() -> None:
    from queuekit.cli import schedules

    assert f"`queuekit schedules {schedules.app.info.help}`" in PAGE
