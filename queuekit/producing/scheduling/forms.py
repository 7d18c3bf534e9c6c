"""The job of a schedule, checked: what can be said of one job and not of many is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuekit.domain.scheduled import JobForm
from queuekit.errors import InvalidOption
from queuekit.producing.newjob import NewJob

if TYPE_CHECKING:
    from queuekit.domain.timetable import Timetable
    from queuekit.kit import QueueKit


def form_of(kit: QueueKit, job: NewJob[Any], where: str) -> JobForm:
    """The form of a job that was made for a schedule. Raises InvalidOption, PayloadTooLarge."""
    checked(job, where)
    return JobForm.of(job.spec_in(kit), where)


def checked(job: NewJob[Any], where: str) -> None:
    """Raise InvalidOption for what can be seen without the kit's settings, and cannot be."""
    if not isinstance(job, NewJob):
        raise InvalidOption(f"{where}: its job is what make() gives: send_email.make(…), not {job!r:.80}")
    if job.chosen:
        raise InvalidOption(f"{where}: id={job.id!r} would be one job: a schedule names each of its jobs by the slot")
    if job.within is not None:
        raise InvalidOption(f"{where}: within= belongs to one write: a schedule's jobs are written by workers")


def over(table: Timetable, fired: int) -> str:
    """Why a rule has no slot to come."""
    said = table.to_json()
    if table.count is not None and fired >= table.count:
        return f"has fired {fired} times, and count={table.count} is past: give a higher one, or delete it first"
    if "at" in said:
        return f"would never fire: at={said['at']} is past"
    if table.end is not None:
        return f"would never fire: end={said['end']} is before its next slot"
    return f"would never fire: {said} has no slot to come"
