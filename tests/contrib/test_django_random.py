"""Random programs of nested transactions over two databases: exactly the jobs are there whose every block committed.

QUEUEKIT_TEST_PROGRAMS=1500 runs more of them.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from queuekit import JobHandle, State

if TYPE_CHECKING:
    from queuekit.contrib.django import DjangoKit

pytestmark = pytest.mark.usefixtures("django_db")
PROGRAMS = int(os.environ.get("QUEUEKIT_TEST_PROGRAMS", "40"))


class Back(Exception):
    """Ends a block."""


@dataclass
class Block:
    """One `atomic()`; what becomes of it is known at its end."""

    using: str
    parent: Block | None  # of the same database
    lost: bool = False


@dataclass
class Made:
    """One job, and the blocks that were open when it was made."""

    n: int
    handle: JobHandle[Any]
    blocks: tuple[Block, ...]


@dataclass
class Program:
    """One run. What it did is in `story`, for whom it fails."""

    kit: DjangoKit
    random: random.Random
    databases: tuple[str, ...]
    open: list[Block] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    hooks: list[tuple[int, set[int]]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def body(self, depth: int) -> None:
        for _ in range(self.random.randint(1, 5)):
            act = self.random.choice(["one", "many", "hook", "block", "block"] if depth < 4 else ["one", "hook"])
            self.story.append(f"{'  ' * depth}{act}")
            if act == "block":
                self.block(depth)
            elif act == "hook":
                self.hook()
            else:
                self.make(1 if act == "one" else self.random.randint(2, 4))

    def make(self, count: int) -> None:
        queue, start = self.kit.queue("mail"), len(self.made)
        if count == 1:
            handles = [queue.enqueue("send", {"n": start})]
        else:
            handles = self.kit.enqueue_many([queue.make("send", {"n": start + i}) for i in range(count)])
        for i, handle in enumerate(handles):
            self.made.append(Made(start + i, handle, tuple(self.open)))
            assert handle.status() == ("uncommitted" if self.open else State.WAITING)

    def hook(self) -> None:
        """A hook of somebody else, which must find all jobs that were made before it in the same transaction."""
        from django.db import transaction

        using = self.random.choice(self.databases)
        before = [one for one in self.made if self.open and one.blocks == tuple(self.open)]
        if any(block.using == using for block in self.open) and len({block.using for block in self.open}) == 1:
            transaction.on_commit(lambda: self.saw(before), using=using)

    def saw(self, before: list[Made]) -> None:
        assert [one.handle.status() for one in before] == [State.WAITING] * len(before)

    def block(self, depth: int) -> None:
        from django.db import transaction

        using = self.random.choice(self.databases)
        parent = next((one for one in reversed(self.open) if one.using == using), None)
        block = Block(using, parent)
        savepoint = parent is None or self.random.random() < 0.7
        back = self.random.random() < 0.35
        self.story[-1] += f" {using}{'' if savepoint else ' without savepoint'}{' ROLLED BACK' if back else ''}"
        self.open.append(block)
        try:
            with transaction.atomic(using, savepoint=savepoint):
                self.body(depth + 1)
                if back:
                    raise Back
        except Back:
            block.lost = True
        self.open.pop()
        if block.lost and not savepoint and parent is not None:
            parent.lost = True  # Django marks it: it can only be rolled back

    def judge(self) -> None:
        expected = [one for one in self.made if not any(_lost(block) for block in one.blocks)]
        told = "\n".join(self.story)
        found = [job.payload["n"] for job in self.kit.find(limit=1000).jobs if isinstance(job.payload, dict)]
        assert sorted(found) == [one.n for one in expected], told
        there = {one.n for one in expected}
        for one in self.made:
            assert one.handle.status() == (State.WAITING if one.n in there else "unknown"), told
            assert one.handle.created is (True if one.n in there else None), told


def _lost(block: Block | None) -> bool:
    """Whether it, or one of the same database around it, was rolled back."""
    return block is not None and (block.lost or _lost(block.parent))


@pytest.mark.parametrize("databases", [("default",), ("default", "other")], ids=["one", "two"])
def test_exactly_what_commits_is_there(databases: tuple[str, ...], django_db: None) -> None:
    from queuekit.contrib.django import DjangoKit

    seed = random.randrange(10**9)
    for number in range(PROGRAMS):
        kit = DjangoKit("memory://", name=f"random{number}")
        kit.blocking_store()
        program = Program(kit, random.Random(seed + number), databases)
        try:
            program.body(0)
            program.judge()
        except AssertionError as error:
            error.add_note(f"seed {seed + number}, databases {databases}\n" + "\n".join(program.story))
            raise
        finally:
            kit.close()
