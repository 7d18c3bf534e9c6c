"""The bench command: which figures, how often, and how they are printed. Measuring is done in `metrics`."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from queuekit.cli import screen
from queuekit.cli.bench.ground import Ground, Line, Sizes
from queuekit.cli.bench.metrics import METRICS
from queuekit.cli.bench.tasks import kit
from queuekit.cli.crew import environment, room
from queuekit.cli.session import Json, Session, reading
from queuekit.domain.redact import redact
from queuekit.errors import InvalidOption
from queuekit.store.direct import direct

JOBS = {"redis": 20_000, "rediss": 20_000, "mongodb": 10_000, "mongodb+srv": 10_000}
OTHERS = 10_000
QUICK = 1_000
PACKAGES = (
    "queuekit",
    "queuekit-redis",
    "queuekit-mongo",
    "redis",
    "hiredis",
    "pymongo",
    "orjson",
    "pydantic",
    "uvloop",
)


def bench(
    context: typer.Context,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help=f"Only these; may be repeated: {', '.join(METRICS)}.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=100, help="Jobs of a drain at concurrency 100. \\[default: by store]")
    ] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each. \\[default: 3]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few jobs, one run: does it work at all.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="Also what takes long: redelivery at default settings.")] = False,
    json: Json = False,
) -> None:
    """Measure this store on this machine.

    With --json each line is {"metric", "settings", "median", "min", "max", "unit", "runs"}; server, settings and
    versions go to standard error. A counter in the handlers proves that every job ran exactly once. All is done
    in a namespace of its own and removed.
    """
    session = reading(context, json)
    unknown = set(metric or ()) - set(METRICS)
    if unknown:
        raise InvalidOption(f"no metric {', '.join(sorted(unknown))}: use {', '.join(METRICS)}")
    with room(session.settings, "bench") as settings:
        usual = QUICK if quick else JOBS.get(settings.url.partition(":")[0], OTHERS)
        sizes = Sizes(jobs=jobs or usual, runs=runs or (1 if quick else 3), quick=quick, slow=slow)
        os.environ.update(environment(settings))  # bench's own kit reads it as its workers do
        with contextlib.closing(kit):
            ground = Ground(kit, settings, sizes)
            _tell_place(session, ground)
            for name in metric or METRICS:
                for line in METRICS[name](ground):
                    _print(session, line)


def _tell_place(session: Session, ground: Ground) -> None:
    pong = direct(ground.store.ping())
    facts = {
        "server": pong.server,
        "store": redact(ground.settings.url),
        "durability": ground.settings.durability,
        "warnings": list(pong.warnings),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
    }
    if session.json:
        screen.tell(jsonlib.dumps(facts))  # standard output has one shape: a figure a line
        return
    screen.fields(
        {k: ", ".join(f"{a} {b}" for a, b in v.items()) if isinstance(v, dict) else v for k, v in facts.items()}
    )
    screen.say("")
    screen.say(f"{'metric':<18}{'median':>12}{'min':>12}{'max':>12} {'unit':<11}{'runs':>4}  settings")


def _print(session: Session, line: Line) -> None:
    one = line.to_dict()
    if session.json:
        print(jsonlib.dumps(one), flush=True)
        return
    numbers = "".join(f"{one[name]:>12,}" for name in ("median", "min", "max"))
    screen.say(f"{one['metric']:<18}{numbers} {one['unit']:<11}{one['runs']:>4}  {one['settings']}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
