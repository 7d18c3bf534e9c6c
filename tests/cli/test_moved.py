"""Looking and acting from the command line at a queue that moves, or moved: from the store it left, and the new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit, Settings
from queuekit.cli.choice import WHY
from queuekit.domain.query import No
from tests.cli.conftest import Shell
from tests.two_stores import Move


class Sides:
    """Two files that know each other, and a move of queue q with the job q/x, not begun."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.urls = [f"sqlite:///{folder}/{name}.db" for name in ("old", "new")]
        self.kits = [QueueKit(settings=Settings(url=url, chosen_by="test"), name=url) for url in self.urls]
        self.kits[0].queue("q").enqueue("t", {"n": 1}, id="x")
        stores = [kit.blocking_store() for kit in self.kits]
        self.move = Move(*stores, queue="q", names=("sqlite-from", "sqlite-to"))
        self.shell = shell

    def env(self, side: int) -> dict[str, str]:
        """Variables of a command line of the old store (0) or the new one."""
        return {"QUEUEKIT_URL": self.urls[side], "QUEUEKIT_TO_URL": self.urls[1], "QUEUEKIT_FROM_URL": self.urls[0]}


@pytest.fixture
def sides(shell: Shell, tmp_path: Path) -> Iterator[Sides]:
    made = Sides(shell, tmp_path)
    yield made
    for kit in made.kits:
        kit.close()


def test_every_reason_of_a_refused_change_has_words() -> None:
    assert set(WHY) == set(No)


def test_a_queue_says_where_it_lives(sides: Sides) -> None:
    def shown(side: int) -> str:
        lines = sides.shell("queues", "show", "q", env=sides.env(side)).out.splitlines()
        return next(line.split(maxsplit=1)[1] for line in lines if line.startswith("lives"))

    def told(side: int) -> tuple[str, str | None]:
        said = sides.shell("queues", "show", "q", "--json", env=sides.env(side)).json
        return said["home"], said["to"]

    assert (shown(0), told(0)) == ("here", ("here", None))
    sides.move.begin()
    assert (shown(0), told(0)) == ("here; it moves to sqlite-to", ("moving", "sqlite-to"))
    assert (shown(1), told(1)) == ("in sqlite-from; it moves here", ("arriving", "sqlite-from"))
    sides.move.carry()
    sides.move.open()
    assert (shown(1), told(1)) == ("here; its last jobs still come from sqlite-from", ("here", "sqlite-from"))
    sides.move.gone().end()
    assert (shown(0), told(0)) == ("in sqlite-to now", ("gone", "sqlite-to"))
    assert (shown(1), told(1)) == ("here", ("here", None))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("over", [False, True])
def test_a_job_is_shown_and_cancelled_wherever_it_is(sides: Sides, side: int, over: bool) -> None:
    sides.move.begin()
    if over:
        sides.move.carry()
        sides.move.open().gone().end()
    env = sides.env(side)
    assert sides.shell("jobs", "show", "q/x", "--json", env=env).json["payload"] == {"n": 1}
    why = sides.shell("jobs", "why", "q/x", env=env)
    assert why.code == 0
    ran = sides.shell("jobs", "cancel", "q/x", "--json", env=env)
    assert (ran.code, ran.json) == (0, {"asked": 1, "done": 1, "refused": []})
    assert sides.shell("jobs", "show", "x", "--json", env=env).json["state"] == "cancelled"


def test_a_job_that_is_on_its_way_is_told(sides: Sides) -> None:
    sides.move.begin().out()
    ran = sides.shell("jobs", "cancel", "q/x", env={**sides.env(0), "QUEUEKIT_TIMEOUT": "100ms"})
    assert ran.code == 1
    assert "q/x: it is, or may be, in the store its queue moves to or comes from" in ran.err


def test_an_enqueue_goes_where_the_queue_went(sides: Sides) -> None:
    sides.move.through()
    ran = sides.shell("enqueue", "q", "t", '{"n": 2}', "-o", "id=y", env=sides.env(0))
    assert ran.code == 0
    assert sides.kits[1].queue("q")._kit.job("q/y").status() == "waiting"
    alone = sides.shell("enqueue", "q", "t", "{}", env={"QUEUEKIT_URL": sides.urls[0]})
    assert alone.code != 0
    assert "Set QUEUEKIT_TO_URL to its URL" in alone.err
