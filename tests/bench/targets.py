"""What each figure is to reach, one line each: what is asked, and beyond it what is only aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["at least", "at most", "of the floor", "times the floor"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound: of the figure itself, or of its ratio to the floor measured beside it."""

    kind: Kind
    bound: float
    aim: bool = False  # nobody asked for it yet: missing it fails nothing

    def met(self, value: float, ratio: float | None) -> bool:
        """Whether a median reaches it; a ratio that was not measured does not."""
        if self.kind == "at least":
            return value >= self.bound
        if self.kind == "at most":
            return value <= self.bound
        if ratio is None:
            return False
        return ratio >= self.bound if self.kind == "of the floor" else ratio <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.kind in ("at least", "of the floor") else "≤"
        return f"{sign} {self.bound:,g}" + (" × floor" if "floor" in self.kind else "") + (" (aim)" if self.aim else "")


def _least(bound: float, *, aim: bool = False) -> Target:
    return Target("at least", bound, aim)


def _most(bound: float, *, aim: bool = False) -> Target:
    return Target("at most", bound, aim)


def _share(bound: float, *, aim: bool = False) -> Target:
    return Target("of the floor", bound, aim)


def _times(bound: float, *, aim: bool = False) -> Target:
    return Target("times the floor", bound, aim)


EVERY: Final = {
    "worker_rss": _most(70),
    "first_enqueue": _most(250),
    "lateness_earliest": _least(0),  # never early
}
TARGETS: Final[dict[str, dict[str, Target]]] = {
    "redis": {
        **EVERY,
        "drain_100": _share(0.55),
        "drain_10": _share(0.5),
        "drain_1": _share(0.5),
        "two_workers": _share(1.4, aim=True),
        "enqueue_one": _times(1.4),
        "enqueue_many": _least(40_000),
        "sleepers": _least(1_900),
        "latency_p50": _most(1),
        "latency_p99": _most(3),
        "lateness_p99": _most(5),
        "idle_requests": _most(1),
        "idle_cpu": _most(0.5),
        "bytes": _most(400),
    },
    "mongo": {
        **EVERY,
        "drain_100": _share(0.65),
        "drain_1": _share(0.8, aim=True),
        "two_workers": _share(1.3, aim=True),
        "enqueue_one": _times(1.15, aim=True),
        "enqueue_many": _least(20_000),
        "sleepers": _least(1_900, aim=True),
        "latency_p99": _most(15),
        "lateness_p99": _most(20, aim=True),
        "idle_cpu": _most(0.5, aim=True),
        "bytes": _most(450, aim=True),
    },
    "sqlite": {
        **EVERY,
        "drain_100": _least(12_000),
        "drain_1": _least(4_000, aim=True),
        "enqueue_many": _least(60_000, aim=True),
        "sleepers": _least(1_900, aim=True),
        "latency_p99": _most(25, aim=True),
        "lateness_p99": _most(25, aim=True),
        "idle_cpu": _most(0.5, aim=True),
        "bytes": _most(350, aim=True),
    },
}
FLAT: Final = 0.2  # how much worse a figure may become with a million waiting jobs


def flat(unit: str) -> Target:
    """What a figure with many waiting jobs may be of the same with few: a rate lower, a time or size higher."""
    return _share(1 - FLAT) if unit.endswith("/s") else _times(1 + FLAT)
