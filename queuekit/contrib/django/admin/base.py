"""What all pages have in common: the kit, who may do what, and a page for when the store cannot answer."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from queuekit import QueueKit
from queuekit.domain.duration import format_duration
from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, Conflict, QueueKitError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[models.Model]
else:
    _Admin = admin.ModelAdmin  # it takes no type arguments while it runs

V = TypeVar("V", bound=Callable[..., HttpResponse])
_log = logging.getLogger("queuekit.django")
NAMED = 10  # references a message names; of the others it gives the number


def needs_store(view: V) -> V:
    """A view that answers 503, and says why, where the store cannot be asked."""

    @functools.wraps(view)
    def guarded(self: StoreAdmin, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(self, request, *args, **kwargs)
        except (StoreError, ConfigError, Conflict) as error:
            return self.away(request, error)

    return cast("V", guarded)


class StoreAdmin(_Admin):
    """A ModelAdmin whose objects are in queuekit's store: nothing is added by hand, and no database is asked."""

    actions = ()
    things = ""  # what a list is of, for people

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        return [path("<path:object_id>/act/", view, name=f"queuekit_{self.opts.model_name}_act"), *super().get_urls()]

    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What a button of one object's page does."""
        raise PermissionDenied

    @needs_store
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Who did what to this object in the admin; Django's own page."""
        return super().history_view(request, object_id, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's address for deleting leads to the object's page, which has the button where there is one."""
        return HttpResponseRedirect(self.link("change", unquote(object_id)))

    def get_kit(self) -> QueueKit:
        """The kit whose store is shown: the project's. A subclass may give another."""
        from queuekit.contrib.django import get_kit

        return get_kit()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
    ) -> TemplateResponse:
        """A page of the admin, with everything its frame needs."""
        request.current_app = self.admin_site.name  # as Django's own views set it
        whole = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "has_view_permission": self.has_view_permission(request),
            **context,
        }
        return TemplateResponse(request, f"queuekit/admin/{template}.html", whole, status=status)

    def away(self, request: HttpRequest, error: QueueKitError) -> HttpResponse:
        """The page that says why nothing can be shown or done. Status 503, as for a probe."""
        _log.warning("the admin cannot ask the store: %s", redact(str(error)))
        sent = request.method == "POST"
        context = {
            "title": "queuekit is not set up" if isinstance(error, ConfigError) else "The job store cannot be asked",
            "error": redact(f"{type(error).__name__}: {error}"),
            "sent": sent,
            "untouched": isinstance(error, StoreUnavailable) and error.outcome == "refused",
            "here": request.get_full_path(),
        }
        return self.page(request, "away", context, status=503)

    def link(self, view: str, *args: str) -> str:
        """The address of one of this model's pages; the arguments are keys."""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=[quote(arg) for arg in args], current_app=self.admin_site.name)

    def list_of(self, request: HttpRequest, model: type[models.Model]) -> str:
        """The address of another model's list; "" where this site has none, or this user may not see it."""
        if not self.admin_site.is_registered(model):
            return ""
        other = self.admin_site.get_model_admin(model)
        return other.link("changelist") if isinstance(other, StoreAdmin) and other.has_view_permission(request) else ""

    def ticked(self, request: HttpRequest, *, all_that_match: bool = False) -> list[str] | None:
        """What was ticked on a list; None, and a line that says so, where nothing was or no action was chosen."""
        values = request.POST.getlist("_selected_action")
        if request.POST.get("action") and (values or all_that_match):
            return values
        what = "Choose an action." if values or all_that_match else f"Tick the {self.things} it is about."
        self.tell(request, messages.WARNING, f"Nothing was done. {what}")
        return None

    def tell(self, request: HttpRequest, level: int, text: str) -> None:
        """A line above the next page. Templates escape it."""
        messages.add_message(request, level, redact(text))

    def remember(self, request: HttpRequest, keys: Sequence[str], *, said: str, deleted: bool = False) -> None:
        """Write down in the admin's own log who did what to which job or queue."""
        if not keys:
            return
        from django.contrib.admin.models import CHANGE, DELETION, LogEntry

        user: Any = request.user  # signed in: the site lets nobody else come here
        objects: Any = [self.model(pk=key) for key in keys]
        LogEntry.objects.log_actions(
            user_id=user.pk,
            queryset=objects,
            action_flag=DELETION if deleted else CHANGE,
            change_message=said,
        )


def local(moment: datetime | None) -> datetime | None:
    """In the time zone the pages are shown in."""
    return None if moment is None else timezone.localtime(moment)


def span(length: timedelta | None) -> str:
    """A length of time as people say it, whole seconds."""
    return "" if length is None else format_duration(int(length / timedelta(seconds=1)) * 1000)


def some(refs: Sequence[str]) -> str:
    """The first of many, and how many more there are."""
    rest = len(refs) - NAMED
    return ", ".join(refs[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
