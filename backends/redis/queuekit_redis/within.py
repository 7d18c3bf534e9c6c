"""Pipelines of the caller: which ones are taken, what they watch for us, and who looks at the replies of EXEC.

Nothing here knows a store's keys or scripts. Redis has no rollback: what refuses must be found before, under WATCH.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.client
import redis.client
from redis.exceptions import RedisError, WatchError

from queuekit.errors import EnqueueNotApplied, InvalidOption, QueueKitError
from queuekit_redis.replies import translate
from queuekit_redis.scripts import Script

_EVAL: Final = b"EVAL"  # as bytes: redis-py then asks our callback for the reply, not one the application may have set


class Multi:
    """A caller's pipeline, checked. Raises InvalidOption for what is none, or cannot be joined in its state."""

    def __init__(self, pipe: Any, where: str, *, blocking: bool) -> None:
        kind, other = redis.client.Pipeline, redis.asyncio.client.Pipeline
        if not isinstance(pipe, kind | other):
            raise InvalidOption(_no_pipeline(pipe))
        if isinstance(pipe, other if blocking else kind):
            said = "an asyncio pipeline goes with aenqueue()" if blocking else "a blocking pipeline goes with enqueue()"
            raise InvalidOption(f"within: {said}")
        if not getattr(pipe, "transaction" if blocking else "is_transaction"):
            raise InvalidOption("within: this pipeline is no transaction: make it with pipeline(transaction=True)")
        if pipe.watching and not pipe.explicit_transaction:
            raise InvalidOption("within: call multi() of this pipeline first; behind watch() alone it runs at once")
        self.pipe: Any = pipe
        self.pool: Any = pipe.connection_pool
        self.where = where
        self._watched, self._connected = pipe.watching, pipe.connection is not None

    async def ask(self, *command: Any) -> Any:
        """One command now, before the MULTI. redis-py raises WatchError where the watched connection was lost."""
        try:
            reply = self.pipe.immediate_execute_command(*command)
            return await reply if inspect.isawaitable(reply) else reply
        except WatchError:
            raise
        except (RedisError, OSError) as error:
            raise translate(error, self.where, sent=False) from error

    async def leave(self) -> None:
        """Nothing was added: the pipeline is as it came."""
        pipe = self.pipe
        if pipe.watching and not self._watched:
            with suppress(QueueKitError, WatchError):  # then the connection is gone, and its watches with it
                await self.ask("UNWATCH")
        if pipe.connection is not None and not self._connected and not pipe.watching:
            connection, pipe.connection = pipe.connection, None
            released = self.pool.release(connection)
            if inspect.isawaitable(released):
                await released

    def add(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, guard: bytes, jobs: Sequence[str]
    ) -> None:
        """Put a script behind what is in the MULTI. EVAL, since an EVALSHA could find the script gone.

        The guard writes nothing, but makes a server without memory refuse the whole EXEC: EVAL alone does not.
        `jobs` are the references it brings, for whoever must enqueue them again.
        """
        pipe = self.pipe
        if _EVAL not in pipe.response_callbacks:
            pipe.response_callbacks = copy.copy(pipe.response_callbacks)
            pipe.response_callbacks[_EVAL] = _answered
        pipe.pipeline_execute_command("ZADD", guard, "XX", 0, "-")
        pipe.pipeline_execute_command(_EVAL, script.text, len(keys), *keys, *args, queuekit=jobs)

    def close(self) -> None:
        """From now on commands are gathered, although the pipeline watches."""
        self.pipe.explicit_transaction = True


def _no_pipeline(thing: Any) -> str:
    if isinstance(thing, redis.Redis | redis.asyncio.Redis):
        return "within takes a pipeline, not the client: pipe = client.pipeline(transaction=True)"
    if "ClusterPipeline" in type(thing).__name__:
        return "within: a cluster's pipeline cannot watch and write in one transaction with a queue"
    return f"within takes a pipeline of redis-py on the queue's own server, not {type(thing).__qualname__}"


def _answered(reply: Any, queuekit: Sequence[str] | None = None, **_: Any) -> Any:
    """The reply of within.lua inside EXEC: how many jobs are new. Another EVAL's reply goes through."""
    if queuekit is None:
        return reply
    code, *rest = reply
    if code == 0:
        return rest[0]
    said = [part.decode() if isinstance(part, bytes) else f"{part}" for part in rest if part is not None]
    why = f"the queue is {said[0]}, it lives in {said[-1]}" if code == 3 else said[0]
    raise EnqueueNotApplied(
        f"Redis applied your transaction, but not the enqueue in it: {why} ({len(queuekit)} jobs, {queuekit[0]}"
        " the first). Enqueue them again, with the same ids",
        jobs=queuekit,
    )
