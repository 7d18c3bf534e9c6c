"""What MongoDB is asked to acknowledge: everything that decides about a job is in the journal of a majority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest
from pymongo import monitoring
from queuekit_mongo.store import MongoStore

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

pytestmark = pytest.mark.store("mongo")
WRITES = {"insert", "update", "delete", "findAndModify", "bulkWrite"}


class Heard(monitoring.CommandListener):
    """The write commands of a store, and the commits of its transactions."""

    def __init__(self) -> None:
        self.writes: list[Mapping[str, Any]] = []
        self.commits: list[Mapping[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            self.writes.append(event.command)
        if event.command_name == "commitTransaction":
            self.commits.append(event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """What was asked is what matters."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """What was asked is what matters."""


@pytest.fixture
def made(mongo_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MongoStore, Heard]]:
    module, heard = import_module("queuekit_mongo.backend"), Heard()
    monkeypatch.setitem(module._CLIENT, "event_listeners", [heard])
    store = module.MongoBackend().blocking(mongo_url, StoreOptions(namespace=f"t{ids.nonce()[:12]}"))
    direct(store.open())
    heard.writes.clear()
    yield store, heard
    while direct(store.obliterate("q", force=True))[1]:
        pass
    direct(store.close())


def test_whatever_decides_about_a_job_waits_for_the_journal_of_a_majority(made: tuple[MongoStore, Heard]) -> None:
    store, heard = made
    key = [JobSpec(id=f"j{n}", task="t", body=b"", delay=10**6 if n == 9 else None) for n in range(10)]
    direct(store.enqueue("q", key, Op("p", 1)))
    direct(store.enqueue("q", [JobSpec(id="one", task="t", body=b"")], Op("p", 2)))
    took = direct(store.exchange("q", Op("w", 1), [], Ask(want=6))).claims
    kinds = [Kind.COMPLETED, Kind.RETRY, Kind.FAILED, Kind.RELEASED]
    ends = [Outcome(job.id, job.token or "", kind, delay=0) for job, kind in zip(took, kinds, strict=False)]
    direct(store.exchange("q", Op("w", 2), ends, Ask(want=1)))
    direct(store.renew("q", [Hold(id=took[4].id, token=took[4].token or "")], -1))
    direct(store.annotate("q", took[5].id, took[5].token or "", Note(progress=b"p")))
    direct(store.recover("q"))
    direct(store.change("q", [Change(id="j9", verb=Verb.PROMOTE), Change(id="one", verb=Verb.DELETE)], Op("c", 1)))
    direct(store.configure("q", QueueConf(override=Limits(paused="why"))))
    direct(store.prune("q"))

    alone = [command for command in heard.writes if "txnNumber" not in command or "autocommit" not in command]
    about_jobs = [command for command in alone if not _statistics(command)]
    assert len(about_jobs) > 8
    assert len(heard.commits) >= 1
    for command in (*about_jobs, *heard.commits):
        assert command["writeConcern"]["w"] == "majority", dict(command)
        assert command["writeConcern"]["j"] is True, dict(command)


def _statistics(command: Mapping[str, Any]) -> bool:
    """Totals and beats, which say nothing of any job."""
    statements = command.get("updates", ())
    totals = bool(statements) and all("#totals" in str(one["q"].get("_id")) for one in statements)
    return totals or str(command.get("update") or command.get("findAndModify")).endswith("_workers")
