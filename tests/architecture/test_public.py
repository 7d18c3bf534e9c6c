"""The public names. Who changes one of these lists changes what users rely on, and says so in CHANGELOG.md."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

import queuekit
from queuekit import errors
from queuekit.cli.app import app

VALUES = ["Backoff", "Duration", "Group", "JSON", "Keep", "Priority", "Profile", "Rate", "State", "Status", "Unique"]
OPTIONS = ["JobOptions", "QueueOptions", "RunOptions", "TaskOptions", "WorkerOptions"]
PRODUCING = ["AsyncTask", "JobHandle", "NewJob", "Queue", "QueueKit", "SyncTask", "Task", "TaskDecorator"]
LOOKING = ["Job", "JobError", "JobEvent", "JobFact", "JobFilter", "Page", "QueueHealth"]
INSIDE = ["Cancel", "Fail", "Inject", "JobContext", "Middleware", "Processor", "Retry", "Snooze", "current_job"]
SCHEDULES = ["Rule", "Schedule", "Schedules"]
RUNNING = ["Settings", "SyncInAsyncWarning", "Worker"]
ERRORS = [
    *(
        "QueueKitError",
        "ConfigError",
        "UnknownProvider",
        "MissingExtra",
        "InvalidName",
        "InvalidOption",
        "DuplicateTask",
    ),
    *("Unsupported", "PayloadError", "PayloadTooLarge", "StoreError", "StoreUnavailable", "QueueFull", "NotReplicated"),
    *(
        "EnqueueNotApplied",
        "Moved",
        "Arriving",
        "MoveStopped",
        "SchemaMismatch",
        "Stale",
        "Conflict",
        "JobNotFound",
        "LeaseLost",
        "Cancelled",
    ),
    "ResultError",
    *("JobFailed", "JobCancelled", "ResultGone", "ResultTimeout", "WouldDeadlock"),
]
COMMANDS = {
    "worker": [],
    "demo": [],
    "bench": [],
    "enqueue": [],
    "tasks": [],
    "ping": [],
    "queues": ["list", "show", "pause", "resume", "configure", "reset", "prune", "obliterate"],
    "jobs": ["list", "show", "why", "cancel", "retry", "promote", "reschedule", "delete"],
    "workers": ["list", "show", "forget"],
    "schedules": ["list", "show", "preview", "sync", "pause", "resume", "fire", "delete", "reset"],
    "health": [],
    "setup": [],
    "migrate": [],
    "export": [],
    "import": [],
    "init": [],
    "new": ["queue"],
}
CONTRIB = {
    "flask": ["AppKit", "FlaskKit"],
    "starlette": ["get_kit", "lifespan", "queued", "store_unavailable"],
    "fastapi": ["Kit", "get_kit", "lifespan", "queue", "queued", "store_unavailable"],
}


def test_the_public_names_are_these() -> None:
    names = [*VALUES, *OPTIONS, *PRODUCING, *LOOKING, *INSIDE, *SCHEDULES, *RUNNING, *ERRORS]
    assert sorted(queuekit.__all__) == sorted(names)


@pytest.mark.parametrize("name", sorted(CONTRIB))
def test_the_public_names_of_the_glue_are_these(name: str) -> None:
    glue = importlib.import_module(f"queuekit.contrib.{name}")
    assert sorted(glue.__all__) == CONTRIB[name]
    assert [one for one in glue.__all__ if not hasattr(glue, one)] == []


def test_every_public_name_can_be_imported_and_is_ours() -> None:
    assert [name for name in queuekit.__all__ if not hasattr(queuekit, name)] == []


def test_every_error_is_public_and_in_one_tree() -> None:
    defined = {name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert defined == set(ERRORS)
    assert all(issubclass(getattr(errors, name), errors.QueueKitError) for name in ERRORS)


def test_the_commands_are_these() -> None:
    root = get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    found = {name: sorted(getattr(command, "commands", {})) for name, command in root.commands.items()}
    assert found == {name: sorted(verbs) for name, verbs in COMMANDS.items()}


def test_importing_queuekit_brings_no_driver_no_pydantic_and_no_command_line() -> None:
    heavy = [
        "pydantic",
        "redis",
        "pymongo",
        "typer",
        "rich",
        "apscheduler",
        "sqlite3",
        "queuekit.testing",
        "queuekit.cli",
    ]
    program = f"import queuekit, sys; print(*[name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
