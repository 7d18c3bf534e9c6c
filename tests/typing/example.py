"""A user's file: every line type-checks with mypy --strict."""
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import TypedDict
from pydantic import BaseModel
from queuekit import JSON, Backoff, Inject, JobContext, JobFact, JobHandle, Keep, Priority, Processor, Profile, QueueKit, Rate, Retry

kit = QueueKit(imports=["shop.tasks"], queues={"execution:orders": {"concurrency": 5, "rate": Rate(10, per=1)}})

class Receipt(TypedDict):
    message_id: str

class Video(BaseModel):
    id: str

async def mailer() -> AsyncIterator[str]:
    yield "smtp"

@kit.task(queue="notifications", attempts=5, backoff=Backoff.exponential(1), keep_completed=Keep(count=100))
async def send_email(ctx: JobContext, to: str, subject: str, smtp: str = Inject(mailer)) -> Receipt:
    ctx.progress(0.5, "connected")
    sent = await ctx.step("send", deliver, smtp, to)
    if not sent:
        raise Retry("greylisted", after="5m")
    return {"message_id": f"<{ctx.job.id}@{smtp}> {subject}"}

async def deliver(server: str, to: str) -> bool:
    return bool(server and to)

@kit.task
def resize(path: str, width: int = 800) -> int:
    return len(path) * width

class Charge(BaseModel):
    order: str
    cents: int

charge_card = kit.declare("charge-card", Charge, str, queue="execution:orders")     # contracts.py: producers import this

@charge_card.handler                                                                # worker.py
async def charge(payload: Charge) -> str:
    return f"{payload.order}:{payload.cents}"

@kit.processor("video", profile=Profile.HEAVY)
class VideoProcessor(Processor[Video, int]):
    task = "process"
    async def process(self, ctx: JobContext, payload: Video, /) -> int:
        return len(payload.id)

@kit.on("failed")
def tell(fact: JobFact) -> None: ...

def sync_view() -> str:
    h: JobHandle[Receipt] = send_email.using(delay="5 minutes", priority=Priority.HIGH, unique="welcome:7").enqueue("a@example.com", subject="hi")
    total: int = resize("x") + resize.enqueue("y", width=3).result(timeout=5)
    kit.queue("portfolio:high_priority").enqueue("recalculate-position", {"userId": "user-123"}, group="user-123")
    kit.enqueue_many([resize.make("a"), resize.make("b", width=1)])
    kit.schedule("digest", send_email.make("team@example.com", "digest"), cron="0 9 * * mon-fri", timezone="Europe/Berlin")
    put = kit.schedules.put("resize", resize.using(expires="1h").make("a"), every="30 seconds", overlap="skip", start=datetime.now(timezone.utc))
    fired: JobHandle[JSON] | None = kit.schedules.fire(put.id) if kit.schedules.pause("resize", "loud") else None
    print(fired, put.preview(3), [one.next_at for one in kit.schedules.all()], kit.schedules.preview(2, cron="@daily"))
    return f"{h.ref} {total} {h.result(timeout=timedelta(seconds=1))['message_id']}"

async def async_view() -> int:
    receipt = await (await send_email.aenqueue("a@example.com", "hi")).aresult(timeout=10)
    direct: Receipt = await send_email("a@example.com", "hi")
    n = await (await resize.using(run_at=datetime.now(timezone.utc)).aenqueue("z")).aresult()
    charged: str = await (await charge_card.aenqueue(Charge(order='1', cents=5))).aresult()
    nightly = await kit.schedules.aput("nightly", resize.make("b"), cron="0 3 * * *", missed="all", grace=timedelta(hours=1))
    print(nightly.paused, await kit.schedules.areset("nightly"))
    async with kit.worker(concurrency=4, queues={"high": 3, "low": 1}):
        return n + len(receipt["message_id"]) + len(direct) + len(charged)
