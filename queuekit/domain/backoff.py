"""How long to wait before the next run of a failed job. A value; who decides to run again is not here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from queuekit.domain.duration import Duration, format_duration, parse_duration
from queuekit.domain.values import JSON
from queuekit.errors import InvalidOption

_DEFAULT_CAP = 3_600_000
_FIELDS = {
    "fixed": {"delay"},
    "linear": {"delay", "cap", "jitter"},
    "exponential": {"first", "delay", "factor", "cap", "jitter"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Build one with `fixed`, `linear`, `exponential` or `custom`. Durations here are ms; `jitter` is 0…1.

    Jitter j spreads each delay evenly over [delay·(1−j), delay], so that many failures do not return at one moment.
    """

    kind: Literal["fixed", "linear", "exponential", "custom"] = "exponential"
    first: int = 1000
    factor: float = 2.0
    cap: int = _DEFAULT_CAP
    jitter: float = 0.0
    fn: Callable[[int, Exception], Duration | None] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise InvalidOption(f"jitter {self.jitter!r}: use a share from 0 to 1")
        if not 1 <= self.factor <= 1000:
            raise InvalidOption(f"factor {self.factor!r}: use 1 to 1000")

    @staticmethod
    def fixed(delay: Duration) -> Backoff:
        """Always the same delay."""
        first = parse_duration(delay)
        return Backoff(kind="fixed", first=first, cap=max(first, _DEFAULT_CAP))

    @staticmethod
    def linear(delay: Duration, *, cap: Duration = "1h", jitter: float = 0.0) -> Backoff:
        """`delay`, twice, three times `delay` …, at most `cap`."""
        return Backoff(kind="linear", first=parse_duration(delay), cap=parse_duration(cap), jitter=jitter)

    @staticmethod
    def exponential(first: Duration = 1, *, factor: float = 2, cap: Duration = "1h", jitter: float = 0.0) -> Backoff:
        """`first`, then `factor` times the delay before, at most `cap`: 1 s, 2 s, 4 s … by default."""
        return Backoff(first=parse_duration(first), factor=float(factor), cap=parse_duration(cap), jitter=jitter)

    @staticmethod
    def custom(fn: Callable[[int, Exception], Duration | None]) -> Backoff:
        """`fn(attempt, error)` gives the delay; None stops retrying. For tasks, queues and kits, not for one job."""
        if not callable(fn):
            raise InvalidOption(f"Backoff.custom({fn!r}): give a function of (attempt, error)")
        return Backoff(kind="custom", fn=fn)

    def delay(self, attempt: int, error: Exception | None = None) -> timedelta:
        """The wait after run number `attempt` (from 1) failed with `error`.

        Raises InvalidOption where a custom function said to stop; `delay_ms` answers None there.
        """
        ms = self.delay_ms(attempt, error)
        if ms is None:
            raise InvalidOption(f"the custom backoff stops retrying after run {attempt}")
        return timedelta(milliseconds=ms)

    def delay_ms(self, attempt: int, error: Exception | None = None) -> int | None:
        """The wait in ms after run number `attempt` (from 1) failed; None: do not run again."""
        if self.kind == "custom" and self.fn is not None:
            said = self.fn(attempt, error if error is not None else Exception())
            return None if said is None else parse_duration(said)
        if self.kind == "fixed":
            return self.first
        if self.kind == "linear":
            whole = float(self.first * attempt)
        else:
            try:
                whole = self.first * self.factor ** (attempt - 1)
            except OverflowError:
                whole = float(self.cap)
        ms = min(whole, self.cap)
        if self.jitter:
            ms = random.uniform(ms * (1 - self.jitter), ms)  # noqa: S311  spreading retries needs no secrecy
        return round(ms)


def to_backoff(value: object) -> Backoff:
    """A Backoff; a duration (fixed); or a table: {type = "exponential", delay = "1s", factor, cap, jitter}."""
    if isinstance(value, Backoff):
        return value
    if not isinstance(value, Mapping):
        return Backoff.fixed(value)  # type: ignore[arg-type]  # parse_duration refuses what is no duration
    said = dict(value)
    kind = said.pop("type", "exponential")
    if kind not in _FIELDS:
        raise InvalidOption(f"backoff type {kind!r}: use {', '.join(sorted(_FIELDS))}")
    if not set(said) <= _FIELDS[kind]:
        raise InvalidOption(f"backoff {kind} has no {', '.join(sorted(set(said) - _FIELDS[kind]))}")
    first = said.pop("first", said.pop("delay", 1))
    if kind == "fixed":
        return Backoff.fixed(first)
    return Backoff.linear(first, **said) if kind == "linear" else Backoff.exponential(first, **said)


def backoff_json(backoff: Backoff) -> JSON:
    """What `to_backoff` reads back. Raises InvalidOption for a custom one: a function cannot be stored."""
    if backoff.kind == "custom":
        raise InvalidOption("Backoff.custom is a function: give it to the task, queue or kit, not to one job")
    first = format_duration(backoff.first)
    if backoff.kind == "fixed":
        return {"type": "fixed", "delay": first}
    said: dict[str, JSON] = {"type": backoff.kind, "delay": first, "cap": format_duration(backoff.cap)}
    if backoff.kind == "exponential":
        said["factor"] = backoff.factor
    if backoff.jitter:
        said["jitter"] = backoff.jitter
    return said
