"""Defaults under a name: what every job of a kit says that nothing else says. Below them stand queuekit's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNCAPPED = "3650d"  # Bull's exponential delays grow without a limit
_BULL: Mapping[str, Any] = {
    "priority": 0,  # no priority: before all that have one
    "attempts": 3,
    "backoff": {"type": "exponential", "delay": "1s", "cap": _UNCAPPED},
    "keep_completed": False,  # removeOnComplete: true
    "keep_failed": True,  # removeOnFail: false
    "max_crashes": 2,  # maxStalledCount: 1 - taken back once, not twice
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "bull": _BULL,
    "bull-tuned": {
        **_BULL,
        "backoff": {"type": "exponential", "delay": "2s", "cap": _UNCAPPED},
        "keep_completed": 50,
        "keep_failed": 25,
    },
}


def preset_name(value: object) -> object:
    """The name itself, in lower case. Raises ValueError for one there is not."""
    name = str(value).strip().lower()
    if name not in PRESETS:
        raise ValueError(f"there is no preset {value!r}: use {', '.join(PRESETS)}")
    return name
