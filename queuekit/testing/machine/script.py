"""Steps as text that runs: for a failure's message, and for the list of kept runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from enum import Enum

from queuekit.testing.machine.steps import Step, Trouble


def said(value: object) -> str:
    """Python that makes the value; what is at its default is left out."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        return f"({', '.join(map(said, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, bytes) and len(value) > 60:
        return f"{value[:1]!r} * {len(value)}" if value == value[:1] * len(value) else repr(value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return repr(value)
    parts = []
    for field in dataclasses.fields(value):
        now = getattr(value, field.name)
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if now != default:
            parts.append(f"{field.name}={said(now)}")
    return f"{type(value).__name__}({', '.join(parts)})"


def script(steps: Sequence[Step], name: str = "steps") -> str:
    """A list of steps, one a line, to be pasted into a file of kept runs."""
    lines = "".join(f"    {said(step)},\n" for step in steps)
    return f"{name} = [\n{lines}]"


def troubled(step: Step) -> bool:
    """Whether the driver is troubled, so that what is answered may be a repeat's."""
    return step.trouble not in (Trouble.NONE, Trouble.TWICE)
