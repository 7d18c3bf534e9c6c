"""Rows about endpoints: what a request that enqueues is answered, and how it is given its queue."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from queuekit import Queue, QueueKit
from queuekit.contrib.fastapi import lifespan, queue, queued
from queuekit.settings import VARIABLES
from queuekit.testing import isolated
from tests.architecture import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette's own client would rather have another httpx
    from fastapi.testclient import TestClient

ORDER = {"customer": "ada", "cents": 1250}
ANSWER = {"queued": True, "job": "orders/o1", "status": "/jobs/orders/o1"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / name / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_S1_3_an_endpoint_of_flask_answers_that_it_is_queued(bare: None) -> None:
    shop = _example("flask_app")
    app = shop.create_app(TESTING=True)
    with isolated(shop.kit) as test:
        answer = app.test_client().put("/orders/o1", json=ORDER)
        assert (answer.status_code, answer.json) == (202, ANSWER)
        assert [job.result for job in test.drain()] == ["charged 12.50 EUR to ada"]


def test_S1_3_an_endpoint_of_fastapi_answers_that_it_is_queued(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_CURRENCY", raising=False)
    shop = _example("fastapi_app")
    with isolated(shop.kit) as test, TestClient(shop.app) as client:
        answer = client.put("/orders/o1", json=ORDER)
        assert (answer.status_code, answer.json()) == (202, ANSWER)
        assert [job.result for job in test.drain()] == ["charged 12.50 EUR to ada"]


def test_S1_3_an_endpoint_of_django_answers_that_it_is_queued(bare: None, tmp_path: Path) -> None:
    code = """if True:
        import django, json
        django.setup()
        from django.core.management import call_command
        from django.test import Client
        from queuekit.contrib.django import kit
        call_command("migrate", verbosity=0)
        answer = Client(headers={"host": "localhost"}).post(
            "/orders/", {"email": "ada@example.com", "cents": 1250}, content_type="application/json"
        )
        print(json.dumps([answer.status_code, answer.json(), kit.job(answer.json()["job"]).status()]))
    """
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "SITE_DATA": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "examples" / "django_site", env=env, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    status, answer, state = json.loads(ran.stdout)
    assert (status, answer["queued"], state) == (202, True, "waiting")
    assert answer["job"].startswith("payments/")


def test_S1_8_an_endpoint_is_given_its_queue_by_name(bare: None) -> None:
    kit = QueueKit("memory://")
    app = FastAPI(lifespan=lifespan(kit))

    @app.post("/mail")
    async def take(mail: Annotated[Queue, Depends(queue("mail"))]) -> object:
        return queued(await mail.aenqueue("send", {"to": "ada"}, id="one"))

    with TestClient(app) as client:
        assert client.post("/mail").json() == {"queued": True, "job": "mail/one"}
