"""The page of schedules in Django's admin: who may see and do what, what is shown, what a button does."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import queuekit.contrib.django
from queuekit import QueueKit, Schedule, StoreUnavailable, Unsupported, ids
from tests.contrib.django_admin.pages import JOBS, Person, Shop, messages, ticks, work

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SCHEDULES = "/admin/queuekit/schedule/"
PAGE, ACT = f"{SCHEDULES}digest/change/", f"{SCHEDULES}digest/act/"
NASTY = "</pre><script>alert(1)</script><b onclick='x'>&amp;"
VERBS = ("pause", "resume", "fire", "delete")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The project's kit on a file of its own, with two schedules."""
    with QueueKit(f"sqlite:///{tmp_path}/jobs.db", name=f"t{ids.nonce()[:8]}") as kit:
        monkeypatch.setattr(queuekit.contrib.django, "get_kit", lambda: kit)
        made = Shop(kit)
        made.down = False
        kit.schedules.put("digest", made.send.make("ada"), cron="0 9 * * mon-fri", timezone="Europe/Berlin")
        kit.schedules.put("check", made.remind.make("tea"), every="1h")
        yield made


@pytest.fixture
def somebody(django_rows: None) -> Callable[..., Person]:
    """A person who is signed in, with these permissions."""

    def make(*permissions: str, staff: bool = True, superuser: bool = False, checks: bool = False) -> Person:
        from django.contrib.auth.models import Permission, User
        from django.test import Client

        name = f"u{ids.nonce()[:8]}"
        user: User = User.objects.create_user(name, password="pw", is_staff=staff, is_superuser=superuser)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="queuekit", codename__in=permissions)
        )
        assert user.user_permissions.count() == len(permissions)
        client = Client(enforce_csrf_checks=checks)
        client.force_login(user)
        return Person(client)

    return make


@pytest.fixture
def chief(somebody: Callable[..., Person]) -> Person:
    return somebody(superuser=True)


def stored(shop: Shop, id: str = "digest") -> Schedule:
    found = shop.kit.schedules.get(id)
    assert found is not None
    return found


def listed(page: str) -> list[str]:
    return re.findall(r'<th class="field-schedule"><a href="[^"]*">([^<]*)</a>', page)


def value(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])


def forms() -> list[tuple[str, dict[str, str]]]:
    ticked = {"_selected_action": "digest~", "confirmed": "yes"}
    return [
        *((ACT, {"act": verb, "confirmed": "yes"}) for verb in VERBS),
        *((SCHEDULES, {"action": verb, **ticked}) for verb in VERBS),
    ]


# ---------------------------------------------------------------- who
@pytest.mark.parametrize("who", ["nobody", "customer", "staff", "of jobs"])
def test_who_may_not_see_schedules_sees_and_does_nothing(shop: Shop, somebody: Callable[..., Person], who: str) -> None:
    from django.test import Client

    everything = ("view_schedule", "change_schedule", "delete_schedule")
    if who == "nobody":
        client = Client()
    elif who == "customer":
        client = somebody(*everything, staff=False).client
    elif who == "staff":
        client = somebody().client
    else:
        client = somebody("view_job", "change_job", "delete_job", "view_queue", "change_queue").client
    refused = 302 if who in ("nobody", "customer") else 403
    for address in (SCHEDULES, PAGE, f"{SCHEDULES}digest/history/"):
        answer = client.get(address)
        assert (answer.status_code, b"mon-fri" in answer.content) == (refused, False), address
    assert client.get(f"{SCHEDULES}digest/delete/").status_code == 302
    for address, fields in forms():
        assert client.post(address, fields).status_code == refused, address
    assert (stored(shop).paused, shop.kit.health()["mail"].waiting) == (None, 0)


def test_who_may_look_changes_nothing_and_sees_no_payload(shop: Shop, somebody: Callable[..., Person]) -> None:
    person = somebody("view_schedule")
    assert SCHEDULES in person.get("/admin/")
    assert ticks(person.get(SCHEDULES)) == []
    page = person.get(PAGE)
    for said in ('name="act"', "Payload", "ada"):
        assert said not in page
    for address, fields in forms():
        assert person.client.post(address, fields).status_code == 403, address
    both = somebody("view_schedule", "view_job").get(PAGE).replace("&quot;", '"')
    assert '"to": "ada"' in both
    assert (stored(shop).paused, shop.kit.health()["mail"].waiting) == (None, 0)


def test_each_verb_needs_its_own_permission(shop: Shop, somebody: Callable[..., Person]) -> None:
    changer, deleter = somebody("change_schedule"), somebody("view_schedule", "delete_schedule")
    assert 'value="delete"' not in changer.get(PAGE)
    assert changer.client.post(ACT, {"act": "delete", "confirmed": "yes"}).status_code == 403
    assert 'value="pause"' not in deleter.get(PAGE)
    for verb in ("pause", "resume", "fire"):
        assert deleter.client.post(ACT, {"act": verb}).status_code == 403
    assert somebody("delete_schedule").client.post(ACT, {"act": "delete", "confirmed": "yes"}).status_code == 403
    assert messages(changer.send(ACT, act="pause")) == ["Paused digest."]
    assert messages(deleter.agree(deleter.send(ACT, act="delete"))) == ["Deleted digest."]
    assert shop.kit.schedules.get("digest") is None


def test_nothing_is_done_without_a_token_or_by_a_link(shop: Shop, somebody: Callable[..., Person]) -> None:
    person = somebody(superuser=True, checks=True)
    for address, fields in forms():
        assert person.client.post(address, fields).status_code == 403, address
    for verb in VERBS:
        assert person.client.get(f"{ACT}?act={verb}").status_code == 405
    assert person.client.get(f"{SCHEDULES}add/").status_code == 403
    person.get(PAGE)
    token = person.client.cookies["csrftoken"].value
    assert person.client.post(PAGE, {"act": "fire", "csrfmiddlewaretoken": token}).status_code == 405
    assert person.client.post(ACT, {"act": "obliterate", "csrfmiddlewaretoken": token}).status_code == 403
    assert (stored(shop).paused, shop.kit.health()["mail"].waiting) == (None, 0)
    assert messages(person.send(ACT, act="pause", csrfmiddlewaretoken=token)) == ["Paused digest."]


# ---------------------------------------------------------------- what is shown
def test_the_list_has_the_next_one_first_and_can_be_searched(shop: Shop, chief: Person) -> None:
    shop.kit.schedules.put("other", shop.send.using(queue="other").make("bob"), cron="0 9 1 1 *")
    shop.kit.schedules.pause("check", "a quiet week")
    page = chief.get(SCHEDULES)
    assert listed(page) == ["digest", "other", "check"]
    assert "cron 0 9 * * mon-fri, timezone Europe/Berlin" in page
    assert "<strong>paused</strong> a quiet week" in page
    assert listed(chief.get(f"{SCHEDULES}?q=REMIND")) == ["check"]
    assert listed(chief.get(f"{SCHEDULES}?queue=other")) == ["other"]
    assert "No schedule matches" in chief.get(f"{SCHEDULES}?q=nothing")


def test_a_long_list_has_pages(shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.contrib.django.admin import ScheduleAdmin

    monkeypatch.setattr(ScheduleAdmin, "list_per_page", 2)
    for n in range(3):
        shop.kit.schedules.put(f"s{n}", shop.send.make("bob"), every="1d")
    found, address = list[str](), SCHEDULES
    for _ in range(4):
        page = chief.get(address)
        found += listed(page)
        further = re.search(r'<a href="([^"]*)" rel="next">', page)
        if further is None:
            break
        address = SCHEDULES + html.unescape(further[1])
    assert sorted(found) == ["check", "digest", "s0", "s1", "s2"]
    assert len(listed(chief.get(f"{SCHEDULES}?page=none"))) == 2


def test_a_page_shows_the_next_ten_moments_and_the_last_job(shop: Shop, chief: Person) -> None:
    from django.utils import timezone

    job = shop.kit.schedules.fire("digest")
    page = chief.get(PAGE)
    assert len(re.findall(r"<li><time", page)) == 10
    for moment in stored(shop).preview(10):
        assert timezone.localtime(moment).strftime("%a %Y-%m-%d %H:%M:%S") in page
    assert f'href="{JOBS}mail_2Fdigest_40manual' in page
    shop.kit.schedules.put("soon", shop.send.make("bob"), every="1h", count=3)
    assert len(re.findall(r"<li><time", chief.get(f"{SCHEDULES}soon/change/"))) == 3
    shop.kit.schedules.pause("digest")
    assert "if it were resumed now" in chief.get(PAGE)
    assert messages(chief.get(f"{SCHEDULES}none/change/")) == ["There is no schedule none."]
    assert "There is no schedule" in messages(chief.get(f"{SCHEDULES}a_20b/change/"))[0]
    work(shop.kit)
    assert job.status() == "completed"


def test_everything_a_schedule_says_is_escaped(shop: Shop, chief: Person) -> None:
    shop.kit.schedules.put("digest", shop.kit.queue("mail").make("unknown", {NASTY: NASTY}), every="1h")
    shop.kit.schedules.pause("digest", NASTY)
    for address in (SCHEDULES, PAGE, f"{SCHEDULES}?q={NASTY}&queue={NASTY}"):
        page = chief.get(address)
        assert "<script>alert" not in page
        assert "onclick='x'" not in page
    assert "&lt;script&gt;alert(1)" in chief.get(PAGE)


def test_a_store_without_schedules_has_one_plain_line(
    shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object) -> None:
        raise Unsupported("this store keeps no schedules: use Redis, MongoDB or SQLite")

    monkeypatch.setattr(type(shop.kit.schedules), "all", lacks)
    page = chief.get(SCHEDULES)
    assert "this store keeps no schedules" in page
    assert "<table" not in page.split('id="content-main"')[1]


def test_a_store_that_is_away_gives_a_page_and_503(shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(op: object) -> None:
        raise StoreUnavailable("redis://:secret@db:1 does not answer")

    monkeypatch.setattr(shop.kit, "run", fails)
    for address in (SCHEDULES, PAGE):
        page = chief.get(address, status=503)
        assert "cannot be asked" in page
        assert "secret" not in page
    assert "Whether it was done is not known" in chief.send(ACT, status=503, act="pause")


# ---------------------------------------------------------------- what is done
def test_a_schedule_is_paused_with_a_reason_and_resumed(shop: Shop, chief: Person) -> None:
    page = chief.send(ACT, act="pause", reason="server moves")
    assert messages(page) == ["Paused digest."]
    one = stored(shop)
    assert (one.paused, one.next_at) == ("server moves", None)
    assert one.paused_by is not None
    assert f"server moves ({one.paused_by})" in page
    assert messages(chief.send(ACT, act="pause")) == ["Not paused: digest (it is paused already)."]
    assert 'value="resume"' in page
    assert 'value="pause"' not in page
    assert messages(chief.send(ACT, act="resume")) == ["Resumed digest."]
    assert stored(shop).next_at is not None
    assert messages(chief.send(ACT, act="resume")) == ["Not resumed: digest (it is not paused)."]


def test_a_page_that_is_sent_twice_fires_once(shop: Shop, chief: Person) -> None:
    page = chief.get(PAGE)
    assert messages(chief.send(ACT, act="fire", seen=value(page, "seen"))) == ["Fired digest."]
    fired = stored(shop).by_hand
    assert fired is not None
    assert str(fired["by"]).startswith("u")  # the person at the browser, not this process
    again = messages(chief.send(ACT, act="fire", seen=value(page, "seen")))
    assert re.fullmatch(r"Not fired: digest \(it made digest@manual-\S+ since this page was made\)\.", again[0])
    work(shop.kit)
    assert shop.ran == ["ada"]
    assert messages(chief.send(ACT, act="fire", seen=value(chief.get(PAGE), "seen"))) == ["Fired digest."]
    work(shop.kit)
    assert shop.ran == ["ada", "ada"]
    assert stored(shop).next_at == stored(shop).preview(1)[0]


def test_ticked_schedules_are_acted_upon_and_the_others_told(shop: Shop, chief: Person) -> None:
    boxes = ticks(chief.get(SCHEDULES))
    assert sorted(boxes) == ["check~", "digest~"]
    shop.kit.schedules.pause("check")
    after = messages(chief.send(SCHEDULES, action="pause", _selected_action=[*boxes, "none~"], reason="night"))
    assert after == [
        "Paused digest.",
        "Not paused: check (it is paused already), none (there is no such schedule).",
    ]
    assert messages(chief.send(SCHEDULES, action="pause")) == ["Nothing was done. Tick the schedules it is about."]
    assert messages(chief.send(SCHEDULES, _selected_action=boxes)) == ["Nothing was done. Choose an action."]
    assert messages(chief.send(SCHEDULES, action="resume", _selected_action=boxes)) == ["Resumed check, digest."]
    assert messages(chief.send(SCHEDULES, action="fire", _selected_action=boxes)) == ["Fired check, digest."]
    twice = messages(chief.send(SCHEDULES, action="fire", _selected_action=boxes))
    assert twice[0].count("since this page was made") == 2
    work(shop.kit)
    assert shop.ran == ["ada"]


def test_schedules_are_deleted_only_after_a_yes(shop: Shop, chief: Person) -> None:
    question = chief.send(SCHEDULES, action="delete", _selected_action=ticks(chief.get(SCHEDULES)))
    assert "Delete 2 schedules?" in question
    assert "comes back with the next worker" in question
    assert len(shop.kit.schedules.all()) == 2
    assert messages(chief.agree(question)) == ["Deleted check, digest."]
    assert shop.kit.schedules.all() == []


def test_the_admins_log_keeps_who_did_what(shop: Shop, chief: Person) -> None:
    from django.contrib.admin.models import LogEntry

    chief.send(ACT, act="pause", reason="night")
    chief.send(ACT, act="resume")
    chief.send(ACT, act="fire")
    chief.send(ACT, act="fire", seen="old")
    assert "Paused: night." in chief.get(f"{SCHEDULES}digest/history/")
    chief.agree(chief.send(ACT, act="delete"))
    said = LogEntry.objects.filter(content_type__app_label="queuekit").order_by("pk")
    assert [(one.object_id, one.change_message, one.action_flag) for one in said] == [
        ("digest", "Paused: night.", 2), ("digest", "Resumed.", 2), ("digest", "Fired.", 2), ("digest", "Deleted.", 3),
    ]  # fmt: skip


def test_acts_before_the_store_went_away_are_told(shop: Shop, chief: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.producing.scheduling import verbs

    real = verbs.pause

    async def fails(kit: QueueKit, at: object, id: str, reason: str = "", *, by: str | None = None) -> bool:
        if id == "digest":
            raise StoreUnavailable("the wire broke")
        return await real(kit, at, id, reason, by=by)  # type: ignore[arg-type]  # the Entry it was called with

    monkeypatch.setattr(verbs, "pause", fails)
    after = chief.send(SCHEDULES, action="pause", _selected_action=["check~", "digest~"])
    assert messages(after) == ["Paused check.", "The store stopped answering at digest: the wire broke"]
    assert stored(shop, "check").paused is not None
    assert stored(shop).paused is None
