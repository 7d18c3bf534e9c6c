"""Django's system checks of the `TASKS` setting, for the backends that are ours. Asks no store."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps
from django.core import checks

from queuekit.contrib.django.tasks_backend.connect import kit_of
from queuekit.contrib.django.tasks_backend.options import OF_BACKEND, check
from queuekit.contrib.django.tasks_backend.root import BACKPORT
from queuekit.domain import names
from queuekit.errors import InvalidName, InvalidOption

APP = "queuekit.contrib.django"
KEYS = ("BACKEND", "QUEUES", "OPTIONS", "ENQUEUE_ON_COMMIT")


def verified(alias: str, params: Mapping[str, Any]) -> Iterable[checks.CheckMessage]:
    """Everything that is wrong with one backend's settings."""
    where = f"TASKS[{alias!r}]"
    yield from _keys(where, params)
    yield from _queues(where, params)
    yield from _options(where, params.get("OPTIONS", {}))
    if not apps.is_installed(APP):
        yield checks.Error(
            f"{where}: its backend is queuekit's, and {APP!r} is not in INSTALLED_APPS",
            hint=f"Add {APP!r}: it brings `manage.py queuekit worker`, which runs the tasks.",
            id="queuekit.tasks.E001",
        )
    if BACKPORT and not apps.is_installed("django_tasks"):
        yield checks.Warning(
            f"{where}: 'django_tasks' is not in INSTALLED_APPS",
            hint="Add 'django_tasks', as its own installation asks.",
            id="queuekit.tasks.W001",
        )


def _keys(where: str, params: Mapping[str, Any]) -> Iterable[checks.CheckMessage]:
    for key in params:
        if key in KEYS:
            continue
        if str(key).lower() in OF_BACKEND:
            hint = f"It belongs into {where}['OPTIONS'][{str(key).lower()!r}]."
        else:
            near = difflib.get_close_matches(str(key).upper(), KEYS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(KEYS)}."
        yield checks.Error(f"{where}: there is no setting {key!r}", hint=hint, id="queuekit.tasks.E002")
    said = params.get("ENQUEUE_ON_COMMIT", True)
    if not isinstance(said, bool):
        yield checks.Error(f"{where}: ENQUEUE_ON_COMMIT is {said!r}, not True or False", id="queuekit.tasks.E003")


def _queues(where: str, params: Mapping[str, Any]) -> Iterable[checks.CheckMessage]:
    said = params.get("QUEUES", ["default"])
    if isinstance(said, str) or not isinstance(said, (list, tuple, set, frozenset)):
        yield checks.Error(
            f"{where}: QUEUES is {said!r}, not a list of names",
            hint="For example QUEUES = ['default', 'mail'].",
            id="queuekit.tasks.E004",
        )
        return
    for name in said:
        try:
            names.queue_name(name)
        except InvalidName as error:
            yield checks.Error(f"{where}: QUEUES: {error}", id="queuekit.tasks.E005")
    if not said:
        yield checks.Info(
            f"{where}: QUEUES is empty, so a task may name any queue",
            hint=(
                "A worker that is told no queues takes 'default' and those of the tasks it knows; name the others:"
                " manage.py queuekit worker -Q default,reports"
            ),
            id="queuekit.tasks.I001",
        )


def _options(where: str, said: object) -> Iterable[checks.CheckMessage]:
    if not isinstance(said, Mapping):
        yield checks.Error(f"{where}: OPTIONS is {said!r}, not a dictionary", id="queuekit.tasks.E006")
        return
    for name, value in said.items():
        if name == "ENQUEUE_ON_COMMIT":
            yield checks.Error(
                f"{where}: ENQUEUE_ON_COMMIT is no entry of OPTIONS",
                hint=f"It stands beside it: {where}['ENQUEUE_ON_COMMIT'].",
                id="queuekit.tasks.E007",
            )
            continue
        try:
            check({name: value}, OF_BACKEND, f"{where}['OPTIONS']")
        except InvalidOption as error:
            yield checks.Error(str(error), id="queuekit.tasks.E008")
    try:
        kit_of(said.get("kit"))
    except Exception as error:  # noqa: BLE001  importing a module of the user's
        yield checks.Error(
            f"{where}: there is no kit: {type(error).__name__}: {error}",
            hint="OPTIONS['kit'] names a QueueKit, for example 'shop.jobs.kit'; without it, the project's own is used.",
            id="queuekit.tasks.E009",
        )
