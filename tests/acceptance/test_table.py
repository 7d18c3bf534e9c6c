"""docs/seeds.md names exactly the tests that are here."""

from __future__ import annotations

from tests.acceptance import table


def test_the_page_says_which_test_shows_which_row() -> None:
    text = table.PAGE.read_text()
    assert table.written(text) == text, "run: python -m tests.acceptance.table"


def test_every_acceptance_test_shows_a_row_of_the_page() -> None:
    known = table.rows(table.PAGE.read_text())
    assert len(known) == 133
    assert set(table.tests()) <= set(known)
