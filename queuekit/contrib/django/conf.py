"""`settings.QUEUEKIT`: what the project says, checked. What a kit reads of it is kept by the kit, not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.conf import settings

from queuekit.errors import ConfigError
from queuekit.settings.mapped import Mapped, mapped
from queuekit.settings.table import Given

OWN: Final = ("APP", "ON_COMMIT", "AUTODISCOVER")  # keys that Django alone knows


def said() -> Mapping[str, Any]:
    """The dict. Raises ConfigError where it is none."""
    found = getattr(settings, "QUEUEKIT", None)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"settings.QUEUEKIT: use a dict, not {type(found).__name__}")
    return found


def framework() -> Mapped:
    """What of it is not Django's own, for a kit's settings. Raises ConfigError, with the nearest name."""
    production = None if settings.DEBUG else "DEBUG=False"
    found = mapped(said(), show=_shown, style="short", extra=OWN, production=production)
    if not settings.is_overridden("TIME_ZONE") or not settings.TIME_ZONE:  # Django's own is Chicago, which nobody chose
        return found
    zone = Given(settings.TIME_ZONE, "settings.TIME_ZONE", from_file=False, mapped=True)
    return replace(found, defaults={"timezone": zone})


def app() -> str | None:
    """The project's own kit, as MODULE:ATTR."""
    return _text("APP", None)


def tasks_module() -> str | None:
    """The module of each installed app that registers tasks; None: none is looked for."""
    found = said().get("AUTODISCOVER", "tasks")
    return None if found is False or found is None else _text("AUTODISCOVER", "tasks")


def on_commit() -> bool | tuple[str, ...]:
    """Which databases' transactions a job waits for: of all, of none, or of these."""
    found = said().get("ON_COMMIT", True)
    if found is None or isinstance(found, bool):
        return found is not False
    aliases = (found,) if isinstance(found, str) else tuple(found) if isinstance(found, (list, tuple, set)) else ()
    if not aliases or not all(isinstance(alias, str) for alias in aliases):
        raise ConfigError(f"{_shown('ON_COMMIT')}={found!r}: use True, False, or aliases of DATABASES")
    unknown = sorted(set(aliases) - set(settings.DATABASES))
    if unknown:
        raise ConfigError(
            f"{_shown('ON_COMMIT')}: DATABASES has no {unknown[0]!r}, only {', '.join(sorted(settings.DATABASES))}"
        )
    return aliases


def _text(key: str, default: str | None) -> str | None:
    found = said().get(key) or default
    if found is not None and not isinstance(found, str):
        raise ConfigError(f"{_shown(key)}={found!r}: use text, not {type(found).__name__}")
    return found


def _shown(key: str) -> str:
    return f"settings.QUEUEKIT[{key!r}]"
