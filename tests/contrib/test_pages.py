"""The Python of docs/flask.md and docs/fastapi.md runs as it stands there, and does what the page says."""

from __future__ import annotations

import re
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuekit.settings import VARIABLES
from tests.architecture import ROOT


@pytest.fixture
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A module of all Python blocks of a page, in their order."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUEUEKIT_URL", "memory://")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / request.param).read_text(), re.MULTILINE | re.DOTALL)
    module = types.ModuleType(f"page_{request.param.partition('.')[0]}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `httpx` with")
        exec(compile("\n".join(blocks), request.param, "exec"), vars(module))  # noqa: S102  it is our own page
    yield module
    module.kit.close()


@pytest.mark.parametrize("page", ["flask.md"], indirect=True)
def test_the_page_about_flask(page: Any) -> None:
    page.test_a_receipt_is_sent()
    app = page.create_app()
    client = app.test_client()
    answer = client.post("/receipts", json={"to": "bob"})
    assert (answer.status_code, answer.json["queued"]) == (202, True)
    with app.app_context():
        assert page.kit.job(answer.json["job"]).status() == "waiting"
        page.kit.worker(burst=True).run()
        assert page.kit.schedules.get("digest").rule["timezone"] == "Europe/Berlin"
    assert page.app.extensions["queuekit"].queue_options["mail"]["attempts"] == 8


@pytest.mark.parametrize("page", ["fastapi.md"], indirect=True)
def test_the_page_about_fastapi(page: Any) -> None:
    page.test_a_receipt_is_sent()
    with page.TestClient(page.app) as client:
        first, second = client.post("/receipts/ada"), client.post("/by-name/bob")
        assert [first.status_code, second.status_code] == [202, 202]
        assert client.get(f"/jobs/{second.json()['job']}").json() == {"state": "waiting"}
        assert client.post("/digest/pause").json() == {"paused": False}  # no worker has written it yet
    with page.TestClient(page.development):
        job = page.send_receipt.enqueue("eve")
        assert job.result(timeout=30) == "sent to eve"
        assert page.kit.schedules.get("digest") is not None


@pytest.mark.parametrize("page", ["flask.md", "fastapi.md"])
def test_from_install_to_a_job_are_few_lines(page: str) -> None:
    """The lines that are queuekit's, beside those of any app."""
    first = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)[0]
    ours = [line for line in first.splitlines() if re.search(r"kit|queue|send_receipt|sent to", line)]
    assert len(ours) < 10
