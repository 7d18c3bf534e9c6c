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
    sys.stdout.buffer.write(bytes(path) + b"\\0")
print(good, bad, words, points)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 300 files: text in several scripts, empty ones, no last newline, not UTF-8, names of all kinds."""
    root, dice = tmp_path_factory.mktemp("tree"), random.Random(7)
    words = ["queue", "żółw", "待つ", "\u00a0", "a\tb", "été", "x" * 40, "🦊", "\r\n", "\n", "\n\n", "\x0c", "\u2028"]
    for n in range(300):
        folder = root / f"d{n % 7}" / ("ü b" if n % 3 else ".hidden")
        folder.mkdir(parents=True, exist_ok=True)
        text = " ".join(dice.choice(words) for _ in range(dice.randrange(200)))
        data = text.encode() if n % 33 else text.encode() + b"\xff\xfe"
        (folder / f"file {n}.txt").write_bytes(data if n % 50 else b"" if n % 33 else data)
    for name in (b"not \xff text", b"two\nlines", b"back\\slash", b"100%25", b"-rf", b"\xed\xa0\x80"):
        (root / os.fsdecode(name)).write_bytes(b"three little words\n")
    (root / "link").symlink_to(root / "d0")
    (root / "link.txt").symlink_to(root / "nowhere")
    return root


@pytest.fixture(scope="module")
def expected(tree: Path) -> dict[str, Any]:
    """The totals, by other programs."""
    *files, totals = subprocess.check_output([sys.executable, "-c", SCRIPT, str(tree)]).split(b"\0")
    good, bad, words, points = map(int, totals.split())
    lines = int(subprocess.check_output(["wc", "-l", *files]).split(b"\n")[-2].split()[0])  # the last row: "n total"
    rows = subprocess.check_output(["sha256sum", *files]).decode(errors="surrogateescape").splitlines()
    sums = sorted(row.split()[0].lstrip("\\") for row in rows)
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
    before = _queues(store_env)
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
    assert _queues(store_env) == before  # nothing is left


def test_totals_are_the_same_after_a_worker_was_killed(
    store_env: dict[str, str], tree: Path, expected: dict[str, Any]
) -> None:
    before = _queues(store_env)
    with subprocess.Popen(  # the pause: long enough to be hit in mid-work
        [QUEUEKIT, "demo", str(tree), "--pause", "150ms", "--json"],
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
    assert _queues(store_env) == before  # nothing is left


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


def test_workers_that_all_died_are_replaced(clean_env: dict[str, str], tree: Path, expected: dict[str, Any]) -> None:
    with subprocess.Popen(
        [QUEUEKIT, "demo", str(tree), "--pause", "150ms", "--json"],
        env=clean_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        _first_worker_at_work(demo.pid)
        for victim in _workers(demo.pid):
            os.kill(victim, signal.SIGKILL)
        out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, err
    got = json.loads(out)
    assert {name: got[name] for name in expected} == expected
    assert "no worker is left" in err


def test_a_demo_that_is_told_to_stop_removes_its_queue(store_env: dict[str, str], tree: Path) -> None:
    before = _queues(store_env)
    with subprocess.Popen(
        [QUEUEKIT, "demo", str(tree), "--pause", "150ms"], env=store_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as demo:
        _first_worker_at_work(demo.pid)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
    assert (demo.returncode, b"Traceback" in err) == (130, False)
    assert _queues(store_env) == before  # nothing is left


def test_an_empty_folder_is_refused_and_memory_becomes_a_file(clean_env: dict[str, str], tmp_path: Path) -> None:
    env = clean_env | {"QUEUE_PROVIDER": "memory"}
    done = subprocess.run([QUEUEKIT, "demo", str(tmp_path)], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "no files below" in done.stderr) == (2, True)
    (tmp_path / "a.txt").write_text("a b\nc")
    done = subprocess.run(
        [QUEUEKIT, "demo", str(tmp_path), "--json"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert (got["files"], got["lines"], got["words"], got["code_points"]) == (1, 1, 3, 5)
    assert "temporary SQLite file" in done.stderr


def _workers(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(row) for row in listed.split()]


def _first_worker_at_work(pid: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        hands = _workers(pid)
        if len(hands) == 2:
            time.sleep(1.5)  # both have come and started to read; where not, the test is only easier
            return hands[0]
        time.sleep(0.02)
    raise AssertionError("the demo started no workers")


def _queues(env: dict[str, str]) -> list[tuple[str, str, int]]:
    """Whose queues the store has, and their waiting jobs: of other tests too, which name no namespace."""
    return [
        (space, queue["name"], queue["waiting"])
        for space in ("queuekit", "queuekit-demo")
        for queue in json.loads(
            subprocess.check_output([QUEUEKIT, "-n", space, "queues", "list", "--json"], env=env, text=True)
        )
    ]
