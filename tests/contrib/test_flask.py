"""FlaskKit: an app's own settings and store, tasks registered once, the app's context around jobs and hooks."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g

from queuekit import JobContext, JobFact, Retry
from queuekit.cli import apps
from queuekit.contrib.flask import AppKit, FlaskKit
from queuekit.errors import ConfigError, MissingExtra, UnknownProvider
from queuekit.runtime import supervisor
from queuekit.settings import VARIABLES
from queuekit.testing import isolated


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kit() -> Iterator[FlaskKit]:
    """A kit with two tasks, as a module has it."""
    made = FlaskKit()

    @made.task(queue="work")
    def plain(n: int) -> str:
        return f"{current_app.name} {n}"

    @made.task(queue="work")
    async def other(n: int) -> str:
        return f"{current_app.name} {n}"

    yield made
    made.close()


def an_app(kit: FlaskKit, name: str = "shop", **config: object) -> Flask:
    """An app of a factory, with a view that enqueues and an async one."""
    app = Flask(name)
    app.config.update({"QUEUEKIT_URL": f"memory://{name}", **config})
    kit.init_app(app)

    @app.post("/<int:n>")
    def take(n: int) -> dict[str, str]:
        return {"job": kit.queue("work").enqueue("plain", {"n": n}).ref}

    @app.post("/async/<int:n>")
    async def atake(n: int) -> dict[str, str]:
        return {"job": (await kit.queue("work").aenqueue("other", {"n": n})).ref}

    return app


def of(app: Flask) -> AppKit:
    found = app.extensions["queuekit"]
    assert isinstance(found, AppKit)
    return found


def burst(app: Flask) -> None:
    assert of(app).worker(burst=True).run() == 0


# ---------------------------------------------------------------- an app's own
def test_two_apps_of_one_process_have_stores_of_their_own_and_the_same_tasks(kit: FlaskKit) -> None:
    one, two = an_app(kit, "one"), an_app(kit, "two")
    here, there = one.test_client().post("/1").json, two.test_client().post("/async/2").json
    assert here is not None
    assert there is not None
    burst(one)
    with one.app_context():
        assert kit.job(here["job"]).result(timeout=10) == "one 1"
        assert kit.job(there["job"]).status() == "unknown"
    with two.app_context():
        assert kit.job(there["job"]).status() == "waiting"
        burst(two)
        assert kit.job(there["job"]).result(timeout=10) == "two 2"


def test_options_of_one_app_are_never_anothers(kit: FlaskKit) -> None:
    task = kit.tasks()["plain"]
    one, two = an_app(kit, "one", QUEUEKIT_QUEUES={"work": {"priority": 3}}), an_app(kit, "two")
    seen = []
    for app in (one, two, one, two):  # the task keeps what it worked out for the app before
        with app.app_context():
            job = task.enqueue(n=1).get()
            by_name = kit.queue("work").enqueue("plain", {"n": 1}).get()
            assert job is not None
            assert by_name is not None
            seen.append((job.priority, by_name.priority))
    assert seen == [(3, 3), (10, 10), (3, 3), (10, 10)]


def test_without_an_app_a_call_says_what_to_do(kit: FlaskKit) -> None:
    app = an_app(kit)
    for call in (lambda: kit.tasks()["plain"].enqueue(n=1), lambda: kit.queue("work").pause(), lambda: kit.settings):
        with pytest.raises(ConfigError, match=r"with app\.app_context\(\)"):
            call()
    failed: list[BaseException] = []

    def from_a_thread() -> None:
        try:
            kit.tasks()["plain"].enqueue(n=1)
        except ConfigError as error:
            failed.append(error)

    with app.app_context():
        thread = threading.Thread(target=from_a_thread)
        thread.start()
        thread.join()
    assert "there is no Flask app here" in str(failed[0])


def test_an_app_without_a_kit_or_with_another_is_told(kit: FlaskKit) -> None:
    bare, theirs = Flask("bare"), an_app(FlaskKit(name="theirs"), "theirs")
    with bare.app_context(), pytest.raises(ConfigError, match=r"'bare' has no queuekit: call kit\.init_app"):
        kit.tasks()["plain"].enqueue(n=1)
    with theirs.app_context(), pytest.raises(ConfigError, match="another kit"):
        kit.tasks()["plain"].enqueue(n=1)
    with pytest.raises(ConfigError, match="has a queuekit already"):
        kit.init_app(theirs)


def test_a_url_in_the_apps_place_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"'redis://:\*\*\*@h' is no Flask app: write FlaskKit\(app\), or FlaskKit\(url="
    ):
        FlaskKit("redis://:secret@h")  # type: ignore[arg-type]  # as with QueueKit, where the URL comes first


def test_init_app_twice_is_once(kit: FlaskKit) -> None:
    app = an_app(kit)
    before = of(app)
    kit.init_app(app)
    assert of(app) is before


def test_an_app_can_be_given_at_once_and_is_let_go() -> None:
    app = Flask("shop")
    kit = FlaskKit(app, url="memory://given")
    with app.app_context():
        assert kit.settings.chosen_by == "QueueKit(url=…)"
    assert kit.concrete() is of(app)
    del app
    gc.collect()
    with pytest.raises(ConfigError, match=r"none has this kit yet: kit\.init_app"):
        kit.concrete()


# ---------------------------------------------------------------- settings
def test_settings_are_the_apps_config_below_the_environment(kit: FlaskKit, monkeypatch: pytest.MonkeyPatch) -> None:
    app = an_app(kit, QUEUEKIT_TIMEOUT=2, QUEUEKIT_NAMESPACE="mine")
    with app.app_context():
        assert (kit.settings.url, kit.settings.chosen_by) == ("memory://shop", "app.config['QUEUEKIT_URL']")
        assert (kit.settings.timeout, kit.settings.namespace) == (2000, "mine")
        monkeypatch.setenv("QUEUEKIT_URL", "memory://production")
        kit.reread()
        assert (kit.settings.url, kit.settings.chosen_by) == ("memory://production", "QUEUEKIT_URL")
        assert kit.settings.namespace == "mine"


def test_config_is_read_at_the_first_use_and_a_wrong_key_is_told_at_once(kit: FlaskKit) -> None:
    app = an_app(kit)
    app.config["QUEUEKIT_NAMESPACE"] = "later"
    with app.app_context():
        assert kit.settings.namespace == "later"
    with pytest.raises(ConfigError, match=r"app\.config has no key 'QUEUEKIT_ULR': did you mean 'QUEUEKIT_URL'\?"):
        an_app(kit, "wrong", QUEUEKIT_ULR="memory://")


def test_prefixed_variables_of_the_app_count(kit: FlaskKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_QUEUEKIT_URL", "memory://prefixed")
    monkeypatch.setenv("SHOP_QUEUEKIT_QUEUES__work__attempts", "7")
    app = Flask("shop")
    app.config.from_prefixed_env("SHOP")
    kit.init_app(app)
    assert of(app).settings.url == "memory://prefixed"
    assert of(app).queue_options["work"] == {"attempts": 7}


def test_production_refuses_the_silent_file(kit: FlaskKit) -> None:
    app = an_app(kit, QUEUEKIT_URL=None)
    with app.app_context(), pytest.raises(ConfigError, match="a Flask app that neither debugs nor tests forbids"):
        kit.tasks()["plain"].enqueue(n=1)
    app.config["QUEUE_PROVIDER"] = "sqlite"
    assert of(app).settings.url.startswith("sqlite:")


@pytest.mark.parametrize("flag", ["DEBUG", "TESTING"])
def test_development_and_tests_need_no_setting(kit: FlaskKit, flag: str) -> None:
    config: dict[str, Any] = {flag: True}
    assert of(an_app(kit, QUEUEKIT_URL=None, **config)).settings.chosen_by == "default"


def test_an_unknown_provider_names_the_key(kit: FlaskKit) -> None:
    app = an_app(kit, QUEUEKIT_URL="rdis://x")
    with app.app_context(), pytest.raises(UnknownProvider, match=r"app\.config\['QUEUEKIT_URL'\]='rdis://x'"):
        kit.tasks()["plain"].enqueue(n=1)


# ---------------------------------------------------------------- around a job
def test_a_job_has_a_context_of_its_own_and_its_teardown_runs(kit: FlaskKit) -> None:
    app = an_app(kit)
    ended: list[tuple[str, str]] = []
    app.teardown_appcontext(lambda error: ended.append((str(g.get("n")), type(error).__name__)))

    @kit.task(queue="work")
    def once(ctx: JobContext, n: int) -> bool:
        if ctx.attempt == 1:
            raise Retry("again", after=0)
        fresh = not hasattr(g, "n")
        g.n = n
        return fresh

    with app.app_context():
        jobs = [once.enqueue(n=1), once.enqueue(n=2)]
        burst(app)
        assert [job.result(timeout=10) for job in jobs] == [True, True]
        assert sorted(ended) == [("1", "NoneType"), ("2", "NoneType"), ("None", "Retry"), ("None", "Retry")]


def test_hooks_have_the_context_too_plain_and_async(kit: FlaskKit) -> None:
    app = an_app(kit)
    heard: list[str] = []
    kit.on("completed", lambda fact: heard.append(f"plain {current_app.name}"))

    async def told(fact: JobFact) -> None:
        g.hook = "async"
        await asyncio.sleep(0)
        heard.append(f"{g.hook} {current_app.name}")

    kit.on("completed", told)
    app.teardown_appcontext(lambda error: heard.append(f"end of {g.get('hook')}"))
    with app.app_context():
        kit.tasks()["plain"].enqueue(n=1)
        burst(app)
        assert sorted(heard) == ["async shop", "end of None", "end of None", "end of async", "plain shop"]


def test_what_is_registered_after_an_app_was_made_counts(kit: FlaskKit) -> None:
    app = an_app(kit)
    seen: list[str] = []

    @kit.middleware
    async def inside(ctx: JobContext, run: Callable[[], Any]) -> object:
        seen.append(current_app.name)
        return await run()

    @kit.processor("ledger", attempts=9)
    class Ledger:
        task: str | None = None

        def process(self, ctx: JobContext, payload: dict[str, int]) -> str:
            return f"booked {payload['cents']} for {current_app.name}"

    with app.app_context():
        job = kit.queue("ledger").enqueue("any", {"cents": 5})
        burst(app)
        assert job.result(timeout=10) == "booked 5 for shop"
        found = job.get()
        assert found is not None
        assert found.attempts == 9
    assert seen == ["shop"]


# ---------------------------------------------------------------- tests of an application
def test_isolated_takes_the_apps_tasks_and_options(kit: FlaskKit) -> None:
    app = an_app(kit, QUEUEKIT_URL="redis://nowhere.invalid:1", QUEUEKIT_QUEUES={"work": {"attempts": 2}})
    with isolated(kit) as test:
        answer = app.test_client().post("/4").json
        assert answer is not None
        job = test.drain()[0]
        assert (f"{job.queue}/{job.id}", job.result, job.attempts) == (answer["job"], "shop 4", 2)
        assert of(app).health("work")["work"].completed == 1, "the app's own kit looks at the same memory"
    assert not of(app)._access._loops


# ---------------------------------------------------------------- as an app that is named
@pytest.fixture
def shop_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`shop.py` here: an app factory, an app, and a kit."""
    (tmp_path / "flask_shop.py").write_text(
        "from flask import Flask\nfrom queuekit.contrib.flask import FlaskKit\nkit = FlaskKit(url='memory://shop')\n"
        "@kit.task\ndef hello() -> str:\n    return 'hi'\n"
        "def create_app(config=None):\n    app = Flask('shop')\n    kit.init_app(app)\n    return app\n"
        "bare = Flask('bare')\nheld = [create_app()]\napp = held[0]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    del sys.modules["flask_shop"]


@pytest.mark.parametrize("load", [apps.load, supervisor.load])
def test_an_app_a_factory_and_the_kit_itself_can_be_named(shop_module: None, load: Callable[[str], object]) -> None:
    for name in ("flask_shop:app", "flask_shop:create_app"):
        found = load(name)
        assert isinstance(found, AppKit)
        assert list(found.tasks()) == ["hello"]
        assert found.app.name == "shop"


def test_a_kit_of_several_apps_asks_which(shop_module: None) -> None:
    assert isinstance(apps.load("flask_shop:kit"), AppKit)
    shop = importlib.import_module("flask_shop")
    shop.held.append(shop.create_app())
    with pytest.raises(ConfigError, match=r"which Flask app\? several have this kit: 'shop', 'shop'"):
        apps.load("flask_shop:kit")
    with pytest.raises(ConfigError, match="which Flask app"):
        shop.kit.worker()
    with shop.app.app_context():
        assert shop.kit.concrete() is shop.app.extensions["queuekit"]


def test_an_app_without_a_kit_is_told_when_it_is_named(shop_module: None) -> None:
    with pytest.raises(apps.AppError, match=r"flask_shop:bare is a Flask without a kit: call kit\.init_app\(app\)"):
        apps.load("flask_shop:bare")


def test_without_flask_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask", None)
    monkeypatch.delitem(sys.modules, "queuekit.contrib.flask")
    with pytest.raises(MissingExtra, match=r"pip install 'queuekit\[flask\]'"):
        importlib.import_module("queuekit.contrib.flask")


def test_a_schedule_is_declared_without_an_app_and_written_by_each_with_its_own_settings(tmp_path: Path) -> None:
    """At import there is no app: the job's own options stand, the rest is what each app's settings say."""
    from queuekit.producing.scheduling.declaring import declare_schedules

    kit = FlaskKit()

    @kit.task(queue="mail")
    def send(to: str) -> None: ...

    kit.schedule("digest", send.using(attempts=5).make("team"), cron="0 9 * * *")
    zones = []
    for name, zone in (("one", "Europe/Berlin"), ("two", "Asia/Tokyo")):
        app = Flask(name)
        app.config.update(TESTING=True, QUEUEKIT_URL=f"sqlite:///{tmp_path}/{name}.db", QUEUEKIT_TIMEZONE=zone)
        kit.init_app(app)
        own = app.extensions["queuekit"]
        assert own.run(lambda at, own=own: declare_schedules(own, at)).written == ["digest"]
        with app.app_context():
            said = kit.schedules.get("digest")
        assert said is not None
        assert own.schedules.get("digest") == said
        assert said.options == {"attempts": 5}
        zones.append(said.rule["timezone"])
        own.close()
    assert zones == ["Europe/Berlin", "Asia/Tokyo"]
    with pytest.raises(ConfigError, match="no Flask app here"):
        kit.schedules.all()
