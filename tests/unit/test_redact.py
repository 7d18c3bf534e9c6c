"""No secret survives `redact`, in any of the forms in which it reaches a log; everything else does."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit.domain.redact import redact

FORMS = [
    "redis://user:{}@host:6379/0",
    "cannot reach rediss://:{}@host: refused",
    "redis+sentinel://u:{}@h1:26379,h2:26379/main/0",
    "mongodb://u:{}@h1:27017,h2:27017/db?replicaSet=rs0",
    "mongodb+srv://u:{}@cluster/?retryWrites=true",
    "redis://host/0?password={}&db=1",
    "mongodb://h/?tlsCertificateKeyFilePassword={}",
    "https://user:{}@example.com/path",
    "REDIS_PASSWORD={}",
    "connect(host='h', password='{}')",
    '{{"password": "{}", "db": 0}}',
    "{{'password': b'{}'}}",
    "password: {}",
    "QUEUEKIT_KEYS=k1:{}",
    "dashboard_token={}",
    "Authorization: Bearer {}",
]
# As in a URL or a variable: no quote, no space. "QX" cannot be part of any of the forms.
SECRETS = st.text(string.ascii_letters + string.digits + "-._~", min_size=8, max_size=40).map(
    lambda text: f"QX{text}QX"
)
RAW_SECRETS = st.text(string.ascii_letters + string.digits + "/#@:?%+=", min_size=1, max_size=40).map(
    lambda text: f"QX{text}QX"
)


@pytest.mark.parametrize("form", FORMS)
@given(secret=SECRETS)
def test_a_secret_is_gone_and_redacting_twice_changes_nothing(form: str, secret: str) -> None:
    shown = redact(form.format(secret))
    assert secret not in shown
    assert "***" in shown
    assert redact(shown) == shown


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith(("redis", "mongodb")) and ":{}@" in form])
@given(secret=RAW_SECRETS)
def test_a_password_with_unescaped_characters_is_gone_whole(form: str, secret: str) -> None:
    assert "QX" not in redact(form.format(secret))


def test_user_hosts_and_options_stay() -> None:
    assert redact("mongodb://u:p@h1:1,h2:2/db?replicaSet=rs0") == "mongodb://u:***@h1:1,h2:2/db?replicaSet=rs0"
    assert redact("redis://token@host/2") == "redis://***@host/2"
    assert redact("redis://h/0?password=p&db=1") == "redis://h/0?password=***&db=1"


@pytest.mark.parametrize(
    "text",
    [
        "redis://localhost:6379/0",
        "see https://example.com/@user",
        "job 7 of queue a:b failed",
        "password=None",
        "a@b.c",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_quoted_secret_is_gone_even_when_cut_off() -> None:
    assert redact("connect(password='hunter2, and mo") == "connect(password=***"
    assert redact('{"token": "hunter2 and mo') == '{"token": ***'


def test_a_private_key_is_gone_even_when_cut_off() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
    assert redact(f"a {key} b") == "a *** b"
    assert "MIIEow" not in redact(key[:40])


@pytest.mark.parametrize(
    "piece", ["a", "://", "redis://", "password", "password=", "password='", "bearer ", "-----BEGIN PRIVATE KEY-----"]
)
@pytest.mark.timeout(10)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    redact(piece * (2_000_000 // len(piece)))
