"""The state machine of a queue that moves, amid all other steps: away, and in again, whole or in part.

As in rules.py, what comes next follows from the answers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from queuekit.domain.job import JobSpec
from queuekit.domain.moving import Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.testing.machine import draws
from queuekit.testing.machine.alike import HALF, UNIT
from queuekit.testing.machine.draws import Luck
from queuekit.testing.machine.duel import KEYS, Duel
from queuekit.testing.machine.moves import Cargo, Confirm, In, Move, Out, Restore, Shape, Unhold
from queuekit.testing.machine.plans import Fire, Schedule, Shot, TakeSchedules
from queuekit.testing.machine.steps import Recover, Trouble
from queuekit.testing.machine.timed import TimedMachine

FAR = "far"
ROOM = 20
shapes = st.sampled_from([*[Shape.SAME] * 4, Shape.BACK, *[Shape.RUNS] * 2, Shape.ENDED])
some = st.lists(draws.picks, max_size=6)
wrongs = st.sampled_from([0] * 9 + [-1, 1])  # what an epoch is wrong by


class MovingMachine(TimedMachine):
    """A machine whose queue leaves and arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = 0  # of what left
        self.intake = 0  # of what came
        self.ran: set[str] = set()  # ids that came as if they ran elsewhere

    @property
    def standing(self) -> Standing | None:
        return None if self.duel is None else self.duel.standing

    @property
    def epoch(self) -> int:
        return 0 if self.standing is None else self.standing.conf.epoch

    def home(self) -> tuple[Home, str | None]:
        """Where the queue lives, as was last heard."""
        return (Home.HERE, None) if self.standing is None else (self.standing.conf.home, self.standing.conf.to)

    def outs(self) -> list[int]:
        """The batches that are out."""
        return [] if self.duel is None else list((self.duel.journal or {}).get("out", ()))

    def cargo(self) -> list[str]:
        """Whatever was checked out so far."""
        return [] if self.duel is None else sorted(self.duel.sides[0].cargo)

    def leaves(self) -> bool:
        return self.home()[0] in (Home.MOVING, Home.GONE)

    def comes(self) -> bool:
        home, to = self.home()
        return bool(self.cargo()) and (home is Home.ARRIVING or (home is Home.HERE and to is not None))

    def moves(self) -> bool:
        return self.standing is not None

    def asks(self, who: int) -> bool:
        return self.home()[1] is not None and who != 3

    # ------------------------------------------------------------------ single steps

    def go(self, home: Home, to: str | None = FAR, luck: Luck | None = None, **said: Any) -> None:
        self.do(Move(epoch=self.epoch + 1, home=home, to=to, **said, **(luck or Luck()).said()))

    @rule(
        choice=st.integers(0, 7), wrong=wrongs, room=st.sampled_from([0, ROOM]), add=st.booleans(), luck=draws.lucks()
    )
    def decide(self, choice: int, wrong: int, room: int, add: bool, luck: Luck) -> None:
        """Somebody takes the authority, or tries to."""
        home, to = self.home()
        if wrong:  # an older epoch, or this one of another mover
            self.do(Move(epoch=max(0, self.epoch + min(wrong, 0)), by="other", home=Home.GONE, to=FAR, room=5))
            return
        if self.outs():
            ways = [(Home.MOVING, FAR), (Home.HERE, None)]
        elif home is Home.MOVING:
            ways = [(Home.HERE, None), (Home.ARRIVING, FAR), (Home.MOVING, FAR), (Home.HERE, FAR)]
        elif home is Home.ARRIVING or to is not None:
            ways = [(Home.HERE, FAR), (Home.HERE, None), (Home.MOVING, FAR), (Home.ARRIVING, FAR)]
        else:
            ways = [(Home.MOVING, FAR), (Home.ARRIVING, FAR)]
        where, whither = ways[choice % len(ways)]
        totals = Totals(enqueued=2, failed=1) if add else None
        made = room if where is Home.ARRIVING else 0
        step = Move(epoch=self.epoch + 1, home=where, to=whither, room=made, add=totals, **luck.said())
        self.do(step)
        if choice == 7:
            self.do(step)  # the same again changes nothing

    @precondition(leaves)
    @rule(limit=st.sampled_from([1, 2, 1000]), history=st.booleans(), old=st.integers(0, 3), wrong=wrongs,
          luck=draws.lucks())  # fmt: skip
    def check_out(self, limit: int, history: bool, old: int, wrong: int, luck: Luck) -> None:
        outs = self.outs()
        if old == 3 and outs:
            batch = outs[limit % len(outs)]
        else:
            self.batch += 1
            batch = self.batch
        self.do(Out(epoch=self.epoch + wrong, batch=batch, limit=limit, history=history, **luck.said()))

    @precondition(leaves)
    @rule(pick=draws.picks, those=some, wrong=wrongs, luck=draws.lucks())
    def confirm(self, pick: int, those: list[int], wrong: int, luck: Luck) -> None:
        """Of a batch that is out, or of jobs that came back to a line: the store forgot that they left."""
        known = [*self.cargo(), "a", "nobody"]
        ids = tuple(dict.fromkeys(known[one % len(known)] for one in those))
        batch = [*self.outs(), 99][pick % (len(self.outs()) + 1)]
        self.do(Confirm(epoch=self.epoch + wrong, batch=batch, ids=ids, **luck.said()))

    @precondition(leaves)
    @rule(pick=draws.picks, those=st.one_of(st.none(), some), wrong=wrongs, luck=draws.lucks())
    def give_back(self, pick: int, those: list[int] | None, wrong: int, luck: Luck) -> None:
        known = [*self.cargo(), "a"]
        ids = None if those is None else tuple(dict.fromkeys(known[one % len(known)] for one in those))
        batch = [*self.outs(), 99][pick % (len(self.outs()) + 1)]
        self.do(Restore(epoch=self.epoch + wrong, batch=batch, ids=ids, **luck.said()))

    def load(self, those: list[tuple[int, Shape]]) -> tuple[Cargo, ...]:
        """Parcels by number; the outcome of one that came running comes at the place it had."""
        known = self.cargo()
        named = {known[pick % len(known)]: shape for pick, shape in those}
        self.ran |= {name for name, shape in named.items() if shape is Shape.RUNS}
        return tuple(Cargo(name, known.index(name) % ROOM, shape) for name, shape in named.items())

    @precondition(comes)
    @rule(
        those=st.lists(st.tuples(draws.picks, shapes), max_size=6), old=st.integers(0, 5), wrong=wrongs,
        keys=st.lists(st.tuples(st.sampled_from(KEYS), draws.ids, st.sampled_from([-1, 2, 9])), max_size=1),
        luck=draws.lucks(),
    )  # fmt: skip
    def take_in(
        self, those: list[tuple[int, Shape]], old: int, wrong: int, keys: list[tuple[str, str, int]], luck: Luck
    ) -> None:
        assert self.duel is not None
        self.intake += old != 5
        now = self.duel.now
        moments = tuple((key, name, now + units * UNIT + HALF) for key, name, units in keys)
        step = In(epoch=self.epoch + wrong, batch=self.intake, cargo=self.load(those), keys=moments, at=now - HALF,
                  **luck.said())  # fmt: skip
        self.do(step)

    @precondition(moves)
    @rule(lose=st.integers(0, 2), those=st.one_of(st.none(), st.none(), some), wrong=wrongs, luck=draws.lucks())
    def let_go(self, lose: int, those: list[int] | None, wrong: int, luck: Luck) -> None:
        known = sorted(self.ran) or ["a"]
        ids = None if those is None else tuple(dict.fromkeys(known[one % len(known)] for one in those))
        self.do(Unhold(epoch=self.epoch + wrong, lose=lose == 2, ids=ids, **luck.said()))

    def brings(self) -> bool:
        return self.moves() and self.plans()

    @precondition(brings)
    @rule(those=st.lists(st.tuples(draws.plans, st.integers(0, 2)), max_size=3, unique_by=lambda one: one[0]),
          later=st.sampled_from([0, 0, 1, 10 * UNIT]), wrong=wrongs, luck=draws.lucks())  # fmt: skip
    def bring_plans(self, those: list[tuple[str, int]], later: int, wrong: int, luck: Luck) -> None:
        """Schedules of another store: as this one had them, or as they went on there."""
        self.do(TakeSchedules(epoch=self.epoch + wrong, those=tuple(those), later=later, **luck.said()))

    # ------------------------------------------------------------------ whole ways

    def leave(self, luck: Luck) -> None:
        """Let the queue leave, with nothing out."""
        for batch in self.outs():
            self.do(Restore(epoch=self.epoch, batch=batch))
        self.go(Home.MOVING, luck=luck)

    @rule(
        jobs=st.lists(draws.specs(unique=False), max_size=2), limit=st.sampled_from([2, 1000]), history=st.booleans(),
        turn=st.integers(0, 3), those=some, wrong=wrongs, luck=draws.lucks(),
    )  # fmt: skip
    def part_of_the_way(
        self, jobs: list[JobSpec], limit: int, history: bool, turn: int, those: list[int], wrong: int, luck: Luck
    ) -> None:
        """Jobs are out, and the mover turns back, goes on with some of them, or forgets them."""
        assert self.duel is not None
        if jobs:
            self.put(0, jobs, Luck())
        self.leave(luck)
        self.batch += 1
        told = self.do(Out(epoch=self.epoch, batch=self.batch, limit=limit, history=history, **luck.said()))
        out = [one.record.id for one in told if isinstance(one, Parcel)] if isinstance(told, list) else []
        some_of = tuple(dict.fromkeys(out[one % len(out)] for one in those)) if out else ()
        if turn == 1:
            self.do(Restore(epoch=self.epoch, batch=self.batch, ids=some_of, **luck.said()))
        elif turn == 2:
            self.do(Confirm(epoch=self.epoch + wrong, batch=self.batch, ids=some_of or tuple(out[:1]), **luck.said()))
        elif turn == 3:
            self.do(Restore(epoch=self.epoch, batch=self.batch, **luck.said()))
        self.do(Move(epoch=self.epoch + 1, home=Home.HERE))

    @rule(
        jobs=st.lists(draws.specs(unique=True), max_size=2), limit=st.sampled_from([2, 1000]), history=st.booleans(),
        shape=shapes, gone=st.booleans(), late=st.lists(draws.picks, max_size=3), luck=draws.lucks(),
    )  # fmt: skip
    def tour(
        self, jobs: list[JobSpec], limit: int, history: bool, shape: Shape, gone: bool, late: list[int], luck: Luck
    ) -> None:
        """The queue leaves with what it has, and comes back with all of it: some as if it had run meanwhile."""
        assert self.duel is not None
        if jobs:
            self.put(1, jobs, Luck())
        if self.plans():
            age = 0 if "s" in self.duel.plans else -1
            self.do(Schedule(id="s", age=age, definition=b"%d" % limit, next=self.duel.now - HALF))
            self.do(Fire(shots=(Shot(id="s", next=self.duel.now + HALF, skipped=1),), **luck.said()))
        self.leave(luck)
        left: list[str] = []
        for _ in range(6):
            self.batch += 1
            told = self.do(Out(epoch=self.epoch, batch=self.batch, limit=limit, history=history, **luck.said()))
            parcels = [one for one in told if isinstance(one, Parcel)] if isinstance(told, list) else []
            if not parcels:
                break
            ids = tuple(parcel.record.id for parcel in parcels)
            left += ids
            self.do(Confirm(epoch=self.epoch, batch=self.batch, ids=ids, **luck.said()))
        if gone and history and not self.duel.jobs:
            self.go(Home.GONE)
        self.go(Home.ARRIVING, room=ROOM, luck=luck)
        if self.plans():  # a version of before too: of two the later stays
            brought = (("s", limit % 2), ("a", 0))
            self.do(TakeSchedules(epoch=self.epoch, those=brought, later=len(late) % 2, **luck.said()))
            self.do(TakeSchedules(epoch=self.epoch, those=(("s", 1),)))
        self.intake += 1
        cargo = tuple(Cargo(name, rank % ROOM, shape) for rank, name in enumerate(left))
        self.ran |= set(left) if shape is Shape.RUNS else set()
        step = In(epoch=self.epoch, batch=self.intake, cargo=cargo, at=self.duel.now - HALF, **luck.said())
        self.do(step)
        if len(late) != 1:  # the same again has the effect of one
            self.do(replace(step, trouble=Trouble.NONE))
        self.go(Home.HERE)
        if shape is Shape.RUNS:
            self.do(Recover(every=draws.NEVER_AWAY))
        if late and left:
            self.intake += 1
            names = dict.fromkeys(left[one % len(left)] for one in late)
            again = tuple(Cargo(name, left.index(name) % ROOM, Shape.SAME) for name in names)
            self.do(In(epoch=self.epoch, batch=self.intake, cargo=again, at=self.duel.now - HALF))
        if shape is not Shape.RUNS:
            self.go(Home.HERE, None)


def moving_machine_of(begin: Callable[[bool], Duel]) -> type[MovingMachine]:
    """As `machine_of`, for stores with the part `mover`."""
    return type("MovingMachine", (MovingMachine,), {"begin": staticmethod(begin)})
