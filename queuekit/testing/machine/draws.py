"""Hypothesis strategies for the arguments of steps: small pools, so that steps meet each other's jobs and keys.

What is drawn is not concrete yet where it depends on the run: claims are drawn as numbers and looked up by rules.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from hypothesis import strategies as st

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Change, Verb
from queuekit.testing.machine.alike import HALF, QUARTER, UNIT
from queuekit.testing.machine.duel import IDS, KEYS
from queuekit.testing.machine.plans import PLANS, Shot
from queuekit.testing.machine.steps import Beat, Obliterate, Pass, Restart, Skew, Step, Trouble, Watch

Until: TypeAlias = Literal["finished", "started", "time"]
UNTIL: Final[tuple[Until, ...]] = ("finished", "started", "time")
OFTEN: Final = [Kind.COMPLETED] * 4 + [Kind.RETRY] * 3 + [Kind.FAILED] * 2 + [Kind.RELEASED] * 2
AGES: Final = (0, HALF, 4 * UNIT + HALF)
NEVER_AWAY: Final = 100_000 * UNIT + QUARTER  # as `every` of `recover`: no grace, however much time passed
LIMIT_AND_MORE: Final = 250  # bytes: over the limit of a side


def spans(*units: int) -> st.SearchStrategy[int]:
    """ms that end between two steps."""
    return st.sampled_from([unit * UNIT + HALF for unit in units])


def maybe(strategy: st.SearchStrategy[Any], often: int = 4) -> st.SearchStrategy[Any]:
    """None most times: one in `often` is drawn."""
    return st.integers(0, often - 1).flatmap(lambda n: strategy if n == often - 1 else st.none())


ids: Final = st.sampled_from(IDS)
spoken: Final = st.integers(0, 3)  # which of the actors of a kind
picks: Final = st.integers(0, 15)  # which of the claims there are
hosts: Final = st.sampled_from([0, 0, 0, 1])
retentions: Final = st.sampled_from(
    [
        Retention(), Retention(0), Retention(1), Retention(2), Retention(None, 4 * UNIT + HALF),
        Retention(2, 9 * UNIT + HALF), Retention(0, HALF),
    ]
)  # fmt: skip
bodies: Final = st.sampled_from([b"", b"{}", b"\x00\xff$", b"n" * 150])
leases: Final = spans(2, 6, 40)
everies: Final = st.sampled_from([2 * UNIT + QUARTER, 2000 * UNIT + QUARTER])
limits: Final = st.builds(
    Limits,
    paused=maybe(st.sampled_from(["", "night"]), 5),
    max_size=maybe(st.sampled_from([1, 4]), 8),
    max_crashes=maybe(st.sampled_from([1, 2])),
    keep_completed=maybe(retentions, 3),
    keep_failed=maybe(retentions, 3),
)


plans: Final = st.sampled_from(PLANS)
ages: Final = st.sampled_from([0, 0, 0, 0, 0, 1, 2, -1])  # how many versions ago a schedule was read
slots: Final = st.one_of(st.none(), spans(-3, -1, 0, 4))


@st.composite
def uniques(draw: st.DrawFn) -> UniqueKey:
    until: Until = draw(st.sampled_from(UNTIL))
    return UniqueKey(
        key=draw(st.sampled_from(KEYS)),
        until=until,
        on_conflict=draw(st.sampled_from(("existing", "replace", "replace", "error"))),
        ttl=draw(spans(1, 7)) if until == "time" else None,
        max_wait=draw(maybe(st.just(3 * UNIT + QUARTER))),
    )


@st.composite
def specs(draw: st.DrawFn, *, unique: bool) -> JobSpec:
    """A job; its absolute times are units from now, to be moved."""
    job = JobSpec(id=draw(ids), task=draw(st.sampled_from("st")), body=draw(bodies))
    job.priority = draw(st.sampled_from([10, 10, 10, 1, 1000, 0]))
    kind = draw(st.integers(0, 9))
    if kind in (0, 1, 2):
        job.delay = draw(st.one_of(st.just(0), spans(0, 1, 5)))
    elif kind == 3:
        job.run_at = draw(spans(-3, 0, 4))
    elif kind == 4:
        job.lifo = True
    if draw(st.integers(0, 5)) == 5:
        extra = draw(st.integers(0, 5))
        job.expires_in = draw(spans(0, 4)) if extra < 3 else None
        job.expires_at = draw(spans(-1, 6)) if extra == 3 else None
        job.options, job.trace, job.version = (b"o", "t", 3) if extra > 3 else (b"", None, 1)
    job.keep_completed = draw(maybe(retentions, 6))
    job.keep_failed = draw(maybe(retentions, 6))
    if unique:
        job.unique = draw(uniques())
    return job


@st.composite
def shots(draw: st.DrawFn) -> Shot:
    """A firing; its times are units from now, to be moved."""
    return Shot(
        id=draw(plans),
        age=draw(ages),
        jobs=tuple(draw(st.lists(specs(unique=draw(st.booleans())), max_size=2))),
        next=draw(slots),
        skipped=draw(st.sampled_from([0, 0, 3])),
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run that is not known yet."""

    pick: int
    kind: Kind
    delay: int | None
    at: int | None
    keep: Retention | None
    detail: int  # which of the rest is there
    wrong: int  # what is wrong with it: mostly nothing


@st.composite
def endings(draw: st.DrawFn) -> Ending:
    kind = draw(st.sampled_from(OFTEN + list(Kind)))
    goes_on = kind in (Kind.RETRY, Kind.SNOOZED)
    return Ending(
        pick=draw(picks),
        kind=kind,
        delay=draw(maybe(st.one_of(st.just(0), spans(0, 3)), 2)) if goes_on else None,
        at=draw(maybe(spans(-2, 2), 5)) if goes_on else None,
        keep=draw(maybe(retentions, 5)),
        detail=draw(st.integers(0, 11)),
        wrong=draw(st.integers(0, 19)),
    )


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One verb; `rev` stands for what it is wrong by, `run_at` for units from now."""
    verb = draw(st.sampled_from(list(Verb)))
    timed = verb in (Verb.RETRY, Verb.RESCHEDULE)
    return Change(
        id=draw(ids),
        verb=verb,
        rev=draw(maybe(st.sampled_from([0, 0, 0, 1]), 3)),
        reason=draw(st.sampled_from([None, "", "r"])) if verb is Verb.CANCEL else None,
        run_at=draw(maybe(spans(-1, 3), 5)) if timed else None,
        delay=draw(maybe(st.one_of(st.just(0), spans(0, 4)), 2)) if timed else None,
        priority=draw(maybe(st.sampled_from([0, 5, 1000]), 2)) if verb is Verb.RESCHEDULE else None,
        body=draw(st.sampled_from([b"new", b"n" * 150, None])) if verb is Verb.REPLACE else None,
    )


@st.composite
def events(draw: st.DrawFn) -> Step:
    """What happens beside the work."""
    kind = draw(st.integers(0, 11))
    if kind < 4:
        return Pass(units=draw(st.sampled_from([1, 4, 11, 40])))
    if kind < 6:
        return Watch(id=draw(ids), host=draw(hosts))
    if kind < 8:
        return Restart(host=draw(hosts))
    if kind < 9:
        return Skew(ms=draw(st.sampled_from([-86_400_000, -5_000, 0, 30_000, 3_600_000])))
    if kind < 11:
        return Beat(name=draw(st.sampled_from("hk")), ttl=draw(st.one_of(st.just(0), spans(2, 20))))
    return Obliterate(force=draw(st.booleans()), limit=draw(st.sampled_from([2, 1000])))


@dataclass(frozen=True, slots=True)
class Luck:
    """Who makes a call, and what goes wrong on its way."""

    host: int = 0
    trouble: Trouble = Trouble.NONE
    nth: int = 1
    reborn: bool = False

    def said(self, actor: str = "") -> dict[str, Any]:
        """The fields of a step. An actor lives in one process, so its calls are made by one store."""
        host = int(actor[1]) % 2 if actor else self.host
        return {"host": host, "trouble": self.trouble, "nth": self.nth, "reborn": self.reborn}


@st.composite
def lucks(draw: st.DrawFn) -> Luck:
    fate = draw(st.integers(0, 9))
    host = draw(hosts)
    if fate < 6:
        return Luck(host)
    trouble = draw(st.sampled_from([Trouble.LOSE_REPLY, *list(Trouble)[1:]]))
    return Luck(host, trouble, draw(st.integers(1, 6)), draw(st.integers(0, 3)) == 3)
