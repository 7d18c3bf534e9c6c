"""What the environment, files and defaults say, which store follows from it and why, and that no secret shows."""

from __future__ import annotations

import dataclasses
import pickle
import re
import traceback
import typing
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.parse import unquote

import pytest

from queuekit.errors import ConfigError, InvalidName, UnknownProvider
from queuekit.settings import PROVIDERS, VARIABLES, Settings, unread_env_file
from queuekit.settings.table import TABLE


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, so that no file of this repository speaks."""
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(folder / "deep" / "er")
    return folder


def test_the_variables_are_these() -> None:
    assert set(VARIABLES) == {
        "QUEUEKIT_URL", "QUEUE_PROVIDER", "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD",
        "REDIS_DB", "MONGODB_URL", "QUEUE_COLLECTION", "QUEUEKIT_SQLITE_PATH", "QUEUEKIT_TO_URL",
        "QUEUEKIT_FROM_URL", "QUEUEKIT_NAMESPACE", "QUEUEKIT_APP",
        "QUEUEKIT_CONFIG", "QUEUEKIT_ENV_FILE", "WORKER_TYPE", "QUEUEKIT_CONCURRENCY", "QUEUEKIT_GRACE",
        "QUEUEKIT_PROCESSES", "QUEUEKIT_LEASE", "QUEUEKIT_TIMEOUT", "QUEUEKIT_DURABILITY", "QUEUEKIT_ALLOW_EVICTION",
        "QUEUEKIT_PAYLOAD_LIMIT", "QUEUEKIT_KEYS", "QUEUEKIT_KEYS_FILE", "QUEUEKIT_LOG", "QUEUEKIT_DEBUG",
        "QUEUEKIT_LOG_FORMAT", "QUEUEKIT_HEALTH_PORT", "QUEUEKIT_DASHBOARD_TOKEN", "QUEUEKIT_REQUIRE_PROVIDER",
        "QUEUEKIT_PRESET", "QUEUEKIT_TIMEZONE",
    }  # fmt: skip
    assert len(VARIABLES) == len(set(VARIABLES))


def test_the_page_of_settings_lists_every_variable_once() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    listed = re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(VARIABLES)


def test_every_field_has_one_row_of_the_same_type() -> None:
    hints = typing.get_type_hints(Settings)
    derived = {"chosen_by", "notes", "file", "file_tables", "given", "said"}
    rows = {row.field: row.kind for row in TABLE}
    for one in dataclasses.fields(Settings):
        if one.name not in derived:
            assert hints[one.name] in (rows[one.name], rows[one.name] | None)  # type: ignore[operator]  # erased types


# ---------------------------------------------------------------- which store, and why


@pytest.mark.parametrize(
    ("env", "url", "why"),
    [
        (
            {"QUEUEKIT_URL": "memory://", "QUEUE_PROVIDER": "redis", "REDIS_URL": "redis://a"},
            "memory://",
            "QUEUEKIT_URL",
        ),
        ({"QUEUE_PROVIDER": "redis"}, "redis://localhost:6379", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "bull", "MONGODB_URL": "mongodb://m"}, "redis://localhost:6379", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "Redis", "REDIS_URL": "rediss://r:1/2"}, "rediss://r:1/2", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "agenda", "REDIS_HOST": "r"}, "mongodb://localhost:27017/vale_db", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "mongo", "MONGODB_URL": "mongodb+srv://m/x"}, "mongodb+srv://m/x", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "mongodb", "MONGODB_URL": "mongodb://m/x"}, "mongodb://m/x", "QUEUE_PROVIDER"),
        ({"QUEUE_PROVIDER": "memory", "REDIS_URL": "redis://a"}, "memory://", "QUEUE_PROVIDER"),
        ({"REDIS_URL": "redis://r/3", "MONGODB_URL": "mongodb://m"}, "redis://r/3", "REDIS_URL"),
        ({"REDIS_HOST": "r", "MONGODB_URL": "mongodb://m"}, "redis://r:6379", "REDIS_HOST"),
        ({"REDIS_PASSWORD": "p", "MONGODB_URL": "mongodb://m"}, "mongodb://m", "MONGODB_URL"),
        ({"QUEUEKIT_SQLITE_PATH": "/x/y z.db"}, "sqlite:////x/y%20z.db", "QUEUEKIT_SQLITE_PATH"),
        (
            {"QUEUEKIT_URL": "", "QUEUE_PROVIDER": " ", "REDIS_URL": "", "MONGODB_URL": "mongodb://m"},
            "mongodb://m",
            "MONGODB_URL",
        ),
    ],
)
def test_the_store_is_chosen_by_the_first_that_speaks(env: Mapping[str, str], url: str, why: str) -> None:
    settings = Settings.load(env)
    assert (settings.url, settings.chosen_by) == (url, why)


@pytest.mark.parametrize("marker", ["pyproject.toml", "queuekit.toml", "manage.py"])
def test_without_a_word_it_is_sqlite_beside_the_project_and_a_note_names_the_file(
    marker: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / "deep"
    (folder / marker).touch()
    monkeypatch.chdir(folder / "er")
    settings = Settings.load({})
    assert settings.chosen_by == "default"
    assert unquote(settings.url) == f"sqlite:///{folder}/queuekit.db"
    assert len(settings.notes) == 1
    assert f"{folder}/queuekit.db" in settings.notes[0]


def test_a_default_that_a_person_said_carries_no_note() -> None:
    assert Settings.load({"QUEUE_PROVIDER": "sqlite"}).notes == ()
    assert Settings.load({"REDIS_HOST": "r"}).notes == ()


def test_a_note_says_when_the_default_mongodb_is_used() -> None:
    (note,) = Settings.load({"QUEUE_PROVIDER": "agenda"}).notes
    assert "mongodb://localhost:27017/vale_db" in note
    assert Settings.load({"QUEUE_PROVIDER": "agenda", "MONGODB_URL": "mongodb://m/x"}).notes == ()


def test_a_required_provider_refuses_only_the_silent_default() -> None:
    required = {"QUEUEKIT_REQUIRE_PROVIDER": "1"}
    with pytest.raises(ConfigError, match="QUEUE_PROVIDER=sqlite"):
        Settings.load(required)
    assert Settings.load(required | {"QUEUE_PROVIDER": "sqlite"}).url.startswith("sqlite:////")
    assert Settings.load(required | {"REDIS_HOST": "r"}).url == "redis://r:6379"


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"REDIS_URL": "redis://u:p@h:1/2?ssl_cert_reqs=none"}, "redis://u:p@h:1/2?ssl_cert_reqs=none"),
        ({"REDIS_URL": "redis://u:p@h:1/2", "REDIS_HOST": "other"}, "redis://u:p@other:1/2"),
        ({"REDIS_URL": "redis://u:p@h:1/2", "REDIS_PORT": "7"}, "redis://u:p@h:7/2"),
        ({"REDIS_URL": "redis://u:p@h:1/2", "REDIS_USERNAME": "v"}, "redis://v:p@h:1/2"),
        ({"REDIS_URL": "redis://u:p@h:1/2", "REDIS_PASSWORD": "a@b/c"}, "redis://u:a%40b%2Fc@h:1/2"),
        ({"REDIS_URL": "redis://localhost:6379", "REDIS_PASSWORD": "", "REDIS_DB": "0"}, "redis://localhost:6379/0"),
        ({"REDIS_URL": "redis://h:1/2", "REDIS_DB": "5"}, "redis://h:1/5"),
        ({"REDIS_URL": "redis://h:1?db=2&password=old&protocol=3", "REDIS_DB": "5", "REDIS_PASSWORD": "new"}, "redis://:new@h:1/5?protocol=3"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "6329", "REDIS_PASSWORD": "redispass123"}, "redis://:redispass123@h:6329"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379"),
        ({"REDIS_URL": "redis://[::1]", "REDIS_PORT": "7"}, "redis://[::1]:7"),
        ({"REDIS_URL": "redis+sentinel://a:1,b:2/main", "REDIS_PASSWORD": "p"}, "redis+sentinel://:p@a:1,b:2/main"),
    ],
)  # fmt: skip
def test_redis_parts_override_the_same_part_of_the_url_and_only_when_set(env: Mapping[str, str], url: str) -> None:
    assert Settings.load({"QUEUE_PROVIDER": "redis", **env}).url == url


def test_one_host_cannot_override_several() -> None:
    with pytest.raises(ConfigError, match="REDIS_URL names several"):
        Settings.load({"REDIS_URL": "redis+sentinel://a:1,b:2/main", "REDIS_HOST": "c"})


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"QUEUE_PROVIDER": "mongoo"}, r"='mongoo'.*'mongo'\?.*bull.*queuekit\[redis\].*queuekit\[mongo\]"),
        ({"QUEUE_PROVIDER": "rediss"}, r"Did you mean 'redis'"),
        ({"QUEUEKIT_URL": "foo://u:pw@h"}, r"foo://u:\*\*\*@h'.*'foo'.*mongodb://.*redis://.*sqlite://.*queuekit\[redis\]"),
        ({"QUEUEKIT_URL": "u:pw@h:6379"}, r"QUEUEKIT_URL: a URL begins with a scheme"),
        ({"REDIS_URL": "mongodb://h"}, r"REDIS_URL='mongodb://h'.*redis://"),
        ({"MONGODB_URL": "redis://h"}, r"MONGODB_URL='redis://h'.*mongodb://"),
    ],
)  # fmt: skip
def test_an_unknown_provider_or_scheme_names_the_known_ones_and_the_extra(env: Mapping[str, str], message: str) -> None:
    with pytest.raises(UnknownProvider, match=message) as caught:
        Settings.load(env)
    assert "pw" not in str(caught.value)


def test_a_backend_of_a_third_party_is_a_provider_and_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("postgres", "somewhere:backend", "queuekit.backends")
    monkeypatch.setattr("queuekit.settings.choice.entry_points", lambda group: [point])
    assert Settings.load({"QUEUE_PROVIDER": "postgres"}).url == "postgres://localhost"
    assert Settings.load({"QUEUEKIT_URL": "postgres://db/x"}).url == "postgres://db/x"


def test_every_provider_word_leads_to_a_url() -> None:
    for word, scheme in PROVIDERS.items():
        assert Settings.load({"QUEUE_PROVIDER": word}).url.startswith(f"{scheme}://")


# ---------------------------------------------------------------- values


def test_defaults_are_those_of_the_table() -> None:
    settings = Settings.load({})
    assert (settings.namespace, settings.collection, settings.worker_type) == ("queuekit", "queuekit_jobs", "all")
    assert (settings.concurrency, settings.processes) == (1, 1)
    assert (settings.grace, settings.lease, settings.timeout) == (25_000, 30_000, 5_000)
    assert (settings.durability, settings.allow_eviction, settings.payload_limit) == ("acknowledged", False, 262_144)
    assert (settings.log_levels, settings.log_format, settings.require_provider) == ({"queuekit": "info"}, None, False)
    assert settings.given == frozenset()


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("QUEUEKIT_NAMESPACE", "shop.prod", "namespace", "shop.prod"),
        ("QUEUEKIT_APP", " shop.app:kit ", "app", "shop.app:kit"),
        ("QUEUEKIT_CONCURRENCY", "50", "concurrency", 50),
        ("QUEUEKIT_GRACE", "1m", "grace", 60_000),
        ("QUEUEKIT_GRACE", "0", "grace", 0),
        ("QUEUEKIT_LEASE", "PT2H", "lease", 7_200_000),
        ("QUEUEKIT_TIMEOUT", "0.5", "timeout", 500),
        ("QUEUEKIT_DURABILITY", "Replicated", "durability", "replicated"),
        ("QUEUEKIT_ALLOW_EVICTION", "yes", "allow_eviction", True),
        ("QUEUEKIT_ALLOW_EVICTION", "0", "allow_eviction", False),
        ("QUEUEKIT_PAYLOAD_LIMIT", "1MiB", "payload_limit", 1_048_576),
        ("QUEUEKIT_PAYLOAD_LIMIT", "64 kb", "payload_limit", 64_000),
        ("QUEUEKIT_PAYLOAD_LIMIT", "4096", "payload_limit", 4096),
        ("QUEUEKIT_LOG_FORMAT", "JSON", "log_format", "json"),
        ("QUEUEKIT_HEALTH_PORT", "8080", "health_port", 8080),
        ("QUEUEKIT_LOG", "error,queuekit.cli=DEBUG", "log_levels", {"queuekit": "error", "queuekit.cli": "debug"}),
        ("QUEUEKIT_DEBUG", "1", "log", "debug"),
        ("WORKER_TYPE", "heavy", "worker_type", "heavy"),
        ("QUEUE_COLLECTION", "agenda_jobs", "collection", "agenda_jobs"),
        ("QUEUEKIT_KEYS", "k1:c2VjcmV0", "keys", "k1:c2VjcmV0"),
    ],
)  # fmt: skip
def test_a_variable_becomes_its_field(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(Settings.load({variable: text}), field) == value


def test_debug_gives_way_to_an_explicit_log() -> None:
    assert Settings.load({"QUEUEKIT_DEBUG": "1", "QUEUEKIT_LOG": "error"}).log == "error"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("QUEUEKIT_CONCURRENCY", "0", "use 1 to"),
        ("QUEUEKIT_CONCURRENCY", "many", "whole number"),
        ("QUEUEKIT_GRACE", "soon", "no duration"),
        ("QUEUEKIT_LEASE", "0", "more than nothing"),
        ("QUEUEKIT_LEASE", "99ms", "100ms or more"),
        ("QUEUEKIT_TIMEOUT", "-1", "below zero"),
        ("QUEUEKIT_DURABILITY", "sure", "'acknowledged' or 'replicated'"),
        ("QUEUEKIT_ALLOW_EVICTION", "maybe", "boolean"),
        ("QUEUEKIT_PAYLOAD_LIMIT", "9MiB", "8388608"),
        ("QUEUEKIT_PAYLOAD_LIMIT", "big", "256KiB"),
        ("QUEUEKIT_PAYLOAD_LIMIT", "0", "use 1 to"),
        ("QUEUEKIT_LOG", "loud", "debug, info"),
        ("QUEUEKIT_HEALTH_PORT", "70000", "use 1 to 65535"),
        ("REDIS_PORT", "x", "whole number"),
        ("REDIS_DB", "-1", "whole number"),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_to_write(variable: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable}='{re.escape(text)}': .*{re.escape(message)}"):
        Settings.load({variable: text})


@pytest.mark.parametrize("keys", [":c2VjcmV0", "k1", "k1:", "k1:c2Vj!cmV0", "k1:c2VjcmV0,,"])
def test_a_wrong_key_ring_is_refused_without_being_shown(keys: str) -> None:
    with pytest.raises(ConfigError, match=r"^QUEUEKIT_KEYS=\*\*\*: use id:base64,id:base64"):
        Settings.load({"QUEUEKIT_KEYS": keys})


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load({"QUEUEKIT_GRACE": "x", "QUEUEKIT_CONCURRENCY": "y"})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["a:b", "", "x" * 65, "ä", "a b"])
def test_a_namespace_outside_the_grammar_is_refused(name: str) -> None:
    if not name:
        assert Settings.load({"QUEUEKIT_NAMESPACE": name}).namespace == "queuekit"
        return
    with pytest.raises(InvalidName, match="no namespace"):
        Settings.load({"QUEUEKIT_NAMESPACE": name})


# ---------------------------------------------------------------- files


def test_the_nearest_file_upward_is_read_and_the_environment_wins_over_it(project: Path) -> None:
    (project / "queuekit.toml").write_text('[kit]\nlease = "1m"\nconcurrency = 7\nimports = ["shop.tasks"]\n')
    settings = Settings.load({"QUEUEKIT_CONCURRENCY": "9"})
    assert (settings.lease, settings.concurrency) == (60_000, 9)
    assert settings.file == str(project / "queuekit.toml")
    assert settings.file_tables["kit"]["imports"] == ["shop.tasks"]
    assert settings.given == {"lease", "concurrency"}


def test_the_example_of_the_documentation_is_read_whole(project: Path) -> None:
    (project / "queuekit.toml").write_text("""
[kit]
imports = ["shop.tasks"]
defaults = { attempts = 3, backoff = { type = "exponential", delay = "1s" } }
[profiles.video]
concurrency = 2
lease = "2h"
[queues."execution:order_submission"]
concurrency = 5
rate = "10/s"
[schedules.exchange-sync]
task = "reconcile"
every = "30 seconds"
[alerts]
waiting = { "portfolio:high_priority" = 100 }
failed = 50
""")
    tables = Settings.load({}).file_tables
    assert list(tables) == ["kit", "profiles", "queues", "schedules", "alerts"]
    assert tables["queues"]["execution:order_submission"] == {"concurrency": 5, "rate": "10/s"}


def test_pyproject_speaks_through_its_own_table_and_gives_way_to_queuekit_toml(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.queuekit.kit]\nnamespace = "from-pyproject"\n')
    assert Settings.load({}).namespace == "from-pyproject"
    (project / "queuekit.toml").write_text('[kit]\nnamespace = "from-toml"\n')
    assert Settings.load({}).namespace == "from-toml"


def test_an_argument_names_the_file_before_the_variable_does(project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'[kit]\nnamespace = "{name}"\n')
    env = {"QUEUEKIT_CONFIG": str(tmp_path / "one.toml")}
    assert Settings.load(env).namespace == "one"
    assert Settings.load(env, file=str(tmp_path / "two.toml")).namespace == "two"


def test_a_file_may_choose_the_store_but_the_environment_chooses_first(project: Path) -> None:
    (project / "queuekit.toml").write_text('[kit]\nurl = "redis://from-file"\n')
    settings = Settings.load({"MONGODB_URL": "mongodb://incidental"})
    assert (settings.url, settings.chosen_by) == ("redis://from-file", "queuekit.toml [kit] url")
    assert Settings.load({"QUEUE_PROVIDER": "memory"}).url == "memory://"


def test_a_path_in_a_file_is_seen_from_the_file(project: Path) -> None:
    (project / "queuekit.toml").write_text('[kit]\nsqlite_path = "data/jobs.db"\n')
    assert unquote(Settings.load({}).url) == f"sqlite:///{project}/data/jobs.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kitt]\n", "'kitt': did you mean 'kit'"),
        ("[kit]\nconcurency = 1\n", "'concurency': did you mean 'concurrency'"),
        ("[kit]\nzzz = 1\n", "'zzz': known: .*concurrency"),
        ("[profiles.video]\nlaese = 1\n", r"\[profiles.video\].*'laese': did you mean 'lease'"),
        ("[kit]\nredis_password = 'x'\n", "REDIS_PASSWORD in the environment"),
        ("[kit]\nurl = 'redis://:hunter2@h'\n", "holds a password"),
        ("kit = 1\n", r"\[kit\]"),
        ("[queues]\nmails = 3\n", r"queues.mails must be a table"),
        ("[kit\n", "no TOML: .*line 1"),
        ("[kit]\nconcurrency = true\n", r"queuekit.toml \[kit\] concurrency=True: use a whole number"),
        ("[kit]\nlease = 0\n", r"\[kit\] lease"),
        ("[kit]\napp = 5\n", r"\[kit\] app=5: .*string"),
    ],
)  # fmt: skip
def test_what_a_file_may_not_say_is_refused_with_the_nearest_name(project: Path, text: str, message: str) -> None:
    (project / "queuekit.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Settings.load({})
    assert "hunter2" not in str(caught.value)


def test_a_named_file_that_cannot_be_read_is_an_error(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere.toml: No such file"):
        Settings.load({"QUEUEKIT_CONFIG": "nowhere.toml"})
    with pytest.raises(ConfigError, match=r"no table \[tool.queuekit\]"):
        Settings.load({}, file=str(project / "pyproject.toml"))
    (project / "queuekit.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Settings.load({})


def test_a_env_file_is_read_only_when_named_and_below_the_environment(project: Path) -> None:
    (project / "deep" / "er" / ".env").write_text("QUEUE_PROVIDER=memory\nQUEUEKIT_NAMESPACE=from-file\n")
    assert Settings.load({}).chosen_by == "default"
    settings = Settings.load({"QUEUEKIT_ENV_FILE": ".env", "QUEUEKIT_NAMESPACE": "from-environment"})
    assert (settings.url, settings.namespace) == ("memory://", "from-environment")
    with pytest.raises(ConfigError, match="cannot read"):
        Settings.load({"QUEUEKIT_ENV_FILE": "missing.env"})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("REDIS_PASSWORD=plain", "plain"),
        ("export REDIS_PASSWORD = spaced # why", "spaced"),
        ('REDIS_PASSWORD="a # b \\"c\\"" # why', 'a # b "c"'),
        ("REDIS_PASSWORD='a\\n#'", "a\\n#"),
        ("REDIS_PASSWORD=a#b", "a#b"),
        ("REDIS_PASSWORD=", None),
        ("# REDIS_PASSWORD=x", None),
    ],
)
def test_lines_of_an_env_file_read_as_a_shell_reads_them(project: Path, line: str, value: str | None) -> None:
    (project / "some.env").write_text(f"\n{line}\n")
    url = Settings.load({"QUEUEKIT_ENV_FILE": str(project / "some.env"), "REDIS_HOST": "h"}).url
    assert unquote(url) == (f"redis://:{value}@h:6379" if value else "redis://h:6379")


def test_a_line_that_is_no_assignment_is_named(project: Path) -> None:
    (project / "some.env").write_text("A=1\njust words\n")
    with pytest.raises(ConfigError, match=r"some.env, line 2"):
        Settings.load({"QUEUEKIT_ENV_FILE": str(project / "some.env")})


def test_an_env_file_that_nobody_reads_is_found_only_if_it_is_ours(project: Path) -> None:
    assert unread_env_file() is None
    (project / ".env").write_text("DATABASE=1\n")
    assert unread_env_file() is None
    (project / ".env").write_text("DATABASE=1\nQUEUE_PROVIDER=redis\n")
    assert unread_env_file() == project / ".env"


# ---------------------------------------------------------------- secrets


def test_no_secret_shows_in_repr() -> None:
    env = {"REDIS_URL": "redis://u:QX1@h/0?password=QX2", "QUEUEKIT_KEYS": "k1:QX33", "QUEUEKIT_DASHBOARD_TOKEN": "QX4"}
    settings = Settings.load(env)
    assert "QX" not in repr(settings)
    assert "QX" not in f"{settings}"
    assert (settings.keys, settings.dashboard_token) == ("k1:QX33", "QX4")
    assert "redis://u:***@h/0" in repr(settings)


@pytest.mark.parametrize(
    "env",
    [
        {"REDIS_PASSWORD": "QX", "REDIS_PORT": "wrong"},
        {"QUEUEKIT_URL": "redis://u:QX@h", "QUEUEKIT_GRACE": "wrong"},
        {"QUEUEKIT_URL": "wrong://u:QX@h"},
        {"QUEUEKIT_URL": "u:QX@h"},
        {"QUEUEKIT_KEYS": "k1:QX!"},
        {"QUEUEKIT_KEYS": "QX"},
        {"REDIS_PORT": "redis://u:QX@h"},
        {"REDIS_PORT": f"redis://u:{'QX' * 200}@h"},
        {"QUEUEKIT_KEYS": "k1:" + "QX!" * 200},
    ],
)
def test_no_secret_shows_in_an_error_or_its_traceback(env: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load(env)
    assert "QX" not in "".join(traceback.format_exception(caught.value))


def test_settings_are_frozen_hashable_and_cross_a_process_border(project: Path) -> None:
    (project / "queuekit.toml").write_text("[kit]\nconcurrency = 2\n")
    settings = Settings.load({"QUEUE_PROVIDER": "memory"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.namespace = "x"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(dataclasses.replace(settings))
    assert dataclasses.replace(settings, url="memory://x", chosen_by="--url").namespace == "queuekit"


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    assert Settings.load().url == "memory://"


def test_a_time_zone_is_one_that_there_is() -> None:
    assert Settings.load({}).timezone == "UTC"
    assert Settings.load({"QUEUEKIT_TIMEZONE": "Europe/Berlin"}).timezone == "Europe/Berlin"
    with pytest.raises(ConfigError, match="QUEUEKIT_TIMEZONE='Europe/Berln': did you mean 'Europe/Berlin'"):
        Settings.load({"QUEUEKIT_TIMEZONE": "Europe/Berln"})


def test_a_file_names_the_time_zone_too(project: Path) -> None:
    (project / "queuekit.toml").write_text('[kit]\ntimezone = "Asia/Tokyo"\n')
    assert Settings.load({}).timezone == "Asia/Tokyo"
    assert Settings.load({"QUEUEKIT_TIMEZONE": "UTC"}).timezone == "UTC"
