"""An order over HTTP: its row and its job in one transaction."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from tests.contrib.django_project.shop.models import Order
from tests.contrib.django_project.shop.tasks import send_receipt


@csrf_exempt
def order(request: HttpRequest) -> JsonResponse:
    """Buy `name`; `fail` rolls everything back."""
    with transaction.atomic():
        bought = Order.objects.create(name=request.GET["name"])
        job = send_receipt.enqueue(bought.pk)
        if "fail" in request.GET:
            raise ValueError("no money")
    return JsonResponse({"order": bought.pk, "job": job.ref}, status=202)


@csrf_exempt
async def aorder(request: HttpRequest) -> JsonResponse:
    """The same without a transaction, on the event loop."""
    bought = await Order.objects.acreate(name=request.GET["name"])
    job = await send_receipt.aenqueue(bought.pk)
    return JsonResponse({"order": bought.pk, "job": job.ref}, status=202)
