"""Django, set up once a process: with the settings of `django_project`, and only when a test asks for it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def django() -> None:
    """Django as its project's processes have it, without tables. It keeps LOGGING and the time zone as they are.

    The variable goes again: processes that other tests start have projects of their own.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib.django_project.settings"
    import django

    django.setup()
    del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.fixture(scope="session")
def django_db(django: None) -> None:
    """The tables of the project, in memory, once a process."""
    from django.core.management import call_command
    from django.db import connections

    for alias in connections:
        call_command("migrate", database=alias, verbosity=0, skip_checks=True)
