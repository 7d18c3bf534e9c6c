"""The embedded store across processes of one host: shared work, forks, kills, and being woken by others."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.embedded import backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

OPTIONS = StoreOptions()
HEAD = """
import json, os, sys, threading, time
from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.embedded import backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
url = sys.argv[1]
def opened():
    store = backend.blocking(url, StoreOptions())
    direct(store.open())
    return store
def put(store, actor, n, *names):
    return direct(store.enqueue("q", [JobSpec(id=name, task="t", body=b"b") for name in names], Op(actor, n)))
"""


def start(code: str, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", HEAD + code, url, *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(child: subprocess.Popen[str]) -> str:
    """What a child says until it ends; it does not outlive the test."""
    try:
        said, _ = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0
    return said


def sound(path: Path) -> None:
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    conn.close()


DRAIN = """
store, taken, ends, n = opened(), [], [], 0
print("ready", flush=True)
while True:
    n += 1
    reply = direct(store.exchange("q", Op(sys.argv[2], n), ends, Ask(want=7)))
    assert reply.refused == []
    taken += [job.id for job in reply.claims]
    ends = [Outcome(job.id, job.token, Kind.COMPLETED) for job in reply.claims]
    if not ends and direct(store.count("q")).totals.enqueued == 2000 and not reply.more:
        break
print(json.dumps(taken))
"""


def test_two_processes_share_the_work_of_a_third_without_a_double(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db"
    store = backend.blocking(url, OPTIONS)
    direct(store.open())
    workers = [start(DRAIN, url, name) for name in ("one", "two")]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for n in range(100):
        direct(store.enqueue("q", [JobSpec(id=f"{n}-{i}", task="t", body=b"b") for i in range(20)], Op("p", n + 1)))
    one, two = (json.loads(answer(worker)) for worker in workers)
    assert sorted(one + two) == sorted(f"{n}-{i}" for n in range(100) for i in range(20))
    counts = direct(store.count("q"))
    assert (counts.totals.completed, counts.states[State.COMPLETED], counts.states[State.ACTIVE]) == (2000, 1000, 0)
    direct(store.close())
    sound(tmp_path / "q.db")


FORK = """
store = opened()
put(store, "parent", 1, "before")
busy, stop = [], threading.Event()
def press(name):
    n = 0
    while not stop.is_set():
        n += 1
        put(store, name, n, f"{name}-{n}")
        busy.append(f"{name}-{n}")
threads = [threading.Thread(target=press, args=(f"t{i}",)) for i in range(3)]
threads.append(threading.Thread(target=lambda: [direct(store.wait(["q"], 50)) for _ in range(20)]))
for thread in threads:
    thread.start()
children = []
for i in range(5):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        for n in range(1, 30):
            put(store, f"child{i}", n, f"child{i}-{n}")
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
direct(store.close())
print(json.dumps(busy + ["before"] + [f"child{i}-{n}" for i in range(5) for n in range(1, 30)]))
"""


def test_forks_in_the_middle_of_work_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db"
    acked = json.loads(answer(start(FORK, url)))
    store = backend.blocking(url, OPTIONS)
    direct(store.open())
    missing = [name for name, job in zip(acked, direct(store.get("q", acked)), strict=True) if job is None]
    assert missing == []
    direct(store.close())
    sound(tmp_path / "q.db")


PREFORK = """
store = opened()
put(store, "parent", 1, "before")
ready, go = os.pipe(), os.pipe()
if os.fork() == 0:
    put(store, "child", 1, "first")
    os.write(ready[1], b"x")
    os.read(go[0], 1)                # the parent has closed its store: no connection but ours is left
    put(store, "child", 2, "second")
    os._exit(0)
os.read(ready[0], 1)
direct(store.close())
late = opened()                      # takes a lock of its own, looks, goes
assert direct(late.get("q", ["first"])) != [None]
direct(late.close())
os.write(go[1], b"x")
os.wait()
last = opened()
print([job is not None for job in direct(last.get("q", ["before", "first", "second"]))])
"""


def test_a_child_keeps_its_hold_of_the_file_when_its_parent_lets_go(tmp_path: Path) -> None:
    """SQLite's last connection removes the log; it must see that the child's is still open."""
    said = answer(start(PREFORK, f"sqlite:///{tmp_path}/q.db"))
    assert said.strip() == "[True, True, True]"


STUCK = """
from queuekit.embedded import pool
from queuekit.errors import StoreUnavailable
pool.FORK_WAIT = 0.05
store = opened()
inside, leave = threading.Event(), threading.Event()
def stay(conn):
    inside.set()
    leave.wait(20)
caller = threading.Thread(target=lambda: direct(store._port.run(stay)))
caller.start()
inside.wait(20)
child = os.fork()
if child == 0:
    try:
        put(store, "child", 1, "lost?")
    except StoreUnavailable as error:
        os._exit(7 if error.outcome == "refused" and "forked" in str(error) else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
leave.set()
caller.join()
put(store, "parent", 1, "kept")
"""


def test_a_child_of_a_fork_that_could_not_wait_is_refused(tmp_path: Path) -> None:
    assert answer(start(STUCK, f"sqlite:///{tmp_path}/q.db")).strip() == "7"


PRESS = """
store, n = opened(), 0
while True:
    n += 1
    put(store, "p", n, f"{n}-a", f"{n}-b")
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """It shows no more than that: a killed process leaves its writes with the kernel; a lost power cord does not."""
    url = f"sqlite:///{tmp_path}/q.db"
    store = backend.blocking(url, OPTIONS)
    direct(store.open())
    total = 0
    for cycle in range(4):
        code = PRESS.replace('"p", n', f'"p{cycle}", n').replace('f"{n}', f'f"{cycle}-{{n}}')
        with start(code, url) as child:
            assert child.stdout is not None
            said = ""
            for _ in range(random.randrange(5, 60)):
                said = child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
            acked = int((said + child.stdout.read()).split()[-1])
        names = [f"{cycle}-{n}-{half}" for n in range(1, acked + 1) for half in "ab"]
        assert None not in direct(store.get("q", names))
        total += len(names)
    waiting = direct(store.count("q")).states[State.WAITING]
    assert total <= waiting <= total + 4 * 2  # at most the call under way of each child besides, never half of one
    assert waiting % 2 == 0
    direct(store.close())
    sound(tmp_path / "q.db")


RING = """
store = opened()
print("ready", flush=True)
for n, line in enumerate(sys.stdin, 1):
    put(store, "p", n, line.strip())
    print(clock.now_ms(), flush=True)
"""


async def test_a_worker_is_woken_by_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db"
    store = backend.asynchronous(url, OPTIONS)
    await store.open()
    child = start(RING, url)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    n, late = 0, list[int]()
    for name in "abcdefghijkl":
        waiting = asyncio.ensure_future(store.wait(["q"], 30_000))
        await asyncio.sleep(0.03)
        child.stdin.write(name + "\n")
        child.stdin.flush()
        assert await asyncio.wait_for(waiting, 10) == ["q"]
        woken = clock.now_ms()
        late.append(woken - int(child.stdout.readline()))
        n += 1
        claims = (await store.exchange("q", Op("w", n), [], Ask(want=9))).claims
        assert [job.id for job in claims] == [name]
        n += 1
        await store.exchange("q", Op("w", n), [Outcome(name, claims[0].token or "", Kind.COMPLETED)], Ask())
        await store.wait(["q"], 0)
    assert sorted(late)[len(late) // 2] < 200  # 5 ms on a quiet machine
    assert answer(child) == ""
    await store.close()


async def test_a_watch_hears_of_an_end_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db"
    store = backend.asynchronous(url, OPTIONS)
    await store.open()
    await store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1))
    watching = asyncio.ensure_future(store.watch("q", "a", 30_000))
    await asyncio.sleep(0.05)
    code = DRAIN.replace("== 2000", "== 1").replace("Kind.COMPLETED", 'Kind.COMPLETED, b"r"')
    child = start(code, url, "worker")
    ended = await asyncio.wait_for(watching, 20)
    assert ended is not None
    assert (ended.state, ended.result) == (State.COMPLETED, b"r")
    assert answer(child).splitlines() == ["ready", '["a"]']
    await store.close()
