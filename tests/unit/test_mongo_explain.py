"""Every hot query on a real server: no collection scan, no sort in memory, and no more keys than it needs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from queuekit_mongo import pages, queries, removals, transit
from queuekit_mongo.backend import backend
from queuekit_mongo.documents import SUSPECT
from queuekit_mongo.statements import Find, Group, Pipe, Write
from queuekit_mongo.store import MongoStore

from queuekit import ids
from queuekit.domain.absence import Watch
from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

MANY = 400  # of each kind, beside what a query looks for
FAR = 4_000_000_000_000
Plan = dict[str, Any]


@pytest.fixture(scope="module")
def full(mongo_url: str) -> Iterator[MongoStore]:
    """A store with jobs in every state, in two queues."""
    store = backend.blocking(mongo_url, StoreOptions(namespace="x" + secrets.token_hex(4), collection="explain"))
    direct(store.open())
    for queue in ("q", "other"):
        _fill(store, queue)
    yield store
    port: Any = store.room.port
    for name in ("explain", "explain_queues", "explain_workers", "explain_schedules"):
        port._database.drop_collection(name)
    direct(store.close())


def _fill(store: MongoStore, queue: str) -> None:
    actor = ids.nonce()
    worker, n, call = ids.nonce(), 0, 0

    def put(**said: Any) -> None:
        nonlocal call
        call += 1
        made = [JobSpec(id=ids.job_id(), task="t", body=b"j{}", **said) for _ in range(MANY)]
        direct(store.enqueue(queue, made, Op(actor, call)))

    def run(kind: Kind | None, **said: Any) -> None:
        nonlocal n
        n += 2
        claims = direct(store.exchange(queue, Op(worker, n), (), Ask(want=MANY))).claims
        assert len(claims) == MANY
        if kind is not None:
            ends = [Outcome(job.id, f"{worker}:{n}", kind, **said) for job in claims]
            assert not direct(store.exchange(queue, Op(worker, n + 1), ends, Ask())).refused

    for kind, said in (
        (Kind.COMPLETED, {}), (Kind.COMPLETED, {"keep": Retention(7)}), (Kind.FAILED, {}), (Kind.PARKED, {}),
        (Kind.RETRY, {"at": FAR}), (None, {}),
    ):  # fmt: skip
        put()
        run(kind, **said)
    put(priority=5)
    put(expires_at=FAR)
    made = [JobSpec(id=f"u{i}", task="t", body=b"", unique=UniqueKey(f"k{i}")) for i in range(MANY)]
    direct(store.enqueue(queue, made, Op(actor, call + 1)))


def explained(store: MongoStore, asked: Find | Pipe | Write) -> tuple[Plan, Plan]:
    """(plan, figures) of a query as the port would send it."""
    port: Any = store.room.port
    names, room = store.room.names, asked.room if not isinstance(asked, Write) else "jobs"
    command: dict[str, Any]
    if isinstance(asked, Find):
        command = {
            "find": names.collection(room),
            "filter": asked.filter,
            "sort": dict(asked.sort),
            "limit": asked.limit,
        }
        command |= {"hint": asked.index, "projection": dict.fromkeys(asked.fields, 1)}
    elif isinstance(asked, Write) and asked.sort:
        said: dict[str, Any] = {
            "query": asked.filter,
            "update": asked.update,
            "sort": dict(asked.sort),
            "hint": asked.index,
        }
        command = {"findAndModify": names.collection(room)} | said
    elif isinstance(asked, Write):
        said = {"q": asked.filter, "u": asked.update, "multi": asked.many, "hint": asked.index}
        command = {"update": names.collection(room), "updates": [said]}
    else:
        command = {"aggregate": names.collection(room), "pipeline": asked.stages, "cursor": {}, "hint": asked.index}
    answer = port._database.command({"explain": command, "verbosity": "executionStats"})
    if "stages" in answer:
        answer = answer["stages"][0]["$cursor"]
    return answer["queryPlanner"]["winningPlan"], answer["executionStats"]


def stages(plan: Plan) -> set[str]:
    found = {str(plan.get("stage", ""))}
    for inner in [plan.get("inputStage"), plan.get("queryPlan"), *plan.get("inputStages", ())]:
        if inner:
            found |= stages(inner)
    return found


def keys_of(store: MongoStore, state: str) -> list[str]:
    port: Any = store.room.port
    jobs = port._database["explain"]
    return [doc["_id"] for doc in jobs.find({"queue": store.room.names.queue("q"), "state": state}, {"_id": 1})]


def asked(store: MongoStore) -> dict[str, tuple[Find | Pipe | Write, int]]:
    """Each query with the index keys it may look at."""
    key, actor = store.room.names.queue("q"), "nobody"
    waiting, active = keys_of(store, "waiting")[:10], keys_of(store, "active")[:10]
    group = Group(line=1, rev=1, frees=False, expires=False, ids=waiting)
    page = pages.waiting_page(key, (1, 5, 1, "x"), 10)
    ended = pages.timed_page(key, "completed", (FAR, "x"), 10, -1)
    timed = {s: pages.timed_page(key, s, None, 10, 1)[0] for s in ("delayed", "active", "parked")}
    key_of_totals = store.room.names.totals("q")
    return {
        "totals": (pages.totals(key_of_totals), 2),
        "additions to the totals": (pages.additions(key_of_totals, 10), 11),
        "the store": (queries.store(), 1),
        "known": (queries.known(waiting), 20),
        "light": (queries.light(waiting), 20),
        "time": (queries.now(), 1),
        "seen": (queries.seen(key, None, Watch()), 1),
        "configure": (queries.configure(key, 1, "{}", "{}"), 1),
        "anything waiting of a foreign kind": (queries.foreign(), 2),
        "stubs": (removals.stubs(waiting, "completed", 1), 20),
        "take": (queries.take(key, suspects=True, epoch=0, token="w:1", now=1, lease=1, worker=""), 2),
        "candidates": (queries.candidates(key, 12, suspects=True), 13),
        "candidates of the ready line": (queries.candidates(key, 12, suspects=False), 13),
        "candidates behind a mark": (queries.candidates_behind(key, 12, priority=10, place=5), 13),
        "claim": (queries.claim(group, epoch=0, token="w:1", now=1, lease=1, worker=""), 11),
        "complete": (queries.complete(active, "w:1", op="w:2", now=1, result=None, keep=None), 11),
        "complete one": (queries.complete(active[:1], "w:1", op="w:2", now=1, result=None, keep=None), 1),
        "claims of a call": (queries.held(key, f"{actor}:1"), MANY + 1),
        "claims of an actor": (queries.held_by(key, actor), MANY + 1),
        "due": (queries.due(key, FAR, 10), 11),
        "next due": (queries.next_due(key), 2),
        "promote": (queries.promote(keys_of(store, "delayed")[:10], first=1, now=1), 11),
        "expired leases": (queries.expired_leases(key, FAR, 10), 11),
        "renew": (queries.renew(active, "w:1", 1), 11),
        "holders": (queries.holders(key, ["k1", "k2"]), 4),
        "anything waiting": (pages.any_waiting(key), 2),
        "oldest of each priority": (pages.first_of_each_priority(key, 1), 6),
        "waiting, same place": (page[0], 1),
        "waiting, same priority": (page[1], 11),
        "waiting, same line": (page[2], 11),
        "waiting, lines behind": (page[3], 11),
        "waiting from the start": (pages.waiting_page(key, None, 10)[0], 11),
        "ended, same time": (ended[0], 1),
        "ended, before": (ended[1], 11),
        **{f"{state} from the start": (find, 11) for state, find in timed.items()},
        "ended of a queue's class": (removals.oldest(key, "completed", 10), 11),
        "ended of an own class": (removals.oldest(key, "completed/own", 10, keep="7/"), 11),
        "ended long ago": (removals.oldest(key, "failed", 10, until=FAR), 11),
        "classes": (removals.classes(key, State.COMPLETED), 2),
        "unstarted": (removals.unstarted(key, FAR, 10), 11),
        "dead stubs": (removals.dead_stubs(FAR, 10), 11),
        "everything": (removals.everything(key, 10), 11),
        **_of_a_mover(store, key),
    }


def _of_a_mover(store: MongoStore, key: str) -> dict[str, tuple[Find | Pipe | Write, int]]:
    """What a mover asks; keys held for a time and running jobs it reads whole, of its own queue only."""
    leaves = dict(zip(LEAVES, transit.lines(key, 10, history=True), strict=True))
    return {
        **{name: (find, 24 if name == "leaves: ended" else 11) for name, find in leaves.items()},
        "a mover's queue": (transit.own(key), 1),
        "batches that are out": (transit.outs(store.room.names.move("q", "out")), 1),
        "running": (transit.running(key), MANY + 1),
        "held for a mover": (transit.held_jobs(key, 10), 2),
        "timed keys": (transit.timed_keys(key, "", 1, 10), MANY + 1),
        "whatever holds a key": (transit.keyed(key, 10), 11),
    }


LEAVES = ("leaves: waiting", "leaves: delayed", "leaves: parked", "leaves: ended")
NAMES = [
    *LEAVES, "a mover's queue", "batches that are out", "running", "held for a mover", "timed keys",
    "whatever holds a key",
    "totals", "additions to the totals", "the store", "known", "light", "time", "seen", "configure",
    "anything waiting of a foreign kind", "stubs", "take",
    "candidates", "candidates of the ready line", "candidates behind a mark", "claim", "complete", "complete one",
    "claims of a call", "claims of an actor", "due", "next due", "promote", "expired leases", "renew", "holders",
    "anything waiting", "oldest of each priority", "waiting, same place", "waiting, same priority",
    "waiting, same line", "waiting, lines behind", "waiting from the start", "ended, same time", "ended, before",
    "delayed from the start", "active from the start", "parked from the start", "ended of a queue's class",
    "ended of an own class", "ended long ago", "classes", "unstarted", "dead stubs", "everything",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_query_reads_its_index_and_little_of_it(full: MongoStore, name: str) -> None:
    query, most = asked(full)[name]
    plan, figures = explained(full, query)
    assert {"COLLSCAN", "SORT"} & stages(plan) == set(), stages(plan)
    assert figures["totalKeysExamined"] <= most, figures["totalKeysExamined"]


def bounds(plan: Plan) -> dict[str, list[str]]:
    """The index bounds of the innermost scan."""
    for inner in [plan.get("inputStage"), plan.get("queryPlan"), *plan.get("inputStages", ())]:
        if inner:
            return bounds(inner)
    return dict(plan["indexBounds"])


def test_the_bounds_of_hot_queries_are_as_narrow_as_their_filters(full: MongoStore) -> None:
    queries_ = asked(full)
    key = full.room.names.queue("q")
    own, part = [f'["{key}", "{key}"]'], ["[0, 0]"]
    found = {name: bounds(explained(full, queries_[name][0])[0]) for name in (
        "candidates", "candidates behind a mark", "due", "expired leases", "unstarted", "ended of an own class",
    )}  # fmt: skip
    for name, said in found.items():
        assert (said["queue"], said["part"]) == (own, part), name
    assert found["candidates"]["line"] == ["[0, 1]"]
    assert found["candidates behind a mark"]["line"] == ["[1, 1]"]
    assert found["candidates behind a mark"]["priority"] == ["[10, 10]"]
    assert found["candidates behind a mark"]["place"] == ["(5, inf.0]"]
    assert found["due"]["state"] == ['["delayed", "delayed"]']
    assert found["due"]["at"] == [f"[-inf.0, {FAR}]"]
    assert found["expired leases"]["state"] == ['["active", "active"]']
    assert found["unstarted"]["expiry"] == [f"[-inf.0, {FAR}]"]
    assert found["ended of an own class"]["keep"] == ['["7/", "7/"]']


def test_a_look_reads_few_keys_of_jobs_and_of_delayed_ones(full: MongoStore) -> None:
    """All three reads of the hot path's one aggregation, as the server says it ran them."""
    port: Any = full.room.port
    look = queries.look("explain", "explain_queues", full.room.names.queue("q"), 12)
    command = {"aggregate": "explain", "pipeline": look.stages, "cursor": {}, "hint": look.index}
    answer = port._database.command({"explain": command, "verbosity": "executionStats"})
    ran = [answer["stages"][0]["$cursor"]]
    for stage in answer["stages"]:
        ran += [inner["$cursor"] for inner in stage.get("$unionWith", {}).get("pipeline", ()) if "$cursor" in inner]
    assert len(ran) == 3
    for cursor, most in zip(ran, (13, 3, 2), strict=True):
        assert {"COLLSCAN", "SORT"} & stages(cursor["queryPlanner"]["winningPlan"]) == set()
        assert cursor["executionStats"]["totalKeysExamined"] <= most


def test_a_claim_reads_no_more_keys_of_a_deep_queue_than_of_a_shallow_one(full: MongoStore) -> None:
    """A thousand times the jobs would show; five thousand of each are enough to see a scan that grows."""
    before = explained(full, queries.candidates(full.room.names.queue("q"), 12, suspects=True))[1]["totalKeysExamined"]
    actor = ids.nonce()
    for call in range(1, 11):
        late = 3_600_000 if call > 5 else None
        made = [JobSpec(id=ids.job_id(), task="t", body=b"j{}", delay=late) for _ in range(1000)]
        direct(full.enqueue("deep", made, Op(actor, call)))
    key = full.room.names.queue("deep")
    for query in (queries.candidates(key, 12, suspects=True), queries.due(key, 1, 500), queries.next_due(key)):
        assert explained(full, query)[1]["totalKeysExamined"] <= before


def test_no_query_is_left_out(full: MongoStore) -> None:
    assert sorted(asked(full)) == sorted(NAMES)


def test_counting_reads_index_keys_and_no_documents(full: MongoStore) -> None:
    key = full.room.names.queue("q")
    for filter_, index in ((pages.waiting(key, line=1), "line"), (pages.timed(key, "completed"), "timer")):
        command = {"aggregate": "explain", "cursor": {}, "hint": index, "pipeline": [
            {"$match": filter_}, {"$group": {"_id": 1, "n": {"$sum": 1}}},
        ]}  # fmt: skip
        port: Any = full.room.port
        answer = port._database.command({"explain": command, "verbosity": "executionStats"})
        figures = (answer["stages"][0]["$cursor"] if "stages" in answer else answer)["executionStats"]
        assert figures["totalDocsExamined"] == 0


def test_the_head_finds_the_earliest_delayed_job_without_sorting(full: MongoStore) -> None:
    port: Any = full.room.port
    head = queries.head("explain", full.room.names.queue("q"))
    inner = head.stages[2]["$unionWith"]["pipeline"]
    command = {"aggregate": "explain", "pipeline": inner, "cursor": {}}
    answer = port._database.command({"explain": command, "verbosity": "executionStats"})
    cursor = answer["stages"][0]["$cursor"] if "stages" in answer else answer
    assert {"COLLSCAN", "SORT"} & stages(cursor["queryPlanner"]["winningPlan"]) == set()
    assert cursor["executionStats"]["totalKeysExamined"] <= 2
    assert SUSPECT == 0  # what `candidates` begins with
