"""A shop in FastAPI: an order is answered with 202 and its job; a worker charges it. Start: see README.md."""

import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from queuekit import Inject, JobContext, Queue, QueueKit, StoreUnavailable
from queuekit.contrib.fastapi import Kit, lifespan, queue, queued, store_unavailable

kit = QueueKit(namespace="fastapi-shop")
Name = Annotated[str, Path(pattern="^[A-Za-z0-9_.:-]{1,128}$")]  # what may name a queue or a job


class Order(BaseModel):
    """What a customer sends."""

    customer: str
    cents: int = Field(gt=0)


def currency() -> str:
    """What a handler needs beside its arguments; a real shop opens its session here."""
    return os.environ.get("SHOP_CURRENCY", "EUR")


@kit.task(queue="orders", attempts=5)
async def charge(ctx: JobContext, order: Order, unit: str = Inject(currency)) -> str:
    """Take the money. It may run more than once: a payment provider is given `ctx.job.ref` as its own key."""
    ctx.log(f"charging {order.customer}, run {ctx.attempt}")
    return f"charged {order.cents / 100:.2f} {unit} to {order.customer}"


@kit.task(queue="mail")
def thank(customer: str) -> str:
    """Plain functions run in threads."""
    return f"the shop thanks {customer}"


app = FastAPI(lifespan=lifespan(kit, worker="SHOP_WORKER" in os.environ))
app.add_exception_handler(StoreUnavailable, store_unavailable)


@app.put("/orders/{order_id}", status_code=202)
async def take(order_id: Name, order: Order) -> JSONResponse:
    """The client names the order, so that asking twice is one charge."""
    return queued(await charge.using(id=order_id).aenqueue(order), status=f"/jobs/orders/{order_id}")


@app.post("/thanks/{customer}", status_code=202)
async def thanks(customer: str, mail: Annotated[Queue, Depends(queue("mail"))]) -> JSONResponse:
    """By the task's name: the module of the handler need not be imported here."""
    return queued(await mail.aenqueue("thank", {"customer": customer}))


@app.get("/jobs/{queue_name}/{job_id}")
async def status(queue_name: Name, job_id: Name, kit: Kit) -> dict[str, Any]:
    """What became of a job."""
    job = await kit.aget(job_id, queue=queue_name)
    if job is None:
        raise HTTPException(404, "no such job, or it is no longer kept")
    return {"job": f"{job.queue}/{job.id}", "state": job.state, "result": job.result}
