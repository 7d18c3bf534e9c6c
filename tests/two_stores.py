"""Two stores between which a queue moves, one step at a time: what `queuekit migrate` does, for tests of who follows.

Over the model store as `red://` and `blue://`, or over any two stores. No rule of the real mover is tested here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from queuekit import QueueKit, Settings, clock, ids
from queuekit.domain.moving import Parcel
from queuekit.domain.outcome import Home
from queuekit.producing.access import Access
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.testing.clock import VirtualClock
from queuekit.testing.model import ModelStore, ModelWorld

R = TypeVar("R")
ROOM = 10_000


class Worlds:
    """Model stores by URL scheme, `red` and `blue` unless said otherwise; every kit made here is closed at the end."""

    def __init__(self, *names: str, real: bool = False) -> None:
        self.clock = VirtualClock()
        now = clock.now_ms if real else self.clock.ms
        self.worlds = {name: ModelWorld(now) for name in names or ("red", "blue")}
        self.opened: list[str] = []  # the schemes of stores, as they were opened
        self.kits: list[QueueKit] = []

    def kit(self, url: str = "red://", **settings: Any) -> QueueKit:
        """A kit of that world that knows the other one, unless `to_url` and `from_url` say otherwise."""
        given: dict[str, Any] = {"to_url": "blue://", "from_url": "red://", "timeout": 2000, **settings}
        kit = QueueKit(settings=Settings(url=url, chosen_by="QUEUEKIT_URL", **given), name=f"worlds-{ids.nonce()[:8]}")
        kit.access = _WorldAccess(kit, self)
        self.kits.append(kit)
        return kit

    def store(self, name: str) -> ModelStore:
        """A store of that world, to look at and to drive."""
        return ModelStore(self.worlds[name], namespace="queuekit", blocking=True)

    def ids(self, name: str, queue: str = "q") -> set[str]:
        """The jobs of a queue in that world."""
        return set(self.store(name).peek(queue).jobs)

    def move(self, queue: str = "q", source: str = "red", target: str = "blue") -> Move:
        """The move of a queue, not begun."""
        return Move(self.store(source), self.store(target), queue=queue, names=(source, target))


class _WorldAccess(Access):
    def __init__(self, kit: QueueKit, worlds: Worlds) -> None:
        super().__init__(lambda: kit.settings)
        self._worlds = worlds

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        name = settings.url.partition("://")[0]
        self._worlds.opened.append(name)
        world = self._worlds.worlds[name]
        return ModelStore(world, namespace=settings.namespace, blocking=blocking, limit=settings.payload_limit)


class Move:
    """The mover's steps between two stores whose methods never suspend. Each authority has a higher epoch."""

    def __init__(self, source: Any, target: Any, *, queue: str, names: tuple[str, str]) -> None:
        self.source, self.target, self.queue = source, target, queue
        self.source_name, self.target_name = names
        self.by, self.epoch, self.batch, self.rank, self.base = ids.nonce(), 0, 0, 0, 0
        self.epochs: dict[int, int] = {}  # by store

    def say(self, store: Any, home: Home, to: str | None, room: int = 0) -> None:
        """Another authority at a store."""
        self.epoch = max(self.epoch, *(self._do(s.conf(self.queue)).epoch for s in (self.source, self.target))) + 1
        self.epochs[id(store)] = self.epoch
        standing = self._do(store.authority(self.queue, self.epoch, self.by, home, to, room=room))
        self.base = standing.base or self.base

    def arrive(self) -> Move:
        self.say(self.target, Home.ARRIVING, self.source_name, ROOM)
        return self

    def leave(self) -> Move:
        self.say(self.source, Home.MOVING, self.target_name)
        return self

    def begin(self) -> Move:
        """The target takes jobs, the source takes none."""
        return self.arrive().leave()

    def out(self, limit: int = 1000) -> list[Parcel]:
        """Jobs leave their lines at the source."""
        self.batch += 1
        return self._do(self.source.checkout(self.queue, self.epochs[id(self.source)], self.batch, limit, history=True))

    def bring(self, parcels: list[Parcel]) -> None:
        """They are taken in at the target."""
        for parcel in parcels:
            self.rank += 1
            parcel.record.place = self.base + self.rank
        clashes = self._do(
            self.target.import_batch(self.queue, self.epochs[id(self.target)], self.batch, parcels, [], b"")
        )
        assert clashes == []

    def forget(self, parcels: list[Parcel]) -> None:
        """They are removed from the source."""
        names = [parcel.record.id for parcel in parcels]
        said = self._do(self.source.confirm(self.queue, self.epochs[id(self.source)], self.batch, names))
        assert said.removed == len(names)

    def carry(self, limit: int = 1000) -> int:
        """One batch, whole; how many."""
        parcels = self.out(limit)
        if parcels:
            self.bring(parcels)
            self.forget(parcels)
        return len(parcels)

    def hold(self) -> Move:
        """Held copies of what runs at the source."""
        self.batch += 1
        self.bring(self._do(self.source.running(self.queue, "", 1000)))
        return self

    def open(self) -> Move:
        """The commit point."""
        self.say(self.target, Home.HERE, self.source_name)
        return self

    def gone(self) -> Move:
        self.say(self.source, Home.GONE, self.target_name)
        return self

    def end(self) -> Move:
        """Nothing comes any more."""
        self.say(self.target, Home.HERE, None)
        return self

    def through(self) -> Move:
        """All of it, with nothing running."""
        self.begin()
        while self.carry():
            continue
        return self.open().gone().end()

    def back(self) -> Move:
        """The same the other way round, not begun."""
        other = Move(self.target, self.source, queue=self.queue, names=(self.target_name, self.source_name))
        other.batch = self.batch  # numbers that a store has seen mean what they meant then
        return other

    def _do(self, call: Coroutine[Any, Any, R]) -> R:
        return direct(call)
