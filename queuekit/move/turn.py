"""The ways out of a move: back to the source before the commit point, or on without a source that is gone for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from queuekit import ids
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.errors import Conflict, InvalidOption
from queuekit.move.checks import Pair, elsewhere
from queuekit.move.crossing import ROOM, Crossing
from queuekit.move.end import End, Epochs, Fenced
from queuekit.move.note import Note
from queuekit.move.rollback import reclaim
from queuekit.move.values import Options, Phase, QueueReport, Report, Side, Standing
from queuekit.store.retry import Waiter

TURNS: Final = (Standing.ARRIVING, Standing.BACK, Standing.LOST)


async def may_turn(pair: Pair, name: str, where: Standing, *, named: bool, others: Sequence[str] = ()) -> bool:
    """Whether there is something to bring back. Raises where it is too late, with what to do instead; `others` can be
    brought back still."""
    if where is Standing.OPEN:
        rest = f". Only {', '.join(others)} can be brought back still: name them with -Q" if others else ""
        raise InvalidOption(
            f"queue {name}: {pair.target.name} works on it already, so it cannot be aborted: --resume ends the move;"
            f" then migrate --from {pair.target.name} --to {pair.source.name} moves it back{rest}"
        )
    if named and where in (Standing.MOVED, Standing.BEHIND):
        raise InvalidOption(moved(pair, [name]))
    if named and where is Standing.ELSEWHERE:
        raise await elsewhere(pair, name)
    return where in TURNS


def moved(pair: Pair, names: Sequence[str]) -> str:
    """Said where the move is over, and nothing can be aborted."""
    said, what = (f"queue {names[0]} has", "it") if len(names) == 1 else (f"queues {', '.join(names)} have", "them")
    return f"{said} moved: migrate --from {pair.target.name} --to {pair.source.name} moves {what} back"


def lost(pair: Pair, name: str, where: Standing) -> str:
    """Said of a queue of which one side knows nothing."""
    if where is Standing.BEHIND:
        return (
            f"queue {name} has moved to {pair.target.name}, and {pair.source.name} lost its last writes after that:"
            " --resume tells it once more that the queue is gone"
        )
    return (
        f"queue {name}: {pair.target.name} knows nothing of the move that {pair.source.name} is in. If this is another"
        f" {pair.target.name} than the one that move goes to, name that one: nothing is wrong. If it was replaced,"
        " or lost its last writes: --abort gives the queue back to the source with what is still there; what had been"
        f" confirmed is only where {pair.target.name} was, or in its backups"
    )


async def turn(forward: Crossing) -> None:
    """Make of a move that has not opened one the other way. Repeatable; what has turned stays turned."""
    while True:
        try:
            await _turn(forward)
            return
        except Fenced as fenced:
            await forward.fenced(fenced)


async def once(step: Callable[[Crossing], Awaitable[None]], forward: Crossing) -> None:
    """A way out that is not begun anew. Raises Conflict where another mover is at work."""
    try:
        await step(forward)
    except Fenced as fenced:
        raise Conflict(f"queue {forward.queue}: another mover is at work on it: let it end, then try again") from fenced


async def _turn(forward: Crossing) -> None:
    source, target = forward.source, forward.target
    mine, theirs = await source.conf(), await target.conf()
    if mine.home in (Home.ARRIVING, Home.HERE) and mine.to == target.name:
        return
    if theirs.home is Home.ARRIVING:
        await target.become(Home.ARRIVING, source.name)
        await source.become(Home.MOVING, target.name)
        await _gather(forward, mine.epoch)
    counts = await target.ask(target.store.count, target.queue)
    await target.become(Home.MOVING, source.name)
    await source.become(Home.ARRIVING, target.name, room=2 * sum(counts.states.values()) + ROOM)
    for number in (await source.journal()).out:  # a late twin of a checkout
        await source.restore(number)


async def _gather(forward: Crossing, epoch: int) -> None:
    """Every job on one side only: what the target has is removed at the source, the rest is back on its line."""
    source, target = forward.source, forward.target
    own, theirs = await target.journal(), await source.journal()
    forward.go_on(own, theirs, epoch)
    await target.unhold()
    if forward.rolled:
        await source.settled()
        for number in own.taken:
            if number % 2 == 0:
                await reclaim(forward.flow, number, await target.taken(number))
        forward.rolled = False
    while theirs.out:
        for number in theirs.out:
            if number in own.taken:
                await forward.finish_taken(number)
            else:
                await source.restore(number)
        theirs = await source.journal()


async def take_back(forward: Crossing) -> None:
    """The target knows nothing: what is still at the source is all there is."""
    source = forward.source
    await source.conf()
    await forward.target.conf()
    await source.become(Home.MOVING, forward.target.name)
    for number in (await source.journal()).out:
        await source.restore(number)
    await source.become(Home.HERE, None)
    forward.telling.enter(Phase.BACK)
    forward.telling.leave()  # never done: what had been confirmed is missing
    forward.report.notes.append(
        f"{forward.target.name} knew nothing of this move: the queue is at {source.name} again, without what had been"
        " confirmed before"
    )


async def give_away_again(forward: Crossing) -> None:
    """The source rolled back behind the end of the move: it learns once more that the queue is gone.

    What it has again moved before, and may have run and been removed there: a person decides what is done with it.
    """
    source, report = forward.source, forward.report
    await source.conf()
    await forward.target.conf()
    await source.become(Home.MOVING, forward.target.name)
    for number in (await source.journal()).out:
        await source.restore(number)
    await source.become(Home.GONE, forward.target.name)
    left = sum((await source.ask(source.store.count, source.queue)).states.values())
    report.phase = Phase.DONE if not left else Phase.SWEEP
    report.notes.append(
        f"{source.name} was given up, or lost its last writes when the move was over, and has {left} jobs: they never"
        f" moved, or did and may have run at {forward.target.name} and been removed there. Nobody runs them here:"
        " compare with --verify, then delete them; or --resume to move those that are not there"
    )


async def abandon(source: str, target: Side, queues: Sequence[str], options: Options, waiter: Waiter) -> Report:
    """Let the target work without the source called `source`, for every queue (of these) that comes from there."""
    report = Report(source=source, target=target.name)
    began = waiter.monotonic()
    for queue in queues or await target.store.queues():
        end = End(target, queue, by=ids.nonce(), epochs=Epochs(), waiter=waiter, patience=options.patience)
        conf = await end.conf()
        if conf.to != source or conf.home not in (Home.ARRIVING, Home.HERE):
            if queues:
                raise InvalidOption(f"queue {queue}: at {target.name} it is not on its way from {source}: {conf.home}")
            continue
        try:
            report.queues.append(await _give_up(end, source, arriving=conf.home is Home.ARRIVING))
        except Fenced as fenced:
            raise Conflict(f"queue {queue}: a mover is at work on it: stop it first") from fenced.__cause__
    report.seconds = waiter.monotonic() - began
    return report


async def _give_up(end: End, source: str, *, arriving: bool) -> QueueReport:
    report = QueueReport(queue=end.queue)
    note = Note.load((await end.journal()).note)
    carried = Totals(**note.carried) if arriving and note.carried is not None else None
    await end.become(Home.HERE, source, add=carried)
    report.suspects = await end.unhold(lose=True)
    await end.become(Home.HERE, None)
    report.moved, report.schedules = note.by_state(), note.schedules
    report.phase = Phase.OPEN
    unknown = max(0, note.total - report.jobs - len(report.suspects))
    report.notes.append(
        f"{source} was given up: {report.jobs} jobs had come, {len(report.suspects)} that ran there are on the suspect"
        f" line and may run a second time; about {unknown} more, as counted when the move began, were never seen here"
    )
    return report
