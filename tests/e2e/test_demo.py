"""The demo against totals computed outside the package: wc, sha256sum and a ten-line script; on three stores,
also after kill -9.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import QUEUEKIT

SCRIPT = """
import pathlib, sys
words = points = good = bad = 0
for path in sorted(p for p in pathlib.Path(sys.argv[1]).rglob("*") if p.is_file() and not p.is_symlink()):
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        bad += 1
        continue
    good, words, points = good + 1, words + len(text.split()), points + len(text)
    print(path)
print(good, bad, words, points)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 files: text in several scripts, empty ones, ones without a last newline, and nine that are not UTF-8."""
    root, dice = tmp_path_factory.mktemp("tree"), random.Random(7)
    words = ["queue", "żółw", "待つ", "\u00a0", "a\tb", "été", "x" * 40, "🦊", "\r\n", "\n", "\n\n", "\x0c", "\u2028"]
    for n in range(300):
        folder = root / f"d{n % 7}" / ("ü b" if n % 3 else ".hidden")
        folder.mkdir(parents=True, exist_ok=True)
        text = " ".join(dice.choice(words) for _ in range(dice.randrange(200)))
        data = text.encode() if n % 33 else text.encode() + b"\xff\xfe"
        (folder / f"file {n}.txt").write_bytes(data if n % 50 else b"" if n % 33 else data)
    (root / "link").symlink_to(root / "d0")
    (root / "link.txt").symlink_to(root / "nowhere")
    return root


@pytest.fixture(scope="module")
def expected(tree: Path) -> dict[str, Any]:
    """The totals, by other programs."""
    said = subprocess.check_output([sys.executable, "-c", SCRIPT, str(tree)], text=True).splitlines()
    good, bad, words, points = map(int, said[-1].split())
    files = said[:-1]
    lines = sum(int(row.split()[0]) for row in _rows(["wc", "-l", *files]) if not row.endswith(" total"))
    sums = sorted(row.split()[0].lstrip("\\") for row in _rows(["sha256sum", *files]))
    digest = hashlib.sha256("\n".join(sums).encode()).hexdigest()
    return {
        "files": good + bad,
        "completed": good,
        "failed": bad,
        "lines": lines,
        "words": words,
        "code_points": points,
        "digest": digest,
    }


def test_totals_are_those_of_other_programs(store_env: dict[str, str], tree: Path, expected: dict[str, Any]) -> None:
    done = subprocess.run(
        [QUEUEKIT, "demo", str(tree), "--json"], env=store_env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert list(got) == [
        "files",
        "completed",
        "failed",
        "retried",
        "lines",
        "words",
        "code_points",
        "digest",
        "workers",
    ]
    assert {name: got[name] for name in expected} == expected
    assert 0 < got["retried"] < expected["files"] / 5
    assert len(got["workers"]) == 2
    assert sum(got["workers"].values()) == expected["files"]
    _nothing_is_left(store_env)


def test_totals_are_the_same_after_a_worker_was_killed(
    store_env: dict[str, str], tree: Path, expected: dict[str, Any]
) -> None:
    with subprocess.Popen(  # the pause: long enough to be hit in mid-work
        [QUEUEKIT, "demo", str(tree), "--pause", "50ms", "--json"],
        env=store_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        victim = _first_worker_at_work(demo.pid)
        os.kill(victim, signal.SIGKILL)
        out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, err
    got = json.loads(out)
    assert {name: got[name] for name in expected} == expected
    assert sum(got["workers"].values()) == expected["files"]
    assert f"worker {victim} died (signal 9)" in err
    _nothing_is_left(store_env)


def test_the_report_for_people_tells_the_same(
    clean_env: dict[str, str], tree: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    done = subprocess.run(
        [QUEUEKIT, "demo", str(tree)],
        env=clean_env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for said in (
        expected["digest"],
        f"{expected['lines']:,} lines",
        "not UTF-8",
        "jobs/s",
        "p99",
        "largest files",
        "worker pid",
    ):
        assert said.lower() in done.stdout.lower()
    assert list(tmp_path.iterdir()) == []  # the default store of a demo is a temporary one


def _rows(command: list[str]) -> list[str]:
    return subprocess.check_output(command, text=True).splitlines()


def _first_worker_at_work(pid: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = subprocess.run(
            ["ps", "-o", "pid=,time=", "--ppid", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        hands = [int(row.split()[0]) for row in found.splitlines()]
        if len(hands) == 2:
            time.sleep(1.0)  # both have started to read
            return hands[0]
        time.sleep(0.02)
    raise AssertionError("the demo started no workers")


def _nothing_is_left(env: dict[str, str]) -> None:
    for namespace in ("queuekit", "queuekit-demo"):
        listed = subprocess.check_output([QUEUEKIT, "-n", namespace, "queues", "list", "--json"], env=env, text=True)
        assert json.loads(listed) == []
