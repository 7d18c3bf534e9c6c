"""`queuekit migrate`, as a person calls it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
from typing import Any

import pytest

from queuekit import ids, move
from queuekit.cli.migrate import WORDS
from queuekit.move import Phase
from tests.cli.conftest import Ran, Shell
from tests.cli.test_bad_input import free_port
from tests.cli.test_terminal import on_terminal

JOBS = 60


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """Sixty jobs on one queue, one delayed on another, in old.db; QUEUEKIT_URL names it."""
    shell.env["QUEUEKIT_URL"] = url(shell, "old")
    payloads = "".join(json.dumps({"to": str(n)}) + "\n" for n in range(JOBS))
    assert shell("enqueue", "mail", "send", "-", stdin=payloads).code == 0
    assert shell("enqueue", "maths", "divide", '{"a":1,"b":2}', "-o", "delay=1h").code == 0
    return shell


def url(shell: Shell, name: str) -> str:
    return f"sqlite:///{shell.folder / name}.db"


def counts(shell: Shell, name: str, queue: str = "mail") -> dict[str, int]:
    """The jobs of a queue in a store, by state."""
    found = shell("queues", "show", queue, "--json", env={"QUEUEKIT_URL": url(shell, name)}).json["counts"]
    return {state: n for state, n in found.items() if n}


def migrate(shell: Shell, *args: str, **env: str) -> Ran:
    return shell("migrate", "--from", "sqlite", "--to", url(shell, "new"), *args, env=env)


def said(ran: Ran) -> str:
    return " ".join((ran.out + ran.err).split())


# ------------------------------------------------------------------ the way there


def test_a_dry_run_tells_what_would_move_and_writes_nothing(filled: Shell) -> None:
    before = (filled.folder / "old.db").read_bytes()
    ran = migrate(filled, "--dry-run")
    assert ran.code == 0, ran.err
    assert "mail here 60" in said(ran)
    assert "maths: 1 delayed" in ran.err
    assert "it can begin" in ran.out
    plan = migrate(filled, "--dry-run", "--json").json
    assert plan["possible"]
    assert plan["queues"]["mail"]["jobs"]["waiting"] == JOBS
    assert plan["queues"]["mail"]["bytes"] > JOBS * 100
    assert counts(filled, "old") == {"waiting": JOBS}
    assert (filled.folder / "old.db").read_bytes() == before


def test_jobs_move_and_both_sides_agree(filled: Shell) -> None:
    ran = migrate(filled)
    assert ran.code == 0, ran.err
    assert "both sides agree" in ran.out
    assert f"mail all {JOBS}" in said(ran)
    assert "mail: live jobs, nobody works on them" in ran.err  # where it is, a line a phase
    assert counts(filled, "new") == {"waiting": JOBS}
    checked = migrate(filled, "--verify")
    assert (checked.code, checked.out.splitlines()[-1]) == (0, "both sides agree")
    assert (
        filled("-q", "worker", "app:kit", "-Q", "mail", "--burst", env={"QUEUEKIT_URL": url(filled, "new")}).code == 0
    )
    assert counts(filled, "new") == {"completed": JOBS}
    again = migrate(filled, "--json")
    assert (again.code, again.json["jobs"], again.json["agrees"]) == (0, 0, True)
    back = filled("migrate", "--from", url(filled, "new"), "--to", url(filled, "old"), "--json")
    assert (back.code, back.json["queues"]["mail"]["moved"]) == (0, {"completed": JOBS})
    assert counts(filled, "old") == {"completed": JOBS}


def test_what_differs_is_listed_by_id_with_exit_1(filled: Shell) -> None:
    filled("export", "a.jsonl")
    filled("import", "a.jsonl", env={"QUEUEKIT_URL": url(filled, "new")})
    assert migrate(filled, "--verify").code == 0  # a copy
    jobs = sorted(job["id"] for job in filled("jobs", "list", "-Q", "mail", "-s", "waiting", "--json").json["jobs"])
    new = {"QUEUEKIT_URL": url(filled, "new")}
    filled("jobs", "cancel", f"mail/{jobs[0]}", env=new)
    filled("jobs", "delete", f"mail/{jobs[1]}", env=new)
    filled("enqueue", "mail", "send", '{"to":"z"}', "-o", "id=own", env=new)
    ran = migrate(filled, "--verify")
    assert ran.code == 1
    assert f"mail/{jobs[0]}: differs" in ran.err
    assert f"mail/{jobs[1]}: only in sqlite-from" in ran.err
    assert "mail/own: only in sqlite-to" in ran.err
    assert ran.out.splitlines()[-1] == "both sides do NOT agree: 3 differences"
    report = migrate(filled, "--verify", "--json")
    assert (report.code, report.json["agrees"], report.json["queues"]["mail"]["differ"]) == (1, False, [jobs[0]])


def test_only_one_queue_and_only_what_ended(filled: Shell) -> None:
    assert migrate(filled, "-Q", "maths", "--json").json["jobs"] == 1
    assert counts(filled, "old") == {"waiting": JOBS}
    filled("-q", "worker", "app:kit", "-Q", "mail", "--burst", "--max-jobs", "10")
    done = counts(filled, "old")["completed"]
    ran = migrate(filled, "-Q", "mail", "-s", "completed", "--json")
    assert (ran.code, ran.json["queues"]["mail"]["moved"]) == (0, {"completed": done})
    assert counts(filled, "new") == {"completed": done}
    assert counts(filled, "old") == {"waiting": JOBS - done}  # the queue itself stays
    refused = migrate(filled, "-Q", "mail", "-s", "waiting")
    assert refused.code == 2
    assert "do not move alone" in refused.err


def test_a_target_with_jobs_takes_merge_and_clashes_stay(filled: Shell) -> None:
    new = {"QUEUEKIT_URL": url(filled, "new")}
    for env in ({}, new):
        assert filled("enqueue", "mail", "send", '{"to":"z"}', "-o", "id=own", env=env).code == 0
    planned = migrate(filled, "-Q", "mail", "--dry-run")
    assert planned.code == 1
    assert "it would not begin" in planned.out
    refused = migrate(filled, "-Q", "mail")
    assert refused.code == 2
    assert "--merge" in refused.err
    assert counts(filled, "new") == {"waiting": 1}
    ran = migrate(filled, "-Q", "mail", "--merge")
    assert ran.code == 1
    assert "mail/own: another job has its id; it stays at the source" in ran.err
    assert "do NOT agree" in ran.out
    assert counts(filled, "new") == {"waiting": JOBS + 1}
    assert counts(filled, "old") == {"waiting": 1}


# ------------------------------------------------------------------ which stores


def test_two_stores_of_one_kind_are_named_by_variables(filled: Shell) -> None:
    new = url(filled, "new")
    ran = filled("migrate", "--from", "sqlite", "--to", "sqlite", "--dry-run", "--json", env={"QUEUEKIT_TO_URL": new})
    assert (ran.code, ran.json["to"]) == (0, new)
    both = filled("migrate", "--dry-run", "--from-url", url(filled, "old"), "--to-url", new, "--json")
    assert (both.code, both.json["from"], both.json["to"]) == (0, url(filled, "old"), new)


@pytest.mark.parametrize(
    ("args", "env", "code", "says"),
    [
        (["--from", "sqlite", "--to", "sqlite"], {}, 2, "both sides are sqlite:///"),
        (["--from", "sqlite", "--to", "OTHER"], {}, 2, "are one and the same store"),
        (["--to", "NEW"], {}, 2, "which store? Say --from redis, mongo, sqlite or a URL"),
        (["--from", "sqlite", "--to", "rabbit"], {}, 2, "'rabbit' is no store"),
        (["--from", "sqlit", "--to", "NEW"], {}, 2, "Did you mean 'sqlite'?"),
        (["--from", "sqlite", "--to", "redis"], {}, 78, "--to redis: which one? Set REDIS_URL, or say --to-url"),
        (["--from", "mongo", "--to", "NEW"], {}, 78, "--from mongo: which one? Set MONGODB_URL"),
        (["--from", "bull", "--to", "NEW"], {}, 2, "jobs of bull are read by a later queuekit"),
        (["--from", "bullmq", "--to", "NEW"], {}, 2, "jobs of bullmq are read by a later queuekit"),
        (["--from", "agenda", "--to", "NEW"], {}, 2, "jobs of agenda are read by a later queuekit"),
        (["--from", "memory", "--to", "NEW"], {}, 78, "--from memory: which one?"),
        (["--from", "memory://", "--to", "NEW"], {}, 2, "it lives inside one process"),
        (["--from", "amqp://x", "--to", "NEW"], {}, 2, "amqp"),
        (["--from", "sqlite:////nowhere/at/all.db", "--to", "NEW"], {}, 2, "there is no file /nowhere/at/all.db"),
        (["--from", "NEW", "--to", "sqlite"], {}, 2, "there is no file"),
        (["--from", "sqlite", "--to", "NEW", "--to-url", "NEW"], {}, 2, "a URL already: leave --to-url away"),
        (["--from", "sqlite", "--to", "redis", "--to-url", "NEW"], {}, 2, "--to redis, but --to-url is sqlite"),
        (["--from", "sqlite", "--to", "NEW", "--resume", "--abort"], {}, 2, "one at a time: --resume or --abort"),
        (["--from", "sqlite", "--to", "NEW", "--verify", "-s", "failed"], {}, 2, "leave --state away"),
        (["--from", "sqlite", "--to", "NEW", "--dry-run", "-s", "failed"], {}, 2, "leave --state away"),
        (["--from", "sqlite", "--to", "NEW", "--rate", "10/h"], {}, 2, "--rate 10/h: at least one job a second"),
        (["--from", "sqlite", "--to", "NEW", "--rate", "fast"], {}, 2, "rate 'fast/s'"),
        (["--from", "sqlite", "--to", "NEW", "--batch", "0"], {}, 2, "--batch"),
        (["--from", "sqlite", "--to", "NEW", "--batch", "1001"], {}, 2, "--batch"),
        (["--from", "sqlite", "--to", "NEW", "-Q", "nothing"], {}, 1, "no queue nothing on either side"),
        (["--from", "sqlite", "--to", "NEW", "-s", "hungry"], {}, 2, "'hungry' is no state"),
        (["--from", "sqlite", "--to", "NEW", "--abandon"], {}, 2, "say -y"),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_nothing_is_begun(
    filled: Shell, args: list[str], env: dict[str, str], code: int, says: str
) -> None:
    (filled.folder / "link.db").symlink_to(filled.folder / "old.db")
    named = {"NEW": url(filled, "new"), "OTHER": url(filled, "link")}
    ran = filled("migrate", *(named.get(arg, arg) for arg in args), env=env)
    assert ran.code == code, ran.err
    assert says in " ".join(ran.err.replace("│", " ").split())
    assert counts(filled, "old") == {"waiting": JOBS}


def test_no_password_is_ever_shown(filled: Shell) -> None:
    port = free_port()
    for server in (f"redis://user:canary-7@127.0.0.1:{port}/0", f"mongodb://user:canary-7@127.0.0.1:{port}/db"):
        for args in (["--dry-run"], ["--json"]):
            ran = filled.process(
                "migrate", "--from", "sqlite", "--to", server, *args, env={"QUEUEKIT_TIMEOUT": "300ms"}
            )
            assert ran.code == 69, ran.err
            assert "canary-7" not in ran.out + ran.err
            first, cause, advice = ran.err.splitlines()[-3:]
            assert first.startswith("queuekit: one of the two stores cannot be reached: sqlite:///")
            assert f"127.0.0.1:{port}" in cause
            assert ("redis-cli" if server.startswith("redis") else "mongosh") in advice
        same = filled("migrate", "--from", server, "--to", server)
        assert "canary-7" not in same.out + same.err


def test_a_store_of_another_schema_is_refused_and_nothing_moves(filled: Shell) -> None:
    migrate(filled, "-Q", "maths")
    with sqlite3.connect(filled.folder / "new.db") as db:
        _raise_schema(db)
    db.close()
    ran = migrate(filled)
    assert ran.code == 78, ran.err
    assert "schema" in ran.err
    assert counts(filled, "old") == {"waiting": JOBS}


def _raise_schema(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version + 100}")


# ------------------------------------------------------------------ stopped in the middle


def begun(shell: Shell, *args: str) -> subprocess.Popen[str]:
    """A move so slow that it is in the middle when the first jobs have been moved."""
    process = shell.start(
        "migrate", "--from", "sqlite", "--to", url(shell, "new"), "-Q", "mail", "--rate", "1/s", "--batch", "2", *args
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "live jobs, nobody works on them" in line, line + process.stderr.read()
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_ends_the_batch_under_way_and_resume_goes_on(filled: Shell, number: signal.Signals, code: int) -> None:
    process = begun(filled)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "the batch under way ends, then this stops" in err
    assert "go on with --resume" in err
    assert "until --resume or --abort nobody gets jobs of mail" in err
    assert "Traceback" not in err
    here, there = (filled("queues", "list", env={"QUEUEKIT_URL": url(filled, name)}).out for name in ("old", "new"))
    assert re.search(r"^mail .* moving to sqlite-to", here, re.MULTILINE), here
    assert re.search(r"^mail .* arriving from sqlite-from", there, re.MULTILINE), there
    stuck = migrate(filled, "-Q", "mail")
    assert stuck.code == 1
    assert "--resume goes on" in stuck.err
    ran = migrate(filled, "-Q", "mail", "--resume", "--json")
    assert (ran.code, ran.json["queues"]["mail"]["moved"]) == (0, {"waiting": JOBS})
    assert counts(filled, "new") == {"waiting": JOBS}
    assert migrate(filled, "--verify", "-Q", "mail").code == 0


def test_a_killed_move_is_brought_back_by_abort(filled: Shell) -> None:
    process = begun(filled)
    process.kill()
    process.communicate(timeout=60)
    ran = migrate(filled, "-Q", "mail", "--abort")
    assert ran.code == 0, ran.err
    assert re.search(r"sqlite-to back to sqlite-from: \d+ jobs in", ran.out), ran.out
    assert counts(filled, "old") == {"waiting": JOBS}
    assert filled("-q", "worker", "app:kit", "-Q", "mail", "--burst").code == 0
    assert counts(filled, "old") == {"completed": JOBS}


def test_twice_a_signal_stops_at_once_and_resume_goes_on(filled: Shell) -> None:
    process = filled.start(
        "migrate", "--from", "sqlite", "--to", url(filled, "new"), "-Q", "mail", "--rate", "1/s", "--batch", "30"
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "live jobs" in first
    process.send_signal(signal.SIGTERM)
    assert "once more: at once" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert migrate(filled, "-Q", "mail", "--resume").code == 0
    assert counts(filled, "new") == {"waiting": JOBS}


@pytest.mark.parametrize("act", ["verify", "plan"])
def test_ctrl_c_while_nothing_is_written_is_no_answer(filled: Shell, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(move, act, interrupted)
    ran = migrate(filled, "--verify" if act == "verify" else "--dry-run")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "stopped; nothing was written")


def test_every_phase_has_a_word_for_people() -> None:
    assert WORDS.keys() == set(Phase)
    assert len(set(WORDS.values())) == len(WORDS)


# ------------------------------------------------------------------ real servers


def test_provider_names_take_their_own_variables(filled: Shell, redis_server: Any, mongo_server: Any) -> None:
    servers = {"REDIS_URL": redis_server.url, "MONGODB_URL": mongo_server.url}
    env = servers | {"QUEUEKIT_NAMESPACE": f"t{ids.nonce()[:11]}"}
    payloads = "".join(json.dumps({"to": str(n)}) + "\n" for n in range(JOBS))
    redis = env | {"QUEUEKIT_URL": "", "QUEUE_PROVIDER": "redis"}
    assert filled("enqueue", "mail", "send", "-", stdin=payloads, env=redis).code == 0
    ran = filled("migrate", "--from", "redis", "--to", "mongo", "--json", env=env)
    assert (ran.code, ran.json["source"], ran.json["target"], ran.json["jobs"]) == (0, "redis", "mongo", JOBS), ran.err
    back = filled("migrate", "--from", "mongo", "--to", "sqlite", "--json", env=env)
    assert (back.code, back.json["jobs"]) == (0, JOBS), back.err
    shown = filled("queues", "show", "mail", "--json", env=env)
    assert shown.json["counts"]["waiting"] == JOBS


def test_on_a_terminal_one_line_changes_and_a_table_stays(filled: Shell) -> None:
    code, shown = on_terminal(
        filled,
        "migrate",
        "--from",
        "sqlite",
        "--to",
        url(filled, "new"),
        "-Q",
        "mail",
        "--batch",
        "7",
        "--rate",
        "60/s",
    )
    assert code == 0
    steps = [step for step in shown.split("\r") if "jobs (" in step]
    assert len(steps) >= 2  # the line is written over
    assert re.search(r"mail: live jobs, nobody works on them: \d+ of 60 jobs \(\d+ %\), [\d,]+/s, \S+ left", shown)
    assert "both sides agree" in shown.splitlines()[-1]
