"""Placing an order, and looking at it."""

import json

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from queuekit.contrib.django import kit
from shop.models import Order, Payment
from shop.tasks import capture_payment, remind

LIMIT = 100_000  # cents: above this the shop wants to see the customer


class Declined(Exception):
    """No deal. Whatever the view wrote goes away with the transaction, and so do its jobs."""


@csrf_exempt  # an API for programs: no browser sends cookies here
@require_POST
def place(request):
    """Take an order: 202 and the reference of the job that collects the payment."""
    try:
        said = json.loads(request.body)
        email, cents = str(said["email"]), int(said["cents"])
        validate_email(email)
        if cents <= 0:
            raise ValueError("cents must be above zero")
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        return JsonResponse({"queued": False, "error": f"send email and cents: {error}"}, status=400)
    try:
        with transaction.atomic():
            order = Order.objects.create(email=email, cents=cents)
            Payment.objects.create(order=order, cents=cents)
            job = capture_payment.enqueue(order.pk)
            remind.using(delay="24h").enqueue(order.pk)
            Order.objects.filter(pk=order.pk).update(job=job.ref)
            if cents > LIMIT:
                raise Declined(f"{cents} cents are above {LIMIT}")
    except Declined as error:
        return JsonResponse({"queued": False, "job": job.ref, "error": str(error)}, status=402)
    return JsonResponse({"queued": True, "order": order.pk, "job": job.ref}, status=202)


@require_GET
def show(request, number):
    """An order, whether it is paid, and what its job says."""
    order = get_object_or_404(Order, pk=number)
    status = kit.job(order.job).status()  # first: what a completed job wrote is there when the payment is read
    paid = order.payment.captured_at is not None
    return JsonResponse({"order": order.pk, "paid": paid, "job": order.job, "status": status})
