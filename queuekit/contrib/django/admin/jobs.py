"""The pages of jobs: a list with filters, one job, and what a person may do to them. The verbs stand in `acts`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Field
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect

from queuekit import State
from queuekit.contrib.django.admin import listing, shown
from queuekit.contrib.django.admin.acts import Became, Chosen, act
from queuekit.contrib.django.admin.base import StoreAdmin, needs_store, some
from queuekit.contrib.django.models import Job
from queuekit.domain import names
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Verb
from queuekit.errors import InvalidName, InvalidOption
from queuekit.producing import seeking

DONE = {
    Verb.RETRY: "retried",
    Verb.CANCEL: "cancelled",
    Verb.PROMOTE: "promoted",
    Verb.DELETE: "deleted",
}
ASKS = {
    Verb.RETRY: "Retried jobs run again, from their first attempt. Those that completed do their work a second time.",
    Verb.CANCEL: "Jobs that wait will not run. Handlers that run are asked to stop.",
    Verb.PROMOTE: "They become due now.",
    Verb.DELETE: "Their payloads, results and errors are gone for good. Jobs that run are refused.",
}
_LISTED = 50  # jobs that a question names


class JobAdmin(StoreAdmin):
    """Jobs of the store. `view_job` shows them, `change_job` retries, cancels and promotes, `delete_job` deletes."""

    things = "jobs"
    list_per_page = 100

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | Field[Any, Any] | None = None
    ) -> Job | None:
        """For Django's history page: the row that a job would be, None where there is no such job."""
        record = self._record(object_id)
        return None if record is None else Job(pk=record.ref)

    # ------------------------------------------------------------ pages
    @needs_store
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, a page by a cursor; POST does something to the jobs that were ticked."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        kit, asked = self.get_kit(), listing.Asked.of(request.GET.dict())
        try:
            if request.method == "POST":
                return self._act_on_list(request, asked)
            page = kit.find(**asked.where(self.list_per_page))
        except (InvalidName, InvalidOption) as error:  # of the address
            self.tell(request, messages.ERROR, str(error))
            return HttpResponseRedirect(self.link("changelist"))
        queues = kit.run(lambda at: at.ask(at.store.queues))
        context = {
            "title": "Jobs",
            "rows": [(shown.row(job), self.link("change", job.ref)) for job in page.jobs],
            "total": page.total if set(asked.said) <= {"queue", "state"} else None,
            "next": asked.address(cursor=page.cursor) if page.cursor else None,
            "first": asked.address() if asked.cursor else None,
            "asked": asked,
            "across": listing.ACROSS,
            "filters": listing.filters(asked, queues),
            "tasks": sorted(kit.tasks()),
            "verbs": [verb.value for verb in self._may(request)],
            "media": self.media,
        }
        return self.page(request, "jobs", {**context, **(extra_context or {})})

    @needs_store
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """All of one job."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        record = self._record(unquote(object_id))
        if record is None:
            return self._missing(request, unquote(object_id))
        job = self.get_kit().snapshot(record)
        may = self._may(request)
        context = {
            "title": "Job",
            "subtitle": job.ref,
            "job": job,
            "chosen": Chosen.of(job),
            "queue_jobs": f"{self.link('changelist')}{listing.Asked({'queue': job.queue}, None).address()}",
            "fields": list(shown.fields(job, record)),
            "waits": self._waits(job.queue, job.id),
            "payload": shown.pretty(job.payload),
            "result": shown.pretty(job.result) if job.state is State.COMPLETED else None,
            "progress": shown.progress(job.progress),
            "errors": shown.errors(job.errors),
            "lines": shown.lines(record),
            "verbs": [verb for verb in shown.verbs(job.state) if Verb(verb) in may],
            "may_delete": Verb.DELETE in may and job.state is not State.ACTIVE,
            "act_url": self.link("act", job.ref),
            "history_url": self.link("history", job.ref),
        }
        return self.page(request, "job", {**context, **(extra_context or {})})

    @needs_store
    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One verb on one job: POST only. Back to the job's page, or to the list where it is gone."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        verb = self._verb(request, request.POST.get("act", ""))
        try:
            chosen = Chosen.parse(request.POST.get("seen") or unquote(object_id))
        except InvalidName:
            return self._missing(request, unquote(object_id))
        if chosen.ref != unquote(object_id):
            raise PermissionDenied("the form is another job's")
        page = self.link("change", chosen.ref)
        if self._asks(verb, [chosen]) and "confirmed" not in request.POST:
            return self._question(request, verb, [chosen], address=request.get_full_path(), back=page)
        self._do(request, verb, [chosen])
        return HttpResponseRedirect(self.link("changelist") if verb is Verb.DELETE else page)

    # ------------------------------------------------------------ acting
    def _act_on_list(self, request: HttpRequest, asked: listing.Asked) -> HttpResponse:
        here = request.get_full_path()
        across = request.POST.get("select_across") == "1"
        values = self.ticked(request, all_that_match=across)
        if values is None:
            return HttpResponseRedirect(here)
        verb = self._verb(request, request.POST["action"])
        more = False
        if across:
            chosen, more = listing.matching(self.get_kit(), asked)
        else:
            chosen = [Chosen.parse(value) for value in values]
        if not chosen:
            self.tell(request, messages.WARNING, "Nothing was done. No job matches, as far as was looked.")
            return HttpResponseRedirect(here)
        if "confirmed" not in request.POST and (across or self._asks(verb, chosen)):
            return self._question(
                request, verb, chosen, address=here, back=here, across=asked.described() if across else "", more=more
            )
        self._do(request, verb, chosen)
        if more:
            self.tell(request, messages.WARNING, "More jobs may match: not all were taken at once. Do it again.")
        return HttpResponseRedirect(here)

    def _do(self, request: HttpRequest, verb: Verb, chosen: Sequence[Chosen]) -> None:
        """Act, write down who did it, tell what became of the jobs. Raises where nothing at all is known."""
        reason = request.POST.get("reason", "").strip()[:500]
        by = f"{reason} ({request.user.get_username()})" if reason else f"by {request.user.get_username()}"
        became = act(self.get_kit(), verb, chosen, reason=by)
        said = f"{DONE[verb].capitalize()}{f': {reason}' if reason and verb is Verb.CANCEL else ''}."
        self.remember(request, became.done, said=said, deleted=verb is Verb.DELETE)
        self.remember(request, became.asked, said=f"Asked to stop{f': {reason}' if reason else ''}.")
        if became.stopped is not None and not became.answered:
            raise became.stopped
        self._say(request, verb, became)

    def _say(self, request: HttpRequest, verb: Verb, became: Became) -> None:
        done = DONE[verb]
        if became.done:
            self.tell(request, messages.SUCCESS, f"{done.capitalize()} {_count(became.done)}: {some(became.done)}.")
        if became.asked:
            self.tell(request, messages.SUCCESS, f"Asked {_count(became.asked)} to stop: {some(became.asked)}.")
        if became.refused:
            told = some([f"{ref} ({why})" for ref, why in became.refused])
            self.tell(request, messages.WARNING, f"Not {done}: {told}.")
        if became.stopped is None:
            return
        if became.untold:
            self.tell(
                request,
                messages.ERROR,
                f"The store gave no answer for {some(became.untold)}: look at each before you try again.",
            )
        if became.left:
            self.tell(request, messages.ERROR, f"Not tried: {some(became.left)}. {became.stopped}")

    def _question(
        self, request: HttpRequest, verb: Verb, chosen: Sequence[Chosen], *, address: str, back: str,
        across: str = "", more: bool = False,
    ) -> HttpResponse:  # fmt: skip
        context = {
            "title": "Are you sure?",
            "verb": verb.value,
            "asks": ASKS[verb],
            "count": _count(chosen),
            "listed": [(one.ref, one.state) for one in chosen[:_LISTED]],
            "rest": max(0, len(chosen) - _LISTED),
            "values": [] if across else [one.value for one in chosen],
            "across": across,
            "more": more,
            "limit": listing.ACROSS,
            "reason": request.POST.get("reason", ""),
            "address": address,
            "back": back,
            "single": "act" in request.POST,
        }
        return self.page(request, "sure", context)

    def _asks(self, verb: Verb, chosen: Sequence[Chosen]) -> bool:
        """Whether a verb is asked about once more: what cannot be undone, and work that would be done twice."""
        return verb is Verb.DELETE or (verb is Verb.RETRY and any(one.state == State.COMPLETED.value for one in chosen))

    def _may(self, request: HttpRequest) -> list[Verb]:
        """The verbs this user may use."""
        change = [Verb.RETRY, Verb.CANCEL, Verb.PROMOTE] if self.has_change_permission(request) else []
        return change + ([Verb.DELETE] if self.has_delete_permission(request) else [])

    def _verb(self, request: HttpRequest, word: str) -> Verb:
        """The verb itself. Raises PermissionDenied, also for words there are not: no page of ours sends them."""
        verb = next((verb for verb in self._may(request) if verb.value == word), None)
        if verb is None or not self.has_view_permission(request):
            raise PermissionDenied
        return verb

    # ------------------------------------------------------------ reading
    def _record(self, ref: str) -> JobRecord | None:
        try:
            queue, job = names.reference(ref)
        except InvalidName:
            return None
        if queue is None:
            return None
        kit = self.get_kit()
        return kit.run(lambda at: seeking.record(kit.access, at, queue, job))

    def _waits(self, queue: str, job: str) -> str:
        kit = self.get_kit()
        position = kit.run(lambda at: at.ask(partial(at.store.position, queue, job)))
        workers = kit.run(lambda at: at.ask(at.store.workers))
        return shown.waits(position, sum(queue in one.queues for one in workers))

    def _missing(self, request: HttpRequest, ref: str) -> HttpResponse:
        self.tell(request, messages.WARNING, f"There is no job {ref:.400}, or it is no longer kept.")
        return HttpResponseRedirect(self.link("changelist"))


def _count(jobs: Sequence[object]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
