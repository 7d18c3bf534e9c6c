"""A job that was made but not written: the one builder for enqueue, bulk, schedules and flows. Nothing is sent here.

Among them those that wait for a transaction of the application; which transactions there are an integration knows.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from queuekit import ids
from queuekit.domain import options
from queuekit.domain.job import JobSpec
from queuekit.errors import PayloadTooLarge
from queuekit.handle import JobHandle

if TYPE_CHECKING:
    from queuekit.domain.outcome import Receipt
    from queuekit.kit import QueueKit

R = TypeVar("R")


class NewJob(Generic[R]):
    """What `make` gives: a job with its id, to be handed to `enqueue_many`. Enqueued twice it is one job."""

    __slots__ = ("chosen", "queue", "spec", "typed", "within")

    def __init__(self, queue: str, spec: JobSpec, *, typed: bool, chosen: bool, within: object | None) -> None:
        self.queue = queue
        self.spec = spec
        self.typed = typed  # the result is decoded as the task says, else it is plain JSON
        self.chosen = chosen  # the id was chosen by the caller
        self.within = within

    @property
    def id(self) -> str:
        """The id it has or will have."""
        return self.spec.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self.spec.task

    @property
    def body(self) -> bytes:
        """The payload, encoded."""
        return self.spec.body

    def spec_in(self, kit: QueueKit) -> JobSpec:
        """The job as this kit's settings and options make it; a FlaskKit's apps have their own."""
        return self.spec

    def __repr__(self) -> str:
        return f"NewJob({self.queue}/{self.id}, task={self.task!r})"


class LateJob(NewJob[R]):
    """A job made before the settings were read, as schedules are at import: making one must not read them.

    `spec` reads them, and raises what they say: ConfigError, PayloadTooLarge.
    """

    __slots__ = ("_body", "_id", "_made", "_task", "_template")

    def __init__(
        self,
        queue: str,
        task: str,
        body: bytes,
        said: Mapping[str, Any],
        template: Callable[[QueueKit | None], Template],
        *,
        typed: bool,
    ) -> None:
        self.queue = queue
        self.typed = typed
        self.chosen = "id" in said
        self.within = said.get("within")
        self._id = said.get("id") or ids.job_id()
        self._task = task
        self._body = body
        self._template = template
        self._made: JobSpec | None = None

    @property
    def id(self) -> str:
        """The id it has or will have."""
        return self._id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._task

    @property
    def body(self) -> bytes:
        """The payload, encoded."""
        return self._body

    @property
    def spec(self) -> JobSpec:  # type: ignore[override]  # read only, unlike the slot of the class above
        if self._made is None:
            self._made = self._template(None).make(self._body, self._id)
        return self._made

    def spec_in(self, kit: QueueKit) -> JobSpec:
        """See `NewJob.spec_in`."""
        return self._template(kit).make(self._body, self._id)


class Template:
    """What every job of one task and one set of options has in common, worked out once.

    `rev` is the kit's revision it was worked out under: queue options that come later make a new one.
    """

    __slots__ = ("_fields", "asked", "chosen_id", "limit", "queue", "rev", "typed", "within")

    def __init__(
        self,
        kit: QueueKit,
        task: str,
        queue: str,
        said: Mapping[str, Any],
        task_options: Mapping[str, object],
        *,
        version: int,
        typed: bool,
    ) -> None:
        self.rev = kit.revision
        self.limit = kit.settings.payload_limit
        self.queue = queue
        self.typed = typed
        self.chosen_id: str | None = said.get("id")
        self.within: object | None = said.get("within")
        # a job without an id or a key that anybody else may have needs no question where its queue comes from
        self.asked = self.chosen_id is None and "unique" not in said
        self._fields = _fields(kit, task, queue, said, task_options, version)

    def make(self, body: bytes, id: str | None = None) -> JobSpec:
        """A job with this payload, and with `id` if it has one already. Raises PayloadTooLarge."""
        if len(body) > self.limit:
            raise PayloadTooLarge(
                f"payload of {self._fields['task']!r} has {len(body)} bytes, over the limit of {self.limit}:"
                " store the data elsewhere and pass its id (QUEUEKIT_PAYLOAD_LIMIT)"
            )
        return JobSpec(id=id or self.chosen_id or ids.job_id(), body=body, **self._fields)

    def new(self, body: bytes) -> NewJob[Any]:
        """The same as a value to hand on."""
        return NewJob(
            self.queue, self.make(body), typed=self.typed, chosen=self.chosen_id is not None, within=self.within
        )


class Later:
    """The jobs of one call, made but not written before a transaction of the application commits.

    Whoever runs the commit holds it, and lets go of it at a rollback; handles only look whether it is still there.
    """

    __slots__ = ("__weakref__", "access", "first", "handles", "jobs", "kit", "waits", "written")

    def __init__(self, kit: QueueKit, jobs: Sequence[NewJob[Any]]) -> None:
        self.kit = kit
        self.access = kit.access  # the store of now: a test that ends before the commit must not send to another
        self.jobs = tuple(jobs)
        self.waits = True  # False: its commit came, and it was tried
        self.first: Callable[[], None] | None = None  # called behind the commit, before they are written; never raises
        self.written: Callable[[], None] | None = None  # told behind the commit, when all of them are; never raises
        self.handles: list[JobHandle[Any]] = []
        seen = weakref.ref(self)
        for job in jobs:
            handle = JobHandle.of(kit, job.queue, job.id, None, typed=job.typed)
            handle.__dict__["_later"] = seen
            self.handles.append(handle)


Register: TypeAlias = Callable[[Later], None]


class Transactions(Protocol):
    """Asked before each write that is not `within=` something: must it wait for a transaction of the application?

    The answer takes the jobs and calls `produce.commit` when the last transaction that was open has committed; None:
    write now.
    """

    def opened(self) -> Register | None:
        """For plain calls."""

    async def aopened(self) -> Register | None:
        """For calls inside an event loop."""


def later_of(handle: JobHandle[Any]) -> Later | None:
    """What holds the job of a handle back; None when it was written, or will never be."""
    seen = handle.__dict__.get("_later")
    later: Later | None = None if seen is None else seen()
    return later if later is not None and later.waits else None


def settle(handle: JobHandle[Any], receipt: Receipt) -> None:
    """Let a handle know what became of its job: it is new, or another one's that held its id or unique key."""
    handle.__dict__.update(id=receipt.id, ref=f"{handle.queue}/{receipt.id}", created=receipt.created)


def _fields(
    kit: QueueKit, task: str, queue: str, said: Mapping[str, Any], task_options: Mapping[str, object], version: int
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: said[name]
        for name in ("run_at", "delay", "lifo", "keep_completed", "keep_failed", "unique", "group")
        if name in said
    }
    layers = (said, task_options, kit.queue_options.get(queue, {}), kit.defaults)
    fields["priority"] = next((layer["priority"] for layer in layers if "priority" in layer), 10)
    if "expires" in said:
        kind, ms = said["expires"]
        fields["expires_at" if kind == "at" else "expires_in"] = ms
    return fields | {"task": task, "version": version, "options": options.pack(said)}
