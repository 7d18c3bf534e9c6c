"""examples/flask_app as people run it: gunicorn, a worker in a process of its own, HTTP, on every store."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.contrib.web import site

ORDER = {"customer": "ada", "cents": 1250}


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The three stores, told by a variable; a namespace of its own, said through the app's config."""
    store = request.param
    url = f"sqlite:///{tmp_path / 'shop.db'}" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    return {
        "QUEUEKIT_URL": url,
        "SHOP_QUEUEKIT_NAMESPACE": f"flask-{uuid.uuid4().hex[:8]}",
        "FLASK_APP": "shop:create_app",
    }


def test_an_order_over_http_is_charged_once_by_a_worker(env: dict[str, str], tmp_path: Path) -> None:
    with site("flask_app", tmp_path, env) as shop:
        server = shop.serve("gunicorn", "-w", "1", "-b", f"127.0.0.1:{shop.port}", "shop:create_app()")
        worker = shop.start("worker", "flask", "queuekit", "worker", "-c", "2")

        first = shop.client.put("/orders/o1", json=ORDER)
        again = shop.client.put("/orders/o1", json=ORDER)
        assert (first.status_code, first.headers["location"]) == (202, "/jobs/orders/o1"), shop.said()
        assert first.json() == again.json() == {"queued": True, "job": "orders/o1", "status": "/jobs/orders/o1"}
        thanks = shop.client.post("/thanks", json={"customer": "bob"}).json()
        wrong = shop.client.put("/orders/o2", json={"customer": "eve", "cents": "much"})
        assert (wrong.status_code, wrong.json()["queued"]) == (422, False)
        wrong = shop.client.put("/orders/no%20id", json=ORDER)
        assert wrong.status_code == 422
        assert "'no id' is no job id: use" in wrong.json()["errors"][0]

        assert shop.done("/jobs/orders/o1") == "charged 12.50 EUR to ada"
        assert shop.done(thanks["status"]) == "the shop thanks bob"
        assert shop.client.get("/jobs/orders/o2").status_code == 404

        assert [shop.end(worker), shop.end(server)] == [0, 0], shop.said()
        if not env["QUEUEKIT_URL"].startswith("sqlite"):
            return  # the command is the same; once is enough
        listed = shop.run("flask", "queuekit", "jobs", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        jobs = json.loads(listed.stdout)["jobs"]
        assert sorted((job["queue"], job["state"], job["attempt"]) for job in jobs) == [
            ("mail", "completed", 1), ("orders", "completed", 1),
        ]  # fmt: skip
