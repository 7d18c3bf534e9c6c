"""Where a queue stands between two stores, from what both say of it. Pure: whoever asks has read both."""

from __future__ import annotations

from queuekit.domain.limits import QueueConf
from queuekit.domain.outcome import Home
from queuekit.move.values import Standing


def standing(source: QueueConf, target: QueueConf, source_name: str, target_name: str) -> Standing:
    """The standing of a queue for a move from `source_name` to `target_name`."""
    towards, comes = source.to == target_name, target.to == source_name
    if source.to is not None and not towards:
        return Standing.ELSEWHERE
    if source.home is Home.HERE and source.to is None:
        return _here(target, comes=comes)
    if source.home in (Home.ARRIVING, Home.HERE):
        return Standing.BACK
    if target.home is Home.MOVING:
        return Standing.BACK if comes and source.home is Home.MOVING else Standing.ELSEWHERE
    if comes and target.home in (Home.ARRIVING, Home.HERE):
        return Standing.ARRIVING if target.home is Home.ARRIVING else Standing.OPEN
    if source.home is Home.GONE:
        return Standing.MOVED if target.home is not Home.GONE else Standing.ELSEWHERE
    return Standing.BEHIND if target.epoch > source.epoch else Standing.LOST


def _here(target: QueueConf, *, comes: bool) -> Standing:
    """The source has the queue, and has not been told of a move."""
    if target.home is Home.GONE or (target.home is Home.HERE and target.to is None):
        return Standing.HERE
    if comes and target.home is not Home.MOVING:  # open, and the source knows nothing: it rolled back
        return Standing.ARRIVING if target.home is Home.ARRIVING else Standing.OPEN
    return Standing.ELSEWHERE
