"""examples/fastapi_app as people run it: uvicorn, a worker in a process of its own, HTTP, on every store."""

from __future__ import annotations

import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.contrib.web import Site, site

ORDER = {"customer": "ada", "cents": 1250}
SERVER = ("uvicorn", "--no-access-log", "shop:app", "--port")


def _env(url: str) -> dict[str, str]:
    return {"QUEUEKIT_URL": url, "SHOP_CURRENCY": "GBP"}


def _order(shop: Site, order: str) -> None:
    first = shop.client.put(f"/orders/{order}", json=ORDER)
    again = shop.client.put(f"/orders/{order}", json=ORDER)
    where = f"/jobs/orders/{order}"
    assert (first.status_code, first.headers["location"]) == (202, where), shop.said()
    assert first.json() == again.json() == {"queued": True, "job": f"orders/{order}", "status": where}
    assert shop.done(where) == "charged 12.50 GBP to ada"


def _closed(shop: Site, server: subprocess.Popen[bytes]) -> None:
    """The server ended in order: uvicorn raises the signal again when all is closed."""
    assert shop.end(server) in (0, -signal.SIGTERM), shop.said()
    assert "Application shutdown complete" in shop.said()


@pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"])
def test_an_order_over_http_is_charged_once_by_a_worker(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    order = uuid.uuid4().hex  # the store may be shared, and the example's namespace is its own
    with site("fastapi_app", tmp_path, _env(url)) as shop:
        server = shop.serve(*SERVER, str(shop.port))
        worker = shop.start("worker", "queuekit", "worker", "shop:kit", "-c", "2")
        _order(shop, order)
        thanks = shop.client.post("/thanks/bob")
        assert (thanks.status_code, thanks.json()["queued"]) == (202, True)
        assert shop.done(f"/jobs/{thanks.json()['job']}") == "the shop thanks bob"
        assert shop.client.put("/orders/o2", json={"customer": "eve", "cents": -1}).status_code == 422
        assert shop.client.get("/jobs/orders/o2").status_code == 404
        assert shop.client.get("/jobs/no%20queue/o2").status_code == 422
        assert shop.client.put("/orders/no%20id", json=ORDER).status_code == 422
        assert shop.end(worker) == 0, shop.said()
        _closed(shop, server)


def test_while_it_is_written_the_server_runs_the_jobs_itself(tmp_path: Path) -> None:
    env = _env(f"sqlite:///{tmp_path / 'shop.db'}") | {"SHOP_WORKER": "1"}
    with site("fastapi_app", tmp_path, env) as shop:
        server = shop.serve(*SERVER, str(shop.port))
        _order(shop, "o1")
        _closed(shop, server)
        assert "jobs run inside this server" in shop.said()
