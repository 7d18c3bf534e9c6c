"""What the tests of the admin share: a person at a browser, and jobs in every state. No test is here."""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from queuekit import JobContext, JobHandle, QueueKit
from queuekit.domain.outcome import Ask
from queuekit.testing.drain import drain

if TYPE_CHECKING:
    from django.test import Client

JOBS = "/admin/queuekit/job/"
QUEUES = "/admin/queuekit/queue/"


def page_of(job: JobHandle[Any]) -> str:
    """The address of a job's page."""
    return f"{JOBS}{job.queue}_2F{job.id}/change/"


def act_of(job: JobHandle[Any]) -> str:
    """Where its buttons send."""
    return f"{JOBS}{job.queue}_2F{job.id}/act/"


def work(kit: QueueKit) -> None:
    """Run what is due, as a worker would."""

    async def run() -> None:
        await drain(kit)

    asyncio.run(run())


def claim(kit: QueueKit, queue: str) -> None:
    """Begin the foremost job of a queue, and do not end it."""

    async def run() -> None:
        async with kit:
            door = await kit.access.asynchronous()
            with door.lanes.op() as op:
                await door.ask(partial(door.store.exchange, queue, op, [], Ask(want=1, worker="w")))

    asyncio.run(run())


@dataclass
class Shop:
    """A kit with tasks that end as they are told."""

    kit: QueueKit

    def __post_init__(self) -> None:
        self.ran: list[str] = []
        self.down = True

        @self.kit.task(queue="mail", attempts=1)
        def send(to: str) -> str:
            self.ran.append(to)
            if self.down:
                raise ConnectionRefusedError(f"no route to {to}")
            return f"sent to {to}"

        @self.kit.task(queue="mail", tags=["later"])
        def remind(ctx: JobContext, note: str) -> str:
            ctx.progress(0.25, note)
            ctx.log(note)
            return note

        self.send, self.remind = send, remind

    def failed(self, to: str = "ada") -> JobHandle[str]:
        """A job that failed for good."""
        job = self.send.enqueue(to)
        work(self.kit)
        assert job.status() == "failed"
        return job


@dataclass
class Person:
    """Somebody at a browser: follows redirects, presses what is on the page."""

    client: Client

    def get(self, address: str, status: int = 200) -> str:
        """The page's text as a browser shows it is not asked for: the markup itself."""
        answer = self.client.get(address, follow=True)
        assert answer.status_code == status, answer.content.decode()
        return str(answer.content.decode())

    def send(self, address: str, *, status: int = 200, **fields: Any) -> str:
        """Send a form; the page that follows."""
        answer = self.client.post(address, fields, follow=True)
        assert answer.status_code == status, answer.content.decode()
        return str(answer.content.decode())

    def press(self, job: JobHandle[Any], act: str, *, page: str | None = None, **fields: Any) -> str:
        """Press a button of a job's page, which may be an old one."""
        shown = page if page is not None else self.get(page_of(job))
        assert f'name="act" value="{act}"' in shown, f"no button {act}"
        return self.send(act_of(job), act=act, seen=seen(shown), **fields)

    def agree(self, question: str) -> str:
        """Say yes to a question."""
        form = re.search(
            r'<form method="post" action="([^"]*)">(.*?)</form>', question[question.index("content") :], re.DOTALL
        )
        assert form is not None, question
        assert "confirmed" in form[2], question
        fields: dict[str, Any] = {}
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[2]):
            fields.setdefault(name, []).append(html.unescape(value))
        return self.send(html.unescape(form[1]), **fields)


def seen(page: str) -> str:
    """How a page says its job was."""
    found = re.search(r'name="seen" value="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])


def ticks(page: str) -> list[str]:
    """The values of a list's boxes."""
    return [html.unescape(value) for value in re.findall(r'name="_selected_action" value="([^"]*)"', page)]


def messages(page: str) -> list[str]:
    """The lines above a page."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', page, re.DOTALL)
    return (
        [] if found is None else [html.unescape(one) for one in re.findall(r"<li[^>]*>(.*?)</li>", found[1], re.DOTALL)]
    )


def listed(page: str) -> list[str]:
    """The jobs of a list."""
    return re.findall(r'<th class="field-job"><a href="[^"]*">([^<]*)</a>', page)
