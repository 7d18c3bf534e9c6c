"""Settings of the project. DJANGO_DB is its SQLite file, DJANGO_DEBUG=1 its debug mode, QUEUEKIT_JSON its QUEUEKIT."""

import json
import os
from typing import Any

SECRET_KEY = "of a test project"
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
LOGGING_CONFIG = None  # the process may be one of many tests

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "queuekit.contrib.django",
    "tests.contrib.django_project.shop",
    *filter(None, os.environ.get("DJANGO_APPS", "").split(",")),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.contrib.django_project.urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast

_FILE = os.environ.get("DJANGO_DB", "")
DATABASES: dict[str, dict[str, Any]] = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{_FILE}{suffix}" if _FILE else f"file:queuekit{suffix}{os.getpid()}?mode=memory&cache=shared",
        "ATOMIC_REQUESTS": os.environ.get("DJANGO_ATOMIC") == "1",
        "OPTIONS": {"timeout": 20, **({} if _FILE else {"uri": True})},
    }
    for alias, suffix in (("default", ""), ("other", "-other"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

QUEUEKIT: dict[str, Any] = json.loads(os.environ.get("QUEUEKIT_JSON", '{"URL": "memory://django"}'))
TASKS: dict[str, Any] = json.loads(os.environ.get("TASKS_JSON", "{}"))
