"""`Settings`: everything a process is told from outside, as one value whose repr shows no secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from queuekit.domain.redact import MASK, redact
from queuekit.settings.choice import Choice, checked, choose, named
from queuekit.settings.files import Tables, read, read_env
from queuekit.settings.table import SECRETS, TABLE, Given, check, log_levels

if TYPE_CHECKING:
    from queuekit.settings.mapped import Mapped

Said: TypeAlias = Mapping[str, tuple[Any, Given]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """What the environment, a file and the defaults say. Durations are milliseconds, sizes bytes.

    `load()` reads them; `dataclasses.replace` puts what code or the command line says above them.
    """

    url: str
    chosen_by: str  # why this store: "QUEUEKIT_URL", "QUEUE_PROVIDER", "REDIS_URL", …, "default"
    namespace: str = "queuekit"
    app: str | None = None
    timeout: int = 5_000  # bound of one store call
    lease: int = 30_000
    concurrency: int = 1
    grace: int = 25_000
    processes: int = 1
    worker_type: str = "all"
    durability: Literal["acknowledged", "replicated"] = "acknowledged"
    allow_eviction: bool = False
    payload_limit: int = 256 * 1024
    collection: str = "queuekit_jobs"
    to_url: str | None = None  # the store a queue moves to, where its provider's own variables do not name it
    from_url: str | None = None  # and the one it comes from
    keys: str | None = None
    keys_file: str | None = None
    log: str = "info"
    log_format: Literal["text", "json"] | None = None  # None: text on a terminal, else json
    health_port: int | None = None
    dashboard_token: str | None = None
    require_provider: bool = False
    preset: str | None = None  # defaults of jobs under a name: queuekit.domain.presets
    timezone: str = "UTC"  # of schedules that name none
    notes: tuple[str, ...] = ()  # what a person should be told at the first use, as warnings
    file: str | None = None  # the configuration file that was read
    file_tables: Tables = field(default_factory=dict, hash=False)  # its tables as parsed: kit, profiles, queues, …
    given: frozenset[str] = frozenset()  # the fields somebody set, in whatever place
    said: Said = field(default_factory=dict, hash=False, compare=False)  # values by variable's field, and their origin

    @classmethod
    def load(
        cls, env: Mapping[str, str] | None = None, *, file: str | None = None, framework: Mapped | None = None
    ) -> Settings:
        """Settings from `env` (default: this process's environment), a .env file it names, and the configuration file.

        What a framework's own settings say stands between them: under the environment, over the file. An empty
        variable counts as unset. Raises ConfigError, UnknownProvider and InvalidName; no store is asked.
        """
        variables = _set(os.environ if env is None else env)
        mapped = dict(framework.given) if framework is not None else {}
        production = framework.production if framework is not None else None
        env_file = variables.get("QUEUEKIT_ENV_FILE") or _text(mapped.get("env_file"))
        if env_file is not None:
            variables = _set(read_env(env_file)) | variables
        source = read(file if file is not None else variables.get("QUEUEKIT_CONFIG") or _text(mapped.get("config")))
        in_env = {
            row.field: Given(variables[row.name], row.name, from_file=False) for row in TABLE if row.name in variables
        }
        given = ({} if framework is None else dict(framework.defaults)) | source.given() | mapped | in_env
        values = check(given)
        choice = choose(values, given, production)
        if production is not None:
            values.setdefault("require_provider", True)
        for name, variable in (("to_url", "QUEUEKIT_TO_URL"), ("from_url", "QUEUEKIT_FROM_URL")):
            if name in values:
                values[name] = checked(values[name], given[name], variable)
        if values.get("debug") and "log" not in values:
            values["log"] = "debug"
        names = {one.name for one in fields(cls)}
        return cls(
            **{name: value for name, value in values.items() if name in names and name != "url"},
            url=choice.url,
            chosen_by=choice.chosen_by,
            notes=choice.notes,
            file=str(source.path) if source.path else None,
            file_tables=source.tables if framework is None else framework.over(source.tables),
            given=frozenset(given),
            said={name: (values[name], given[name]) for name in values if name in given},
        )

    def named(self, provider: str) -> Choice | None:
        """The store that a provider's own variables name (REDIS_URL, MONGODB_URL, …); None where none is set.

        It need not be the chosen one. Raises ConfigError, UnknownProvider.
        """
        values = {name: value for name, (value, _) in self.said.items()}
        return named(provider, values, {name: given for name, (_, given) in self.said.items()})

    @property
    def log_levels(self) -> dict[str, str]:
        """Level by logger name, from `log`."""
        return log_levels(self.log)

    def __repr__(self) -> str:
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "said"}
        values |= {name: MASK for name in SECRETS & values.keys() if values[name] is not None}
        values["file_tables"] = sorted(self.file_tables)
        shown = [f"{name}={value!r}" for name, value in values.items()]
        return redact(f"Settings({', '.join(shown)})")


def _text(given: Given | None) -> str | None:
    return None if given is None else str(given.value)


def _set(variables: Mapping[str, str]) -> dict[str, str]:
    ours = ((row, variables.get(row.name, "")) for row in TABLE)
    return {row.name: text if row.secret else text.strip() for row, text in ours if text.strip()}
