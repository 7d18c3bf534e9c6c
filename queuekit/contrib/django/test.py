"""Jobs in the tests of a Django project: `QueueTestMixin` for its test cases, or `queue_testing()` as a block.

Jobs live in memory, under a clock that travels; handlers see the data of the test, whose transaction never commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async

from queuekit import JSON, Job, Task
from queuekit.contrib.django import conf, connections
from queuekit.contrib.django.project import DjangoKit, get_kit
from queuekit.contrib.django.transactions import OpenTransactions
from queuekit.errors import ConfigError
from queuekit.runtime.executors import Raised, Threads
from queuekit.testing import TestKit, VirtualClock, isolated
from queuekit.testing.drain import drain

if TYPE_CHECKING:
    from django.test import SimpleTestCase as _Case
else:
    _Case = object

__all__ = ["QueueTestMixin", "Queues", "queue_testing"]


class Queues:
    """The jobs of a test. What waits for the test's own transaction counts as committed; what waits for an
    `atomic()` of the code under test does not before that ends.
    """

    clock: VirtualClock
    kit: TestKit

    def __init__(self, kit: TestKit) -> None:
        self.kit = kit
        self.clock = kit.clock

    def drain(self, queue: str | None = None) -> list[Job]:
        """Run what is due, and what that enqueues, in this thread and its transaction; the jobs that ran.

        A job that fails with attempts left waits for its backoff: `clock.travel(...)`, and drain again.
        """
        if _loop_runs():
            raise RuntimeError("drain() inside a running event loop: await adrain() instead")
        return async_to_sync(self.adrain)(queue)

    async def adrain(self, queue: str | None = None) -> list[Job]:
        """See `drain`. Plain functions run in the thread of the test's transaction, as under `sync_to_async`."""
        ran: list[Job] = []
        while True:
            self.commit()
            more = await drain(self.kit, queue, threads=_TestThread(1))
            if not more:
                return ran
            ran += more

    def jobs(self, task: Task[..., Any] | str | None = None, *, queue: str | None = None) -> list[Job]:
        """Every job that is kept, in the order they were made."""
        self.commit()
        return self.kit.jobs(task, queue=queue)

    def assert_enqueued(
        self,
        task: Task[..., Any] | str,
        payload: Mapping[str, JSON] | None = None,
        *,
        queue: str | None = None,
        times: int | None = None,
    ) -> list[Job]:
        """The jobs of a task whose payload holds at least `payload`; AssertionError where there are none, or not
        `times` (0: none at all).
        """
        self.commit()
        return self.kit.assert_enqueued(task, payload, queue=queue, times=times)

    def commit(self) -> None:
        """Write what waits for the test's own transaction. The other methods do it first."""
        if not isinstance(self.kit.transactions, OpenTransactions):
            return
        if _loop_runs():  # an async test: a plain call would be warned of
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self.kit.transactions.commit_in_test, self.kit.access).result()
        else:
            self.kit.transactions.commit_in_test(self.kit.access)


class QueueTestMixin(_Case):
    """For a TestCase, TransactionTestCase or SimpleTestCase: `self.queues.drain()`, `self.queues.jobs()`, …"""

    queues: Queues

    def setUp(self) -> None:
        """Send the project's jobs to memory until the test ends."""
        super().setUp()
        self.queues = self.enterContext(queue_testing())


@contextmanager
def queue_testing(kit: DjangoKit | None = None, clock: VirtualClock | None = None) -> Iterator[Queues]:
    """Inside the block the jobs of the project's kit, or of `kit`, are in memory, for tests of one thread at a time."""
    chosen = get_kit() if kit is None else kit
    with _needs_no_store(chosen), isolated(chosen, clock) as test:
        # the connection of the test must outlive its jobs
        test.middlewares = [one for one in test.middlewares if one is not connections.around]
        yield Queues(test)


@contextmanager
def _needs_no_store(kit: DjangoKit) -> Iterator[None]:
    """Where none is named: Django's runner turns DEBUG off, and jobs in memory are not to be refused for that."""
    configuration = kit._configuration  # noqa: SLF001  the tests of a project are this package's own
    try:
        kit.settings  # noqa: B018  read here, or refused
    except ConfigError:
        configuration.framework = lambda: replace(conf.framework(), production=None)
        try:
            yield
        finally:
            configuration.framework = conf.framework
            configuration.forget()
        return
    yield


class _TestThread(Threads):
    """The thread which waits in `async_to_sync`, where the test's transaction is."""

    def run(self, call: Callable[[], object]) -> asyncio.Future[object]:
        """In this thread's order, like everything that asks Django's database from a coroutine."""
        return asyncio.ensure_future(sync_to_async(_carried)(call))

    def close(self) -> None:
        """Nothing was started."""


def _carried(call: Callable[[], object]) -> object:
    try:
        return call()
    except (StopIteration, KeyboardInterrupt, SystemExit) as error:  # a future refuses these, or ends its loop by them
        return Raised(error)
    except GeneratorExit as error:
        raise RuntimeError("the handler raised GeneratorExit") from error


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
