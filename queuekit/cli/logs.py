"""Log lines of the command line: text for people, JSON where nobody reads along.

Which lines there are is decided elsewhere.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from queuekit.cli.screen import clean
from queuekit.domain.redact import redact
from queuekit.errors import InvalidOption
from queuekit.settings import Settings

FACTS = ("queue", "job", "task", "attempt", "worker")


class TextLines(logging.Formatter):
    """`12:00:00 INFO    queuekit.runtime: …`, harmless for terminals and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(clean(line) for line in redact(super().format(record)).split("\n"))


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        line.update((name, value) for name, value in vars(record).items() if name in FACTS)
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def start(settings: Settings, *, lasting: bool, path: str | None = None, keep: bool = False) -> None:
    """Send log lines to standard error, or append them to `path`, as QUEUEKIT_LOG and QUEUEKIT_LOG_FORMAT say.

    With `keep`, what the program around us configured for our lines stays. Unless said, a command that lasts writes
    JSON where no terminal is; one that ends at once writes for people.
    Raises InvalidOption for a path that cannot be written.
    """
    if keep and (logging.getLogger().handlers or logging.getLogger("queuekit").handlers):
        return
    try:
        handler = logging.StreamHandler() if path is None else logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InvalidOption(f"--log-file {path}: {error.strerror}") from error
    read_along = path is None and sys.stderr.isatty()
    as_text = (settings.log_format or ("json" if lasting and not read_along else "text")) == "text"
    lines = TextLines("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    handler.setFormatter(lines if as_text else JsonLines())
    logging.getLogger().handlers[:] = [handler]
    for name, level in settings.log_levels.items():
        logging.getLogger(name).setLevel(level.upper())
