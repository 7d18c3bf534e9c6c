"""What people and scripts see: tables, fields, JSON, messages. Text that came from a job is made harmless here."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from queuekit.clock import now
from queuekit.domain.duration import format_duration

_UNSEEN: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, format (bidi), surrogate, private, separators
WIDE: Final = 100_000  # columns where nobody reads: a pipe must not be cut


def clean(text: object, limit: int | None = None) -> str:
    """One line that cannot steer a terminal: every control, bidi or surrogate character is written as an escape."""
    plain = str(text)
    if not plain.isascii() or not plain.isprintable():
        plain = "".join(_escape(c) if unicodedata.category(c) in _UNSEEN else c for c in plain)
    return plain if limit is None or len(plain) <= limit else plain[: limit - 1] + "…"


def clean_lines(text: str) -> str:
    """As `clean`, but lines stay lines: for tracebacks and payloads."""
    return "\n".join(clean(line) for line in text.replace("\t", "    ").split("\n"))


def show_json(value: object) -> None:
    """One JSON document on standard output, ASCII only: it is safe for every terminal and every locale."""
    print(json.dumps(value, default=_plain, indent=2 if sys.stdout.isatty() else None), flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Aligned columns. On a terminal long cells are cut to its width, in a pipe nothing is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tty = sys.stdout.isatty()
    numbers = set(right)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold" if tty else "")
    for name in headers:
        shown.add_column(
            name.upper(), justify="right" if name in numbers else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        shown.add_row(*(Text("-" if cell is None else clean(cell)) for cell in row))
    Console(width=None if tty else WIDE, highlight=False, soft_wrap=not tty).print(shown)


def fields(pairs: Mapping[str, object]) -> None:
    """`name: value` lines; values of several lines are indented below their name."""
    width = max((len(name) for name in pairs), default=0) + 2
    for name, value in pairs.items():
        text = clean_lines(str(value)) if value is not None else "-"
        first, *rest = text.split("\n")
        say(f"{name + ':':<{width}}{first}")
        for line in rest:
            say(" " * width + line)


def say(text: str) -> None:
    """A line on standard output."""
    print(text, flush=True)


def tell(text: str) -> None:
    """A line for people on standard error: it never mixes with what a script reads."""
    print(text, file=sys.stderr, flush=True)


def when(moment: datetime | None) -> str:
    """A moment as people read it: local time, and how far away."""
    if moment is None:
        return "-"
    away = moment - now()
    span = ago(abs(away))
    far = f"in {span}" if away > timedelta(0) else f"{span} ago"
    return f"{moment.astimezone().strftime('%Y-%m-%d %H:%M:%S')} ({far})"


def listed(value: object) -> object:
    """Several values as people write them: `a, b` and `k=v, k=v`; anything else as it is."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or None
    return ", ".join(map(str, value)) or None if isinstance(value, (list, tuple)) else value


def ago(span: timedelta | None) -> str:
    """A duration in its two largest units."""
    if span is None:
        return "-"
    ms = int(span / timedelta(milliseconds=1))
    if ms < 1000:
        return f"{ms}ms"
    whole = ms // 1000
    for size in (86_400, 3600, 60):
        if whole >= size * 60 or (size == 86_400 and whole >= size * 2):
            whole -= whole % size
            break
    return format_duration(whole * 1000)


def span(seconds: float) -> str:
    """Seconds as people read them: two units at most, none below a second."""
    return ago(timedelta(seconds=max(1, round(seconds))))


def _escape(char: str) -> str:
    point = ord(char)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)
