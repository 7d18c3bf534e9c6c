"""Django's test runner, without the tests that are named."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from typing import Any

import django
from django.test.runner import DiscoverRunner


def main(label: str, excluded: list[str]) -> int:
    """Run one package; 0 when all passed and every excluded test was there."""
    django.setup()
    runner = _Runner(excluded, interactive=False)
    failed = runner.run_tests([label])
    missing = set(excluded) - runner.left_out
    for name in sorted(missing):
        print(f"excluded, but not there: {name}")
    return 1 if failed or missing else 0


class _Runner(DiscoverRunner):
    def __init__(self, excluded: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.excluded = excluded
        self.left_out: set[str] = set()

    def get_test_runner_kwargs(self) -> dict[str, Any]:
        """Without what unittest has since Python 3.12 only."""
        said = super().get_test_runner_kwargs()
        if sys.version_info < (3, 12):
            said.pop("durations", None)
        return said

    def build_suite(self, *args: Any, **options: Any) -> unittest.TestSuite:
        found = super().build_suite(*args, **options)
        return unittest.TestSuite(self._wanted(found))

    def _wanted(self, suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
        for one in suite:
            if isinstance(one, unittest.TestSuite):
                yield from self._wanted(one)
                continue
            name = ".".join(one.id().rsplit(".", 2)[-2:])
            if name in self.excluded:
                self.left_out.add(name)
            else:
                yield one


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
