"""Which store: QUEUEKIT_URL, else QUEUE_PROVIDER, else Redis or MongoDB where their variables are set, else SQLite.

What a person said outright wins over what happens to be set, and the environment over the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, UnknownProvider
from queuekit.settings.files import project_folder
from queuekit.settings.table import Given

EXTRAS = {
    "redis": "redis", "rediss": "redis", "redis+sentinel": "redis", "redis+cluster": "redis",
    "mongodb": "mongo", "mongodb+srv": "mongo",
}  # fmt: skip
PROVIDERS = {
    "redis": "redis", "bull": "redis", "mongo": "mongodb", "mongodb": "mongodb", "agenda": "mongodb",
    "sqlite": "sqlite", "memory": "memory",
}  # fmt: skip
DEFAULT_REDIS = "redis://localhost:6379"
DEFAULT_MONGODB = "mongodb://localhost:27017/vale_db"
DEFAULT_FILE = "queuekit.db"
_NAMING = {"redis_url": "redis", "redis_host": "redis", "mongodb_url": "mongodb", "sqlite_path": "sqlite"}
FROM, TO = "-from", "-to"  # of the names of two stores of one kind
_INSTALL = "Redis needs pip install 'queuekit[redis]', MongoDB pip install 'queuekit[mongo]'."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A store's URL, why it is this one, and what a person should be told about it."""

    url: str
    chosen_by: str
    notes: tuple[str, ...] = ()


def choose(values: Mapping[str, Any], given: Mapping[str, Given], production: str | None = None) -> Choice:
    """Apply the rule to checked values. Raises UnknownProvider, and ConfigError where none is made but one is due.

    `production` is why one is due although nobody said so.
    """
    said = sorted(given.keys() & {"url", "provider"}, key=lambda name: (given[name].rank, name != "url"))
    if said and said[0] == "url":
        return Choice(url=_url(values["url"], given["url"]), chosen_by=given["url"].origin)
    if said:
        return _provider(values["provider"], given["provider"].origin, values, given)
    naming = [name for name in _NAMING if name in values]
    if naming:
        first = min(naming, key=lambda name: given[name].rank)  # of one rank, in the order of the table
        return _provider(_NAMING[first], given[first].origin, values, given)
    if values.get("require_provider", production is not None):
        why = "QUEUEKIT_REQUIRE_PROVIDER" if "require_provider" in values or production is None else production
        raise ConfigError(
            f"no store is chosen, and {why} forbids the silent SQLite file: set QUEUEKIT_URL,"
            " or QUEUE_PROVIDER=sqlite where the embedded file is meant"
        )
    choice = _provider("sqlite", "default", values, given)
    note = f"no store is chosen: jobs go to {_default_path()} (SQLite); set QUEUEKIT_URL or QUEUE_PROVIDER"
    return Choice(url=choice.url, chosen_by=choice.chosen_by, notes=(note,))


def kind(text: str) -> str:
    """Of which kind a store is, by its URL or its name: redis, mongo, sqlite, memory, or a backend's scheme."""
    scheme = text.partition("://")[0].lower().removesuffix(FROM).removesuffix(TO)
    return EXTRAS.get(scheme) or EXTRAS.get(PROVIDERS.get(scheme, scheme)) or PROVIDERS.get(scheme, scheme)


def side_names(source: str, target: str) -> tuple[str, str]:
    """What two stores are called in each other while a queue moves, by their URLs: never the URLs themselves."""
    one, other = kind(source), kind(target)
    return (one, other) if one != other else (one + FROM, other + TO)


def named(provider: str, values: Mapping[str, Any], given: Mapping[str, Given]) -> Choice | None:
    """The store that the variables of a kind name, whether it is the chosen one or not; None where none is set.

    Nothing is guessed here: who follows a queue to another store must not end up in one that happens to run here.
    """
    own = {"redis": "redis_", "mongo": "mongodb_url", "sqlite": "sqlite_path"}.get(kind(provider))
    set_ones = sorted(name for name in values if own is not None and name.startswith(own))
    if not set_ones:
        return None
    origin = given[next((name for name in set_ones if name.endswith(("_url", "_path"))), set_ones[0])].origin
    return _provider(kind(provider), origin, values, given)


def checked(url: str, given: Given, variable: str) -> str:
    """The URL of a store that a queue moves to or from. Raises as for the chosen one's."""
    return _url(url, given, variable=variable)


def _provider(provider: str, origin: str, values: Mapping[str, Any], given: Mapping[str, Given]) -> Choice:
    scheme = PROVIDERS.get(provider)
    if scheme is None:
        others = _installed() - EXTRAS.keys() - PROVIDERS.keys()
        if provider not in others:
            known = [*PROVIDERS, *sorted(others)]
            near = difflib.get_close_matches(provider, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UnknownProvider(
                f"{origin}={provider!r}: no such provider.{hint} Known: {', '.join(known)}. {_INSTALL}"
            )
        return Choice(url=f"{provider}://localhost", chosen_by=origin)
    if scheme == "redis":
        return Choice(url=_redis(values, given), chosen_by=origin)
    if scheme == "mongodb":
        return _mongodb(values, given, origin)
    if scheme == "memory":
        return Choice(url="memory://", chosen_by=origin)
    path = Path(values["sqlite_path"]).expanduser().absolute() if "sqlite_path" in values else _default_path()
    return Choice(url=f"sqlite:///{quote(str(path))}", chosen_by=origin)  # four slashes: an absolute path


def _default_path() -> Path:
    return project_folder() / DEFAULT_FILE


def _mongodb(values: Mapping[str, Any], given: Mapping[str, Given], origin: str) -> Choice:
    if "mongodb_url" in values:
        url = _url(values["mongodb_url"], given["mongodb_url"], ("mongodb", "mongodb+srv"))
        return Choice(url=url, chosen_by=origin)
    note = f"MONGODB_URL is not set: using {DEFAULT_MONGODB}"
    return Choice(url=DEFAULT_MONGODB, chosen_by=origin, notes=(note,))


def _redis(values: Mapping[str, Any], given: Mapping[str, Given]) -> str:
    """REDIS_URL, each part replaced by the variable of its name where that is set, but not from further down.

    A host that a framework's settings have for development must not end up in the URL of the environment.
    """
    whole = str(values.get("redis_url", DEFAULT_REDIS))
    if "redis_url" in given:
        _url(whole, given["redis_url"], [scheme for scheme, extra in EXTRAS.items() if extra == "redis"])
    last = given["redis_url"].rank if "redis_url" in given else 2
    parts = {
        name: values[f"redis_{name}"]
        for name in ("host", "port", "username", "password", "db")
        if f"redis_{name}" in values and given[f"redis_{name}"].rank <= last
    }
    if not parts:
        return whole
    url = urlsplit(whole)
    many = "+" in url.scheme or "," in url.netloc
    if many and parts.keys() & {"host", "port", "db"}:
        raise ConfigError(
            "REDIS_HOST, REDIS_PORT and REDIS_DB name one server; REDIS_URL names several: write them in it"
        )
    userinfo, _, server = url.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    user = quote(parts["username"], safe="") if "username" in parts else user
    password = quote(parts["password"], safe="") if "password" in parts else password
    userinfo = f"{user}:{password}@" if password else f"{user}@" if user else ""
    # redis-py lets the query speak over the parts before it, so an overridden part must go from there too
    query = urlencode([(key, value) for key, value in parse_qsl(url.query, keep_blank_values=True) if key not in parts])
    path = f"/{parts['db']}" if "db" in parts else url.path
    return urlunsplit((url.scheme, userinfo + _server(server, parts), path, query, ""))


def _server(server: str, parts: Mapping[str, Any]) -> str:
    if not parts.keys() & {"host", "port"}:
        return server
    host, _, port = server.rpartition(":") if server.rpartition("]")[2].count(":") else (server, "", "")
    host = str(parts.get("host", host))
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    port = parts.get("port", port)
    return f"{host}:{port}" if port else host


def _url(url: str, given: Given, schemes: Collection[str] = (), variable: str = "QUEUEKIT_URL") -> str:
    """`url` itself if its scheme is known; raises UnknownProvider, or ConfigError for a password in a file."""
    scheme = url.partition("://")[0] if "://" in url else ""
    known = schemes or {*EXTRAS, *PROVIDERS.values()}
    if scheme not in known and (schemes or scheme not in _installed()):
        listed = ", ".join(f"{name}://" for name in sorted({*known, *(() if schemes else _installed())}))
        shown = (
            f"{given.origin}={redact(url)!r}" if scheme else given.origin
        )  # without a scheme redact knows no password
        what = f"no store has the URL scheme {scheme!r}" if scheme else "a URL begins with a scheme"
        raise UnknownProvider(f"{shown}: {what}. Known: {listed}. {_INSTALL}")
    if given.from_file and redact(url) != url:
        raise ConfigError(f"{given.origin} holds a password: set {variable} in the environment instead")
    return url


def _installed() -> set[str]:
    """Names of installed backends; asked only for names that are not our own, since it looks through all packages."""
    return {point.name for point in entry_points(group="queuekit.backends")}
