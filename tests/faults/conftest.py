"""The matrix of the contract's stores, for the tests of faults."""

from __future__ import annotations

from tests.contract.conftest import able, contended, harness, made, open_store, port, pytest_generate_tests, store

__all__ = ["able", "contended", "harness", "made", "open_store", "port", "pytest_generate_tests", "store"]
