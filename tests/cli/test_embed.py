"""The command line inside another program: its kit, its name, its exit code, and nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit
from queuekit.cli import embed
from queuekit.handle import KITS
from queuekit.settings import VARIABLES
from queuekit.settings.mapped import mapped

PROG = "site queuekit"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[QueueKit]:
    """A kit whose program has settings of its own."""
    made = QueueKit()
    config = {"URL": f"sqlite:///{tmp_path / 'own.db'}"}
    made._configuration.framework = lambda: mapped(config, show=lambda key: f"site[{key!r}]", style="short")

    @made.task(queue="work")
    def double(n: int) -> int:
        return 2 * n

    with made:
        yield made


def run(kit: QueueKit, *arguments: str, note: str = "") -> int:
    return embed.run(arguments, kit=lambda: kit, prog=PROG, note=note)


def test_it_is_all_of_it_under_the_programs_name(kit: QueueKit, capsys: pytest.CaptureFixture[str]) -> None:
    def never() -> QueueKit:
        raise AssertionError("help needs no kit")

    assert embed.run(["--help"], kit=never, prog=PROG) == 0
    said = capsys.readouterr().out
    assert "Usage: site queuekit [OPTIONS] COMMAND" in said
    assert "`site queuekit ping`" in said
    assert "completion" not in said
    assert [name for name in ("worker", "jobs", "migrate", "export") if name not in said] == []
    assert embed.run(["migrate", "--help"], kit=never, prog=PROG, note="Jobs, not the database.") == 0
    assert "Jobs, not the database." in capsys.readouterr().out
    assert embed.run(["migrate", "--help"], kit=never, prog=PROG) == 0
    assert "Jobs, not the database." not in capsys.readouterr().out


def test_it_looks_with_the_programs_kit_and_says_what_chose_its_store(
    kit: QueueKit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.queue("work").enqueue("double", {"n": 4}, id="one")
    assert run(kit, "ping", "--json") == 0
    assert json.loads(capsys.readouterr().out)["chosen_by"] == "site['URL']"
    assert run(kit, "--json", "jobs", "show", "work/one") == 0
    assert json.loads(capsys.readouterr().out)["attempts"] == 3
    assert kit.job("work/one").status() == "waiting", "the kit is still open"


def test_it_enqueues_as_the_programs_tasks_say(kit: QueueKit, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(kit, "enqueue", "work", "duble", '{"n": 1}') == 2
    assert "did you mean 'double'?" in capsys.readouterr().err
    assert run(kit, "enqueue", "work", "double", '{"n": "x"}') == 2
    assert "n: Input should be a valid integer" in capsys.readouterr().err


def test_another_store_and_namespace_can_be_named_for_one_command(
    kit: QueueKit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    before = kit.queue("work").enqueue("double", {"n": 4}, id="one")  # its settings are read: they are read again
    assert run(kit, "-u", other, "enqueue", "work", "double", '{"n": 1}', "-o", "id=two") == 0
    assert run(kit, "-n", "apart", "enqueue", "work", "double", '{"n": 1}', "-o", "id=three") == 0
    capsys.readouterr()
    assert run(kit, "-u", other, "ping", "--json") == 0
    assert json.loads(capsys.readouterr().out)["chosen_by"] == "--url"
    assert {name for name in VARIABLES if name in os.environ} == set()
    assert KITS["default"] is kit, "handles that travelled come back to the program's kit"
    assert [before.status(), kit.job("work/two").status(), kit.job("work/three").status()] == [
        "waiting",
        *["unknown"] * 2,
    ]
    with QueueKit(other) as there, QueueKit(kit.settings.url, name="apart", namespace="apart") as apart:
        assert [there.job("work/two").status(), apart.job("work/three").status()] == ["waiting", "waiting"]


def test_a_store_named_in_code_is_still_another_for_looking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with QueueKit(f"sqlite:///{tmp_path / 'code.db'}", namespace="code") as kit:
        assert run(kit, "-u", f"sqlite:///{tmp_path / 'other.db'}", "ping", "--json") == 0
        assert json.loads(capsys.readouterr().out)["store"].endswith("other.db")


def test_errors_are_told_by_the_programs_name_and_exit_codes_come_back(
    kit: QueueKit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(kit, "nope") == 2
    assert run(kit, "jobs", "show", "work/none") == 1
    assert run(kit, "-A", "nope:kit", "worker") == 2
    assert "site queuekit: nope:kit: no module 'nope'" in capsys.readouterr().err
    assert run(kit, "-u", "redis://127.0.0.1:1", "ping") == 69
    assert "redis://127.0.0.1:1 (chosen by --url)" in capsys.readouterr().err


def test_a_module_of_tasks_that_fails_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failing_tasks.py").write_text("import nothing_of_this_name\n")
    sys.path.insert(0, str(tmp_path))
    try:
        assert run(QueueKit("memory://", imports=["failing_tasks"]), "worker") == 2
    finally:
        sys.path.remove(str(tmp_path))
    said = capsys.readouterr().err
    assert said.count(PROG) == 1
    assert "failing_tasks.py" in said
    assert "No module named 'nothing_of_this_name'" in said


def test_a_worker_runs_the_programs_tasks(kit: QueueKit) -> None:
    job = kit.tasks()["double"].enqueue(n=4)
    assert run(kit, "worker", "--burst") == 0
    assert job.result(timeout=10) == 8


def test_ctrl_c_comes_back_as_an_exit_code(kit: QueueKit, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> QueueKit:
        raise KeyboardInterrupt

    assert embed.run(["ping"], kit=interrupted, prog=PROG) == 130


def test_the_programs_logging_stays_unless_the_command_line_says_how(kit: QueueKit, tmp_path: Path) -> None:
    root = logging.getLogger()
    theirs = list(root.handlers)
    assert theirs, "pytest's own, as a framework has its own"
    during: list[list[logging.Handler]] = []

    @kit.task(queue="work")
    def look() -> None:
        during.append(list(root.handlers))

    look.enqueue()
    assert run(kit, "worker", "--burst") == 0
    assert during == [theirs]
    look.enqueue()
    assert run(kit, "worker", "--burst", "--log-file", str(tmp_path / "worker.log")) == 0
    assert during[1] != theirs
    assert "1 runs" in (tmp_path / "worker.log").read_text()
    assert root.handlers == theirs


def test_processes_of_a_worker_find_the_programs_kit_again(tmp_path: Path) -> None:
    (tmp_path / "embedding.py").write_text(
        "import os, sys\nfrom queuekit import QueueKit\nfrom queuekit.cli import embed\n\n"
        "def make():\n    kit = QueueKit()\n\n    @kit.task(queue='work')\n    def pid() -> int:\n"
        "        return os.getpid()\n    return kit\n\n"
        "if __name__ == '__main__':\n"
        "    code = embed.run(sys.argv[1:], kit=make(), prog='site queuekit', app_name='embedding:make')\n"
        "    print('back with', code)\n"
    )
    url = f"sqlite:///{tmp_path / 'own.db'}"
    with QueueKit(url, name="outside") as kit:
        jobs = [kit.queue("work").enqueue("pid") for _ in range(4)]
        command = [sys.executable, "embedding.py", "-u", url, "worker", "-p", "2", "--burst"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, told = process.communicate(timeout=60)
        finally:
            process.kill()
        assert said == "back with 0\n", told
        assert process.pid not in [job.result(timeout=0) for job in jobs]


def test_term_ends_a_worker_in_order_and_the_program_goes_on(tmp_path: Path) -> None:
    (tmp_path / "embedding.py").write_text(
        "import sys\nfrom queuekit import QueueKit\nfrom queuekit.cli import embed\nkit = QueueKit()\n"
        "@kit.task\ndef hello() -> None:\n    print('ran', flush=True)\n"
        "if __name__ == '__main__':\n    print('back with', embed.run(sys.argv[1:], kit=kit, prog='site queuekit'))\n"
    )
    url = f"sqlite:///{tmp_path / 'own.db'}"
    with QueueKit(url, name="outside") as kit:
        kit.queue("default").enqueue("hello")
    command = [sys.executable, "embedding.py", "-u", url, "worker"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ran\n"
        process.send_signal(signal.SIGTERM)
        said, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert said == "back with 0\n", told
