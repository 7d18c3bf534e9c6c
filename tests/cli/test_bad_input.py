"""What a person gets wrong: the exit code, one clear message on standard error, never a traceback."""

from __future__ import annotations

import socket
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unknown_provider_names_the_known_ones(shell: Shell) -> None:
    ran = shell.process("ping", env={"QUEUEKIT_URL": "", "QUEUE_PROVIDER": "rabbit"})
    assert ran.code == 2
    for name in ("rabbit", "redis", "bull", "mongo", "agenda", "sqlite", "memory"):
        assert name in ran.err


def test_an_unknown_scheme_names_the_known_ones(shell: Shell) -> None:
    ran = shell.process("-u", "amqp://localhost", "ping")
    assert ran.code == 2
    for name in ("amqp", "redis", "mongodb", "sqlite"):
        assert name in ran.err


@pytest.mark.parametrize("scheme", ["redis", "mongodb"])
def test_a_server_that_is_down_is_named_without_its_password(shell: Shell, scheme: str) -> None:
    port = free_port()
    ran = shell.process("-u", f"{scheme}://user:canary-7@127.0.0.1:{port}/0", "ping", env={"QUEUEKIT_TIMEOUT": "1s"})
    assert ran.code == 69
    assert "canary-7" not in ran.err
    assert f"127.0.0.1:{port}" in ran.err
    assert "--url" in ran.err
    first, cause, advice = ran.err.splitlines()  # a line each, whatever the driver knows of its topology
    assert "cannot be reached" in first
    assert "refused" in cause
    assert len(cause) < 160
    assert advice.startswith("  Check")


def test_a_worker_waits_for_its_store_and_then_gives_up(shell: Shell) -> None:
    url = f"redis://:canary-7@127.0.0.1:{free_port()}/0"
    ran = shell.process(
        "worker", "app:kit", "--wait-store", "1s", env={"QUEUEKIT_URL": url, "QUEUEKIT_TIMEOUT": "500ms"}
    )
    assert ran.code == 69
    assert "canary-7" not in ran.err
    assert "waiting up to 1 s" in ran.err
    assert "chosen by QUEUEKIT_URL" in ran.err
    assert "chosen by --url" in shell("-u", url, "worker", "app:kit", "--wait-store", "0").err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("app", "MODULE:ATTR"),
        ("app.py:kit", "no module"),
        ("nowhere:kit", "no module 'nowhere'"),
        ("app:kitt", "no 'kitt'; it has the kit kit"),
        ("app:other", "dict, not a QueueKit"),
        ("app:broken_factory", "no database today"),
        ("broken:kit", "division by zero"),
        ("needs:kit", "not_installed_at_all"),
    ],
)
def test_a_wrong_app_is_told_by_its_wrong_part(shell: Shell, name: str, said: str) -> None:
    (shell.folder / "broken.py").write_text("1 / 0\n")
    (shell.folder / "needs.py").write_text("import not_installed_at_all\n")
    ran = shell("tasks", name)
    assert ran.code == 2
    assert said in ran.err


def test_no_app_at_all_is_told(shell: Shell) -> None:
    ran = shell("worker")
    assert ran.code == 2
    assert "-A" in ran.err


def test_a_factory_and_a_dotted_app_are_accepted(shell: Shell) -> None:
    (shell.folder / "pack").mkdir()
    (shell.folder / "pack/inner.py").write_text("from app import kit\nclass holder:\n    kit = kit\n")
    for name in ("app:make_kit", "pack.inner:holder.kit"):
        assert "send" in shell("-A", name, "tasks").out


def test_an_unknown_task_is_told_with_the_nearest(shell: Shell) -> None:
    ran = shell("-A", "app:kit", "enqueue", "mail", "sendd", '{"to": "a"}')
    assert ran.code == 2
    assert "sendd" in ran.err


def test_a_payload_that_does_not_fit_is_told_field_by_field(shell: Shell) -> None:
    ran = shell.process("-A", "app:kit", "enqueue", "mail", "send", '{"cents": "many", "colour": "red"}')
    assert ran.code == 2
    for field in ("to", "cents", "colour"):
        assert field in ran.err
    assert shell("jobs", "list", "--json").json["jobs"] == []


def test_a_payload_that_is_too_large_is_refused(shell: Shell) -> None:
    (shell.folder / "big.json").write_text('{"to": "' + "x" * 300_000 + '"}')
    ran = shell("enqueue", "mail", "send", "@big.json")
    assert ran.code == 2
    assert "262144" in ran.err


@pytest.mark.parametrize("payload", ["{", "", "NaN", '{"to": NaN}', "{'to': 1}"])
def test_a_payload_that_is_no_json_is_refused(shell: Shell, payload: str) -> None:
    ran = shell("enqueue", "mail", "send", payload)
    assert ran.code == 2
    assert "JSON" in ran.err


def test_a_payload_file_that_is_not_there_is_told(shell: Shell) -> None:
    ran = shell("enqueue", "mail", "send", "@nowhere.json")
    assert ran.code == 2
    assert "nowhere.json" in ran.err


def test_a_naive_datetime_is_refused(shell: Shell) -> None:
    ran = shell("enqueue", "mail", "send", '{"to": "a"}', "-o", "run_at=2030-01-01T00:00:00")
    assert ran.code == 2
    assert "zone" in ran.err


@pytest.mark.parametrize("queue", ["mail box", "a/b", "", "x" * 129, "ü"])
def test_a_bad_queue_name_is_refused_with_the_grammar(shell: Shell, queue: str) -> None:
    for command in (("enqueue", queue, "send"), ("queues", "pause", queue)):
        ran = shell(*command)
        assert ran.code == 2
        assert "A-Z" in ran.err


def test_a_bad_namespace_is_refused(shell: Shell) -> None:
    ran = shell("-n", "a:b", "ping")
    assert ran.code == 2
    assert "namespace" in ran.err


def test_a_level_that_is_none_is_refused(shell: Shell) -> None:
    ran = shell("-l", "loud", "ping")
    assert (ran.code, "-l 'loud'" in ran.err, "debug, info" in ran.err) == (2, True, True)


@pytest.mark.parametrize(("scheme", "extra"), [("redis", "redis"), ("mongodb+srv", "mongo")])
@pytest.mark.parametrize("found", [True, False], ids=["driver missing", "backend missing"])
def test_a_missing_extra_is_told_with_its_install_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str, found: bool
) -> None:
    points = {scheme: EntryPoint(scheme, "not_installed_at_all:backend", "queuekit.backends")} if found else {}
    monkeypatch.setattr("queuekit.store.registry.schemes", lambda: points)
    ran = shell("-u", f"{scheme}://h/x", "ping")
    assert (ran.code, f"pip install 'queuekit[{extra}]'" in ran.err) == (2, True)


def test_a_third_partys_missing_module_is_told_with_its_own_package(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"tin": EntryPoint("tin", "tin_queue.store:backend", "queuekit.backends")}
    monkeypatch.setattr("queuekit.store.registry.schemes", lambda: points)
    monkeypatch.setattr("queuekit.settings.choice.entry_points", lambda group: points.values())
    ran = shell("-u", "tin://h/x", "ping")
    assert ran.code == 2
    assert "package tin_queue" in ran.err
    assert "queuekit[" not in ran.err  # there is no such extra


def test_keys_are_refused_while_nothing_is_encrypted(shell: Shell) -> None:
    for env in ({"QUEUEKIT_KEYS": "k1:c2VjcmV0"}, {"QUEUEKIT_KEYS_FILE": "keys"}):
        ran = shell("enqueue", "mail", "send", '{"to": "a"}', env=env)
        assert (ran.code, "readable" in ran.err) == (2, True)


def test_a_health_port_is_refused_where_it_stands(shell: Shell) -> None:
    ran = shell("worker", "app:kit", "--burst", env={"QUEUEKIT_HEALTH_PORT": "8080"})
    assert (ran.code, "queuekit health" in ran.err) == (2, True)


def test_an_unknown_option_names_the_nearest(shell: Shell) -> None:
    ran = shell("enqueue", "mail", "send", "-o", "dely=5")
    assert ran.code == 2
    assert "delay" in ran.err


def test_an_unknown_command_is_usage(shell: Shell) -> None:
    assert shell("dashboard").code == 2
    assert shell("worker", "--reloadd").code == 2


def test_a_file_in_place_of_the_demo_folder_is_refused(shell: Shell) -> None:
    ran = shell.process("demo", "app.py")
    assert ran.code == 2
    assert "is a file, not a folder" in ran.err
    assert shell("demo", "nowhere").code == 2


def test_an_unknown_metric_names_the_known_ones(shell: Shell) -> None:
    ran = shell("bench", "-m", "speed")
    assert ran.code == 2
    assert "enqueue_one" in ran.err


def test_a_file_in_place_of_the_store_is_unavailable(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and long enough to be looked at as one" * 50)
    ran = shell.process("-u", f"sqlite:///{tmp_path / 'file'}", "ping")
    assert ran.code in (69, 78)
    assert "file" in ran.err
