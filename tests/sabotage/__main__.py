"""`make sabotage`: every patch, or those named, applied to a copy; each must turn a test red that is green without it.

python -m tests.sabotage [--due N] [--commit NAME] [--refresh] [--jobs N] [NAME or part of a name …]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from tests.sabotage import patches
from tests.sabotage.patches import Patch
from tests.sabotage.tree import Copy, Ran, Red


@dataclass(slots=True)
class Verdict:
    """What became of one break."""

    patch: Patch
    seconds: float
    red: Red | None = None
    trouble: str = ""  # why it does not count, '' where it does

    def line(self) -> str:
        word = "FAILED  " if self.trouble else "noticed "
        by = (
            self.trouble.splitlines()[0][:150] if self.trouble else self.red.test.partition("::")[2] if self.red else ""
        )
        return f"{word} {self.patch.name:<44} {self.seconds:5.1f} s  {by}"


def tried(patch: Patch, commit: str | None = None) -> Verdict:
    """Apply one patch to a copy and run what should notice."""
    start = time.monotonic()

    def verdict(red: Red | None = None, trouble: str = "") -> Verdict:
        return Verdict(patch, time.monotonic() - start, red, trouble)

    with Copy(commit) as copy:
        why = patches.complaint(patch, copy.root)
        if why is not None:
            return verdict(trouble=f"does not apply: {why}")
        patches.apply(patch, copy.root)
        ran = copy.pytest("--maxfail=1", *patch.tests)
    honest = [red for red in ran.red if red.honest]
    if honest:
        return verdict(honest[0])
    return verdict(trouble=_trouble(ran))


def _trouble(ran: Ran) -> str:
    if ran.red or ran.broken:
        one = (ran.red + ran.broken)[0]
        return f"red for a reason that shows nothing: {one.test}: {one.type}: {one.says[-300:]}"
    return (
        f"survived: {len(ran.passed)} tests ran and none is red" if ran.passed else f"no test ran: {ran.output[-300:]}"
    )


def confirmed(verdicts: list[Verdict], commit: str | None = None) -> None:
    """The red tests must be green without the patches; those that are not show nothing."""
    tests = sorted({one.red.test for one in verdicts if one.red is not None})
    if not tests:
        return
    with Copy(commit) as copy:
        green = set(copy.pytest(*tests).passed)
    for one in verdicts:
        if one.red is not None and one.red.test not in green:
            one.trouble = f"{one.red.test} is red without the patch too"


def judged(
    chosen: list[Patch], jobs: int = 1, commit: str | None = None, heard: Callable[[Verdict], None] = lambda one: None
) -> list[Verdict]:
    """Every chosen patch, tried and confirmed; `heard` is told of each try as it ends."""
    verdicts = []
    with ThreadPoolExecutor(jobs) as pool:
        for one in pool.map(tried, chosen, repeat(commit)):
            heard(one)
            verdicts.append(one)
    confirmed(verdicts, commit)
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("names", nargs="*", help="only patches whose names contain one of these")
    parser.add_argument("--due", type=int, metavar="N", help="only the N that CI runs at this commit")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="patches at once (2)")
    parser.add_argument("--commit", metavar="NAME", help="the tree of this commit, not what lies here")
    parser.add_argument("--refresh", action="store_true", help="rewrite patches whose surroundings have moved")
    said = parser.parse_args()
    chosen = [p for p in patches.all_patches() if not said.names or any(name in p.name for name in said.names)]
    if said.refresh:
        for patch in chosen:
            if patches.refresh(patch):
                print(f"rewritten {patch.name}")
        return 0
    chosen = patches.due(chosen, said.due) if said.due else chosen
    start = time.monotonic()
    verdicts = judged(chosen, said.jobs, said.commit, heard=lambda one: print(one.line(), flush=True))
    bad = [one for one in verdicts if one.trouble]
    for one in bad:
        print(f"\n{one.patch.name}: {one.patch.promise}\n  {one.trouble}")
    print(f"\n{len(verdicts) - len(bad)} of {len(verdicts)} breaks were noticed, in {time.monotonic() - start:.0f} s")
    return 1 if bad or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
