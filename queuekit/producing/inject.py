"""`Inject`: a handler's argument that the worker provides and callers never pass. How it is opened is the runtime's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from queuekit.errors import InvalidOption

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InjectMarker:
    """The default value that `Inject` leaves in a signature: who provides the argument, and for how long."""

    provider: Callable[..., object]
    scope: Literal["job", "worker"] = "job"


@overload
def Inject(provider: Callable[..., AsyncIterator[T]], *, scope: Literal["job", "worker"] = "job") -> T: ...
@overload
def Inject(provider: Callable[..., Coroutine[Any, Any, T]], *, scope: Literal["job", "worker"] = "job") -> T: ...
@overload
def Inject(provider: Callable[..., T], *, scope: Literal["job", "worker"] = "job") -> T: ...
def Inject(provider: Callable[..., object], *, scope: Literal["job", "worker"] = "job") -> Any:  # noqa: N802  reads as the type it stands for
    """`db: Session = Inject(open_session)`: the worker calls the provider and passes what it gives.

    A provider is a function, a coroutine function or an async generator (what stands behind its `yield` runs at the
    end). `scope`: "job" (default) opens one for each run, "worker" one for the life of the process. Passing an
    injected argument to `enqueue` is a PayloadError. Raises InvalidOption for anything that cannot be called.
    """
    if not callable(provider):
        raise InvalidOption(
            f"Inject({provider!r}): give a function, a coroutine function or an async generator function"
        )
    if scope not in ("job", "worker"):
        raise InvalidOption(f"Inject(scope={scope!r}): use 'job' or 'worker'")
    return InjectMarker(provider, scope)
