"""The table of budgets: read, compared with what was counted, written anew. Counts nothing itself."""

from __future__ import annotations

import sqlite3
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

TABLE = Path(__file__).with_name("budgets.toml")
SLACK = 1.12  # a ceiling over the figure it was set from
LEAST = 0.02  # and at least so much: figures near zero may vary by one of something
WIDE = {"blocks kept": 0.5}  # what the interpreter keeps for itself is not the same each time
MACHINES = {
    "instructions": "python",
    "calls": "python",
    "machine steps": "sqlite",
}  # what only one version of a machine repeats
HEAD = """\
# What one job costs, counted: [figure when this was written, ceiling]. A test fails above a ceiling.
# Where a change lowers a figure for good, or raises one for a reason worth it: make guard, and say why in the commit.
"""

Counted: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Budget:
    """One figure of the table."""

    figure: float
    ceiling: float


def versions() -> dict[str, str]:
    """What the counts of machines depend on, as it is here."""
    return {"python": "{}.{}".format(*sys.version_info), "sqlite": "{}.{}".format(*sqlite3.sqlite_version_info)}


def comparable() -> frozenset[str]:
    """Which kinds of machine are those the table was written on: another one has instructions of its own."""
    here, there = versions(), tomllib.loads(TABLE.read_text("utf-8"))["about"]
    return frozenset(name for name, version in here.items() if there.get(name) == version)


def read() -> dict[str, dict[str, dict[str, Budget]]]:
    """place -> scene -> what -> budget."""
    table = tomllib.loads(TABLE.read_text("utf-8"))
    return {
        place: {
            scene: {what: Budget(*pair) for what, pair in rows.items()} for scene, rows in scenes.items()
        }
        for place, scenes in table.items()
        if place != "about"
    }  # fmt: skip


def complaints(place: str, scene: str, counted: Counted) -> list[str]:
    """What is over its ceiling, missing in the table or missing in the count; one readable line each."""
    budgets = read().get(place, {}).get(scene, {})
    said = []
    for what in sorted({*budgets, *counted}):
        if MACHINES.get(what, "") in versions().keys() - comparable():
            continue
        if what not in budgets:
            said.append(f"{place}, {scene}: {what} = {counted[what]:g} has no budget: make guard")
        elif what not in counted:
            said.append(f"{place}, {scene}: {what} has a budget and was not counted")
        elif counted[what] > budgets[what].ceiling:
            budget = budgets[what]
            said.append(
                f"{place}, {scene}: {what} went from {budget.figure:g} to {counted[what]:g},"
                f" over the ceiling of {budget.ceiling:g}"
            )
    return said


def written(found: Mapping[str, Mapping[str, Counted]]) -> str:
    """The table as text."""
    lines = [HEAD, "[about]", *(f'{name} = "{version}"' for name, version in versions().items()), ""]
    for place, scenes in found.items():
        for scene, counted in scenes.items():
            lines.append(f"[{place}.{scene}]")
            lines += [f'"{what}" = [{figure:g}, {ceiling(what, figure):g}]' for what, figure in counted.items()]
            lines.append("")
    return "\n".join(lines)


def ceiling(what: str, figure: float) -> float:
    """What a figure may grow to."""
    return float(f"{max(figure * SLACK, figure + WIDE.get(what, LEAST)):.4g}")
