"""The two stores of `queuekit migrate`: which ones the command line means, opened, and told apart.

What is done with them is decided in `move`; nothing is guessed here.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote

from queuekit import QueueKit, Settings
from queuekit.domain.redact import redact
from queuekit.errors import ConfigError, InvalidOption, Unsupported
from queuekit.move.values import MovingStore, Side
from queuekit.settings import PROVIDERS, kind, side_names
from queuekit.store.registry import backend, schemes

FOREIGN: Final = ("bullmq", "bull", "agenda")
_VARIABLE: Final = {"redis": "REDIS_URL", "mongo": "MONGODB_URL", "sqlite": "QUEUEKIT_SQLITE_PATH"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The URLs of both sides, and what chose them."""

    source: str
    target: str
    source_by: str
    target_by: str

    def __str__(self) -> str:
        return f"{redact(self.source)} to {redact(self.target)}"


def pair(
    settings: Settings, source: str | None, target: str | None, source_url: str | None, target_url: str | None,
    *, gone: bool = False,
) -> Pair:  # fmt: skip
    """The stores that `--from`, `--to`, `--from-url` and `--to-url` mean. Raises ConfigError that says what to set.

    `gone`: the source need not be there any more.
    """
    one, one_by = _url(settings, "from", source, source_url, settings.from_url)
    other, other_by = _url(settings, "to", target, target_url, settings.to_url)
    if one == other:
        raise InvalidOption(
            f"both sides are {redact(one)} (--from by {one_by}, --to by {other_by}): there is nothing to move. "
            "Name the second one with --to-url"
        )
    for side, url in (("from", one), ("to", other)):
        if kind(url) == "memory":
            raise InvalidOption(f"--{side} memory: it lives inside one process, nobody else can reach its jobs")
    if not gone:
        _file_of(one)
    return Pair(one, other, one_by, other_by)


@asynccontextmanager
async def opened(settings: Settings, pair: Pair) -> AsyncIterator[tuple[Side, Side]]:
    """Both stores, open on the running loop. Raises InvalidOption where they are one, Unsupported where one cannot."""
    names = side_names(pair.source, pair.target)
    kits = [
        QueueKit(settings=dataclasses.replace(settings, url=url, chosen_by=by, notes=()))
        for url, by in ((pair.source, pair.source_by), (pair.target, pair.target_by))
    ]
    try:
        stores = [await kit.async_store() for kit in kits]
        for store, url in zip(stores, (pair.source, pair.target), strict=True):
            if "mover" not in store.capabilities.parts:
                raise Unsupported(f"{redact(url)}: jobs cannot be moved to or from this store (it has no part mover)")
        pongs = [await store.ping() for store in stores]
        if pongs[0].store_id == pongs[1].store_id:
            raise InvalidOption(
                f"{redact(pair.source)} and {redact(pair.target)} are one and the same store ({pongs[0].where}): "
                "there is nothing to move"
            )
        yield (
            Side(store=cast("MovingStore", stores[0]), name=names[0], namespace=settings.namespace),
            Side(store=cast("MovingStore", stores[1]), name=names[1], namespace=settings.namespace),
        )
    finally:
        for kit in kits:
            await kit.aclose()


@asynccontextmanager
async def alone(settings: Settings, pair: Pair) -> AsyncIterator[tuple[str, Side]]:
    """The target, open, and what it calls the source, which is gone and not asked."""
    names = side_names(pair.source, pair.target)
    kit = QueueKit(settings=dataclasses.replace(settings, url=pair.target, chosen_by=pair.target_by, notes=()))
    try:
        store = cast("MovingStore", await kit.async_store())
        yield names[0], Side(store=store, name=names[1], namespace=settings.namespace)
    finally:
        await kit.aclose()


def _url(settings: Settings, side: str, said: str | None, option: str | None, variable: str | None) -> tuple[str, str]:
    if said in FOREIGN:
        raise InvalidOption(
            f"--{side} {said}: jobs of {said} are read by a later queuekit; this one moves between its own stores: "
            "redis, mongo, sqlite, or a URL"
        )
    beside, beside_by = (option, f"--{side}-url") if option else (variable, f"QUEUEKIT_{side.upper()}_URL")
    if said is not None and "://" in said:
        if option:
            raise InvalidOption(f"--{side} is a URL already: leave --{side}-url away")
        return _known(said), f"--{side}"
    if said is None:
        if beside is None:
            raise InvalidOption(f"which store? Say --{side} redis, mongo, sqlite or a URL")
        return _known(beside), beside_by
    _provider(said)
    if beside is not None and kind(_known(beside)) == kind(said):
        return beside, beside_by
    if option:
        raise InvalidOption(f"--{side} {said}, but --{side}-url is {redact(option)}")
    choice = settings.named(said)
    if choice is not None:
        return choice.url, choice.chosen_by
    if kind(settings.url) == kind(said):
        return settings.url, settings.chosen_by
    known = f"{_VARIABLE[kind(said)]}, or say " if kind(said) in _VARIABLE else ""
    raise ConfigError(f"--{side} {said}: which one? Set {known}--{side}-url")


def _provider(name: str) -> None:
    known = [*PROVIDERS, *sorted(schemes().keys() - PROVIDERS.keys())]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidOption(f"{name!r} is no store: use redis, mongo, sqlite, or a URL.{hint}")


def _known(url: str) -> str:
    backend(url)  # raises UnknownProvider with the schemes there are, MissingExtra with the install line
    return url


def _file_of(source: str) -> None:
    """A file that is not there would be made, empty, and moved successfully."""
    scheme, _, rest = source.partition(":///")
    path = Path(unquote(rest.partition("?")[0]))
    if scheme == "sqlite" and not path.exists():
        raise InvalidOption(f"--from {redact(source)}: there is no file {path}")
