"""What one command line chose: the store, the app, how to print.

Global options become variables, so children see them too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from queuekit import QueueKit, Settings
from queuekit.cli import apps, logs
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore

R = TypeVar("R")
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
NAMES = {"app": "QUEUEKIT_APP", "url": "QUEUEKIT_URL", "namespace": "QUEUEKIT_NAMESPACE", "config": "QUEUEKIT_CONFIG",
         "env_file": "QUEUEKIT_ENV_FILE", "log_level": "QUEUEKIT_LOG"}  # fmt: skip


@dataclass(slots=True)
class Session:
    """Made once by the root command; every other command takes it from the context."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    lasting: bool = False  # a worker: its log is collected by something
    log_file: str | None = None  # where log lines go instead of standard error
    given: tuple[str, ...] = ()  # variables that options of this command line set
    imported: bool = False  # the user's app was loaded
    sides: tuple[tuple[str, str], ...] = ()  # (URL, what chose it) of the stores of a move
    _kit: QueueKit | None = None
    _settings: Settings | None = None

    def take(self, **options: str | None) -> None:
        """Options win over the environment, also in processes this one starts."""
        for option, value in options.items():
            if value:
                os.environ[NAMES[option]] = value
                self.given += (NAMES[option],)

    @property
    def settings(self) -> Settings:
        """Read once, with the first command that needs them; log lines are as they say from then on."""
        if self._settings is None:
            settings = Settings.load()
            if "QUEUEKIT_URL" in self.given:
                settings = dataclasses.replace(settings, chosen_by="--url")
            logs.start(settings, lasting=self.lasting, path=self.log_file)
            self._settings = settings
        return self._settings

    @property
    def kit(self) -> QueueKit:
        """A kit to look at the store with: it needs no app and imports none."""
        if self._kit is None:
            self._kit = QueueKit(settings=self.settings)
        return self._kit

    @property
    def chosen_by(self) -> str:
        """What chose the store of the kit in use; an option of this command line by the option's name."""
        said = self.kit.settings.chosen_by
        return "--url" if said in self.given else said

    def loaded(self, app: str | None = None) -> QueueKit:
        """The user's kit with its modules imported. Raises AppError."""
        name = app or self.settings.app
        if not name:
            raise apps.AppError(
                "which app? Name it as MODULE:ATTR, with -A or QUEUEKIT_APP; for example -A shop.tasks:kit"
            )
        self._kit, self.imported = apps.load(name), True
        return self._kit

    @property
    def only_asked(self) -> bool:
        """Whether the command asked a store through a kit of our own, and no user's code was imported."""
        return self._kit is not None and not self.imported

    def store(self) -> JobStore:
        """The opened store, blocking."""
        return self.kit.blocking_store()

    def ask(self, call: Coroutine[Any, Any, R]) -> R:
        """The answer of one call of `store()`."""
        return direct(call)

    def close(self) -> None:
        if self._kit is not None:
            self._kit.close()


def of(context: typer.Context) -> Session:
    """The session of this command line."""
    session = context.find_root().obj
    if not isinstance(session, Session):  # the root callback makes it before any command runs
        raise TypeError("no session")
    return session


def reading(context: typer.Context, json: bool) -> Session:
    """The session of a command that only looks: `--json` counts before and after the command's name."""
    session = of(context)
    session.json = session.json or json
    return session
