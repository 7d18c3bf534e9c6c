"""The conformance suite: what every store promises, as tests that a third party runs on its own store.

Write a `Harness`, give it to pytest as the fixture `made`, and import the families: see docs/writing-a-backend.md.
"""

from queuekit.testing.conformance.harness import Blocking, Harness, Transaction

__all__ = ["Blocking", "Harness", "Transaction"]
