"""What is looked at before a move begins: everything that would refuse it, found while nothing is written yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar, cast

from queuekit.domain import names as grammar
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home
from queuekit.domain.query import Pong, WorkerBeat
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import InvalidOption, Moved, StoreUnavailable, Unsupported
from queuekit.move.standing import standing
from queuekit.move.values import SCHEDULES, Options, Side, Standing
from queuekit.store.parts import Schedules
from queuekit.store.retry import Waiter, repeat

P = ParamSpec("P")
R = TypeVar("R")
PART: Final = "mover"
SCHEDULES_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """The two sides of a move, asked with patience."""

    source: Side
    target: Side
    options: Options
    waiter: Waiter

    async def ask(self, side: Side, verb: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer of a verb that may be repeated."""
        try:
            return await repeat(self.waiter, lambda: verb(*args, **kwargs), within=self.options.patience)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{side.name} is away: {error}", outcome=error.outcome) from error

    async def confs(self, queue: str) -> tuple[QueueConf, QueueConf]:
        """What both sides say of a queue."""
        grammar.queue_name(queue)
        mine = await self.ask(self.source, self.source.store.conf, queue)
        return mine, await self.ask(self.target, self.target.store.conf, queue)

    async def standing(self, queue: str) -> Standing:
        """Where a queue stands between the two."""
        mine, theirs = await self.confs(queue)
        return standing(mine, theirs, self.source.name, self.target.name)

    async def schedules(self, side: Side, queue: str) -> AsyncIterator[list[ScheduleRecord]]:
        """Pages of a side's schedules, by id; none where it keeps none."""
        if SCHEDULES not in side.store.capabilities.parts:
            return
        store, after = cast("Schedules", side.store), ""
        while page := await self.ask(side, store.schedules, queue, after, SCHEDULES_PAGE):
            yield page
            after = page[-1].id

    async def jobs(self, side: Side, queue: str) -> dict[State, int]:
        """How many jobs of each state a side has."""
        return (await self.ask(side, side.store.count, queue)).states


async def two_stores(pair: Pair) -> tuple[Pong, Pong]:
    """Both can move queues, answer, and are not one. Raises Unsupported, InvalidOption."""
    source, target = pair.source, pair.target
    for side in (source, target):
        if PART not in side.store.capabilities.parts:
            raise Unsupported(f"{side.name}: this store cannot move queues; `queuekit export` and `import` may do")
    if source.name == target.name:
        raise InvalidOption(
            f"source and target are both called {source.name!r}: queues name the store they went to; give them two"
        )
    mine, theirs = await pair.ask(source, source.store.ping), await pair.ask(target, target.store.ping)
    if mine.store_id == theirs.store_id and source.namespace == target.namespace:
        raise InvalidOption(
            f"source and target are the same store ({mine.where or mine.server}, namespace {source.namespace}):"
            " name another one, or another namespace"
        )
    return mine, theirs


async def chosen(pair: Pair, queues: Sequence[str]) -> list[str]:
    """The queues given, or all that have something at the source or come from there."""
    if queues:
        return [grammar.queue_name(queue) for queue in dict.fromkeys(queues)]
    found = set(await pair.ask(pair.source, pair.source.store.queues))
    for queue in await pair.ask(pair.target, pair.target.store.queues):
        if queue not in found and (await pair.ask(pair.target, pair.target.store.conf, queue)).to == pair.source.name:
            found.add(queue)
    return sorted(found)


def must_be_offline(pair: Pair) -> str | None:
    """Why a live move is refused, if it is."""
    still = [side.name for side in (pair.source, pair.target) if side.store.capabilities.moves == "offline"]
    if not still or pair.options.offline:
        return None
    return (
        f"{' and '.join(still)} can be moved offline only: a server that is no replica set does not write several"
        " documents as one. Stop all workers and producers, then say --offline; or make it a replica set"
    )


def at_work(queue: str, workers: Iterable[WorkerBeat]) -> list[str]:
    """Workers that take jobs of a queue."""
    return sorted(worker.id for worker in workers if queue in worker.queues)


async def at_rest(pair: Pair, queue: str) -> str | None:
    """Why a queue cannot be moved offline now: who still works on it."""
    for side in (pair.source, pair.target):
        beats = at_work(queue, await pair.ask(side, side.store.workers))
        if beats:
            return f"queue {queue}: workers are there at {side.name}: {', '.join(beats)}. Stop them, then move offline"
        active = (await pair.jobs(side, queue)).get(State.ACTIVE, 0)
        if active:
            return f"queue {queue}: {active} jobs are active at {side.name}. Let them end first, then move offline"
    return None


def lacking(pair: Pair, conf: QueueConf, queue: str) -> str | None:
    """What the target has no part for, if the queue uses any of it."""
    layers: tuple[Limits, Limits] = (conf.declared, conf.override)
    wanted = [name for name in ("cap", "rates") if any(getattr(layer, name) is not None for layer in layers)]
    if not wanted or "limits" in pair.target.store.capabilities.parts:
        return None
    return (
        f"queue {queue}: {pair.target.name} has no limits over all workers ({', '.join(wanted)}): take them out of the"
        f" queue's configuration at {pair.source.name} first"
    )


async def refusals(pair: Pair, queue: str) -> list[str]:
    """Why a move of this queue would not begin."""
    conf, _ = await pair.confs(queue)
    there = sum((await pair.jobs(pair.target, queue)).values())
    said = [must_be_offline(pair), lacking(pair, conf, queue), await _schedules(pair, queue)]
    if pair.options.offline:
        said.append(await at_rest(pair, queue))
    if there and not pair.options.merge:
        said.append(
            f"queue {queue}: {pair.target.name} holds {there} jobs of it already. --merge puts both together;"
            f" or prune or obliterate it there first"
        )
    return [why for why in said if why is not None]


async def _schedules(pair: Pair, queue: str) -> str | None:
    """Why the schedules of both sides cannot become those of one."""
    target = pair.target.name
    theirs: dict[str, bytes] = {}
    async for page in pair.schedules(pair.target, queue):
        theirs |= {one.id: one.definition for one in page}
    if theirs and not pair.options.merge:
        return (
            f"queue {queue}: {target} has {len(theirs)} schedules of it already, as {next(iter(theirs))}, which would"
            " fire beside those that come: delete them there (`queuekit schedules delete`), or say --merge to keep all."
            f" Workers of {target} that have QUEUEKIT_FROM_URL leave schedules alone until the move"
        )
    apart, count = list[str](), 0
    async for page in pair.schedules(pair.source, queue):
        count += len(page)
        apart += [one.id for one in page if theirs.get(one.id, one.definition) != one.definition]
    if apart:
        return (
            f"queue {queue}: both sides have a schedule called {', '.join(apart[:5])}{', …' if len(apart) > 5 else ''},"
            " and not the same: delete one of the two first (`queuekit schedules delete`)"
        )
    if count and SCHEDULES not in pair.target.store.capabilities.parts:
        return (
            f"queue {queue}: it has {count} schedules, and {target} keeps none. Move to a store that does, or delete"
            f" them at {pair.source.name} first (`queuekit schedules list` shows them)"
        )
    return None


async def elsewhere(pair: Pair, queue: str) -> Moved:
    """The error that says where a queue is, or where it is going."""
    mine, theirs = await pair.confs(queue)
    if mine.to is not None and mine.to != pair.target.name:
        what = "lives in" if mine.home is Home.GONE else "is not all here: end its move with"
        return Moved(f"queue {queue}: at {pair.source.name} it {what} {mine.to}; move it from there", to=mine.to)
    return Moved(
        f"queue {queue}: at {pair.target.name} it is {theirs.home} ({theirs.to}): end that move first", to=theirs.to
    )
