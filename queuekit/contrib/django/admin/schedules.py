"""The pages of schedules: what comes next, one schedule with its next moments, pause, resume, fire and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from queuekit import Schedule as Stored
from queuekit import StoreError, Unsupported
from queuekit.contrib.django.admin import shown
from queuekit.contrib.django.admin.base import StoreAdmin, local, needs_store, some
from queuekit.contrib.django.models import Job, Schedule
from queuekit.errors import Conflict, QueueKitError
from queuekit.producing.scheduling import verbs

DONE = {"pause": "paused", "resume": "resumed", "fire": "fired", "delete": "deleted"}
CHANGES = ("pause", "resume", "fire")
NEXT = 10  # moments that a page of one schedule shows
_LISTED = 50  # schedules that a question names
_GONE = (
    "They make no more jobs; those they made stay. What code or queuekit.toml declares comes back with the next worker."
)


class ScheduleAdmin(StoreAdmin):
    """Schedules of the store. `view_schedule` shows them, `change_schedule` pauses, resumes and fires,
    `delete_schedule` deletes; a payload is shown to who may see jobs.
    """

    things = "schedules"
    list_per_page = 100

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | models.Field[Any, Any] | None = None
    ) -> Schedule | None:
        """For Django's history page: the row that a schedule would be, None where there is no such schedule."""
        return None if self._found(object_id) is None else Schedule(pk=object_id)

    # ------------------------------------------------------------ pages
    @needs_store
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """All schedules, the next one first; POST does something to those that were ticked."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act_on_list(request)
        said = {word: request.GET.get(word, "").strip() for word in ("queue", "q")}
        context: dict[str, Any] = {"title": "Schedules", "said": said, "verbs": self._may(request), "media": self.media}
        try:
            found = self.get_kit().schedules.all()
        except Unsupported as error:
            return self.page(request, "schedules", {**context, "verbs": [], "lacking": str(error)})
        kept = [
            one
            for one in found
            if said["queue"] in ("", one.queue) and said["q"].lower() in f"{one.id} {one.task}".lower()
        ]
        kept.sort(key=lambda one: (one.next_at is None, one.next_at and one.next_at.timestamp(), one.id))
        page = Paginator(kept, self.list_per_page).get_page(request.GET.get("page"))
        context |= {
            "rows": [self._row(request, one) for one in page.object_list],
            "page": page,
            "total": len(kept),
            "queues": sorted({one.queue for one in found}),
        }
        return self.page(request, "schedules", {**context, **(extra_context or {})})

    @needs_store
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """All of one schedule, and its next moments."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        one = self._found(unquote(object_id))
        if one is None:
            return self._missing(request, unquote(object_id))
        may = self._may(request)
        other = "resume" if one.paused is not None else "pause"
        context = {
            "title": "Schedule",
            "subtitle": one.id,
            "row": self._row(request, one),
            "fields": _fields(one),
            "moments": [] if one.problem else [local(moment) for moment in one.preview(NEXT)],
            "payload": shown.pretty(one.payload) if self.list_of(request, Job) and not one.problem else None,
            "verbs": [verb for verb in (other, "fire") if verb in may],
            "may_delete": "delete" in may,
            "act_url": self.link("act", one.id),
            "history_url": self.link("history", one.id),
        }
        return self.page(request, "schedule", {**context, **(extra_context or {})})

    @needs_store
    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One verb on one schedule: POST only. Back to its page, or to the list where it is gone."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        name, verb = unquote(object_id), self._verb(request, request.POST.get("act", ""))
        if verb == "delete" and "confirmed" not in request.POST:
            return self._question(request, [name], request.get_full_path(), self.link("change", name))
        self._do(request, verb, [name], {name: request.POST["seen"]} if "seen" in request.POST else {})
        return HttpResponseRedirect(self.link("changelist") if verb == "delete" else self.link("change", name))

    # ------------------------------------------------------------ acting
    def _act_on_list(self, request: HttpRequest) -> HttpResponse:
        here, chosen = request.get_full_path(), self.ticked(request)
        if chosen is not None:
            verb = self._verb(request, request.POST["action"])
            ids, _, seen = zip(*(one.partition("~") for one in chosen), strict=True)
            if verb == "delete" and "confirmed" not in request.POST:
                return self._question(request, ids, here, here)
            self._do(request, verb, ids, dict(zip(ids, seen, strict=True)))
        return HttpResponseRedirect(here)

    def _do(self, request: HttpRequest, verb: str, chosen: Sequence[str], seen: Mapping[str, str]) -> None:
        """Act on each, write down who did it, tell what became of them. Raises where nothing at all is known."""
        reason, user = request.POST.get("reason", "").strip()[:500], request.user.get_username()
        done, told, stopped = list[str](), list[str](), None
        for name in dict.fromkeys(chosen):
            try:
                why = self._act(verb, name, seen.get(name), user, reason)
            except (StoreError, Conflict) as error:
                if not done and not told:
                    raise
                stopped = f"The store stopped answering at {name:.200}: {error}"
                break
            except QueueKitError as error:
                why = str(error)
            (done if not why else told).append(name if not why else f"{name:.200} ({why})")
        said = f"{DONE[verb].capitalize()}{f': {reason}' if reason and verb == 'pause' else ''}."
        self.remember(request, done, said=said, deleted=verb == "delete")
        if done:
            self.tell(request, messages.SUCCESS, f"{DONE[verb].capitalize()} {some(done)}.")
        if told:
            self.tell(request, messages.WARNING, f"Not {DONE[verb]}: {some(told)}.")
        if stopped is not None:
            self.tell(request, messages.ERROR, stopped)

    def _act(self, verb: str, name: str, seen: str | None, user: str, reason: str) -> str:
        """Do it; why it was not done, "" where it was."""
        kit = self.get_kit()
        found = self._found(name)
        if found is None:
            return "there is no such schedule"
        if verb == "fire":
            if seen is not None and seen != (found.last_job or ""):
                return f"it made {found.last_job} since this page was made"  # a page sent twice fires once
            kit.run(lambda at: verbs.fire(kit, at, name, by=user))
            return ""
        if verb == "pause":
            done = kit.run(lambda at: verbs.pause(kit, at, name, reason, by=user))
            return "" if done else "it is paused already"
        if verb == "resume":
            return "" if kit.schedules.resume(name) else "it is not paused"
        return "" if kit.schedules.delete(name) else "there is no such schedule"

    def _question(self, request: HttpRequest, ids: Sequence[str], address: str, back: str) -> HttpResponse:
        context = {
            "title": "Are you sure?",
            "verb": "delete",
            "asks": _GONE,
            "count": f"{len(ids)} schedule{'' if len(ids) == 1 else 's'}",
            "listed": [(name, "") for name in ids[:_LISTED]],
            "rest": max(0, len(ids) - _LISTED),
            "values": ids,
            "address": address,
            "back": back,
            "single": "act" in request.POST,
        }
        return self.page(request, "sure", context)

    def _may(self, request: HttpRequest) -> list[str]:
        """The verbs this user may use."""
        change = [*CHANGES] if self.has_change_permission(request) else []
        return change + (["delete"] if self.has_delete_permission(request) else [])

    def _verb(self, request: HttpRequest, word: str) -> str:
        """The verb itself. Raises PermissionDenied, also for words there are not: no page of ours sends them."""
        if word not in self._may(request) or not self.has_view_permission(request):
            raise PermissionDenied
        return word

    # ------------------------------------------------------------ reading
    def _found(self, id: str) -> Stored | None:
        try:
            return self.get_kit().schedules.get(id)
        except StoreError:
            raise
        except QueueKitError:  # no id that could be
            return None

    def _row(self, request: HttpRequest, one: Stored) -> dict[str, object]:
        jobs = self.list_of(request, Job)
        last = "" if one.last_job is None else f"{one.queue}/{one.last_job}"
        link = reverse(f"{self.admin_site.name}:queuekit_job_change", args=[quote(last)]) if jobs and last else ""
        return {
            "id": one.id,
            "value": f"{one.id}~{one.last_job or ''}",
            "seen": one.last_job or "",
            "address": self.link("change", one.id),
            "queue": one.queue,
            "task": one.task,
            "rule": rule(one.rule),
            "next": local(one.next_at),
            "last": last,
            "last_address": link,
            "origin": one.origin,
            "paused": one.paused is not None,
            "reason": " ".join(part for part in (one.paused, one.paused_by and f"({one.paused_by})") if part),
        }

    def _missing(self, request: HttpRequest, id: str) -> HttpResponse:
        self.tell(request, messages.WARNING, f"There is no schedule {id:.200}.")
        return HttpResponseRedirect(self.link("changelist"))


def rule(said: Mapping[str, Any]) -> str:
    """A rule on one line: "cron 0 9 * * 1-5, timezone Europe/Berlin"."""
    return ", ".join(f"{name} {value}" for name, value in said.items())


def _fields(one: Stored) -> list[tuple[str, object]]:
    """What is known of a schedule, (name, value), empty ones left out."""
    return [
        (name, value)
        for name, value in (
            ("Problem", one.problem or None),
            ("Queue", one.queue),
            ("Task", one.task),
            ("Rule", rule(one.rule)),
            ("From", one.origin),
            ("Next", local(one.next_at)),
            ("Jobs made", one.fired),
            ("Moments without a job", one.skipped),
        )
        if value is not None
    ]
