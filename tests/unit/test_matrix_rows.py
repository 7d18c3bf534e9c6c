"""`make matrix` tries what the backends ask for, beginning at the lowest."""

from __future__ import annotations

from tests.matrix import LOWEST, ROOT, ROWS, TESTS, lower_bounds


def full(version: str) -> list[str]:
    name, _, number = version.partition("==")
    return [name, *[*number.split("."), "0", "0"][:3]]


def test_the_lowest_rows_are_the_bounds_of_the_packages() -> None:
    tried, asked = ({name: full(row) for name, row in rows.items()} for rows in (LOWEST, lower_bounds()))
    assert tried == asked
    assert set(tried) == set(TESTS)


def test_every_major_release_and_the_newest_of_each_driver_is_a_row() -> None:
    assert {"redis", "pymongo"} <= set(ROWS)
    majors = [row for row in ROWS if row.startswith("redis==") and row.endswith("*")]
    assert majors == [f"redis=={n}.*" for n in (5, 6, 7, 8)]


def test_every_file_that_a_row_runs_exists() -> None:
    named = [argument for runs in TESTS.values() for run in runs for argument in run if argument.startswith("tests/")]
    assert [name for name in named if not (ROOT / name).exists()] == []
