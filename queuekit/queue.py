"""`Queue`: jobs by a task's name, without importing its handler, and what an operator does to a queue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from queuekit import clock
from queuekit.domain import names, options
from queuekit.domain.duration import Duration, parse_duration
from queuekit.domain.events import JobEvent, JobFact
from queuekit.domain.limits import Limits, QueueConf, checked
from queuekit.domain.state import State
from queuekit.domain.typed import JobOptions, QueueOptions
from queuekit.domain.values import JSON
from queuekit.errors import Conflict, InvalidOption, Moved
from queuekit.handle import JobHandle
from queuekit.producing import produce, seeking
from queuekit.producing.access import Entry
from queuekit.producing.definition import Definition
from queuekit.producing.limiting import limits_from
from queuekit.producing.newjob import LateJob, NewJob, Template
from queuekit.producing.payload import encode_object

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_TRIES = 50  # of a compare-and-set; each loser means that somebody else's write was kept
_STEP = 1000  # jobs one store call removes
_TEMPLATES_KEPT = 4096  # a queue each tenant must not grow a process for ever
_NONE: Mapping[str, object] = {}


class Queue:
    """A named line of jobs. Making one asks nothing; every verb has a twin with an "a" in front."""

    name: str

    def __init__(self, kit: QueueKit, name: str) -> None:
        self.name = names.queue_name(name)
        self._kit = kit

    # ------------------------------------------------------------ producing
    def enqueue(self, task: str, payload: object = _NONE, **options: Unpack[JobOptions]) -> JobHandle[JSON]:
        """Write a job by its task's name; the result is plain JSON.

        The payload is a JSON object of named arguments, a model or a dataclass; it is validated where this process
        knows the task. Raises PayloadError, PayloadTooLarge, InvalidName, InvalidOption, QueueFull, StoreUnavailable.
        """
        return produce.send(self._kit, *self._made(task, payload, options))

    async def aenqueue(self, task: str, payload: object = _NONE, **options: Unpack[JobOptions]) -> JobHandle[JSON]:
        """See `enqueue`."""
        return await produce.asend(self._kit, *self._made(task, payload, options))

    def make(self, task: str, payload: object = _NONE, **options: Unpack[JobOptions]) -> NewJob[JSON]:
        """The same without writing it: for `enqueue_many`, `kit.schedule`. Reads no settings that nobody read yet."""
        if self._kit.settled:
            template, body = self._made(task, payload, options)
            return template.new(body)
        definition, body = self._encoded(task, payload)
        said = self._said(options)

        def template_in(kit: QueueKit | None) -> Template:
            return self._template(kit or self._kit, task, said, definition)

        queue = str(said.get("queue", self.name))
        return LateJob(queue, names.task_name(task), body, said, template_in, typed=False)

    # ------------------------------------------------------------ operating
    def configure(self, **options: Unpack[QueueOptions]) -> None:
        """Set limits by hand, above what code declares; they survive deploys until `reset`, or until the declaration of
        that limit itself changes.

        Takes lease, concurrency, global_concurrency, rate, max_size, max_crashes, keep_completed, keep_failed,
        profile. Raises InvalidOption for others (those belong to code), Unsupported where the store cannot limit.
        """
        layer = limits_from(options, self.name)
        self._kit.run(lambda at: self._override(at, lambda now: _over(now, layer)))

    async def aconfigure(self, **options: Unpack[QueueOptions]) -> None:
        """See `configure`."""
        layer = limits_from(options, self.name)
        await self._kit.arun(lambda at: self._override(at, lambda now: _over(now, layer)))

    def reset(self) -> None:
        """Drop what was set by hand; a pause stays until `resume`."""
        self._kit.run(lambda at: self._override(at, lambda now: Limits(paused=now.paused)))

    async def areset(self) -> None:
        """See `reset`."""
        await self._kit.arun(lambda at: self._override(at, lambda now: Limits(paused=now.paused)))

    def pause(self, reason: str = "") -> None:
        """Stop claims, over all workers; what runs goes on, enqueue is taken. Survives deploys."""
        self._kit.run(lambda at: self._pause(at, reason))

    async def apause(self, reason: str = "") -> None:
        """See `pause`."""
        await self._kit.arun(lambda at: self._pause(at, reason))

    def resume(self) -> None:
        """Let claims go on."""
        self._kit.run(lambda at: self._pause(at, None))

    async def aresume(self) -> None:
        """See `resume`."""
        await self._kit.arun(lambda at: self._pause(at, None))

    def prune(self, state: State, *, older_than: Duration = 0, limit: int = 1000) -> int:
        """Remove up to `limit` jobs that entered the state more than `older_than` ago, oldest first; how many.

        `prune(State.WAITING)` empties the queue of waiting jobs. Raises InvalidOption for active ones.
        """
        age = parse_duration(older_than)
        return self._kit.run(lambda at: self._prune(at, State(state), age, limit))

    async def aprune(self, state: State, *, older_than: Duration = 0, limit: int = 1000) -> int:
        """See `prune`."""
        age = parse_duration(older_than)
        return await self._kit.arun(lambda at: self._prune(at, State(state), age, limit))

    def obliterate(self, *, confirm: str, force: bool = False) -> int:
        """Remove every job and the queue's own records; how many jobs. `confirm` must be the queue's name.

        Raises InvalidOption for another name, Conflict while jobs are active unless `force`.
        """
        self._confirm(confirm)
        return self._kit.run(lambda at: self._obliterate(at, force))

    async def aobliterate(self, *, confirm: str, force: bool = False) -> int:
        """See `obliterate`."""
        self._confirm(confirm)
        return await self._kit.arun(lambda at: self._obliterate(at, force))

    def conf(self) -> QueueConf:
        """The stored configuration, both layers."""
        return self._kit.run(lambda at: at.ask(partial(at.store.conf, self.name)))

    async def aconf(self) -> QueueConf:
        """See `conf`."""
        return await self._kit.arun(lambda at: at.ask(partial(at.store.conf, self.name)))

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} of kit {self._kit.name!r}>"

    # ------------------------------------------------------------ once for both
    def _made(self, task: str, payload: object, given: Mapping[str, Any]) -> tuple[Template, bytes]:
        definition, body = self._encoded(task, payload)
        if not given:
            template = self._kit.templates.get((self.name, task))
            if template is not None and template.rev == self._kit.revision:
                return template, body
        template = self._template(self._kit, task, self._said(given), definition)
        if not given:
            if len(self._kit.templates) >= _TEMPLATES_KEPT:
                self._kit.templates.clear()
            self._kit.templates[self.name, task] = template
        return template, body

    def _encoded(self, task: str, payload: object) -> tuple[Definition | None, bytes]:
        definition = self._kit.definition(task)
        return definition, encode_object(payload) if definition is None else definition.encode_payload(payload)

    def _said(self, given: Mapping[str, Any]) -> dict[str, object]:
        return options.parse("job", given, f"queue {self.name!r}") if given else {}

    def _template(self, kit: QueueKit, task: str, said: Mapping[str, Any], definition: Definition | None) -> Template:
        return Template(
            kit,
            names.task_name(task),
            str(said.get("queue", self.name)),
            said,
            _NONE if definition is None else definition.options,
            version=1 if definition is None else definition.version,
            typed=False,
        )

    async def _override(self, at: Entry, edit: Callable[[Limits], Limits]) -> None:
        from queuekit.producing.person import who  # here: whoever only enqueues needs no name

        by, own = who(), at
        for _ in range(_TRIES):
            conf = await at.ask(partial(at.store.conf, self.name))
            layer = dataclasses.replace(edit(conf.override), by=by, at=clock.now_ms())
            wanted = dataclasses.replace(conf, override=layer)
            try:
                await at.ask(partial(at.store.configure, self.name, wanted))
            except Conflict:
                continue  # somebody else wrote between the two calls: edit theirs
            except Moved:
                at = await seeking.home(self._kit.access, own, self.name)
                continue
            return
        raise Conflict(f"the configuration of queue {self.name!r} changes all the time: {_TRIES} tries lost")

    async def _pause(self, at: Entry, reason: str | None) -> None:
        await self._override(at, lambda now: dataclasses.replace(now, paused=reason))
        event: JobEvent = "resumed" if reason is None else "paused"
        if self._kit.hooks.wants(event):
            self._kit.hooks.emit(event, JobFact(event=event, at=clock.now(), queue=self.name))

    async def _prune(self, at: Entry, state: State, age: int, limit: int) -> int:
        removed, more = 0, True
        while more and removed < limit:
            step = min(_STEP, limit - removed)
            gone, more = await at.ask(partial(at.store.prune, self.name, state=state, older_than=age, limit=step))
            removed += gone
        return removed

    async def _obliterate(self, at: Entry, force: bool) -> int:
        removed, more = 0, True
        while more:
            gone, more = await at.ask(partial(at.store.obliterate, self.name, force=force, limit=_STEP))
            removed += gone
        return removed

    def _confirm(self, confirm: str) -> None:
        if confirm != self.name:
            raise InvalidOption(
                f"obliterate removes every job of {self.name!r}: say confirm={self.name!r}, not {confirm!r}"
            )


def _over(now: Limits, layer: Limits) -> Limits:
    """What was said before, with what is said now above it."""
    said = {f.name: getattr(layer, f.name) for f in dataclasses.fields(Limits) if getattr(layer, f.name) != f.default}
    return checked(dataclasses.replace(now, **said))
