"""The state machine with schedules amid all other steps, where both stores have the part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from queuekit.testing.machine import draws
from queuekit.testing.machine.draws import Luck
from queuekit.testing.machine.duel import Duel
from queuekit.testing.machine.plans import Fire, Schedule, Shot, Unschedule
from queuekit.testing.machine.rules import Machine


class TimedMachine(Machine):
    """A machine whose queue has schedules."""

    def plans(self) -> bool:
        return self.duel is not None and self.duel.scheduling

    @precondition(plans)
    @rule(id=draws.plans, age=draws.ages, next=draws.slots, kind=st.integers(0, 11), luck=draws.lucks())
    def plan(self, id: str, age: int, next: int | None, kind: int, luck: Luck) -> None:
        assert self.duel is not None
        if kind > 8:
            self.do(Unschedule(id=id, age=None if kind == 9 else age, **luck.said()))
        else:
            age = -1 if id not in self.duel.plans else age  # nobody has put it, or it was deleted
            body = b"n" * (2 * draws.LIMIT_AND_MORE) if kind == 8 else b"d%d" % (kind % 3)
            moment = None if next is None else self.duel.now + next
            self.do(Schedule(id=id, age=age, definition=body, next=moment, **luck.said()))

    @precondition(plans)
    @rule(shots=st.lists(draws.shots(), min_size=1, max_size=3, unique_by=lambda shot: shot.id), luck=draws.lucks())
    def fire(self, shots: list[Shot], luck: Luck) -> None:
        assert self.duel is not None
        self.troubled = luck.trouble
        if (
            luck.trouble
        ):  # else a shot that was full may go at the repeat: another made the jobs that it lacked room for
            shots = shots[:1]
        now = self.duel.now
        made = [
            replace(shot, jobs=self.moved(shot.jobs), next=None if shot.next is None else now + shot.next)
            for shot in shots
        ]
        if made[0].id not in self.duel.plans:
            self.do(Schedule(id=made[0].id, age=-1, next=made[0].next))
        self.do(Fire(shots=tuple(made), **luck.said()))


def machine_of(begin: Callable[[bool], Duel]) -> type[TimedMachine]:
    """A machine for pytest: `TestThis = machine_of(begin).TestCase`. `begin(tidy)` makes the two sides of a run."""
    return type("TimedMachine", (TimedMachine,), {"begin": staticmethod(begin)})
