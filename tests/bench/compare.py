"""Queuekit beside the floor of each store, in one run: medians, spread, ratios, and what was asked.

    make compare                                   # all three stores, five rounds, about ten minutes
    python -m tests.bench.compare --stores redis --metrics drain_100,drain_1 --rounds 3
    python -m tests.bench.compare --stores sqlite --scale 1000000

A ratio is the median of the rounds' own ratios, floor and queuekit in turn on one server started for it; every job is
counted by its handler, and a run that lost or repeated one is no figure. `--json` prints one line a figure instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from queuekit.testing.servers import MongoServer, RedisServer, Server
from tests.bench import scale
from tests.bench.rounds import JOBS, METRICS
from tests.bench.targets import TARGETS, flat

SERVERS: dict[str, type[Server]] = {"redis": RedisServer, "mongo": MongoServer}
PACKAGES = ("queuekit", "redis", "hiredis", "pymongo", "orjson", "pydantic", "uvloop")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Figure:
    """All samples of one metric on one store."""

    store: str
    metric: str
    unit: str
    values: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, value: float, floor: float | None) -> None:
        self.values.append(value)
        if floor is not None:
            self.floors.append(floor)

    @property
    def ratios(self) -> list[float]:
        return [ours / floor for ours, floor in zip(self.values, self.floors, strict=True)] if self.floors else []

    def to_dict(self, *, scaled: bool) -> dict[str, Any]:
        """The row as `--json` prints it."""
        median, ratios = statistics.median(self.values), self.ratios
        ratio = statistics.median(ratios) if ratios else None
        target = TARGETS[self.store].get(self.metric)
        if scaled:
            target = flat(self.unit) if ratio else None
        return {
            "store": self.store,
            "metric": self.metric,
            "unit": self.unit,
            "median": _short(median),
            "min": _short(min(self.values)),
            "max": _short(max(self.values)),
            "runs": len(self.values),
            "floor": _short(statistics.median(self.floors)) if self.floors else None,
            "ratio": _short(ratio) if ratio else None,
            "ratio_min": _short(min(ratios)) if ratios else None,
            "ratio_max": _short(max(ratios)) if ratios else None,
            "target": str(target).replace("floor", "few" if scaled else "floor") if target else None,
            "met": target.met(median, ratio) if target else None,
            "aim": target is not None and target.aim,
        }


def main() -> int:
    """Measure what the command line asks for; 0, or 1 when something that is asked was missed."""
    asked = _arguments()
    where = sys.stderr if asked.json else sys.stdout
    print(_facts(), file=where, flush=True)
    missed = 0
    for store in asked.stores.split(","):
        figures = list(_scaled(store, asked) if asked.scale else _measured(store, asked))
        rows = [figure.to_dict(scaled=bool(asked.scale)) for figure in figures]
        shown = _markdown if asked.markdown else _table
        print(shown(store, rows, "few" if asked.scale else "floor"), file=where, flush=True)
        if asked.json:
            for row in rows:
                print(json.dumps(row), flush=True)
        missed += sum(row["met"] is False and not row["aim"] for row in rows)
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", default=",".join(JOBS), help="redis,mongo,sqlite (all)")
    parser.add_argument("--metrics", help=f"of {','.join(METRICS)} (all); with --scale of {','.join(scale.METRICS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs, one round: does it work at all")
    parser.add_argument("--scale", type=int, metavar="N", help="the same figures with N waiting jobs beside few")
    parser.add_argument(
        "--floors", metavar="FILE", help="also run this script (--redis URL, --mongo URL) on the servers"
    )
    parser.add_argument(
        "--json", action="store_true", help="a line a figure on standard output; tables on standard error"
    )
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    asked = parser.parse_args()
    known = scale.METRICS if asked.scale else METRICS
    asked.metrics = asked.metrics or ",".join(known)
    for given, names in ((asked.stores, JOBS), (asked.metrics, known)):
        unknown = set(given.split(",")) - set(names)
        if unknown:
            parser.error(f"no {', '.join(sorted(unknown))}: use {','.join(names)}")
    if asked.quick:
        asked.rounds = 1
    return asked


def _measured(store: str, asked: argparse.Namespace) -> Iterator[Figure]:
    """The figures of one store, on a server of its own, beside its floor."""
    figures: dict[str, Figure] = {}
    with _served(store) as (url, pid):
        told = ["--pid", str(pid), "--rounds", str(asked.rounds)]
        for sample in _child("rounds", store, url, asked, told):
            _figure(figures, store, sample).add(sample["value"], sample["floor"])
        if asked.floors and store in SERVERS:
            print(
                subprocess.check_output([sys.executable, asked.floors, f"--{store}", url], text=True), file=sys.stderr
            )
    yield from figures.values()


def _scaled(store: str, asked: argparse.Namespace) -> Iterator[Figure]:
    """The figures of a long queue beside those of a short one, on a server each, in turn."""
    figures: dict[str, Figure] = {}
    with _served(store) as (few, one), _served(store) as (many, other):
        for _ in range(asked.rounds):
            short = list(_child("scale", store, few, asked, ["--pid", str(one), "--waiting", str(scale.FEW)]))
            long = list(_child("scale", store, many, asked, ["--pid", str(other), "--waiting", str(asked.scale)]))
            for with_few, with_many in zip(short, long, strict=True):
                _figure(figures, store, with_few).add(with_many["value"], with_few["value"])
    yield from figures.values()


def _figure(figures: dict[str, Figure], store: str, sample: dict[str, Any]) -> Figure:
    return figures.setdefault(sample["metric"], Figure(store, sample["metric"], sample["unit"]))


def _child(module: str, store: str, url: str, asked: argparse.Namespace, told: list[str]) -> Iterator[dict[str, Any]]:
    """What a measuring process says, as it says it."""
    command = [sys.executable, "-m", f"tests.bench.{module}", "--store", store, "--metrics", asked.metrics, *told]
    command += ["--shrink", "10" if asked.quick else "1"]
    with subprocess.Popen(command, cwd=ROOT, env=_environment(url), stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            sample = json.loads(line)
            if sys.stderr.isatty():
                print(f"\r{store}: {sample['metric']:<30}\r", end="", file=sys.stderr, flush=True)
            yield sample
    if child.returncode:
        raise SystemExit(f"{store}: the measuring process ended with {child.returncode}")


@contextlib.contextmanager
def _served(store: str) -> Iterator[tuple[str, int]]:
    """URL and process id of a server started for this; SQLite has a file in a temporary folder, and no process."""
    if store in SERVERS:
        with SERVERS[store]() as server:
            yield server.url, server.pid
        return
    with tempfile.TemporaryDirectory(prefix="queuekit-compare-") as folder:
        yield f"sqlite:///{folder}/jobs.db", 0


def _environment(url: str) -> dict[str, str]:
    """This environment without a setting of anybody's: queuekit's defaults on this store."""
    names = ("QUEUE", "REDIS", "MONGO", "WORKER_TYPE")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return ours | {"QUEUEKIT_URL": url, "QUEUEKIT_CONFIG": os.devnull, "QUEUEKIT_LOG": "warning"}


def _facts() -> str:
    load = os.getloadavg()[0]
    told = " ".join(f"{name} {version(name)}" for name in PACKAGES)
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}; {told}",
        f"revision {revision.stdout.strip() or 'unknown'}; load average at the start {load:.2f}",
    ]
    if load > 0.5:
        lines.append("SOMETHING ELSE RUNS ON THIS MACHINE: believe ratios and CPU, not seconds")
    return "\n".join(lines)


def _cells(rows: list[dict[str, Any]], beside: str) -> list[tuple[str, ...]]:
    """The table as text, its heads first."""
    heads = ("metric", "unit", beside, "queuekit", "min - max", "ratio", "min - max", "asked", "")
    return [heads] + [
        (
            row["metric"], row["unit"], _text(row["floor"]), _text(row["median"]),
            f"{_text(row['min'])} - {_text(row['max'])}", _text(row["ratio"]),
            "" if row["ratio"] is None else f"{row['ratio_min']} - {row['ratio_max']}",
            row["target"] or "", _verdict(row),
        )
        for row in rows
    ]  # fmt: skip


def _table(store: str, rows: list[dict[str, Any]], beside: str) -> str:
    cells = _cells(rows, beside)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = {0, 1, 7, 8}
    lines = [
        "  ".join(
            cell.ljust(w) if n in left else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join(["", store, *(line.rstrip() for line in lines)])


def _markdown(store: str, rows: list[dict[str, Any]], beside: str) -> str:
    heads, *body = _cells(rows, beside)
    lines = [heads, ("---",) * len(heads), *body]
    return "\n".join(["", f"### {store}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _verdict(row: dict[str, Any]) -> str:
    return "" if row["met"] is None else "met" if row["met"] else "missed" if row["aim"] else "MISSED"


def _short(value: float) -> float:
    return round(value, 1) if abs(value) >= 100 else round(value, 3)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


if __name__ == "__main__":
    sys.exit(main())
