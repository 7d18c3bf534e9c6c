"""conf, configure, prune, obliterate, beat: what keeps queues in order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Final

from queuekit.domain.limits import Limits, QueueConf, checked
from queuekit.domain.query import WorkerBeat
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption, Unsupported
from queuekit_redis.records import NUMBERS, given
from queuekit_redis.replies import home_of, moved, number
from queuekit_redis.store.base import Base

OPS_KEPT: Final = 86_400_000  # ms an actor is remembered after its last call
LOOKS: Final = 50_000  # waiting jobs one prune by age looks at


def conf_of(stored: Sequence[bytes | None], authority: Sequence[bytes | None]) -> QueueConf:
    """A configuration of what two reads say: rev, declared, override; home, to, epoch."""
    rev, declared, override = stored
    home, to, epoch = authority
    return QueueConf(
        rev=number(rev) or 0, home=home_of(home), to=to.decode() if to else None, epoch=number(epoch) or 0,
        declared=Limits.from_json(declared or b"{}"), override=Limits.from_json(override or b"{}"),
    )  # fmt: skip


class Control(Base):
    async def conf(self, queue: str) -> QueueConf:
        """Two reads of one slot, in one round trip."""
        keys = self._keys(queue)
        stored, authority = await self._port.commands([
            (b"HMGET", keys["conf"], b"rev", b"declared", b"override"),
            (b"HMGET", keys["vars"], b"home", b"to", b"epoch"),
        ])  # fmt: skip
        return conf_of(stored, authority)

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        """One script; see configure.lua. What scripts look at is written beside the layers."""
        for layer in (conf.declared, conf.override):
            if checked(layer).cap is not None or layer.rates is not None:
                raise Unsupported("this store has no limits over all workers: leave global_concurrency and rate unset")
        limits = conf.effective
        seen: dict[str, bytes] = {
            "paused": given(limits.paused),
            "max_size": b"" if limits.max_size is None else b"%d" % limits.max_size,
            "max_crashes": b"" if limits.max_crashes is None else b"%d" % limits.max_crashes,
            "keep_completed": b"" if limits.keep_completed is None else limits.keep_completed.label.encode(),
            "keep_failed": b"" if limits.keep_failed is None else limits.keep_failed.label.encode(),
        }
        args: list[bytes | int] = [conf.rev, conf.declared.to_json().encode(), conf.override.to_json().encode()]
        for name, value in seen.items():
            args += (name.encode(), value)
        await self._announce_if_room((queue,))
        done, rev, *rest = await self._call("configure", queue, args)
        if done == 2:
            raise moved(queue, rev, rest[0])
        if not done:
            raise Conflict(f"queue {queue}: its configuration has rev {rev}, not {conf.rev}; read it again")
        return dataclasses.replace(await self.conf(queue), rev=rev, declared=conf.declared, override=conf.override)

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        """One script; see prune.lua."""
        if state is State.ACTIVE:
            raise InvalidOption("active jobs are not pruned: cancel them, or obliterate the queue")
        limit = max(1, min(limit, 1000))
        args = [self._moved(), limit, NUMBERS[state] if state else 0, older_than, OPS_KEPT, LOOKS]
        removed, more = await self._call("prune", queue, args)
        return removed, bool(more)

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        """One script; see obliterate.lua. Then the name goes from the list of all, unless it is in use again."""
        code, *reply = await self._call("obliterate", queue, [1 if force else 0, max(1, min(limit, 1000))])
        if code == 2:
            raise Conflict(f"queue {queue} is on the move: end that first, with migrate --resume or --abort")
        if code:
            raise Conflict(f"queue {queue} has {reply[0]} active jobs: stop its workers first, or force")
        if not reply[1]:
            keys = self._keys(queue)
            self._announced.pop(queue, None)
            await self._port.commands([(b"SREM", self._store["queues"], queue)])
            left = (b"EXISTS", keys["jobs"], keys["conf"], keys["vars"], keys["schedules"])
            (there,) = await self._port.commands([left])
            if there:
                await self._announce((queue,), anew=True)
        return reply[0], bool(reply[1])

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        """One script; see beat.lua. Queues that a worker serves are kept on the list of all."""
        await self._announce_if_room(worker.queues)
        told = json.dumps(dataclasses.asdict(worker)).encode()
        args: list[bytes | int] = [self._moved(), worker.id.encode(), ttl, told]
        now: int = (await self._port.script(self._scripts["beat"], [self._store["workers"]], args))[0]
        return now
