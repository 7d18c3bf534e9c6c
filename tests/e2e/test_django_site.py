"""examples/django_site over HTTP: gunicorn with two processes and a worker, each its own; a person in the admin.

On SQLite; SITE_STORES=redis,mongo (any of the three) runs it on others.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from queuekit import QueueKit, ids
from queuekit.settings import VARIABLES

T = TypeVar("T")
PROJECT = Path(__file__).parents[2] / "examples" / "django_site"
STORES = os.environ.get("SITE_STORES", "sqlite").split(",")
PATIENCE = 60.0  # seconds
PEOPLE = """
from django.contrib.auth.models import User
User.objects.create_superuser("ada", "ada@example.com", "engine")
User.objects.create_user("bob", "bob@example.com", "customer")
"""
JOBS = "/admin/queuekit/job/"


class Site:
    """The processes of the project, in a folder of their own, and what a browser or a program does with them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.namespace = f"site{ids.nonce()[:8]}"
        self.url = url
        inherited = {k: v for k, v in os.environ.items() if k not in VARIABLES and not k.startswith("DJANGO_")}
        self.env = inherited | {"SITE_DATA": str(folder), "QUEUEKIT_URL": url, "QUEUEKIT_NAMESPACE": self.namespace}
        self.running: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def manage(self, *arguments: str) -> None:
        """A command of Django's, to its end; warnings are errors."""
        command = [sys.executable, "-W", "error", "manage.py", *arguments]
        ran = subprocess.run(
            command, cwd=PROJECT, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=PROJECT, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        self.running.append(process)

    def serve(self) -> None:
        """Web server and worker; the server says which port it was given."""
        gunicorn = ("-m", "gunicorn", "config.wsgi", "--workers", "2", "--bind", "127.0.0.1:0")
        self.start("server", sys.executable, *gunicorn)
        self.start("worker", sys.executable, "manage.py", "queuekit", "worker", "--concurrency", "2")
        found = self.wait("the server listens", lambda: re.search(r"Listening at: (http://\S+)", self.said("server")))
        assert found is not None
        self.address = found[1]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait(self, what: str, look: Callable[[], T]) -> T:
        """What `look` gives as soon as it gives something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            logs = "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, f"never: {what}\n{logs}"
            time.sleep(0.05)
        return found

    def letters(self, to: str) -> str:
        """All mail to somebody."""
        letters = [path.read_text() for path in sorted((self.folder / "outbox").glob("*"))]
        return "\n".join(letter for letter in letters if f"To: {to}" in letter)

    def order(self, email: str, cents: int = 1250) -> httpx.Response:
        return httpx.post(f"{self.address}/orders/", json={"email": email, "cents": cents}, timeout=PATIENCE)

    def end(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


class Browser:
    """A browser of one person, with the site's cookies."""

    def __init__(self, site: Site, name: str = "", password: str = "") -> None:
        self.http = httpx.Client(base_url=site.address, follow_redirects=True, timeout=PATIENCE)
        if name:
            self.http.get("/admin/login/")
            self.send("/admin/login/", username=name, password=password)

    def page(self, address: str) -> str:
        answer = self.http.get(address)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, address: str, **fields: str) -> httpx.Response:
        """Send a form, with the token that the site gave this browser."""
        token = {"csrfmiddlewaretoken": self.http.cookies.get("csrftoken", "")}
        return self.http.post(address, data=fields | token)


def listed(page: str) -> list[tuple[str, str]]:
    """(job, address of its page) of a list in the admin."""
    found = re.findall(r'<th class="field-job"><a href="([^"]*)">([^<]*)</a>', page)
    return [(ref, html.unescape(address)) for address, ref in found]


@pytest.fixture(scope="module", params=STORES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The project, served."""
    folder = tmp_path_factory.mktemp("site")
    store = str(request.param)
    url = f"sqlite:///{folder}/queuekit.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    site = Site(folder, url)
    site.manage("migrate", "-v", "0")
    site.manage("shell", "-v", "0", "-c", PEOPLE)
    try:
        site.serve()
        yield site
    finally:
        site.end()


@pytest.fixture
def staff(site: Site) -> Browser:
    """Somebody of the shop, signed in."""
    return Browser(site, "ada", "engine")


def test_an_order_is_paid_and_its_receipt_mailed_by_the_worker(site: Site, staff: Browser) -> None:
    answer = site.order("eve@example.com")
    assert (answer.status_code, answer.json()["queued"]) == (202, True)
    number, job = answer.json()["order"], answer.json()["job"]
    seen = site.wait(
        "the order is paid",
        lambda: (order := httpx.get(f"{site.address}/orders/{number}/").json())["status"] == "completed" and order,
    )
    assert seen == {"order": number, "paid": True, "job": job, "status": "completed"}
    site.wait("the receipt is mailed", lambda: "We received 12.50" in site.letters("eve@example.com"))
    reminders = [staff.page(address) for _, address in listed(staff.page(f"{JOBS}?state=delayed&task=remind"))]
    assert [f'"order": {number}\n' in html.unescape(page) for page in reminders].count(True) == 1


def test_an_order_that_is_rolled_back_leaves_no_job(site: Site, staff: Browser) -> None:
    declined = site.order("mallory@example.com", 999_999)
    assert (declined.status_code, declined.json()["queued"]) == (402, False)
    job = declined.json()["job"]
    with QueueKit(site.url, name="looks", namespace=site.namespace) as kit:
        assert kit.job(job).status() == "unknown"
        assert "mallory" not in str([found.payload for found in kit.find().jobs])
    page = staff.page(f"{JOBS}{job.replace('/', '_2F')}/change/")
    assert f"There is no job {job}, or it is no longer kept." in page
    assert site.letters("mallory@example.com") == ""


def test_a_failed_job_is_retried_in_the_admin(site: Site, staff: Browser) -> None:
    (site.folder / "mail-is-down").touch()
    answer = site.order("carol@example.com")
    assert answer.status_code == 202
    failed = f"{JOBS}?state=failed&task=send_receipt&q=%22order%22:{answer.json()['order']}%7D"
    ((job, address),) = site.wait("the receipt fails for good", lambda: listed(staff.page(failed)))
    page = staff.page(address)
    assert "ConnectionRefusedError" in page
    assert "Traceback" in page
    assert "2 of 2" in page
    for sheet in re.findall(r'<link rel="stylesheet" href="([^"]*)"', page):
        assert staff.http.get(sheet).status_code == 200, sheet
    (site.folder / "mail-is-down").unlink()
    act = address.replace("/change/", "/act/")
    assert staff.http.post(act, data={"act": "retry"}).status_code == 403, "without a token of the site"
    assert listed(staff.page(failed)) == [(job, address)]
    after = staff.send(act, act="retry")
    assert (after.status_code, f"Retried 1 job: {job}." in after.text) == (200, True)
    site.wait("the receipt is mailed", lambda: "We received 12.50" in site.letters("carol@example.com"))
    site.wait("the job has completed", lambda: "sent to carol@example.com" in staff.page(address))


@pytest.mark.parametrize("who", ["nobody", "customer"])
def test_who_is_no_staff_is_kept_out(site: Site, who: str) -> None:
    job = site.order(f"{who}@example.com").json()["job"]
    browser = Browser(site, "bob", "customer") if who == "customer" else Browser(site)
    page = f"{JOBS}{job.replace('/', '_2F')}/"
    browser.http.get("/admin/login/")
    for answer in (
        browser.http.get(JOBS),
        browser.http.get(f"{page}change/"),
        browser.http.get("/admin/queuekit/queue/"),
        browser.send(f"{page}act/", act="delete", confirmed="yes"),
        browser.send("/admin/queuekit/queue/mail/act/", act="pause"),
    ):
        assert answer.url.path == "/admin/login/", answer.url
        assert job not in re.sub(r'name="next" value="[^"]*"', "", answer.text)
    with QueueKit(site.url, name="looks", namespace=site.namespace) as kit:
        assert kit.job(job).status() != "unknown"
        assert kit.health()["mail"].paused is None
