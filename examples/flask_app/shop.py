"""A shop in Flask: an order is answered with 202 and its job; a worker charges it. Start: see README.md."""

from flask import Blueprint, Flask, current_app, request, url_for
from flask.typing import ResponseReturnValue

from queuekit import InvalidName, JobContext, PayloadError, StoreUnavailable
from queuekit.contrib.flask import FlaskKit

kit = FlaskKit()
shop = Blueprint("shop", __name__)


@kit.task(queue="orders", attempts=5)
def charge(ctx: JobContext, customer: str, cents: int) -> str:
    """Take the money. It may run more than once: a payment provider is given `ctx.job.ref` as its own key."""
    currency = current_app.config["CURRENCY"]  # the app's context is there, as in a view
    ctx.log(f"charging {customer}, run {ctx.attempt}")
    return f"charged {cents / 100:.2f} {currency} to {customer}"


@kit.task(queue="mail")
async def thank(customer: str) -> str:
    """Async tasks have the app's context too."""
    return f"{current_app.config['SHOP_NAME']} thanks {customer}"


@shop.put("/orders/<order>")
def take(order: str) -> ResponseReturnValue:
    """The client names the order, so that asking twice is one charge."""
    said = request.get_json()
    job = charge.using(id=order).enqueue(said.get("customer"), cents=said.get("cents"))
    return accepted(job.ref)


@shop.post("/thanks")
async def thanks() -> ResponseReturnValue:
    """An async view, with the async twin."""
    job = await thank.aenqueue(request.get_json()["customer"])
    return accepted(job.ref)


@shop.get("/jobs/<queue>/<job_id>")
def status(queue: str, job_id: str) -> ResponseReturnValue:
    """What became of a job."""
    job = kit.get(job_id, queue=queue)
    if job is None:
        return {"error": "no such job, or it is no longer kept"}, 404
    return {"job": f"{job.queue}/{job.id}", "state": job.state, "result": job.result}


def accepted(ref: str) -> ResponseReturnValue:
    """202: it is kept, and will be done."""
    queue, _, job = ref.partition("/")
    where = url_for("shop.status", queue=queue, job_id=job)
    return {"queued": True, "job": ref, "status": where}, 202, {"Location": where}


def refused(error: Exception) -> ResponseReturnValue:
    """422: arguments that do not fit the task, or an id that cannot be one; nothing was written."""
    return {"queued": False, "errors": getattr(error, "errors", None) or [str(error)]}, 422


def away(error: Exception) -> ResponseReturnValue:
    """503: the same request again is safe, because the order names the job."""
    return {"queued": False, "error": "the job store cannot be reached"}, 503, {"Retry-After": "5"}


def create_app(**config: object) -> Flask:
    """The factory that Flask, gunicorn and queuekit all call."""
    app = Flask(__name__)
    app.config.from_mapping(CURRENCY="EUR", SHOP_NAME="the shop", QUEUEKIT_NAMESPACE="flask-shop")
    app.config.from_prefixed_env("SHOP")
    app.config.from_mapping(config)
    kit.init_app(app)
    app.register_blueprint(shop)
    app.register_error_handler(PayloadError, refused)
    app.register_error_handler(InvalidName, refused)
    app.register_error_handler(StoreUnavailable, away)
    return app
