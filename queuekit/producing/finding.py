"""Handlers that are not registered one by one: another framework's tasks, found when a job of theirs comes.

Who finds them is told nothing of stores; what is found is a definition like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from queuekit.producing.definition import Definition


class Finder(Protocol):
    """One framework's tasks."""

    def queues(self) -> Iterable[str]:
        """Queues that a worker consumes which names none."""
        ...

    def tasks(self) -> Mapping[str, Definition]:
        """What this process knows already, by task name. Imports nothing."""
        ...

    def find(self, task: str) -> Definition | None:
        """What runs this task, None where it is not one of theirs. May import the module that has it; never raises."""
        ...


class Finders(list[Finder]):
    """All of a kit, asked in their order."""

    def queues(self) -> list[str]:
        """The queues of all."""
        return [name for finder in self for name in finder.queues()]

    def tasks(self) -> dict[str, Definition]:
        """What all of them know."""
        return {name: one for finder in reversed(self) for name, one in finder.tasks().items()}

    def find(self, task: str) -> Definition | None:
        """The first answer."""
        return next((found for finder in self if (found := finder.find(task)) is not None), None)
