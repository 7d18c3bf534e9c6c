"""The shop's jobs. Django imports this file by itself, because the app is installed; a worker runs what is in it."""

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from queuekit.contrib.django import kit
from shop.models import Order, Payment


@kit.task(queue="payments", attempts=5)
def capture_payment(order: int) -> str:
    """Take the money, once. A job may run more than once, so the row says whether it was done."""
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(order_id=order)
        if payment.captured_at is None:
            payment.captured_at = timezone.now()
            payment.save()
            send_receipt.enqueue(order)  # written when this transaction commits, and not at all otherwise
    return f"{payment.cents} cents"


@kit.task(queue="mail", attempts=2, backoff=0.2)
def send_receipt(order: int) -> str:
    """Tell the customer. Fails for good after two runs while the mail server is down; the admin can retry it."""
    found = Order.objects.get(pk=order)
    _send(found.email, "Your receipt", f"We received {found.cents / 100:.2f}. Thank you!")
    return f"sent to {found.email}"


@kit.task(queue="mail")
def remind(order: int) -> str:
    """A day later: how was it?"""
    found = Order.objects.get(pk=order)
    _send(found.email, "How do you like it?", f"You bought something for {found.cents / 100:.2f} yesterday.")
    return f"reminded {found.email}"


def _send(to: str, subject: str, text: str) -> None:
    if settings.MAIL_IS_DOWN.exists():
        raise ConnectionRefusedError("the mail server is down")
    send_mail(subject, text, "shop@example.com", [to])
