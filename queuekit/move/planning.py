"""What a move would do, found out without writing anything: counts, sizes, time, what would refuse it or clash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.domain.moving import Clash, Parcel
from queuekit.domain.query import Where
from queuekit.domain.schedule import definition_error
from queuekit.domain.state import TERMINAL
from queuekit.errors import InvalidOption, Unsupported
from queuekit.move import checks, turn
from queuekit.move.checks import Pair
from queuekit.move.end import Real
from queuekit.move.pages import pages
from queuekit.move.records import dumps
from queuekit.move.values import CLASHES_SHOWN, Options, Plan, QueuePlan, Side, Standing
from queuekit.store.retry import Waiter

SAMPLE: Final = 100  # records of each state, for sizes
RATE: Final = 5000  # jobs of 100 bytes a second on two busy cores: docs/decisions/092
RATE_FROM: Final = (
    "a careful guess from 100-byte jobs on two busy cores; larger payloads and farther servers take longer"
)


async def plan(
    source: Side, target: Side, queues: Sequence[str] = (), *, options: Options | None = None,
    waiter: Waiter | None = None,
) -> Plan:  # fmt: skip
    """What `move` would do with these queues (all, where none is named)."""
    pair = Pair(source, target, options or Options(), waiter or Real())
    answer = Plan(source=source.name, target=target.name)
    try:
        mine, theirs = await checks.two_stores(pair)
    except (InvalidOption, Unsupported) as error:
        answer.refused.append(str(error))
        return answer
    answer.warnings += [
        f"{side.name}: {text}" for side, pong in ((source, mine), (target, theirs)) for text in pong.warnings
    ]
    rate = _rate(answer, pair)
    for name in await checks.chosen(pair, queues):
        answer.queues.append(await _queue(pair, name, rate))
    return answer


def _rate(answer: Plan, pair: Pair) -> float:
    rate, said = float(RATE), RATE_FROM
    if pair.options.rate is not None and pair.options.rate < rate:
        rate, said = pair.options.rate, "--rate"
    answer.rate, answer.rate_from = rate, said
    return rate


async def _queue(pair: Pair, name: str, rate: float) -> QueuePlan:
    mine, _ = await pair.confs(name)
    where = await pair.standing(name)
    said = QueuePlan(queue=name, standing=where, home=mine.home)
    said.jobs = {s: n for s, n in (await pair.jobs(pair.source, name)).items() if n}
    said.at_target = {s: n for s, n in (await pair.jobs(pair.target, name)).items() if n}
    await _schedules(pair, said)
    for side in (pair.source, pair.target):
        said.workers[side.name] = checks.at_work(name, await pair.ask(side, side.store.workers))
    total = sum(said.jobs.values())
    ended = sum(n for state, n in said.jobs.items() if state in TERMINAL)
    said.seconds, said.pause = total / rate, (total - ended) / rate
    await _sizes(pair, said)
    await _refusals(pair, said)
    if said.at_target and where is Standing.HERE:
        said.clashes = await _clashes(pair, said)
    if pair.options.rate is not None and said.pause > 2:
        said.warnings.append(f"with this rate nobody can claim for about {said.pause:.0f} s")
    return said


async def _refusals(pair: Pair, said: QueuePlan) -> None:
    name, where = said.queue, said.standing
    if where is Standing.HERE:
        said.refused += await checks.refusals(pair, name)
    elif where in (Standing.ARRIVING, Standing.OPEN):
        said.warnings.append(f"queue {name}: its move is under way: --resume goes on with it")
    elif where is Standing.MOVED:
        said.warnings.append(f"queue {name}: it has moved")
    elif where is Standing.BACK:
        said.refused.append(f"queue {name}: it is on its way from {pair.target.name} to {pair.source.name}")
    elif where is Standing.ELSEWHERE:
        said.refused.append(str(await checks.elsewhere(pair, name)))
    else:
        said.refused.append(turn.lost(pair, name, where))


async def _sizes(pair: Pair, said: QueuePlan) -> None:
    """Bytes by a sample of each state; payloads that the target would refuse."""
    limit = pair.target.payload_limit
    for state, count in said.jobs.items():
        where = Where(state=state, limit=SAMPLE)
        found = await pair.ask(pair.source, pair.source.store.find, said.queue, where)
        sizes = [len(dumps(Parcel(record=job))) for job in found.records]
        if sizes:
            said.bytes += sum(sizes) * count // len(sizes)
        over = [job.id for job in found.records if limit is not None and _largest(job.body, job.result) > limit]
        if over:
            said.refused.append(
                f"queue {said.queue}: of {len(sizes)} {state} jobs looked at, {len(over)} are over the payload limit of"
                f" {pair.target.name} ({limit} bytes), as {over[0]}: raise QUEUEKIT_PAYLOAD_LIMIT for it"
            )


async def _schedules(pair: Pair, said: QueuePlan) -> None:
    """How many there are; those that the target would refuse."""
    limit = pair.target.payload_limit
    async for page in pair.schedules(pair.source, said.queue):
        said.schedules += len(page)
        said.refused += [
            f"queue {said.queue}: schedule {one.id} is too large for {pair.target.name}: {wrong}: raise"
            " QUEUEKIT_PAYLOAD_LIMIT for it"
            for one in page
            if limit is not None and (wrong := definition_error(one.definition, limit)) is not None
        ]
    async for page in pair.schedules(pair.target, said.queue):
        said.schedules_at_target += len(page)


def _largest(body: bytes, result: bytes | None) -> int:
    return max(len(body), len(result or b""))


async def _clashes(pair: Pair, said: QueuePlan) -> list[Clash]:
    """Ids that both sides have; the side with fewer jobs is read through."""
    fewer = sum(said.jobs.values()) <= sum(said.at_target.values())
    some, other = (pair.source, pair.target) if fewer else (pair.target, pair.source)
    clashes: list[Clash] = []
    async for records in pages(pair, some, said.queue):
        ids = [job.id for job in records]
        found = await pair.ask(other, other.store.get, said.queue, ids)
        clashes += [Clash(id=name, why="id", by=name) for name, job in zip(ids, found, strict=True) if job is not None]
        if len(clashes) >= CLASHES_SHOWN:
            said.warnings.append(f"queue {said.queue}: more than {CLASHES_SHOWN} ids clash: the list was cut there")
            break
    return clashes[:CLASHES_SHOWN]
