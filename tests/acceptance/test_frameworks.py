"""Rows about endpoints: what a request that enqueues is answered, and how it is given its queue."""

from __future__ import annotations

import importlib.util
import warnings
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


def test_S1_8_an_endpoint_is_given_its_queue_by_name(bare: None) -> None:
    kit = QueueKit("memory://")
    app = FastAPI(lifespan=lifespan(kit))

    @app.post("/mail")
    async def take(mail: Annotated[Queue, Depends(queue("mail"))]) -> object:
        return queued(await mail.aenqueue("send", {"to": "ada"}, id="one"))

    with TestClient(app) as client:
        assert client.post("/mail").json() == {"queued": True, "job": "mail/one"}
