"""The Lua scripts under the lint of tests/lua_lint.py, and the lint under scripts that are wrong."""

from __future__ import annotations

from importlib.resources import files

import pytest
from queuekit_redis.scripts import NAMES, SCRIPTS

from tests import lua_lint

ON_A_FULL_SERVER = (
    "annotate", "authority", "beat", "change", "checkout", "configure", "confirm", "delete_schedule", "exchange",
    "obliterate", "prune", "put_schedule", "recover", "renew", "restore", "unhold", "watch",
)  # fmt: skip
READS = (
    "count", "due", "find", "get", "get_schedules", "known", "parcels", "plan", "position", "schedules", "timed",
)  # fmt: skip
BRINGING = ("enqueue", "fire", "import", "take_schedules", "within")
LUA = files("queuekit_redis") / "lua"


def text(name: str) -> str:
    return SCRIPTS[name].text.decode()


def header(name: str) -> str:
    return SCRIPTS[name].source.partition("\n-- USES")[0]


@pytest.mark.parametrize("name", NAMES)
def test_commands_run_on_declared_keys_only(name: str) -> None:
    assert lua_lint.key_faults(text(name), SCRIPTS[name].keys) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_loop_and_no_range_is_without_a_limit(name: str) -> None:
    assert lua_lint.loop_faults(text(name), header(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_script_looks_before_it_writes(name: str) -> None:
    assert lua_lint.order_faults(SCRIPTS[name].source) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_nothing_that_has_no_place_there(name: str) -> None:
    assert lua_lint.word_faults(text(name)) == []


def test_each_script_is_known_to_write_on_a_full_server_or_not_to() -> None:
    assert sorted((*ON_A_FULL_SERVER, *READS, *BRINGING)) == list(NAMES)


@pytest.mark.parametrize("name", ON_A_FULL_SERVER)
def test_what_workers_need_begins_with_a_write_that_a_full_server_lets_through(name: str) -> None:
    assert lua_lint.first_write(SCRIPTS[name].source) in lua_lint.SHRINKING


def test_what_brings_jobs_begins_with_a_write_that_a_full_server_refuses() -> None:
    assert lua_lint.first_write(SCRIPTS["enqueue"].source) == "HSETNX"
    assert lua_lint.first_write(SCRIPTS["within"].source) == ""
    assert lua_lint.first_write(SCRIPTS["import"].source) == "HSET"
    assert lua_lint.first_write(SCRIPTS["fire"].source) == ""
    assert lua_lint.first_write(SCRIPTS["take_schedules"].source) == "HSET"
    assert lua_lint.first_write((LUA / "lib" / "plans.lua").read_text()) == "HSET"
    insert = (LUA / "lib" / "insert.lua").read_text()
    assert lua_lint.first_write(insert[insert.index("for i = 1, count do") :]) == "HSETNX"


@pytest.mark.parametrize("name", READS)
def test_a_look_writes_nothing(name: str) -> None:
    assert lua_lint.first_write(SCRIPTS[name].source) == ""


# ---------------------------------------------------------------- the lint itself
KEYED = "local k_jobs, k_run = KEYS[1], KEYS[2]\nlocal call = redis.call\ncall('HGET', k_run, 'a')\n"
WRONG_KEYS = {
    "call('HGET', k_opts, 'a')": "opts is used and not declared",
    "call('HGET', 'jobs', 'a')": "may be no key",
    "call('HGET', ARGV[1], 'a')": "may be no key",
    "call('HGET', KEYS[1], 'a')": "by its number",
    "call('HGET', k_jobs .. ARGV[1], 'a')": "may be no key",
    "local key = ARGV[1]\ncall('HGET', key, 'a')": "may be no key",
    "local key = 'x' .. 'y'\nredis.pcall('HGET', key, 'a')": "may be no key",
    "for _, key in ipairs({k_jobs, ARGV[1]}) do call('HGET', key, 'a') end": "may be no key",
    "local function f(key)\n  return call('HGET', key, 'a')\nend\nf(k_jobs)\nf('jobs')": "may be no key",
    "local t = {[1] = k_jobs, [2] = 'x'}\ncall('HGET', t[1], 'a')": "may be no key",
    "call('EXISTS', k_jobs, ARGV[2])": "may be no key",
    "call('ZCARD', state == 1 and k_jobs or 'other')": "may be no key",
    "local a, key = k_jobs, call('HGET', k_jobs, 'k')\ncall('DEL', key)": "may be no key",
}
RIGHT_KEYS = (
    "for _, key in ipairs({k_jobs, k_run}) do call('HGET', key, 'a') end",
    "local function f(x, key)\n  return call('HGET', key, x)\nend\nf(1, k_jobs)\nf(2, x == 1 and k_run or k_jobs)",
    "local t = {\n  [1] = k_jobs, [2] = k_run,\n}\ncall('HGET', t[j.state], k_jobs)",
    "call('EXISTS', k_jobs, k_run)",
    "local t = {\n  [1] = k_jobs,\n}\ncall('ZCARD', state == 1 and k_run or state == 2 and k_jobs or t[state])",
)


@pytest.mark.parametrize("code", WRONG_KEYS)
def test_the_lint_sees_a_key_that_is_none(code: str) -> None:
    said = "; ".join(lua_lint.key_faults(f"{KEYED}call('HGET', k_jobs, 'x')\n{code}\n", ("jobs", "run")))
    assert WRONG_KEYS[code] in said


@pytest.mark.parametrize("code", RIGHT_KEYS)
def test_the_lint_follows_keys_through_loops_tables_and_functions(code: str) -> None:
    assert lua_lint.key_faults(f"{KEYED}{code}\n", ("jobs", "run")) == []


def test_the_lint_sees_a_key_that_is_idle() -> None:
    assert lua_lint.key_faults(KEYED, ("jobs", "run")) == ["jobs is declared and not used"]


@pytest.mark.parametrize(
    "code",
    [
        "call('HGETALL', k_jobs)", "call('ZRANGEBYSCORE', k_jobs, '-inf', now)", "call('ZRANGE', k_jobs, 0, -1)",
        "call('HSCAN', k_jobs, 0)", "while true do\n  x = x + 1\nend", "while more do\nend", "repeat x() until y",
        "for k in pairs(t) do\nend", "call('ZPOPMIN', k_jobs, call('ZCARD', k_jobs))",
    ],
)  # fmt: skip
def test_the_lint_sees_what_has_no_limit(code: str) -> None:
    assert len(lua_lint.loop_faults(f"{KEYED}{code}\n", "-- COST O(1)")) == 1


RECALLED = "-- x: y\n-- RETURNS {2, n} stale · {3} moved\n-- USES op\n"
ASKED = "local answer = recall(actor, n)\nlocal home = call('HGET', k_vars, 'home')\n"
ENDED = "call('HSET', k_jobs, 1, 2)\nremember(actor, n, now, answer)\n"


def test_the_lint_sees_a_write_that_comes_too_early() -> None:
    assert lua_lint.order_faults(RECALLED + ASKED + ENDED) == []
    assert lua_lint.order_faults(RECALLED + "call('ZREM', k_a, '')\n" + ASKED + ENDED) == []
    assert len(lua_lint.order_faults(RECALLED + ENDED + ASKED)) == 2
    assert len(lua_lint.order_faults(RECALLED + "call('ZREM', k_a, ARGV[1])\n" + ASKED + ENDED)) == 2
    assert len(lua_lint.order_faults(RECALLED + ASKED + "call('HSET', k_jobs, 1, 2)\n")) == 1


def test_the_lint_takes_a_write_that_is_tried_for_none() -> None:
    tried = "if type(redis.pcall('HSET', k_a, 1, 2)) == 'table' then\n  call('{}', k_b, '')\nend\n"
    assert lua_lint.first_write(tried.format("ZREM")) == "ZREM"
    assert lua_lint.first_write(tried.format("HSET")) == "HSET"


@pytest.mark.parametrize("code", ["cjson.decode(x)", "math.random()", "os.time()", "call('TIME')\ncall('TIME')"])
def test_the_lint_sees_what_has_no_place_in_a_script(code: str) -> None:
    assert len(lua_lint.word_faults(KEYED + code)) == 1
