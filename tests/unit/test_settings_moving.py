"""What settings say of a second store: the one a queue moves to or comes from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from queuekit.errors import ConfigError, UnknownProvider
from queuekit.settings import Settings, kind, side_names


@pytest.fixture(autouse=True)
def _no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis", "redis"), ("bull", "redis"), ("rediss://h", "redis"), ("redis+cluster://a,b", "redis"),
        ("mongo", "mongo"), ("agenda", "mongo"), ("mongodb+srv://h/db", "mongo"), ("sqlite", "sqlite"),
        ("sqlite:////x", "sqlite"), ("memory://", "memory"), ("theirs://h", "theirs"), ("", ""),
    ],
)  # fmt: skip
def test_a_name_and_a_url_of_one_kind_are_known_as_such(text: str, expected: str) -> None:
    assert kind(text) == expected


def test_two_stores_of_a_move_have_names_that_differ_and_hold_no_url() -> None:
    assert side_names("redis://:secret@a", "mongodb://b/db") == ("redis", "mongo")
    assert side_names("rediss://a", "redis://b") == ("redis-from", "redis-to")
    assert [kind(name) for name in side_names("sqlite:///a", "sqlite:///b")] == ["sqlite", "sqlite"]


def test_a_providers_own_variables_name_its_store_beside_the_chosen_one() -> None:
    said = Settings.load(
        {"QUEUEKIT_URL": "redis://a", "MONGODB_URL": "mongodb://m/db", "REDIS_HOST": "r", "REDIS_DB": "3"}
    )
    assert said.url == "redis://a"
    mongo, redis = said.named("mongo"), said.named("redis")
    assert mongo is not None
    assert (mongo.url, mongo.chosen_by) == ("mongodb://m/db", "MONGODB_URL")
    assert redis is not None
    assert (redis.url, redis.chosen_by) == ("redis://r:6379/3", "REDIS_DB")
    assert said.named("agenda") == mongo


@pytest.mark.parametrize("name", ["redis", "mongo", "sqlite", "theirs"])
def test_nothing_is_guessed_where_no_variable_names_a_store(name: str) -> None:
    assert Settings.load({"QUEUEKIT_URL": "memory://"}).named(name) is None


def test_a_wrong_url_beside_the_chosen_one_is_told_when_it_is_asked_for() -> None:
    said = Settings.load({"QUEUEKIT_URL": "memory://", "MONGODB_URL": "http://h"})
    with pytest.raises(UnknownProvider, match="MONGODB_URL"):
        said.named("mongo")


def test_the_urls_of_a_move_are_checked_and_hidden() -> None:
    said = Settings.load({"QUEUEKIT_URL": "redis://a", "QUEUEKIT_TO_URL": "redis://:QX1@b", "REDIS_PASSWORD": "QX2"})
    assert said.to_url == "redis://:QX1@b"
    assert said.from_url is None
    assert "QX" not in repr(said)
    assert "QX" not in repr(dataclasses.replace(said, from_url="redis://:QX3@c"))
    with pytest.raises(UnknownProvider, match="QUEUEKIT_FROM_URL"):
        Settings.load({"QUEUEKIT_URL": "redis://a", "QUEUEKIT_FROM_URL": "nothing://b"})


def test_a_file_may_hold_the_urls_of_a_move_without_a_password(tmp_path: Path) -> None:
    (tmp_path / "queuekit.toml").write_text('[kit]\nto_url = "redis://b"\n')
    assert Settings.load({"QUEUEKIT_URL": "redis://a"}).to_url == "redis://b"
    (tmp_path / "queuekit.toml").write_text('[kit]\nfrom_url = "redis://:secret@b"\n')
    with pytest.raises(ConfigError, match="holds a password: set QUEUEKIT_FROM_URL"):
        Settings.load({"QUEUEKIT_URL": "redis://a"})
