"""What a person does to jobs and queues in Django's admin, on every store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import queuekit.contrib.django
from queuekit import QueueKit, State, ids
from tests.contrib.django_admin.pages import JOBS, QUEUES, Person, Shop, claim, listed, messages, page_of, ticks, work

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def shop(store: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The project's kit, on a fresh namespace."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    kit = QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
    monkeypatch.setattr(queuekit.contrib.django, "get_kit", lambda: kit)
    yield Shop(kit)
    for queue in kit.health():
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


@pytest.fixture
def person(django_rows: None) -> Person:
    """A superuser who is signed in."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    user: User = User.objects.create_superuser("ada", "ada@example.com", "pw")
    client.force_login(user)
    return Person(client)


def test_a_failed_job_is_retried_from_its_page(shop: Shop, person: Person) -> None:
    job = shop.failed()
    page = person.get(page_of(job))
    assert "no route to ada" in page
    assert "Traceback" in page
    shop.down = False
    after = person.press(job, "retry", page=page)
    assert messages(after) == [f"Retried 1 job: {job.ref}."]
    work(shop.kit)
    assert job.result(timeout=0) == "sent to ada"
    assert "sent to ada" in person.get(page_of(job))


def test_an_old_page_does_not_run_a_job_again_that_completed_since(shop: Shop, person: Person) -> None:
    job = shop.failed()
    old_page, old_list = person.get(page_of(job)), person.get(JOBS)
    shop.down = False
    assert job.retry()
    work(shop.kit)
    for after in (
        person.press(job, "retry", page=old_page),
        person.send(JOBS, action="retry", _selected_action=ticks(old_list)),
        person.agree(person.press(job, "delete", page=old_page)),
    ):
        assert [line for line in messages(after) if "it changed since this page was made: it is completed now" in line]
    work(shop.kit)
    assert shop.ran == ["ada", "ada"]
    assert job.status() == "completed"


def test_running_a_completed_job_again_is_asked_about(shop: Shop, person: Person) -> None:
    shop.down = False
    job = shop.send.enqueue("ada")
    work(shop.kit)
    question = person.press(job, "retry")
    assert job.status() == "completed"
    assert "do their work a second time" in question
    assert messages(person.agree(question)) == [f"Retried 1 job: {job.ref}."]
    assert job.status() == "waiting"


def test_a_waiting_job_is_cancelled_with_a_reason_and_who_gave_it(shop: Shop, person: Person) -> None:
    job = shop.send.enqueue("ada")
    after = person.press(job, "cancel", reason="wrong customer")
    assert messages(after) == [f"Cancelled 1 job: {job.ref}."]
    found = job.get()
    assert found is not None
    assert (found.state, found.reason) == (State.CANCELLED, "wrong customer (ada)")


def test_a_running_job_is_asked_to_stop_and_cannot_be_deleted(shop: Shop, person: Person) -> None:
    job = shop.send.enqueue("ada")
    claim(shop.kit, "mail")
    page = person.get(page_of(job))
    assert 'value="delete"' not in page
    assert messages(person.press(job, "cancel", page=page)) == [f"Asked 1 job to stop: {job.ref}."]
    assert "by ada" in person.get(page_of(job))
    refused = person.agree(person.send(JOBS, action="delete", _selected_action=ticks(person.get(JOBS))))
    assert messages(refused) == [f"Not deleted: {job.ref} (it is active: cancel it first)."]
    assert job.status() == "active"


def test_ticked_jobs_are_promoted_and_the_others_told(shop: Shop, person: Person) -> None:
    later = shop.send.using(delay="1h").enqueue("ada")
    waiting = shop.send.enqueue("bob")
    gone = shop.send.using(delay="1h").enqueue("eve")
    boxes = ticks(person.get(JOBS))
    assert len(boxes) == 3
    gone.delete()
    after = person.send(JOBS, action="promote", _selected_action=boxes)
    assert messages(after)[0] == f"Promoted 1 job: {later.ref}."
    assert f"{waiting.ref} (it is waiting)" in messages(after)[1]
    assert f"{gone.ref} (there is no such job, or it is no longer kept)" in messages(after)[1]
    assert (later.status(), waiting.status()) == (State.WAITING, State.WAITING)


def test_jobs_are_deleted_only_after_a_yes(shop: Shop, person: Person) -> None:
    jobs = [shop.send.enqueue(f"n{n}") for n in range(3)]
    boxes = [box for box in ticks(person.get(JOBS)) if not box.startswith(jobs[2].ref)]
    question = person.send(JOBS, action="delete", _selected_action=boxes)
    assert [job.status() for job in jobs] == [State.WAITING] * 3
    after = person.agree(question)
    assert messages(after)[0].startswith("Deleted 2 jobs: ")
    assert [job.status() for job in jobs] == ["unknown", "unknown", State.WAITING]


def test_pages_follow_the_cursor_to_the_last_job(shop: Shop, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.contrib.django.admin import JobAdmin

    monkeypatch.setattr(JobAdmin, "list_per_page", 5)
    jobs = shop.kit.enqueue_many([shop.send.using(queue=f"q{n % 2}").make(f"n{n}") for n in range(12)])
    address, found = f"{JOBS}?state=waiting", list[str]()
    for _ in jobs:
        page = person.get(address)
        assert len(listed(page)) <= 5
        found += listed(page)
        further = re.search(r'<a href="([^"]*)" rel="next">', page)
        if further is None:
            break
        address = JOBS + further[1].replace("&amp;", "&")
    assert sorted(found) == sorted(job.ref for job in jobs)


def test_all_jobs_that_match_are_acted_upon_after_a_yes(
    shop: Shop, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queuekit.contrib.django.admin import listing

    monkeypatch.setattr(listing, "ACROSS", 4)
    jobs = shop.kit.enqueue_many([shop.send.make(f"n{n}") for n in range(6)])
    other = shop.send.using(queue="bulk").enqueue("bob")  # listed before
    question = person.send(f"{JOBS}?queue=mail", action="cancel", select_across="1", reason="sold out")
    assert "Cancel 4 jobs (queue mail)?" in question
    assert "More jobs may match: at most 4" in question
    assert {job.status() for job in jobs} == {State.WAITING}
    after = person.agree(question)
    assert messages(after)[0].startswith("Cancelled 4 jobs: ")
    assert "More jobs may match" in messages(after)[1]
    rest = person.agree(person.send(f"{JOBS}?queue=mail&state=waiting", action="cancel", select_across="1"))
    assert messages(rest)[0].startswith("Cancelled 2 jobs: ")
    assert {job.status() for job in jobs} == {State.CANCELLED}
    assert other.status() == State.WAITING


def test_a_queue_is_paused_with_a_reason_and_resumed(shop: Shop, person: Person) -> None:
    job = shop.send.enqueue("ada")
    page = person.get(f"{QUEUES}mail/change/")
    assert "No worker takes this queue" in page
    after = person.send(f"{QUEUES}mail/act/", act="pause", reason="server moves")
    assert messages(after) == ["Paused mail."]
    assert shop.kit.health()["mail"].paused == "server moves (ada)"
    work(shop.kit)
    assert job.status() == State.WAITING
    assert "server moves (ada)" in person.get(QUEUES)
    assert "paused: server moves (ada)" in person.get(page_of(job))
    after = person.send(QUEUES, action="resume", _selected_action=["mail", "none"])
    assert messages(after) == ["There is no queue none.", "Resumed mail."]
    assert shop.kit.health()["mail"].paused is None


def test_a_schedule_is_paused_resumed_fired_and_deleted(shop: Shop, person: Person) -> None:
    shop.down = False
    shop.kit.schedules.put("digest", shop.send.make("ada"), cron="0 9 * * mon-fri")
    act, page = "/admin/queuekit/schedule/digest/act/", "/admin/queuekit/schedule/digest/change/"
    assert messages(person.send(act, act="pause", reason="night")) == ["Paused digest."]
    assert "night (ada)" in person.get("/admin/queuekit/schedule/")
    assert messages(person.send(act, act="resume")) == ["Resumed digest."]
    assert messages(person.send(act, act="fire")) == ["Fired digest."]
    work(shop.kit)
    assert shop.ran == ["ada"]
    assert "mail/digest@manual-" in person.get(page)
    assert messages(person.agree(person.send(act, act="delete"))) == ["Deleted digest."]
    assert shop.kit.schedules.all() == []
