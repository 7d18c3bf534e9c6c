"""Which jobs a list's address asks for, and the addresses of its filters and its next page. No store is asked here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from queuekit import JobFilter, QueueKit, State
from queuekit.contrib.django.admin.acts import Chosen

WORDS = ("queue", "state", "task", "tag", "since", "q")  # of an address; q is find's text
ACROSS = 1000  # jobs that one act over "all that match" takes
FINDS = 20  # calls that look for them; each looks at a bounded number of jobs
STATES = (
    State.WAITING, State.ACTIVE, State.DELAYED, State.BLOCKED, State.PARKED, State.FAILED, State.CANCELLED,
    State.COMPLETED,
)  # fmt: skip
AGES = (("1h", "Past hour"), ("1d", "Past day"), ("7d", "Past 7 days"))
QUEUES_LISTED = 50  # as links; of more, the list of queues leads here


@dataclass(frozen=True, slots=True)
class Asked:
    """What one address says."""

    said: Mapping[str, str]
    cursor: str | None

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Asked:
        said = {word: value for word in WORDS if (value := parameters.get(word, "").strip())}
        return cls(said, parameters.get("cursor") or None)

    def where(self, limit: int) -> JobFilter:
        """The same in find's words."""
        where = JobFilter(limit=limit)
        if self.cursor is not None:
            where["cursor"] = self.cursor
        if "queue" in self.said:
            where["queue"] = self.said["queue"]
        if "state" in self.said:
            where["state"] = self.said["state"]
        if "task" in self.said:
            where["task"] = self.said["task"]
        if "tag" in self.said:
            where["tag"] = self.said["tag"]
        if "since" in self.said:
            where["since"] = self.said["since"]
        if "q" in self.said:
            where["text"] = self.said["q"]
        return where

    def address(self, **other: str | None) -> str:
        """This list with something else asked for, from its beginning."""
        said = {word: value for word, value in {**self.said, **other}.items() if value}
        return f"?{urlencode(said)}"

    def described(self) -> str:
        """In words, for a question."""
        names = {"q": "text", "since": "of the last"}
        return ", ".join(f"{names.get(word, word)} {value}" for word, value in self.said.items()) or "all jobs"


@dataclass(frozen=True, slots=True)
class Choice:
    """A line of a filter."""

    display: str
    address: str
    selected: bool


def filters(asked: Asked, queues: Iterable[str]) -> Iterator[tuple[str, list[Choice]]]:
    """The filters beside the list: (title, choices)."""
    yield "state", list(_choices(asked, "state", [(state.value, state.value) for state in STATES]))
    known = [(name, name) for name in queues]
    if len(known) <= QUEUES_LISTED:
        yield "queue", list(_choices(asked, "queue", known))
    yield "time", list(_choices(asked, "since", AGES))
    if "tag" in asked.said:
        yield "tag", list(_choices(asked, "tag", [(asked.said["tag"], asked.said["tag"])]))


def matching(kit: QueueKit, asked: Asked) -> tuple[list[Chosen], bool]:
    """Up to `ACROSS` jobs that match, and whether there may be more."""
    found: list[Chosen] = []
    cursor: str | None = None
    for _ in range(FINDS):
        page = kit.find(**Asked(asked.said, cursor).where(ACROSS - len(found)))
        found += [Chosen.of(job) for job in page.jobs]
        cursor = page.cursor
        if cursor is None or len(found) >= ACROSS:
            break
    return found, cursor is not None


def _choices(asked: Asked, word: str, values: Iterable[tuple[str, str]]) -> Iterator[Choice]:
    now = asked.said.get(word)
    yield Choice("All", asked.address(**{word: None}), now is None)
    for value, display in values:
        yield Choice(display, asked.address(**{word: value}), now == value)
