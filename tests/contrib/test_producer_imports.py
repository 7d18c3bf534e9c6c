"""What a web process that only enqueues by name imports of queuekit: no handler, no worker, no command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuekit.settings import VARIABLES

NEVER = (
    "queuekit.runtime",
    "queuekit.cli",
    "queuekit.testing",
    "queuekit.dashboard",
    "queuekit.move",
    "handlers",
    "shop.tasks",
)
DEAR = ("typer", "rich", "uvloop", "multiprocessing", "hypothesis", "jinja2", "pydantic", "click")
FLASK = """
from flask import Flask
from queuekit.contrib.flask import FlaskKit
kit = FlaskKit(imports=["handlers"])
app = Flask("site")
app.config["QUEUEKIT_URL"] = url
kit.init_app(app)
@app.get("/")
def view():
    return kit.queue("mail").enqueue("send", {"to": "ada"}).ref
assert app.test_client().get("/").status_code == 200
"""
FASTAPI = """
import asyncio
from fastapi import FastAPI
import queuekit.contrib.fastapi
from queuekit import QueueKit
kit, app = QueueKit(url, imports=["handlers"]), FastAPI()
asyncio.run(kit.queue("mail").aenqueue("send", {"to": "ada"}))
"""
DJANGO = """
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["queuekit.contrib.django", "shop"], QUEUEKIT={"URL": url}, SECRET_KEY="x", USE_TZ=True
)
import django
django.setup()
from queuekit.contrib.django import kit
kit.queue("mail").enqueue("send", {"to": "ada"})
"""
OWN = {  # what the frameworks themselves import of what is dear, and what of queuekit they add to a producer's
    "flask": (FLASK, {"click", "jinja2"}, {"queuekit.contrib.flask"}),
    "fastapi": (
        FASTAPI,
        {"pydantic", "multiprocessing", "jinja2"},
        {"queuekit.contrib.fastapi", "queuekit.contrib.starlette"},
    ),
    "django": (DJANGO, {"multiprocessing"}, set()),
}


@pytest.mark.parametrize("framework", OWN)
def test_a_web_process_that_enqueues_by_name_imports_no_handler(framework: str, tmp_path: Path) -> None:
    program, theirs, glue = OWN[framework]
    (tmp_path / "handlers.py").write_text("raise SystemExit('a handler was imported')\n")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tasks.py").write_text("raise SystemExit('a handler was imported')\n")
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nurl = 'sqlite:///{tmp_path}/jobs.db'\n{program}\nprint(*sys.modules)"
    modules = set(subprocess.check_output([sys.executable, "-c", code], env=env, text=True, cwd=tmp_path).split())
    assert "queuekit.producing.produce" in modules
    assert [name for name in modules if any(name == one or name.startswith(f"{one}.") for one in NEVER)] == []
    assert set(DEAR) & modules <= theirs
    assert glue <= modules
    ours = [name for name in modules if name.startswith("queuekit")]
    assert len(ours) <= 99, sorted(ours)
