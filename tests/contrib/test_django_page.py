"""The Python of docs/django.md runs as it stands there, in a project made of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.architecture import ROOT

SETTINGS = """
SECRET_KEY = "of a page"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "shop.urls"
USE_TZ = True
"""
MODELS = """
from django.db import models
from django.utils.timezone import now

class Order(models.Model):
    name = models.CharField(max_length=100)
    receipt = models.CharField(max_length=100, default="")
    made = models.DateTimeField(default=now)

    def send_receipt(self):
        self.receipt = f"for {self.name}"
        self.save()
"""
URLS = """
from django.db import transaction
from django.http import HttpResponse
from django.urls import path
from shop.models import Order
from shop.tasks import send_receipt

def order(request):
%s
    return HttpResponse(job.ref)

urlpatterns = [path("order/", order)]
"""
SWEEP = """
from datetime import timedelta
from django.utils.timezone import now
from shop.models import Order
from shop.tasks import send_receipt

class Sweep(QueueTestMixin, TestCase):
    def test_rows_that_are_behind_get_their_job_once(self):
        order = Order.objects.create(name="tea", made=now() - timedelta(hours=1))
        for _ in range(2):
%s
        [job] = self.queues.jobs()
        self.assertEqual(job.id, f"receipt-{order.pk}")
        self.queues.drain()
        order.refresh_from_db()
        self.assertEqual(order.receipt, "for tea")
"""


def blocks() -> list[str]:
    """Every Python block of the page, in order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "django.md").read_text(), re.MULTILINE | re.DOTALL)


def test_a_project_made_of_the_page_works(tmp_path: Path) -> None:
    settings, tasks, view, sweep, _, _, schedule, _, tests = blocks()
    shop = tmp_path / "shop"
    shop.mkdir()
    files = {
        "__init__": "",
        "settings": SETTINGS + settings,
        "models": MODELS,
        "tasks": "from shop.models import Order\n" + tasks + schedule,
        "urls": URLS % textwrap.indent(view, "    "),
        "tests": tests + SWEEP % textwrap.indent(sweep, " " * 12),
    }
    for name, text in files.items():
        (shop / f"{name}.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUE", "REDIS_", "MONGODB_"))}
    env |= {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "django", "test", "shop"]
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Ran 2 tests" in ended.stderr
    ours = [line for block in (settings, tasks) for line in block.splitlines() if line.strip()]
    assert len(ours) + 2 < 10  # and what enqueues: an import and a call


@pytest.mark.usefixtures("django")
def test_the_settings_of_the_page_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from django.test import override_settings

    from queuekit.contrib.django.checks import check

    monkeypatch.setenv("QUEUE_STORE", "redis://localhost")
    names: dict[str, object] = {"os": os, "timedelta": timedelta}
    exec(blocks()[4], names)  # noqa: S102  it is our own page
    with override_settings(QUEUEKIT=names["QUEUEKIT"]):
        assert check(None) == []


@pytest.mark.usefixtures("django")
def test_the_kit_of_the_page_is_one() -> None:
    names: dict[str, object] = {}
    exec(blocks()[5].replace("DjangoKit(", 'DjangoKit("memory://", name="page", '), names)  # noqa: S102  as above
    kit = names["kit"]
    assert kit.queue_options["mail"]["concurrency"] == 4  # type: ignore[attr-defined]  # it is text to mypy


@pytest.mark.usefixtures("django")
def test_every_check_stands_on_the_page() -> None:
    page = (ROOT / "docs" / "django.md").read_text()
    code = (ROOT / "queuekit" / "contrib" / "django" / "checks.py").read_text()
    assert set(re.findall(r"queuekit\.([EW]\d{3})", page)) == set(re.findall(r"\b([EW]\d{3})\b", code))
