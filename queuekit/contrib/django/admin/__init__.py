"""Queues, jobs and schedules in Django's admin. Another AdminSite takes them too: `site.register(Job, JobAdmin)`.

What is done to jobs stands in `acts`; nothing here asks a store while it is imported.
"""

from __future__ import annotations

from django.contrib import admin

from queuekit.contrib.django.admin.jobs import JobAdmin
from queuekit.contrib.django.admin.queues import QueueAdmin
from queuekit.contrib.django.admin.schedules import ScheduleAdmin
from queuekit.contrib.django.models import Job, Queue, Schedule

__all__ = ["JobAdmin", "QueueAdmin", "ScheduleAdmin"]

admin.site.register(Queue, QueueAdmin)
admin.site.register(Job, JobAdmin)
admin.site.register(Schedule, ScheduleAdmin)
