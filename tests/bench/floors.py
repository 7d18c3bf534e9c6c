"""Floors: the least code on each server that is still a queue, with no client library of queuekit's in it.

A loop leases, compares the token when it settles, and keeps the last hundred ended jobs: what no queue can leave out.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from queuekit.clock import perf

BODY = json.dumps(["user-123", "BTCUSDT", "fill-456", "x" * 66]).encode()  # about 100 bytes
FILL = 1000  # jobs a call while a queue is filled; not measured
KEPT = 100  # ended jobs that stay
BACK = 2**42  # a number of the size that places have

# KEYS: ready (sorted set by rank), leased (by deadline), bodies, holders (job -> token), ended (by time).
# ARGV: token, how many to claim, then the jobs to settle.
REDIS_LOOP = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local settled = #ARGV - 2
if settled > 0 then
  local asked = {}
  for i = 1, settled do asked[i] = ARGV[i + 2] end
  local holders = redis.call('HMGET', KEYS[4], unpack(asked))
  local mine, ended = {}, {}
  for i = 1, settled do
    if holders[i] == ARGV[1] then
      mine[#mine + 1] = asked[i]
      ended[#ended + 1] = now
      ended[#ended + 1] = asked[i]
    end
  end
  if mine[1] then
    redis.call('ZREM', KEYS[2], unpack(mine))
    redis.call('HDEL', KEYS[4], unpack(mine))
    redis.call('ZADD', KEYS[5], unpack(ended))
    local surplus = redis.call('ZCARD', KEYS[5]) - %d
    if surplus > 0 then
      local popped, gone = redis.call('ZPOPMIN', KEYS[5], surplus), {}
      for i = 1, #popped, 2 do gone[#gone + 1] = popped[i] end
      redis.call('HDEL', KEYS[3], unpack(gone))
    end
  end
end
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[2])
if not popped[1] then return {} end
local ids, leases, holders = {}, {}, {}
for i = 1, #popped, 2 do
  ids[#ids + 1] = popped[i]
  leases[#leases + 1] = now + 30000
  leases[#leases + 1] = popped[i]
  holders[#holders + 1] = popped[i]
  holders[#holders + 1] = ARGV[1]
end
redis.call('ZADD', KEYS[2], unpack(leases))
redis.call('HSET', KEYS[4], unpack(holders))
return {ids, redis.call('HMGET', KEYS[3], unpack(ids))}
""".replace("%d", str(KEPT))

SQLITE_TABLES = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, line TEXT, place INTEGER, token TEXT, lease INTEGER, body BLOB) WITHOUT ROWID;
CREATE INDEX ready ON jobs (place) WHERE line = 'ready';
CREATE INDEX ended ON jobs (place) WHERE line = 'ended';
"""


class Floor(ABC):
    """One server, used by the least code."""

    one: str  # what `write_one` calls, for the table

    @abstractmethod
    def write_one(self) -> None:
        """The least that stores one job."""

    @abstractmethod
    def fill(self, jobs: Sequence[tuple[str, int]]) -> None:
        """Put (id, place) on the emptied queue."""

    @abstractmethod
    def claim(self, token: str, want: int, done: Sequence[str]) -> tuple[Sequence[str], Sequence[bytes]]:
        """Settle `done`, lease up to `want` more."""

    @abstractmethod
    def clear(self) -> None:
        """Forget every job."""

    @abstractmethod
    def close(self) -> None:
        """Let the server go."""

    def drain(self, want: int, total: int) -> float:
        """Jobs a second of a loop that settles and leases `want` at a time; every job is counted."""
        self.clear()
        names = iter([(f"{n:022d}", BACK + n) for n in range(total)])
        while some := list(islice(names, FILL)):
            self.fill(some)
        token, ran = secrets.token_hex(16), 0
        done: Sequence[str] = ()
        start = perf()
        while True:
            done, bodies = self.claim(token, want, done)
            if not done:
                break
            ran += len([json.loads(body) for body in bodies])
        took = perf() - start
        if ran != total:
            raise AssertionError(f"the floor ran {ran} of {total} jobs")
        return total / took


class RedisFloor(Floor):
    """redis-py with hiredis, one script a turn."""

    one = "bare EVALSHA"

    def __init__(self, url: str) -> None:
        import redis

        self._client: Any = redis.Redis.from_url(url)
        self._keys = [f"{{floor}}:{name}" for name in ("ready", "leased", "bodies", "holders", "ended")]
        self._loop = self._client.script_load(REDIS_LOOP)
        self._one = self._client.script_load("return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])")

    def write_one(self) -> None:
        self._client.evalsha(self._one, 1, self._keys[2], "id", BODY)

    def fill(self, jobs: Sequence[tuple[str, int]]) -> None:
        self._client.hset(self._keys[2], mapping={job: BODY for job, _ in jobs})
        self._client.zadd(self._keys[0], dict(jobs))

    def claim(self, token: str, want: int, done: Sequence[str]) -> tuple[Sequence[str], Sequence[bytes]]:
        found = self._client.evalsha(self._loop, len(self._keys), *self._keys, token, want, *done)
        return (found[0], found[1]) if found else ((), ())

    def clear(self) -> None:
        self._client.delete(*self._keys)

    def close(self) -> None:
        self.clear()
        self._client.close()


class MongoFloor(Floor):
    """pymongo, acknowledged by the majority and journaled: a read and two writes a turn."""

    one = "insert_one"

    def __init__(self, url: str) -> None:
        from pymongo import MongoClient

        self._client: Any = MongoClient(url, w="majority", journal=True)
        self._jobs = self._client["floor"]["jobs"]
        self._numbers = count(10**9)
        self._mark = -1
        self.clear()

    def write_one(self) -> None:
        self._jobs.insert_one(self._document("one", next(self._numbers)))

    def fill(self, jobs: Sequence[tuple[str, int]]) -> None:
        self._jobs.insert_many([self._document(job, place) for job, place in jobs], ordered=False)

    def claim(self, token: str, want: int, done: Sequence[str]) -> tuple[Sequence[str], Sequence[bytes]]:
        if done:
            mine = {"_id": {"$in": done}, "token": token}
            self._jobs.update_many(mine, {"$set": {"line": "completed"}, "$unset": {"body": 1}})
        ready = {"queue": "q", "line": "ready", "priority": 10, "place": {"$gt": self._mark}}
        found = list(self._jobs.find(ready).sort([("priority", 1), ("place", 1)]).limit(want).hint("ready"))
        if not found:
            return (), ()
        ids, self._mark = [one["_id"] for one in found], found[-1]["place"]
        leased = {"$set": {"line": "active", "token": token}, "$currentDate": {"at": True}}
        won = self._jobs.update_many({"_id": {"$in": ids}, "line": "ready"}, leased).modified_count
        if won != len(ids):
            raise AssertionError(f"the floor leased {won} of {len(ids)} jobs")
        return ids, [one["body"] for one in found]

    def clear(self) -> None:
        self._jobs.drop()
        key = [("queue", 1), ("priority", 1), ("place", 1)]
        self._jobs.create_index(key, partialFilterExpression={"line": "ready"}, name="ready")
        self._mark = -1

    def close(self) -> None:
        self._client.drop_database("floor")
        self._client.close()

    def _document(self, job: str, place: int) -> dict[str, object]:
        name = f"q/{job}-{place:022d}"
        return {"_id": name, "queue": "q", "line": "ready", "priority": 10, "place": place, "body": BODY}


class SqliteFloor(Floor):
    """The sqlite3 module, a write-ahead log with full synchronisation: one transaction a turn."""

    one = "INSERT and COMMIT"

    def __init__(self, url: str) -> None:
        path = Path(url.removeprefix("sqlite:///")).with_name("floor.db")
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SQLITE_TABLES)
        self._numbers = count(10**9)

    def write_one(self) -> None:
        number = next(self._numbers)
        self._put([(f"one-{number}", number)])

    def fill(self, jobs: Sequence[tuple[str, int]]) -> None:
        self._put(jobs)

    def claim(self, token: str, want: int, done: Sequence[str]) -> tuple[Sequence[str], Sequence[bytes]]:
        self._db.execute("BEGIN IMMEDIATE")
        if done:
            self._settle(token, done)
        ready = "SELECT id, body FROM jobs WHERE line = 'ready' ORDER BY place LIMIT ?"
        found = self._db.execute(ready, (want,)).fetchall()
        leased = "UPDATE jobs SET line = 'active', token = ?, lease = ? WHERE id = ?"
        self._db.executemany(leased, ((token, 30_000, job) for job, _ in found))
        self._db.execute("COMMIT")
        return [job for job, _ in found], [body for _, body in found]

    def clear(self) -> None:
        self._db.execute("DELETE FROM jobs")

    def close(self) -> None:
        self._db.close()

    def _put(self, jobs: Sequence[tuple[str, int]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        rows: Iterator[tuple[str, int, bytes]] = ((job, place, BODY) for job, place in jobs)
        self._db.executemany("INSERT INTO jobs (id, line, place, body) VALUES (?, 'ready', ?, ?)", rows)
        self._db.execute("COMMIT")

    def _settle(self, token: str, done: Sequence[str]) -> None:
        ended = "UPDATE jobs SET line = 'ended', body = NULL WHERE id = ? AND token = ?"
        self._db.executemany(ended, ((job, token) for job in done))
        ((kept,),) = self._db.execute("SELECT count(*) FROM jobs WHERE line = 'ended'")
        if kept > KEPT:
            oldest = "SELECT id FROM jobs WHERE line = 'ended' ORDER BY place LIMIT ?"
            self._db.execute(f"DELETE FROM jobs WHERE id IN ({oldest})", (kept - KEPT,))


FLOORS: dict[str, type[Floor]] = {"redis": RedisFloor, "mongo": MongoFloor, "sqlite": SqliteFloor}


def floor_of(store: str, url: str) -> Floor:
    """The floor of "redis", "mongo" or "sqlite", beside the store of this URL and apart from its jobs."""
    return FLOORS[store](url)  # type: ignore[call-arg]  # each takes its URL


def call_us(floor: Floor, calls: int) -> float:
    """Microseconds a call of `write_one`."""
    start = perf()
    for _ in range(calls):
        floor.write_one()
    return (perf() - start) / calls * 1e6
