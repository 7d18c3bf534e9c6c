"""change, annotate: what persons ask of jobs, and what running handlers tell of theirs."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.job import limits_error
from queuekit.domain.outcome import Op
from queuekit.domain.query import Change, Changed, Note
from queuekit.errors import PayloadTooLarge
from queuekit_redis.records import given, lines, moment, pack_items
from queuekit_redis.replies import changed
from queuekit_redis.store.base import Base, bounded


class Alter(Base):
    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        """One script; see change.lua."""
        bounded(len(changes), "changes")
        args: list[bytes | int] = [op.actor.encode(), op.n, self._moved()]
        for change in changes:
            wrong = None if change.body is None else limits_error(change.body, self._limit)
            if wrong is not None:
                raise PayloadTooLarge(f"job {change.id}: {wrong}")
            args += (
                change.id.encode(), change.verb.encode(), b"" if change.rev is None else change.rev,
                given(change.reason), moment(change.run_at, change.delay),
                b"" if change.priority is None else change.priority, given(change.body),
            )  # fmt: skip
        return changed(queue, op, [change.id for change in changes], await self._call("change", queue, args))

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        """One script; see annotate.lua."""
        args: list[bytes | int] = [
            id.encode(),
            token.encode(),
            given(note.progress),
            lines(len(note.logs), note.start),
            pack_items(note.logs),
        ]
        return bool(await self._call("annotate", queue, args))
