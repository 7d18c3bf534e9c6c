"""Programs that fork themselves: parent and child go on, from threads and loops too, and nothing is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuekit import QueueKit, ids

ROOT = Path(__file__).parents[3]
STORES = ("sqlite", "redis", "mongo")
BEGIN = """
import asyncio, ctypes, json, multiprocessing, os, sys, threading, time
from queuekit import QueueKit
from queuekit.context import Report
from tests.contrib.prefork.looks import open_to, ports
url = sys.argv[1]
kit = QueueKit(url, namespace=sys.argv[2])
def put(by):
    assert kit.queue("q").enqueue("t", {"by": by}).created
"""
# What a program does, and the jobs it leaves. In each, parent and children enqueue before, beside and after the fork.
ON_AND_ON = """
put("parent")
children = []
for n in range(3):
    child = os.fork()
    if not child:
        for _ in range(10):
            put("child")
        if n == 2 and not os.fork():
            put("grandchild")
            kit.close()
            os._exit(0)
        if n == 2:
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        os._exit(0)
    children.append(child)
    put("parent")
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
put("parent")
"""  # 1 + 3 + 30 + 1 + 1
FROM_A_THREAD = """
stop, put_by_threads = threading.Event(), []
def press():
    while not stop.is_set():
        put("thread")
        put_by_threads.append(1)
def child():
    for _ in range(5):
        put("child")
    asyncio.run(kit.queue("q").aenqueue("t"))
def fork():
    made = [multiprocessing.get_context("fork").Process(target=child) for _ in range(4)]
    for one in made:
        one.start()
    for one in made:
        one.join(60)
        assert one.exitcode == 0, one.exitcode
threads = [threading.Thread(target=press) for _ in range(3)]
for thread in threads:
    thread.start()
forking = threading.Thread(target=fork)
forking.start()
forking.join()
stop.set()
for thread in threads:
    thread.join()
print(len(put_by_threads))
"""  # 4 * 6, and what is printed
FROM_A_LOOP = """
def child():
    assert kit.access._loops == {} and kit.access._blocking is None, "it begins anew"
    put("child")
    asyncio.run(kit.queue("q").aenqueue("t"))
    kit.close()
async def main():
    await kit.queue("q").aenqueue("t")
    before = open_to(url)
    one = multiprocessing.get_context("fork").Process(target=child)
    one.start()
    await asyncio.to_thread(one.join, 60)
    assert one.exitcode == 0, one.exitcode
    await kit.queue("q").aenqueue("t")
    if not url.startswith("sqlite"):
        assert open_to(url) == before, "and its parent goes on with the same connections"
asyncio.run(main())
"""  # 4
LOCKED = """
from queuekit import ids
from queuekit.embedded import hub
put("parent")
locks = [kit.access._lock, kit.access._blocking.lanes._lock, ids._lock, Report._lock]
if url.startswith("mongodb"):
    from queuekit_mongo import ranks
    locks += [ranks._shared_lock[0], *(one._lock for one in ranks._shared.values())]
held, go = threading.Event(), threading.Event()
def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    go.wait(60)
    for lock in locks:
        lock.release()
holder = threading.Thread(target=hold)
holder.start()
held.wait(60)
child = os.fork()
if not child:
    with Report._lock:
        put("child")
    kit.close()
    os._exit(0)
go.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
holder.join()
put("parent")
"""  # 3
NO_COPY = """
put("parent")
asyncio.run(kit.queue("q").aenqueue("t"))
loop = asyncio.new_event_loop()
loop.run_until_complete(kit.queue("q").aenqueue("t"))
mine = open_to(url)
assert mine
read, write = os.pipe()
if not os.fork():
    os.write(write, json.dumps(len(open_to(url))).encode())
    os._exit(0)
os.wait()
print("copies", os.read(read, 100).decode())
loop.run_until_complete(kit.queue("q").aenqueue("t"))
assert open_to(url) == mine or url.startswith("sqlite")
loop.run_until_complete(kit.aclose())
loop.close()
"""  # 4


PROGRAMS = {ON_AND_ON: 36, FROM_A_THREAD: 24, FROM_A_LOOP: 4, LOCKED: 3, NO_COPY: 4}


@pytest.mark.parametrize("store", STORES)
def test_a_program_that_forks(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """All of them one after the other in one process: importing costs more than they do."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    namespace = f"t{ids.nonce()[:12]}"
    by_threads, copies = run("".join(PROGRAMS), url, namespace).splitlines()
    if store != "mongo":
        assert copies == "copies 0", "a child keeps no copy of its parent's connections"
    with QueueKit(url, name=ids.nonce(), namespace=namespace) as kit:
        assert kit.health("q")["q"].waiting == sum(PROGRAMS.values()) + int(by_threads)


UNTOLD = """
from queuekit.errors import StoreUnavailable
put("parent")
child = ctypes.PyDLL(None).fork()  # as a server written in C does: Python's own hooks do not run
if not child:
    try:
        put("child")
    except StoreUnavailable as error:
        os._exit(7 if "lazy-apps" in str(error) and error.outcome == "refused" else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
put("parent")
"""


@pytest.mark.parametrize(("store", "code"), [("sqlite", 7), ("redis", 0), ("mongo", 0)])
def test_a_fork_that_python_is_not_told_of(
    store: str, code: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """SQLite refuses the child, whose locks cannot be trusted, and says what to set; the others begin anew."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    assert run(UNTOLD, url, f"t{ids.nonce()[:12]}").strip() == str(code)


def run(program: str, url: str, namespace: str) -> str:
    """What a program said. It must end well, and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program, url, namespace],
        capture_output=True, text=True, timeout=100, check=False, cwd=ROOT, env=os.environ,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
