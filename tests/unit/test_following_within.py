"""Jobs in the caller's own transaction while their queue moves: refused where it left, asked for where it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from redis import Redis

from queuekit import QueueKit, Settings, Unique, ids
from queuekit.errors import Arriving, Conflict, Moved
from tests.two_stores import Move

KINDS = ["redis", "mongo"]


class Sides:
    """A queue that moves from one to the other, kits of both, and transactions of both."""

    def __init__(self, urls: dict[str, str], source: str) -> None:
        self.urls = urls
        self.source, self.target = source, next(kind for kind in KINDS if kind != source)
        self.namespace = f"w{ids.nonce()[:11]}"
        self.kits: list[QueueKit] = []
        self.move = Move(
            *(self.kit(kind).blocking_store() for kind in (self.source, self.target)),
            queue="q", names=(self.source, self.target),
        )  # fmt: skip

    def kit(self, kind: str, **said: Any) -> QueueKit:
        given = {"to_url": self.urls[self.target], "from_url": self.urls[self.source], "timeout": 2000, **said}
        settings = Settings(url=self.urls[kind], chosen_by="QUEUE_PROVIDER", namespace=self.namespace, **given)
        self.kits.append(QueueKit(settings=settings, name=f"within-{ids.nonce()[:8]}"))
        return self.kits[-1]

    @contextmanager
    def transaction(self, kind: str) -> Iterator[Any]:
        """What `within` takes; applied at the end, unless an error leaves it."""
        if kind == "redis":
            with Redis.from_url(self.urls["redis"]) as client, client.pipeline(transaction=True) as pipe:
                yield pipe
                pipe.execute()
        else:
            with (
                MongoClient[Any](self.urls["mongo"]) as client,
                client.start_session() as session,
                session.start_transaction(),
            ):
                yield session


@pytest.fixture(params=KINDS)
def sides(request: pytest.FixtureRequest, redis_url: str, mongo_url: str) -> Iterator[Sides]:
    made = Sides({"redis": redis_url, "mongo": mongo_url}, request.param)
    yield made
    for kit in made.kits:
        kit.close()


def enqueue(kit: QueueKit, many: bool, within: Any, **options: Any) -> Any:
    queue = kit.queue("q")
    if many:
        return kit.enqueue_many([queue.make("t", within=within, **options)])[0]
    return queue.enqueue("t", within=within, **options)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("phase", ["moving", "gone"])
def test_a_transaction_of_the_store_it_left_cannot_write_to_the_queue(sides: Sides, many: bool, phase: str) -> None:
    if phase == "moving":
        sides.move.begin()
    else:
        sides.move.through()
    kit = sides.kit(sides.source)
    refused = pytest.raises(Moved, match="a transaction of the store it left cannot write to it: set QUEUE_PROVIDER=")
    with refused as caught, sides.transaction(sides.source) as within:
        enqueue(kit, many, within, id="x")
    assert caught.value.to == sides.target
    assert "Nothing was enqueued" in str(caught.value)
    for kind in KINDS:
        assert sides.kit(kind).job("q/x").status() == "unknown"
    assert enqueue(kit, many, None, id="x").created, "without a transaction it is followed"


@pytest.mark.parametrize("many", [False, True])
def test_a_transaction_of_the_new_store_asks_where_jobs_still_come_from(sides: Sides, many: bool) -> None:
    old, new = sides.kit(sides.source), sides.kit(sides.target)
    old.queue("q").enqueue("t", id="x")
    old.queue("q").enqueue("t", id="keyed", unique="k")
    sides.move.begin()
    with sides.transaction(sides.target) as within:
        again = enqueue(new, many, within, id="x")
        held = enqueue(new, many, within, unique="k")
        fresh = enqueue(new, many, within, id="y")
        plain = enqueue(new, many, within)
    assert [(h.id, h.created) for h in (again, held)] == [("x", False), ("keyed", False)]
    assert [fresh.created, plain.created] == [None, None]
    assert [new.job(f"q/{h.id}").status() for h in (fresh, plain)] == ["waiting"] * 2
    while sides.move.carry():
        continue
    sides.move.open().gone().end()
    assert {job.id for job in new.find(queue="q").jobs} == {"x", "keyed", "y", plain.id}


def test_a_conflict_on_its_way_refuses_the_transaction(sides: Sides) -> None:
    sides.kit(sides.source).queue("q").enqueue("t", id="keyed", unique="k")
    sides.move.begin()
    kit = sides.kit(sides.target)

    def pay() -> None:
        with sides.transaction(sides.target) as within:
            enqueue(kit, False, within, id="before")
            enqueue(kit, False, within, unique=Unique("k", on_conflict="error"))

    with pytest.raises(Conflict):
        pay()
    assert kit.job("q/before").status() == "unknown"


def test_without_the_sources_url_a_transaction_with_an_own_id_is_refused(sides: Sides) -> None:
    sides.move.begin()
    kit = sides.kit(sides.target, from_url=None, to_url=None)
    with pytest.raises(Arriving, match="Set QUEUEKIT_FROM_URL"), sides.transaction(sides.target) as within:
        enqueue(kit, False, within, id="x")
