"""The files that a new project and a new queue consist of, and the lines for a project that is there already.

Tests run every one of them, and hold what is written to mypy --strict and ruff.
"""

from __future__ import annotations

from string import Template
from typing import Final

MODULE: Final = "jobs"  # of a new project: jobs.py, or the folder jobs
EXAMPLE: Final = "example"  # its first queue, where it is a folder

ONE_FILE: Final = '''"""Jobs: `queuekit worker jobs:kit` runs them, `python jobs.py` makes one."""

from queuekit import QueueKit

kit = QueueKit()


@kit.task(queue="mail", attempts=5)
def send_welcome(to: str) -> str:
    return f"welcome, {to}"


if __name__ == "__main__":
    job = send_welcome.enqueue("ada@example.com")
    print(job.ref, job.result(timeout=30))
'''

PACKAGE: Final = '''"""The kit. A worker imports every module below; who enqueues, a producer."""

from queuekit import QueueKit

kit = QueueKit(imports=["jobs.*"])
'''

# A queue more, in the file of the kit.
TASK: Final = Template(
    """@$kit.task(queue="$queue")
def $name(user_id: str) -> str:
    return f"$queue: {user_id}"
"""
)

# A queue more, as a file of its own.
QUEUE: Final = Template(f"from $module import $kit\n\n\n{TASK.template}")

# A queue more, as a folder.
FEATURE: Final = {
    "__init__.py": Template('"""The queue $queue."""\n'),
    "constants.py": Template(
        '''"""The queue's name, and how a worker runs it."""

from typing import Final

from queuekit import QueueOptions

QUEUE: Final = "$queue"
OPTIONS: Final[QueueOptions] = {"concurrency": 5, "lease": "60s", "attempts": 3}
'''
    ),
    "types.py": Template(
        '''"""What a job is given, and what it gives back."""

from pydantic import BaseModel


class Payload(BaseModel):
    user_id: str
    action: str


class Result(BaseModel):
    success: bool
'''
    ),
    "producer.py": Template(
        '''"""Who enqueues imports this: what a job is given, and nothing of how it is done."""

from queuekit import JobHandle

from $module import $kit
from $package.$name.constants import QUEUE
from $package.$name.types import Payload, Result

process = $kit.declare(QUEUE, Payload, Result, queue=QUEUE)


def enqueue(payload: Payload) -> JobHandle[Result]:
    return process.enqueue(payload)
'''
    ),
    "processor.py": Template(
        '''"""How a job is done; only a worker imports this."""

from queuekit import JobContext, Processor

from $module import $kit
from $package.$name.constants import OPTIONS, QUEUE
from $package.$name.types import Payload, Result


@$kit.processor(QUEUE, **OPTIONS)
class Handler(Processor[Payload, Result]):
    task = None  # every job of the queue

    async def process(self, ctx: JobContext, payload: Payload, /) -> Result:
        ctx.logger.info("%s for %s", payload.action, payload.user_id)
        return Result(success=True)
'''
    ),
}
PAYLOAD: Final = '{"user_id": "u1", "action": "send-email"}'  # of the folder's example

DJANGO: Final = Template(
    """In $file:

    INSTALLED_APPS += ["queuekit.contrib.django"]

In the tasks.py of an app:

    from queuekit.contrib.django import kit


    @kit.task(queue="$queue")
    def $name(user_id: str) -> str:
        return f"$queue: {user_id}"

Where you enqueue: $name.enqueue("u1"). Then:

    python manage.py queuekit worker
    python manage.py queuekit enqueue $queue $name '{"user_id": "u1"}' --wait 30s
"""
)

FLASK: Final = Template(
    """In $file:

    from queuekit.contrib.flask import FlaskKit

    kit = FlaskKit()


    @kit.task(queue="$queue")
    def $name(user_id: str) -> str:
        return f"$queue: {user_id}"

and $where:

    kit.init_app(app)

Where you enqueue: $name.enqueue("u1"). Then:

    flask --app $app queuekit worker
    flask --app $app queuekit enqueue $queue $name '{"user_id": "u1"}' --wait 30s
"""
)

FASTAPI: Final = Template(
    """In $file:

    from queuekit import QueueKit
    from queuekit.contrib.fastapi import lifespan

    kit = QueueKit()


    @kit.task(queue="$queue")
    def $name(user_id: str) -> str:
        return f"$queue: {user_id}"

and $where:

    app = FastAPI(lifespan=lifespan(kit))

Where you enqueue: await $name.aenqueue("u1"). Then:

    queuekit worker $module:kit
    queuekit enqueue $queue $name '{"user_id": "u1"}' --wait 30s
"""
)
