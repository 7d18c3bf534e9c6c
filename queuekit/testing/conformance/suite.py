"""Every family in one place, for a third party's single test file: `from queuekit.testing.conformance.suite import *`.

No two tests of the suite have one name, so none hides another.
"""

from __future__ import annotations

from importlib import import_module

FAMILIES = (
    "life", "produce", "exchange", "ends", "settle", "order", "repeats", "again", "renew", "recover", "absence", "read",
    "find", "change", "control", "retention", "unique", "within", "conflict", "notify", "opaque", "contention",
    "moving", "moving_homes", "moving_out", "moving_back", "moving_in", "moving_keys", "moving_held",
    "moving_round", "moving_live", "schedules", "schedules_fire", "schedules_moving", "schedules_live",
)  # fmt: skip

for _family in FAMILIES:
    _module = vars(import_module(f"queuekit.testing.conformance.{_family}"))
    globals().update({name: test for name, test in _module.items() if name.startswith("test_")})
