"""The runbook of docs/moving.md, on the service in examples/switch_store, under load: every order is delivered once."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "examples" / "switch_store"
PATIENCE = 60.0  # seconds


class Shop:
    """The processes of the service, in a folder of their own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env | {"PYTHONPATH": str(SERVICE), "SECONDS_EACH": "0.05"}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """A process; what it prints goes to a file of its name."""
        with (self.folder / f"{name}.out").open("wb") as out, (self.folder / f"{name}.err").open("wb") as err:
            process = subprocess.Popen(command, cwd=self.folder, env=self.env | env, stdout=out, stderr=err)
        self.running.append(process)
        return process

    def sold(self) -> list[str]:
        """Orders that were taken, as the customers were told."""
        return [line for path in sorted(self.folder.glob("sell-*.out")) for line in path.read_text().splitlines()]

    def delivered(self) -> list[str]:
        book = self.folder / "delivered.txt"
        return book.read_text().splitlines() if book.exists() else []

    def counted(self) -> list[datetime]:
        """The slots whose jobs ran, as their ids tell."""
        book = self.folder / "counted.txt"
        lines = book.read_text().splitlines() if book.exists() else []
        return [datetime.fromisoformat(line.split()[0].removeprefix("count@")) for line in lines]

    def wait(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < deadline, f"never: {what}\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.err")))

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """TERM, as a deployment does."""
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)


@contextlib.contextmanager
def shop_in(folder: Path, env: dict[str, str]) -> Iterator[Shop]:
    shop = Shop(folder, env)
    try:
        yield shop
    finally:
        for process in shop.running:
            process.kill()
            process.wait()


@pytest.mark.timeout(240)
def test_a_service_is_switched_while_customers_buy(tmp_path: Path, clean_env: dict[str, str], redis_url: str) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", redis_url
    env = clean_env | {"QUEUEKIT_NAMESPACE": f"switch{tmp_path.name[-8:]}".replace("_", "-")}
    with shop_in(tmp_path, env) as shop:
        old_ones = {"QUEUEKIT_URL": old, "QUEUEKIT_TO_URL": new}
        new_ones = {"QUEUEKIT_URL": new, "QUEUEKIT_FROM_URL": old}
        worker = ("queuekit", "worker", "shop:kit", "-c", "2")
        sell = (sys.executable, str(SERVICE / "sell.py"))
        before = shop.start("worker-old", *worker, **old_ones)
        window = shop.start("sell-window", *sell, "window", **old_ones)
        shop.wait("orders are taken and delivered", lambda: len(shop.delivered()) > 5)
        behind = shop.start("worker-new", *worker, **new_ones)
        move = ("queuekit", "migrate", "--from", old, "--to", new)
        look = subprocess.run(
            [*move, "--dry-run"], cwd=tmp_path, env=shop.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert look.returncode == 0, look.stderr
        moved = subprocess.run(
            move, cwd=tmp_path, env=shop.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert moved.returncode == 0, moved.stdout + moved.stderr + shop.said()
        door = shop.start("sell-door", *sell, "door", **new_ones)
        taken, counted = len(shop.sold()), len(shop.counted())
        shop.wait(
            "both go on", lambda: len(shop.sold()) > taken + 20 and any("door" in one for one in shop.delivered())
        )
        shop.wait("slots go on", lambda: len(shop.counted()) > counted + 2)
        (tmp_path / "closed").touch()
        assert [window.wait(PATIENCE), door.wait(PATIENCE)] == [0, 0], shop.said()
        assert shop.end(before) == 0, shop.said()
        shop.wait("all is delivered", lambda: set(shop.sold()) <= set(shop.delivered()))
        assert shop.end(behind) == 0, shop.said()
        same = subprocess.run(
            [*move, "--verify"], cwd=tmp_path, env=shop.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert same.returncode == 0, same.stdout + same.stderr
        assert Counter(shop.delivered()) == Counter(shop.sold())
        assert "sent on there" in (tmp_path / "sell-window.err").read_text(), "it followed the queue"
        slots = sorted(shop.counted())
        assert len(slots) > 3
        assert {after - one for one, after in pairwise(slots)} == {timedelta(seconds=1)}, "each slot once, in one store"
