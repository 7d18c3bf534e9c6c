"""Jobs that many applications have: six types with typed payloads, as contracts to give handlers to.

Importing a recipe does nothing, and none sends a mail by itself: what a handler does is the application's.
"""

from queuekit.recipes.types import (
    JOB_TYPES,
    Booking,
    BookingReminder,
    DataCleanup,
    EmailNotification,
    PaymentReminder,
    Recipes,
    ReportGeneration,
    SmsNotification,
    declare,
    typed,
)

__all__ = [
    "JOB_TYPES",
    "Booking",
    "BookingReminder",
    "DataCleanup",
    "EmailNotification",
    "PaymentReminder",
    "Recipes",
    "ReportGeneration",
    "SmsNotification",
    "declare",
    "typed",
]
