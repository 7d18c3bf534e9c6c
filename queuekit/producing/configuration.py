"""A kit's settings and the options it declares for queues: from code, over those of a framework and of the file.

Read at the first use.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuekit.domain import names, options
from queuekit.errors import ConfigError, InvalidName, InvalidOption, PayloadError, UnknownProvider

if TYPE_CHECKING:
    from queuekit.settings import Settings
    from queuekit.settings.mapped import Mapped

_revisions = itertools.count(1)  # of the whole process: two configurations that one kit uses in turn never share one


class Configuration:
    """What a kit was told in code, and what the settings say where it was told nothing."""

    def __init__(
        self,
        *,
        url: str | None,
        namespace: str | None,
        queues: Mapping[str, Mapping[str, Any]],
        settings: Settings | None,
        client: bool,
        framework: Callable[[], Mapped] | None = None,
    ) -> None:
        self.revision = next(_revisions)  # another whenever options that jobs inherit at enqueue change
        self.framework = framework  # what a framework's own settings say
        self._url = url
        self._namespace = None if namespace is None else names.namespace(namespace)
        self._given = settings
        self._client = client
        self._settings: Settings | None = None
        self._in_code: dict[str, Mapping[str, object]] = {}
        self._queues: dict[str, Mapping[str, object]] = {}
        self._defaults: Mapping[str, object] = {}
        for queue, said in queues.items():
            self.declare(queue, said)

    @property
    def settled(self) -> bool:
        """Whether they have been read."""
        return self._settings is not None

    @property
    def settings(self) -> Settings:
        """Loaded at the first use. Raises ConfigError."""
        return self._settings or self._load()

    @property
    def queues(self) -> dict[str, Mapping[str, object]]:
        """Parsed options by queue."""
        if self._settings is None:
            self._load()
        return self._queues

    @property
    def defaults(self) -> Mapping[str, object]:
        """Parsed options of every job that says nothing else."""
        if self._settings is None:
            self._load()
        return self._defaults

    @property
    def imports(self) -> tuple[str, ...]:
        """The modules the file names."""
        said = self.settings.file_tables.get("kit", {}).get("imports", ())
        return (said,) if isinstance(said, str) else tuple(said) if isinstance(said, (list, tuple)) else ()

    def declare(self, queue: str, given: Mapping[str, Any]) -> None:
        """Options of a queue, said in code. Raises InvalidName, InvalidOption."""
        parsed = options.parse("queue", given, f"queue {names.queue_name(queue)!r}")
        self._in_code[queue] = {**self._in_code.get(queue, {}), **parsed}
        self._queues[queue] = {**self._queues.get(queue, {}), **parsed}
        self.revision = next(_revisions)

    def forget(self) -> None:
        """Let the next use read environment, framework and file anew."""
        self._settings = None
        self._queues, self._defaults = dict(self._in_code), {}
        self.revision = next(_revisions)

    def _load(self) -> Settings:
        settings = self._read()
        kit = settings.file_tables.get("kit", {})
        defaults = kit.get("defaults", {})
        where = os.path.basename(settings.file or "queuekit.toml")
        with settings_of(f"{where} [kit] defaults") as table:
            read = options.parse("kit", defaults, table) if isinstance(defaults, Mapping) else {}
        self._defaults = {**_preset(settings.preset), **read}
        for queue, said in settings.file_tables.get("queues", {}).items():
            if isinstance(said, Mapping):
                with settings_of(f'{where} [queues."{queue}"]') as table:
                    names.queue_name(queue)
                    parsed = options.parse("queue", said, table)
                self._queues[queue] = {**parsed, **self._in_code.get(queue, {})}
        self._settings = settings
        self.revision = next(_revisions)
        return settings

    def _read(self) -> Settings:
        settings = self._given
        if settings is None:
            from queuekit.settings import Settings

            told = "memory://" if self._client and self._url is None else self._url  # so that no default is chosen
            env = None if told is None else {**os.environ, "QUEUEKIT_URL": told}
            try:
                settings = Settings.load(env, framework=None if self.framework is None else self.framework())
            except UnknownProvider as error:
                if told is None:
                    raise
                raise UnknownProvider(str(error).replace("QUEUEKIT_URL", "QueueKit(url=…)", 1)) from None
        if self._url is not None:
            settings = dataclasses.replace(settings, url=self._url, chosen_by="QueueKit(url=…)", notes=())
        if self._client:
            settings = dataclasses.replace(settings, url="", chosen_by="QueueKit(client=…)", notes=())
        if self._namespace is not None:
            settings = dataclasses.replace(settings, namespace=self._namespace)
        return settings


@contextmanager
def settings_of(where: str) -> Iterator[str]:
    """Raise a plain ConfigError, which says `where`, for a name, an option or a payload of a file that cannot be: to
    scripts it is a wrong setting, as every other mistake there, and not a wrong call.
    """
    try:
        yield where
    except (InvalidName, InvalidOption, PayloadError) as error:
        told = str(error)
        raise ConfigError(told if where in told else f"{where}: {told}") from error


def _preset(name: str | None) -> Mapping[str, object]:
    if name is None:
        return {}
    from queuekit.domain.presets import PRESETS

    if name not in PRESETS:
        raise InvalidOption(f"there is no preset {name!r}: use {', '.join(PRESETS)}")
    return options.parse("kit", PRESETS[name], f"preset {name!r}")
