"""The calls that `queuekit migrate` is made of. Queue by queue; the tails, where jobs still run, together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.errors import Conflict, InvalidOption, MoveStopped
from queuekit.move import checks, turn
from queuekit.move.checks import Pair
from queuekit.move.crossing import Crossing
from queuekit.move.end import Real
from queuekit.move.telling import Telling
from queuekit.move.values import OnProgress, Options, Phase, QueueReport, Report, Side, Standing
from queuekit.store.retry import Waiter

FIRST_LOOK: Final = 0.05  # seconds between two looks at jobs that still run; doubles up to
LAST_LOOK: Final = 2.0
UNDER_WAY: Final = "queue {}: its move to {} is under way: --resume goes on with it, and takes over from who began it"


async def move(
    source: Side, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    on_progress: OnProgress | None = None, waiter: Waiter | None = None,
) -> Report:  # fmt: skip
    """Move queues (all, where none is named), live. Refuses before anything is written where one is under way."""
    run = Run(Pair(source, target, options or Options(), waiter or Real()), on_progress)
    return await run.all(queues, resumed=False)


async def resume(
    source: Side, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    on_progress: OnProgress | None = None, waiter: Waiter | None = None,
) -> Report:  # fmt: skip
    """As `move`, and go on with what is under way. Another mover that still runs finds out and stops."""
    run = Run(Pair(source, target, options or Options(), waiter or Real()), on_progress)
    return await run.all(queues, resumed=True)


async def abort(
    source: Side, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    on_progress: OnProgress | None = None, waiter: Waiter | None = None,
) -> Report:  # fmt: skip
    """Bring back what is under way; what was enqueued at the target meanwhile comes along.

    Raises InvalidOption where the target works already: from there the way back is a move of its own.
    """
    run = Run(Pair(source, target, options or Options(), waiter or Real()), on_progress)
    return await run.back(queues)


async def abandon(
    source: str, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    waiter: Waiter | None = None,
) -> Report:  # fmt: skip
    """The source is gone for good: the target works with what it has. What ran at the source becomes suspect."""
    return await turn.abandon(source, target, queues, options or Options(), waiter or Real())


class Run:
    """One start of the mover, over all its queues."""

    def __init__(self, pair: Pair, on_progress: OnProgress | None) -> None:
        self.pair, self.on_progress = pair, on_progress
        self.report = Report(source=pair.source.name, target=pair.target.name)
        self._seen = set[str]()
        self._tails: list[Crossing] = []

    async def all(self, queues: Sequence[str], *, resumed: bool) -> Report:
        began = self.pair.waiter.monotonic()
        await checks.two_stores(self.pair)
        names = await self._admitted(await checks.chosen(self.pair, queues), resumed=resumed, named=bool(queues))
        while names:
            for name in names:
                self._seen.add(name)
                await self._cross(name)
            await self._wait_for_tails()
            found = [] if queues else await checks.chosen(self.pair, ())
            names = await self._admitted([n for n in found if n not in self._seen], resumed=resumed, named=False)
        self.report.seconds = self.pair.waiter.monotonic() - began
        return self.report

    async def _admitted(self, names: Sequence[str], *, resumed: bool, named: bool) -> list[str]:
        """Those that have something to move. Raises before anything is written where one of them is refused."""
        admitted: list[str] = []
        for name in names:
            where = await self.pair.standing(name)
            if where in (Standing.ARRIVING, Standing.OPEN):
                if not resumed:
                    raise Conflict(UNDER_WAY.format(name, self.pair.target.name))
                await self._may_go_on(name, where)
                admitted.append(name)
            elif where is Standing.HERE:
                refused = await checks.refusals(self.pair, name)
                if refused:
                    raise InvalidOption("; ".join(refused))
                admitted.append(name)
            elif where is Standing.BEHIND and resumed:
                self._seen.add(name)
                await turn.once(turn.give_away_again, self._crossing(self.pair, name))
            elif where is Standing.MOVED:
                if await self._left(name, resumed=resumed):
                    admitted.append(name)
            else:
                await self._refuse(name, where, named=named)
        return admitted

    async def _may_go_on(self, name: str, where: Standing) -> None:
        why = checks.must_be_offline(self.pair)
        if why is None and self.pair.options.offline and where is Standing.ARRIVING:
            why = await checks.at_rest(self.pair, name)
        if why is not None:
            raise InvalidOption(why)

    async def _left(self, name: str, *, resumed: bool) -> bool:
        """Whether a queue that has moved is to be looked at again: something of it could not be taken in."""
        self._seen.add(name)
        left = sum((await self.pair.jobs(self.pair.source, name)).values())
        if left and resumed:
            return True
        report = QueueReport(queue=name, phase=Phase.DONE, notes=[f"had moved to {self.pair.target.name} already"])
        if left:
            report.phase = Phase.SWEEP
            report.notes.append(f"{left} jobs of it stayed at {self.pair.source.name}: --resume tries them again")
        self.report.queues.append(report)
        return False

    async def _refuse(self, name: str, where: Standing, *, named: bool) -> None:
        pair = self.pair
        if where is Standing.ELSEWHERE:
            error = await checks.elsewhere(pair, name)
            mine, _ = await pair.confs(name)
            if named or mine.home.value != "gone":
                raise error
            self._seen.add(name)
            self.report.notes.append(str(error))
            return
        if where is Standing.BACK:
            raise Conflict(
                f"queue {name}: it is on its way from {pair.target.name} to {pair.source.name}: --abort (or --resume of"
                " that move) ends it first"
            )
        raise MoveStopped(turn.lost(pair, name, where), queue=name)

    async def _cross(self, name: str) -> None:
        """One queue up to where only running jobs are left at the source."""
        crossing = self._crossing(self.pair, name)
        crossing.telling.enter(Phase.BEGIN)
        await crossing.steadily(crossing.jobs, first=True)
        await crossing.steadily(crossing.history)
        if not await crossing.steadily(crossing.look):
            crossing.telling.leave()
            self._tails.append(crossing)

    def _crossing(self, pair: Pair, name: str) -> Crossing:
        telling = Telling(name, pair.waiter, self.on_progress)
        self.report.queues.append(telling.report)
        return Crossing(pair.source, pair.target, name, options=pair.options, waiter=pair.waiter, telling=telling)

    async def _wait_for_tails(self) -> None:
        pause = FIRST_LOOK
        while self._tails:
            await self.pair.waiter.sleep(pause)
            before = len(self._tails)
            for crossing in list(self._tails):
                if await crossing.steadily(crossing.look):
                    self._tails.remove(crossing)
                else:
                    crossing.telling.leave()
            pause = FIRST_LOOK if len(self._tails) < before else min(2 * pause, LAST_LOOK)

    async def back(self, queues: Sequence[str]) -> Report:
        began = self.pair.waiter.monotonic()
        await checks.two_stores(self.pair)
        names = await checks.chosen(self.pair, queues)
        found = {name: await self.pair.standing(name) for name in names}
        others = [name for name in names if found[name] in turn.TURNS]
        turning = [
            name for name in names
            if await turn.may_turn(self.pair, name, found[name], named=bool(queues), others=others)
        ]  # fmt: skip
        over = [name for name in names if found[name] in (Standing.MOVED, Standing.BEHIND)]
        if over and not turning:
            self.report.notes.append(turn.moved(self.pair, over))
        there = Pair(self.pair.target, self.pair.source, self.pair.options, self.pair.waiter)
        for name in turning:
            if found[name] is Standing.LOST:
                await turn.once(turn.take_back, self._crossing(self.pair, name))
                continue
            crossing = self._crossing(there, name)
            crossing.returns = True
            crossing.telling.enter(Phase.BACK)
            await turn.turn(self._unheard(name))
            await crossing.steadily(crossing.jobs, first=True)
            self._tails.append(crossing)
        await self._wait_for_tails()
        self.report.seconds = self.pair.waiter.monotonic() - began
        return self.report

    def _unheard(self, name: str) -> Crossing:
        """The move that is turned back: it tells nobody."""
        pair = self.pair
        telling = Telling(name, pair.waiter, None)
        return Crossing(pair.source, pair.target, name, options=pair.options, waiter=pair.waiter, telling=telling)
