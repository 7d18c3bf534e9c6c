"""FastAPI and Starlette: the kit with the server's life, found by requests, a worker inside, 202 and 503."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route

from queuekit import Queue, QueueKit, StoreUnavailable
from queuekit.cli import apps
from queuekit.contrib import starlette
from queuekit.contrib.fastapi import Kit, get_kit, lifespan, queue, queued, store_unavailable
from queuekit.errors import ConfigError, InvalidName, InvalidOption, MissingExtra
from queuekit.testing import isolated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette's own client would rather have another httpx
    from fastapi.testclient import TestClient

Mail = Annotated[Queue, Depends(queue("mail"))]
AWAY = "redis://127.0.0.1:1"  # nobody listens there


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on a file of its own."""
    made = QueueKit(f"sqlite:///{tmp_path / 'jobs.db'}")

    @made.task(queue="mail")
    async def send(to: str) -> str:
        return f"sent to {to}"

    yield made
    made.close()


def routes(app: FastAPI) -> FastAPI:
    """What an application has."""

    @app.post("/kit")
    async def by_kit(kit: Kit) -> JSONResponse:
        return queued(await kit.queue("mail").aenqueue("send", {"to": "ada"}))

    @app.post("/queue")
    def by_queue(mail: Mail) -> JSONResponse:
        return queued(mail.enqueue("send", {"to": "bob"}, id="bob"), status="/jobs/mail/bob")

    @app.websocket("/ws")
    async def ws(socket: WebSocket, kit: Kit) -> None:
        await socket.accept()
        await socket.send_text((await kit.queue("mail").aenqueue("send", {"to": "eve"})).ref)
        await socket.close()

    return app


def client_of(app: Any) -> httpx.AsyncClient:
    """A client that runs no lifespan."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")


# ---------------------------------------------------------------- requests
def test_requests_depend_on_the_kit_and_on_queues(kit: QueueKit) -> None:
    app = routes(FastAPI(lifespan=lifespan(kit)))
    with TestClient(app) as client:
        first = client.post("/kit")
        assert (first.status_code, first.json()["queued"]) == (202, True)
        assert first.json().keys() == {"queued", "job"}
        second, again = client.post("/queue"), client.post("/queue")
        assert second.json() == again.json() == {"queued": True, "job": "mail/bob", "status": "/jobs/mail/bob"}
        assert second.headers["location"] == "/jobs/mail/bob"
        with client.websocket_connect("/ws") as socket:
            third = socket.receive_text()
    assert [kit.job(ref).status() for ref in (first.json()["job"], "mail/bob", third)] == ["waiting"] * 3


async def test_without_a_lifespan_the_apps_state_or_an_override_gives_the_kit(kit: QueueKit) -> None:
    app = routes(FastAPI())
    async with client_of(app) as client:
        with pytest.raises(ConfigError, match=r"lifespan=queuekit\.contrib\.fastapi\.lifespan\(kit\)"):
            await client.post("/kit")
        app.state.queuekit = kit
        assert (await client.post("/kit")).status_code == 202
    app = routes(FastAPI())
    app.dependency_overrides[get_kit] = lambda: kit
    async with client_of(app) as client:
        assert (await client.post("/kit")).status_code == 202
    assert (await kit.ahealth("mail"))["mail"].waiting == 2
    await kit.aclose()


async def test_an_applications_test_runs_in_memory(kit: QueueKit) -> None:
    app = routes(FastAPI(lifespan=lifespan(kit)))
    with isolated(kit) as test:
        async with app.router.lifespan_context(app), client_of(app) as client:
            ref = (await client.post("/kit")).json()["job"]
            assert [f"{job.queue}/{job.id}" for job in await test.adrain()] == [ref]
            assert await kit.job(ref).aresult(timeout=0) == "sent to ada"
    assert (await kit.ahealth("mail"))["mail"].completed == 0
    await kit.aclose()


def test_starlette_alone_has_it_too_also_below_a_mount(kit: QueueKit) -> None:
    async def take(request: Request) -> JSONResponse:
        return starlette.queued(await starlette.get_kit(request).queue("mail").aenqueue("send", {"to": "ada"}))

    inner = Starlette(routes=[Route("/mail", take, methods=["POST"])])
    with TestClient(Starlette(routes=[Mount("/shop", inner)], lifespan=starlette.lifespan(kit))) as client:
        assert client.post("/shop/mail").json()["queued"] is True


def test_a_queue_with_no_such_name_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidName):
        queue("no queue")


# ---------------------------------------------------------------- the server's life
def test_the_users_own_lifespan_is_inside_ours(kit: QueueKit) -> None:
    said: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        said.append((await kit.queue("mail").aenqueue("send", {"to": "start"}, id="start")).ref)
        yield {"mine": 7}
        said.append(await kit.job("mail/start").astatus())

    app = routes(FastAPI(lifespan=lifespan(kit, inner=own)))

    @app.get("/mine")
    async def mine(request: Request) -> int:
        found: int = request.state.mine
        return found

    with TestClient(app) as client:
        assert client.get("/mine").json() == 7
        assert [client.post("/kit").status_code, client.post("/queue").status_code] == [202, 202]
        assert kit.access._blocking is not None
    assert said == ["mail/start", "waiting"]
    assert not kit.access._loops
    assert kit.access._blocking is None, "both are closed with the server"


def test_a_server_starts_without_its_store_and_says_503(caplog: pytest.LogCaptureFixture) -> None:
    kit = QueueKit(AWAY)
    kit._configuration._settings = _patient(kit)
    app = routes(FastAPI(lifespan=lifespan(kit)))
    app.add_exception_handler(StoreUnavailable, store_unavailable)
    with TestClient(app) as client:
        assert "the server starts without its job store" in caplog.text
        answer = client.post("/kit")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {
        "queued": False, "error": "the job store cannot be reached", "outcome": "refused",
    }  # fmt: skip


def _patient(kit: QueueKit) -> Any:
    """Settings that do not wait long for a store that is not there."""
    from dataclasses import replace

    return replace(kit.settings, timeout=50)


def test_a_server_with_wrong_settings_does_not_start() -> None:
    kit = QueueKit("sqlite:////no/such/folder/jobs.db")
    with pytest.raises(ConfigError, match="does not exist"), TestClient(FastAPI(lifespan=lifespan(kit))):
        raise AssertionError("it started")


# ---------------------------------------------------------------- the worker inside
def test_a_worker_inside_runs_jobs_and_ends_with_the_server(kit: QueueKit, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = routes(FastAPI(lifespan=lifespan(kit, worker={"concurrency": 3})))

    @app.post("/wait")
    async def wait(kit: Kit) -> object:
        return await (await kit.queue("mail").aenqueue("send", {"to": "ada"})).aresult(timeout=30)

    with TestClient(app) as client:
        assert client.post("/wait").json() == "sent to ada"
        workers = [worker.concurrency for worker in kit_workers(kit)]
    assert workers == [3]
    assert "for development only" in caplog.text
    assert "stops: 5.0 s for what runs" in caplog.text
    assert kit_workers(kit) == []


def kit_workers(kit: QueueKit) -> list[Any]:
    """The workers the store knows."""
    store = kit.blocking_store()
    from queuekit.store.direct import direct

    return list(direct(store.workers()))


def test_a_worker_inside_has_what_the_users_lifespan_opened(kit: QueueKit) -> None:
    """Its first job may run at once, and its last one until the server has ended."""
    said: list[int] = []

    async def workers() -> None:
        said.append(len(await kit.arun(lambda at: at.ask(at.store.workers))))

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        await workers()
        yield
        await workers()

    with TestClient(routes(FastAPI(lifespan=lifespan(kit, inner=own, worker=True)))) as client:
        assert client.post("/kit").status_code == 202
        assert len(kit_workers(kit)) == 1
    assert said == [0, 0]


def test_a_worker_inside_without_tasks_is_refused_at_the_start() -> None:
    with (
        pytest.raises(InvalidOption, match="the kit has no task with a handler"),
        TestClient(FastAPI(lifespan=lifespan(QueueKit("memory://"), worker=True))),
    ):
        raise AssertionError("it started")


def test_each_server_start_has_a_worker_of_its_own(kit: QueueKit) -> None:
    """As under --reload, and in tests that start the app again and again."""
    app = routes(FastAPI(lifespan=lifespan(kit, worker=True)))
    for _ in range(2):
        with TestClient(app) as client:
            ref = client.post("/kit").json()["job"]
            assert kit.job(ref).result(timeout=30) == "sent to ada"


async def test_many_loops_leave_no_connection_behind(kit: QueueKit) -> None:
    app = routes(FastAPI(lifespan=lifespan(kit)))

    def once() -> None:
        async def serve() -> None:
            async with client_of(app) as client:
                app.state.queuekit = kit
                assert (await client.post("/kit")).status_code == 202

        asyncio.run(serve())

    for _ in range(3):
        await asyncio.to_thread(once)
    assert len(kit.access._loops) == 0


# ---------------------------------------------------------------- mistakes
def test_a_depends_in_a_task_is_refused_with_what_to_write() -> None:
    kit = QueueKit("memory://")

    def session() -> int:
        return 1

    expected = r"is a FastAPI Depends, which only answers requests: `from queuekit import Inject` and write db = Inject"
    with pytest.raises(InvalidOption, match=expected):

        @kit.task
        def by_default(n: int, db: int = Depends(session)) -> None: ...

    with pytest.raises(InvalidOption, match=expected):

        @kit.task
        async def annotated(n: int, db: Annotated[int, Depends(session)]) -> None: ...

    with pytest.raises(InvalidOption, match="is a FastAPI Depends"):

        @kit.task
        async def ours(n: int, kit: Kit) -> None: ...

    assert kit.tasks() == {}


def test_an_app_that_is_named_instead_of_its_kit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fast_shop.py").write_text(
        "from fastapi import FastAPI\nfrom queuekit import QueueKit\nkit = QueueKit('memory://')\napp = FastAPI()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        apps.AppError, match="fast_shop:app is a FastAPI app: name the kit itself; fast_shop has the kit kit"
    ):
        apps.load("fast_shop:app")


@pytest.mark.parametrize(("module", "extra"), [("fastapi", "fastapi"), ("starlette", "starlette")])
def test_without_the_framework_the_install_line_is_said(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"queuekit.contrib.{module}")
    with pytest.raises(MissingExtra, match=rf"pip install 'queuekit\[{extra}\]'"):
        importlib.import_module(f"queuekit.contrib.{module}")
