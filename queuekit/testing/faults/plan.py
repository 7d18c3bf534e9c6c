"""The plan: which call of a store to its driver goes wrong, and how. What was met and injected is counted here.

Nothing here calls anything; `port.py` asks the plan at every call and does what it says.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Literal

LIFE: Final = frozenset({"open", "close"})  # go wrong only where they are named
PATIENT: Final = frozenset({"block_pop", "listen", "heard", "watch_once"})  # they wait: never made twice


class Fault(StrEnum):
    """What can happen to one call."""

    REFUSE = "refuse"  # not sent, and the driver knows it: StoreUnavailable, outcome "refused"
    LOSE_REQUEST = "lose_request"  # never arrives: StoreUnavailable, outcome "unknown"
    LOSE_REPLY = "lose_reply"  # done, the answer is lost: StoreUnavailable, outcome "unknown"
    DUPLICATE = "duplicate"  # done twice
    LATE = "late"  # StoreUnavailable, outcome "unknown"; arrives after calls that were made later
    PARTIAL = "partial"  # of several statements only the first ones are done: StoreUnavailable, "unknown"
    DELAY = "delay"  # done, but late
    FAIL = "fail"  # not done: an error of the plan's is raised


CHAOS: Final = (
    Fault.REFUSE, Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.DUPLICATE, Fault.LATE, Fault.PARTIAL, Fault.DELAY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store's driver port: for which verb of the seam, and which kind of call.

    Kinds are the port's own: the script's name on Redis (`commands` for plain ones), `find`, `bulk`, `insert` and so
    on for MongoDB, `run` and `read` on SQLite, `call` for the model store, which has no driver.
    """

    verb: str
    kind: str
    statements: int = 1  # how many statements of its own effect it carries

    @property
    def label(self) -> str:
        return f"{self.verb}.{self.kind}"

    def suits(self, match: str) -> bool:
        """Whether a pattern names it: `exchange`, `bulk`, `exchange.bulk`, `*.bulk`, `*`."""
        if self.verb in LIFE and match.partition(".")[0] != self.verb:
            return False
        return match in (self.verb, self.kind) or fnmatchcase(self.label, match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a plan. With neither `nth`, `every` nor `chance` it meets every call it suits."""

    faults: tuple[Fault, ...]
    match: str
    nth: int | None = None
    every: int | None = None
    chance: float | None = None
    after: int | None = 1  # late ones: calls of the same store until it arrives; None: when `release` is called
    seconds: float = 0.0
    error: BaseException | None = None
    answer: Literal["first", "last"] = "first"

    def __str__(self) -> str:
        told = [f"{name}={value}" for name in ("nth", "every", "chance") if (value := getattr(self, name)) is not None]
        return f"{'/'.join(self.faults)}({', '.join([repr(self.match), *told])})"

    def takes(self, fault: Fault, call: Call) -> bool:
        """Whether this fault means anything for a call of this kind."""
        if fault is Fault.PARTIAL:
            return call.statements > 1
        return fault not in (Fault.DUPLICATE, Fault.LATE) or call.kind not in PATIENT


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened, to the `n`-th call of all."""

    n: int
    call: Call
    fault: Fault
    rule: Rule


class Faults:
    """A plan of faults, and the record of what it did. Thread-safe; one plan may serve several stores.

    Each rule counts the calls its pattern suits: `nth=3` hits the third of them, `every=5` the fifth, the tenth …,
    `chance=0.05` one in twenty at random. The first rule of a plan that hits a call wins. Opening and closing go
    wrong only where a pattern names them. `seed` decides everything that is left to chance, as long as the calls come
    in the same order.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.calls: Counter[str] = Counter()  # by label, while not suspended
        self.trace: list[Call] = []
        self.injected: list[Injected] = []
        self._rules: list[Rule] = []
        self._met: Counter[int] = Counter()  # calls that rule i suits
        self._random = random.Random(seed)  # noqa: S311  a seed must repeat it
        self._lock = threading.Lock()
        self._suspended = 0
        self.releases = 0  # how often `release` was called

    # ------------------------------------------------------------------ what shall go wrong

    def refuse(self, match: str = "*", **when: float) -> Faults:
        """The store cannot be reached, and the driver knows that nothing was sent."""
        return self._add(match, when, Fault.REFUSE)

    def lose_request(self, match: str = "*", **when: float) -> Faults:
        """The request never reaches the store; the caller cannot know that."""
        return self._add(match, when, Fault.LOSE_REQUEST)

    def lose_reply(self, match: str = "*", **when: float) -> Faults:
        """The store does it; the caller cannot know that."""
        return self._add(match, when, Fault.LOSE_REPLY)

    def duplicate(self, match: str = "*", *, answer: Literal["first", "last"] = "first", **when: float) -> Faults:
        """The request is executed twice; the caller sees the first answer, or the last."""
        return self._add(match, when, Fault.DUPLICATE, answer=answer)

    def late(self, match: str = "*", *, after: int | None = 1, **when: float) -> Faults:
        """The caller sees StoreUnavailable at once, and the request arrives before the `after`-th call that follows.

        With `after=None` it arrives before the next call behind `release()`.
        """
        return self._add(match, when, Fault.LATE, after=after)

    def partial(self, match: str = "*", **when: float) -> Faults:
        """Of a call with several statements the first half is done. Calls of one statement are not met."""
        return self._add(match, when, Fault.PARTIAL)

    def delay(self, match: str = "*", *, seconds: float, **when: float) -> Faults:
        """The request arrives `seconds` later."""
        return self._add(match, when, Fault.DELAY, seconds=seconds)

    def fail(self, match: str = "*", *, error: BaseException, **when: float) -> Faults:
        """Nothing is done and `error` is raised."""
        return self._add(match, when, Fault.FAIL, error=error)

    def chaos(self, chance: float = 0.05, match: str = "*", *, seconds: float = 0.01) -> Faults:
        """Any fault but `fail`, at random; a late request arrives after up to three other calls."""
        self._rules.append(Rule(faults=CHAOS, match=match, chance=chance, seconds=seconds))
        return self

    def _add(
        self,
        match: str,
        when: dict[str, float],
        fault: Fault,
        *,
        after: int | None = 1,
        seconds: float = 0.0,
        error: BaseException | None = None,
        answer: Literal["first", "last"] = "first",
    ) -> Faults:
        if set(when) - {"nth", "every", "chance"} or len(when) > 1:
            raise TypeError(f"a rule takes one of nth, every, chance; not {', '.join(when)}")
        nth, every, chance = when.get("nth"), when.get("every"), when.get("chance")
        if (nth is not None and nth < 1) or (every is not None and every < 1) or not 0 <= (chance or 0) <= 1:
            raise ValueError(f"calls are counted from 1, and a chance is between 0 and 1; not {when}")
        self._rules.append(
            Rule(
                faults=(fault,), match=match, nth=None if nth is None else int(nth),
                every=None if every is None else int(every), chance=chance,
                after=after, seconds=seconds, error=error, answer=answer,
            )
        )  # fmt: skip
        return self

    # ------------------------------------------------------------------ what happens

    def meet(self, call: Call) -> Injected | None:
        """What happens to this call. Asked once a call, by the port."""
        with self._lock:
            if self._suspended:
                return None
            self.calls[call.label] += 1
            self.trace.append(call)
            found: Injected | None = None
            for index, rule in enumerate(self._rules):
                if not call.suits(rule.match):
                    continue
                able = [fault for fault in rule.faults if rule.takes(fault, call)]
                if not able:
                    continue
                fault = self._random.choice(able) if len(able) > 1 else able[0]
                self._met[index] += 1
                if found is None and self._hits(rule, self._met[index]):
                    found = Injected(len(self.trace), call, fault, rule)
            if found is not None:
                self.injected.append(found)
            return found

    def _hits(self, rule: Rule, met: int) -> bool:
        if rule.nth is not None:
            return met == rule.nth
        if rule.every is not None:
            return met % rule.every == 0
        return rule.chance is None or self._random.random() < rule.chance

    def spread(self, most: int) -> int:
        """A number from 1 to `most`, of this plan's chance."""
        with self._lock:
            return self._random.randint(1, most)

    def release(self) -> None:
        """Let what is held back arrive, before the next call of its store."""
        self.releases += 1

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside the block nothing is counted and nothing goes wrong: to prepare, or to look."""
        with self._lock:
            self._suspended += 1
        try:
            yield
        finally:
            with self._lock:
                self._suspended -= 1

    def clear(self) -> None:
        """Forget all rules and everything that was counted; what is held back stays on its way."""
        with self._lock:
            self._rules.clear()
            self._met.clear()
            self.calls.clear()
            self.trace.clear()
            self.injected.clear()

    def check(self, least: int = 1) -> None:
        """Raise AssertionError unless at least so many faults were injected, and by each rule that is not of chance.

        A test whose plan met nothing proves nothing.
        """
        hit = Counter(id(one.rule) for one in self.injected)
        idle = [str(rule) for rule in self._rules if rule.chance is None and not hit[id(rule)]]
        if idle or len(self.injected) < least:
            seen = ", ".join(f"{label} {count}" for label, count in sorted(self.calls.items())) or "none"
            what = f"never injected: {'; '.join(idle)}" if idle else f"{len(self.injected)} faults, not {least}"
            raise AssertionError(f"{what} (seed {self.seed}); calls met: {seen}")

    def __str__(self) -> str:
        kinds = Counter(one.fault.value for one in self.injected)
        told = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items())) or "none"
        return f"faults (seed {self.seed}): {told} in {len(self.trace)} calls"
