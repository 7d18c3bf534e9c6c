"""The six job types, their payloads, and their declaration in a kit. No handler is here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

from queuekit import PayloadError, QueueKit, Task
from queuekit.producing import definition

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Booking:
    """What reminders are made from. `booking_date` is aware."""

    booking_id: str
    customer_id: str
    customer_email: str
    booking_date: datetime
    customer_phone: str | None = None
    location: str | None = None


@dataclass(frozen=True, kw_only=True)
class BookingReminder:
    """One reminder of a booking; `before` says which: "24h", "1h", "15m"."""

    booking_id: str
    customer_id: str
    customer_email: str
    booking_date: datetime
    before: str
    customer_phone: str | None = None
    location: str | None = None


@dataclass(frozen=True, kw_only=True)
class PaymentReminder:
    """Money is a Decimal, and travels as text: 25.00 stays 25.00."""

    booking_id: str
    customer_id: str
    customer_email: str
    amount: Decimal
    currency: str
    due_date: datetime


@dataclass(frozen=True, kw_only=True)
class EmailNotification:
    """A mail from a template."""

    to: str
    subject: str
    template: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SmsNotification:
    """A text message."""

    to: str
    message: str


@dataclass(frozen=True, kw_only=True)
class DataCleanup:
    """What is cleaned, and how old it must be: "90 days"."""

    target: str
    older_than: str


@dataclass(frozen=True, kw_only=True)
class ReportGeneration:
    """Which report, of what, for whom."""

    report: str
    parameters: dict[str, Any] = field(default_factory=dict)
    recipient: str | None = None


JOB_TYPES: Mapping[str, type[Any]] = {
    "booking_reminder": BookingReminder,
    "payment_reminder": PaymentReminder,
    "email_notification": EmailNotification,
    "sms_notification": SmsNotification,
    "data_cleanup": DataCleanup,
    "report_generation": ReportGeneration,
}


@dataclass(frozen=True)
class Recipes:
    """The six tasks of a kit: enqueue them anywhere, give their handlers where a worker imports them."""

    booking_reminder: Task[[BookingReminder], None]
    payment_reminder: Task[[PaymentReminder], None]
    email_notification: Task[[EmailNotification], None]
    sms_notification: Task[[SmsNotification], None]
    data_cleanup: Task[[DataCleanup], None]
    report_generation: Task[[ReportGeneration], None]


def declare(kit: QueueKit, queue: str = "jobs") -> Recipes:
    """Declare the six types in a kit, on one queue: `recipes.declare(kit).email_notification.handler` takes a function.

    Raises DuplicateTask where the kit has one of them already.
    """
    return Recipes(**{name: kit.declare(name, payload, queue=queue) for name, payload in JOB_TYPES.items()})


def typed(kind: type[T], data: Mapping[str, Any] | T) -> T:
    """A payload as its class, checked: from a mapping in snake_case, or from an instance.

    Raises PayloadError, one entry a field; a field that the class does not have is refused.
    """
    if isinstance(data, Mapping):
        known = [one.name for one in dataclasses.fields(cast("Any", kind))]
        problems = [f"{name}: no such field; there are {', '.join(known)}" for name in data if name not in known]
        if problems:
            raise PayloadError(f"{kind.__name__}: {'; '.join(problems)}", problems)
    contract = _contract(cast("Any", kind))
    args, kwargs = contract.decode(contract.encode_payload(data))
    return cast("T", [*args, *kwargs.values()][0])


@functools.cache
def _contract(kind: type[Any]) -> definition.Definition:
    return definition.declared(kind.__name__, kind, None, {})
