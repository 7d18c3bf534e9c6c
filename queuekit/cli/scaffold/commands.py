"""`queuekit init` and `queuekit new queue`: which files are written where, and what is said afterwards."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from queuekit.cli import exits, screen
from queuekit.cli.scaffold import found, templates, write
from queuekit.cli.session import Session, of
from queuekit.domain import names
from queuekit.errors import InvalidOption


class Layout(StrEnum):
    """How a project's jobs are laid out."""

    ONE_FILE = "one-file"
    FEATURE_FOLDERS = "feature-folders"


_LAYOUT = "One module, or a folder for each queue: constants, types, producer, processor."
_OWN = "\\[default: as the project is]"
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where to; it is made if need be.")]
Which = Annotated[Layout | None, typer.Option("--layout", help=f"{_LAYOUT} \\[default: one-file]")]
WhichOne = Annotated[Layout | None, typer.Option("--layout", help=f"{_LAYOUT} {_OWN}")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name: A-Z a-z 0-9 _ . : -", show_default=False)]

new = typer.Typer(no_args_is_help=True, help="Add to a project.")


def init(context: typer.Context, folder: Folder = Path(), layout: Which = None) -> None:
    """Write a new project, or say the lines for the Django, Flask or FastAPI project that is there.

    Nothing is overwritten. With --layout a project is written beside whatever is there.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise InvalidOption(f"{write.shown(folder)} is a file, not a folder")
    if layout is None and folder.is_dir():
        kits, application = found.kits(folder), found.app(folder)
        if kits:
            at = f"{write.shown(kits[0].file)} makes a kit, {kits[0].module}:{kits[0].name}"
            _refuse(
                f"nothing was written: {at}. `queuekit new queue NAME` adds a queue to it;"
                " with --layout a project of its own is written beside it"
            )
        if application is not None:
            screen.say(_lines(application, "mail", "send_welcome"))
            return
    if layout is Layout.FEATURE_FOLDERS:
        files = {"__init__.py": templates.PACKAGE}
        files |= {
            f"{templates.EXAMPLE}/{name}": text
            for name, text in _feature(templates.EXAMPLE, templates.EXAMPLE, (templates.MODULE,) * 2, "kit").items()
        }
        _write(folder / templates.MODULE, files, clash=folder / f"{templates.MODULE}.py")
        call = f"queuekit -A jobs:kit enqueue {templates.EXAMPLE} {templates.EXAMPLE} '{templates.PAYLOAD}' --wait 30s"
    else:
        _write(folder, {f"{templates.MODULE}.py": templates.ONE_FILE}, clash=folder / templates.MODULE)
        call = "python jobs.py"
    _next("queuekit worker jobs:kit", call, folder)


@new.command("queue")
def queue(context: typer.Context, name: Name, layout: WhichOne = None) -> None:
    """Add a queue to the project here: one file, and nothing to register.

    In a project of one module its lines are added there; in a folder of jobs it becomes a folder of its own, or with
    --layout one-file one module.
    """
    session, here = of(context), Path.cwd()
    name, python = names.queue_name(name), write.identifier(name)
    kit, application = _kit(session, here), found.app(here)
    if kit is None:
        if application is None:
            raise InvalidOption(
                f"there is no kit in {here}{_broken(here)}: `queuekit init` writes a project, or name a kit with -A"
            )
        screen.say(_lines(application, name, python))
        return
    tables = session.settings.file_tables.get("kit", {}).get("imports", ())
    around = kit.package(tables if isinstance(tables, list) else ())
    taken = found.queue(kit.file.parent if around is None else around[1], name)
    if taken is not None:
        _refuse(f"the queue {name!r} is there already: {write.shown(taken.file)}, line {taken.line}")
    task, payload = python, '{"user_id": "u1"}'
    if around is None and layout is Layout.FEATURE_FOLDERS:
        raise InvalidOption(
            f"the kit in {write.shown(kit.file)} imports no package: folders take"
            ' QueueKit(imports=["jobs.*"]), as `queuekit init --layout feature-folders` writes it'
        )
    if around is None:
        _insert(kit, name, python)
    elif layout is Layout.ONE_FILE:
        text = templates.QUEUE.substitute(module=kit.module, kit=kit.name, queue=name, name=python)
        _write(around[1], {f"{python}.py": text}, clash=around[1] / python)
    else:
        files = _feature(name, python, (kit.module, around[0]), kit.name)
        _write(around[1] / python, files, clash=around[1] / f"{python}.py")
        task, payload = name, templates.PAYLOAD
    worker, call = _commands(kit, application)
    _next(worker, f"{call} enqueue {name} {task} '{payload}' --wait 30s", here)


def _kit(session: Session, here: Path) -> found.Kit | None:
    """The kit that is meant: the one that is named, else that of the module that is, else the only one there is."""
    kits, named = found.kits(here), session.settings.app or ""
    module = named.partition(":")[0]
    exact = [kit for kit in kits if f"{kit.module}:{kit.name}" == named]
    kits = exact or [kit for kit in kits if kit.module == module] or kits
    if len(kits) > 1:
        raise InvalidOption(f"which kit? Name one with -A: {', '.join(f'{kit.module}:{kit.name}' for kit in kits)}")
    return kits[0] if kits else None


def _commands(kit: found.Kit, app: found.App | None) -> tuple[str, str]:
    """How a worker is run, and how any other command begins: as the application around the kit does it."""
    if app is not None and app.framework == "django":
        return "python manage.py queuekit worker", "python manage.py queuekit"
    if app is not None and app.framework == "flask":
        flask = f"flask --app {app.module}:{app.name} queuekit"
        return f"{flask} worker", flask
    name = f"{kit.module}:{kit.name}"
    return f"queuekit worker {name}", f"queuekit -A {name}"


def _broken(here: Path) -> str:
    """Why a kit may not be seen: its file cannot be read as Python."""
    path = found.broken(here)
    return "" if path is None else f" ({write.shown(path)} cannot be read as Python)"


def _feature(queue: str, python: str, where: tuple[str, str], kit: str) -> dict[str, str]:
    """The files of a queue that is a folder; `where`: the modules that the kit and the folder are in."""
    said = {"queue": queue, "name": python, "module": where[0], "package": where[1], "kit": kit}
    return {name: template.substitute(said) for name, template in templates.FEATURE.items()}


def _insert(kit: found.Kit, queue: str, python: str) -> None:
    """Add the queue's lines to the module of the kit."""
    there = found.defined(ast.parse(kit.file.read_text("utf-8"))).get(python)
    if there is not None:
        _refuse(f"{write.shown(kit.file)} has a {python!r} already, in line {there}")
    line = write.insert(kit.file, templates.TASK.substitute(kit=kit.name, queue=queue, name=python))
    screen.say(f"{write.shown(kit.file)}: added from line {line}")


def _write(folder: Path, files: Mapping[str, str], *, clash: Path) -> None:
    try:
        for path in write.new_files(folder, files, clash=clash):
            screen.say(f"{write.shown(path)}: written")
    except write.Taken as error:
        _refuse(str(error))


def _refuse(text: str) -> NoReturn:
    screen.tell(f"queuekit: {text}")
    raise typer.Exit(exits.NO)


def _next(worker: str, call: str, folder: Path) -> None:
    enter = "" if folder == Path.cwd() else f"cd {shlex.quote(write.shown(folder))}\n    "
    screen.say(f"\nNow run a worker, and make a job in another terminal:\n\n    {enter}{worker} --reload\n    {call}")


def _lines(app: found.App, queue: str, python: str) -> str:
    """What to add to the application of a framework, and what to run then."""
    said = {"queue": queue, "name": python, "file": app.file, "module": app.module, "app": f"{app.module}:{app.name}"}
    if app.framework == "django":
        return templates.DJANGO.substitute(said)
    where = f"in {app.name}()" if app.factory else f"where `{app.name}` is made"
    text = templates.FLASK if app.framework == "flask" else templates.FASTAPI
    return text.substitute(said, where=where)
