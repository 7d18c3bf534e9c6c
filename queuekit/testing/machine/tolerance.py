"""The few things two stores may do differently, each with its reason. Nothing else is excused anywhere.

All of them are asked of what the stores declare, never of their names. One more is granted to all: a store may know
a queue's configuration for a second, so that after a change, and after a queue's end, each store reads it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from queuekit.domain.job import Retention
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Outcome, Refusal
from queuekit.domain.query import Change
from queuekit.store.protocol import Capabilities
from queuekit.testing.machine.moves import Confirm, Restore, Unhold
from queuekit.testing.machine.plans import Fire, Unschedule
from queuekit.testing.machine.script import troubled
from queuekit.testing.machine.steps import Prune, Put, Recover, Renew, Step, Trouble, Work

_REPEATED: Final = (Prune, Restore, Unhold, Unschedule, Fire)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a pair of stores is excused."""

    strays: bool  # one store reports strays and the other does not
    forgetful: bool  # a store answers a repeat from its jobs: after a restart no old call is made again, and a call
    # whose answer is lost names a job once, because the job tells by which call it was settled, not by which outcome;
    # what such a call writes, two tries may write, a few ms apart
    counts: bool  # one store counts retention at prune only: runs either use no counts, or prune after each step
    late: tuple[bool, ...]  # whose totals are late: what another process did is missing until its next call, and what
    # a call did whose answer was lost may be missing for good

    @classmethod
    def of(cls, *able: Capabilities) -> Tolerance:
        return cls(
            strays=len({one.strays for one in able}) > 1,
            forgetful=any(one.strays for one in able),
            counts=len({one.counted_at for one in able}) > 1,
            late=tuple(one.totals == "late" for one in able),
        )

    def reply(self, step: Step, told: Any, *, late: bool) -> Any:
        """A comparable reply without what need not be the same. `late`: something waits that was not started in time,
        which is no work, but a store need not look at every job to know that there is none.
        """
        if not isinstance(told, dict):
            # Repeated by nature: the repeat finds the work done and says so.
            return None if troubled(step) and isinstance(step, _REPEATED) else told
        if isinstance(step, Renew) and self.strays:
            told = told | {"strays": None}
        if isinstance(step, (Put, Work)) and (troubled(step) or (self.forgetful and step.reborn)):
            told = told | {"replayed": None}  # whether the lost try did anything is what the trouble leaves open
        if isinstance(step, Work):
            told = told | {"refused": _refused(step, told["refused"])} | ({"more": None} if late else {})
        if troubled(step) and isinstance(step, Confirm):
            return None  # the repeat finds them gone already
        if troubled(step) and isinstance(step, Recover):
            return None  # as with prune: what the lost try recovered is in no answer
        return told

    def prunes(self, step: Step) -> bool:
        """Whether to prune from now on: a store that leaves much to prune may, when it meets a job that has expired on
        its way to a claim, cancel all others that have."""
        return self.counts and isinstance(step, Put) and any(job.expires_at or job.expires_in for job in step.jobs)

    def outcomes(self, all: Sequence[Outcome], *, tidy: bool) -> tuple[Outcome, ...]:
        """Those of a call whose answer will be lost; a single one where the count of those that ended decides."""
        once = tuple({one.id: one for one in all}.values())
        return (once[:1] if tidy else once) if self.forgetful else tuple(all)

    def changes(self, all: Sequence[Change]) -> list[Change]:
        """Those of a call whose answer will be lost: a job that it names twice is written in two rounds."""
        return list({one.id: one for one in all}.values()) if self.forgetful else list(all)

    def dues(self, trouble: Trouble) -> bool:
        """Whether each time a call names must be one of its own: its parts may be written by two tries."""
        return self.forgetful and trouble is not Trouble.NONE

    def pages(self, told: list[list[Any]]) -> list[list[Any]]:
        """Jobs of a page walk as (time, id): those of one moment by id. Two steps, or a step and its pruning, may give
        one moment, which is a millisecond more or less on either side. Jobs that wait have no time, and one order.
        """
        groups = [list(group) for _, group in groupby(told, key=lambda job: job[0])]
        return [job for group in groups for job in (group if group[0][0] is None else sorted(group, key=itemgetter(1)))]

    def want(self, want: int, trouble: Trouble) -> int:
        """How many a call may ask for: one that dies between its claims, each atomic alone, has fewer when repeated."""
        return min(want, 1) if self.forgetful and trouble is Trouble.PARTIAL else want

    def keep(self, keep: Retention | None, *, tidy: bool) -> Retention | None:
        """A retention that both sides apply at the same moment."""
        if self.counts and not tidy and keep is not None and keep.count:
            return replace(keep, count=None)
        return keep

    def limits(self, limits: Limits, *, tidy: bool) -> Limits:
        return replace(
            limits,
            keep_completed=self.keep(limits.keep_completed, tidy=tidy),
            keep_failed=self.keep(limits.keep_failed, tidy=tidy),
        )

    def waited(self, a: float | None, b: float | None) -> bool:
        """Whether the longest waits two stores tell can both be: a store may look at the foremost jobs only."""
        return (a is None) == (b is None)

    def counted(self, a: dict[str, int], b: dict[str, int], *, again: bool = False) -> bool:
        """Whether two stores' totals are as they must be: what is late may be missing, and nothing is counted twice,
        but where a driver's request came twice, or after its repeat (decision 073)."""
        if len({*self.late}) > 1:
            if again:
                return True
            few, whole = (a, b) if self.late[0] else (b, a)
            return all(count <= whole[name] for name, count in few.items())
        return a == b or all(self.late)


def _refused(step: Work, told: list[list[Any]]) -> list[list[Any]]:
    """Refusals: of a job that the call itself ended, a count may have removed it at once or when the call ends."""
    named = Counter(outcome.id for outcome in step.outcomes)
    return [[job, Refusal.LOST if why is Refusal.GONE and named[job] > 1 else why] for job, why in told]
