"""get, locate, find, count, position, queues, workers: looking, without effect."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from queuekit.domain.job import JobRecord
from queuekit.domain.query import SCAN_MAX, Counts, Found, Position, Where, WorkerBeat
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption
from queuekit_redis.records import LINES, NUMBERS, STATES, record, taken
from queuekit_redis.replies import counted, number
from queuekit_redis.store.base import Base

_GET_MAX = 1000  # ids a script call


class Read(Base):
    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        """One script for each thousand ids; see get.lua."""
        found: list[JobRecord | None] = []
        for start in range(0, len(ids), _GET_MAX):
            names = ids[start : start + _GET_MAX]
            epoch, *parts = await self._call("get", queue, [name.encode() for name in names])
            found += [
                None if part is None else record(queue, name, part, number(epoch) or 0)
                for name, part in zip(names, parts, strict=True)
            ]
        return found

    async def locate(self, id: str) -> list[JobRecord]:
        """One call for each queue."""
        found = [(await self.get(queue, [id]))[0] for queue in await self.queues()]
        return [job for job in found if job is not None]

    async def find(self, queue: str, where: Where) -> Found:
        """One script; see find.lua. The cursor names the last record, so that others may come and go."""
        line, score, last = _opened(where)
        epoch, scanned, total, cursor, names, parts = await self._call("find", queue, [
            NUMBERS[where.state], (where.task or "").encode(), where.limit, SCAN_MAX, line.encode(), score,
            last.encode(),
        ])  # fmt: skip
        records = [
            record(queue, name.decode(), part, number(epoch) or 0) for name, part in zip(names, parts, strict=True)
        ]
        return Found(records=records, cursor=_closed(where.state, cursor), scanned=scanned, total=total)

    async def count(self, queue: str) -> Counts:
        """One script; see count.lua."""
        return counted(await self._call("count", queue, [self._moved()]))

    async def position(self, queue: str, id: str) -> Position | None:
        """One script; see position.lua."""
        reply = await self._call("position", queue, [self._moved(), id.encode()])
        if reply is None:
            return None
        state, line, ahead, paused, expired, cancel, moving = reply
        if moving:
            return Position(state=STATES[state], reasons=["moving"])
        place = Position(state=STATES[state], ahead=ahead)
        if place.state is State.DELAYED:
            place.reasons.append("delayed")
        if LINES[line] is Line.SUSPECT and place.state is State.WAITING:
            place.reasons.append("suspect")
        if place.state in (State.WAITING, State.DELAYED):
            if paused is not None:
                place.reasons.append(f"paused: {taken(paused) or ''}".rstrip(": "))
            if expired:
                place.reasons.append("expired")
        if cancel:
            place.reasons.append("cancel asked")
        return place

    async def queues(self) -> list[str]:
        """The list of all, less those of which nothing is left."""
        (members,) = await self._port.commands([(b"SMEMBERS", self._store["queues"])])
        names = sorted(member.decode() for member in members)
        if not names:
            return []
        keys = [self._keys(name) for name in names]
        there = await self._port.commands(
            [(b"EXISTS", key["jobs"], key["conf"], key["vars"], key["schedules"]) for key in keys]
        )
        return [name for name, exists in zip(names, there, strict=True) if exists]

    async def workers(self) -> list[WorkerBeat]:
        """One script; see beat.lua."""
        script = self._scripts["beat"]
        _, *listed = await self._port.script(script, [self._store["workers"]], [self._moved(), b"", 0, b""])
        known = {field.name for field in dataclasses.fields(WorkerBeat)}
        beats = []
        for i in range(0, len(listed), 3):
            told = {name: value for name, value in json.loads(listed[i + 2]).items() if name in known}
            beats.append(WorkerBeat(**{**told, "queues": tuple(told["queues"]), "seen": listed[i + 1]}))
        return sorted(beats, key=lambda beat: beat.id)


def _closed(state: State, place: tuple[bytes, bytes, bytes] | None) -> str | None:
    """The cursor behind the record that stands at `place` (line, score, id)."""
    if place is None:
        return None
    line, score, last = place
    return json.dumps([state, int(line), int(score), last.decode()])


def _opened(where: Where) -> tuple[str, int, str]:
    """Line, score and id behind a cursor. Raises InvalidOption for one that is not ours."""
    if where.cursor is None:
        return "", 0, ""
    try:
        state, line, score, last = json.loads(where.cursor)
        place = (str(int(line)), int(score), str(last))
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"{where.cursor!r:.80} is no cursor of this store") from error
    if state != where.state:
        raise InvalidOption(f"the cursor is of state {state!r:.20}, not {where.state}")
    return place
