"""What a framework's own settings say of queuekit: keys checked, values with the place they were written at.

Which framework it is is not known here: a style of keys, and how a key is shown to people.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from queuekit.domain import names, options
from queuekit.errors import ConfigError
from queuekit.settings.files import PROFILE_KEYS, Tables, refuse_unknown
from queuekit.settings.table import TABLE, Given

Style: TypeAlias = Literal["variables", "short"]
PREFIX: Final = "QUEUEKIT_"
_SHORTER: Final = (PREFIX, "QUEUE_")  # what a short key leaves away
_TABLES: Final = {"QUEUES": "queues", "PROFILES": "profiles", "IMPORTS": "imports", "DEFAULTS": "defaults"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A framework's settings, between the environment and the configuration file.

    `production` says why the silent SQLite default is refused; None: it is not, unless somebody says so. `defaults` are
    the framework's words for the same, where neither it nor the file says anything of queuekit.
    """

    given: Mapping[str, Given] = field(default_factory=dict)
    defaults: Mapping[str, Given] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)
    production: str | None = None

    def over(self, file: Tables) -> Tables:
        """The tables of the file with these over them, entry by entry."""
        return {top: {**file.get(top, {}), **self.tables.get(top, {})} for top in {**file, **self.tables}}


def mapped(
    said: Mapping[str, object],
    *,
    show: Callable[[str], str],
    style: Style = "variables",
    extra: Collection[str] = (),
    production: str | None = None,
) -> Mapped:
    """Read `said`, whose keys are the variables of docs/settings.md.

    In style "variables" they stand among others' keys (`QUEUEKIT_URL`, `REDIS_URL`); in style "short" `said` is
    queuekit's own, and QUEUEKIT_ or QUEUE_ is left away (`URL`, `PROVIDER`, `REDIS_URL`). QUEUES, PROFILES, IMPORTS and
    DEFAULTS are the tables of queuekit.toml. `show` writes a key as people find it; `extra` are keys of the caller,
    left alone here. None and "" count as unset. Raises ConfigError with the nearest name for a key nobody knows.
    """
    rows = {_key(row.name, style): row for row in TABLE}
    tables = {_key(PREFIX + name, style): table for name, table in _TABLES.items()}
    known = {*rows, *tables, *extra}
    ours = [key for key in said if style == "short" or key in known or str(key).startswith(PREFIX)]
    where = show("…").partition("[")[0]
    for key in ours:
        short = _key(str(key).upper(), style)
        if key not in known and short in known:
            raise ConfigError(f"{where} has no key {key!r}: did you mean {short!r}?")
    refuse_unknown(where, ours, known)
    given: dict[str, Given] = {}
    found: dict[str, dict[str, object]] = {}
    for key in ours:
        value, where = said[key], show(key)
        if value is None or value == "" or key in extra:
            continue
        if key in rows:
            given[rows[key].field] = Given(_plain(value), where, from_file=False, mapped=True)
        else:
            _take(found, tables[key], value, where)
    return Mapped(given=given, tables=found, production=production)


def _key(variable: str, style: Style) -> str:
    if style == "variables":
        return variable
    return next((variable.removeprefix(part) for part in _SHORTER if variable.startswith(part)), variable)


def _plain(value: object) -> object:
    """As the table's parsers take it: a path as its text, a timedelta as seconds."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.total_seconds() if isinstance(value, timedelta) else value


def _take(found: dict[str, dict[str, object]], table: str, value: object, where: str) -> None:
    """Put one table of a framework's settings in, its options tried now: here its place can still be told."""
    if table == "imports":
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: use a list of modules")
        found.setdefault("kit", {})[table] = list(value)
        return
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: use a dict, not {type(value).__name__}")
    if table == "defaults":
        options.parse("kit", value, where)
        found.setdefault("kit", {})[table] = dict(value)
        return
    for name, entry in value.items():
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where}[{name!r}]: use a dict, not {type(entry).__name__}")
        if table == "profiles":
            refuse_unknown(f"{where}[{name!r}]", entry, PROFILE_KEYS)
        else:
            options.parse("queue", entry, f"{where}[{names.queue_name(name)!r}]")
    found[table] = dict(value)
