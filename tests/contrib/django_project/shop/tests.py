"""Tests as a project writes them; run by `manage.py test`, in a process of their own."""

from __future__ import annotations

import threading
from unittest.mock import patch

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import RequestFactory, TestCase, TransactionTestCase

from queuekit import State
from queuekit.contrib.django import at_once, kit
from queuekit.contrib.django.test import QueueTestMixin, queue_testing
from tests.contrib.django_project.shop.models import Order
from tests.contrib.django_project.shop.tasks import asend_receipt, send_receipt


class InOneTransaction(QueueTestMixin, TestCase):
    """What most test cases are: each test in a transaction that is rolled back."""

    databases = {"default", "other"}  # noqa: RUF012  as Django's documentation writes it

    def test_a_view_enqueues_and_the_job_sees_the_row(self) -> None:
        self.client.post("/order/?name=tea")
        self.queues.assert_enqueued(send_receipt, {"pk": Order.objects.get().pk}, times=1)
        [job] = self.queues.drain()
        assert (job.state, Order.objects.get().receipt) == (State.COMPLETED, "for tea")
        assert str(job.result).split()[1] == threading.current_thread().name

    def test_what_is_rolled_back_is_not_enqueued(self) -> None:
        with pytest.raises(ValueError, match="no money"):
            self.client.post("/order/?name=tea&fail=1")
        self.queues.assert_enqueued(send_receipt, times=0)
        assert Order.objects.count() == 0

    def test_an_open_block_of_the_code_under_test_is_waited_for(self) -> None:
        with transaction.atomic():
            handle = send_receipt.enqueue(1)
            assert self.queues.jobs() == []
            assert handle.status() == "uncommitted"
            with at_once():
                assert send_receipt.enqueue(2).status() == State.WAITING
        assert len(self.queues.jobs()) == 2
        assert (handle.created, handle.status()) == (True, State.WAITING)

    def test_a_handler_that_asks_the_database_on_the_event_loop(self) -> None:
        order = Order.objects.create(name="tea")
        handle = asend_receipt.enqueue(order.pk)
        assert [job.state for job in self.queues.drain()] == [State.COMPLETED]
        assert handle.result(timeout=0) == "for tea"
        assert connection.in_atomic_block

    async def test_an_async_test(self) -> None:
        order = await Order.objects.acreate(name="tea")
        handle = await send_receipt.aenqueue(order.pk)
        assert await handle.astatus() == "uncommitted"
        self.queues.assert_enqueued(send_receipt, {"pk": order.pk}, times=1)
        other = await send_receipt.aenqueue(4711)
        assert len(self.queues.jobs()) == 2
        assert await other.acancel()
        assert [job.state for job in await self.queues.adrain()] == [State.COMPLETED]
        await order.arefresh_from_db()
        assert order.receipt == "for tea"

    def test_a_job_that_is_tried_again(self) -> None:
        handle = send_receipt.enqueue(4711)
        assert [job.state for job in self.queues.drain()] == [State.DELAYED]
        self.queues.clock.travel(minutes=10)
        Order.objects.create(pk=4711, name="tea")
        assert [job.state for job in self.queues.drain()] == [State.COMPLETED]
        assert handle.status() == State.COMPLETED

    def test_jobs_of_jobs_run_in_one_drain(self) -> None:
        order = Order.objects.create(name="tea")
        asked = []

        def again(ctx: object, pk: int) -> str:
            asked.append(pk)
            if len(asked) < 3:
                with transaction.atomic():
                    send_receipt.enqueue(pk)
            return ""

        with patch.object(send_receipt.definition, "fn", again):
            send_receipt.enqueue(order.pk)
            assert len(self.queues.drain()) == 3

    def test_djangos_own_way_to_run_hooks_works_too(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            self.client.post("/order/?name=tea")
        assert len(callbacks) == 1
        assert len(self.queues.kit.jobs()) == 1
        assert len(self.queues.jobs()) == 1


class WithJobsOfTheClass(QueueTestMixin, TestCase):
    """What is enqueued before a test begins is not the test's, and is sent to no store at all."""

    @classmethod
    def setUpTestData(cls) -> None:
        send_receipt.enqueue(4711)

    def test_it_is_not_written(self) -> None:
        assert self.queues.jobs() == []
        assert self.queues.drain() == []
        assert kit.health() == {}


class WithCommits(QueueTestMixin, TransactionTestCase):
    """Real commits."""

    def test_a_job_is_there_when_its_transaction_is(self) -> None:
        with transaction.atomic():
            order = Order.objects.create(name="tea")
            handle = send_receipt.enqueue(order.pk)
            assert handle.status() == "uncommitted"
        assert handle.status() == State.WAITING
        [job] = self.queues.drain()
        order.refresh_from_db()
        assert (job.state, order.receipt) == (State.COMPLETED, "for tea")


class WithoutTheMixin(TestCase):
    """The block, and that nothing is left behind it."""

    def test_the_block(self) -> None:
        before = kit.access
        with queue_testing(kit) as queues:
            request = RequestFactory().post("/order/?name=tea")
            from tests.contrib.django_project.shop.views import order

            assert order(request).status_code == 202
            assert len(queues.jobs()) == 1
        assert kit.access is before

    async def test_drain_says_what_to_do_on_an_event_loop(self) -> None:
        with queue_testing() as queues:
            with pytest.raises(RuntimeError, match="await adrain"):
                queues.drain()
            assert await sync_to_async(queues.jobs)() == []
