"""Where a queue lives that its own store calls moved: the store of that name by this process's settings, opened.

A URL is never taken from a database. What is done in the other store is decided in following.py and seeking.py.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from queuekit.errors import Arriving, ConfigError, Moved
from queuekit.producing.access import Access, Entry
from queuekit.producing.roads import Road
from queuekit.settings.choice import FROM, TO, kind

if TYPE_CHECKING:
    from queuekit.settings import Settings

_log = logging.getLogger("queuekit")
_POINT_THERE = {
    "QUEUEKIT_URL": "QUEUEKIT_URL to its URL",
    "QueueKit(url=…)": "the URL in QueueKit(url=…)",
    "QueueKit(client=…)": "the client in QueueKit(client=…)",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A store, open, that a call went to."""

    entry: Entry
    road: Road


def own(access: Access, at: Entry) -> Place:
    """The store that this process was told to use."""
    settings = access.settings
    return Place(at, Road(settings.url, settings.chosen_by, kind(settings.url)))


async def other(access: Access, at: Entry, queue: str, said: Moved, here: Place, came: Place | None) -> Place:
    """The store that `here` names in `said`, open; `came` is where we were before. Raises Moved where none can be."""
    name, forward = said.to or "", not isinstance(said, Arriving)
    try:
        road = _road(access.settings, name, here.road, None if came is None else came.road, forward=forward)
    except ConfigError as error:
        raise lost(access, queue, said, f"what it has is wrong: {error}") from error
    if road is None:
        raise lost(access, queue, said, "and this process has no URL of it")
    if road.url == access.settings.url:
        return own(access, at)
    wrong = _absent(road)
    if wrong is not None:
        raise lost(access, queue, said, wrong)
    try:
        entry = await at.ask(partial(access.beside(road.url, road.origin).opened, at))
    except ConfigError as error:
        raise lost(access, queue, said, f"which cannot be opened here ({road.origin}): {error}") from error
    return Place(entry, road)


def lost(access: Access, queue: str, said: Moved, why: str) -> Moved:
    """The error of a caller whose queue cannot be followed. It says which variable to set."""
    to, variable = said.to or "?", "QUEUEKIT_FROM_URL" if isinstance(said, Arriving) else "QUEUEKIT_TO_URL"
    if isinstance(said, Arriving):
        return Arriving(
            f"queue {queue!r}: its jobs are still coming from {to}, which must be asked for ids and unique keys first,"
            f" {why}. Set {variable} to its URL",
            to=said.to,
        )
    return Moved(
        f"queue {queue!r} lives in {to} now, {why}. Set {variable} to its URL and the queue is followed there, or point"
        f" this process to it: {point_there(access, to)}",
        to=said.to,
    )


def not_within(access: Access, queue: str, said: Moved) -> Moved:
    """The error of a caller in a transaction of the store that his queue left."""
    to = said.to or "?"
    return Moved(
        f"queue {queue!r} lives in {to} now, and a transaction of the store it left cannot write to it:"
        f" {point_there(access, to)}, or enqueue without within=",
        to=said.to,
    )


def undecided(queue: str, said: Moved, why: str) -> Moved:
    """The error of a caller whose queue is on its way for longer than a call may last."""
    error = Arriving if isinstance(said, Arriving) else Moved
    return error(
        f"queue {queue!r} is on its way, {why}: try again, and queuekit migrate --resume if no mover runs", to=said.to
    )


def tell(access: Access, queue: str, road: Road) -> None:
    """One line for each queue that is followed: it costs round trips, and somebody forgot this process."""
    if access.roads.first_time(queue, road.name):
        _log.warning(
            "queue %s lives in %s now: its jobs are sent on there (by %s). Point this process to it: %s",
            queue, road.name, road.origin, point_there(access, road.name),
        )  # fmt: skip


def point_there(access: Access, name: str) -> str:
    """What to change so that this process uses the other store by itself."""
    settings, provider = access.settings, kind(name)
    default = "QUEUE_PROVIDER={name}" if provider != kind(settings.url) else "QUEUEKIT_URL to its URL"
    return "set " + _POINT_THERE.get(settings.chosen_by, default).format(name=provider)


def _road(settings: Settings, name: str, here: Road, came: Road | None, *, forward: bool) -> Road | None:
    """By what was said of the move; else back where we came from; else by the provider's own variables."""
    wanted = kind(name)
    said = [("QUEUEKIT_TO_URL", settings.to_url), ("QUEUEKIT_FROM_URL", settings.from_url)]
    if name.endswith(FROM) or not (forward or name.endswith(TO)):
        said.reverse()
    for variable, url in said:
        if url is not None and kind(url) == wanted and url != here.url:
            return Road(url, variable, name)
    if came is not None and kind(came.url) in (wanted, ""):
        return Road(came.url, came.origin, name)
    if here.url != settings.url and kind(settings.url) == wanted:
        return Road(settings.url, settings.chosen_by, name)
    choice = settings.named(name)
    if choice is None or choice.url == here.url:
        return None
    return Road(choice.url, choice.chosen_by, name)


def _absent(road: Road) -> str | None:
    """A file that is not there is not the one jobs went to; opening it would make an empty one."""
    scheme, _, path = road.url.partition(":///")
    if scheme != "sqlite" or Path(unquote(path.partition("?")[0])).expanduser().exists():
        return None
    return f"and there is no file {unquote(path)} ({road.origin})"
