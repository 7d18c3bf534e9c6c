"""The job processor over Agenda (or Bull) under its own names, in snake_case. `docs/compat.md` says what differs.

The functions are those of `job_processor`, over the queue "jobs" of this process's kit.
"""

from queuekit.compat.agenda.processor import JobProcessor
from queuekit.compat.agenda.reading import JobList, JobStatus, QueueHealth
from queuekit.compat.current import use

__all__ = [
    "JobList",
    "JobProcessor",
    "JobStatus",
    "QueueHealth",
    "aevery",
    "aschedule_booking_reminders",
    "aschedule_job",
    "aschedule_payment_reminders",
    "every",
    "graceful_shutdown",
    "job_processor",
    "schedule_booking_reminders",
    "schedule_job",
    "schedule_payment_reminders",
    "setup_job_processors",
    "use",
]

job_processor = JobProcessor()
every = job_processor.every
aevery = job_processor.aevery
schedule_job = job_processor.schedule_job
aschedule_job = job_processor.aschedule_job
schedule_booking_reminders = job_processor.schedule_booking_reminders
aschedule_booking_reminders = job_processor.aschedule_booking_reminders
schedule_payment_reminders = job_processor.schedule_payment_reminders
aschedule_payment_reminders = job_processor.aschedule_payment_reminders
setup_job_processors = job_processor.setup_job_processors
graceful_shutdown = job_processor.graceful_shutdown
