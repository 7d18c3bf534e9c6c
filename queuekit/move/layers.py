"""What a queue's configuration becomes when it moves: pauses, limits, retention, in their two layers."""

from __future__ import annotations

from dataclasses import replace

from queuekit.domain.limits import Limits, QueueConf
from queuekit.errors import Conflict
from queuekit.move.end import End

_NOTHING = Limits()
_TRIES = 10  # somebody else may write between the two calls


def carried(source: QueueConf, target: QueueConf, *, returned: bool) -> QueueConf:
    """The target's configuration with the source's layers in it.

    A declaration of its own stays: the code that runs there wrote it. Of two overrides the later counts: a pause must
    neither be lost on the way nor come back. A target that had given the queue away (`returned`) has no own ones.
    """
    declared, override = target.declared, target.override
    if returned or _says_nothing(declared):
        declared = source.declared
    if returned or _says_nothing(override) or override.at <= source.override.at:
        override = source.override
    return replace(target, declared=declared, override=override)


async def carry(source: End, target: End, *, returned: bool) -> None:
    """Write them. Raises Unsupported where the target lacks a part: nothing was written then."""
    theirs = await source.conf()
    for _ in range(_TRIES):
        mine = await target.conf()
        wanted = carried(theirs, mine, returned=returned)
        if (wanted.declared, wanted.override) == (mine.declared, mine.override):
            return
        try:
            await target.ask(target.store.configure, target.queue, wanted)
        except Conflict:
            continue
        return
    raise Conflict(f"queue {target.queue}: its configuration at {target.name} changes all the time; --resume goes on")


def _says_nothing(layer: Limits) -> bool:
    return layer.digest == _NOTHING.digest
