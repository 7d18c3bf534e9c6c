"""`flask queuekit …`: the whole command line with the app's kit, also in the processes of a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask
from flask.cli import FlaskGroup

from queuekit.contrib.flask import FlaskKit
from queuekit.errors import ConfigError
from queuekit.settings import VARIABLES
from tests.contrib.web import site


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FlaskKit]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = FlaskKit()

    @made.task(queue="work")
    def double(n: int) -> int:
        return 2 * n

    yield made
    made.close()


@pytest.fixture
def app(kit: FlaskKit, tmp_path: Path) -> Flask:
    made = Flask("shop")
    made.config["QUEUEKIT_URL"] = f"sqlite:///{tmp_path / 'jobs.db'}"
    kit.init_app(made)
    return made


def test_the_apps_own_runner_has_it(app: Flask, kit: FlaskKit) -> None:
    runner = app.test_cli_runner()
    helped = runner.invoke(args=["queuekit", "--help"])
    assert helped.exit_code == 0
    assert "queuekit [OPTIONS] COMMAND" in helped.output
    assert "worker" in helped.output
    assert "This moves jobs, not the database." in runner.invoke(args=["queuekit", "migrate", "--help"]).output
    ping = runner.invoke(args=["queuekit", "ping", "--json"])
    assert json.loads(ping.stdout)["chosen_by"] == "app.config['QUEUEKIT_URL']"
    made = runner.invoke(args=["queuekit", "enqueue", "work", "double", '{"n": 4}', "-o", "id=one"])
    assert (made.exit_code, made.stdout) == (0, "work/one\n")
    assert runner.invoke(args=["queuekit", "worker", "--burst"]).exit_code == 0
    with app.app_context():
        assert kit.job("work/one").result(timeout=10) == 8
    assert runner.invoke(args=["queuekit", "jobs", "show", "work/none"]).exit_code == 1
    assert runner.invoke(args=["queuekit", "nope"]).exit_code == 2


def test_every_word_is_for_the_command_line_that_it_is(app: Flask) -> None:
    """Also the "--" that click would take for itself: behind it "-5" is a payload, and no option."""
    ran = app.test_cli_runner().invoke(args=["queuekit", "enqueue", "work", "double", "--", "-5"])
    assert ran.exit_code == 2
    assert "No such option" not in ran.stderr
    assert "give an object of named arguments" in ran.stderr


def test_a_group_of_the_applications_own_works_too(app: Flask) -> None:
    @click.group(cls=FlaskGroup, create_app=lambda: app)
    def manage() -> None:
        """The application's command."""

    ran = app.test_cli_runner().invoke(manage, ["queuekit", "ping"], prog_name="manage")
    assert (ran.exit_code, ran.stdout.splitlines()[0]) == (0, "PONG")


def test_an_app_whose_kit_was_taken_away_is_told(app: Flask) -> None:
    del app.extensions["queuekit"]
    ran = app.test_cli_runner().invoke(args=["queuekit", "ping"])
    assert (ran.exit_code, "'shop' has no queuekit: call kit.init_app(app)" in ran.stderr) == (78, True)
    with app.app_context(), pytest.raises(ConfigError, match="has no queuekit"):
        FlaskKit(name="another").queue("work").enqueue("double")


def test_processes_of_a_worker_make_the_app_again(tmp_path: Path) -> None:
    """Named by --app, not by a variable, and with a part of a URL that only the app's config knows."""
    env = {"SHOP_QUEUEKIT_SQLITE_PATH": str(tmp_path / "shop.db"), "SHOP_CURRENCY": "SEK"}
    flask = ("flask", "--app", "shop:create_app", "queuekit")
    with site("flask_app", tmp_path, env) as shop:
        made = shop.run(*flask, "enqueue", "orders", "charge", '{"customer": "ada", "cents": 5}', "-o", "id=o1")
        assert made.returncode == 0, made.stderr
        ran = shop.run(*flask, "worker", "-p", "2", "--burst")
        assert ran.returncode == 0, ran.stderr
        shown = json.loads(shop.run(*flask, "jobs", "show", "orders/o1", "--json").stdout)
    assert (shown["state"], shown["result"]) == ("completed", "charged 0.05 SEK to ada")
