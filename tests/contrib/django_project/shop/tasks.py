"""What is done for an order later."""

import os
import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction

from queuekit import JobContext
from queuekit.contrib.django import kit
from tests.contrib.django_project.shop.models import Order


@kit.task(queue="mail")
def send_receipt(ctx: JobContext, pk: int) -> str:
    """Write the receipt into the order; says where it ran and over which connection."""
    order = Order.objects.get(pk=pk)
    order.receipt = f"for {order.name}"
    order.save()
    return f"{os.getpid()} {threading.current_thread().name} {id(connection.connection)}"


@kit.task(queue="mail")
async def asend_receipt(pk: int) -> str:
    """The same on the event loop."""
    order = await Order.objects.aget(pk=pk)
    order.receipt = f"for {order.name}"
    await order.asave()
    return order.receipt


@kit.task(queue="look")
def look(ctx: JobContext, leak: bool = False) -> dict[str, Any]:
    """Whether the connection of this thread was closed before, and how many queries it remembers."""
    closed, queries = connection.connection is None, len(connection.queries_log)
    if leak:
        transaction.atomic().__enter__()
    Order.objects.count()
    return {"closed": closed, "queries": queries, "inside": connection.in_atomic_block, "pid": os.getpid()}


@kit.task(queue="look")
async def alook() -> dict[str, Any]:
    """The same of the thread in which coroutines ask the database."""
    before = await sync_to_async(lambda: (connection.connection is None, len(connection.queries_log)))()
    await Order.objects.acount()
    return {"closed": before[0], "queries": before[1]}
