"""Plays a scene once without faults, then again with each fault at each of its calls, and compares.

The caller repeats what is unavailable, as a producer, a worker or a person does; nothing here knows a store.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from queuekit.domain.outcome import Exchange, Hold, Kind, Outcome
from queuekit.domain.state import State
from queuekit.errors import QueueKitError, StoreUnavailable
from queuekit.store.protocol import JobStore
from queuekit.testing import Faults, faulty_store
from queuekit.testing.conformance.harness import Blocking, Harness
from queuekit.testing.faults import Call as Met
from tests.faults.ground import LEASE, NAMES, Ground
from tests.faults.scenes import SCENES, Next, Scene, nothing

READS: Final = frozenset({"find", "aggregate", "count", "read"})
STATISTICS: Final = "tally"  # rides when it is due, so not in every run; a driver never sends it twice
FAULTS: Final = (
    "lost request", "refused", "lost reply", "lost reply twice", "duplicate", "partial", "late", "late in the repeat",
)  # fmt: skip
TRIES: Final = 6
FULL: Final = os.environ.get("QUEUEKIT_FAULTS") == "full"  # late ones at every moment, not at one in turn; reads too
# Cells of a scene, and of one that needs a part, unless FULL: of more they are taken evenly, of each scene other ones.
MOST, FEW = 12, 6


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one call of a scene."""

    scene: Scene
    point: int  # the call, from 1
    call: Met
    fault: str
    behind: Next = nothing
    after: int = 0  # late ones: how many further calls

    def __str__(self) -> str:
        told = f"{self.scene.name} / {self.fault} at call {self.point} {self.call.label}"
        if self.fault == "late":
            told += f", behind {self.behind.__name__}"
        return told + (f", {self.after} calls later" if self.after else "")


@dataclass(slots=True)
class Played:
    """What a run came to."""

    ground: Ground
    given: Any = None  # the answer as it came
    answer: Any = None  # and without what differs from run to run
    state: dict[str, Any] = field(default_factory=dict)
    told: Any = None  # of what came next
    trace: list[Met] = field(default_factory=list)  # calls of the first try


class Theatre:
    """A store with a plan below it, and a queue for each run."""

    def __init__(self, harness: Harness, plain: JobStore, port: str) -> None:
        self.harness, self.faults, self.port = harness, Faults(), port
        inner = plain.plain if isinstance(plain, Blocking) else plain
        faulty = faulty_store(inner, self.faults)
        self.store: JobStore = Blocking(faulty) if port == "blocking" else faulty
        self._ahead = 0
        self._runs = 0

    async def advance(self, ms: int) -> None:
        self._ahead += ms
        await self.harness.advance(ms)

    async def run(self, scene: Scene, behind: Next = nothing, plan: Callable[[int], None] | None = None) -> Played:
        """Play it; `plan` is told the number of each try, and says what goes wrong in it."""
        self._runs += 1
        faults = self.faults
        faults.clear()
        with faults.suspended():
            played = Played(Ground(self.store, f"q{self._runs}", self.advance, self._ahead))
            call = await scene.play(played.ground)
        played.given = await _repeated(call, faults, plan, played.trace)
        played.answer = played.ground.answer(played.given)
        with faults.suspended():
            played.told = played.ground.answer(await behind(played.ground))
            faults.release()  # what was held back arrives before the next call
            played.state = await played.ground.look(scene.verb, schedules="schedules" in scene.needs)
        return played


async def _repeated(
    call: Callable[[], Awaitable[Any]], faults: Faults, plan: Callable[[int], None] | None, trace: list[Met]
) -> Any:
    for number in range(1, TRIES + 1):
        if plan is not None:
            plan(number)
        try:
            return await call()
        except StoreUnavailable:
            continue
        except QueueKitError as error:
            return type(error).__name__
        finally:
            if number == 1:
                trace[:] = faults.trace
    raise AssertionError(f"still unavailable after {TRIES} tries")


def cells(scene: Scene, trace: list[Met], *, whole: bool) -> Iterator[Cell]:
    """Every fault that means something at each call of the first try.

    A read that fails before the first write is a call that never came; one that fails behind a write is much like the
    write's lost reply. A refusal differs from a lost request only where the store itself decides by it. A store's code
    is one for both ports: over the blocking one (not `whole`) only replies are lost.
    """
    written = False
    for point, call in enumerate(trace, 1):
        if call.kind in READS:
            if written and FULL:
                yield Cell(scene, point, call, "lost reply")
            continue
        written = True
        yield Cell(scene, point, call, "lost reply")
        if not whole:
            continue
        yield Cell(scene, point, call, "lost request")
        if call.kind == STATISTICS:
            yield Cell(scene, point, call, "refused")
            continue
        yield Cell(scene, point, call, "lost reply twice")
        yield Cell(scene, point, call, "duplicate")
        if call.statements > 1:
            yield Cell(scene, point, call, "partial")
        turn = point + len(scene.name)
        for behind in scene.nexts if FULL else [scene.nexts[turn % len(scene.nexts)]]:
            yield Cell(scene, point, call, "late", behind)
        if len(trace) > 1:
            for after in range(1, len(trace) + 1) if FULL else [1 + turn % len(trace)]:
                yield Cell(scene, point, call, "late in the repeat", after=after)


def chosen(scene: Scene, found: list[Cell]) -> list[Cell]:
    """The cells that are played."""
    most = FEW if scene.needs else MOST
    if FULL or len(found) <= most:
        return found
    first = len(scene.name) % (len(found) // most)
    return [found[first + k * len(found) // most] for k in range(most)]


async def play(theatre: Theatre, cell: Cell) -> Played | None:
    """One cell, again where another number of calls was made and the fault met nothing; None where it never does."""
    for _ in range(3):
        played = await theatre.run(cell.scene, cell.behind, lambda number: _plan(theatre.faults, cell, number))
        if [one.call.label for one in theatre.faults.injected][:1] == [cell.call.label]:
            return played
    if cell.call.kind == STATISTICS:
        return None
    raise AssertionError(f"never hit: {cell}; calls were {[one.label for one in theatre.faults.trace]}")


def _plan(faults: Faults, cell: Cell, number: int) -> None:
    """What goes wrong in the first try, and where it shall, in the second."""
    point = cell.point
    if number == 2 and cell.fault == "lost reply twice":
        faults.lose_reply("*", nth=1 if point == 1 else min(point, 2))
    if number != 1:
        return
    match cell.fault:
        case "lost request":
            faults.lose_request("*", nth=point)
        case "lost reply" | "lost reply twice":
            faults.lose_reply("*", nth=point)
        case "refused":
            faults.refuse("*", nth=point)
        case "duplicate":
            faults.duplicate("*", nth=point)
        case "partial":
            faults.partial("*", nth=1)
        case "late":
            faults.late("*", nth=point, after=None)
        case "late in the repeat":
            faults.late("*", nth=point, after=cell.after)


def differences(cell: Cell, plain: Played, played: Played, *, lagging: bool) -> list[str]:
    """What a fault changed that it must not."""
    was, now = dict(plain.state), dict(played.state)
    if lagging:
        totals = was.pop("totals"), now.pop("totals")
        if cell.fault != "duplicate":  # which only a driver can make, and the server knows its repeats
            was["totals"], now["totals"] = None, {key: n for key, n in totals[1].items() if n > totals[0][key]} or None
    if cell.scene.same:
        was["answer"], now["answer"] = plain.answer, played.answer
        if cell.fault == "late in the repeat" and isinstance(now["answer"], dict):  # hints, of a moment before
            was["answer"], now["answer"] = (
                {key: value for key, value in one.items() if key not in ("next_at", "more")}
                for one in (was["answer"], now["answer"])
            )
    was["then"], now["then"] = plain.told, played.told
    return list(_apart("", was, now))


async def healed(played: Played, store: JobStore) -> bool:
    """Whether the claims that the worker was not told of are known to the store as strays, and go back to their line.

    What a claim's late or half-done twin took beside the repeat's own claims is of that kind.
    """
    given, ground = played.given, played.ground
    if not isinstance(given, Exchange) or not store.capabilities.strays:
        return False
    token = f"{ground.worker.name}:{ground.worker.n}"
    told = {job.id: str(job.token) for job in given.claims}
    holds = [Hold(id=name, token=token) for name in told]
    renewal = await store.renew(ground.queue, holds, LEASE, ground.worker.name, ground.worker.n)
    strays = dict(renewal.strays)
    held = {job.id for job in await store.get(ground.queue, NAMES) if job is not None and job.token == token}
    ours = {name for name in held if played.state["jobs"][name]["state"] is State.ACTIVE}
    if renewal.lost or ours != told.keys() | strays.keys() or set(told.values()) - {token}:
        return False
    reply = await ground.exchange([Outcome(name, token, Kind.RELEASED) for name in strays])
    return not reply.refused


def _apart(path: str, was: Any, now: Any) -> Iterator[str]:
    """Where two values differ, as lines."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            yield from _apart(f"{path}.{key}", was.get(key, "nothing"), now.get(key, "nothing"))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _apart(f"{path}[{index}]", one, other)
    elif was != now:
        yield f"{path[1:]}: {now!r:.200}, without faults {was!r:.200}"


async def table(theatre: Theatre, verb: str, *, lagging: bool) -> tuple[Counter[str], list[str]]:
    """All cells of a verb: how many of each fault were played, and what went wrong."""
    played: Counter[str] = Counter()
    wrong: list[str] = []
    parts = theatre.store.capabilities.parts
    for scene in SCENES.values():
        if scene.verb != verb or not parts.issuperset(scene.needs):
            continue
        plain: dict[Next, Played] = {nothing: await theatre.run(scene)}
        for cell in chosen(scene, list(cells(scene, plain[nothing].trace, whole=theatre.port == "async"))):
            if cell.behind not in plain:
                plain[cell.behind] = await theatre.run(scene, cell.behind)
            result = await play(theatre, cell)
            if result is None:
                played["never due"] += 1
                continue
            found = differences(cell, plain[cell.behind], result, lagging=lagging)
            if found and cell.fault in ("partial", "late in the repeat"):
                with theatre.faults.suspended():
                    if await healed(result, theatre.store):
                        found = []
                        played["healed"] += 1
            played[cell.fault] += 1
            wrong += [f"{cell}: {what}" for what in found]
    return played, wrong
