"""`Job`, `Queue` and `Schedule` as Django's admin and permissions know them. Without tables: all are
in queuekit's store.
"""

from __future__ import annotations

from django.db import models


class Elsewhere(models.Manager[models.Model]):
    """Finds nothing and asks no database, so that dumpdata and others who read every model meet no missing table."""

    def get_queryset(self) -> models.QuerySet[models.Model]:
        return super().get_queryset().none()


class Queue(models.Model):
    """A queue, by name. `queuekit.view_queue` looks, `queuekit.change_queue` pauses and resumes."""

    name: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128, editable=False)

    objects = Elsewhere()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return str(self.pk)


class Job(models.Model):
    """A job, by its reference ("queue/id"). `queuekit.view_job` looks, `change_job` retries, cancels and promotes,
    `delete_job` deletes.
    """

    ref: models.CharField[str, str] = models.CharField(primary_key=True, max_length=329, editable=False)

    objects = Elsewhere()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return str(self.pk)


class Schedule(models.Model):
    """A schedule, by its id. `queuekit.view_schedule` looks, `change_schedule` pauses, resumes and fires,
    `delete_schedule` deletes.
    """

    name: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128, editable=False)

    objects = Elsewhere()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return str(self.pk)
