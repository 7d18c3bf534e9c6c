"""Fetch Django's own tests of its tasks framework, point them at our backend, run them with both module roots.

Usage: python -m tests.contrib.tasks_suite [--root django|backport] [--contract] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DJANGO = "django>=6.0,<6.1"
HERE = "tests.contrib.tasks_suite"
ADAPTERS = f"{HERE}.adapters"
BACKENDS = {
    "backends.dummy.DummyBackend": f"{ADAPTERS}.Kept",
    "backends.immediate.ImmediateBackend": f"{ADAPTERS}.AtOnce",
}
EXCLUDED = {  # and why it is not about us
    "CustomBackendTestCase.test_no_enqueue": "the words of Python 3.12 for an abstract class; ours may be 3.11",
    "DummyBackendTestCase.test_check": "with QUEUES=[] our check has a hint: a worker must be told the queues",
    "DummyBackendTestCase.test_refresh_result": "changes a result inside the dummy's own list",
    "DummyBackendTestCase.test_refresh_result_async": "changes a result inside the dummy's own list",
    "ImmediateBackendTestCase.test_cannot_get_result": "ours can",
    "ImmediateBackendTestCase.test_cannot_refresh_result": "ours can",
    "ImmediateBackendTestCase.test_cannot_pass_run_after": "ours can",
    "ImmediateBackendTestCase.test_throws_keyboard_interrupt": "a worker's run fails; the caller is long gone",
}


def main() -> int:
    """The worst exit code of the runs."""
    parser = argparse.ArgumentParser(prog=f"python -m {HERE}")
    parser.add_argument("--root", choices=("django", "backport"))
    parser.add_argument("--keep", type=Path, help="unpack into this folder, and take what is there already")
    parser.add_argument("--contract", action="store_true", help="our own tests, too, on that Django")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = unpacked(asked.keep or Path(folder))
        roots = [asked.root] if asked.root else ["django", "backport"]
        codes = [run(root, source, Path(folder)) for root in roots]
        return max(codes + ([contract(source)] if asked.contract else []))


def unpacked(folder: Path) -> Path:
    """Django's source distribution, which has its tests. Its Python may be newer than ours: only files are wanted."""
    found = sorted(folder.glob("django-6*/"))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--ignore-requires-python", "--dest", str(folder), DJANGO], check=True)
        (archive,) = folder.glob("django-6*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        found = sorted(folder.glob("django-6*/"))
    return found[-1]


def run(root: str, source: Path, work: Path) -> int:
    """Django's tests with one module root."""
    suite = work / root
    suite.mkdir()
    package = suite / "tasks"
    package.mkdir()
    for file in sorted((source / "tests" / "tasks").glob("*.py")):
        (package / file.name).write_text(pointed(file.read_text("utf-8"), root), "utf-8")
    path = [str(suite), str(Path.cwd()), *([str(source)] if root == "django" else [])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path), "DJANGO_SETTINGS_MODULE": f"{HERE}.settings"}
    version = subprocess.run(
        [sys.executable, "-c", "import django; print(django.__version__)"],
        env=env,
        text=True,
        capture_output=True,
        check=True,
    )
    print(f"== {root}: Django {version.stdout.strip()}, tests of {source.name}", flush=True)
    command = [sys.executable, "-W", "ignore", "-m", f"{HERE}.runner", "tasks", *EXCLUDED]
    return subprocess.run(command, env=env, cwd=Path.cwd(), check=False).returncode


def contract(source: Path) -> int:
    """Our own tests of the backend, on Django's source tree: the other root than the one they have by default."""
    tests = sorted(str(path) for path in Path("tests/contrib").glob("test_django_tasks*.py"))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(Path.cwd())])}
    print(f"== contract: {source.name}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, env=env, check=False).returncode


def pointed(text: str, root: str) -> str:
    """A test module with our backends in place of Django's; under the backport's names where those are wanted."""
    for path, ours in BACKENDS.items():
        module, _, name = path.rpartition(".")
        text = text.replace(f"django.tasks.{path}", ours)
        text = text.replace(
            f"from django.tasks.{module} import {name}", f"from {ADAPTERS} import {ours.rpartition('.')[2]} as {name}"
        )
    if root == "backport":
        text = text.replace("django.tasks", "django_tasks")
        text = re.sub(r"\b(InvalidTask|InvalidTaskBackend)\b", r"\1Error", text)
        text = text.replace("async Tasks.", "async tasks.").replace("priority of Tasks.", "priority of tasks.")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
