"""Django's admin over a store: who may see and do what, what a page shows, and what it says when the store is away."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import queuekit.contrib.django
from queuekit import ConfigError, Conflict, JobHandle, Queue, QueueKit, State, StoreUnavailable, ids
from queuekit.domain.query import Change, Changed, No, Verb
from tests.contrib.django_admin.pages import (
    JOBS,
    QUEUES,
    Person,
    Shop,
    act_of,
    listed,
    messages,
    page_of,
    seen,
    ticks,
    work,
)
from tests.two_stores import Worlds

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NASTY = "</pre><script>alert(1)</script><b onclick='x'>&amp;"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The project's kit, on a file of its own."""
    with QueueKit(f"sqlite:///{tmp_path}/jobs.db", name=f"t{ids.nonce()[:8]}") as kit:
        monkeypatch.setattr(queuekit.contrib.django, "get_kit", lambda: kit)
        yield Shop(kit)


@pytest.fixture
def somebody(django_rows: None) -> Callable[..., Person]:
    """A person who is signed in, with permissions through a group."""

    def make(*permissions: str, staff: bool = True, superuser: bool = False, checks: bool = False) -> Person:
        from django.contrib.auth.models import Group, Permission, User
        from django.test import Client

        name = f"u{ids.nonce()[:8]}"
        user: User = User.objects.create_user(name, password="pw", is_staff=staff, is_superuser=superuser)
        group = Group.objects.create(name=name)
        group.permissions.set(Permission.objects.filter(content_type__app_label="queuekit", codename__in=permissions))
        assert group.permissions.count() == len(permissions)
        user.groups.add(group)
        client = Client(enforce_csrf_checks=checks)
        client.force_login(user)
        return Person(client)

    return make


@pytest.fixture
def chief(somebody: Callable[..., Person]) -> Person:
    """A superuser."""
    return somebody(superuser=True)


def _addresses(job: JobHandle[Any]) -> list[str]:
    history = page_of(job).replace("/change/", "/history/")
    return [JOBS, page_of(job), history, QUEUES, f"{QUEUES}mail/change/", f"{QUEUES}mail/history/"]


def _forms(job: JobHandle[Any]) -> list[tuple[str, dict[str, str]]]:
    ticked = {"_selected_action": job.ref}
    return [
        *((act_of(job), {"act": act, "confirmed": "yes"}) for act in ("retry", "cancel", "promote", "delete")),
        *((JOBS, {"action": act, "confirmed": "yes", **ticked}) for act in ("retry", "cancel", "promote", "delete")),
        (JOBS, {"action": "delete", "confirmed": "yes", "select_across": "1"}),
        *((f"{QUEUES}mail/act/", {"act": act}) for act in ("pause", "resume")),
        *((QUEUES, {"action": act, "_selected_action": "mail"}) for act in ("pause", "resume")),
    ]


# ---------------------------------------------------------------- who
@pytest.mark.parametrize("who", ["nobody", "customer"])
def test_who_is_no_staff_is_sent_to_sign_in(shop: Shop, somebody: Callable[..., Person], who: str) -> None:
    from django.test import Client

    everything = ("view_job", "change_job", "delete_job", "view_queue", "change_queue")
    client = Client() if who == "nobody" else somebody(*everything, staff=False).client
    job = shop.failed()
    shop.kit.queue("mail").pause("night")
    for address in [*_addresses(job), "/admin/queuekit/"]:
        answer = client.get(address)
        assert (answer.status_code, answer.url) == (302, f"/admin/login/?next={address}")  # type: ignore[attr-defined]  # of a redirect
    for address, fields in _forms(job):
        assert client.post(address, fields).status_code == 302
    assert (job.status(), shop.kit.health()["mail"].paused) == (State.FAILED, "night")


def test_staff_without_permission_sees_and_does_nothing(shop: Shop, somebody: Callable[..., Person]) -> None:
    job = shop.failed()
    shop.kit.queue("mail").pause("night")
    person = somebody()
    assert "queuekit" not in person.get("/admin/").lower()
    for address in _addresses(job):
        answer = person.client.get(address)
        assert (answer.status_code, b"no route" in answer.content) == (403, False), address
    for address, fields in _forms(job):
        assert person.client.post(address, fields).status_code == 403, (address, fields)
    assert (job.status(), shop.kit.health()["mail"].paused) == (State.FAILED, "night")


def test_who_may_look_sees_all_and_changes_nothing(shop: Shop, somebody: Callable[..., Person]) -> None:
    job = shop.failed()
    person = somebody("view_job", "view_queue")
    index = person.get("/admin/")
    assert JOBS in index
    assert QUEUES in index
    for address in _addresses(job):
        page = person.get(address)
        assert 'name="act"' not in page
        assert 'name="action"' not in page
        assert ticks(page) == []
    assert '"to": "ada"' in person.get(page_of(job)).replace("&quot;", '"')
    for address, fields in _forms(job):
        assert person.client.post(address, fields).status_code == 403, (address, fields)
    assert (job.status(), shop.kit.health()["mail"].paused) == (State.FAILED, None)


def test_each_verb_needs_its_own_permission(shop: Shop, somebody: Callable[..., Person]) -> None:
    job = shop.failed()
    changer, deleter, looker = somebody("change_job"), somebody("view_job", "delete_job"), somebody("view_queue")
    assert 'value="delete"' not in changer.get(page_of(job))
    assert changer.client.post(act_of(job), {"act": "delete", "confirmed": "yes"}).status_code == 403
    assert 'value="retry"' not in deleter.get(page_of(job))
    assert deleter.client.post(act_of(job), {"act": "retry"}).status_code == 403
    assert looker.client.get(JOBS).status_code == 403
    assert changer.client.get(QUEUES).status_code == 403
    assert job.status() == State.FAILED
    assert messages(changer.press(job, "retry")) == [f"Retried 1 job: {job.ref}."]
    assert messages(deleter.agree(deleter.press(job, "delete"))) == [f"Deleted 1 job: {job.ref}."]


def test_who_may_only_delete_jobs_without_looking_may_nothing(shop: Shop, somebody: Callable[..., Person]) -> None:
    job = shop.failed()
    person = somebody("delete_job")
    assert person.client.post(act_of(job), {"act": "delete", "confirmed": "yes"}).status_code == 403
    assert job.status() == State.FAILED


def test_nothing_is_done_without_a_token_of_the_site(shop: Shop, somebody: Callable[..., Person]) -> None:
    job = shop.failed()
    person = somebody(superuser=True, checks=True)
    for address, fields in _forms(job):
        assert person.client.post(address, fields).status_code == 403, address
    assert job.status() == State.FAILED
    person.get(page_of(job))
    token = person.client.cookies["csrftoken"].value
    assert messages(person.press(job, "retry", csrfmiddlewaretoken=token)) == [f"Retried 1 job: {job.ref}."]


def test_nothing_is_done_by_following_a_link(shop: Shop, chief: Person) -> None:
    job = shop.failed()
    for address in (f"{act_of(job)}?act=retry", f"{QUEUES}mail/act/?act=pause"):
        assert chief.client.get(address).status_code == 405
    assert chief.client.post(page_of(job), {"act": "retry"}).status_code == 405
    assert chief.client.post(f"{QUEUES}mail/change/", {"act": "pause"}).status_code == 405
    assert chief.client.get(page_of(job).replace("/change/", "/delete/")).status_code == 302
    assert chief.client.get(f"{JOBS}add/").status_code == 403
    assert (job.status(), shop.kit.health()["mail"].paused) == (State.FAILED, None)


def test_words_and_forms_of_no_page_are_refused(shop: Shop, chief: Person) -> None:
    job, other = shop.failed(), shop.failed("bob")
    assert chief.client.post(act_of(job), {"act": "obliterate"}).status_code == 403
    assert chief.client.post(act_of(job), {"act": "retry", "seen": seen(chief.get(page_of(other)))}).status_code == 403
    assert chief.client.post(f"{QUEUES}mail/act/", {"act": "obliterate"}).status_code == 403
    assert messages(chief.send(JOBS, action="retry")) == ["Nothing was done. Tick the jobs it is about."]
    assert messages(chief.send(JOBS, _selected_action=job.ref)) == ["Nothing was done. Choose an action."]
    assert "is no job id" in messages(chief.send(JOBS, action="retry", _selected_action="mail/<b>"))[0]
    assert {job.status(), other.status()} == {State.FAILED}


# ---------------------------------------------------------------- what is shown
def test_everything_a_job_says_is_escaped(shop: Shop, chief: Person) -> None:
    done, job = shop.remind.enqueue(NASTY), shop.send.using(tags=[NASTY]).enqueue(NASTY)
    odd = shop.kit.queue("mail").enqueue("unknown", {NASTY: NASTY})
    work(shop.kit)
    shop.send.enqueue("bob").cancel(NASTY)
    shop.kit.queue("mail").pause(NASTY)
    assert job.status() == State.FAILED
    pages = [chief.get(page_of(one)) for one in (done, job, odd)]
    pages += [chief.get(f"{JOBS}?q={NASTY}&task={NASTY}&tag={NASTY}"), chief.get(f"{JOBS}?state={NASTY}")]
    pages += [chief.get(JOBS), chief.get(QUEUES), chief.get(f"{QUEUES}mail/change/")]
    pages += [chief.send(JOBS, action="cancel", select_across="1", reason=NASTY)]
    for page in pages:
        assert "<script>alert" not in page
        assert "onclick='x'" not in page
    assert all("&lt;script&gt;alert(1)" in page for page in pages[:3])


def test_a_page_tells_all_of_a_job(shop: Shop, chief: Person) -> None:
    job = shop.remind.enqueue("half way")
    assert "no live worker takes its queue" in chief.get(page_of(job))
    work(shop.kit)
    page = chief.get(page_of(job)).replace("&quot;", '"')
    for said in (
        "remind",
        "completed",
        "1 of 3",
        "drain",
        "later",
        '"note": "half way"',
        'value="25"',
        "Result",
        "Log",
    ):
        assert said in page, said
    missing = chief.get(f"{JOBS}mail_2Fnone/change/")
    assert messages(missing) == ["There is no job mail/none, or it is no longer kept."]


def test_the_list_has_filters(shop: Shop, chief: Person) -> None:
    failed, later = shop.failed(), shop.remind.using(delay="1h", queue="other").enqueue("tea")
    for asked, found in (
        ("", [failed, later]),
        ("queue=mail", [failed]),
        ("state=delayed", [later]),
        ("task=remind", [later]),
        ("q=no+ROUTE", [failed]),
        ("q=coffee", []),
        ("tag=later", [later]),
        ("since=1h", [failed, later]),
        ("queue=mail&state=delayed", []),
    ):
        page = chief.get(f"{JOBS}?{asked}")
        assert sorted(listed(page)) == sorted(job.ref for job in found), asked
    page = chief.get(f"{JOBS}?queue=mail&q=ada")
    assert 'href="?queue=mail&amp;q=ada&amp;state=failed"' in page
    assert '<input type="hidden" name="queue" value="mail">' in page


@pytest.mark.parametrize("asked", ["state=old", "queue=a/b", "since=soon", "cursor=x", "cursor=e30"])
def test_an_address_that_cannot_be_leads_to_the_list_and_says_why(shop: Shop, chief: Person, asked: str) -> None:
    job = shop.failed()
    page = chief.get(f"{JOBS}?{asked}")
    assert len(messages(page)) == 1
    assert listed(page) == [job.ref]


def test_the_admins_log_keeps_who_did_what(shop: Shop, chief: Person) -> None:
    job, running = shop.failed(), shop.send.enqueue("bob")
    chief.press(job, "retry")
    chief.press(running, "cancel", reason="no")
    chief.send(f"{QUEUES}mail/act/", act="pause", reason="night")
    assert "Retried." in chief.get(page_of(job).replace("/change/", "/history/"))
    assert "Cancelled: no." in chief.get(page_of(running).replace("/change/", "/history/"))
    assert "Paused: night." in chief.get(f"{QUEUES}mail/history/")
    chief.agree(chief.press(job, "delete"))
    assert job.ref in chief.get("/admin/")
    chief.send(act_of(job), act="retry")
    from django.contrib.admin.models import LogEntry

    said = LogEntry.objects.filter(content_type__app_label="queuekit").order_by("pk")
    assert [(one.object_id, one.action_flag) for one in said] == [
        (job.ref, 2),
        (running.ref, 2),
        ("mail", 2),
        (job.ref, 3),
    ]


def test_hooks_hear_of_a_cancel_in_the_admin(shop: Shop, chief: Person) -> None:
    heard: list[str] = []
    shop.kit.on("cancelled", lambda fact: heard.append(fact.job.ref if fact.job else ""))
    job = shop.send.enqueue("ada")
    chief.press(job, "cancel")
    assert heard == [job.ref]


def test_a_cancel_is_done_whatever_becomes_of_the_word_about_it(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store goes away between the two: the page and the log of the admin tell of the cancel all the same."""
    shop.kit.on("cancelled", lambda fact: None)
    jobs = [shop.send.enqueue("ada"), shop.send.enqueue("bob")]
    page = chief.get(page_of(jobs[0]))

    def away(handle: object) -> object:
        raise StoreUnavailable("the store went away", outcome="refused")

    with monkeypatch.context() as patch:
        patch.setattr(JobHandle, "get", away)
        patch.setattr(JobHandle, "_get", lambda handle, at: away(handle))
        assert messages(chief.press(jobs[0], "cancel", page=page)) == [f"Cancelled 1 job: {jobs[0].ref}."]
        assert jobs[1].cancel()
    assert [job.status() for job in jobs] == ["cancelled"] * 2
    assert caplog.text.count("hooks were not told that job") == 2
    assert "Cancelled." in chief.get(page_of(jobs[0]).replace("/change/", "/history/"))


def test_links_lead_only_to_what_may_be_seen(shop: Shop, somebody: Callable[..., Person]) -> None:
    shop.failed()
    both, one = somebody("view_job", "view_queue"), somebody("view_queue")
    for address in (QUEUES, f"{QUEUES}mail/change/"):
        assert f'href="{JOBS}?queue=mail&amp;state=failed"' in both.get(address)
        assert JOBS not in one.get(address)


def test_no_page_brings_a_script_or_a_style_of_its_own() -> None:
    """So that a site's content security policy needs no exception."""
    pages = list((Path(queuekit.contrib.django.__file__).parent / "templates").rglob("*.html"))
    assert len(pages) == 9
    for page in pages:
        text = page.read_text()
        assert set(re.findall(r"<script[^>]*>", text)) <= {
            """<script src="{% url 'admin:jsi18n' %}">""",
            """<script src="{% static 'admin/js/filters.js' %}" defer>""",
        }
        assert not re.search(r"<style|style=|\son\w+=|\|safe|autoescape", text), page


# ---------------------------------------------------------------- the store is away
def _away(kit: QueueKit, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(op: object) -> None:
        raise error

    monkeypatch.setattr(kit, "run", fails)


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (StoreUnavailable("redis://:secret@db:1 does not answer"), "The job store cannot be asked"),
        (ConfigError("no store is chosen: set QUEUEKIT_URL"), "queuekit is not set up"),
    ],
)
def test_a_store_that_is_away_gives_a_page_and_503(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch, error: Exception, title: str
) -> None:
    job = shop.failed()
    _away(shop.kit, monkeypatch, error)
    for address in _addresses(job):
        page = chief.get(address, status=503)
        assert title in page, address
        assert "secret" not in page
    assert chief.get("/admin/")
    for address, fields in _forms(job):
        page = chief.send(address, status=503, **fields)
        assert "Whether it was done is not known" in page


def test_a_page_of_an_absent_store_says_when_nothing_was_done(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = shop.failed()
    _away(shop.kit, monkeypatch, StoreUnavailable("no connection", outcome="refused"))
    assert "Nothing was done." in chief.send(act_of(job), status=503, act="retry")


def test_a_store_that_goes_away_in_the_middle_is_told_job_by_job(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [shop.send.using(queue=f"q{n}", delay="1h").enqueue(str(n)) for n in range(3)]
    store, calls = shop.kit.blocking_store(), list[str]()
    real = store.change

    async def fails(queue: str, changes: Sequence[Change], op: Any) -> list[Changed]:
        calls.append(queue)
        if queue == "q1":
            raise StoreUnavailable("the wire broke")
        return await real(queue, changes, op)

    monkeypatch.setattr(type(store), "change", lambda self, *args: fails(*args))
    monkeypatch.setattr(shop.kit.access.blocking(), "within", 0.0)
    after = chief.send(JOBS, action="promote", _selected_action=[job.ref for job in jobs])
    assert messages(after) == [
        f"Promoted 1 job: {jobs[0].ref}.",
        f"The store gave no answer for {jobs[1].ref}: look at each before you try again.",
        f"Not tried: {jobs[2].ref}. the wire broke",
    ]
    assert "q2" not in calls


@pytest.mark.parametrize("error", [StoreUnavailable("the wire broke"), Conflict("it changes all the time")])
def test_queues_that_were_paused_before_the_store_went_away_are_told(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shop.kit.enqueue_many([shop.send.using(queue=queue).make("ada") for queue in ("a", "b", "c")])
    real = Queue.pause

    def fails(self: Queue, reason: str = "") -> None:
        if self.name == "b":
            raise error
        real(self, reason)

    monkeypatch.setattr(Queue, "pause", fails)
    after = chief.send(QUEUES, action="pause", _selected_action=["a", "b", "c"])
    assert messages(after) == [f"The store stopped answering at b: {error}", "Paused a."]
    assert [one.paused is not None for one in shop.kit.health().values()] == [True, False, False]
    assert str(error) in chief.send(f"{QUEUES}b/act/", status=503, act="pause")


@pytest.mark.parametrize(
    ("no", "why"),
    [
        (No.HELD, "its unique key belongs to another job now"),
        (No.MOVED, "it is on its way to another store: try again"),
        (No.CHANGED, "it changed just now: it is delayed"),
    ],
)
def test_a_refusal_says_why(shop: Shop, monkeypatch: pytest.MonkeyPatch, no: No, why: str) -> None:
    from queuekit.contrib.django.admin import acts

    job = shop.send.using(delay="1h").enqueue("ada")
    monkeypatch.setattr(acts, "_changed", lambda *_: [Changed(id=job.id, ok=False, no=no, state=State.DELAYED)])
    became = acts.act(shop.kit, Verb.PROMOTE, [acts.Chosen(job.queue, job.id)])
    assert became.refused == [(job.ref, why)]


@pytest.mark.parametrize("url", ["red://", "blue://"])
def test_a_job_is_found_and_retried_wherever_its_queue_is(
    chief: Person, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for phase in ("arriving", "on its way", "over"):
        worlds = Worlds()
        job = Shop(worlds.kit("red://")).failed()
        move = worlds.move("mail")
        move.arrive()
        if phase != "arriving":
            move.leave()
            parcels = move.out()
            if phase == "over":
                move.bring(parcels)
                move.forget(parcels)
        kit = worlds.kit(url, timeout=100 if phase == "on its way" else 2000)  # of an act that will not succeed
        monkeypatch.setattr(queuekit.contrib.django, "get_kit", lambda kit=kit: kit)
        after = chief.press(job, "retry")
        if phase == "on its way":
            assert messages(after) == [f"Not retried: {job.ref} (it is on its way to another store: try again)."]
        else:
            assert messages(after) == [f"Retried 1 job: {job.ref}."]
        assert job.status() == (State.FAILED if phase == "on its way" else State.WAITING)
        for one in worlds.kits:
            one.close()


# ---------------------------------------------------------------- at home in Django
def test_commands_that_read_every_model_ask_for_no_table(django_rows: None) -> None:
    from django.core.management import call_command

    for options in ([], ["--all"]):
        out = io.StringIO()
        call_command("dumpdata", "queuekit", *options, stdout=out)
        assert json.loads(out.getvalue()) == []
    call_command("makemigrations", "--check", "--dry-run", "-v", "0")


def test_the_pages_pass_djangos_checks_and_live_on_another_site(shop: Shop, chief: Person) -> None:
    from django.contrib import admin
    from django.core.checks import run_checks
    from django.test import override_settings
    from django.urls import path

    from queuekit.contrib.django import models
    from queuekit.contrib.django.admin import JobAdmin, QueueAdmin

    office = admin.AdminSite("back-office")
    office.register(models.Job, JobAdmin)
    office.register(models.Queue, QueueAdmin)
    assert [one for one in run_checks() if not str(one.id).startswith("queuekit.")] == []

    class Urls:
        urlpatterns = (path("office/", office.urls), path("admin/", admin.site.urls))

    job = shop.failed()
    with override_settings(ROOT_URLCONF=Urls):
        page = chief.get(page_of(job).replace("/admin/", "/office/"))
        assert act_of(job).replace("/admin/", "/office/") in page
        assert 'href="/admin/' not in page
        assert f'href="{JOBS}' not in chief.get(QUEUES.replace("/admin/", "/office/"))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_djangos_own_script_finds_its_boxes(shop: Shop, chief: Person, tmp_path: Path) -> None:
    from django.contrib import admin

    shop.kit.enqueue_many([shop.send.make(f"n{n}") for n in range(101)])
    page = chief.get(JOBS)
    (tmp_path / "jsi18n.js").write_text(chief.get("/admin/jsi18n/"))
    static = Path(admin.__file__).parent / "static"
    page = page.replace('"/static/queuekit/', f'"{Path(queuekit.contrib.django.__file__).parent}/static/queuekit/')
    page = page.replace('"/static/', f'"{static}/').replace('"/admin/jsi18n/"', '"jsi18n.js"')
    tick = "addEventListener('load', () => setTimeout(() => document.getElementById('action-toggle').click()))"
    (tmp_path / "page.html").write_text(page.replace("</body>", f"<script>{tick}</script></body>"))
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *("--disable-component-update", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path / 'page.html'}"),
    ]
    try:
        seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        pytest.skip(f"Chromium does not run here: {error}")
    assert "100 of 100 selected" in seen
    assert '<span class="question"><a role="button" href="#">Select all jobs that match (101)' in seen
