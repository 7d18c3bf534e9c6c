"""Enqueues within a caller's own MULTI: looked at now, under WATCH, and written when the caller's EXEC is."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Enqueued, Op, Receipt
from queuekit.errors import InvalidOption, Unsupported
from queuekit.store.protocol import Capabilities
from queuekit_redis.keys import Keys
from queuekit_redis.records import pack_spec
from queuekit_redis.replies import refused
from queuekit_redis.store.base import Base
from queuekit_redis.within import Multi

_NO_OP = Op("", 0)  # an EXEC is not repeated, so nothing remembers it


class Within(Base):
    capabilities: Capabilities

    async def _join(self, queue: str, jobs: Sequence[JobSpec], pipe: object, asked: bool) -> Enqueued:
        """Adds within.lua to the pipeline; what plan.lua says would refuse it raises now, and leaves no trace.

        The configuration is watched because whoever moves a queue writes it too, and the keys where one is wanted: a
        change of either makes EXEC apply nothing. The size is looked at now, not again by EXEC.
        """
        if "within" not in self.capabilities.parts:
            raise Unsupported("within: a cluster's pipeline is no transaction that a queue could take part in")
        multi = Multi(pipe, self._port.where, blocking=self._port.blocking)
        await self._announce((queue,))
        keys = self._keys(queue)
        try:
            await self._check_server(multi)
            keyed = any(spec.unique is not None for spec in jobs)
            await multi.ask("WATCH", keys["conf"], *([keys["unique"]] if keyed else []))
            reply = await self._call("plan", queue, self._packed(jobs, asked, bodies=False))
            if reply[0] != 0:
                raise refused(queue, _NO_OP, reply)
        except BaseException:
            await multi.leave()
            raise
        receipts = [_receipt(spec, was.decode()) for spec, was in zip(jobs, reply[2], strict=True)]
        wanted = [spec for spec, was in zip(jobs, reply[2], strict=True) if _is_written(spec, was)]
        self._add(multi, queue, keys, wanted, asked)
        return Enqueued(now=reply[1], receipts=receipts)

    def _add(self, multi: Multi, queue: str, keys: Keys, jobs: Sequence[JobSpec], asked: bool) -> None:
        if jobs:
            script = self._scripts["within"]
            references = [f"{queue}/{spec.id}" for spec in jobs]
            by_name = [keys[name] for name in script.keys]
            multi.add(script, by_name, self._packed(jobs, asked), guard=keys["marker"], jobs=references)
        multi.close()

    def _packed(self, jobs: Sequence[JobSpec], asked: bool, *, bodies: bool = True) -> list[bytes | int]:
        """Arguments as those of enqueue.lua."""
        args: list[bytes | int] = [b"", 0, self._moved(), 0, len(jobs)]
        kind = 0
        for spec in jobs:
            one: list[bytes] = []
            kind = max(kind, pack_spec(spec, one))
            args += one if bodies else [one[0], one[1][:1], *one[2:]]
        args[3] = 3 if asked else kind
        return args

    async def _check_server(self, multi: Multi) -> None:
        """Raises InvalidOption for a pipeline of another server, or of another database of this one."""
        if multi.pool in self._joined:
            return
        (mine,) = await self._port.commands([(b"GET", self._store["store_id"])])
        theirs = await multi.ask("GET", self._store["store_id"])
        if (theirs.encode() if isinstance(theirs, str) else theirs) != mine:
            raise InvalidOption(
                f"within: this pipeline writes to another server or database than the queue's, {self._port.where}"
            )
        self._joined.add(multi.pool)


def _receipt(spec: JobSpec, was: str) -> Receipt:
    if was in ("", spec.id):
        return Receipt(spec.id, None)
    return Receipt(was.removeprefix("!"), False)


def _is_written(spec: JobSpec, was: bytes) -> bool:
    """Whether EXEC does something for this job: not where another one has its key and stays as it is."""
    return was in (b"", spec.id.encode()) or was.startswith(b"!")
