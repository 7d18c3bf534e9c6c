"""Settings of a framework: their keys, the types Python gives them, and where they stand among the other places."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queuekit import Settings
from queuekit.errors import ConfigError, InvalidOption, UnknownProvider
from queuekit.settings.mapped import Mapped, mapped
from queuekit.settings.table import TABLE, Given

PRODUCTION = "DEBUG=False"


def short(**said: object) -> Mapped:
    return mapped(said, show=lambda key: f"settings.QUEUEKIT[{key!r}]", style="short")


def long(production: Any = None, **said: object) -> Mapped:
    return mapped(said, show=lambda key: f"app.config[{key!r}]", production=production)


def load(framework: Mapped, **env: str) -> Settings:
    return Settings.load(env, framework=framework)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_variable_has_a_key_in_both_styles() -> None:
    keys = [row.name.removeprefix("QUEUEKIT_").removeprefix("QUEUE_") for row in TABLE]
    assert len({*keys}) == len(keys)
    assert short(**dict.fromkeys(keys, "1")).given.keys() == {row.field for row in TABLE}
    assert long(**{row.name: "1" for row in TABLE}).given.keys() == {row.field for row in TABLE}


def test_values_have_the_types_python_has() -> None:
    settings = load(
        short(
            SQLITE_PATH=Path("jobs.db"), TIMEOUT=timedelta(seconds=2), LEASE=60, GRACE=0, CONCURRENCY=4,
            ALLOW_EVICTION=True, PAYLOAD_LIMIT=1024, NAMESPACE=None, COLLECTION="",
        )
    )  # fmt: skip
    assert settings.url == f"sqlite:///{'/'}{Path.cwd().as_posix().lstrip('/')}/jobs.db"
    assert settings.chosen_by == "settings.QUEUEKIT['SQLITE_PATH']"
    assert (settings.timeout, settings.lease, settings.grace, settings.concurrency) == (2000, 60_000, 0, 4)
    assert (settings.allow_eviction, settings.payload_limit) == (True, 1024)
    assert (settings.namespace, settings.collection) == ("queuekit", "queuekit_jobs")


@pytest.mark.parametrize("said", [{"CONCURRENCY": 0}, {"CONCURRENCY": True}, {"TIMEOUT": "soon"}])
def test_a_wrong_value_is_refused_by_its_place(said: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"^settings\.QUEUEKIT\['{next(iter(said))}'\]="):
        load(short(**said))


def test_a_secret_of_a_wrong_type_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load(long(REDIS_HOST="h", REDIS_PASSWORD=4711))
    assert "app.config['REDIS_PASSWORD']=***" in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"QUEUEKIT_ULR": "x"}, r"app\.config has no key 'QUEUEKIT_ULR': did you mean 'QUEUEKIT_URL'\?"),
        ({"QUEUEKIT_QEUES": {}}, r"did you mean 'QUEUEKIT_QUEUES'\?"),
    ],
)
def test_an_unknown_key_of_ours_is_refused_and_others_are_none_of_ours(said: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        long(**said)
    assert long(SECRET_KEY="s", QUEUE_OF_OURS="x", REDIS="y").given == {}


def test_a_short_key_must_be_known_and_may_be_the_frameworks_own() -> None:
    with pytest.raises(ConfigError, match=r"settings\.QUEUEKIT has no key 'url': did you mean 'URL'"):
        short(url="memory://")
    with pytest.raises(ConfigError, match=r"settings\.QUEUEKIT has no key 'QUEUEKIT_URL': did you mean 'URL'"):
        short(QUEUEKIT_URL="memory://")
    framework = mapped({"APP": "a:b", "ON_COMMIT": False}, show=str, style="short", extra=("APP", "ON_COMMIT"))
    assert framework.given == {}


# ---------------------------------------------------------------- among the other places
def test_the_environment_goes_before_and_the_file_behind(empty_folder: Path) -> None:
    (empty_folder / "queuekit.toml").write_text(
        '[kit]\nurl = "memory://file"\nlease = "9s"\ntimeout = "9s"\n'
        "[queues.a]\nattempts = 9\n[queues.b]\nattempts = 9\n"
    )
    framework = short(URL="memory://framework", LEASE=8, QUEUES={"a": {"attempts": 8}})
    settings = load(framework, QUEUEKIT_LEASE="7s")
    assert (settings.url, settings.lease, settings.timeout) == ("memory://framework", 7000, 9000)
    assert settings.file_tables["queues"] == {"a": {"attempts": 8}, "b": {"attempts": 9}}
    assert load(framework, QUEUE_PROVIDER="sqlite").chosen_by == "QUEUE_PROVIDER"
    assert load(framework, QUEUEKIT_URL="memory://env").url == "memory://env"


def test_what_is_said_outright_goes_before_what_happens_to_be_set() -> None:
    assert load(long(QUEUEKIT_URL="memory://"), REDIS_URL="redis://cache").url == "memory://"
    assert load(long(REDIS_URL="redis://cache"), MONGODB_URL="mongodb://h/db").chosen_by == "MONGODB_URL"
    assert load(long(REDIS_URL="redis://cache")).chosen_by == "app.config['REDIS_URL']"


def test_parts_for_development_do_not_get_into_the_url_of_the_environment() -> None:
    parts = long(REDIS_HOST="localhost", REDIS_PORT=6380, REDIS_PASSWORD="dev", REDIS_DB=3)
    assert load(parts).url == "redis://:dev@localhost:6380/3"
    assert load(parts, REDIS_URL="redis://prod:6379/0").url == "redis://prod:6379/0"
    assert load(long(REDIS_URL="redis://dev:6379/0"), REDIS_HOST="prod").url == "redis://prod:6379/0"


def test_a_password_may_stand_in_code() -> None:
    assert load(long(QUEUEKIT_URL="redis://:secret@h:1/0")).url == "redis://:secret@h:1/0"


def test_a_file_and_variables_can_be_named(empty_folder: Path) -> None:
    (empty_folder / "jobs.toml").write_text('[kit]\nnamespace = "file"\n')
    (empty_folder / "jobs.env").write_text("QUEUEKIT_URL=memory://env-file\n")
    settings = load(short(CONFIG=empty_folder / "jobs.toml", ENV_FILE="jobs.env"))
    assert (settings.namespace, settings.url) == ("file", "memory://env-file")


# ---------------------------------------------------------------- production
def test_production_needs_a_chosen_store() -> None:
    with pytest.raises(ConfigError, match="no store is chosen, and DEBUG=False forbids the silent SQLite file"):
        load(long(PRODUCTION))
    assert load(long(PRODUCTION, QUEUE_PROVIDER="sqlite")).require_provider
    assert load(long(PRODUCTION), QUEUEKIT_REQUIRE_PROVIDER="0").chosen_by == "default"
    assert load(long(PRODUCTION, QUEUEKIT_REQUIRE_PROVIDER=False)).chosen_by == "default"
    with pytest.raises(ConfigError, match="QUEUEKIT_REQUIRE_PROVIDER forbids"):
        load(long(QUEUEKIT_REQUIRE_PROVIDER=True))


# ---------------------------------------------------------------- tables
def test_tables_are_those_of_the_file(empty_folder: Path) -> None:
    framework = long(
        QUEUEKIT_QUEUES={"mail": {"attempts": 5}}, QUEUEKIT_PROFILES={"video": {"concurrency": 2}},
        QUEUEKIT_IMPORTS=["shop.tasks"], QUEUEKIT_DEFAULTS={"attempts": 4},
    )  # fmt: skip
    assert load(framework, QUEUE_PROVIDER="memory").file_tables == {
        "queues": {"mail": {"attempts": 5}},
        "profiles": {"video": {"concurrency": 2}},
        "kit": {"imports": ["shop.tasks"], "defaults": {"attempts": 4}},
    }


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"QUEUES": {"mail": {"attemps": 5}}}, r"settings\.QUEUEKIT\['QUEUES'\]\['mail'\].*did you mean 'attempts'"),
        ({"QUEUES": {"mail": 5}}, r"settings\.QUEUEKIT\['QUEUES'\]\['mail'\]: use a dict, not int"),
        ({"QUEUES": ["mail"]}, r"settings\.QUEUEKIT\['QUEUES'\]: use a dict, not list"),
        ({"IMPORTS": "shop.tasks"}, r"settings\.QUEUEKIT\['IMPORTS'\]: use a list of modules"),
        ({"DEFAULTS": {"attempts": 0}}, r"option 'attempts' of settings\.QUEUEKIT\['DEFAULTS'\]"),
        ({"PROFILES": {"video": {"concurency": 2}}}, r"QUEUEKIT\['PROFILES'\]\['video'\] has no key 'concurency'"),
    ],
)
def test_a_wrong_table_is_told_by_its_place(said: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, InvalidOption), match=message):
        short(**said)


def test_an_unknown_scheme_is_told_by_its_place() -> None:
    with pytest.raises(UnknownProvider, match=r"settings\.QUEUEKIT\['URL'\]='rdis://:\*\*\*@h'"):
        load(short(URL="rdis://:pw@h"))


def test_a_word_of_the_framework_for_all_stands_below_the_file(empty_folder: Path) -> None:
    """Django's TIME_ZONE is about the project: what is said about queuekit goes before it, in whatever place."""
    zone = Given("Asia/Tokyo", "settings.TIME_ZONE", from_file=False, mapped=True)
    framework = replace(short(), defaults={"timezone": zone})
    assert load(framework).timezone == "Asia/Tokyo"
    (empty_folder / "queuekit.toml").write_text('[kit]\ntimezone = "Europe/Paris"\n')
    assert load(framework).timezone == "Europe/Paris"
    assert load(replace(short(TIMEZONE="Europe/Rome"), defaults={"timezone": zone})).timezone == "Europe/Rome"
    assert load(framework, QUEUEKIT_TIMEZONE="Europe/Oslo").timezone == "Europe/Oslo"
