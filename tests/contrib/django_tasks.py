"""What tests of the task backend share: a kit a test, the TASKS setting for it, and a worker that runs what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuekit import QueueKit, ids

if TYPE_CHECKING:
    from queuekit.contrib.django import DjangoKit

BACKEND = "queuekit.contrib.django.TaskBackend"


def one(kit: QueueKit | str | None, **said: Any) -> dict[str, Any]:
    """Settings of one backend of that kit; options in lower case."""
    options = {name: said.pop(name) for name in tuple(said) if name.islower()}
    return {"BACKEND": BACKEND, "QUEUES": [], **said, "OPTIONS": {**({"kit": kit} if kit else {}), **options}}


@contextmanager
def tasks(**backends: dict[str, Any]) -> Iterator[None]:
    """With this TASKS setting."""
    from django.test import override_settings

    with override_settings(TASKS=backends):
        yield


@contextmanager
def fresh(url: str) -> Iterator[DjangoKit]:
    """A kit of a Django project on a fresh namespace."""
    from queuekit.contrib.django import DjangoKit

    kit = DjangoKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
    try:
        yield kit
    finally:
        for queue in kit.health():
            kit.queue(queue).obliterate(confirm=queue, force=True)
        kit.close()


def work(kit: QueueKit, *queues: str) -> None:
    """A worker, until nothing is due."""
    options: dict[str, Any] = {"queues": list(queues)} if queues else {}

    async def until_done() -> None:
        try:
            await kit.worker(burst=True, concurrency=1, **options).arun()
        finally:
            await kit.aclose()

    asyncio.run(until_done())
