"""`python -m tests.torture.moves`: every pair of stores, every call of the mover, killed before and after it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from tests.torture.moves.ground import PAIRS, RealGround, grounds
from tests.torture.moves.judge import Rule
from tests.torture.moves.kill import MODES, Table, names, record, strike


async def matrix(
    pairs: list[str],
    scenarios: list[str],
    *,
    lanes: int,
    most: int | None = None,
    seed: int = 0,
    seconds: float = 3600.0,
    calls: int = 1,
    movers: int = 3,
    keep: Path | None = None,
    only: str = "",
) -> Table:
    """The table of these pairs; with `most`, so many points of each, chosen by the seed."""
    table = Table(calls, keep)
    async with grounds(pairs) as made:
        for ground in made.values():
            await _pair(
                ground, table, scenarios, lanes=lanes, most=most, seed=seed, seconds=seconds, movers=movers, only=only
            )
    return table


async def _pair(
    ground: RealGround,
    table: Table,
    scenarios: list[str],
    *,
    lanes: int,
    most: int | None,
    seed: int,
    seconds: float,
    movers: int,
    only: str = "",
) -> None:
    begun, name, before = time.monotonic(), names(), table.moves
    await record(ground, table, scenarios, name, movers)
    aims = [(scenario, aim) for scenario in scenarios for aim in table.points_of(ground.name, scenario)]
    if only:
        aims = [(scenario, aim) for scenario, aim in aims if only in f"{scenario} {aim}"]
        table.only(ground.name, aims)
    if most is not None:
        step = max(1, len(aims) // most)
        aims = aims[seed % step :: step][:most]
        table.only(ground.name, aims)
    await strike(ground, table, aims, name, lanes=lanes, seconds=seconds)
    print(
        json.dumps(
            {
                "torture": "move", "pair": ground.name, "sites": len({aim.site for _, aim in aims}),
                "points": len(aims), "moves": table.moves - before, "seconds": round(time.monotonic() - begun, 1),
                "breaches": len(table.breaches), "missed": len(table.missed()),
            }
        ),
        flush=True,
    )  # fmt: skip


def main() -> int:
    """A line of JSON a pair, then the table. 1 where a rule was broken or a point was not hit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", action="append", choices=[*PAIRS, "redis-redis", "mongo-mongo", "sqlite-sqlite"])
    parser.add_argument("--scenario", action="append", choices=sorted(MODES))
    parser.add_argument("--lanes", type=int, default=6, help="moves at once")
    parser.add_argument("--calls", type=int, default=1, help="of each call site the first so many calls of a process")
    parser.add_argument("--movers", type=int, default=3, help="movers that live, of whom the sites are learnt")
    parser.add_argument("--only", default="", help="points whose name has this in it, as the list of missed ones tells")
    parser.add_argument("--keep", type=Path, help="a folder for the histories of moves that broke a rule")
    parser.add_argument("--most", type=int, help="so many points a pair")
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no point of a pair after so long")
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    scenarios = said.scenario or list(MODES)
    table = asyncio.run(
        matrix(said.pair or list(PAIRS), scenarios, lanes=said.lanes, most=said.most, seed=said.seed,
               seconds=said.seconds, calls=said.calls, movers=said.movers, keep=said.keep,
 only=said.only)
    )  # fmt: skip
    print(table)
    missed = table.missed()
    print(f"{table.moves} moves, {len(table.hit)} points hit, {len(missed)} missed, {len(table.breaches)} breaches")
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    for line in table.chance():
        print(f"by chance: {line}", file=sys.stderr)
    for pair, scenario, aim, breach in sorted(table.breaches, key=lambda one: one[-1].rule is Rule.OVERTAKEN)[:200]:
        print(f"{pair} {scenario} {aim}: {breach}", file=sys.stderr)
    return 1 if missed or table.breaches or not table.hit else 0


if __name__ == "__main__":
    sys.exit(main())
