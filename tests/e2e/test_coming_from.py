"""Every block of ours in docs/from-*.md runs: files are written, programs run in order beside a worker of them."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from queuekit import QueueKit
from tests.architecture import ROOT
from tests.cli.conftest import Shell

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("from-*.md"))}
OURS, THEIRS = {"python", "sh"}, {"py", "js", "text"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")


@contextmanager
def working(kit: QueueKit) -> Iterator[None]:
    """A worker of the kit in a thread, until the end of the block."""
    worker = kit.worker(concurrency=4)
    begun, ends = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def work() -> None:
        async with worker:
            ends.append((asyncio.get_running_loop(), asyncio.Event()))
            begun.set()
            await ends[0][1].wait()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    assert begun.wait(30)
    try:
        yield
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(60)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    made = Shell(tmp_path, monkeypatch)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    made.close()


@pytest.fixture
def shop(request: pytest.FixtureRequest, shell: Shell) -> Iterator[QueueKit]:
    """The page's program: its files are there, and the kit of shop.py is imported."""
    for kind, text in FENCE.findall(PAGES[request.getfixturevalue("page")]):
        name = FILE.match(text)
        if kind == "python" and name is not None:
            with (shell.folder / name[1]).open("a") as file:
                file.write(text)
    kit = importlib.import_module("shop").kit
    yield kit
    kit.close()
    for path in shell.folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def programs(page: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page) if kind == "python" and not FILE.match(text)]


def test_a_page_for_each_system_with_blocks_of_both_sides() -> None:
    assert sorted(PAGES) == ["from-agenda", "from-bullmq", "from-celery", "from-rq"]
    for page in PAGES.values():
        kinds = [kind for kind, _ in FENCE.findall(page)]
        assert set(kinds) <= OURS | THEIRS
        assert sum(kind in OURS for kind in kinds) >= 8
        assert sum(kind in THEIRS for kind in kinds) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_ours_runs(page: str, shop: QueueKit, shell: Shell) -> None:
    names: dict[str, object] = {"__name__": f"block of {page}"}
    later = []
    with working(shop):
        for text in programs(PAGES[page]):
            if "isolated(" in text:  # takes the kit off its store: not while a worker runs on it
                later.append(text)
            else:
                _run(text, page, names)
    for text in later:
        _run(text, page, names)
    for kind, text in FENCE.findall(PAGES[page]):
        for line in text.strip().splitlines() if kind == "sh" else ():
            command, *words = re.findall(r"'[^']*'|\S+", line.partition("  #")[0])
            assert command == "queuekit"
            burst = ["--burst", "-p", "1"] if words[0] == "worker" else []  # several processes have tests of their own
            ran = shell(*(word.strip("'") for word in words), *burst)
            assert ran.code == 0, (line, ran.err)


def _run(text: str, page: str, names: dict[str, object]) -> None:
    exec(compile(text, f"{page}.md", "exec"), names)  # noqa: S102  a page of ours
