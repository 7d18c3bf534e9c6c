"""The site that gunicorn and uvicorn serve in these tests: it enqueues on all three stores and tells about its process.

Its kits are made at import, as applications do. With SITE_USED they enqueue there too: before any fork, with a preload.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from queuekit import QueueKit
from tests.contrib.prefork.looks import open_files, ports

STORES = ("sqlite", "redis", "mongo")
PATIENCE = 60.0
kits = {
    store: QueueKit(os.environ[f"SITE_{store.upper()}"], name=store, namespace=os.environ["SITE_NAMESPACE"])
    for store in STORES
    if f"SITE_{store.upper()}" in os.environ
}
inside: list[str] = []  # stores that are being asked just now
born: list[str] = []  # what was open when this process was forked


def _in_child() -> None:  # registered after queuekit's own, so it sees what they left
    born[:] = open_files(os.getpid())


os.register_at_fork(after_in_child=_in_child)
if "SITE_USED" in os.environ:
    for kit in kits.values():
        kit.queue("site").enqueue("task", {"by": "import"})


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """GET /STORE/enqueue, /STORE/meet?n=4&at=NAME, /about."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"].strip("/").split("/")
    if path[0] == "about":
        said = about()
    else:
        inside.append(path[0])
        handle = kits[path[0]].queue("site").enqueue("task", {"by": "request"})
        inside.remove(path[0])
        if path[1] == "meet":
            _meet(asked["at"], int(asked["n"]))
        said = about() | {"ref": handle.ref}
    body = json.dumps(said).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
    """The same for a loop: GET /STORE/enqueue, /STORE/meet?n=2&at=NAME, /about."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                for kit in kits.values():
                    await kit.aclose()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    path = scope["path"].strip("/").split("/")
    said = about()
    if path[0] != "about":
        handle = await kits[path[0]].queue("site").aenqueue("task", {"by": "request"})
        if path[1] == "meet":
            _meet(asked["at"], int(asked["n"]))  # holds up the loop: the next request must go to another process
        said = about() | {"ref": handle.ref}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


def about() -> dict[str, Any]:
    """This process, from inside: its threads, its connections, the actors under which its calls go to each store."""
    actors = []
    for kit in kits.values():
        entries = [kit.access._blocking, *kit.access._loops.values()]
        actors += [actor for entry in entries if entry is not None for actor, _ in entry.lanes._free]
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "threads": [thread.name for thread in threading.enumerate()],
        "actors": actors,
        "inside": inside,
        "ports": {store: sorted(ports(os.getpid(), kits[store].settings.url)) for store in kits if store != "sqlite"},
        "born": born,
    }


def _meet(at: str, n: int) -> None:
    """Return when so many processes are here at once: a server must have given each of them a request."""
    place = Path(os.environ["SITE_FOLDER"]) / at
    place.mkdir(exist_ok=True)
    (place / str(os.getpid())).touch()
    deadline = time.monotonic() + PATIENCE
    while len(list(place.iterdir())) < n:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{n} processes did not meet: {sorted(place.iterdir())}")
        time.sleep(0.01)
