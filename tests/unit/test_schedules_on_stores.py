"""Schedules of a kit on every real store: the same calls, and many processes that declare and put at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, clock, ids
from queuekit.domain.schedule import Firing
from queuekit.domain.scheduled import Definition
from queuekit.errors import Conflict
from queuekit.producing.scheduling import declaring, passage, verbs
from queuekit.store.direct import direct

PROCESSES = 20
APP = """
import json, os, sys
from queuekit import QueueKit
from queuekit.producing.scheduling import declaring, verbs
from queuekit.store.registry import backend
backend(sys.argv[1])  # its driver too, once for all
kit = QueueKit(sys.argv[1], namespace=sys.argv[2])

@kit.task(queue="mail")
def send(to: str) -> None: ...

for n in range(5):
    kit.schedule(f"declared-{n}", send.make("team"), every="1h")
go, start = os.pipe()
answers = []
for _ in range(int(sys.argv[3])):  # forked: twenty interpreters would take half a minute to start
    answer, say = os.pipe()
    if os.fork() == 0:
        os.close(start)
        kit.blocking_store()
        os.write(say, b".")
        os.read(go, 1)  # answers at the end of the pipe: all at once
        said = kit.run(lambda at: declaring.declare_schedules(kit, at, ["mail"]))
        put = kit.schedules.put("put", send.make("ada"), every="2h")
        os.write(say, json.dumps([said.written, said.unchanged, put.anchor.isoformat()]).encode())
        kit.close()
        os._exit(0)
    os.close(say)
    answers.append(answer)
for answer in answers:
    assert os.read(answer, 1) == b"."
os.close(start)
said = [json.loads(os.fdopen(answer).read()) for answer in answers]
for _ in answers:
    assert os.wait()[1] == 0
print(json.dumps(said))
"""


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The store's URL."""
    return f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else str(request.getfixturevalue(f"{store}_url"))


@pytest.fixture
def kit(url: str) -> Iterator[QueueKit]:
    """A kit on a fresh namespace."""
    kit = QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")

    @kit.task(queue="mail")
    def send(to: str) -> None: ...

    yield kit
    for queue in direct(kit.blocking_store().queues()):
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


def send(kit: QueueKit, to: str = "team", **options: Any) -> Any:
    return kit.tasks()["send"].using(**options).make(to)


def test_what_a_person_does_with_schedules(kit: QueueKit) -> None:
    schedules = kit.schedules
    made = schedules.put("d", send(kit, attempts=5), cron="0 9 * * mon-fri", timezone="Europe/Berlin", overlap="skip")
    assert made == schedules.get("d") == schedules.get("mail/d")
    assert made.next_at is not None
    assert made.preview(2)[0] == made.next_at
    assert schedules.put("d", send(kit, attempts=5), cron="0 9 * * mon-fri", timezone="Europe/Berlin",
                         overlap="skip") == made  # fmt: skip
    assert [schedules.pause("d", "why"), schedules.pause("d"), schedules.resume("d"), schedules.resume("d")] == [
        True, False, True, False,
    ]  # fmt: skip
    handle = schedules.fire("d")
    job = handle.get()
    assert job is not None
    assert (job.task, job.attempts, job.payload) == ("send", 5, {"to": "team"})
    fired = schedules.get("d")
    assert fired is not None
    assert (fired.last_job, fired.next_at, fired.fired) == (handle.id, made.next_at, 0)
    moved = schedules.put("d", send(kit, queue="post", attempts=5), every="1h")
    assert ([one.ref for one in schedules.all()], moved.anchor) == (["post/d"], made.anchor)
    assert [schedules.delete("d"), schedules.delete("d")] == [True, False]
    assert schedules.all() == []


async def test_the_twins_and_a_declaration(kit: QueueKit) -> None:
    kit.schedule("d", send(kit), every="1h")
    at = await kit.access.asynchronous()
    assert (await declaring.declare_schedules(kit, at, ["mail"])).written == ["d"]
    assert (await declaring.declare_schedules(kit, at, ["mail"])).unchanged == ["d"]
    await kit.schedules.aput("d", send(kit, "ada"), every="2h")
    assert await kit.schedules.apause("d")
    assert await kit.schedules.areset("d")
    said = await kit.schedules.aget("d")
    assert said is not None
    assert (said.rule, said.payload, said.paused) == ({"every": "1h"}, {"to": "team"}, "")
    assert await kit.schedules.aresume("d")
    assert (await kit.schedules.afire("d")).created
    assert [one.id for one in await kit.schedules.aall("mail")] == ["d"]
    assert await kit.schedules.adelete("d")
    await kit.aclose()


def test_an_edit_loses_no_firing_that_came_between(kit: QueueKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody fires between the reading and the writing of an edit: it is made again, of what was fired."""
    store: Any = kit.blocking_store()
    kit.schedules.put("d", send(kit), every="1h")
    real, between = type(store).put_schedule, list[object]()

    async def put(self: Any, queue: str, record: Any) -> Any:
        if not between:
            stored = (await self.get_schedules(queue, ["d"]))[0]
            firing = Firing(id="d", rev=stored.rev, next_at=stored.next + 3_600_000)
            between.append((await self.fire(queue, [firing]))[0].no)
        return await real(self, queue, record)

    monkeypatch.setattr(type(store), "put_schedule", put)
    before = direct(store.get_schedules("mail", ["d"]))[0].next
    kit.schedules.put("d", send(kit, "ada"), every="1h")
    after = direct(store.get_schedules("mail", ["d"]))[0]
    assert between == [None]
    assert after.next == before + 3_600_000


def test_twenty_processes_that_declare_and_put_at_once_end_as_one_definition(kit: QueueKit, url: str) -> None:
    command = [sys.executable, "-c", APP, url, kit.settings.namespace, str(PROCESSES)]
    said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=True).stdout)
    assert len(said) == PROCESSES
    names = [f"declared-{n}" for n in range(5)]
    # two that write the very same record, in one millisecond, are both told that it is theirs
    assert sorted({name for written, _, _ in said for name in written}) == names
    assert all(sorted([*written, *unchanged]) == names for written, unchanged, _ in said)
    assert len({anchor for _, _, anchor in said}) == 1
    assert [one.id for one in kit.schedules.all()] == [*names, "put"]
    store: Any = kit.blocking_store()
    for record in direct(store.schedules("mail")):
        firings = [Firing(id=record.id, rev=record.rev, next_at=None)]
        assert [direct(store.fire("mail", firings))[0].no for _ in range(2)] == [None, "changed"]


def test_two_queues_cannot_have_one_id_for_long(kit: QueueKit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    store: Any = kit.blocking_store()
    (record,) = direct(store.schedules("mail"))
    direct(store.put_schedule("post", type(record)(id="d", queue="post", definition=record.definition)))
    with pytest.raises(Conflict, match="mail, post"):
        kit.schedules.put("d", send(kit, "ada"), every="1h")
    assert kit.schedules.delete("post/d")
    assert kit.schedules.put("d", send(kit, "ada"), every="1h").payload == {"to": "ada"}


class Died(BaseException):
    """A process that was killed: nothing catches it."""


@pytest.mark.parametrize("case", [("mail", 1), ("post", 1), ("post", 2), ("post", 3)], ids="{0[0]}-{0[1]}".format)
def test_a_worker_ends_what_a_dead_process_began(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch, case: tuple[str, int]
) -> None:
    """New in the queue mail, or on its way from it to post; its writer died behind one of its writes."""
    queue, last = case
    if queue == "post":
        kit.schedules.put("d", send(kit), every="2h")
    store, written = kit.blocking_store(), list[str]()

    def deadly(name: str) -> Any:
        real = getattr(store, name)

        async def call(*args: Any) -> Any:
            said = await real(*args)
            written.append(name)
            if len(written) == last:
                raise Died
            return said

        return call

    with monkeypatch.context() as patch:
        for module in (passage, verbs):
            patch.setattr(module, "STRANDED", 50)
        for name in ("put_schedule", "delete_schedule"):
            patch.setattr(store, name, deadly(name))
        with pytest.raises(Died):
            kit.schedules.put("d", send(kit, queue=queue), every="2h")
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.next_at, bool(said.paused)) == (None, True)
    until = clock.monotonic() + 30
    while said.next_at is None and clock.monotonic() < until:
        kit.worker(queues=["mail", "post"], burst=True).run()
        said = kit.schedules.get("d") or said
    assert kit.schedules.all() == [said]
    assert said.anchor is not None
    assert (said.queue, said.paused, said.next_at) == (queue, None, said.anchor + timedelta(hours=2))


def test_a_clock_that_was_far_ahead_puts_no_schedule_off(kit: QueueKit) -> None:
    kit.schedule("declared", send(kit), every="1h")
    kit.run(lambda at: declaring.declare_schedules(kit, at, ["mail"]))
    for name in ("put", "resumed"):
        kit.schedules.put(name, send(kit), every="1h")
    store: Any = kit.blocking_store()
    right, two_years = direct(store.schedules("mail")), 2 * 365 * 86_400_000
    for record in right:
        ahead = record.next + two_years
        jobs = (Definition.load(record.definition).job(record.id, ahead),)
        (fired,) = direct(store.fire("mail", [Firing(id=record.id, rev=record.rev, next_at=ahead + 1, jobs=jobs)]))
        assert fired.no is None
    assert kit.run(lambda at: declaring.compared(kit, at)).written == ["declared"]
    kit.run(lambda at: declaring.declare_schedules(kit, at, ["mail"]))
    kit.schedules.put("put", send(kit), every="1h")
    assert kit.schedules.resume("resumed")
    mended = direct(store.schedules("mail"))
    assert [record.next for record in mended] == [record.next for record in right]
    assert direct(store.due("mail", 0)).next_at == min(record.next for record in right)
    assert kit.run(lambda at: declaring.declare_schedules(kit, at, ["mail"])).unchanged == ["declared"]
    kit.schedules.put("put", send(kit), every="1h")
    assert not kit.schedules.resume("resumed")
    assert direct(store.schedules("mail")) == mended
