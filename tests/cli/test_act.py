"""Commands that change things: verbs on jobs and queues, what they ask, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran, Shell


def put(shell: Shell, count: int, task: str = "breaks", payload: str = '{"text": "boom"}', *options: str) -> None:
    pairs = [part for option in options for part in ("-o", option)]
    assert shell("enqueue", "mail", task, "-", *pairs, stdin=f"{payload}\n" * count).code == 0


def count(shell: Shell, state: str) -> int:
    return len(shell("jobs", "list", "-Q", "mail", "-s", state, "--json", "--limit", "1000").json["jobs"])


@pytest.fixture
def failed(shell: Shell, worked: Callable[[], Ran]) -> Shell:
    """Three failed jobs, of which one says `bang`."""
    put(shell, 2)
    put(shell, 1, payload='{"text": "bang"}')
    assert worked().code == 0
    assert count(shell, "failed") == 3
    return shell


def test_retry_takes_a_selection_and_gives_fresh_attempts(failed: Shell) -> None:
    assert failed("jobs", "retry", "-Q", "mail", "--error", "BANG", "--dry-run", "--json").json == {
        "would": "retry",
        "jobs": 1,
    }
    assert failed("jobs", "retry", "-Q", "mail", "--error", "bang", "--json").json == {
        "asked": 1,
        "done": 1,
        "refused": [],
    }
    assert (count(failed, "failed"), count(failed, "waiting")) == (2, 1)


def test_more_than_one_job_needs_a_yes_where_nobody_can_be_asked(failed: Shell) -> None:
    ran = failed("jobs", "retry", "-Q", "mail")
    assert ran.code == 2
    assert "-y" in ran.err
    assert count(failed, "failed") == 3
    assert failed("jobs", "retry", "-Q", "mail", "-y").out == "retry: 3 of 3 jobs\n"
    assert count(failed, "waiting") == 3


def test_a_rate_spreads_the_work(failed: Shell) -> None:
    assert failed("jobs", "retry", "-t", "breaks", "--rate", "1/m", "-y").code == 0
    assert (count(failed, "waiting"), count(failed, "delayed")) == (1, 2)
    assert failed("jobs", "retry", "-Q", "mail", "--rate", "fast").code == 2


def test_named_jobs_are_taken_whatever_their_state(failed: Shell) -> None:
    put(failed, 1, "send", '{"to": "ada"}', "id=one")
    assert failed("jobs", "cancel", "mail/one", "--reason", "not wanted").code == 0
    assert failed("jobs", "show", "mail/one", "--json").json["state"] == "cancelled"
    assert failed("jobs", "cancel", "mail/one").code == 1  # it is ended already
    assert failed("jobs", "retry", "one").code == 0
    assert failed("jobs", "delete", "mail/one").code == 0
    assert failed("jobs", "show", "mail/one").code == 1


def test_a_named_job_that_is_not_there_is_a_no(failed: Shell) -> None:
    ran = failed("jobs", "retry", "mail/nobody", "--json")
    assert ran.code == 1
    assert ran.json == {"asked": 0, "done": 0, "refused": []}
    assert "mail/nobody: no such job" in ran.err


def test_a_selection_without_anything_is_refused(failed: Shell) -> None:
    assert failed("jobs", "retry").code == 2
    assert failed("jobs", "retry", "mail/x", "-Q", "mail").code == 2
    assert failed("jobs", "delete", "-Q", "mail", "-y").code == 2  # of which state?
    assert failed("jobs", "delete", "-Q", "mail", "-s", "failed", "-y").code == 0
    assert count(failed, "failed") == 0


def test_since_and_limit_bound_a_selection(failed: Shell) -> None:
    assert (
        failed("jobs", "retry", "-Q", "mail", "--since", "1h", "--limit", "2", "--dry-run").out
        == "would retry 2 jobs\n"
    )
    assert failed("jobs", "retry", "-Q", "mail", "--since", "0", "--dry-run").out == "would retry 0 jobs\n"


def test_a_delayed_job_is_promoted_and_rescheduled(shell: Shell) -> None:
    put(shell, 2, "send", '{"to": "ada"}', "delay=1h")
    first, second = (job["id"] for job in shell("jobs", "list", "-s", "delayed", "--json").json["jobs"])
    assert shell("jobs", "promote", f"mail/{first}").code == 0
    assert count(shell, "waiting") == 1
    assert shell("jobs", "reschedule", f"mail/{second}", "--run-at", "2040-01-01T00:00:00Z").code == 0
    assert shell("jobs", "show", second, "--json").json["run_at"].startswith("2040-01-01T00:00:00")
    assert shell("jobs", "reschedule", second, "--run-at", "2040-01-01T00:00:00").code == 2
    assert shell("jobs", "reschedule", second, "--delay", "5m", "--priority", "high").code == 0
    assert shell("jobs", "show", second, "--json").json["priority"] == 5
    assert shell("jobs", "reschedule", second).code == 2


def test_queues_are_paused_and_resumed(shell: Shell, worked: Callable[[], Ran]) -> None:
    put(shell, 1, "send", '{"to": "ada"}')
    assert shell("queues", "pause", "mail", "--reason", "stock-taking").code == 0
    worked()
    assert count(shell, "waiting") == 1
    assert shell("queues", "show", "mail", "--json").json["paused"] == "stock-taking"
    assert "stock-taking" in shell("queues", "list").out
    assert shell("queues", "resume", "mail").code == 0
    worked()
    assert count(shell, "completed") == 1


def test_queues_are_configured_until_reset(shell: Shell) -> None:
    assert shell("queues", "configure", "mail", "-o", "max_size=2", "-o", "lease=45s", "-o", "keep_failed=7").code == 0
    layers = shell("queues", "show", "mail", "--json").json
    assert layers["override"]["max_size"] == 2
    assert layers["override"]["lease"] == "45s"
    assert layers["override"]["at"]
    assert layers["effective"]["keep_failed"]["count"] == 7
    put(shell, 2, "send", '{"to": "ada"}')
    assert shell("enqueue", "mail", "send", '{"to": "ada"}').code == 1  # full
    assert shell("queues", "reset", "mail").code == 0
    assert "max_size" not in shell("queues", "show", "mail", "--json").json["effective"]
    assert shell("queues", "configure", "mail", "-o", "colour=red").code == 2
    assert shell("queues", "configure", "mail").code == 2
    assert shell("queues", "show", "nobody").code == 1


def test_prune_empties_a_queue_only_when_told_so(shell: Shell, worked: Callable[[], Ran]) -> None:
    put(shell, 3, "send", '{"to": "ada"}')
    worked()
    put(shell, 2, "send", '{"to": "ada"}')
    assert shell("queues", "prune", "mail", "--json").json["removed"] == 3
    assert shell("queues", "prune", "mail", "-s", "waiting").code == 2
    assert shell("queues", "prune", "mail", "-s", "waiting", "-y").out == "removed 2 waiting jobs of mail\n"
    assert shell("queues", "prune", "mail", "-s", "active").code == 2


def test_dead_letters_are_pruned_only_when_told_so(failed: Shell) -> None:
    ran = failed("queues", "prune", "mail", "-s", "failed")
    assert (ran.code, "never run again" in ran.err, count(failed, "failed")) == (2, True, 3)
    assert failed("queues", "prune", "mail", "-s", "failed", "-y", "--json").json["removed"] == 3


def test_obliterate_wants_the_name_twice(shell: Shell) -> None:
    put(shell, 3, "send", '{"to": "ada"}')
    assert shell("queues", "obliterate", "mail").code == 2
    assert shell("queues", "obliterate", "mail", "--confirm", "male").code == 2
    assert shell("queues", "obliterate", "mail", "--confirm", "mail").out == "removed mail with 3 jobs\n"
    assert shell("queues", "list", "--json").json == []


def test_enqueue_waits_for_a_result(shell: Shell) -> None:
    with shell.start("-q", "worker", "app:kit", "-Q", "mail,maths") as worker:
        try:
            ran = shell("enqueue", "maths", "divide", '{"a": 7, "b": 2}', "--wait", "30s")
            assert (ran.code, json.loads(ran.out)) == (0, 3.5)
            ran = shell("enqueue", "mail", "breaks", '{"text": "no"}', "--wait", "30s", "--json")
            assert (ran.code, ran.json["state"]) == (1, "failed")
        finally:
            worker.terminate()
            worker.communicate(timeout=30)
        assert worker.returncode == 0


def test_enqueue_of_the_same_id_makes_one_job(shell: Shell) -> None:
    first = shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=one", "--json").json
    again = shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=one", "--json").json
    assert (first["created"], again["created"], again["ref"]) == (True, False, "mail/one")
    assert "was there before" in shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=one").out


def test_a_queue_may_be_paused_before_its_first_job_but_not_by_a_slip_of_the_pen(shell: Shell) -> None:
    put(shell, 1, "send", '{"to": "ada"}')
    ran = shell("queues", "pause", "mial")
    assert (ran.code, ran.out) == (0, "paused mial\n")
    assert "no such queue (did you mean mail?); stored for when it has jobs" in ran.err
    assert shell("queues", "show", "mial", "--json").json["paused"] == ""
    again = shell("queues", "configure", "mial", "-o", "max_size=2")
    assert (again.code, again.err) == (0, "")
    assert shell("queues", "configure", "other", "-o", "max_size=2").err.startswith("other: no such queue; stored")
    assert shell("queues", "pause", "mail").err == ""


@pytest.mark.parametrize(
    "command", [("resume",), ("reset",), ("prune",), ("obliterate", "--confirm", "mial"), ("show",)], ids=" ".join
)
def test_what_needs_a_queue_says_when_there_is_none_of_that_name(shell: Shell, command: tuple[str, ...]) -> None:
    put(shell, 1, "send", '{"to": "ada"}')
    ran = shell("queues", command[0], "mial", *command[1:])
    assert (ran.code, ran.out) == (1, "")
    assert "mial: no such queue (did you mean mail?)" in ran.err
    assert [queue["name"] for queue in shell("queues", "list", "--json").json] == ["mail"]
