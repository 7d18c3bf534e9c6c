"""The embedded store against the model: long random programs, every answer and every record compared.

Beside the model's view, the file's own books are counted anew: counters, labels, notes, bodies, keys.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Literal

import pytest

from queuekit import errors
from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb, Where
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.model import ModelStore, ModelWorld

Q = "orders"
STEPS = 150
LIMIT = 2000  # bytes of a payload: some bodies are big enough to live beside their job


class Pair:
    """Both stores under one clock; whatever is asked of one is asked of the other."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_000_000
        options = StoreOptions(namespace="t", payload_limit=LIMIT)
        self.mine: EmbeddedStore = backend.blocking("memory://", options, lambda: self.now)
        world = ModelWorld(lambda: self.now)
        self.model = ModelStore(world, namespace="t", blocking=True, limit=LIMIT)
        direct(self.mine.open())
        self.claims: dict[str, str] = {}  # id -> token, some of them lost meanwhile
        self.calls: dict[str, int] = {}

    def op(self, actor: str) -> Op:
        """The actor's next call, sometimes its last one again, rarely an older one."""
        n = self.calls.get(actor, 0)
        luck = self.random.random()
        if luck > 0.12 or n == 0:
            self.calls[actor] = n = n + 1
        elif luck < 0.02 and n > 1:
            n -= 1
        return Op(actor, n)

    def ask(self, call: Callable[[JobStore], Coroutine[Any, Any, object]]) -> object:
        """What both answered; they must agree, also in what they refuse."""
        said: list[object] = []
        for store in (self.mine, self.model):
            try:
                said.append(plain(direct(call(store))))
            except (errors.StoreError, errors.ConfigError, errors.Conflict, errors.PayloadError) as error:
                said.append(type(error).__name__)
        assert said[0] == said[1]
        return said[0]


def plain(answer: object) -> object:
    """An answer without what only one store can mean: places, and cursors."""
    if isinstance(answer, JobRecord):
        return replace(answer, place=0)
    if isinstance(answer, Exchange):
        return replace(answer, claims=[replace(job, place=0) for job in answer.claims])
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    return answer


def enqueue(p: Pair) -> None:
    jobs = [spec(p.random, p.now) for _ in range(p.random.randint(1, 5))]
    op = p.op("producer")
    jobs = repeated(p, "producer", op, jobs)
    answer = p.ask(lambda store: store.enqueue(Q, jobs, op))
    if not isinstance(answer, Enqueued):
        p.calls["producer"] -= 1 if answer != "Stale" else 0


def repeated(p: Pair, actor: str, op: Op, now: list[Any]) -> list[Any]:
    """The arguments of an op: those it had the first time."""
    kept: dict[tuple[str, int], list[Any]] = p.__dict__.setdefault("kept", {})
    return kept.setdefault((actor, op.n), now) if op.n == p.calls[actor] else now


def spec(r: random.Random, now: int) -> JobSpec:
    made = JobSpec(id=f"j{r.randrange(40)}", task=r.choice("st"), body=b"b" * r.choice((0, 10, 1500)))
    made.priority = r.choice((1, 10, 10, 1000))
    made.lifo = r.random() < 0.1
    if r.random() < 0.3:
        made.delay = r.choice((0, 100, 5_000))
    elif r.random() < 0.1:
        made.run_at = now + r.choice((-50, 3_000))
    if r.random() < 0.15:
        made.expires_in = r.choice((10, 2_000))
    if r.random() < 0.2:
        made.keep_completed = r.choice((Retention(0), Retention(2), Retention(None, 4_000), Retention()))
    if r.random() < 0.2:
        made.keep_failed = r.choice((Retention(0), Retention(1), Retention(3, 9_000)))
    if r.random() < 0.25:
        until: Literal["finished", "started", "time"] = r.choice(("finished", "started", "time"))
        made.unique = UniqueKey(
            key=r.choice("xyz"), until=until, on_conflict=r.choice(("existing", "replace", "replace", "error")),
            ttl=r.choice((50, 6_000)) if until == "time" else None, max_wait=r.choice((None, 1_000)),
        )  # fmt: skip
    made.options, made.trace = r.choice((b"", b"o")), r.choice((None, "t"))
    return made


def exchange(p: Pair) -> None:
    r, actor = p.random, p.random.choice(("w1", "w2"))
    op = p.op(actor)
    outcomes = [outcome(r, p, job, token) for job, token in list(p.claims.items()) if r.random() < 0.5]
    if r.random() < 0.1 and outcomes:
        outcomes.append(replace(outcomes[0], kind=Kind.FAILED))
    if r.random() < 0.1:
        outcomes.append(Outcome("nobody", "w1:1", Kind.COMPLETED))
    asked = Ask(want=r.randrange(6), lease=r.choice((500, 4_000)), suspect=r.random() < 0.7, worker=actor)
    outcomes, asked = repeated(p, actor, op, [outcomes, asked])
    answer = p.ask(lambda store: store.exchange(Q, op, outcomes, asked))
    if isinstance(answer, Exchange):
        settled = {o.id for o in outcomes}
        p.claims = {job: token for job, token in p.claims.items() if job not in settled}
        p.claims |= {job.id: op.token for job in answer.claims}


def outcome(r: random.Random, p: Pair, job: str, token: str) -> Outcome:
    made = Outcome(job, token if r.random() < 0.95 else "w9:9", r.choice(list(Kind)))
    if r.random() < 0.5:
        made.kind = Kind.COMPLETED
    made.result = r.choice((None, b"r", b"s", b"u", b"v", b"w", b"x" * 3000)) if r.random() < 0.5 else None
    made.error = r.choice((None, b"e"))
    made.reason = r.choice((None, "why"))
    if r.random() < 0.6:
        made.error = made.reason = None
    made.delay = r.choice((None, 0, 700))
    made.at = p.now + 900 if r.random() < 0.1 else None
    made.keep = r.choice((None, None, None, Retention(0), Retention(3), Retention(None, 1_000)))
    made.progress, made.logs = r.choice(((None, ()), (None, ()), (b"p", ()), (None, (b"l", b"m"))))
    return made


def renew(p: Pair) -> None:
    r = p.random
    holds = [Hold(id=job, token=token, progress=r.choice((None, b"q")), logs=r.choice(((), (b"n",))))
             for job, token in p.claims.items() if r.random() < 0.7]  # fmt: skip
    actor, upto = r.choice((("", 0), ("w1", p.calls.get("w1", 0)), ("w2", 3)))
    p.ask(lambda store: store.renew(Q, holds, 3_000, actor, upto))


def recover(p: Pair) -> None:
    limit = p.random.choice((1, 100))
    p.ask(lambda store: store.recover(Q, limit, 1_000))


def change(p: Pair) -> None:
    r = p.random
    changes = [
        Change(id=f"j{r.randrange(40)}", verb=r.choice(list(Verb)), rev=r.choice((None, None, 1, 2)),
               reason=r.choice((None, "r")), run_at=p.now + 500 if r.random() < 0.1 else None,
               delay=r.choice((None, 0, 300)), priority=r.choice((None, 5)), body=r.choice((None, b"new", b"n" * 1400)))
        for _ in range(r.randint(1, 4))
    ]  # fmt: skip
    op = p.op("person")
    changes = repeated(p, "person", op, changes)
    p.ask(lambda store: store.change(Q, changes, op))


def annotate(p: Pair) -> None:
    if p.claims:
        job, token = p.random.choice(list(p.claims.items()))
        note = Note(progress=b"z", logs=(b"k",) * p.random.choice((1, 30)))
        p.ask(lambda store: store.annotate(Q, job, token, note))


def configure(p: Pair) -> None:
    r = p.random
    layer = Limits(
        paused=r.choice((None, None, None, "night")), max_size=r.choice((None, 12)), max_crashes=r.choice((None, 1, 2)),
        keep_completed=r.choice((None, Retention(0), Retention(4), Retention(None, 2_000))),
        keep_failed=r.choice((None, Retention(2))),
    )  # fmt: skip
    conf = direct(p.model.conf(Q))
    stale = r.random() < 0.1
    p.ask(lambda store: store.configure(Q, replace(conf, rev=conf.rev + stale, override=layer)))


def prune(p: Pair) -> None:
    r = p.random
    state = r.choice((None, None, None, State.COMPLETED, State.FAILED, State.PARKED, State.CANCELLED, State.ACTIVE))
    older, limit = r.choice((0, 1_500)), r.choice((1, 1000))
    if state is None:
        limit = 1000  # which ones go first among the outlived is the store's choice
    p.ask(lambda store: store.prune(Q, state=state, older_than=older, limit=limit))


def watch(p: Pair) -> None:
    job = f"j{p.random.randrange(40)}"
    p.ask(lambda store: store.watch(Q, job, 0))


def later(p: Pair) -> None:
    p.now += p.random.choice((0, 1, 200, 1_500, 6_000))


ACTS = [enqueue] * 5 + [exchange] * 6 + [renew, recover, recover, change, change, annotate, configure, prune, watch]
ACTS += [later] * 4


def compare(p: Pair) -> None:
    """Every record in every order, and what is counted."""
    for state in State:
        mine, model = pages(p.mine, state), pages(p.model, state)
        assert [job.id for job in mine] == [job.id for job in model]
        assert [differs(a, b) for a, b in zip(mine, model, strict=True) if a != b] == []
    p.ask(lambda store: store.count(Q))
    if direct(p.model.conf(Q)).rev or any(direct(p.model.count(Q)).states.values()):  # else it may be forgotten
        p.ask(lambda store: store.queues())
    p.ask(lambda store: store.get(Q, [f"j{i}" for i in range(40)]))
    for i in range(40):
        p.ask(lambda store, i=i: store.position(Q, f"j{i}"))  # type: ignore[misc]  # a lambda with a default
    p.ask(lambda store: store.conf(Q))


def differs(mine: JobRecord, model: JobRecord) -> dict[str, object]:
    """Only what differs: a whole record is a page of text."""
    pairs = {name: (getattr(mine, name), getattr(model, name)) for name in JobRecord.__slots__}
    found: dict[str, object] = {"id": mine.id, "state": mine.state}
    return found | {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def pages(store: JobStore, state: State) -> list[JobRecord]:
    found: list[JobRecord] = []
    cursor = None
    while True:
        page = direct(store.find(Q, Where(state=state, limit=3, cursor=cursor)))
        found += [replace(job, place=0) for job in page.records]
        cursor = page.cursor
        if cursor is None:
            assert page.total == len(found)
            return found


def books(conn: sqlite3.Connection) -> None:
    """Counters against a recount, and nothing left of jobs that are gone."""
    row = conn.execute(
        "SELECT q, ready, suspect, held, delayed, active, blocked, parked, completed, completed_own, failed,"
        " failed_own, cancelled, cancelled_own FROM queues WHERE name = ?", (Q,),
    ).fetchone()  # fmt: skip
    if row is None:
        return
    q, *counts = row
    real = dict(conn.execute("SELECT line, count(*) FROM jobs WHERE q = ? GROUP BY line", (q,)).fetchall())
    assert counts == [real.get(line, 0) for line in range(13)]
    labels = conn.execute("SELECT line, label, n FROM labels WHERE n != 0 ORDER BY line, label").fetchall()
    kept = conn.execute(
        "SELECT line, keep, count(*) FROM jobs WHERE keep IS NOT NULL GROUP BY line, keep ORDER BY line, keep"
    )
    assert labels == kept.fetchall()
    for table in ("notes", "bodies"):
        assert conn.execute(f"SELECT count(*) FROM {table} WHERE n NOT IN (SELECT n FROM jobs)").fetchone() == (0,)
    assert conn.execute(
        "SELECT count(*) FROM jobs WHERE (body IS NULL) != (n IN (SELECT n FROM bodies))"
    ).fetchone() == (0,)
    assert conn.execute(
        "SELECT count(*) FROM uniques u WHERE until != 'time'"
        " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.q = u.q AND j.id = u.id AND j.uniq IS NOT NULL AND j.line < 7)"
    ).fetchone() == (0,)
    assert conn.execute(
        "SELECT count(*) FROM jobs WHERE line <= 2 AND (key1 != priority OR key2 != place)"
    ).fetchone() == (0,)
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_has_the_same_effect_as_on_the_model(seed: int) -> None:
    p = Pair(seed)
    try:
        for step in range(STEPS):
            p.random.choice(ACTS)(p)
            if step % 15 == 14:
                compare(p)
        compare(p)
        p.mine._port.hub.pool.use(books)
    finally:
        direct(p.mine.close())
