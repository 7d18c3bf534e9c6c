"""`enqueue` inside a view of Flask and of Django beside the bare call: python -m tests.bench.views [--stores redis].

Each round asks all of them in turn, so that what the machine does meanwhile meets all alike. Times are of one call.
A job that waits for a commit stands beside `transaction.on_commit` by hand; the empty transaction is taken off both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Final, TypeAlias

from queuekit import QueueKit, Task, ids
from queuekit.clock import perf
from queuekit.testing.servers import MongoServer, RedisServer

ASKED: Final = 1.3  # times the bare call
CALLS: Final = {"sqlite": 40, "redis": 150, "mongo": 20}  # of one kind in one round
STORES: Final = tuple(CALLS)
COMMIT, BY_HAND = "django, on commit", "on_commit by hand"
FLOORS: Final = {COMMIT: BY_HAND}  # of the others it is the bare call
Views: TypeAlias = dict[str, Callable[[int], object]]  # what each does so many times


def views(url: str) -> Views:
    """The views and the bare call, all on one store."""
    namespace = f"bench{ids.nonce()[:8]}"
    bare = QueueKit(url, name="bare", namespace=namespace)
    task = bare.task("charge", queue="views")(_charge)

    def call(n: int) -> None:
        for _ in range(n):
            task.enqueue("ada@example.com", cents=1250)

    return {"bare": call, "flask": _flask(url, namespace), **_django(url, namespace, task)}


def _charge(to: str, cents: int) -> None:
    """What the jobs would do."""


def _flask(url: str, namespace: str) -> Callable[[int], object]:
    from flask import Flask

    from queuekit.contrib.flask import FlaskKit

    kit, app = FlaskKit(name="flask"), Flask("views")
    app.config.update(QUEUEKIT_URL=url, QUEUEKIT_NAMESPACE=namespace)
    kit.init_app(app)
    task = kit.task("charge", queue="views")(_charge)

    @app.get("/")
    def view(n: int) -> str:
        for _ in range(n):
            task.enqueue("ada@example.com", cents=1250)
        return "queued"

    def run(n: int) -> str:
        with app.test_request_context("/"):
            return view(n)

    return run


def _django(url: str, namespace: str, bare: Task[..., None]) -> Views:
    import django
    from django.conf import settings

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["queuekit.contrib.django"], DATABASES={"default": database}, USE_TZ=True, SECRET_KEY="-"
        )
        django.setup()
    from django.db import transaction
    from django.http import HttpRequest, HttpResponse
    from django.test import RequestFactory

    from queuekit.contrib.django import DjangoKit

    kit = DjangoKit(url, name="django", namespace=namespace)
    task = kit.task("charge", queue="views")(_charge)
    request = RequestFactory().get("/")

    def view(request: HttpRequest, n: int) -> HttpResponse:
        for _ in range(n):
            task.enqueue("ada@example.com", cents=1250)
        return HttpResponse("queued")

    def each_in_a_transaction(request: HttpRequest, n: int) -> HttpResponse:
        for _ in range(n):
            with transaction.atomic():
                task.enqueue("ada@example.com", cents=1250)
        return HttpResponse("queued")

    def by_hand(request: HttpRequest, n: int) -> HttpResponse:
        for _ in range(n):
            with transaction.atomic():
                transaction.on_commit(lambda: bare.enqueue("ada@example.com", cents=1250))
        return HttpResponse("queued")

    def empty_transactions(request: HttpRequest, n: int) -> HttpResponse:
        for _ in range(n):
            with transaction.atomic():
                pass
        return HttpResponse("queued")

    return {
        "django": lambda n: view(request, n),
        COMMIT: lambda n: each_in_a_transaction(request, n),
        BY_HAND: lambda n: by_hand(request, n),
        "empty": lambda n: empty_transactions(request, n),
    }


def measured(url: str, calls: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(microseconds, microseconds of CPU) a call, by kind, one a round."""
    kinds, took = views(url), dict[str, list[tuple[float, float]]]()
    for run in kinds.values():
        run(3)  # connects, and loads what is loaded once
    for turn in range(rounds):
        names = list(kinds)
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            begun, cpu = perf(), time.process_time()
            kinds[name](calls)
            took.setdefault(name, []).append(
                ((perf() - begun) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6)
            )
    empty = took.pop("empty")
    for name in (COMMIT, BY_HAND):
        took[name] = [(a - c, b - d) for (a, b), (c, d) in zip(took[name], empty, strict=True)]
    return took


def report(store: str, took: dict[str, list[tuple[float, float]]]) -> bool:
    """A line a kind; whether all keep what is asked."""
    kept = True
    for name, rounds in took.items():
        floor = took[FLOORS.get(name, "bare")]
        times = [one for one, _ in rounds]
        low, ratio, high = quantiles([one / least for one, (least, _) in zip(times, floor, strict=True)], n=4)
        cpu = median(cpu for _, cpu in rounds)
        cpu_ratio = cpu / median(cpu for _, cpu in floor)
        kept = kept and (ratio <= ASKED or name == BY_HAND)
        print(
            f"{store:<7} {name:<18} {median(times):8.1f} us  {ratio:5.2f} x  ({low:.2f} to {high:.2f})"
            f"   CPU {cpu:7.1f} us  {cpu_ratio:5.2f} x of {FLOORS.get(name, 'bare')}"
        )
    return kept


@contextmanager
def served(store: str) -> Iterator[str]:
    """The URL of a store of one's own."""
    if store == "sqlite":
        with tempfile.TemporaryDirectory(prefix="queuekit-views-") as folder:
            yield f"sqlite:///{folder}/jobs.db"
        return
    with RedisServer() if store == "redis" else MongoServer() as server:
        yield server.url


def main() -> int:
    """Measure, print, and answer 1 where a view is dearer than is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default="sqlite,redis")
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    kept = []
    for store in asked.stores.split(","):
        with served(store) as url:
            kept.append(report(store, measured(url, CALLS[store], asked.rounds)))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
