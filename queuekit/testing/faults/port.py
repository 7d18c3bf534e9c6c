"""One proxy over any driver port, and one over any store, which tells the port for which verb it is called.

A port is whatever a store hands to `through`: its coroutine methods are its calls. Proxies by `__getattr__`, because
ports of three drivers and of third parties share only that.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

from queuekit.errors import StoreUnavailable
from queuekit.store.protocol import JobStore
from queuekit.testing.faults.plan import CHAOS, Call, Fault, Faults, Injected

_verb: ContextVar[str] = ContextVar("queuekit_faulty_verb", default="")
HANDS: Final = frozenset({"open", "close", "sleep", "park", "hang_up", "stop_watching"})  # no call to a server
SEVERAL: Final = {"commands": 0, "bulk": 1, "insert": 1}  # calls of several statements: which argument holds them
Send = Callable[..., Awaitable[Any]]


@dataclass(slots=True)
class Held:
    """A request on its way, to arrive before the call number `due`, or behind a release."""

    send: Callable[[], Awaitable[Any]]
    due: int | None
    released: int


class FaultyPort:
    """A port whose calls go wrong as a plan says. All else is the inner port's."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self._held: list[Held] = []
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in HANDS or not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self.send(name, found, args, kwargs)

        return call

    async def send(self, name: str, found: Send, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call, or what becomes of it."""
        self._calls += 1
        await self._arrive()
        at = SEVERAL.get(name)
        kind = getattr(args[0], "name", name) if args and name == "script" else name
        met = self._faults.meet(Call(_verb.get(), kind, 1 if at is None else len(args[at])))
        if met is None:
            return await found(*args, **kwargs)
        fault, rule = met.fault, met.rule
        if fault is Fault.FAIL:
            assert rule.error is not None
            raise rule.error
        if fault is Fault.DELAY:
            await self._inner.sleep(rule.seconds)
            return await found(*args, **kwargs)
        if fault is Fault.DUPLICATE:
            first = await found(*args, **kwargs)
            last = await self._again(found, args, kwargs)
            return first if rule.answer == "first" or last is None else last[0]
        if fault is Fault.LATE:
            after = self._faults.spread(3) if rule.faults == CHAOS else rule.after
            due = None if after is None else self._calls + after
            self._held.append(Held(lambda: found(*args, **kwargs), due, self._faults.releases))
        elif fault is Fault.PARTIAL:
            assert at is not None
            await found(*args[:at], _half(args[at]), *args[at + 1 :], **kwargs)
        elif fault is Fault.LOSE_REPLY:
            opened = await found(*args, **kwargs)
            if name == "listen":  # nobody gets it: the driver that loses the answer closes the connection
                await self._inner.hang_up(opened)
        raise _away(met)

    async def _again(self, found: Send, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any] | None:
        try:
            return (await found(*args, **kwargs),)
        except Exception:  # noqa: BLE001  a repeat that the store refuses answers nobody
            return None

    async def _arrive(self) -> None:
        """What was held back until now reaches the store, and its answer nobody."""
        ripe = [
            held
            for held in self._held
            if (held.due is not None and held.due <= self._calls) or held.released < self._faults.releases
        ]
        for held in ripe:
            self._held.remove(held)
        for held in ripe:
            await self._again(held.send, (), {})


def _half(statements: Sequence[Any]) -> Sequence[Any]:
    return statements[: len(statements) // 2]


def _away(met: Injected) -> StoreUnavailable:
    outcome = "refused" if met.fault is Fault.REFUSE else "unknown"
    return StoreUnavailable(
        f"injected: {met.fault.value} at call {met.n}, {met.call.label}",
        outcome="refused" if outcome == "refused" else "unknown",
    )


class FaultyStore:
    """A store that names each verb to the plan. One that has no driver, so no `through`, is called faultily itself."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults
        self._direct: FaultyPort | None = None
        through = getattr(inner, "through", None)
        if through is None:
            self._direct = FaultyPort(_NoDriver(inner), faults)
        else:
            through(lambda port: FaultyPort(port, faults))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def verb(*args: Any, **kwargs: Any) -> Any:
            before = _verb.get()
            _verb.set(name)
            try:
                if self._direct is None or name in HANDS:
                    return await found(*args, **kwargs)
                return await self._direct.send("call", found, args, kwargs)
            finally:
                _verb.set(before)

        return verb


class _NoDriver:
    """What the port of a store without a driver needs: a way to wait."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def sleep(self, seconds: float) -> None:
        if self._store.blocking:
            time.sleep(seconds)  # noqa: ASYNC251  no loop runs below a blocking store
        else:
            await asyncio.sleep(seconds)


def faulty_store(store: JobStore, faults: Faults) -> JobStore:
    """The store, with the plan's faults between it and its driver. Not opened yet, or open: both will do.

    The given store itself goes wrong too: its port was replaced.
    """
    return cast("JobStore", FaultyStore(store, faults))
