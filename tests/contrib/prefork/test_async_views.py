"""Async views under WSGI, where each request has a loop of its own, and under ASGI: nothing stays open anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuekit import QueueKit, ids

REQUESTS = 100 if os.environ.get("QUEUEKIT_PREFORK") == "full" else 5
FLASK = """
import sys
from flask import Flask
from queuekit import QueueKit
from tests.contrib.prefork.looks import open_to
n, namespace, *urls = sys.argv[1], sys.argv[2], *sys.argv[3:]
kits = {url: QueueKit(url, name=url, namespace=namespace) for url in urls}
app = Flask("site")
@app.get("/")
async def view():
    return [(await kit.queue("q").aenqueue("t")).ref for kit in kits.values()]
client = app.test_client()
for _ in range(int(n)):
    assert len(client.get("/").json) == len(urls)
    assert [open_to(url) for url in urls] == [set()] * len(urls), "a loop a request, and it has ended"
"""
DJANGO = """
import asyncio, sys
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", USE_TZ=True)
import django
django.setup()
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from queuekit import QueueKit
from tests.contrib.prefork.looks import open_to
n, namespace, *urls = sys.argv[1], sys.argv[2], *sys.argv[3:]
kits = {url: QueueKit(url, name=url, namespace=namespace) for url in urls}
async def view(request):
    return JsonResponse({"refs": [(await kit.queue("q").aenqueue("t")).ref for kit in kits.values()]})
def plain(request):
    return JsonResponse({"refs": [kit.queue("q").enqueue("t").ref for kit in kits.values()]})
urlpatterns = [path("", view), path("plain", plain)]
for _ in range(int(n)):
    assert len(Client().get("/").json()["refs"]) == len(urls)
    assert [open_to(url) for url in urls] == [set()] * len(urls), "WSGI: a loop a request, and it has ended"
async def ask():
    for where in ("/", "/plain"):
        for _ in range(int(n)):
            assert len((await AsyncClient().get(where)).json()["refs"]) == len(urls)
asyncio.run(ask())  # ASGI: the server's loop, and a thread for plain views
for kit in kits.values():
    kit.close()
"""


@pytest.mark.parametrize(("program", "times"), [(FLASK, 1), (DJANGO, 3)], ids=["flask", "django"])
def test_async_views_leave_no_connection(
    redis_url: str, mongo_url: str, tmp_path: Path, program: str, times: int
) -> None:
    urls, namespace = [f"sqlite:///{tmp_path}/jobs.db", redis_url, mongo_url], f"t{ids.nonce()[:12]}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(REQUESTS), namespace, *urls],
        capture_output=True, text=True, timeout=100, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for url in urls:
        with QueueKit(url, name=ids.nonce(), namespace=namespace) as kit:
            assert kit.health("q")["q"].waiting == times * REQUESTS
