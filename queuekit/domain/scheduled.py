"""What stands in a schedule's `definition`: the job it makes, its rule, both layers of them, pause, anchor. No I/O.

JSON with a format number. Keys of a newer queuekit survive a change by this one; where they would have to be acted on,
SchemaMismatch is raised.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.values import JSON
from queuekit.errors import InvalidOption, QueueKitError, SchemaMismatch

if TYPE_CHECKING:
    from queuekit.domain.timetable import Timetable

Origin: TypeAlias = Literal["code", "file", "operator"]
FORMAT: Final = 1  # of a definition; a higher one is not read
_ODD: Final = (AttributeError, KeyError, TypeError, ValueError)  # what content of another shape raises
STRANDED: Final = 10_000  # ms: who has not ended a change of queue by then is dead
MANUAL: Final = "manual-"  # begins what stands behind the "@" of a job that a person fired
_NEWER = "was written by a newer queuekit: upgrade this process, it leaves the schedule alone until then"
_FORM = (
    "task", "body", "version", "priority", "delay", "lifo", "options", "keep_completed", "keep_failed", "unique",
    "group", "expires_in",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForm:
    """The job that each slot makes: a JobSpec without an id; times are counted from the slot."""

    task: str
    body: bytes
    version: int = 1
    priority: int = 10
    delay: int | None = None
    lifo: bool = False
    options: bytes = b""
    keep_completed: Retention | None = None
    keep_failed: Retention | None = None
    unique: UniqueKey | None = None
    group: str | None = None
    expires_in: int | None = None

    @classmethod
    def of(cls, spec: JobSpec, where: str) -> JobForm:
        """The form of a job that was made once. Raises InvalidOption for what cannot be said of many."""
        for said, name, use in (
            (spec.run_at, "run_at", "the rule says when: at=, start=, cron="),
            (spec.expires_at, "expires", 'say it from the slot, expires="1h"; the schedule itself ends with end='),
        ):
            if said is not None:
                raise InvalidOption(f"{where}: {name} is a moment, and a schedule makes many jobs: {use}")
        if spec.unique is not None and spec.unique.on_conflict == "error":
            raise InvalidOption(
                f'{where}: unique with on_conflict="error" has nobody to tell of the error: "existing" makes no job'
                ' while another holds the key, "replace" replaces it'
            )
        return cls(**{name: getattr(spec, name) for name in _FORM})

    def spec(self, id: str, slot: int, jitter: int = 0) -> JobSpec:
        """The job of one slot."""
        later = jitter + (self.delay or 0)
        return JobSpec(
            id=id, task=self.task, body=self.body, version=self.version, priority=self.priority, lifo=self.lifo,
            run_at=slot + later if later else None, options=self.options, keep_completed=self.keep_completed,
            keep_failed=self.keep_failed, unique=self.unique, group=self.group,
            expires_at=None if self.expires_in is None else slot + self.expires_in,
        )  # fmt: skip

    def to_json(self) -> dict[str, JSON]:
        """What differs from the defaults."""
        said: dict[str, JSON] = {"task": self.task, **_text("body", self.body)}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                said |= _text(name, value) if isinstance(value, bytes) else {name: _plain(value)}
        return said

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> JobForm:
        """What `to_json` wrote. Raises SchemaMismatch for what this queuekit does not know."""
        unknown = sorted(said.keys() - set(_FORM) - {"body64", "options64"})
        if unknown:
            raise SchemaMismatch(f"its job has {', '.join(unknown)}: it {_NEWER}")
        try:
            return cls(**_values(said))
        except (InvalidOption, *_ODD) as error:  # a word of an option that is not known here
            raise SchemaMismatch(f"its job cannot be read ({type(error).__name__}): it {_NEWER}") from None


_DEFAULTS: Final = {one.name: one.default for one in fields(JobForm) if one.name not in ("task", "body")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one side says: all of it for a declaration; for a person, what differs. None says nothing."""

    job: Mapping[str, JSON] | None = None
    rule: Mapping[str, JSON] | None = None
    by: str = ""  # the kit's name, or user@host
    at: int = 0
    origin: Origin = "operator"

    @property
    def digest(self) -> str:
        """Of what it says, not of who said it."""
        return hashlib.sha256(_bytes({"job": self.job, "rule": self.rule})).hexdigest()[:16]

    def to_json(self) -> dict[str, JSON]:
        said: dict[str, JSON] = {"by": self.by, "at": self.at, "origin": self.origin}
        return said | {k: v for k, v in (("job", self.job), ("rule", self.rule)) if v is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Who did something, when and why: paused it, or fired it by hand (`job`)."""

    by: str
    at: int
    reason: str = ""
    job: str | None = None

    def to_json(self) -> dict[str, JSON]:
        said: dict[str, JSON] = {"by": self.by, "at": self.at}
        return said | {k: v for k, v in (("reason", self.reason), ("job", self.job)) if v}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A change of queue that is under way: of the record that leaves (`queue`: where to), or of the one that comes
    (`queue`: where from; "": it is new). `rev` is the leaving record's, `next` what it had. Neither fires meanwhile:
    the `next` that such a record has itself is when others take its writer for dead, and go on (STRANDED).
    """

    queue: str
    rev: int = 0
    next: int | None = None

    def to_json(self) -> dict[str, JSON]:
        return {"queue": self.queue, "rev": self.rev, "next": self.next}


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A schedule's definition. At least one of the two layers says the job and the rule."""

    anchor: int  # ms; `every` counts from here, as long as the schedule lives
    declared: Layer | None = None
    override: Layer | None = None
    paused: Mark | None = None
    by_hand: Mark | None = None  # the last firing by a person
    leaving: Passage | None = None
    coming: Passage | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)  # of a newer queuekit

    @classmethod
    def load(cls, data: bytes) -> Definition:
        """What `dump` wrote. Raises SchemaMismatch."""
        try:
            said = json.loads(data)
            number = int(said["v"])
        except (ValueError, TypeError, KeyError, RecursionError):  # without what it says: that may be a payload
            raise SchemaMismatch(f"{len(data)} bytes that are no definition of a schedule") from None
        if number > FORMAT:
            raise SchemaMismatch(f"its definition has format {number}, and this queuekit reads {FORMAT}: it {_NEWER}")
        try:
            known = {name: kind(said[name]) for name, kind in _PARTS.items() if said.get(name) is not None}
            extra = {name: value for name, value in said.items() if name not in _PARTS and name not in ("v", "anchor")}
            return cls(anchor=int(said["anchor"]), extra=extra, **known)
        except _ODD as error:
            raise SchemaMismatch(f"its definition cannot be read ({type(error).__name__}): it {_NEWER}") from None

    def dump(self) -> bytes:
        """The same content gives the same bytes."""
        said: dict[str, JSON] = {**self.extra, "v": FORMAT, "anchor": self.anchor}
        for name in _PARTS:
            part = getattr(self, name)
            if part is not None:
                said[name] = part.to_json()
        return _bytes(said)

    # ------------------------------------------------------------ what holds
    @property
    def passing(self) -> bool:
        """Whether it is new, or changes its queue, and does not fire yet."""
        return self.leaving is not None or self.coming is not None

    @property
    def origin(self) -> Origin:
        """Who brought it into the world."""
        return "operator" if self.declared is None else self.declared.origin

    @property
    def rule(self) -> Mapping[str, JSON]:
        """The rule that holds, as Timetable writes it."""
        rule = self._said("rule")
        if rule is None:
            raise SchemaMismatch("its definition has no rule")
        return rule

    @cached_property
    def timetable(self) -> Timetable:
        """The rule that holds. Raises SchemaMismatch."""
        from queuekit.domain.timetable import Timetable

        try:
            return Timetable.from_json(self.rule)
        except (QueueKitError, KeyError, TypeError, ValueError) as error:
            raise SchemaMismatch(f"its rule cannot be read ({error}): it {_NEWER}") from error

    @cached_property
    def form(self) -> JobForm:
        """The job that holds. Raises SchemaMismatch."""
        job = self._said("job")
        if job is None:
            raise SchemaMismatch("its definition has no job")
        return JobForm.from_json(job)

    def job(self, id: str, slot: int) -> JobSpec:
        """The job of one slot of schedule `id`: `id@slot`."""
        from queuekit.domain.timetable import slot_name

        return self.form.spec(f"{id}@{slot_name(slot)}", slot, self.timetable.jitter_of(id, slot))

    def job_by_hand(self, id: str, now: int, suffix: str) -> JobSpec:
        """The job that a person fires now."""
        return self.form.spec(f"{id}@{MANUAL}{suffix}", now)

    def _said(self, part: Literal["job", "rule"]) -> Mapping[str, JSON] | None:
        for layer in (self.override, self.declared):
            value = None if layer is None else getattr(layer, part)
            if value is not None:
                said: Mapping[str, JSON] = value
                return said
        return None

    # ------------------------------------------------------------ changes
    def redeclared(self, declared: Layer) -> Definition:
        """With a new declaration. What a person said falls where the declaration of that very part changed; a pause
        never falls.
        """
        before, over = self.declared, self.override
        if before is not None and over is not None:
            fallen = {part: None for part in ("job", "rule") if getattr(before, part) != getattr(declared, part)}
            over = replace(over, **fallen)  # type: ignore[arg-type]  # parts of Layer by name
        return replace(self, declared=declared, override=_different(over, declared))

    def overridden(self, layer: Layer) -> Definition:
        """With what a person says; where the declaration says the same, the person's word is not needed."""
        return replace(self, override=_different(layer, self.declared))


def _different(over: Layer | None, declared: Layer | None) -> Layer | None:
    """The override without what the declaration says too; None where nothing is left."""
    if over is None or declared is None:
        return over
    job = None if over.job == declared.job else over.job
    rule = None if over.rule == declared.rule else over.rule
    return None if job is None and rule is None else replace(over, job=job, rule=rule)


def _values(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a JobForm is made of."""
    values = {name: value for name, value in said.items() if not name.endswith("64")}
    for name in ("body", "options"):
        if f"{name}64" in said:
            values[name] = base64.b64decode(said[f"{name}64"])
        elif name in said:
            values[name] = said[name].encode()
    for name in ("keep_completed", "keep_failed"):
        if name in values:
            values[name] = Retention.parse(values[name])
    if "unique" in values:
        values["unique"] = UniqueKey(**values["unique"])
    return values


def _known(kind: type[Any]) -> Any:
    names = {one.name for one in fields(kind)}

    def read(said: Mapping[str, Any]) -> Any:
        unknown = sorted(said.keys() - names)
        if unknown:
            raise SchemaMismatch(f"its definition has {', '.join(unknown)} in a {kind.__name__.lower()}: it {_NEWER}")
        return kind(**said)

    return read


_PARTS: Final[Mapping[str, Any]] = {
    "declared": _known(Layer), "override": _known(Layer), "paused": _known(Mark), "by_hand": _known(Mark),
    "leaving": _known(Passage), "coming": _known(Passage),
}  # fmt: skip


def _text(name: str, data: bytes) -> dict[str, JSON]:
    """Bytes as readable text where that is no longer than base64."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    coded = base64.b64encode(data).decode()
    if text is not None and len(json.dumps(text, ensure_ascii=False).encode()) <= len(coded) + 64:
        return {name: text}
    return {f"{name}64": coded}


def _plain(value: Any) -> JSON:
    if isinstance(value, Retention):
        return value.label
    if isinstance(value, UniqueKey):
        return {one.name: getattr(value, one.name) for one in fields(value) if getattr(value, one.name) != one.default}
    said: JSON = value
    return said


def _bytes(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
