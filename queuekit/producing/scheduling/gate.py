"""Which of two stores a queue's schedules belong to while one is told where its queues come from (QUEUEKIT_FROM_URL).

Workers of a new store may run beside those of the old one before the move: schedules must not fire at both.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from queuekit import clock
from queuekit.domain.outcome import Home
from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, StoreUnavailable
from queuekit.producing.access import Access, Entry
from queuekit.producing.scheduling.root import Root, schedules_in

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_log = logging.getLogger("queuekit")
FROM: Final = "QUEUEKIT_FROM_URL"
_REMEMBERED: Final = 5.0  # seconds until the other store is asked again
_FOR_EVER: Final = float("inf")


@dataclass(slots=True)
class _Known:
    """What one process knows of the store its queues come from."""

    answers: dict[str, tuple[float, bool]] = field(default_factory=dict)  # by queue: until when, whether it is ours
    queues: tuple[float, frozenset[str]] = (0.0, frozenset())
    told: set[str] = field(default_factory=set)
    same: bool | None = None  # it is the own store, spelled differently or not


_known: Final[weakref.WeakKeyDictionary[Access, _Known]] = weakref.WeakKeyDictionary()


async def fires_here(kit: QueueKit, at: Entry, queue: str) -> bool:
    """Whether schedules of the queue may be declared in, and fired from, this process's own store.

    False while the store that QUEUEKIT_FROM_URL names has the queue, or cannot be asked. Unset, nothing is asked.
    """
    if kit.access.settings.from_url in (None, kit.access.settings.url):
        return True
    known = _known.setdefault(kit.access, _Known())
    until, answer = known.answers.get(queue, (0.0, False))
    now = clock.monotonic()
    if now >= until or (not answer and await _on_its_way(at, queue)):  # its slots must not wait for our memory
        until, answer = await _ask(kit, at, queue, known, now)
        known.answers[queue] = (until, answer)
    return answer


async def root(kit: QueueKit, at: Entry, queue: str) -> Root:
    """The store from which the way to a queue's schedules begins: the own one, or that of QUEUEKIT_FROM_URL."""
    if await fires_here(kit, at, queue):
        return Root(kit.access, at)
    return await source(kit, at)


async def source(kit: QueueKit, at: Entry) -> Root:
    """The store that QUEUEKIT_FROM_URL names."""
    access = kit.access.beside(str(kit.access.settings.from_url), FROM)
    return Root(access, await at.ask(partial(access.opened, at)))


async def _ask(kit: QueueKit, at: Entry, queue: str, known: _Known, now: float) -> tuple[float, bool]:
    soon = now + _REMEMBERED
    own = await at.ask(partial(at.store.conf, queue))
    if own.home is not Home.HERE or own.to is not None:
        return soon, True  # it is on its way: the stores themselves let one of the two fire, or none
    try:
        old = (await source(kit, at)).at
        if known.same is None:
            known.same = (await old.ask(old.store.ping)).store_id == (await at.ask(at.store.ping)).store_id
        if known.same or not schedules_in(old.store):
            return _FOR_EVER, True
        conf = await old.ask(partial(old.store.conf, queue))
        if conf.home is not Home.HERE or conf.to is not None:
            return _FOR_EVER if conf.home is Home.GONE else soon, True
        if conf.rev == 0 and conf.epoch == 0 and queue not in await _queues(old, known, now):
            return soon, True
    except ConfigError as error:
        _tell(known, "queuekit", f"{FROM} names no store that could have schedules of ours: {redact(str(error))}")
        return _FOR_EVER, True
    except StoreUnavailable as error:
        if own.epoch > 0:  # it came here some time ago: the store it left may be gone for good
            return soon, True
        _tell(known, queue, f"queue {queue}: its schedules do not fire here as long as {FROM} cannot be asked whether"
              f" it has them: {redact(str(error))}")  # fmt: skip
        return soon, False
    _tell(known, queue, f"queue {queue}: its schedules fire in the store of {FROM} until the queue has moved here")
    return soon, False


async def _on_its_way(at: Entry, queue: str) -> bool:
    conf = await at.ask(partial(at.store.conf, queue))
    return conf.home is not Home.HERE or conf.to is not None


async def _queues(old: Entry, known: _Known, now: float) -> frozenset[str]:
    until, queues = known.queues
    if now >= until:
        queues = frozenset(await old.ask(old.store.queues))
        known.queues = (now + _REMEMBERED, queues)
    return queues


def _tell(known: _Known, about: str, message: str) -> None:
    if about not in known.told:
        known.told.add(about)
        _log.warning(message)
