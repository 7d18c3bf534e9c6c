"""The one list of options: what people may say, what a job carries, what holds when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit import Backoff, Group, Keep, Priority, Profile, QueueKit, Rate, Unique, ids
from queuekit.domain import options, typed
from queuekit.domain.job import Retention, UniqueKey
from queuekit.domain.options import Scope
from queuekit.errors import InvalidName, InvalidOption

TYPED: dict[Scope, type] = {
    "job": typed.JobOptions, "task": typed.TaskOptions, "queue": typed.QueueOptions, "kit": typed.RunOptions,
}  # fmt: skip

SAID: dict[Scope, dict[str, object]] = {
    "job": {
        "priority": "high", "attempts": 7, "backoff": Backoff.exponential("2s", factor=3, cap="10m", jitter=0.5),
        "retry_on": (ConnectionError, TimeoutError), "fail_on": (ValueError,), "max_crashes": 2, "timeout": "90s",
        "keep_completed": Keep(count=10, age="2h"), "keep_failed": False, "tags": ["a", "b"], "id": "order-7",
        "queue": "mail", "delay": timedelta(milliseconds=1500), "expires": "1h", "lifo": True, "group": "user@7",
        "unique": Unique("k", until="5m", on_conflict="replace", max_wait="1h"),
    },
    "task": {"queue": "mail", "executor": "thread", "version": 3, "concurrency": 4,
             "rate": [Rate(10, 1), Rate(100, "1m")]},
    "queue": {
        "profile": Profile.HEAVY, "lease": "2h", "concurrency": 3, "global_concurrency": 9, "rate": "10/s",
        "max_size": 1000, "group": Group(cap=1, rate=Rate(5, 60)), "groups": {"a": Group(weight=3)},
    },
    "kit": {"attempts": 4, "timeout": None, "keep_completed": True},
}  # fmt: skip


@pytest.mark.parametrize("scope", options.SCOPES)
def test_the_typed_dict_of_a_place_names_the_options_of_the_list(scope: Scope) -> None:
    declared = TYPED[scope].__required_keys__ | TYPED[scope].__optional_keys__  # type: ignore[attr-defined]  # of TypedDicts
    assert declared == set(options.options_of(scope))


@pytest.mark.parametrize("scope", options.SCOPES)
def test_what_is_written_reads_back_as_it_was(scope: Scope) -> None:
    parsed = options.parse(scope, SAID[scope])
    assert options.parse(scope, options.dump(scope, parsed)) == parsed


def test_a_moment_and_what_stays_in_the_process() -> None:
    at = datetime(2027, 3, 1, 12, tzinfo=UTC)
    parsed = options.parse("job", {"run_at": at, "expires": at, "within": object()})
    assert (parsed["run_at"], parsed["expires"]) == (1803902400000, ("at", 1803902400000))
    with pytest.raises(InvalidOption, match="cannot be written down"):
        options.dump("job", parsed)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"dely": 5}, "did you mean 'delay'"),
        ({"removeOnComplete": 10}, "here it is called 'keep_completed'"),
        ({"countdown": 10}, "here it is called 'delay'"),
        ({"max_size": 5}, "option of a queue, not of a job"),
        ({"attempts": 0}, "'attempts'.*from 1"),
        ({"attempts": True}, "no whole number"),
        ({"priority": 1001}, "0 to 1000"),
        ({"priority": "urgent"}, "critical=1"),
        ({"delay": -1}, "below zero"),
        ({"delay": float("nan")}, "no duration"),
        ({"run_at": datetime(2027, 1, 1)}, "naive datetime"),
        ({"expires": datetime(2027, 1, 1)}, "naive datetime"),
        ({"run_at": 5}, "no datetime"),
        ({"delay": 1, "run_at": datetime(2027, 1, 1, tzinfo=UTC)}, "same thing twice"),
        ({"timeout": 0}, "ends every run"),
        ({"keep_completed": -1}, "from 0"),
        ({"keep_failed": "all"}, "how many to keep"),
        ({"unique": ""}, "1 to 500"),
        ({"unique": "\ud800"}, "surrogate"),
        ({"unique": {"key": "k", "untl": 1}}, "untl"),
        ({"group": "a/b"}, "no job id"),
        ({"id": "a@b"}, "reserved for schedules"),
        ({"queue": "a b"}, "no queue name"),
        ({"lifo": 1}, "true or false"),
        ({"tags": [1]}, "use texts"),
        ({"retry_on": (5,)}, "no exception class"),
        ({"backoff": {"type": "cubic"}}, "exponential, fixed, linear"),
        ({"backoff": {"type": "fixed", "cap": 5}}, "fixed has no cap"),
    ],
)
def test_what_cannot_be_is_refused_with_a_word_of_help(said: dict[str, object], words: str) -> None:
    with pytest.raises((InvalidOption, InvalidName), match=words):
        options.parse("job", said)


def test_a_command_line_reads_texts() -> None:
    pairs = ["attempts=5", "id=123", "unique=k", "run-at=2027-01-01T00:00:00Z", "keep_failed=false", "priority=high",
             "tags=a, b", "timeout=null", "delay=5m", 'unique_=x']  # fmt: skip
    assert options.parse_pairs("job", [p for p in pairs if not p.startswith(("delay", "unique_"))]) == {
        "attempts": 5, "id": "123", "unique": UniqueKey("k"), "run_at": 1798761600000, "keep_failed": Retention(0),
        "priority": 5, "tags": ("a", "b"), "timeout": None,
    }  # fmt: skip
    assert options.parse_pairs("job", ["delay=5m"]) == {"delay": 300_000}
    with pytest.raises(InvalidOption, match="write key=value"):
        options.parse_pairs("job", ["attempts"])


def test_a_job_carries_only_what_a_worker_reads_of_what_was_set() -> None:
    parsed = options.parse("job", SAID["job"])
    carried = set(options.unpack(options.pack(parsed)))
    assert carried == {"attempts", "backoff", "retry_on", "fail_on", "max_crashes", "timeout", "tags"}
    assert options.pack(options.parse("job", {"priority": 1, "delay": 5, "unique": "k"})) == b""


def test_a_custom_backoff_cannot_be_stored_with_a_job() -> None:
    parsed = options.parse("job", {"backoff": Backoff.custom(lambda attempt, error: 1)})
    with pytest.raises(InvalidOption, match="to the task"):
        options.pack(parsed)


def test_a_blob_of_a_newer_queuekit_leaves_the_rest_readable() -> None:
    assert options.unpack(b'j{"attempts":5,"flavour":"new","timeout":{"soft":1}}') == {"attempts": 5}
    assert options.unpack(b"j{broken") == {}
    assert options.unpack(b"j[1]") == {}


def test_job_over_task_over_queue_over_kit() -> None:
    task = options.parse("task", {"attempts": 5, "timeout": "10s"})
    queue = options.parse("queue", {"timeout": "20s", "tags": ["q"], "attempts": 6})
    kit = options.parse("kit", {"keep_failed": 5, "tags": ["k"], "max_crashes": 9})
    blob = options.pack(options.parse("job", {"timeout": None}))
    policy = options.resolve(blob, task, queue, kit)
    assert (policy.attempts, policy.timeout_ms, policy.tags, policy.max_crashes) == (5, None, ("q",), 9)
    assert policy.keep_failed == Retention(5)
    assert options.resolve(b"", task, queue, kit).timeout_ms == 10_000
    assert options.resolve(blob, task, queue, kit) is policy


def test_unset_everywhere_gives_the_defaults() -> None:
    policy = options.resolve(b"", {}, {}, {})
    assert (policy.attempts, policy.timeout_ms, policy.tags, policy.max_crashes) == (3, None, (), 3)
    assert [policy.backoff.delay_ms(n) for n in (1, 2, 3)] == [1000, 2000, 4000]
    assert (policy.keep_completed, policy.keep_failed, policy.retry_on) == (None, None, None)


def test_answers_of_mappings_that_are_gone_are_not_given_to_others() -> None:
    for attempts in range(1, 200):
        task = options.parse("task", {"attempts": attempts})
        assert options.resolve(b"", task, {}, {}).attempts == attempts


def test_which_errors_are_run_again() -> None:
    policy = options.resolve(
        b"", options.parse("task", {"retry_on": (OSError,), "fail_on": (FileNotFoundError,)}), {}, {}
    )
    assert policy.retries(ConnectionError())
    assert not policy.retries(FileNotFoundError())
    assert not policy.retries(ValueError())
    assert options.resolve(b"", {}, {}, {}).retries(ValueError())
    by_name = options.parse("kit", {"fail_on": ["ValueError", "tests.unit.Gone"]})
    assert by_name == {"fail_on": ("builtins.ValueError", "tests.unit.Gone")}


@pytest.fixture
def dummy() -> Iterator[options.Option]:
    option = options.register(
        options.Option(
            name="flavour", type="str", scopes=frozenset(options.SCOPES), reader="worker", parse=str, default="plain",
            shown="plain", aliases={"bull": "taste"}, help="what it tastes of", literal=True,
        )
    )  # fmt: skip
    yield option
    options.withdraw(option)


def test_an_option_put_into_the_list_is_everywhere(dummy: options.Option) -> None:
    from queuekit.testing import TestKit

    kit = TestKit(queues={"q": {"flavour": "queue"}})

    @kit.task(flavour="task")  # type: ignore[call-overload, untyped-decorator]  # made in this test
    def cook() -> None: ...

    handle = cook.using(flavour="job").enqueue()
    record = kit.run(lambda at: at.store.get("default", [handle.id]))[0]
    assert record is not None
    assert record.options == b'j{"flavour":"job"}'
    assert kit.policy(record).values["flavour"] == "job"
    assert kit.queue("q").make("other", flavour="by name").spec.options == b'j{"flavour":"by name"}'  # type: ignore[call-arg]  # made in this test
    assert options.parse_pairs("job", ["flavour=7"]) == {"flavour": "7"}
    assert options.resolve(b"", {}, options.parse("queue", {"flavour": "queue"}), {}).values["flavour"] == "queue"
    assert options.resolve(b"", {}, {}, {}).values["flavour"] == "plain"
    assert all(
        "| `flavour` | `str` | plain | worker | bull: `taste` | what it tastes of |" in options.docs_table(s)
        for s in options.SCOPES
    )
    with pytest.raises(InvalidOption, match="called 'flavour'"):
        options.parse("job", {"taste": 1})
    with pytest.raises(InvalidOption, match="exists already"):
        options.register(dummy)


@given(st.sampled_from([Priority.LOW, "low", "LOW", 15, "15"]))
def test_priorities_by_any_name(said: object) -> None:
    assert options.parse("job", {"priority": said}) == {"priority": 15}


@pytest.mark.parametrize("scope", options.SCOPES)
def test_the_page_of_the_docs_is_made_from_the_list(scope: Scope) -> None:
    page = (Path(__file__).parents[2] / "docs" / "options.md").read_text()
    table = options.docs_table(scope)
    assert f"\n\n{table}\n" in page, f"put this into docs/options.md:\n{table}"


def test_every_version_that_a_task_may_have_goes_into_every_store(
    redis_url: str, mongo_url: str, tmp_path: Path
) -> None:
    """Redis has two bytes for it; a date as a version is refused where the task is declared, not when a job is sent."""
    for url in ("memory://", redis_url, mongo_url, f"sqlite:///{tmp_path}/v.db"):
        with QueueKit(url, name="versions", namespace="v" + ids.nonce()[:11]) as kit:
            with pytest.raises(InvalidOption, match="version"):
                kit.task("late", version=20_261_122)(print)

            @kit.task("last", version=65_535)
            def last() -> None: ...

            chosen = last.enqueue().id
            record = kit.run(lambda at, chosen=chosen: at.store.get("default", [chosen]))[0]  # type: ignore[misc]  # the loop's
            assert record is not None
            assert record.version == 65_535
            kit.run(lambda at: at.store.obliterate("default", force=True))
