"""What is done for an order later."""

import os
import threading

from django.db import connection

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
