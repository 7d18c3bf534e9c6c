"""`DjangoKit`: a kit with its settings in `settings.QUEUEKIT`, whose jobs wait for Django's transactions.

Here the project's kit is found, and the modules of its apps that register tasks.
"""

from __future__ import annotations

import importlib
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import django
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import module_has_submodule

from queuekit import QueueKit, QueueOptions, Settings
from queuekit.contrib.django import conf, connections
from queuekit.contrib.django.transactions import OpenTransactions
from queuekit.errors import ConfigError
from queuekit.producing.modules import NotImported, said

if TYPE_CHECKING:
    from types import FrameType

    from django.apps import AppConfig

    from queuekit.settings.mapped import Mapped

_making = threading.Lock()
_made: weakref.WeakSet[DjangoKit] = weakref.WeakSet()


class DjangoKit(QueueKit):
    """A QueueKit of a Django project. What it is told in code goes before environment and `settings.QUEUEKIT`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "default",
        namespace: str | None = None,
        imports: Sequence[str] = (),
        queues: Mapping[str, QueueOptions] | None = None,
        settings: Settings | None = None,
        client: object | None = None,
    ) -> None:
        super().__init__(
            url, name=name, namespace=namespace, imports=imports, queues=queues, settings=settings, client=client
        )
        self._configuration.framework = conf.framework
        self.transactions = OpenTransactions(self._waits_for)
        self.middleware(connections.around)
        self._on_commit: bool | tuple[str, ...] | None = None
        self._broken: ConfigError | None = None
        _made.add(self)

    def load(self) -> None:
        """Import all that registers tasks: `imports`, and the `tasks.py` of every installed app.

        Raises ConfigError naming the module that cannot be imported.
        """
        set_up()
        try:
            super().load()
        except ConfigError:
            raise
        except Exception as error:
            raise NotImported(f"a module of IMPORTS cannot be imported: {said(error)}") from error
        if self._broken is not None:  # a second try would meet the tasks of the first one's half
            raise self._broken
        module = conf.tasks_module()
        for app in apps.get_app_configs() if module else ():
            try:
                _import(app, str(module))
            except ConfigError as error:
                self._broken = error
                raise

    def reread(self) -> None:
        """Close this process's store and forget the settings, those of `settings.QUEUEKIT` too."""
        self._on_commit = None
        super().reread()

    def _waits_for(self) -> bool | tuple[str, ...]:
        if self._on_commit is None:
            self._on_commit = conf.on_commit()
        return self._on_commit


def get_kit() -> DjangoKit:
    """The project's kit, also where nobody set Django up yet: QUEUEKIT_APP=queuekit.contrib.django:get_kit."""
    set_up()
    return project_kit()


def project_kit() -> DjangoKit:
    """The kit that `settings.QUEUEKIT["APP"]` names, else one made here. Raises ConfigError."""
    return _kit(conf.app())


def importable() -> DjangoKit:
    """`get_kit`, for a module that is imported. While `manage.py check` asks, one that refuses every use where there is
    none: URLs import tasks, and an import that fails there would end the command before it says what is wrong.
    """
    try:
        return get_kit()
    except ConfigError as error:
        if not _checking():
            raise
        return _refusing(str(error))


def set_up() -> None:
    """Set Django up where nobody did. Raises ConfigError where it does not know its settings."""
    if apps.ready or getattr(apps, "loading", False):
        return
    try:
        django.setup()
    except ImproperlyConfigured as error:
        raise ConfigError(f"Django cannot be set up: {error}") from error


def made() -> list[DjangoKit]:
    """Every kit of this process that is one of Django's, also where another took its name since."""
    return list(_made)


@cache
def _kit(app: str | None) -> DjangoKit:
    if app is None:
        with _making:  # two first requests at once: `cache` would let each have one
            return _made_here()
    where = f"settings.QUEUEKIT['APP']={app!r}"
    module, _, attribute = app.partition(":")
    if not module or not attribute or module.startswith("queuekit."):
        raise ConfigError(f"{where}: use MODULE:ATTR of a DjangoKit of yours, for example shop.queue:kit")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise NotImported(f"{where} cannot be imported: {said(error)}") from error
    if isinstance(found, DjangoKit):
        return found
    if isinstance(found, QueueKit):
        raise ConfigError(
            f"{where} is a plain QueueKit, whose jobs wait for no transaction: `from queuekit.contrib.django import"
            " DjangoKit` and make it one"
        )
    raise ConfigError(f"{where} is a {type(found).__name__}, not a DjangoKit")


@cache
def _made_here() -> DjangoKit:
    return DjangoKit()


@cache
def _refusing(said: str) -> DjangoKit:
    def refuse() -> Mapped:
        raise ConfigError(said)

    kit = DjangoKit(name="queuekit.check")
    kit._configuration.framework = refuse  # noqa: SLF001  as its own settings would
    return kit


def _checking() -> bool:
    """Whether Django's checks, whose end tells of the settings, are what imports."""
    registry = sys.modules.get("django.core.checks.registry")
    frame: FrameType | None = None if registry is None else sys._getframe()  # noqa: SLF001  only where no kit is found
    while frame is not None and frame.f_code is not registry.CheckRegistry.run_checks.__code__:  # type: ignore[union-attr]
        frame = frame.f_back
    return frame is not None


def _import(app: AppConfig, name: str) -> None:
    if app.module is None or not module_has_submodule(app.module, name):
        return
    module = f"{app.name}.{name}"
    try:
        importlib.import_module(module)
    except Exception as error:
        raise NotImported(f"task module {module!r} (app {app.label!r}) cannot be imported: {said(error)}") from error
