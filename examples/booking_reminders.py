"""From Agenda: a booking's reminders, moved with it and cancelled as a set.

Run it: python examples/booking_reminders.py
"""

from datetime import UTC, datetime, timedelta

from queuekit import QueueKit
from queuekit.compat.agenda import JobProcessor
from queuekit.recipes import BookingReminder, EmailNotification, PaymentReminder

kit = QueueKit()
job_processor = JobProcessor("bookings")
sent: list[str] = []


@job_processor.define("booking_reminder")
async def remind(reminder: BookingReminder) -> None:
    sent.append(f"{reminder.before} before: {reminder.customer_email}")


@job_processor.define("payment_reminder")
async def remind_of_payment(payment: PaymentReminder) -> None:
    sent.append(f"{payment.amount} {payment.currency} from {payment.customer_email}")


@job_processor.define("email_notification")
async def mail(message: EmailNotification) -> None:
    sent.append(f"{message.subject} to {message.to}")


def main() -> None:
    now = datetime.now(UTC)
    booking = {
        "bookingId": "booking_123",
        "customerId": "customer_456",
        "customerEmail": "customer@example.com",
        "customerPhone": "+1234567890",
        "bookingDate": now + timedelta(days=3),
        "location": "Downtown Garage",
    }
    reminders = job_processor.schedule_booking_reminders(booking)
    print("scheduled:", ", ".join(one.split(":")[2] for one in reminders))

    moved = {**booking, "bookingDate": now + timedelta(hours=2)}
    reminders = job_processor.reschedule_booking_reminders(booking, moved)
    print("moved to 2 hours from now:", ", ".join(one.split(":")[2] for one in reminders))

    payment = {"bookingId": "booking_123", "customerId": "customer_456", "customerEmail": "customer@example.com"}
    payment |= {"amount": "25.00", "currency": "USD", "dueDate": (now + timedelta(hours=12)).isoformat()}
    job_processor.schedule_payment_reminders(payment)  # due in less than a day: at once
    welcome = {"to": "user@example.com", "subject": "Welcome!", "template": "welcome", "priority": "high"}
    job_processor.schedule_email_notification({**welcome, "data": {"name": "John"}})
    later = job_processor.schedule_job("custom_job_id", "in 1 minute", "custom_job_type", {"customField": "value"})
    status = job_processor.get_job_status(later)
    print(later, status.exists, status.status, job_processor.get_job_status("nobody").exists)

    job_processor.run(burst=True)  # in production: queuekit worker booking_reminders:kit
    print("sent:", "; ".join(sorted(sent)))
    print("cancelled:", job_processor.cancel_job(later), job_processor.cancel_booking_reminders(moved))
    jobs = job_processor.list_jobs(status="cancelled", type="booking_reminder", limit=10)
    print(jobs.total, "reminders were cancelled;", job_processor.get_queue_health().job_counts)


if __name__ == "__main__":
    main()
