"""From BullMQ: processors as classes, light queues and heavy ones, a worker for each kind.

Run it: python examples/profiles.py
In production the kind is a variable of the deployment: WORKER_TYPE=light queuekit worker profiles:kit
"""

from datetime import UTC, datetime
from typing import Any, TypedDict

from queuekit import QueueKit
from queuekit.compat.bull import Job, QueueProfile, get_queue, on_worker_event, processor

kit = QueueKit()
done: list[str] = []


class ExampleJobPayload(TypedDict):
    userId: str
    action: str
    data: dict[str, str]


class ExampleJobResult(TypedDict):
    success: bool
    processedAt: str


@processor("emails", QueueProfile.LIGHT)
class EmailProcessor:
    async def process(self, job: Job[ExampleJobPayload]) -> ExampleJobResult:
        done.append(f"{job.data['action']} to {job.data['data']['email']}")
        return {"success": True, "processedAt": datetime.now(UTC).isoformat()}


@processor("notifications", QueueProfile.LIGHT)
class NotificationProcessor:
    async def process(self, job: Job[Any]) -> None:
        done.append(f"told {job.data['userId']}")


@processor("videos", QueueProfile.HEAVY)
class VideoProcessor:
    def process(self, job: Job[Any]) -> int:  # a plain function: it runs in a thread
        job.update_progress(50)
        if job.data["videoId"] == "broken":
            raise ValueError("no video at all")
        return 1

    @on_worker_event("failed")
    def failed(self, job: Job[Any], error: Any) -> None:
        done.append(f"{job.data['videoId']}: {error.message}")


@processor("courses", QueueProfile.HEAVY)
class CourseBuilderProcessor:
    def process(self, job: Job[Any]) -> None:
        done.append(f"course {job.data['courseId']}")


def main() -> None:
    mail = get_queue("emails").add(
        "process", {"userId": "u1", "action": "send-email", "data": {"email": "ada@example.com"}}
    )
    get_queue("notifications").add("process", {"userId": "u2"})
    get_queue("videos").add("process", {"videoId": "broken"}, {"attempts": 1})
    get_queue("courses").add("process", {"courseId": "123"})
    for kind in ("light", "heavy"):
        kit.worker(type=kind, burst=True).run()
        print(f"{kind}: {', '.join(sorted(done))}")
        done.clear()
    result: Any = mail.wait_until_finished(1000)
    print("success:", result["success"], "by now:", datetime.fromisoformat(result["processedAt"]) <= datetime.now(UTC))


if __name__ == "__main__":
    main()
