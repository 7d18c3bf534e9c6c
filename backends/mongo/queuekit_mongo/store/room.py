"""What the families of one store share: its port, its names, the time, and what it remembers between calls.

What is remembered is a hint or a shortcut; the documents decide. Everything here may be used by several threads.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final
from weakref import WeakSet

from queuekit import ids
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home, Op
from queuekit.errors import Arriving, Moved, Stale, StoreUnavailable
from queuekit.store.registry import StoreOptions
from queuekit_mongo import documents, queries
from queuekit_mongo.collections import JOBS, QUEUES, STORE, Names
from queuekit_mongo.moves import Draft
from queuekit_mongo.port import MongoPort
from queuekit_mongo.ranks import Ranks
from queuekit_mongo.statements import Write
from queuekit_mongo.wakeup import Listeners

FRESH: Final = 60_000  # ms for which nobody trusts what he read of a queue that a mover made known
CONF_AGE: Final = 1.0  # seconds for which a producer trusts the queue's document it read (seam.md 8)
CALLS_KEPT: Final = 10_000  # actors whose last call is remembered in this process
TALLY_AGE: Final = 0.01  # seconds between two writes of a queue's totals by a producer
MARK_AGE: Final = 0.25  # seconds for which a low-water mark may stand for a scan from the start
SKEW: Final = 10_000  # us by which two processes may know the server's time differently (`order_skew`)
VIEW_AGE: Final = 0.025  # seconds for which a queue that is drained at full speed is not looked at anew
CROWDED: Final = 1.0  # seconds for which others that were faster are taken to be still there
BRISK: Final = 1000  # jobs claimed here before either is done: the index remembers each for minutes, 25 ns a search
_ABSENT: Final[Mapping[str, Any]] = {}


@dataclass(slots=True)
class View:
    """A queue as its documents told a moment ago."""

    now: int
    doc: Mapping[str, Any]  # empty where the queue has none
    conf: QueueConf
    limits: Limits  # what of the configuration is in force
    due: int | None  # of the earliest delayed job
    at: float  # monotonic, before it was asked

    @property
    def paused(self) -> str | None:
        return self.limits.paused

    @property
    def base(self) -> int:
        """The first place of the room that a mover made before all; `lifo` goes before it."""
        return int(self.doc.get("base", 0))

    @property
    def floor(self) -> int:
        """Jobs of an epoch below came when the queue was gone: their producers were told so."""
        return int(self.doc.get("floor", 0))

    @property
    def epochs(self) -> int | documents.Document:
        """What a claim compares with a job's epoch: jobs that came in by a later one are not of this queue yet."""
        return {"$gte": self.floor, "$lte": self.conf.epoch} if self.conf.epoch else 0


@dataclass(slots=True)
class Call:
    """The last call of an actor; `answer` None while none is known."""

    n: int
    answer: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a process knows of a call that begins."""

    maybe: bool  # it may have been made before, here or in another process
    again: bool  # it was made here and its answer never came: what it did is in no total yet
    answer: Any  # what was answered, None where nothing is recorded


class Calls:
    """The last call of each actor that this process served: refuses older ones, answers repeats at once."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Call] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, op: Op) -> Begun:
        """What is known of this call. Raises Stale."""
        with self._lock:
            last = self._last.get(op.actor)
            if last is not None and op.n < last.n:
                raise Stale(f"call {op.n} of {op.actor} comes after its call {last.n}: it had no effect")
            if last is not None and op.n == last.n:
                return Begun(maybe=True, again=last.answer is None, answer=last.answer)
            self._last[op.actor] = Call(op.n)
            self._last.move_to_end(op.actor)
            if len(self._last) > CALLS_KEPT:
                self._last.popitem(last=False)
            return Begun(maybe=last is None, again=False, answer=None)

    def end(self, op: Op, answer: Any) -> None:
        """Record what was answered."""
        with self._lock:
            last = self._last.get(op.actor)
            if last is not None and last.n == op.n:
                last.answer = answer


@dataclass(slots=True)
class Mark:
    """Where the ready line began a moment ago, for as long as `until` (monotonic). There is one only while every
    call is answered with all it asked for."""

    priority: int
    place: int
    until: float


@dataclass(slots=True)
class Pending:
    """What a queue's totals are still to gain."""

    counts: dict[str, int] = field(default_factory=dict)
    written: float = 0.0


class Room:
    """One store's shared state."""

    def __init__(
        self, port: MongoPort, names: Names, options: StoreOptions, *, shift: Callable[[], int] | None = None
    ) -> None:
        self.port, self.names, self.options = port, names, options
        self.shift = shift or (lambda: 0)  # ms that tests put the server's clock forward
        self.ranks = Ranks()
        self.store_id = ""
        self.version = ""
        self.replica = False  # change streams and transactions are there
        self.calls = Calls()
        self.marks: dict[str, Mark] = {}
        self.own: set[Any] = set()  # sessions in which this store moved queues
        self.sessions: set[tuple[str, Any]] = set()  # (queue, session) that its document names as this mover's
        self.claimed: dict[str, int] = {}  # jobs this store claimed of each queue
        self.lane = ids.nonce()  # of what this store adds to totals
        self.crowds: dict[str, float] = {}  # until when many are taken to want the first jobs of a queue
        self.chosen: dict[str, set[str]] = {}  # jobs that calls of this store are claiming just now
        self.joined: WeakSet[Any] = WeakSet()  # clients of callers that were seen to be of this very store
        self.ended: set[str] = set()  # locks of schedules whose call here ended without a word
        self.gates = count(random.randrange(1 << 30))  # noqa: S311  which gate is next: those of one process never meet
        self.listeners = Listeners(port, names)
        self._views: dict[str, View] = {}
        self._pending: dict[str, Pending] = {}
        self._lock = threading.Lock()

    def through(self, wrap: Callable[[Any], Any]) -> None:
        """Call the driver through `wrap(port)` from now on."""
        self.port = wrap(self.port)
        self.listeners = Listeners(self.port, self.names)

    @property
    def limit(self) -> int:
        return self.options.payload_limit

    async def view(self, queue: str) -> View:
        """The queue now: one round trip."""
        sent = self.port.monotonic()
        docs = await self.port.aggregate(queries.head(self.names.collection(JOBS), self.names.queue(queue)))
        return self._told(queue, docs, sent)

    async def look(self, queue: str, limit: int) -> tuple[View, list[documents.Document]]:
        """The queue now, and its foremost jobs that may be claimed: one round trip."""
        names, sent = self.names, self.port.monotonic()
        key = names.queue(queue)
        docs = await self.port.aggregate(queries.look(names.collection(JOBS), names.collection(QUEUES), key, limit))
        jobs = [doc for doc in docs if "line" in doc]
        return self._told(queue, docs[len(jobs) :], sent), jobs

    def brisk(self, queue: str) -> View | None:
        """The queue as it was a moment ago, where calls follow each other and each gets all it asks for."""
        view, mark, moment = self._views.get(queue), self.marks.get(queue), self.port.monotonic()
        if view is None or mark is None or moment > min(mark.until, view.at + VIEW_AGE):
            return None
        now = self.now()
        return None if view.due is not None and view.due <= now else replace(view, now=now)

    def calm(self, queue: str) -> bool:
        """Whether the last look at a queue found nothing to be done before a claim."""
        view = self._views.get(queue)
        return view is not None and view.paused is None and (view.due is None or view.due > self.now())

    def _told(self, queue: str, docs: Sequence[documents.Document], sent: float) -> View:
        """What the documents of a `head` say."""
        received = self.port.monotonic()
        own, due, now = _ABSENT, None, 0
        for doc in docs:
            if "due" in doc:
                due = int(doc["due"])
            elif doc["_id"] == STORE:
                now = int(doc["now"])
            else:
                own = doc
        self.ranks.observe(now, sent, received)
        last = self._views.get(queue)
        if last is not None and all(last.doc.get(name) == own.get(name) for name in documents.CONF_FIELDS):
            conf, limits = last.conf, last.limits
        else:
            conf = documents.conf(own)
            limits = conf.effective
        view = View(now + self.shift(), own, conf, limits, due, sent)
        self._views[queue] = view
        return view

    async def recent(self, queue: str) -> View:
        """The queue as it was at most CONF_AGE ago, read anew where that is longer."""
        view = self._views.get(queue)
        return await self.view(queue) if view is None or not view.doc or self.is_old(view) else view

    def is_old(self, view: View) -> bool:
        """Whether a queue may have begun to move, and its mover waited as long as it must, since this was read."""
        if view.doc.get("fresh", 0) > view.now - FRESH:
            return True
        return self.port.monotonic() - view.at > CONF_AGE or self.now() - view.now > CONF_AGE * 1000

    async def ensure(self, queue: str, **said: object) -> None:
        """Let the queue have its document, if the last look at it saw none."""
        view = self._views.get(queue)
        if view is None or not view.doc:
            await self.port.bulk(QUEUES, [queries.ensure(self.names.queue(queue), **said)])

    def forget(self, queue: str) -> None:
        """Drop what was remembered of a queue."""
        self._views.pop(queue, None)
        self.marks.pop(queue, None)

    # ------------------------------------------------------------------ claims on their way

    def choose(self, queue: str, ids: Sequence[str]) -> None:
        """A call is about to claim these: others of this store leave them alone."""
        with self._lock:
            self.chosen.setdefault(queue, set()).update(ids)

    def unchoose(self, queue: str, ids: Sequence[str]) -> None:
        with self._lock:
            self.chosen[queue].difference_update(ids)

    def free(self, queue: str, docs: list[documents.Document]) -> list[documents.Document]:
        """Of candidates, those that no other call of this store is about to claim."""
        chosen = self.chosen.get(queue)
        return [doc for doc in docs if doc["_id"] not in chosen] if chosen else docs

    # ------------------------------------------------------------------ time

    def now(self) -> int:
        """The store's time as far as it is known without asking: never ahead of it."""
        us = self.ranks.now_us(self.port.monotonic())
        assert us is not None, "open() learned the store's time"
        return us // 1000 + self.shift()

    def back(self) -> int:
        return self.ranks.back(1, self.port.monotonic())

    def cut(self) -> int:
        """A place behind all that any process gave up to now."""
        return self.ranks.cut(SKEW, self.port.monotonic())

    def front_of_all(self) -> int:
        """More than what `lifo` counted down by now."""
        us = self.ranks.now_us(self.port.monotonic())
        assert us is not None, "open() learned the store's time"
        return us

    def draft(self, doc: documents.Document, view: View) -> Draft:
        """A draft of what becomes of a document."""
        return Draft(doc, now=view.now, conf=view.conf, back=self.back)

    # ------------------------------------------------------------------ totals

    def tally(self, queue: str, counts: Mapping[str, int]) -> None:
        """Note what happened; it rides in the queue's next write."""
        if counts:
            with self._lock:
                mine = self._pending.setdefault(queue, Pending()).counts
                for name, count in counts.items():
                    mine[name] = mine.get(name, 0) + count

    def take_totals(self, queue: str, *, age: float = 0.0) -> dict[str, int]:
        """What is to be written now: nothing where the last write is younger than `age` seconds."""
        with self._lock:
            pending = self._pending.get(queue)
            moment = self.port.monotonic()
            if pending is None or not pending.counts or moment - pending.written < age:
                return {}
            counts, pending.counts, pending.written = pending.counts, {}, moment
            return counts

    async def flush(self, queue: str, *, age: float = 0.0) -> None:
        """Write totals that ride with nothing. Raises nothing for a store that is away: the work itself is done."""
        counts = self.take_totals(queue, age=age)
        if not counts:
            return
        try:
            await self.port.tally(JOBS, self.totals(queue, counts))
        except StoreUnavailable as error:
            if error.outcome == "refused":  # else they may be counted already, and must not be twice
                self.tally(queue, counts)

    def totals(self, queue: str, counts: Mapping[str, int]) -> Write:
        """The write that adds to a queue's totals: to a document of this store's own, where they can be merged."""
        key = self.names.addition(queue, self.lane) if self.replica else self.names.totals(queue)
        return queries.add_totals(key, counts, self.now())

    async def flush_all(self) -> None:
        for queue in list(self._pending):
            await self.flush(queue)


def elsewhere(view: View, queue: str, asked: bool) -> Moved | Arriving | None:
    """What a producer is told whose jobs are not to be taken here, or not yet."""
    home, to = view.conf.home, view.conf.to
    if home in (Home.MOVING, Home.GONE):
        return Moved(f"queue {queue} is {home}: it lives in {to or 'another store'}", to=to)
    if to is not None and not asked:
        return Arriving(f"queue {queue}: jobs are still coming from {to}: ask there first", to=to)
    return None
