"""Files that settings come from: queuekit.toml or [tool.queuekit], and .env files that somebody named.

Here keys are known or refused; what queues, schedules and alerts mean is decided above.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from queuekit.errors import ConfigError
from queuekit.settings.table import TABLE, VARIABLES, Given

Tables: TypeAlias = Mapping[str, Mapping[str, object]]

PROJECT_FILES = ("queuekit.toml", "pyproject.toml", "manage.py")
TOP = ("kit", "profiles", "queues", "schedules", "alerts")
KIT_KEYS = ("imports", "defaults", *(row.field for row in TABLE if row.in_file))
PATHS = ("sqlite_path", "keys_file")
PROFILE_KEYS = ("concurrency", "lease", "stalled_check")
_ENV_LINE = re.compile(
    r"""(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(.*?))\s*(?:(?:^|(?<=\s)|(?<=["']))\#.*)?"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A configuration file as read; without one, `path` is None and there are no tables."""

    path: Path | None = None
    tables: Tables = field(default_factory=dict)

    def given(self) -> dict[str, Given]:
        """What [kit] says about fields that variables can set too."""
        name = self.path.name if self.path else ""
        own = {row.field for row in TABLE if row.in_file}
        found = {}
        for key, value in self.tables.get("kit", {}).items():
            if key in PATHS and isinstance(value, str) and self.path is not None:
                value = str(self.path.parent / Path(value).expanduser())  # as seen from the file, wherever we run
            if key in own:
                found[key] = Given(value, f"{name} [kit] {key}", from_file=True)
        return found


def project_folder() -> Path:
    """The nearest folder from here upward that holds a project file, else the current one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / name).is_file() for name in PROJECT_FILES):
            return folder
    return here


def read(named: str | None) -> File:
    """The file somebody named, else the nearest queuekit.toml or pyproject.toml with [tool.queuekit]; checked.

    Raises ConfigError for a named file that is not there, for wrong TOML, and for keys nobody knows.
    """
    if named is not None:
        path = Path(named).expanduser().absolute()
        found = _tables(path)
        if found is None:
            raise ConfigError(f"{path} has no table [tool.queuekit]")
        return File(path=path, tables=_checked(path, found))
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name in ("queuekit.toml", "pyproject.toml"):
            path = folder / name
            found = _tables(path) if path.is_file() else None
            if found is not None:
                return File(path=path, tables=_checked(path, found))
    return File()


def read_env(path: str) -> dict[str, str]:
    """The variables of a .env file: NAME=value lines, quotes and comments as a shell has them, no substitution."""
    variables = {}
    for number, line in enumerate(_text(Path(path).expanduser().absolute()).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(f"{path}, line {number}: not NAME=value")
        name, double, single, bare = match.groups()
        if double is not None:
            double = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), double)
        variables[name] = next(value for value in (double, single, bare) if value is not None)
    return variables


def unread_env_file(named: str | None = None) -> Path | None:
    """A .env file beside the project that sets variables of ours and is not the one `named`, so nobody reads it."""
    path = project_folder() / ".env"
    if named and Path(named).expanduser().resolve() == path.resolve():
        return None
    try:
        names = set(read_env(str(path)))
    except ConfigError:
        return None
    return path if names & set(VARIABLES) else None


def refuse_unknown(where: str, keys: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError for the first key that is not known, naming the nearest one that is."""
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{where} has no key {key!r}: {hint}")


def _tables(path: Path) -> dict[str, Any] | None:
    """All of queuekit.toml, or only [tool.queuekit] of pyproject.toml; None where that is missing."""
    try:
        content = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None
    if path.name != "pyproject.toml":
        return content
    tool = content.get("tool")
    return tool.get("queuekit") if isinstance(tool, dict) else None


def _checked(path: Path, tables: dict[str, Any]) -> Tables:
    where = f"{path} [tool.queuekit]" if path.name == "pyproject.toml" else str(path)
    if not isinstance(tables, dict):
        raise ConfigError(f"{where} must be a table")
    refuse_unknown(where, tables, TOP)
    for top, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {top!r} must be a table, [{top}]")
        if top in ("profiles", "queues", "schedules"):
            for name, entry in table.items():
                if not isinstance(entry, dict):
                    raise ConfigError(f'{where}: {top}.{name} must be a table, [{top}."{name}"]')
    kit = tables.get("kit", {})
    for row in TABLE:
        if not row.in_file and row.field in kit:
            raise ConfigError(f"{where} [kit] may not hold {row.field!r}: set {row.name} in the environment")
    refuse_unknown(f"{where} [kit]", kit, KIT_KEYS)
    for name, profile in tables.get("profiles", {}).items():
        refuse_unknown(f"{where} [profiles.{name}]", profile, PROFILE_KEYS)
    return tables


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
