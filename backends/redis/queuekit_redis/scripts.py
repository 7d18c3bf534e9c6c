"""The Lua scripts, put together from lua/*.lua and lua/lib/*.lua when the package is imported.

A script's header is its signature: the order of its keys is read from there, and a test compares it with the body.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from queuekit.domain.absence import LEAST_GRACE, MISSED
from queuekit.domain.job import ERRORS_KEPT, LOGS_KEPT
from queuekit.domain.limits import (
    AWAITED_AGE,
    AWAITED_COUNT,
    DEFAULT_KEEP_COMPLETED,
    DEFAULT_KEEP_FAILED,
    DEFAULT_MAX_CRASHES,
)  # fmt: skip

_KEY = re.compile(r"^-- KEYS\[\d+\] (\w+)", re.MULTILINE)
_USES = re.compile(r"^ *-- USES (.*)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n|\s+-- .*$", re.MULTILINE)
_CONSTANTS: Final = (
    f"local KEEP_COMPLETED, KEEP_FAILED = '{DEFAULT_KEEP_COMPLETED.label}', '{DEFAULT_KEEP_FAILED.label}'\n"
    f"local MISSED, LEAST_GRACE = {MISSED}, {LEAST_GRACE}\n"
    f"local MAX_CRASHES, ERRORS_KEPT, LOGS_KEPT = {DEFAULT_MAX_CRASHES}, {ERRORS_KEPT}, {LOGS_KEPT}\n"
    f"local AWAITED_AGE, AWAITED_COUNT = {AWAITED_AGE}, {AWAITED_COUNT}\n"
)
_LUA = files("queuekit_redis") / "lua"


def _included(uses: re.Match[str]) -> str:
    return "\n".join((_LUA / "lib" / f"{lib}.lua").read_text() for lib in uses[1].split())


@dataclass(frozen=True, slots=True)
class Script:
    """One verb as the server runs it."""

    name: str
    text: bytes
    sha: bytes
    keys: tuple[str, ...]
    source: str  # as written, for tests and people


def assemble(name: str, prelude: str = "") -> Script:
    """The script `lua/<name>.lua` with its libraries; `prelude` is put before all (a test's stand-in for `struct`)."""
    source = (_LUA / f"{name}.lua").read_text()
    keys = tuple(_KEY.findall(source))
    locals_ = ", ".join(f"k_{key}" for key in keys), ", ".join(f"KEYS[{i + 1}]" for i in range(len(keys)))
    body = _USES.sub(_included, source)
    whole = f"{prelude}\nlocal {locals_[0]} = {locals_[1]}\n{_CONSTANTS}{body}"
    text = _COMMENT.sub("\n", whole).encode()
    text = re.sub(rb"\n\s*\n+", b"\n", text)
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    return Script(name, text, sha, keys, source)


NAMES: Final = tuple(sorted(entry.name.removesuffix(".lua") for entry in _LUA.iterdir() if entry.name.endswith(".lua")))
SCRIPTS: Final[dict[str, Script]] = {name: assemble(name) for name in NAMES}
READ_ONLY: Final = frozenset(
    {"get", "find", "count", "position", "plan", "known", "parcels", "timed", "schedules", "get_schedules", "due"}
)
# After these a mover acts on another store: each waits, for a time, until all replicas that are there have it.
SETTLED: Final = frozenset({"authority", "import", "confirm"})
