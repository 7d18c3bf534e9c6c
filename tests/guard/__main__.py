"""`make guard`: count everything, show what changed, and write the table of budgets anew.

python -m tests.guard [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from queuekit.testing.servers import MongoServer, RedisServer
from tests.guard import budgets, stores, worker
from tests.guard.budgets import Counted


def measured() -> dict[str, dict[str, Counted]]:
    """Every figure of the table, as it is now."""
    asked = worker.idle()
    with RedisServer() as redis, MongoServer() as mongo, tempfile.TemporaryDirectory() as folder:
        found: dict[str, dict[str, Counted]] = {
            "redis": stores.on_redis(redis.url),
            "mongo": stores.on_mongo(mongo.url),
            "sqlite": stores.on_sqlite(Path(folder)),
        }
        looped = {"redis_async": stores.on_redis_async(redis.url), "mongo_async": stores.on_mongo_async(mongo.url)}
    for scenes in found.values():
        scenes["idle_second"] = stores.idle_second(scenes, asked)
    found |= looped
    found["worker"] = {
        "drain_100": worker.drain(100, 500, 1500), "drain_1": worker.drain(1, 100, 300), "idle_minute": asked,
    }  # fmt: skip
    return found


def main() -> int:
    found = measured()
    old = budgets.read() if budgets.TABLE.exists() else {}
    over = 0
    for place, scenes in found.items():
        for scene, counted in scenes.items():
            for what, figure in counted.items():
                before = old.get(place, {}).get(scene, {}).get(what)
                note = (
                    "new" if before is None else "" if abs(before.figure - figure) < 0.005 else f"was {before.figure:g}"
                )
                if before is not None and figure > before.ceiling:
                    over, note = over + 1, f"{note}: OVER {before.ceiling:g}"
                print(f"{place:<7} {scene:<14} {what:<19} {figure:>10g}  {note}")
    if "--check" in sys.argv:
        return 1 if over else 0
    budgets.TABLE.write_text(budgets.written(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
