"""Rows that are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def django_rows(django_db: None) -> Iterator[None]:
    """The project's tables; whatever a test writes there is rolled back."""
    from django.db import transaction
    from django.test.utils import override_settings

    with override_settings(ALLOWED_HOSTS=["*"]), transaction.atomic():
        yield
        transaction.set_rollback(True)
