"""The list of call sites of a mover, taken from its own calls, and the kill at one of them.

A site is where a store of the mover calls its driver: which side, for which verb of the seam, from which function of
`queuekit/move`, with which kind of call. The model store has no driver: there a site is the verb itself.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, cast

from queuekit.move.end import End
from queuekit.store.parts import MovingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.faults.port import HANDS

ENGINE = "queuekit.move"
DOORS = frozenset({"ask", "_fenced", "<lambda>"} | {name for name in vars(End) if not name.startswith("_")})
_step: ContextVar[str] = ContextVar("queuekit_mover_step", default="")


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One call site, and which of its calls: 1 is the first that a process makes there."""

    side: str
    step: str  # the verb, and what tells its uses apart: authority.moving, checkout.history
    where: str = ""  # the function of the engine; "": whichever, and whatever call
    call: str = ""  # of the driver
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.side}.{self.step} in {self.where}: {self.call} #{self.nth}"


@dataclass(frozen=True, slots=True)
class Aim:
    """Before or after which call the mover dies."""

    site: Site
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.site}"


class Killed(BaseException):
    """The mover of a test in one process died here: no handler of the engine's may go on."""


def sigkill() -> NoReturn:
    """This process ends now, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError("unreachable")


def drop() -> NoReturn:
    """The mover of a test in one process ends now."""
    raise Killed


class Watch:
    """What one mover does: every call counted, and at one of them something happens: it dies, or waits."""

    def __init__(self, aim: Aim | None = None, act: Callable[[], None] = sigkill) -> None:
        self.aim = aim
        self.calls: Counter[Site] = Counter()  # of nth 0: how often
        self.steps: Counter[tuple[str, str]] = Counter()
        self.met = False
        self._act = act

    def sites(self, most: int = 3) -> set[Site]:
        """Every site that was met, each with its first calls."""
        return {
            Site(one.side, one.step, one.where, one.call, nth)
            for one, times in self.calls.items()
            for nth in range(1, min(times, most) + 1)
        }

    def before(self, side: str, call: str) -> Site:
        """A call begins."""
        self._stay_dead()
        found = Site(side, _step.get(), _caller(sys._getframe(1)), call, 0)
        self.calls[found] += 1
        site = Site(found.side, found.step, found.where, found.call, self.calls[found])
        self.steps[site.side, site.step] += 1
        self._meet(site, after=False)
        return site

    def after(self, site: Site) -> None:
        """It has been answered, and nobody has seen the answer."""
        self._stay_dead()
        self._meet(site, after=True)

    def _meet(self, site: Site, *, after: bool) -> None:
        aim = self.aim
        if aim is None or aim.after != after:
            return
        at = aim.site
        anywhere = not at.where and (at.side, at.step) == (site.side, site.step)
        if not self.met and (at == site or (anywhere and self.steps[site.side, site.step] >= at.nth)):
            self.met = True
            self._act()

    def _stay_dead(self) -> None:
        if self.met and self._act is drop:
            drop()


def watched(store: JobStore, side: str, watch: Watch) -> MovingStore:
    """The store, each of its calls told to `watch`."""
    return cast("MovingStore", _WatchedStore(store, side, watch))


class _WatchedStore:
    def __init__(self, inner: Any, side: str, watch: Watch) -> None:
        self.inner = inner
        self._side = side
        self._watch = watch
        through = getattr(inner, "through", None)
        self._driver = through is not None
        if through is not None:
            through(lambda port: _WatchedPort(port, side, watch))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def verb(*args: Any, **kwargs: Any) -> Any:
            before = _step.get()
            _step.set(step(name, args, kwargs))
            try:
                if self._driver or name in HANDS:
                    return await found(*args, **kwargs)
                await asyncio.sleep(0.001)  # the others go on between two calls, as they would beside a process
                site = self._watch.before(self._side, "call")
                answer = await found(*args, **kwargs)
                self._watch.after(site)
                return answer
            finally:
                _step.set(before)

        return verb


class _WatchedPort:
    def __init__(self, inner: Any, side: str, watch: Watch) -> None:
        self._inner = inner
        self._side = side
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in HANDS or not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            if _step.get() in ("", "open", "close"):
                return await found(*args, **kwargs)
            if name == "joined":  # a transaction: the calls inside are sites of their own
                work = args[0]
                args = (lambda port: work(_WatchedPort(port, self._side, self._watch)), *args[1:])
            kind = getattr(args[0], "name", name) if args and name == "script" else name
            site = self._watch.before(self._side, kind)
            answer = await found(*args, **kwargs)
            self._watch.after(site)
            return answer

        return call


def step(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The verb with what its arguments say of the phase."""
    if verb == "authority":
        home = kwargs.get("home", args[3] if len(args) > 3 else None)
        to = kwargs.get("to", args[4] if len(args) > 4 else None)
        return f"authority.{home}{'' if to is None else '.to'}"
    if verb == "checkout" and kwargs.get("history"):
        return "checkout.history"
    if verb == "unhold" and kwargs.get("lose"):
        return "unhold.lose"
    return verb


def _caller(frame: FrameType | None) -> str:
    """The function of the engine that asked for this call."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(f"{ENGINE}.") and frame.f_code.co_name not in DOORS:
            return f"{module.removeprefix(ENGINE).lstrip('.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "-"
