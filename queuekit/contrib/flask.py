"""`FlaskKit`: a kit for Flask apps and app factories. Settings and stores are an app's own, tasks are registered once.

It pushes an app's context around its jobs and hooks, and gives `flask queuekit …`. What runs jobs is not here.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack

from queuekit import JobContext, Middleware, QueueKit, QueueOptions, Settings, WorkerOptions
from queuekit.domain.events import JobEvent, JobFact
from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, MissingExtra
from queuekit.producing.access import Access
from queuekit.producing.configuration import Configuration
from queuekit.producing.hooks import Hook, Hooks
from queuekit.producing.schedules import Schedules
from queuekit.settings.mapped import Mapped, mapped

try:
    import click
    from flask import Flask, current_app, has_app_context
    from flask.cli import ScriptInfo
except ModuleNotFoundError as missing:
    raise MissingExtra(f"{missing.name} is not installed: pip install 'queuekit[flask]'") from missing

if TYPE_CHECKING:
    from queuekit.kit import Processor
    from queuekit.runtime.worker import Worker

__all__ = ["AppKit", "FlaskKit"]
KEY: Final = "queuekit"  # in app.extensions, and the name of the command
CHILD: Final = f"{__name__}:kit_of_command"
NOTE: Final = "This moves jobs, not the database."
_OWN = {"_apps", "_instead", "_client", "_said", "_declared", "_queues", "_configuration", "hooks", "middlewares"}
_OUTSIDE = (
    "there is no Flask app here whose store could be meant: inside a request or a job there is one; elsewhere"
    " write `with app.app_context():` around the call"
)


class FlaskKit(QueueKit):
    """A QueueKit for Flask: `kit = FlaskKit()`, `@kit.task …`, and in the app's factory `kit.init_app(app)`.

    Each app has settings of its own, the keys of docs/settings.md in `app.config` (`QUEUEKIT_URL`, `REDIS_URL` …;
    `QUEUEKIT_QUEUES` is a dict of options by queue), and stores of its own, in `app.extensions["queuekit"]`. A call is
    about the current app; without one it raises ConfigError. What stands in code here goes before every app's config.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url: str | None = None,
        name: str = "default",
        namespace: str | None = None,
        imports: Sequence[str] = (),
        queues: Mapping[str, QueueOptions] | None = None,
        settings: Settings | None = None,
        client: object | None = None,
    ) -> None:
        self._apps: list[weakref.ref[AppKit]] = []  # in the order they were made
        self._instead: Access | None = None  # set by queuekit.testing, for all apps
        super().__init__(
            url, name=name, namespace=namespace, imports=imports, queues=queues, settings=settings, client=client
        )
        self._client = client
        self._said: dict[str, Any] = {"url": url, "namespace": namespace, "settings": settings}
        self._declared: list[tuple[str, Mapping[str, Any]]] = [(queue, said) for queue, said in (queues or {}).items()]
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give the app a kit of its own in `app.extensions["queuekit"]`, and the command `flask queuekit`.

        A second time is nothing. Raises ConfigError for an app of another kit, and for keys of `app.config` that begin
        with QUEUEKIT_ and are none; a store is not asked.
        """
        if not isinstance(app, Flask):
            raise ConfigError(
                f"{redact(repr(app)):.80} is no Flask app: write FlaskKit(app), or FlaskKit(url=…), kit.init_app(app)"
            )
        known = app.extensions.get(KEY)
        if known is not None:
            if getattr(known, "parent", None) is self:
                return
            raise ConfigError(f"the Flask app {app.name!r} has a queuekit already: one kit an app, for all its tasks")
        kit = AppKit(self, app)
        app.extensions[KEY] = kit
        self._apps = [*(ref for ref in self._apps if ref() is not None), weakref.ref(kit)]
        app.cli.add_command(_command())

    def concrete(self, *, latest: bool = False) -> QueueKit:
        """The kit of the current app, else of the only one; `latest`: of the one made last. Raises ConfigError."""
        if has_app_context():
            return self._here()
        kits = self._living()
        if len(kits) == 1 or (kits and latest):
            return kits[-1]
        names = ", ".join(repr(kit.app.name) for kit in kits)
        found = f"several have this kit: {names}" if kits else "none has this kit yet: kit.init_app(app)"
        raise ConfigError(f"which Flask app? {found}. Name the app or its factory, as in -A shop:create_app")

    # ------------------------------------------------------------ of the current app
    @property
    def instead(self) -> Access | None:
        """What all apps' calls go through instead, inside a test."""
        return self._instead

    @property
    def access(self) -> Access:
        """The current app's stores."""
        return self._instead or self._here().access

    @access.setter
    def access(self, access: Access) -> None:
        """Only `through` replaces them."""

    @contextmanager
    def through(self, access: Access) -> Iterator[None]:
        """Inside the block, work through these stores instead, whatever the app."""
        before, self._instead = self._instead, access
        try:
            yield
        finally:
            self._instead = before

    @property
    def settings(self) -> Settings:
        """The current app's settings."""
        return self._here().settings

    @property
    def settled(self) -> bool:
        """Whether the current app's settings have been read; without one, there are none."""
        return has_app_context() and self._here().settled

    @property
    def queue_options(self) -> dict[str, Mapping[str, object]]:
        """Parsed options by queue, of code over the current app's config over the file."""
        return self._here().queue_options

    @property
    def defaults(self) -> Mapping[str, object]:
        """Parsed options of every job of the current app that says nothing else."""
        return self._here().defaults

    @property
    def revision(self) -> int:
        """Another one for each app, and whenever its options change."""
        return self._here().revision

    # ------------------------------------------------------------ of all apps
    def processor(
        self, queue: str, /, **options: Unpack[QueueOptions]
    ) -> Callable[[type[Processor[Any, Any]]], type[Processor[Any, Any]]]:
        """See `QueueKit.processor`."""
        self._declared.append((queue, options))
        for kit in self._living():
            kit.declared(queue, options)
        return super().processor(queue, **options)

    def middleware(self, fn: Middleware, /) -> Middleware:
        """See `QueueKit.middleware`. It runs inside the app's context."""
        for kit in self._living():
            kit.middlewares.append(fn)
        return super().middleware(fn)

    def worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        """A worker of the current app, else of the only one. Raises ConfigError where there are several."""
        return self.concrete().worker(**options)

    def load(self) -> None:
        """Import the modules that register tasks: those of `imports=`, of the app's config and of the file."""
        self.concrete().load()

    def reread(self) -> None:
        """Close the stores of all apps and forget their settings: the next use reads them anew."""
        for kit in self._living():
            kit.reread()

    def close(self) -> None:
        """Close this process's stores, of all apps; the next use opens them again."""
        for kit in self._living():
            kit.close()

    async def aclose(self) -> None:
        """Close the running loop's stores and this process's, of all apps."""
        for kit in self._living():
            await kit.aclose()

    def configuration(self, framework: Callable[[], Mapped]) -> Configuration:
        """For one app: what was said in code, over what its config says."""
        made = Configuration(queues={}, client=self._client is not None, framework=framework, **self._said)
        for queue, options in self._declared:
            made.declare(queue, options)
        return made

    def opener(self, kit: AppKit) -> Access:
        """For one app: its stores."""
        return Access(lambda: kit.settings, self._client)

    def _living(self) -> list[AppKit]:
        return [kit for kit in (ref() for ref in self._apps) if kit is not None]

    def _here(self) -> AppKit:
        try:
            kit = current_app.extensions[KEY]
        except KeyError:
            raise ConfigError(f"the Flask app {current_app.name!r} has no queuekit: call kit.init_app(app)") from None
        except RuntimeError:
            raise ConfigError(_OUTSIDE) from None
        if not isinstance(kit, AppKit) or kit.parent is not self:
            raise ConfigError(f"the Flask app {current_app.name!r} has another kit than this one: one kit an app")
        return kit


class AppKit(QueueKit):
    """One app's part of a FlaskKit: the same tasks and hooks, with settings and stores of its own.

    It may be used without an app context: a worker runs with it.
    """

    def __init__(self, parent: FlaskKit, app: Flask) -> None:
        vars(self).update({name: value for name, value in vars(parent).items() if name not in _OWN})
        self.parent = parent
        self.app = app
        self.hooks = _AppHooks(parent.hooks, app)
        self.middlewares: list[Middleware] = [self._around, *parent.middlewares]
        self._queues = {}
        self.schedules = Schedules(self)
        self._framework()  # a key that is none is told at once
        self._configuration = parent.configuration(self._framework)
        self._access = parent.opener(self)

    @property
    def access(self) -> Access:
        """This app's stores."""
        return self.parent.instead or self._access

    @access.setter
    def access(self, access: Access) -> None:
        self._access = access

    def declared(self, queue: str, options: Mapping[str, Any]) -> None:
        """Options of a queue that were said in code just now."""
        self._configuration.declare(queue, options)

    def processor(
        self, queue: str, /, **options: Unpack[QueueOptions]
    ) -> Callable[[type[Processor[Any, Any]]], type[Processor[Any, Any]]]:
        """Register it with the FlaskKit: for all apps."""
        return self.parent.processor(queue, **options)

    def middleware(self, fn: Middleware, /) -> Middleware:
        """Register it with the FlaskKit: for all apps."""
        return self.parent.middleware(fn)

    def __repr__(self) -> str:
        return f"<AppKit of {self.app.name!r}, {len(self._tasks)} tasks>"

    def _framework(self) -> Mapped:
        app = self.app
        production = None if app.debug or app.testing else "a Flask app that neither debugs nor tests"
        return mapped(app.config, show=lambda key: f"app.config[{key!r}]", production=production)

    async def _around(self, ctx: JobContext, run: Callable[[], Awaitable[object]], /) -> object:
        with self.app.app_context():  # runs the app's teardown functions when the job has ended
            return await run()


class _AppHooks(Hooks):
    """The hooks of a FlaskKit, told inside an app's context."""

    def __init__(self, shared: Hooks, app: Flask) -> None:
        vars(self).update(vars(shared))
        self._app = app

    def emit(self, event: JobEvent, fact: JobFact) -> None:
        """See `Hooks.emit`."""
        with self._app.app_context():
            super().emit(event, fact)

    def _await(self, fn: Hook, told: Awaitable[None]) -> None:
        async def inside() -> None:
            with self._app.app_context():  # its own: it goes on when the one above has ended
                await told

        super()._await(fn, inside())


class _Command(click.Command):
    """`flask queuekit …`: every word behind it is for the command line that it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params = {"arguments": tuple(args)}
        return []


def _command() -> click.Command:
    return _Command(KEY, callback=_run, help="Jobs: workers, queues, failures, the store.", add_help_option=False)


@click.pass_context
def _run(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    from queuekit.cli import embed  # here: an app that serves requests needs no command line

    info = ctx.ensure_object(ScriptInfo)

    def kit() -> QueueKit:
        app = info.load_app()
        if info.app_import_path:
            os.environ["FLASK_APP"] = info.app_import_path  # children of `worker -p N` find the same app
        found = app.extensions.get(KEY)
        if not isinstance(found, QueueKit):
            raise ConfigError(f"the Flask app {app.name!r} has no queuekit: call kit.init_app(app)")
        return found

    ctx.exit(embed.run(arguments, kit=kit, prog=ctx.command_path, app_name=_child(info), note=NOTE))


def _child(info: ScriptInfo) -> str | None:
    """How a fresh process finds the app: as the `flask` command does, or by the factory a FlaskGroup was given."""
    make = info.create_app
    if make is None:
        return CHILD
    module, name = getattr(make, "__module__", "__main__"), getattr(make, "__qualname__", "<")
    return None if module == "__main__" or "<" in name else f"{module}:{name}"


def kit_of_command() -> QueueKit:
    """In a process that `flask queuekit worker -p N` started: the kit of the app that FLASK_APP names."""
    kit: QueueKit = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app().extensions[KEY]
    return kit
