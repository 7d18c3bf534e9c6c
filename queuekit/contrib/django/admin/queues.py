"""The pages of queues: their numbers, one queue with its limits and workers, pause and resume."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Field
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect

from queuekit import QueueHealth, StoreError, clock
from queuekit.contrib.django.admin import listing, shown
from queuekit.contrib.django.admin.base import StoreAdmin, local, needs_store, some, span
from queuekit.contrib.django.models import Job, Queue
from queuekit.domain import names
from queuekit.errors import Conflict, InvalidName

COLUMNS = ("waiting", "active", "delayed", "blocked", "parked", "failed", "completed")
DONE = {"pause": "paused", "resume": "resumed"}


class QueueAdmin(StoreAdmin):
    """Queues of the store. `view_queue` shows them, `change_queue` pauses and resumes."""

    things = "queues"

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | Field[Any, Any] | None = None
    ) -> Queue | None:
        """For Django's history page: the row that a queue would be, None where there is no such queue."""
        return Queue(pk=object_id) if object_id in self._names() else None

    # ------------------------------------------------------------ pages
    @needs_store
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Every queue with its numbers; POST pauses or resumes those that were ticked."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act_on_list(request)
        health = self.get_kit().health()
        context = {
            "title": "Queues",
            "columns": COLUMNS,
            "rows": [self._row(request, one) for one in health.values()],
            "verbs": list(DONE) if self.has_change_permission(request) else [],
            "media": self.media,
        }
        return self.page(request, "queues", {**context, **(extra_context or {})})

    @needs_store
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One queue: numbers, totals, limits of both layers, workers."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        name = unquote(object_id)
        if name not in self._names():
            return self._missing(request, name)
        kit = self.get_kit()
        counts = kit.run(lambda at: at.ask(partial(at.store.count, name)))
        workers = [one for one in kit.run(lambda at: at.ask(at.store.workers)) if name in one.queues]
        conf = kit.queue(name).conf()
        context = {
            "title": "Queue",
            "subtitle": name,
            "name": name,
            "health": self._row(request, kit.health(name)[name]),
            "totals": [(word, n) for word, n in _totals(counts.totals) if n],
            "lives": shown.lives(conf),
            "declared": shown.limits(conf.declared),
            "override": shown.limits(conf.override),
            "by": conf.override.by,
            "at": local(clock.to_datetime(conf.override.at)) if conf.override.at else None,
            "workers": [(one, local(clock.to_datetime(one.seen))) for one in workers],
            "may_change": self.has_change_permission(request),
            "act_url": self.link("act", name),
            "history_url": self.link("history", name),
        }
        return self.page(request, "queue", {**context, **(extra_context or {})})

    @needs_store
    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Pause or resume one queue: POST only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._do(request, request.POST.get("act", ""), [unquote(object_id)])
        return HttpResponseRedirect(self.link("change", unquote(object_id)))

    # ------------------------------------------------------------ acting
    def _act_on_list(self, request: HttpRequest) -> HttpResponse:
        chosen = self.ticked(request)
        if chosen is not None:
            self._do(request, request.POST["action"], chosen)
        return HttpResponseRedirect(request.get_full_path())

    def _do(self, request: HttpRequest, verb: str, chosen: Sequence[str]) -> None:
        if verb not in DONE or not self.has_change_permission(request) or not self.has_view_permission(request):
            raise PermissionDenied
        reason, user = request.POST.get("reason", "").strip()[:500], request.user.get_username()
        there, kit, done = set(self._names()), self.get_kit(), list[str]()
        for name in sorted(set(chosen) - there):
            self.tell(request, messages.WARNING, f"There is no queue {name:.200}.")
        wanted = [name for name in chosen if name in there]
        try:
            for name in wanted:
                if verb == "pause":
                    kit.queue(name).pause(f"{reason} ({user})" if reason else f"by {user}")
                else:
                    kit.queue(name).resume()
                done.append(name)
        except (StoreError, Conflict) as error:
            if not done:
                raise
            self.tell(request, messages.ERROR, f"The store stopped answering at {wanted[len(done)]}: {error}")
        if done:
            said = f"{DONE[verb].capitalize()}{f': {reason}' if reason and verb == 'pause' else ''}."
            self.remember(request, done, said=said)
            self.tell(request, messages.SUCCESS, f"{DONE[verb].capitalize()} {some(done)}.")

    # ------------------------------------------------------------ reading
    def _row(self, request: HttpRequest, one: QueueHealth) -> dict[str, object]:
        jobs, asked = self.list_of(request, Job), listing.Asked({"queue": one.name}, None)

        def link(**other: str) -> str:
            return jobs and f"{jobs}{asked.address(**other)}"

        return {
            "name": one.name,
            "address": self.link("change", one.name),
            "jobs": link(),
            "numbers": [(word, getattr(one, word), link(state=word)) for word in COLUMNS],
            "oldest": span(one.oldest_waiting),
            "workers": one.workers,
            "alone": bool(one.waiting) and not one.workers and one.paused is None,
            "paused": one.paused is not None,
            "reason": one.paused or "",
        }

    def _names(self) -> list[str]:
        return self.get_kit().run(lambda at: at.ask(at.store.queues))

    def _missing(self, request: HttpRequest, name: str) -> HttpResponse:
        try:
            text = f"There is no queue {names.queue_name(name)}."
        except InvalidName as error:
            text = str(error)
        self.tell(request, messages.WARNING, text)
        return HttpResponseRedirect(self.link("changelist"))


def _totals(totals: object) -> list[tuple[str, int]]:
    words = ("enqueued", "completed", "failed", "retried", "crashed", "cancelled", "released")
    return [(word, getattr(totals, word)) for word in words]
