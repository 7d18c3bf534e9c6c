"""`queuekit schedules`: what people see of schedules, and what they may do to them."""

from __future__ import annotations

import re
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Shell

TICK = """
kit.schedule("tick", send.make("bob"), every="30 minutes")
"""
DECLARED = f"""
kit.schedule("digest", send.make("ada", cents=3), cron="0 9 * * mon-fri", timezone="Europe/Berlin", overlap="skip")
{TICK}"""
FILE = """
[schedules.night]
task = "send"
payload = { to = "eve" }
cron = "30 2 * * *"
"""


def app_with(shell: Shell, declared: str) -> str:
    """Another app module, since one that is imported stays as it is."""
    name = f"app_{uuid.uuid4().hex}"
    (shell.folder / f"{name}.py").write_text((shell.folder / "app.py").read_text() + declared)
    return f"{name}:kit"


@pytest.fixture
def declared(shell: Shell) -> Shell:
    """Two schedules of code and one of the file, written."""
    (shell.folder / "queuekit.toml").write_text(FILE)
    assert shell("schedules", "sync", app_with(shell, DECLARED)).code == 0
    return shell


def ids(ran: Ran) -> list[str]:
    return [one["id"] for one in ran.json]


# ------------------------------------------------------------------------------------------------------------ look
def test_a_listing_tells_rule_and_next_moment_without_an_app(declared: Shell) -> None:
    (declared.folder / "app.py").write_text("raise RuntimeError('nobody imports me')")
    ran = declared("schedules", "list")
    assert "mail/digest" in ran.out
    assert "cron 0 9 * * mon-fri Europe/Berlin, overlap=skip" in ran.out
    assert "every 30m" in ran.out
    listed = {one["id"]: one for one in declared("--json", "schedules", "list").json}
    assert {one["origin"] for one in listed.values()} == {"code", "file"}
    tick = listed["tick"]
    assert datetime.fromisoformat(tick["next_at"]) == datetime.fromisoformat(tick["anchor"]) + timedelta(minutes=30)
    assert ids(declared("schedules", "list", "-Q", "mail", "--json")) == ["digest", "night", "tick"]
    assert ids(declared("schedules", "list", "-Q", "maths", "--json")) == []


def test_a_listing_tells_fired_and_skipped_slots(declared: Shell) -> None:
    with closing(sqlite3.connect(declared.folder / "queue.db")) as db, db:
        db.execute("UPDATE schedules SET fired = 71, skipped = 12 WHERE id = 'tick'")
    header, *lines = declared("schedules", "list").out.splitlines()
    (tick,) = (line for line in lines if line.startswith("mail/tick "))
    assert "FIRED  SKIPPED" in header
    assert re.search(r" 71 +12 ", tick)


def test_showing_one_tells_its_job_and_both_layers(declared: Shell) -> None:
    declared("schedules", "pause", "tick", "--reason", "too loud")
    ran = declared("schedules", "show", "mail/tick")
    assert '{"to": "bob"}' in ran.out
    assert "paused: too loud" in ran.out
    assert "@" in next(line for line in ran.out.splitlines() if line.startswith("paused by"))
    assert "every 30m" in ran.out.partition("declared:")[2].partition("override:")[0]
    assert "nothing" in ran.out.partition("override:")[2]
    assert declared("schedules", "show", "tick", "--json").json["paused"] == "too loud"


def test_an_unknown_schedule_is_told_with_the_nearest_name(declared: Shell) -> None:
    for verb in ("show", "preview", "pause", "resume", "fire", "delete", "reset"):
        ran = declared("schedules", verb, "dgest")
        assert (ran.code, ran.out) == (1, "")
        assert "dgest: no such schedule (did you mean digest?)" in ran.err
    assert declared("--json", "schedules", "show", "dgest").json is None


# --------------------------------------------------------------------------------------------------------- preview
def test_a_preview_of_a_stored_one_begins_with_its_next_moment(declared: Shell) -> None:
    moments = declared("schedules", "preview", "digest", "-n", "3", "--json").json
    assert moments[0] == declared("schedules", "show", "digest", "--json").json["next_at"]
    assert len(moments) == 3
    text = declared("schedules", "preview", "digest", "-n", "3").out
    assert text.startswith("EUROPE/BERLIN")
    assert text.count(" 09:00:00 CE") == 3


def test_a_preview_of_a_rule_needs_neither_store_nor_app(shell: Shell) -> None:
    nowhere = {"QUEUEKIT_URL": "redis://127.0.0.1:1/0"}
    ran = shell(
        "schedules", "preview", "--cron", "0 9 * * mon-fri", "--timezone", "Europe/Berlin", "-n", "5", env=nowhere
    )
    assert ran.code == 0
    assert ran.out.count(" 09:00:00 CE") == 5
    assert "Sat" not in ran.out
    every = shell("schedules", "preview", "--every", "90s", "-n", "2", "--json", env=nowhere).json
    first, second = map(datetime.fromisoformat, every)
    assert second - first == timedelta(seconds=90)
    assert first.microsecond == 0  # a new schedule's anchor is a whole second
    past = shell("schedules", "preview", "--at", "2020-01-01T00:00Z", env=nowhere)
    assert (past.code, past.err) == (0, "no moment comes any more\n")
    rule = (
        "--trigger",
        '{"calendar": {"months": 1, "hour": 9, "start_date": "2040-01-31"}}',
        "--end",
        "2040-06-01T00:00Z",
    )
    months = shell("schedules", "preview", *rule, "--json", env=nowhere).json
    assert months == ["2040-01-31T09:00:00+00:00", "2040-03-31T09:00:00+00:00", "2040-05-31T09:00:00+00:00"]


def test_a_preview_of_a_paused_one_says_what_resuming_would_give(declared: Shell) -> None:
    declared("schedules", "pause", "tick")
    ran = declared("schedules", "preview", "tick", "-n", "2")
    assert "mail/tick: paused: if it were resumed now" in ran.err
    assert len(ran.out.splitlines()) == 3


def test_the_zone_of_the_settings_holds_where_a_rule_names_none(shell: Shell) -> None:
    ran = shell("schedules", "preview", "--cron", "0 9 * * *", "-n", "1", env={"QUEUEKIT_TIMEZONE": "Asia/Tokyo"})
    assert ran.out.startswith("ASIA/TOKYO")
    assert "T00:00:00Z" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "preview what?"),
        (("digest", "--cron", "@daily"), "preview what?"),
        (("--cron", "0 25 * * *"), "its hour is not 0-23"),
        (("--cron", "0 9 * * *", "--timezone", "Europe/Berln"), "did you mean 'Europe/Berlin'?"),
        (("--cron", "@daily", "--every", "1h"), "not cron and every"),
        (("--timezone", "UTC"), "give one of cron"),
        (("--every", "1 month"), "months differ in length"),
        (("--every", "1h", "--count", "0"), "count=0"),
        (("--every", "1h", "--start", "2026-11-22"), "which zone it means"),
        (("--every", "1h", "-n", "0"), "use 1 to 1000"),
        (("--trigger", "{"), "--trigger is JSON"),
        (("--trigger", "[1]"), "is no trigger"),
    ],
)
def test_a_rule_that_cannot_be_is_told_with_a_right_one(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    ran = shell("schedules", "preview", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


# ------------------------------------------------------------------------------------------------------------ sync
def test_sync_writes_what_is_declared_and_a_second_one_nothing(shell: Shell) -> None:
    (shell.folder / "queuekit.toml").write_text(FILE)
    app = app_with(shell, DECLARED)
    dry = shell("schedules", "sync", app, "--dry-run", "--json").json
    assert dry["dry_run"]
    assert sorted(dry["written"]) == ["digest", "night", "tick"]
    assert ids(shell("schedules", "list", "--json")) == []
    assert "written: digest" in shell("-A", app, "schedules", "sync").out
    again = shell("schedules", "sync", app, "--json").json
    assert (again["written"], sorted(again["unchanged"])) == ([], ["digest", "night", "tick"])
    assert not again["dry_run"]


def test_sync_tells_orphans_and_removes_them_only_when_asked(declared: Shell) -> None:
    app = app_with(declared, TICK)
    ran = declared("schedules", "sync", app)
    assert ran.code == 0
    assert "mail/digest is declared no more" in ran.err
    assert "would be removed: mail/digest" in declared("schedules", "sync", app, "--prune", "--dry-run").out
    assert "digest" in ids(declared("schedules", "list", "--json"))
    pruned = declared("schedules", "sync", app, "--prune", "--json").json
    assert pruned["removed"] == ["mail/digest"]
    assert ids(declared("schedules", "list", "--json")) == ["night", "tick"]


def test_sync_needs_an_app_and_says_how_to_name_it(shell: Shell) -> None:
    ran = shell("schedules", "sync")
    assert ran.code == 2
    assert "which app?" in ran.err


def test_sync_refuses_a_wrong_declaration_and_writes_none(shell: Shell) -> None:
    (shell.folder / "queuekit.toml").write_text(FILE.replace("30 2 *", "30 24 *"))
    ran = shell("schedules", "sync", app_with(shell, DECLARED))
    assert ran.code == 78
    assert 'queuekit.toml [schedules."night"]' in ran.err
    assert "its hour is not 0-23" in ran.err
    (shell.folder / "queuekit.toml").unlink()
    assert ids(shell("schedules", "list", "--json")) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('task = "send"\npayload = { to = "eve" }\nevery = "10ms"', 'is shorter than a second: use "1s"'),
        ('task = "send"\npayload = { to = "eve" }\nevry = "1h"', "has no key 'evry': did you mean 'every'?"),
        ('task = "send"\npayload = { too = "eve" }\nevery = "1h"', "to: missing"),
        ('task = "sedn"\nevery = "1h"', "there is no task 'sedn': did you mean 'send'?"),
    ],
)
def test_what_is_wrong_in_a_file_is_a_wrong_setting(shell: Shell, lines: str, words: str) -> None:
    app = app_with(shell, "")
    for name, table in (("queuekit.toml", "schedules"), ("pyproject.toml", "tool.queuekit.schedules")):
        (shell.folder / name).write_text(f"[{table}.night]\n{lines}\n")
        for command in (("schedules", "sync", app), ("worker", app, "--burst")):
            ran = shell(*command)
            assert (ran.code, f'{name} [schedules."night"]' in ran.err, words in ran.err) == (78, True, True), ran.err
        (shell.folder / name).unlink()


def test_a_name_in_a_file_that_cannot_be_is_told_with_its_table(shell: Shell) -> None:
    (shell.folder / "queuekit.toml").write_text(FILE.replace("night", '"at night"'))
    ran = shell("schedules", "sync", app_with(shell, ""))
    assert (ran.code, ran.err.count('queuekit.toml [schedules."at night"]')) == (78, 1), ran.err


def test_wrong_options_of_queues_and_jobs_in_a_file_are_wrong_settings(shell: Shell) -> None:
    for text, words in (
        ("[queues.mail]\nmax_sizee = 3\n", "queuekit.toml [queues.\"mail\"]: did you mean 'max_size'?"),
        ("[kit.defaults]\nattempts = 0\n", "queuekit.toml [kit] defaults: 0 is no whole number from 1"),
    ):
        (shell.folder / "queuekit.toml").write_text(text)
        ran = shell("worker", "app:kit", "--burst")
        assert (ran.code, words in ran.err) == (78, True), ran.err


def test_a_wrong_rule_in_code_or_on_the_command_line_is_wrong_usage(shell: Shell) -> None:
    code = shell("schedules", "sync", app_with(shell, DECLARED.replace("30 minutes", "10ms")))
    assert (code.code, "every='10ms' is shorter than a second" in code.err) == (2, True), code.err
    assert shell("schedules", "preview", "--every", "10ms").code == 2


# ------------------------------------------------------------------------------------------------------------- act
def test_a_pause_holds_over_a_sync_until_it_is_resumed(declared: Shell) -> None:
    assert declared("schedules", "pause", "tick", "--reason", "night shift").out == "paused mail/tick\n"
    again = declared("schedules", "pause", "mail/tick")
    assert again.code == 1
    assert "paused already: night shift" in again.err
    declared("schedules", "sync", app_with(declared, DECLARED.replace("30 minutes", "40 minutes")))
    assert declared("schedules", "show", "tick", "--json").json["next_at"] is None
    assert declared("schedules", "resume", "tick").out.startswith("resumed mail/tick: next 20")
    assert declared("schedules", "show", "tick", "--json").json["next_at"] is not None
    assert "it is not paused" in declared("schedules", "resume", "tick").err


def test_firing_makes_the_job_and_leaves_the_slots_alone(declared: Shell) -> None:
    before = declared("schedules", "show", "digest", "--json").json
    ran = declared("schedules", "fire", "digest")
    assert ran.out.startswith("mail/digest@manual-")
    job = declared("jobs", "show", ran.out.strip(), "--json").json
    assert (job["task"], job["payload"], job["state"]) == ("send", {"to": "ada", "cents": 3}, "waiting")
    after = declared("schedules", "show", "digest", "--json").json
    assert (after["next_at"], after["fired"]) == (before["next_at"], 0)
    assert ran.out.strip().endswith(after["by_hand"]["job"])


def test_deleting_a_declared_one_says_that_it_comes_back_and_what_to_do(declared: Shell) -> None:
    ran = declared("schedules", "delete", "digest")
    assert ran.out == "deleted mail/digest\n"
    assert "the next worker that starts brings it back" in ran.err
    assert "queuekit schedules pause mail/digest" in ran.err
    assert ids(declared("schedules", "list", "--json")) == ["night", "tick"]


def test_a_reset_goes_back_to_the_declaration(declared: Shell) -> None:
    app = app_with(declared, 'kit.schedules.put("tick", send.make("bob"), every="5m")\n'
                             'kit.schedules.put("mine", send.make("me"), every="1 day", count=2)\n')  # fmt: skip
    assert declared("tasks", app).code == 0  # importing it puts both
    shown = declared("schedules", "show", "tick").out
    assert "every 5m" in shown.partition("override:")[2]
    assert "every 30m" in shown.partition("declared:")[2].partition("override:")[0]
    assert declared("schedules", "reset", "tick").out == "reset mail/tick\n"
    assert declared("schedules", "show", "tick", "--json").json["rule"] == {"every": "30m"}
    assert "nobody changed" in declared("schedules", "reset", "tick").err
    assert "nothing declares it" in declared("schedules", "reset", "mine").err
    mine = declared("schedules", "delete", "mine")
    assert (mine.out, mine.err) == ("deleted mail/mine\n", "")


def test_text_of_others_cannot_steer_the_terminal(declared: Shell) -> None:
    declared("schedules", "pause", "tick", "--reason", "\x1b[31mred\nnext line")
    for ran in (
        declared("schedules", "list"),
        declared("schedules", "show", "tick"),
        declared("schedules", "pause", "tick"),
    ):
        assert "\x1b" not in ran.out + ran.err
        assert "\\x1b[31mred" in ran.out + ran.err


# ---------------------------------------------------------------------------------------------------------- stores
@pytest.mark.parametrize("server", ["redis_url", "mongo_url"])
def test_the_other_stores_answer_alike(
    shell: Shell, server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shell.env |= {"QUEUEKIT_URL": request.getfixturevalue(server), "QUEUEKIT_NAMESPACE": uuid.uuid4().hex}
    app = app_with(shell, DECLARED)
    assert shell("schedules", "sync", app, "--json").json["written"] == ["digest", "tick"]
    assert shell("schedules", "pause", "tick").code == 0
    assert shell("schedules", "fire", "tick").out.startswith("mail/tick@manual-")
    listed = {one["id"]: one for one in shell("schedules", "list", "--json").json}
    assert (listed["tick"]["paused"], listed["digest"]["paused"]) == ("", None)
    assert shell("schedules", "resume", "tick").code == 0
    assert shell("schedules", "sync", app_with(shell, ""), "--prune", "--json").json["removed"] == [
        "mail/digest", "mail/tick",
    ]  # fmt: skip
    assert shell("schedules", "list", "--json").json == []


# ------------------------------------------------------------------------------------------------- two applications
OTHER = """
from queuekit import QueueKit

kit = QueueKit()


@kit.task(queue="pay")
def charge(n: int) -> None: ...


kit.schedule("charge-all", charge.make(1), every="1h")
"""


def test_pruning_leaves_what_another_app_without_a_name_of_its_own_declares(declared: Shell) -> None:
    (declared.folder / "pay.py").write_text(OTHER)
    (declared.folder / "queuekit.toml").unlink()
    assert declared("schedules", "sync", "pay:kit").code == 0
    (declared.folder / "queuekit.toml").write_text(FILE)
    app = app_with(declared, TICK)
    told = declared("schedules", "sync", app)
    assert "pay/charge-all" in told.err
    assert "another app" in told.err
    dry = declared("schedules", "sync", app, "--prune", "--dry-run")
    assert "would be removed: pay/charge-all" not in dry.out
    pruned = declared("schedules", "sync", app, "--prune", "--json").json
    assert (pruned["removed"], pruned["foreign"]) == (["mail/digest"], ["pay/charge-all"])
    assert "charge-all" in ids(declared("schedules", "list", "--json"))


# ------------------------------------------------------------------------------------------------- nobody is there
def test_a_slot_that_nobody_fires_is_told_where_one_looks(declared: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "late" not in declared("schedules", "list").out
    assert declared("health").code == 0
    later = datetime.now(UTC) + timedelta(minutes=32)  # the slot of `tick` came two minutes ago
    monkeypatch.setattr("queuekit.cli.schedules.now", lambda: later)
    listed = {line.split()[0]: line for line in declared("schedules", "list").out.splitlines()}
    assert "late: does a worker take queue mail?" in listed["mail/tick"]
    assert "late" in declared("schedules", "show", "tick").out
    ran = declared("health")
    assert ran.code == 1
    assert "mail: schedules that nobody fires: tick" in ran.err.replace("digest, ", "").replace("night, ", "")
    wrong = declared("health", "--json").json
    assert (wrong["healthy"], list(wrong["wrong"])) == (False, ["mail"])
    for name in ("tick", "digest", "night"):
        declared("schedules", "pause", name)
    assert "late" not in declared("schedules", "list").out
    assert declared("health").code == 0


def test_a_schedule_that_a_clock_far_ahead_put_off_is_told_and_set_right(declared: Shell) -> None:
    right = {one["id"]: one["next_at"] for one in declared("schedules", "list", "--json").json}
    with closing(sqlite3.connect(declared.folder / "queue.db")) as file, file:
        file.execute("UPDATE schedules SET next = next + ?", [2 * 365 * 86_400_000])
    assert declared("schedules", "list").out.count("put off by a clock that was ahead: resume it") == 3
    assert "put off" in declared("schedules", "show", "tick").out
    assert declared("schedules", "resume", "tick").out.startswith("resumed mail/tick: next 20")
    app = app_with(declared, DECLARED)
    assert "would be written: night" in declared("schedules", "sync", app, "--dry-run").out
    assert sorted(declared("schedules", "sync", app, "--json").json["written"]) == ["digest", "night"]
    assert {one["id"]: one["next_at"] for one in declared("schedules", "list", "--json").json} == right
    assert "put off" not in declared("schedules", "list").out
