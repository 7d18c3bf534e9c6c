"""A kit in a Starlette app: opened and closed with the server, found by requests, 202 and 503 as answers.

FastAPI is a Starlette; what only it has is in `queuekit.contrib.fastapi`. What runs jobs is not here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeAlias

from queuekit import JobHandle, QueueKit, WorkerOptions
from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, MissingExtra, StoreUnavailable

try:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import JSONResponse
except ModuleNotFoundError as missing:
    raise MissingExtra(
        f"{(missing.name or '').partition('.')[0]} is not installed: pip install 'queuekit[starlette]'"
    ) from missing

__all__ = ["get_kit", "lifespan", "queued", "store_unavailable"]
KEY: Final = "queuekit"  # in the state of the app and of its requests
GRACE: Final = "5s"  # of a worker inside a server, which somebody waits for in a terminal
RETRY_AFTER: Final = 5  # seconds a client is told to wait while the store is away
Inner: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
_log = logging.getLogger("queuekit.contrib.starlette")


def lifespan(
    kit: QueueKit, *, worker: bool | WorkerOptions = False, inner: Inner | None = None
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """`Starlette(lifespan=lifespan(kit))`: the store is opened before the first request and closed after the last.

    `inner` is a lifespan of your own; it begins when the kit is open and ends before it is closed, and a worker runs
    inside it. A store that is away is logged, and the server starts; what no waiting mends (a wrong setting, a Redis
    that evicts) is raised.

    `worker=True`, or options of `kit.worker`, runs jobs on the server's own event loop: for development. They end with
    the server, after `grace` (5 s here), and go back to the queue; several server processes have a worker each. Tasks
    must be imported by then. For production start `queuekit worker`.
    """

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(kit.aclose)
            await _open(kit)
            app.state.queuekit = kit  # for requests that do not carry the lifespan's state
            theirs = None if inner is None else await stack.enter_async_context(inner(app))
            if worker is not False:  # inside: its jobs may need what `inner` opened
                options: WorkerOptions = {"grace": GRACE}
                if not isinstance(worker, bool):
                    options.update(worker)
                _log.warning("jobs run inside this server (process %d): for development only", os.getpid())
                await stack.enter_async_context(kit.worker(**options))
            yield {**(theirs or {}), KEY: kit}

    return run


def get_kit(connection: HTTPConnection) -> QueueKit:
    """The kit of the app that answers this request or WebSocket.

    It is the lifespan's; where none runs (httpx.ASGITransport) that of `app.state.queuekit`. Raises ConfigError.
    """
    found = getattr(connection.state, KEY, None) or getattr(connection.app.state, KEY, None)
    if isinstance(found, QueueKit):
        return found
    raise ConfigError(
        "this app has no kit: write lifespan=queuekit.contrib.fastapi.lifespan(kit), and where no lifespan runs"
        " (a mounted app, httpx.ASGITransport) app.state.queuekit = kit"
    )


def queued(job: JobHandle[Any], *, status: str | None = None) -> JSONResponse:
    """202: `{"queued": true, "job": "queue/id"}`. `status` is the URL that tells what became of it.

    A job that existed already (`created=False`) is queued too: the same answer.
    """
    body = {"queued": True, "job": job.ref}
    if status is None:
        return JSONResponse(body, 202)
    return JSONResponse({**body, "status": status}, 202, headers={"Location": status})


async def store_unavailable(request: Request, error: Exception) -> JSONResponse:
    """503 while the store is away: `app.add_exception_handler(StoreUnavailable, store_unavailable)`.

    `outcome` "refused": nothing was written. "unknown": it may have been; with an id of its own the same request again
    is safe.
    """
    outcome = error.outcome if isinstance(error, StoreUnavailable) else "unknown"
    _log.error("%s %s: the store is away (%s): %s", request.method, request.url.path, outcome, redact(str(error)))
    body = {"queued": False, "error": "the job store cannot be reached", "outcome": outcome}
    return JSONResponse(body, 503, headers={"Retry-After": str(RETRY_AFTER)})


async def _open(kit: QueueKit) -> None:
    try:
        await kit.async_store()
    except StoreUnavailable as error:
        _log.error("the server starts without its job store: %s", redact(str(error)))
