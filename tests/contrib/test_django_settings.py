"""What a Django project says in its settings: the kit it gets, what `manage.py check` finds, the command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queuekit.errors import ConfigError

pytestmark = pytest.mark.usefixtures("django_db")
DB = "redis://:geheim@localhost:1/0"


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.settings import VARIABLES

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def found(said: object, *, debug: bool = True) -> list[tuple[str, str]]:
    """(id, text) of what the check says."""
    from django.test import override_settings

    from queuekit.contrib.django.checks import check

    with override_settings(QUEUEKIT=said, DEBUG=debug):
        return [(str(one.id), f"{one.msg} {one.hint or ''}") for one in check(None)]


def test_the_public_names_are_these() -> None:
    import queuekit.contrib.django as package
    from queuekit.contrib.django import test

    assert package.__all__ == ["DjangoKit", "TaskBackend", "at_once", "get_kit", "kit", "task_options"]
    assert test.__all__ == ["QueueTestMixin", "Queues", "queue_testing"]
    assert [one for module in (package, test) for one in module.__all__ if not hasattr(module, one)] == []
    assert not hasattr(package, "anything_else")


@pytest.mark.parametrize(
    ("said", "id", "text"),
    [
        (["redis"], "E001", "settings.QUEUEKIT: use a dict, not list"),
        ({"ULR": "x"}, "E001", "settings.QUEUEKIT has no key 'ULR': did you mean 'URL'?"),
        ({"QUEUES": {"mail": {"attemps": 3}}}, "E001", "did you mean 'attempts'"),
        ({"APP": "shop"}, "E002", "use MODULE:ATTR of a DjangoKit"),
        ({"APP": "no.such:kit"}, "E002", "settings.QUEUEKIT['APP']='no.such:kit' cannot be imported"),
        ({"APP": "queuekit.contrib.django:kit"}, "E002", "use MODULE:ATTR of a DjangoKit of yours"),
        ({"APP": "tests.contrib.django_project.own:plain"}, "E002", "jobs wait for no transaction"),
        ({"APP": "tests.contrib.django_project.own:State"}, "E002", "cannot be imported"),
        ({"APP": "tests.contrib.django_project.own:QueueKit"}, "E002", "is a type, not a DjangoKit"),
        ({"ON_COMMIT": "defualt"}, "E003", "DATABASES has no 'defualt', only default, other"),
        ({"ON_COMMIT": 3}, "E003", "use True, False, or aliases of DATABASES"),
        ({"AUTODISCOVER": 3}, "E004", "use text, not int"),
        ({"PROVIDER": "rdis"}, "E005", "Did you mean 'redis'?"),
        ({"URL": "http://x"}, "E005", "no store has the URL scheme 'http'"),
        ({"TIMEOUT": "soon"}, "E005", "settings.QUEUEKIT['TIMEOUT']"),
        ({"URL": "redis+cluster://x", "IMPORTS": ["no.such"]}, "E008", "there is no module 'no.such'"),
    ],
)
def test_the_check_names_what_is_wrong(said: object, id: str, text: str) -> None:
    [(code, message)] = found(said)
    assert code == f"queuekit.{id}"
    assert text in message


def test_in_production_a_store_must_be_named() -> None:
    [(code, message)] = found({}, debug=False)
    assert code == "queuekit.E006"
    assert "DEBUG=False forbids the silent SQLite file" in message
    assert "QUEUEKIT_URL in the environment" in message
    assert found({}) == []
    assert found({"REQUIRE_PROVIDER": False}, debug=False) == []
    assert [code for code, _ in found({"REQUIRE_PROVIDER": True})] == ["queuekit.E006"]


def test_a_test_run_needs_no_store_before_a_test_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's runner sets DEBUG to False, and a failing check would end it before the first test."""
    from django.test.utils import _TestState

    monkeypatch.setattr(_TestState, "saved_data", object(), raising=False)
    [(code, message)] = found({}, debug=False)
    assert code == "queuekit.W002"
    assert "QueueTestMixin" in message
    assert [code for code, _ in found({"REQUIRE_PROVIDER": True}, debug=False)] == ["queuekit.E006"]
    assert [code for code, _ in found({"PROVIDER": "rdis"}, debug=False)] == ["queuekit.E005"]


def test_jobs_of_a_test_need_no_store() -> None:
    from django.test import override_settings

    from queuekit.contrib.django import get_kit
    from queuekit.contrib.django.test import queue_testing

    with override_settings(QUEUEKIT={}, DEBUG=False):
        with queue_testing() as queues:
            get_kit().queue("mail").enqueue("send")
            assert [job.task for job in queues.jobs()] == ["send"]
        with pytest.raises(ConfigError, match="DEBUG=False forbids"):
            get_kit().queue("mail").enqueue("send")
    wrong = pytest.raises(ConfigError, match="'soon' is no duration")
    with override_settings(QUEUEKIT={"TIMEOUT": "soon"}), queue_testing(), wrong:
        get_kit().queue("mail").enqueue("send")


def test_a_store_in_memory_is_warned_of_in_production() -> None:
    assert [code for code, _ in found({"URL": "memory://"}, debug=False)] == ["queuekit.W001"]
    assert found({"URL": "memory://"}) == []


def test_a_driver_that_is_missing_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.store import registry

    monkeypatch.setattr(registry, "schemes", dict)
    [(code, message)] = found({"URL": "redis://localhost"})
    assert (code, "pip install 'queuekit[redis]'" in message) == ("queuekit.E007", True)


def test_secrets_are_not_shown() -> None:
    text = json.dumps(found({"URL": DB, "TIMEOUT": "soon", "REDIS_PASSWORD": 7, "KEYS": "geheim"}))
    assert "TIMEOUT" in text
    assert "geheim" not in text


def test_the_environment_goes_before_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from django.test import override_settings

    from queuekit.contrib.django import get_kit

    said = {"SQLITE_PATH": tmp_path / "a.db", "NAMESPACE": "shop", "QUEUES": {"mail": {"attempts": 9}}}
    kit = get_kit()
    with override_settings(QUEUEKIT=said):
        assert (kit.settings.url, kit.settings.namespace) == (f"sqlite:///{tmp_path}/a.db", "shop")
        assert kit.settings.chosen_by == "settings.QUEUEKIT['SQLITE_PATH']"
        assert kit.queue_options["mail"]["attempts"] == 9
        monkeypatch.setenv("QUEUEKIT_NAMESPACE", "night")
        monkeypatch.setenv("REDIS_URL", "redis://of.somebody.else")
        kit.reread()
        assert (kit.settings.namespace, kit.settings.url) == ("night", "redis://of.somebody.else")
    monkeypatch.undo()
    assert kit.settings.url == "memory://django"


def test_the_projects_own_kit_is_the_kit() -> None:
    from django.test import override_settings

    import queuekit.contrib.django as package
    from tests.contrib.django_project import own

    first = package.kit
    assert first is package.get_kit()
    with override_settings(QUEUEKIT={"APP": "tests.contrib.django_project.own:kit", "URL": "memory://own"}):
        assert package.kit is own.kit
        assert (own.kit.settings.url, own.kit.queue_options["mail"]["attempts"]) == ("memory://own", 7)
        own.kit.close()
    assert package.kit is first


def test_changed_settings_are_heard_whatever_kit_took_the_name_since() -> None:
    from django.test import override_settings

    from queuekit import QueueKit
    from queuekit.contrib.django import get_kit

    before = get_kit().settings.url
    QueueKit("memory://")
    with override_settings(QUEUEKIT={"URL": "memory://changed"}):
        assert get_kit().settings.url == "memory://changed"
    assert get_kit().settings.url == before


def test_a_database_that_is_not_there_is_told_when_a_job_is_made() -> None:
    from django.test import override_settings

    from queuekit.contrib.django import get_kit

    said = {"URL": "memory://", "ON_COMMIT": "defualt"}
    with override_settings(QUEUEKIT=said), pytest.raises(ConfigError, match="DATABASES has no 'defualt'"):
        get_kit().queue("mail").enqueue("send")


def test_tasks_of_all_apps_are_found_once() -> None:
    from django.test import override_settings

    from queuekit.contrib.django import get_kit

    kit = get_kit()
    kit.load()
    kit.load()
    assert {"send_receipt", "asend_receipt"} <= set(kit.tasks())
    with override_settings(QUEUEKIT={"URL": "memory://", "AUTODISCOVER": False}):
        kit.load()


def command(*arguments: str) -> tuple[int, str]:
    from django.core.management import CommandError, call_command

    out = io.StringIO()
    try:
        call_command("queuekit", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue()
    return 0, out.getvalue()


def test_the_command_is_the_whole_command_line() -> None:
    from queuekit.contrib.django import get_kit

    code, text = command("ping", "--json")
    said: dict[str, Any] = json.loads(text)
    assert (code, said["store"], said["chosen_by"]) == (0, "memory://django", "settings.QUEUEKIT['URL']")
    get_kit().queue("pages").enqueue("show", id="mine")
    assert command("jobs", "show", "pages/none")[0] == 1
    assert command("jobs", "show", "pages/mine")[0] == 0
    assert command("jobs", "--colour")[0] == 2
    code, text = command("tasks", "--json")
    assert (code, "send_receipt" in text) == (0, True)
    get_kit().queue("pages").obliterate(confirm="pages")


def test_help_says_which_migrate_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import ManagementUtility

    assert "jobs, not the database" in " ".join(command("migrate", "--help")[1].split())
    ManagementUtility(["manage.py", "help", "queuekit"]).execute()
    assert "manage.py queuekit" in capsys.readouterr().out


def test_options_of_manage_py_are_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    from queuekit.contrib.django.management.commands.queuekit import Command

    settings = "--settings=tests.contrib.django_project.settings"
    Command().run_from_argv(["manage.py", "queuekit", settings, "-u", "memory://", "ping", "--json"])
    assert json.loads(capsys.readouterr().out)["chosen_by"] == "--url"
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "queuekit", "jobs", "show", "pages/none", "--pythonpath", "."])
    assert ended.value.code == 1


def test_first_requests_at_once_find_one_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two of them, tasks and stores would be some here, some there."""
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from functools import cache

    from queuekit.contrib.django import DjangoKit, project

    both = threading.Barrier(2)

    class Slow(DjangoKit):
        def __init__(self) -> None:
            try:
                both.wait(0.2)  # for the other thread, which must not come
            except threading.BrokenBarrierError:
                super().__init__(name="slow")
                return
            raise AssertionError("two threads make a kit each")

    monkeypatch.setattr(project, "DjangoKit", Slow)
    for name in ("_kit", "_made_here"):
        monkeypatch.setattr(project, name, cache(getattr(project, name).__wrapped__))
    with ThreadPoolExecutor(2) as threads:
        first, second = [one.result() for one in [threads.submit(project.project_kit) for _ in range(2)]]
    assert first is second


def test_requests_in_a_transaction_enqueue_with_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connections
    from django.http import HttpRequest, HttpResponse
    from django.test import Client, override_settings
    from django.urls import path

    from queuekit.contrib.django import get_kit

    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(get_kit().queue("pages").enqueue("show").status())
        if "fail" in request.GET:
            raise ValueError("no")
        return HttpResponse("")

    urls = type("urls", (), {"urlpatterns": [path("page/", view)]})
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(ROOT_URLCONF=urls):
        client = Client(raise_request_exception=False)
        assert [client.get("/page/").status_code, client.get("/page/?fail=1").status_code] == [200, 500]
    assert seen == ["uncommitted"] * 2
    assert get_kit().health("pages")["pages"].waiting == 1
    get_kit().queue("pages").obliterate(confirm="pages")


def test_schedules_go_by_the_projects_time_zone_where_it_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.test import override_settings

    from queuekit.contrib.django import conf

    with override_settings(TIME_ZONE="Asia/Tokyo"):
        assert conf.framework().defaults["timezone"].value == "Asia/Tokyo"
    with override_settings(TIME_ZONE=None, USE_TZ=False):  # Django's word for the host's zone: it names none
        assert conf.framework().defaults == {}
    plain = SimpleNamespace(QUEUEKIT={}, DEBUG=True, TIME_ZONE="America/Chicago", is_overridden=lambda name: False)
    monkeypatch.setattr(conf, "settings", plain)
    assert conf.framework().defaults == {}  # Django's own default is Chicago, which nobody chose
