"""How much the machines do: a little in CI, always the same; for minutes in `make fuzz`, never the same."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import Flaky, FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from queuekit import clock, ids
from queuekit.testing.machine import Difference, Duel, machine_of, moving_machine_of, shrunk
from queuekit.testing.machine.duel import Tally

SECONDS: Final = float(os.environ.get("QUEUEKIT_FUZZ", "0"))  # of each machine; 0: the bounded runs of CI
STEPS: Final = 40  # of one run
ROUND: Final = 20  # runs between two looks at the clock
SHRINKING: Final = 60 + SECONDS / 4  # seconds at most, to cut down a run that failed
PATIENCE: Final = 300 + 3 * SECONDS  # seconds until a test counts as hung
TRIES: Final = 8  # seeds, until runs prove something
SLOW: Final = "this machine is too slow to compare times"
Begin = Callable[[bool], Duel]


def drive(begin: Begin, name: str, runs: int, *, moving: bool = False) -> None:
    """Run a machine: `runs` times from a seed that the name gives, or from new seeds until the time is over.

    Raises Difference, of as few steps as could be found; Flaky where a run that was given up draws no more like the
    same run when it is not.
    """
    for number in _seeds(name):
        machine = seed(number)(moving_machine_of(begin) if moving else machine_of(begin))
        print(f"{name}: seed {number}")
        found: Difference | None = None
        try:
            run_state_machine_as_test(machine, settings=_settings(ROUND if SECONDS else runs))
        except Difference as difference:
            found = difference
        except FlakyFailure as flaky:  # found, and the second time this machine was too slow for a verdict
            found = next((one for one in flaky.exceptions if isinstance(one, Difference)), None)
            if found is None:
                raise
        if found is not None:  # outside, so that pages of drawn values do not bury the steps
            raise shrunk(partial(begin, found.tidy), found.steps, seconds=SHRINKING) or found


def _settings(runs: int) -> settings:
    return settings(
        max_examples=runs, stateful_step_count=STEPS, deadline=None, database=None, print_blob=False,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip


def _seeds(name: str) -> Iterator[int]:
    if not SECONDS:
        yield zlib.crc32(name.encode())
        return
    until = clock.monotonic() + SECONDS
    while clock.monotonic() < until:
        yield zlib.crc32(ids.nonce().encode())


def compare(
    begin: Callable[[Tally], Begin], name: str, runs: int, *, faults: bool = True, moving: bool = False
) -> None:
    """Run a machine until its runs did enough: from another seed where they were too slow or hardly met something.

    What a seed gives depends on the modules that are imported: Hypothesis takes values to try from their constants.
    Raises Difference, and AssertionError where no seed did enough.
    """
    for attempt in range(TRIES):
        tally = Tally()
        try:
            drive(begin(tally), attempted(name, attempt), runs, moving=moving)
        except Flaky:
            if not tally.given_up:
                raise
            lacks = SLOW
            continue
        print(tally)
        lacks = lacking(tally, faults=faults, moving=moving)
        if not lacks:
            return
    raise AssertionError(f"{lacks}; {tally}")


def attempted(name: str, attempt: int) -> str:
    """What names the seed of an attempt."""
    return f"{name} {attempt}" if attempt else name


def lacking(tally: Tally, *, faults: bool = True, moving: bool = False) -> str:
    """What keeps these runs from proving anything; "" for nothing. A machine that did little proves little."""
    if tally.given_up * 4 > tally.runs * 3:
        return SLOW
    if tally.steps < 10 * (tally.runs - tally.given_up):
        return "few steps"
    known: tuple[str, ...] = ("Put", "Work", "claims", "Alter", "Recover", "refused", "Stale")
    wanted = known if tally.steps > 2000 else known[:5] if tally.steps > 500 else known[:3]
    if tally.seen["Schedule"]:  # both stores have the part
        told = ("fired", "fire changed", "Unschedule", "Conflict")
        wanted += told if tally.steps > 2000 else told[:2] if tally.steps > 500 else ()
    if moving:
        wanted += ("Move", "Out", "Confirm", "In", "parcels", "moved")
    never = [what for what in wanted if not tally.seen[what]]
    if never:
        return f"never seen: {', '.join(never)}"
    return "few faults were injected" if faults and tally.injected < tally.runs // 4 else ""
