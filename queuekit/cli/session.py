"""What one command line chose: the store, the app, how to print.

Global options become variables, so children see them too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Another program whose command the whole command line is (`queuekit.cli.embed`)."""

    kit: Callable[[], QueueKit]
    app: str | None  # MODULE:ATTR by which a fresh process finds that kit; None: the kit is a module's global
    prog: str


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
    host: Host | None = None
    _kit: QueueKit | None = None
    _reread: QueueKit | None = None
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
            settings = Settings.load() if self.host is None else self._hosted(self.host).settings
            if "QUEUEKIT_URL" in self.given:
                if self.host is not None:  # its kit may have been told another store in code
                    settings = dataclasses.replace(settings, url=os.environ["QUEUEKIT_URL"], notes=())
                settings = dataclasses.replace(settings, chosen_by="--url")
            self.prepare(settings)
            self._settings = settings
        return self._settings

    @property
    def prepare(self) -> Callable[[Settings], None]:
        """Starts logging, here and in processes this one starts. An embedding program's own logging stays, unless
        this command line says how."""
        said = self.log_file is not None or "QUEUEKIT_LOG" in self.given or "QUEUEKIT_LOG_FORMAT" in self.given
        return partial(logs.start, lasting=self.lasting, path=self.log_file, keep=self.host is not None and not said)

    @property
    def kit(self) -> QueueKit:
        """A kit to look at the store with: it needs no app and imports none. An embedding program has its own."""
        if self._kit is None:
            settings = self.settings
            if self.host is None or {"QUEUEKIT_URL", "QUEUEKIT_NAMESPACE"} & {*self.given}:
                # under its own name: in another program "default" is that program's
                self._kit = QueueKit(settings=settings, name="default" if self.host is None else self.host.prog)
            else:
                self._kit, self.imported = self._hosted(self.host), True
        return self._kit

    @property
    def chosen_by(self) -> str:
        """What chose the store of the kit in use; an option of this command line by the option's name."""
        said = self.kit.settings.chosen_by
        return "--url" if said in self.given else said

    def named(self, app: str | None = None) -> str:
        """The name of the user's app; "" for an embedding program's own. Raises AppError where nobody said one."""
        name = self.app_named(app)
        if not name and self.host is None:
            raise apps.AppError(
                "which app? Name it as MODULE:ATTR, with -A or QUEUEKIT_APP; for example -A shop.tasks:kit"
            )
        return name or ""

    def loaded(self, app: str | None = None) -> QueueKit:
        """The user's kit with its modules imported. Raises AppError."""
        name = self.named(app)
        if name or self.host is None:
            self._kit = apps.load(name)
        else:
            self._kit = self._hosted(self.host)
            apps.imports(self._kit, "the app")
        self.imported = True
        return self._kit

    def app_named(self, app: str | None = None) -> str | None:
        """The app that was named; inside another program only this command line can name another."""
        said = self.settings.app
        return app or said if self.host is None or "QUEUEKIT_APP" in self.given else app

    @property
    def app_of_children(self) -> str | None:
        """The app that processes of ours import where this command line names none."""
        return None if self.host is None else self.host.app

    @property
    def only_asked(self) -> bool:
        """Whether the command asked a store through a kit of our own, and no user's code was imported."""
        return self.host is None and self._kit is not None and not self.imported

    def store(self) -> JobStore:
        """The opened store, blocking."""
        return self.kit.blocking_store()

    def ask(self, call: Coroutine[Any, Any, R]) -> R:
        """The answer of one call of `store()`."""
        return direct(call)

    def give_back(self) -> None:
        """Let an embedding program's kit read its settings again: what this command line set is over."""
        if self._reread is not None:
            self._reread.reread()

    def _hosted(self, host: Host) -> QueueKit:
        """An embedding program's kit; one that read its settings before this command line was, reads them again."""
        kit = host.kit()
        if self._reread is None and self.given:
            kit.reread()
            self._reread = kit
        return kit

    def close(self) -> None:
        if self._kit is not None and (self.host is None or not self.imported):  # an embedding program's is its own
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
