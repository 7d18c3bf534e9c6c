"""Runs that once showed a difference, kept as they were printed or cut down by hand. They run always, on every store.

To keep one: paste what a failed machine printed, name it by what it shows, and say above it what was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Hold, Home, Kind, Op, Outcome
from queuekit.domain.query import Change, Totals, Verb
from queuekit.domain.state import State
from queuekit.testing.machine.moves import Cargo, Confirm, In, Move, Out, Restore, Shape, Unhold
from queuekit.testing.machine.plans import Schedule, TakeSchedules
from queuekit.testing.machine.steps import Alter, Configure, Pass, Prune, Put, Recover, Renew, Step, Trouble, Work

# Redis, SQLite: the repeat of a configuration whose answer was lost was refused as somebody else's.
configured_again = [
    Configure(override=Limits(max_crashes=2)),
    Configure(trouble=Trouble.TWICE, declared=Limits(max_crashes=2)),
    Configure(trouble=Trouble.LOSE_REPLY, nth=2, override=Limits()),
]

# Redis: a second suspect was called more work for a worker that had just got one. MongoDB the same.
one_suspect_is_enough = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b""), JobSpec(id="b", task="s", body=b""))),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=2, lease=8500)),
    Pass(units=3),
    Recover(every=340000850),
    Work(op=Op(actor="w0.1", n=1), ask=Ask(want=3, lease=137700)),
    Work(trouble=Trouble.TWICE, op=Op(actor="w0.1", n=2), ask=Ask(want=0, lease=137700, suspect=False)),
]

# SQLite: jobs were pruned by how long they had been waiting again.
old_though_given_back = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b""),)),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=1, lease=137700)),
    Pass(units=3),
    Work(op=Op(actor="w0.0", n=2), outcomes=(Outcome(id="a", token="w0.0:1", kind=Kind.SNOOZED),)),
    Prune(state=State.WAITING, older_than=5100),
]

# MongoDB: which of two equal ids made the job was forgotten with the process.
equal_ids = [
    Put(
        trouble=Trouble.TWICE,
        reborn=True,
        op=Op(actor="p0", n=1),
        jobs=(
            JobSpec(id="b", task="t", body=b"{}", unique=UniqueKey(key="y", until="started")),
            JobSpec(id="B", task="t", body=b"{}", priority=1, unique=UniqueKey(key="y")),
            JobSpec(id="B", task="t", body=b"", unique=UniqueKey(key="x", until="time", ttl=5100)),
        ),
    ),
]

# MongoDB: a job of the call that took another one's content took it again when the insertion arrived late.
replaced_in_its_own_call = [
    Put(
        trouble=trouble,
        nth=nth,
        op=Op(actor="p0", n=3 * nth + place),
        jobs=(
            JobSpec(id=f"{nth}{place}", task="s", body=b"{}", delay=22100, unique=UniqueKey(key=f"{nth}{place}")),
            JobSpec(
                id="d", task="t", body=b"", priority=0, delay=0,
                unique=UniqueKey(key=f"{nth}{place}", until="time", on_conflict="replace", ttl=5100),
            ),
        ),
    )
    for nth in range(1, 5)
    for place, trouble in enumerate((Trouble.LATE, Trouble.LOSE_REPLY, Trouble.PARTIAL))
]  # fmt: skip

# MongoDB: a job that took new content stood behind jobs that the call named later.
order_within_a_call = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="10", task="t", body=b"", unique=UniqueKey(key="y")),)),
    Put(
        op=Op(actor="p0", n=2),
        jobs=(
            JobSpec(id="a", task="t", body=b"", lifo=True, unique=UniqueKey(key="y", on_conflict="replace")),
            JobSpec(id="c", task="t", body=b""),
        ),
    ),
]

# MongoDB: the second outcome of a run that left nothing was called lost.
nothing_left = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b"", keep_completed=Retention(0)),)),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=1, lease=137700)),
    Work(
        op=Op(actor="w0.0", n=2),
        outcomes=(
            Outcome(id="a", token="w0.0:1", kind=Kind.COMPLETED),
            Outcome(id="a", token="w0.0:1", kind=Kind.FAILED),
        ),
    ),
]

# MongoDB: a repeated exchange let due jobs wait, and so answered another `next_at` than the first time.
repeated_when_something_is_due = [
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=1, lease=137700)),
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b"", delay=1700),)),
    Pass(units=2),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=1, lease=137700)),
    Work(op=Op(actor="w0.0", n=2), ask=Ask(want=1, lease=137700)),
]

# MongoDB: places of one call followed its rounds, of which a job that is named twice needs two.
places_of_a_call = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b""), JobSpec(id="b", task="s", body=b""))),
    Alter(
        op=Op(actor="c0", n=1),
        changes=tuple(Change(id=name, verb=Verb.RESCHEDULE) for name in "aab"),
    ),
]

# MongoDB: of two claims of one job only the one named last was renewed.
two_claims_of_a_job = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b""),)),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=1, lease=8500)),
    Pass(units=3),
    Recover(every=340000850),
    Work(op=Op(actor="w0.0", n=2), ask=Ask(want=1, lease=8500)),
    Renew(holds=(Hold(id="a", token="w0.0:2"), Hold(id="a", token="w0.0:1")), lease=137700),
]

# MongoDB: a job that came in where a removed one had been kept the content that its own call replaced.
replaced_where_one_was_removed = [
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b""),)),
    Prune(state=State.WAITING),
    Put(
        op=Op(actor="p0", n=2),
        jobs=(
            JobSpec(id="a", task="s", body=b"{}", unique=UniqueKey(key="y")),
            JobSpec(id="b", task="t", body=b"new", unique=UniqueKey(key="y", on_conflict="replace")),
        ),
    ),
]

# MongoDB: jobs of a call that came in where removed ones had been stood before those that the call named earlier,
# since these were written by the repeat.
order_where_some_were_removed = [
    step
    for number, (how, nth) in enumerate(
        [(Trouble.LOSE_REPLY, nth) for nth in range(1, 6)] + [(Trouble.LOSE_REQUEST, nth) for nth in range(3, 6)]
    )
    for step in (
        Put(
            op=Op(actor="p0", n=2 * number + 1),
            jobs=tuple(JobSpec(id=f"{name}{number}", task="s", body=b"") for name in "by"),
        ),
        Prune(state=State.WAITING),
        Put(
            trouble=how,
            nth=nth,
            op=Op(actor="p0", n=2 * number + 2),
            jobs=tuple(JobSpec(id=f"{name}{number}", task="s", body=b"", lifo=name in "xy") for name in "axby"),
        ),
    )
]

# MongoDB: the same where a job of the call let the holder of its key stand at the back.
order_where_one_was_replaced = [
    step
    for nth in range(1, 6)
    for step in (
        Put(
            op=Op(actor="p0", n=2 * nth),
            jobs=(JobSpec(id=f"h{nth}", task="s", body=b"", unique=UniqueKey(key=f"{nth}")),),
        ),
        Put(
            trouble=Trouble.LOSE_REPLY,
            nth=nth,
            op=Op(actor="p0", n=2 * nth + 1),
            jobs=(
                JobSpec(id=f"a{nth}", task="s", body=b""),
                JobSpec(id=f"b{nth}", task="s", body=b"{}", unique=UniqueKey(key=f"{nth}", on_conflict="replace")),
            ),
        ),
    )
]

# MongoDB: a key that a removed job held for a time was free when the job that came in its place was written half.
key_of_a_removed_one = [
    step
    for nth in range(1, 6)
    for step in (
        Put(
            op=Op(actor="p0", n=2 * nth),
            jobs=(JobSpec(id=f"h{nth}", task="s", body=b"", unique=UniqueKey(key=f"{nth}", until="time", ttl=98600)),),
        ),
        Prune(state=State.WAITING),
        Put(
            trouble=Trouble.PARTIAL,
            nth=nth,
            op=Op(actor="p0", n=2 * nth + 1),
            jobs=(JobSpec(id=f"a{nth}", task="s", body=b""), JobSpec(id=f"h{nth}", task="s", body=b"{}")),
        ),
        Put(
            op=Op(actor="p1", n=nth), jobs=(JobSpec(id=f"z{nth}", task="s", body=b"", unique=UniqueKey(key=f"{nth}")),)
        ),
    )
]

# The model: where a queue lives was looked at before what fits no store; all stores do it the other way round.
too_large_for_every_store = [
    Move(epoch=1, home=Home.HERE, to="far"),
    Put(op=Op(actor="p0", n=1), jobs=(JobSpec(id="a", task="s", body=b"n" * 250),)),
    Put(op=Op(actor="p0", n=2), jobs=(JobSpec(id="a", task="s", body=b""),)),
    Put(op=Op(actor="p0", n=3), jobs=(JobSpec(id="a", task="s", body=b""),), asked=True),
]

# None went wrong here; the whole way of a queue, step by step, with a job that runs elsewhere meanwhile.
there_and_back = [
    Put(
        op=Op(actor="p0", n=1),
        jobs=(
            JobSpec(id="a", task="s", body=b"", unique=UniqueKey(key="x")),
            JobSpec(id="b", task="s", body=b"n" * 150, delay=22100),
            JobSpec(id="c", task="t", body=b"", priority=0, unique=UniqueKey(key="y", until="time", ttl=98600)),
            JobSpec(id="d", task="t", body=b"", keep_completed=Retention(0)),
        ),
    ),
    Work(op=Op(actor="w0.0", n=1), ask=Ask(want=2, lease=137700)),
    Move(trouble=Trouble.LOSE_REPLY, epoch=1, home=Home.MOVING, to="far"),
    Work(op=Op(actor="w0.0", n=2), outcomes=(Outcome(id="c", token="w0.0:1", kind=Kind.RETRY),), ask=Ask(want=3)),
    Out(trouble=Trouble.LOSE_REPLY, epoch=1, batch=2, history=True),
    Alter(op=Op(actor="c0", n=1), changes=(Change(id="b", verb=Verb.PROMOTE), Change(id="Z-9", verb=Verb.CANCEL))),
    Confirm(trouble=Trouble.LOSE_REPLY, epoch=1, batch=2, ids=("c", "b")),
    Restore(epoch=1, batch=2),
    Out(epoch=1, batch=4, limit=1),
    Move(epoch=2, home=Home.HERE),
    Restore(epoch=1, batch=4),
    Confirm(epoch=1, batch=4, ids=("d",)),
    Move(epoch=2, home=Home.ARRIVING, to="far", room=9),
    In(epoch=2, batch=1, cargo=(Cargo("c", 1, Shape.RUNS), Cargo("b", 2), Cargo("d", 3, Shape.BACK)), at=23000),
    In(trouble=Trouble.TWICE, epoch=2, batch=3, cargo=(Cargo("c", 1), Cargo("b", 0)), at=23000),
    Unhold(epoch=2, ids=("a", "b")),
    Move(epoch=3, home=Home.HERE, to="far", add=Totals(enqueued=3)),
    Recover(every=340000850),
    Work(op=Op(actor="w0.1", n=1), ask=Ask(want=9, lease=137700)),
]

# No store: the machine gave a job a place of no room, which lay before all on MongoDB and in the middle elsewhere.
without_room_at_the_back = [
    Put(
        op=Op(actor="p0", n=1),
        jobs=(JobSpec(id="a", task="t", body=b"", priority=1000), JobSpec(id="b", task="t", body=b"", priority=0)),
    ),
    Move(epoch=1, home=Home.MOVING, to="far"),
    Out(epoch=1, batch=1, limit=2),
    Confirm(epoch=1, batch=1, ids=("b",)),
    Move(epoch=2, home=Home.ARRIVING, to="far"),
    In(epoch=2, batch=1, cargo=(Cargo("b", 1, Shape.RUNS),), at=23000),
]

# No store: the machine took it for a change that a mover brings an older version where the queue had left with a later.
older_where_none_stands = [
    Schedule(id="s", age=-1, next=-1700),
    Schedule(id="s", age=1, definition=b"d1"),
    Move(epoch=2, home=Home.GONE, to="far"),
    Move(epoch=6, home=Home.ARRIVING, to="far", room=20),
    TakeSchedules(epoch=6, those=(("s", 2), ("a", 1)), later=1),
]

KEPT: Final[dict[str, Sequence[Step]]] = {name: steps for name, steps in globals().items() if isinstance(steps, list)}
