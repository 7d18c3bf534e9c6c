"""`queuekit export` and `queuekit import`, as a person calls them."""

from __future__ import annotations

import fcntl
import json
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.cli.conftest import QUEUEKIT, Shell
from tests.cli.test_interrupt import until


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """Three jobs on one queue, one on another."""
    for queue, task in (("mail", "send"), ("mail", "send"), ("mail", "send"), ("maths", "divide")):
        assert shell("enqueue", queue, task, '{"to":"a"}').code == 0
    return shell


@pytest.fixture
def other(filled: Shell) -> dict[str, str]:
    """The settings of a second store."""
    return {"QUEUEKIT_URL": f"sqlite:///{filled.folder / 'other.db'}"}


@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.jsonl.zst"])
def test_jobs_go_through_a_file_into_another_store(filled: Shell, other: dict[str, str], name: str) -> None:
    out = filled("export", name)
    assert out.code == 0, out.err
    assert "exported 4 jobs of 2 queues" in out.out
    came = filled("import", name, "--json", env=other)
    assert came.code == 0, came.err
    assert (came.json["jobs"], came.json["agrees"], came.json["clashes"]) == (4, True, [])
    assert came.json["queues"] == filled("export", "again.jsonl", "--json", env=other).json["queues"]
    again = filled("import", name, env=other)
    assert (again.code, again.out.splitlines()[-1]) == (0, "imported 0 of 4 jobs, 4 were there already")
    ran = filled("-q", "worker", "app:kit", "-Q", "mail", "--burst", env=other)
    assert ran.code == 0
    assert filled("queues", "show", "mail", "--json", env=other).json["counts"]["completed"] == 3


def test_through_a_pipe_nothing_but_lines_is_on_standard_output(filled: Shell, other: dict[str, str]) -> None:
    out = filled.process("export", "-", "-Q", "mail")
    assert out.code == 0
    assert [next(iter(json.loads(line))) for line in out.out.splitlines()] == [
        "header",
        "queue",
        "job",
        "job",
        "job",
        "end",
    ]
    assert "exported 3 jobs" in out.err
    came = filled.process("import", "-", stdin=out.out, env=other)
    assert (came.code, came.out.splitlines()[-1]) == (0, "imported 3 of 3 jobs")
    cut = filled.process("import", "-", stdin=out.out[:-50], env=other)
    assert cut.code == 1
    assert "line 6: the file ends within this line" in cut.err


def test_a_dry_run_tells_what_is_there_and_writes_nothing(filled: Shell, other: dict[str, str]) -> None:
    filled("export", "a.jsonl")
    before = filled("import", "a.jsonl", "--dry-run", "--json", env=other)
    assert before.code == 0
    assert before.json["queues"]["mail"] == {"new": 3, "same": 0, "differ": []}
    assert filled("queues", "list", "--json", env=other).json == []
    filled("import", "a.jsonl", env=other)
    assert filled("import", "a.jsonl", "--dry-run", "--json", env=other).json["queues"]["mail"]["same"] == 3
    filled("-q", "worker", "app:kit", "-Q", "mail", "--burst", env=other)
    after = filled("import", "a.jsonl", "--dry-run", env=other)
    assert after.code == 1
    assert after.err.count("is there, and not as in the file") == 3


def test_what_is_in_the_way_is_listed_and_what_is_missing_takes_merge(filled: Shell, other: dict[str, str]) -> None:
    filled("export", "a.jsonl", "-Q", "mail")
    filled("import", "a.jsonl", env=other)
    jobs = [job["id"] for job in filled("jobs", "list", "-Q", "mail", "--json", env=other).json["jobs"]]
    filled("jobs", "cancel", f"mail/{jobs[0]}", env=other)
    clash = filled("import", "a.jsonl", env=other)
    assert clash.code == 1
    assert f"mail/{jobs[0]}: there is another job of this id" in clash.err
    filled("jobs", "delete", f"mail/{jobs[1]}", env=other)
    partly = filled("import", "a.jsonl", env=other)
    assert partly.code == 1
    assert "1 are not" in partly.err
    assert "--merge" in partly.err
    merged = filled("import", "a.jsonl", "--merge", "--json", env=other)
    assert (merged.code, merged.json["jobs"], merged.json["same"]) == (1, 1, 1)
    assert [clash["job"] for clash in merged.json["clashes"]] == [f"mail/{jobs[0]}"]


def test_only_some_queues_and_states(filled: Shell, other: dict[str, str]) -> None:
    assert filled("export", "a.jsonl", "-Q", "mail,maths", "-s", "waiting", "-s", "delayed", "--json").json["jobs"] == 4
    assert filled("export", "b.jsonl", "-s", "failed", "--json").json["jobs"] == 0
    assert filled("import", "a.jsonl", "-Q", "maths", "--json", env=other).json["jobs"] == 1
    assert [q["name"] for q in filled("queues", "list", "--json", env=other).json] == ["maths"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["export", "a.csv"], 1, "ends in .jsonl"),
        (["export", "a.jsonl", "-Q", "nothing"], 1, "no queue nothing; there are mail, maths"),
        (["export", "a.jsonl", "-Q", "no good"], 2, "is no queue name"),
        (["export", "a.jsonl", "-s", "hungry"], 2, "'hungry' is no state"),
        (["export", "there.jsonl"], 1, "exists already"),
        (["export", "none/a.jsonl"], 1, "No such file or directory"),
        (["export"], 2, "Missing argument"),
        (["import", "none.jsonl"], 1, "No such file or directory"),
        (["import", "there.jsonl"], 1, "line 1: this is no JSON"),
        (["import", "app.py"], 1, "line 1: "),
        (["import", "good.jsonl", "-Q", "nothing"], 1, "no queue nothing in it; there are mail, maths"),
        (["import", "newer.jsonl"], 1, "format version 3; this queuekit reads up to 2: upgrade it"),
        (["import", "altered.jsonl"], 1, "line 3: it was altered"),
        (["import", "cut.jsonl"], 1, "without its end line"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    filled: Shell, other: dict[str, str], args: list[str], code: int, says: str
) -> None:
    filled("export", "good.jsonl")
    good = (filled.folder / "good.jsonl").read_text()
    (filled.folder / "there.jsonl").write_text("hello\n")
    (filled.folder / "newer.jsonl").write_text(good.replace('"v":1}', '"v":3}', 1))
    (filled.folder / "altered.jsonl").write_text(good.replace('"task":"send"', '"task":"sent"', 1))
    (filled.folder / "cut.jsonl").write_text("".join(good.splitlines(keepends=True)[:-1]))
    before = {path.name: path.read_bytes() for path in filled.folder.glob("*.jsonl*")}
    ran = filled(*args, env=other if args[0] == "import" else {})
    assert ran.code == code, ran.err
    assert says in " ".join(ran.err.replace("│", " ").split())
    assert {path.name: path.read_bytes() for path in filled.folder.glob("*.jsonl*")} == before
    if args[0] == "import":
        assert filled("queues", "list", "--json", env=other).json == []


def test_a_full_disk_is_told(filled: Shell) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(QUEUEKIT), "export", "-"],
            cwd=filled.folder, env=filled.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_ends_an_export_quietly(filled: Shell) -> None:
    process = filled.start("export", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (1, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_an_export_in_the_middle_stops_when_told(shell: Shell, number: signal.Signals, code: int) -> None:
    """In the middle for sure: nobody reads what it writes. That no file is left, tests/move/test_paths.py shows."""
    payloads = json.dumps({"to": "x" * 1000})
    assert shell("enqueue", "mail", "send", "-", stdin=(payloads + "\n") * 2000).code == 0
    process = shell.start("export", "-")
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    until(lambda: _waiting(pipe) >= 30_000, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert '"end"' not in out[-200:]
    assert "Traceback" not in err


def _waiting(pipe: int) -> int:
    """Bytes in a pipe that nobody has read."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


def test_an_export_of_what_goes_on_fails_where_stillness_is_asked(
    filled: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queuekit.move import exporter

    monkeypatch.setattr(exporter, "_same", lambda *_: False)
    ran = filled("export", "a.jsonl", "--still")
    assert ran.code == 1
    assert "mail, maths went on meanwhile" in ran.err
    assert not list(Path(filled.folder).glob("a.jsonl*"))
    told = filled("export", "a.jsonl")
    assert told.code == 0
    assert "may be in the file as it was, or be missing" in told.err
