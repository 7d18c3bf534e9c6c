"""A kit in a FastAPI app: `Depends(get_kit)`, `Depends(queue("mail"))`, and what every Starlette app has.

What runs jobs is not here; a task's own dependencies are `queuekit.Inject`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

from queuekit import Queue, QueueKit
from queuekit.domain import names
from queuekit.errors import MissingExtra

try:
    from fastapi import Depends
except ModuleNotFoundError as missing:
    raise MissingExtra(f"{missing.name} is not installed: pip install 'queuekit[fastapi]'") from missing

from queuekit.contrib.starlette import get_kit, lifespan, queued, store_unavailable

__all__ = ["Kit", "get_kit", "lifespan", "queue", "queued", "store_unavailable"]
Kit: TypeAlias = Annotated[QueueKit, Depends(get_kit)]


def queue(name: str) -> Callable[..., Queue]:
    """A dependency that gives a queue by name: `Mail = Annotated[Queue, Depends(queue("mail"))]`.

    It is the queue of `get_kit`'s kit, also where `dependency_overrides[get_kit]` gives another. Raises InvalidName.
    """
    names.queue_name(name)

    def give(kit: Kit) -> Queue:
        return kit.queue(name)

    return give
