"""The Lua scripts and their headers, and the keys they are given."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Any

import hiredis
import pytest
from queuekit_redis.keys import QUEUE_KEYS, STORE_KEYS, queue_keys, store_keys
from queuekit_redis.scripts import NAMES, SCRIPTS, assemble
from queuekit_redis.wire import Wire, pack, plainly
from redis.crc import key_slot

LUA = files("queuekit_redis") / "lua"
LIBS = sorted(entry.name for entry in (LUA / "lib").iterdir())


def header(source: str) -> list[str]:
    lines = source.splitlines()
    return lines[: next(i for i, line in enumerate(lines) if not line.startswith("--"))]


def code(name: str) -> str:
    """The assembled script without the line that names its keys."""
    return SCRIPTS[name].text.decode().split("\n", 2)[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_style_asks_in_its_order(name: str) -> None:
    lines = header(SCRIPTS[name].source)
    assert lines[0].startswith(f"-- {name}: ")
    marks = [re.match(r"-- (KEYS\[1\]|ARGV\[1|RETURNS|COST O|SINCE \d)", line) for line in lines]
    assert [m[1][:4] for m in marks if m] == ["KEYS", "ARGV", "RETU", "COST", "SINC"]


@pytest.mark.parametrize("name", NAMES)
def test_a_header_numbers_its_keys_from_one(name: str) -> None:
    numbers = re.findall(r"^-- KEYS\[(\d+)\]", SCRIPTS[name].source, re.MULTILINE)
    assert [int(n) for n in numbers] == list(range(1, len(SCRIPTS[name].keys) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_declared_and_known(name: str) -> None:
    script = SCRIPTS[name]
    assert set(script.keys) <= set(QUEUE_KEYS) | set(STORE_KEYS)
    used = set(re.findall(r"\bk_(\w+)", code(name)))
    assert used <= set(script.keys), f"{name} uses keys that its header does not declare: {used - set(script.keys)}"
    assert "KEYS[" not in code(name), "keys are reached by name only"


@pytest.mark.parametrize("name", NAMES)
def test_no_declared_key_is_idle(name: str) -> None:
    idle = set(SCRIPTS[name].keys) - set(re.findall(r"\bk_(\w+)", code(name)))
    assert not idle or "unpack(KEYS)" in code(name)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_of_the_body_stand_in_the_header(name: str) -> None:
    source = SCRIPTS[name].source
    body = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("--"))
    told = {int(n) for line in header(source) for n in re.findall(r"ARGV\[(\d+)", line)}
    used = {int(n) for n in re.findall(r"ARGV\[(\d+)\]", body)}
    assert used <= told, f"{name} reads ARGV{sorted(used - told)}, which its header does not name"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_script_is_local(name: str) -> None:
    text = re.sub(r"'[^'\n]*'", "''", code(name))
    assigned = set(re.findall(r"^\s*(\w+) = .*[^,\n]$", text, re.MULTILINE))
    local = {
        word
        for names in re.findall(r"\blocal ([\w, ]+)", text)
        for word in re.split(r"[\s,]+", names.removeprefix("function "))
    }
    arguments = {word for names in re.findall(r"function [\w.]*\(([\w, ]*)\)", text) for word in names.split(", ")}
    assert assigned <= local | arguments


@pytest.mark.parametrize("name", NAMES)
def test_user_bytes_are_never_decoded(name: str) -> None:
    assert "cjson" not in code(name)
    assert "cmsgpack" not in code(name)


@pytest.mark.parametrize("name", [f"{name}.lua" for name in NAMES] + [f"lib/{lib}" for lib in LIBS])
def test_a_lua_file_is_short(name: str) -> None:
    lines = (LUA / name).read_text().splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 150


def test_every_library_is_used() -> None:
    used = {
        word for name in NAMES for line in re.findall(r"-- USES (.*)", SCRIPTS[name].source) for word in line.split()
    }
    assert {f"{word}.lua" for word in used} == set(LIBS)


def test_a_script_is_known_to_the_server_by_the_hash_of_its_text() -> None:
    for script in SCRIPTS.values():
        assert hashlib.sha1(script.text, usedforsecurity=False).hexdigest().encode() == script.sha
    assert assemble("get", "local struct = {}").sha != SCRIPTS["get"].sha


@pytest.mark.parametrize(("namespace", "queue"), [("queuekit", "default"), ("a.b-c", "x:y_z.1-2"), ("n", "q" * 128)])
def test_all_keys_of_a_queue_share_one_slot(namespace: str, queue: str) -> None:
    keys = queue_keys(namespace, queue)
    assert list(keys) == list(QUEUE_KEYS)
    assert len({key_slot(key) for key in keys.values()}) == 1
    assert len(set(keys.values())) == len(keys)
    assert {key_slot(key) for key in keys.values()} == {key_slot(f"{namespace}/{queue}".encode())}


def test_queues_and_namespaces_share_no_key() -> None:
    sets = [set(queue_keys(n, q).values()) for n in ("a", "a.b") for q in ("b", "b:jobs", "jobs")]
    sets += [set(store_keys(n).values()) for n in ("a", "a.b")]
    assert len(set().union(*sets)) == sum(map(len, sets))


@pytest.mark.parametrize("packer", [pack, plainly])
def test_a_packed_call_is_what_the_protocol_says(packer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit_redis.wire.pack", packer)
    script, wire = SCRIPTS["get"], Wire()
    calls: list[list[bytes | int]] = [[b"a\r\n\0", 12, b""], [], [b"x" * 70_000]]
    for args in calls:
        (sent,) = wire.evalsha(script, [b"k1", b"k2"], args)
        reader = hiredis.Reader()
        reader.feed(sent)
        words = [str(word).encode() if isinstance(word, int) else word for word in args]
        assert reader.gets() == [b"EVALSHA", script.sha, b"2", b"k1", b"k2", *words]
        assert reader.gets() is False
