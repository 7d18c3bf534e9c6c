"""`make matrix`: the tests of the Redis and the MongoDB store with each driver that the backends say they work with.

    python -m tests.matrix [redis==6.* pymongo==4.13.1 …] [--folder .matrix] [--brief]

A row is a virtual environment of its own that has one other driver, and everything else from the one this runs in.
Needs a package index, or what `--folder` kept of the last time. Prints a table; ends with 1 where a row failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
LOWEST: Final = {"redis": "redis==5.0.1", "pymongo": "pymongo==4.13.1"}  # what the backends' pyproject.toml says
ROWS: Final = (
    LOWEST["redis"], "redis==5.*", "redis==6.*", "redis==7.*", "redis==8.*", "redis",
    LOWEST["pymongo"], *(f"pymongo==4.{minor}.*" for minor in range(13, 21)), "pymongo",
)  # fmt: skip
WITH: Final[dict[str, tuple[str, ...]]] = {
    LOWEST["redis"]: ("hiredis==2.1.0",),
    "redis==5.*": ("pyjwt",),
}  # 5.3 needs it
TESTS: Final = {
    "redis": (
        ["tests/contract", "-k", "redis and not fake"],
        ["tests/unit/test_redis_port.py", "tests/unit/test_redis_open.py", "tests/unit/test_redis_within.py"],
        ["tests/unit/test_redis_scripts.py", "tests/unit/test_redis_model.py", "tests/runtime/test_redis_trouble.py"],
        ["tests/runtime", "-k", "redis or cluster"],
        ["tests/faults/test_proxy.py", "-k", "redis"],
    ),
    "pymongo": (
        ["tests/contract", "-k", "mongo"],
        ["tests/unit", "-k", "mongo and not wheels"],
        ["tests/runtime", "-k", "mongo"],
        ["tests/faults/test_proxy.py", "-k", "mongo"],
    ),
}
# What a driver itself has a hand in: its errors, cursors, sessions, bytes, waiting, and servers that come and go. The
# other families send the same commands and read the same replies, whatever the version.
TOUCHED: Final = "again or exchange or find or life or notify or opaque or produce or within"
BRIEF: Final = {
    driver: (
        ["tests/contract", "-k", f"{store} and not fake and ({TOUCHED})"],
        ["tests/unit", "-k", f"{store} and not wheels"],
        ["tests/runtime/test_store_away.py", "-k", store],
        ["tests/faults/test_proxy.py", "-k", store],
    )
    for driver, store in (("redis", "redis"), ("pymongo", "mongo"))
}
# Drivers before ours leave sockets to the collector now and then, which falls upon whatever test runs just then.
FORGOTTEN: Final = "ignore::pytest.PytestUnraisableExceptionWarning"
ENDED: Final = re.compile(r"^(.*) in [\d.]+s", re.MULTILINE)


@dataclass
class Row:
    wanted: str
    version: str = ""
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    output: str = ""


def environment(folder: Path, wanted: str) -> Path:
    """The Python of an environment that has `wanted`, and falls back on the packages of this one."""
    home = folder / re.sub(r"\W+", "-", wanted).strip("-")
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, symlinks=True)
        inside = next((home / "lib").glob("python3*")) / "site-packages"
        behind = sysconfig.get_path("purelib")
        (inside / "everything-else.pth").write_text(f"import site; site.addsitedir({behind!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", wanted, *WITH.get(wanted, ())], check=True)
    return python


def run(row: Row, python: Path, tests: Mapping[str, Sequence[Sequence[str]]] = TESTS) -> None:
    driver = re.split(r"\W", row.wanted)[0]
    ask = f"from importlib.metadata import version; print(version({driver!r}))"
    row.version = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    begun = time.monotonic()
    for chosen in tests[driver]:
        command = [
            str(python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n",
            "2",
            "--dist",
            "worksteal",
            "-W",
            FORGOTTEN,
            *chosen,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        ended = ENDED.findall(done.stdout)
        said = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", ended[-1] if ended else "")}
        row.passed += said.get("passed", 0)
        failed = said.get("failed", 0) + said.get("error", 0) + said.get("errors", 0)
        row.failed += failed or (done.returncode != 0) or not said.get("passed", 0)
        if failed or done.returncode:
            row.output += done.stdout[-6000:] + done.stderr[-2000:]
    row.seconds = time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--brief", action="store_true", help="only what a driver itself has a hand in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuekit-matrix-") as temporary:
        rows = [Row(wanted) for wanted in chosen.rows]
        print(f"{'asked':<18}{'driver':<12}{'passed':>8}{'failed':>8}{'seconds':>9}", flush=True)
        for row in rows:
            python = environment((chosen.folder or Path(temporary)).resolve(), row.wanted)
            run(row, python, BRIEF if chosen.brief else TESTS)
            print(f"{row.wanted:<18}{row.version:<12}{row.passed:>8}{row.failed:>8}{row.seconds:>9.0f}", flush=True)
            if row.failed:
                print(row.output, file=sys.stderr, flush=True)
    return 1 if any(row.failed for row in rows) else 0


def lower_bounds() -> dict[str, str]:
    """What the backends ask of their drivers."""
    found = {}
    for backend, driver in (("redis", "redis"), ("mongo", "pymongo")):
        project = tomllib.loads((ROOT / "backends" / backend / "pyproject.toml").read_text())["project"]
        for line in project["dependencies"]:
            asked = re.match(rf"{driver}>=([\d.]+)", line)
            if asked:
                found[driver] = f"{driver}=={asked[1]}"
    return found


if __name__ == "__main__":
    raise SystemExit(main())
