"""`Queue` with Bull's verbs, and `get_queue`. Each verb is one or two calls of the public API."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

from queuekit import InvalidOption, NewJob, Page, QueueHealth, QueueKit, State, clock
from queuekit import Queue as PublicQueue
from queuekit.compat.bull import schedulers
from queuekit.compat.bull.events import Listener, listen
from queuekit.compat.bull.job import Job
from queuekit.compat.bull.options import parse_bull_options, parse_default_job_options, snake
from queuekit.compat.bull.schedulers import JobScheduler
from queuekit.compat.current import current
from queuekit.compat.door import Awaiting, Blocking
from queuekit.domain import names
from queuekit.store.direct import direct

F = TypeVar("F", bound=Callable[..., object])
Options: TypeAlias = Mapping[str, Any]
_STATES = {"wait": State.WAITING, "paused": State.WAITING, "waiting-children": State.BLOCKED}
_COUNTED = ("waiting", "active", "completed", "failed", "delayed")
_ALL = 10**9  # jobs: no limit


class Queue:
    """A queue by name; making one asks nothing. Verbs that ask the store have a twin with an "a" in front."""

    def __init__(self, name: str, options: Options | None = None, *, kit: QueueKit | None = None) -> None:
        self.name = names.queue_name(name)
        self.default_job_options = parse_default_job_options(options)
        self._kit = kit

    @property
    def kit(self) -> QueueKit:
        """The kit it works through."""
        return self._kit or current()

    @property
    def queue(self) -> PublicQueue:
        """The same queue in the public API."""
        return self.kit.queue(self.name)

    # ------------------------------------------------------------ adding
    def add(self, name: str, data: Any = None, options: Options | None = None) -> Job[Any]:
        """Write a job; with the id of one that is there, that one stands (`created` False).

        With a `repeat`, a schedule of such jobs: the answer is the next one, which is not there before its moment
        (`created` None). Raises PayloadError, InvalidOption with the nearest name, StoreUnavailable.
        """
        given, now = self.given(options), clock.now_ms()
        if "repeat" in given:
            return direct(schedulers.write(self._blocking, self, schedulers.repeated(self, name, data, given)))
        handle = self.queue.enqueue(name, _data(data), **parse_bull_options(given))
        return Job(handle, name, data, opts=given, added=now)

    async def aadd(self, name: str, data: Any = None, options: Options | None = None) -> Job[Any]:
        """See `add`."""
        given, now = self.given(options), clock.now_ms()
        if "repeat" in given:
            return await schedulers.write(self._awaiting, self, schedulers.repeated(self, name, data, given))
        handle = await self.queue.aenqueue(name, _data(data), **parse_bull_options(given))
        return Job(handle, name, data, opts=given, added=now)

    def add_bulk(self, jobs: Iterable[Options]) -> list[Job[Any]]:
        """Write jobs, each `{name, data, opts}`: all of up to 1,000 or none of them."""
        made, now = list(map(self._made, jobs)), clock.now_ms()
        handles = self.kit.enqueue_many([new for new, _, _ in made])
        return [_added(handle, one, now) for handle, one in zip(handles, made, strict=True)]

    async def aadd_bulk(self, jobs: Iterable[Options]) -> list[Job[Any]]:
        """See `add_bulk`."""
        made, now = list(map(self._made, jobs)), clock.now_ms()
        handles = await self.kit.aenqueue_many([new for new, _, _ in made])
        return [_added(handle, one, now) for handle, one in zip(handles, made, strict=True)]

    # ------------------------------------------------------------ again and again
    def upsert_job_scheduler(self, id: str, repeat: Options, template: Options | None = None) -> Job[Any]:
        """A job scheduler of this queue, written or changed: `repeat` says when, `template` {name, data, opts} what.

        Answers with the next job, which is not there before its moment. `every` begins at once where it is new.
        Raises InvalidOption, PayloadError, StoreUnavailable.
        """
        return direct(schedulers.write(self._blocking, self, schedulers.upserted(self, id, repeat, template)))

    async def aupsert_job_scheduler(self, id: str, repeat: Options, template: Options | None = None) -> Job[Any]:
        """See `upsert_job_scheduler`."""
        return await schedulers.write(self._awaiting, self, schedulers.upserted(self, id, repeat, template))

    def get_job_scheduler(self, id: str) -> JobScheduler | None:
        """One of this queue; schedules that code or queuekit.toml declare go by their own ids."""
        return direct(schedulers.get(self._blocking, self, id))

    async def aget_job_scheduler(self, id: str) -> JobScheduler | None:
        """See `get_job_scheduler`."""
        return await schedulers.get(self._awaiting, self, id)

    def get_job_schedulers(self, start: int = 0, end: int = -1, asc: bool = False) -> list[JobScheduler]:
        """All of this queue, by their next moment: the latest first, unless `asc`. Repeated jobs are among them."""
        return direct(schedulers.listing(self._blocking, self, start, end, asc))

    async def aget_job_schedulers(self, start: int = 0, end: int = -1, asc: bool = False) -> list[JobScheduler]:
        """See `get_job_schedulers`."""
        return await schedulers.listing(self._awaiting, self, start, end, asc)

    def remove_job_scheduler(self, id: str) -> bool:
        """Delete one; jobs it has made stay. False where there is none."""
        return direct(schedulers.remove(self._blocking, self, id))

    async def aremove_job_scheduler(self, id: str) -> bool:
        """See `remove_job_scheduler`."""
        return await schedulers.remove(self._awaiting, self, id)

    get_repeatable_jobs, aget_repeatable_jobs = get_job_schedulers, aget_job_schedulers
    remove_repeatable_by_key, aremove_repeatable_by_key = remove_job_scheduler, aremove_job_scheduler

    def remove_repeatable(self, name: str, repeat: Options, job_id: str | None = None) -> bool:
        """Delete what `add(name, …, {"repeat": repeat})` began."""
        return self.remove_job_scheduler(schedulers.key_of(name, repeat, job_id))

    async def aremove_repeatable(self, name: str, repeat: Options, job_id: str | None = None) -> bool:
        """See `remove_repeatable`."""
        return await self.aremove_job_scheduler(schedulers.key_of(name, repeat, job_id))

    # ------------------------------------------------------------ looking
    def get_job(self, id: str) -> Job[Any] | None:
        """A job by id, None where there is none (any more)."""
        handle = self.kit.job(str(id), queue=self.name)
        seen = handle.get()
        return None if seen is None else Job.seen(handle, seen)

    async def aget_job(self, id: str) -> Job[Any] | None:
        """See `get_job`."""
        handle = self.kit.job(str(id), queue=self.name)
        seen = await handle.aget()
        return None if seen is None else Job.seen(handle, seen)

    def get_jobs(self, types: str | Iterable[str], start: int = 0, end: int = -1) -> list[Job[Any]]:
        """Jobs of these states, of each from `start` to `end` (inclusive, -1: all). Reads past all before `start`."""

        async def find(**where: Any) -> Page:
            return self.kit.find(**where)

        return direct(self._listed(find, types, start, end))

    async def aget_jobs(self, types: str | Iterable[str], start: int = 0, end: int = -1) -> list[Job[Any]]:
        """See `get_jobs`."""
        return await self._listed(self.kit.afind, types, start, end)

    def get_job_counts(self, *types: str) -> dict[str, int]:
        """How many jobs are waiting, active, completed, failed, delayed; or of the states named."""
        return _counts(self.kit.health(self.name)[self.name], types)

    async def aget_job_counts(self, *types: str) -> dict[str, int]:
        """See `get_job_counts`."""
        return _counts((await self.kit.ahealth(self.name))[self.name], types)

    def count(self) -> int:
        """How many jobs wait or are delayed."""
        return sum(self.get_job_counts("waiting", "delayed").values())

    async def acount(self) -> int:
        """See `count`."""
        return sum((await self.aget_job_counts("waiting", "delayed")).values())

    def is_paused(self) -> bool:
        """Whether somebody paused it."""
        return self.kit.health(self.name)[self.name].paused is not None

    async def ais_paused(self) -> bool:
        """See `is_paused`."""
        return (await self.kit.ahealth(self.name))[self.name].paused is not None

    # ------------------------------------------------------------ operating
    def pause(self) -> None:
        """Stop claims, over all workers; what runs goes on."""
        self.queue.pause()

    async def apause(self) -> None:
        """See `pause`."""
        await self.queue.apause()

    def resume(self) -> None:
        """Let claims go on."""
        self.queue.resume()

    async def aresume(self) -> None:
        """See `resume`."""
        await self.queue.aresume()

    def remove(self, id: str) -> bool:
        """Delete a job; False while it runs, or where there is none."""
        return self.kit.job(str(id), queue=self.name).delete()

    async def aremove(self, id: str) -> bool:
        """See `remove`."""
        return await self.kit.job(str(id), queue=self.name).adelete()

    def clean(self, grace: float, limit: int = 1000, type: str = "completed") -> int:
        """Delete jobs that entered a state more than `grace` ms ago; `limit` 0 is none. How many, not which."""
        return self.queue.prune(_state(type), older_than=grace / 1000, limit=limit or _ALL)

    async def aclean(self, grace: float, limit: int = 1000, type: str = "completed") -> int:
        """See `clean`."""
        return await self.queue.aprune(_state(type), older_than=grace / 1000, limit=limit or _ALL)

    def drain(self, delayed: bool = False) -> int:
        """Delete all waiting jobs, with `delayed` those too; how many."""
        states = [State.WAITING, *([State.DELAYED] if delayed else [])]
        return sum(self.queue.prune(state, limit=_ALL) for state in states)

    async def adrain(self, delayed: bool = False) -> int:
        """See `drain`."""
        states = [State.WAITING, *([State.DELAYED] if delayed else [])]
        return sum([await self.queue.aprune(state, limit=_ALL) for state in states])

    def obliterate(self, *, force: bool = False) -> int:
        """Delete every job and the queue's own records; with `force` while jobs are active, too."""
        return self.queue.obliterate(confirm=self.name, force=force)

    async def aobliterate(self, *, force: bool = False) -> int:
        """See `obliterate`."""
        return await self.queue.aobliterate(confirm=self.name, force=force)

    def close(self) -> None:
        """Close this process's store, for all queues of the kit; the next use opens it again."""
        self.kit.close()

    async def aclose(self) -> None:
        """See `close`."""
        await self.kit.aclose()

    # ------------------------------------------------------------ hearing
    @overload
    def on(self, event: str, /) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, fn: F, /) -> F: ...
    def on(self, event: str, fn: Any = None, /) -> Any:
        """Tell `fn` what happens to jobs of this queue in this process; `@queue.on("failed")` will do, too."""
        if fn is None:
            return lambda fn: self.on(event, fn)
        listen(self.kit, self.name, Listener(event, fn))
        return fn

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    @property
    def _blocking(self) -> Blocking:
        return Blocking(self.kit)

    @property
    def _awaiting(self) -> Awaiting:
        return Awaiting(self.kit)

    def given(self, options: Options | None) -> dict[str, Any]:
        """The job's options over the queue's defaults."""
        own = snake(options)
        if len(own) != len(options or {}):
            parse_bull_options(options)  # says which is given in both spellings
        if own.get("repeat", own) is None:
            del own["repeat"]  # undefined in JavaScript
        return {**self.default_job_options, **own}

    def _made(self, job: Options) -> tuple[NewJob[Any], Any, dict[str, Any]]:
        unknown = sorted(job.keys() - {"name", "data", "opts", "options"})
        if unknown or "name" not in job:
            raise InvalidOption(f"a job of add_bulk has name, data and opts, not {', '.join(unknown) or 'no name'}")
        given = self.given(job.get("opts", job.get("options")))
        if "repeat" in given:
            raise InvalidOption("add_bulk writes jobs: begin what repeats with add or upsert_job_scheduler, one by one")
        new = self.queue.make(job["name"], _data(job.get("data")), **parse_bull_options(given))
        return new, job.get("data"), given

    async def _listed(
        self, find: Callable[..., Awaitable[Page]], types: str | Iterable[str], start: int, end: int
    ) -> list[Job[Any]]:
        jobs: list[Job[Any]] = []
        for word in [types] if isinstance(types, str) else types:
            seen, cursor = 0, ""
            while end < 0 or seen <= end:
                more = {"cursor": cursor} if cursor else {}
                page = await find(queue=self.name, state=_state(word), limit=1000, **more)
                for n, job in enumerate(page.jobs, seen):
                    if n >= start and (end < 0 or n <= end):
                        jobs.append(Job.seen(self.kit.job(job.id, queue=self.name), job))
                seen, cursor = seen + len(page.jobs), page.cursor or ""
                if not cursor:
                    break
        return jobs


_own: dict[str, Queue] = {}  # of the current kit, whichever that is when they are used
_of_kits: weakref.WeakKeyDictionary[QueueKit, dict[str, Options]] = weakref.WeakKeyDictionary()


def get_queue(name: str, options: Options | None = None, *, kit: QueueKit | None = None) -> Queue:
    """The queue of a name, or of a StrEnum's member. `options` are Bull's `{defaultJobOptions: {…}}`.

    What was said of a queue once holds for everybody who gets it in this process, until it is said again.
    """
    plain = names.queue_name(name)
    if kit is None:
        if options is not None or plain not in _own:
            made = Queue(plain, options)
            known = _own.setdefault(plain, made)
            known.default_job_options = made.default_job_options
        return _own[plain]
    said = _of_kits.setdefault(kit, {})
    if options is not None:
        parse_default_job_options(options)
        said[plain] = options
    return Queue(plain, said.setdefault(plain, {}), kit=kit)


def named_queues(kit: QueueKit | None) -> list[str]:
    """The queues that were got here by name."""
    return list(_own if kit is None else _of_kits.get(kit, ()))


def _data(data: Any) -> Any:
    return {} if data is None else data


def _added(handle: Any, made: tuple[NewJob[Any], Any, dict[str, Any]], now: int) -> Job[Any]:
    return Job(handle, made[0].task, made[1], opts=made[2], added=now)


def _state(word: str) -> State:
    try:
        return _STATES.get(word) or State(word)
    except ValueError:
        raise InvalidOption(f"no state {word!r}; there are: {', '.join([*State, *_STATES])}") from None


def _counts(health: QueueHealth, types: tuple[str, ...]) -> dict[str, int]:
    for word in types:
        if _state(word) not in (*_COUNTED, "blocked", "parked"):
            raise InvalidOption(f"jobs are not counted by {word!r}; counted are: {', '.join(_COUNTED)}")
    return {word: int(getattr(health, _state(word).value)) for word in types or _COUNTED}
