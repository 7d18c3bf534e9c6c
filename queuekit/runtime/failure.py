"""What a handler raised, as bounded text: type, message and traceback, without our own frames and without secrets."""

from __future__ import annotations

import traceback
from types import TracebackType

from queuekit import clock, codec
from queuekit.domain.redact import redact

ERROR_MAX = 16 * 1024  # bytes of one error record
_MESSAGE_MAX = 2048
_TRACE_MAX = 12 * 1024
_LINE_MAX = 1000
_HEAD = 3 * 1024
_CUTS = ((_TRACE_MAX, _MESSAGE_MAX), (4000, _MESSAGE_MAX), (1500, 1000), (500, 300), (0, 100))
_OURS = ("queuekit.runtime.", "queuekit.contrib.", "asyncio.", "asgiref.")  # what stands between a worker and a handler


class TimedOut(Exception):
    """A run that took longer than its timeout."""


class UnfitResult(Exception):
    """A handler returned what cannot be stored; the message says why."""


def sole(error: BaseException) -> BaseException:
    """The one exception inside nested groups, or the error itself: a TaskGroup wraps what its failed task raised."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def leaves(error: BaseException) -> list[BaseException]:
    """All exceptions inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def describe(error: BaseException, *, attempt: int, worker: str) -> bytes:
    """The error record of one failed run."""
    return record(
        type_name(error), message(error), _trace(error), attempt=attempt, worker=worker,
    )  # fmt: skip


def record(type: str, message: str, trace: str, *, attempt: int, worker: str) -> bytes:
    """An error record from its parts, at most ERROR_MAX bytes."""
    data = b""
    # Characters are not bytes: four-byte characters and escapes are over the bound after the first cut.
    for trace_max, message_max in _CUTS:
        data = codec.encode({
            "type": type[:200], "message": message[:message_max], "traceback": _middle_cut(trace, trace_max),
            "attempt": attempt, "worker": worker, "at": clock.now_ms(),
        })  # fmt: skip
        if len(data) <= ERROR_MAX:
            break
    return data


def type_name(error: BaseException) -> str:
    """The class with its module, but for what Python has built in."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    module = "queuekit" if kind.__module__.startswith("queuekit.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def message(error: BaseException) -> str:
    """What the error says; an error that cannot say it is named so."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001  user code: str() of their exception
        text = f"(its message raised {type(broken).__name__})"
    return tidy(text)


def tidy(text: str) -> str:
    """What somebody said, bounded and as every store can keep it: text it refused would hold up all that goes along."""
    return redact(_whole(text[: _MESSAGE_MAX * 2]))[:_MESSAGE_MAX]


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, theirs(error.__traceback__))
    except Exception as broken:  # noqa: BLE001  user code again: __str__, __repr__, a broken linecache
        return f"(formatting the traceback raised {type(broken).__name__})"
    # A message of megabytes must not push the frames out. Redacted before the last cut: half a secret is one.
    shown = [line if len(line) <= _LINE_MAX else redact(line[: 4 * _LINE_MAX])[:_LINE_MAX] + "…\n" for line in lines]
    return _middle_cut(redact(_whole("".join(shown))), _TRACE_MAX)


def theirs(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not the worker's."""
    start = trace
    while start is not None and start.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        start = start.tb_next
    return start or trace


def _whole(text: str) -> str:
    """Half surrogate pairs as question marks: with them every other character would cost up to 12 bytes."""
    return text.encode("utf-8", "replace").decode()


def _middle_cut(text: str, limit: int) -> str:
    if len(text) <= limit or not limit:
        return text[:limit]
    head = min(_HEAD, limit // 4)
    return f"{text[:head]}\n… {len(text) - limit} characters left out …\n{text[head - limit :]}"
