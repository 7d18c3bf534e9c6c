"""The least a project needs for Django's tests of its tasks framework."""

from importlib.util import find_spec

SECRET_KEY = "of somebody else's tests"
USE_TZ = True
INSTALLED_APPS = ["queuekit.contrib.django", *([] if find_spec("django.tasks") else ["django_tasks"])]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
QUEUEKIT = {"URL": "memory://suite"}
DEBUG = True
