"""`queuekit init` and `queuekit new queue`: what is written runs at once, and nothing that was there is lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from queuekit.cli.scaffold import write
from tests.architecture import ROOT
from tests.cli.conftest import Ran, Shell

RUFF = str(Path(sys.executable).parent / "ruff")
FOLDER = ["__init__.py", "constants.py", "processor.py", "producer.py", "types.py"]
FLASK = "from flask import Flask\n\n\ndef create_app() -> Flask:\n    app = Flask(__name__)\n    return app\n"
FASTAPI = "import fastapi\n\napi = fastapi.FastAPI()\n"
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\n'


@pytest.fixture
def empty(shell: Shell) -> Shell:
    (shell.folder / "app.py").unlink()
    return shell


def files(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*.py")}


def given(ran: Ran) -> list[str]:
    """The commands it says to run next."""
    assert ran.code == 0, ran.err
    return [line.strip() for line in ran.out.splitlines() if line.startswith("    ")]


def done(shell: Shell, command: str) -> str:
    """What the second command prints, with its job done by the first one."""
    words = command.removeprefix("queuekit ").removesuffix(" --wait 30s")
    before, payload = words.split(" '")
    ref = shell(*before.split(), payload.removesuffix("'"), "--json").json["ref"]
    assert shell("-q", "worker", "jobs:kit", "--burst").code == 0
    return str(shell("jobs", "show", ref, "--json").json["result"])


def ruffed(folder: Path) -> None:
    for command in (["check", "--isolated", "--select", "E,F,I,UP,B,SIM,RUF"], ["format", "--isolated", "--check"]):
        ran = subprocess.run([RUFF, *command, "."], cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout


def test_one_file_runs_beside_its_worker_as_it_says(empty: Shell) -> None:
    worker, program = given(empty("init"))
    assert list(files(empty.folder)) == ["jobs.py"]
    assert (worker, program) == ("queuekit worker jobs:kit --reload", "python jobs.py")
    running = empty.start(*worker.split()[1:])
    ran = subprocess.run(
        [sys.executable, "jobs.py"], cwd=empty.folder, env=empty.env, capture_output=True, text=True, check=False
    )
    running.terminate()
    running.communicate(timeout=40)
    assert ran.stdout.startswith("mail/"), ran.stderr
    assert ran.stdout.endswith(" welcome, ada@example.com\n")
    assert running.returncode == 0


def test_a_folder_is_made_and_left_clean_where_it_cannot_be(empty: Shell) -> None:
    assert given(empty("init", "shop/jobs app"))[0] == "cd 'shop/jobs app'"
    assert (empty.folder / "shop/jobs app/jobs.py").is_file()
    (empty.folder / "note.txt").write_text("mine")
    ran = empty("init", "note.txt")
    assert (ran.code, "is a file" in ran.err) == (2, True)
    ran = empty("init", "note.txt/below")
    assert (ran.code, "note.txt" in ran.err) == (2, True)


def test_a_new_queue_of_one_file_is_four_lines_before_what_only_the_program_runs(empty: Shell) -> None:
    empty("init")
    before = (empty.folder / "jobs.py").read_text()
    _, call = given(empty("new", "queue", "execution:order_submission"))
    assert list(files(empty.folder)) == ["jobs.py"]
    after = (empty.folder / "jobs.py").read_text()
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(after.splitlines()) - len(before.splitlines()) <= 8
    assert len(added) == 3  # and two empty lines: `@kit.task`, `def`, `return`
    assert after.replace("".join(f"{line}\n" for line in added) + "\n\n", "") == before
    assert done(empty, call) == "execution:order_submission: u1"
    ruffed(empty.folder)


def test_folders_run_at_once_and_a_new_queue_is_registered_nowhere(empty: Shell) -> None:
    _, call = given(empty("init", "--layout", "feature-folders"))
    written = files(empty.folder)
    assert sorted(written) == ["jobs/__init__.py", *(f"jobs/example/{name}" for name in FOLDER)]
    assert done(empty, call) == "{'success': True}"
    _, call = given(empty("new", "queue", "my-feature"))
    assert done(empty, call) == "{'success': True}"
    _, one = given(empty("new", "queue", "2fa", "--layout", "one-file"))
    assert done(empty, one) == "2fa: u1"
    after = files(empty.folder)
    assert {name: after[name] for name in written} == written  # not a line of what was there
    new = {f"jobs/my_feature/{name}" for name in FOLDER} | {"jobs/queue_2fa.py"}
    assert after.keys() - written.keys() == new
    assert len(after["jobs/queue_2fa.py"].splitlines()) <= 8
    assert empty("queues", "show", "my-feature", "--json").json["declared"]["concurrency"] == 5
    ruffed(empty.folder)


def test_who_enqueues_imports_no_processor(empty: Shell) -> None:
    empty("init", "--layout", "feature-folders")
    program = (
        "import sys\nfrom jobs.example import producer\nfrom jobs.example.types import Payload\n"
        "print(producer.enqueue(Payload(user_id='u', action='a')).queue, 'jobs.example.processor' in sys.modules)"
    )
    ran = subprocess.check_output([sys.executable, "-c", program], cwd=empty.folder, env=empty.env, text=True)
    assert ran == "example False\n"


@pytest.mark.parametrize(
    ("layout", "there"),
    [("one-file", "jobs.py"), ("one-file", "jobs/mine.py"), ("feature-folders", "jobs/__init__.py"),
     ("feature-folders", "jobs.py"), ("feature-folders", "jobs/example/types.py")],
)  # fmt: skip
def test_nothing_is_overwritten_and_nothing_half_written(empty: Shell, layout: str, there: str) -> None:
    (empty.folder / there).parent.mkdir(exist_ok=True, parents=True)
    (empty.folder / there).write_text("mine = 1\n")
    ran = empty("init", "--layout", layout)
    assert ran.code == 1
    assert there.removesuffix("/mine.py") in ran.err
    assert files(empty.folder) == {there: "mine = 1\n"}


def test_a_project_that_has_a_kit_is_told_how_to_go_on(empty: Shell) -> None:
    empty("init")
    ran = empty("init")
    assert ran.code == 1
    assert "jobs:kit" in ran.err
    assert "new queue" in ran.err


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("send_welcome", 1, "jobs.py has a 'send_welcome' already, in line 9"),
        ("mail", 1, "the queue 'mail' is there already: jobs.py, line 8"),
        ("two words", 2, "1 to 128 of A-Z a-z 0-9 _ . : -"),
        ("größe", 2, "1 to 128"),
        ("x" * 129, 2, "1 to 128"),
        ("", 2, "1 to 128"),
    ],
)
def test_a_queue_that_cannot_be_added_is_told_why(empty: Shell, name: str, code: int, said: str) -> None:
    empty("init")
    before = files(empty.folder)
    ran = empty("new", "queue", name)
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert files(empty.folder) == before


def test_no_kit_several_kits_and_a_folder_for_one_module_are_told(empty: Shell) -> None:
    ran = empty("new", "queue", "mail")
    assert (ran.code, "queuekit init" in ran.err) == (2, True)
    empty("init")
    ran = empty("new", "queue", "bills", "--layout", "feature-folders")
    assert (ran.code, 'imports=["jobs.*"]' in ran.err) == (2, True)
    (empty.folder / "other.py").write_text("import queuekit\n\nother = queuekit.QueueKit()\n")
    ran = empty("new", "queue", "bills")
    assert (ran.code, "jobs:kit, other:other" in ran.err) == (2, True)
    ran = empty("-A", "other:other", "new", "queue", "bills")
    assert given(ran)[0] == "queuekit worker other:other --reload"
    assert '@other.task(queue="bills")' in (empty.folder / "other.py").read_text()


def test_a_file_that_is_no_python_is_named(empty: Shell) -> None:
    (empty.folder / "jobs.py").write_text("from queuekit import QueueKit\nkit = QueueKit(\n")
    ran = empty("new", "queue", "bills")
    assert (ran.code, "(jobs.py cannot be read as Python)" in ran.err) == (2, True)


def test_the_kit_of_a_flask_app_gets_a_queue_and_flasks_commands(empty: Shell) -> None:
    kit = "from queuekit.contrib.flask import FlaskKit\n\nkit = FlaskKit()\n"
    (empty.folder / "web.py").write_text(kit + FLASK.replace("    return", "    kit.init_app(app)\n    return"))
    worker, call = given(empty("new", "queue", "mail", env={"QUEUEKIT_APP": "web:create_app"}))
    assert worker == "flask --app web:create_app queuekit worker --reload"
    assert call.startswith("flask --app web:create_app queuekit enqueue mail mail ")
    assert [row["task"] for row in empty("-A", "web:create_app", "tasks", "--json").json] == ["mail"]


def test_a_project_whose_file_names_the_app_and_the_package(empty: Shell) -> None:
    (empty.folder / "queuekit.toml").write_text('[kit]\napp = "shop.kit:queue"\nimports = ["shop.*"]\n')
    (empty.folder / "shop").mkdir()
    (empty.folder / "shop/kit.py").write_text("from queuekit import QueueKit\n\nqueue = QueueKit()\n")
    assert empty("new", "queue", "mail", "--layout", "one-file").code == 0
    assert (empty.folder / "shop/mail.py").read_text().startswith("from shop.kit import queue\n")
    assert [row["task"] for row in empty("tasks", "--json").json] == ["mail"]


def test_the_page_shows_what_is_written(empty: Shell) -> None:
    page = (ROOT / "docs/frameworks.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ours = [text.split("&& ")[-1].split() for kind, text in blocks if kind == "sh"]
    assert [words[:3] for words in ours] == [
        ["queuekit", "init", "shop"], ["queuekit", "new", "queue"], ["queuekit", "worker", "jobs:kit"]
    ]  # fmt: skip
    assert empty(*ours[0][1:]).code == 0
    empty.folder /= "shop"
    assert empty(*ours[1][1:]).code == 0
    lines, again = [text for kind, text in blocks if kind == "python"]
    jobs = empty.folder / "jobs.py"
    assert lines in jobs.read_text()
    jobs.write_text(jobs.read_text() + again)
    assert empty("-A", "jobs:kit", "schedules", "sync").code == 0
    assert [row["id"] for row in empty("-A", "jobs:kit", "schedules", "list", "--json").json] == ["monday"]
    (tree,) = [text for kind, text in blocks if kind == "text"]
    assert re.findall(r"(\w+\.py)", tree) == ["__init__.py", "constants.py", "types.py", "producer.py", "processor.py"]


# ------------------------------------------------------------ applications of a framework
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"web/app.py": FLASK}, ["In web/app.py:", "FlaskKit()", "in create_app():", "flask --app web.app:create_app"]),
        (
            {"src/shop/main.py": FASTAPI},
            ["In src/shop/main.py:", "where `api` is made", "queuekit worker shop.main:kit"],
        ),
        (
            {"manage.py": MANAGE, "mysite/urls.py": ""},
            ["In mysite/settings.py:", "tasks.py", "manage.py queuekit worker"],
        ),
    ],
)
def test_an_application_is_told_its_lines_and_gets_no_second_one(
    empty: Shell, files: dict[str, str], said: list[str]
) -> None:
    for name, text in files.items():
        (empty.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (empty.folder / name).write_text(text)
    for command in (["init"], ["new", "queue", "orders:new"]):
        ran = empty(*command)
        assert ran.code == 0, ran.err
        for text in said:
            assert text in ran.out
    assert 'queue="orders:new"' in ran.out
    assert "def orders_new(" in ran.out
    assert not (empty.folder / "jobs.py").exists()
    assert empty("init", "--layout", "one-file").code == 0
    assert (empty.folder / "jobs.py").exists()


# ------------------------------------------------------------ names and insertions
@pytest.mark.parametrize(
    ("queue", "name"),
    [("mail", "mail"), ("execution:order", "execution_order"), ("My-Feature.v2", "my_feature_v2"), ("2fa", "queue_2fa"),
     ("import", "import_"), ("list", "list_"), ("--", "queue"), ("a::b", "a__b")],
)  # fmt: skip
def test_every_queue_has_an_identifier(queue: str, name: str) -> None:
    assert write.identifier(queue) == name.replace("__", "_")
    assert name.isidentifier()


def test_lines_go_to_the_end_where_more_follows_the_programs_block(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text("if __name__ == '__main__':\n    print(1)\n\nkit = 1\n")
    assert write.insert(path, "b = 2\n") == 7
    assert path.read_text().endswith("kit = 1\n\n\nb = 2\n")


def test_an_insertion_keeps_line_ends_rights_and_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    real.write_bytes(b"a = 1\r\n\r\nif __name__ == '__main__':\r\n    print(a)\r\n")
    real.chmod(0o640)
    link.symlink_to(real)
    assert write.insert(link, "b = 2\n") == 4
    assert real.read_bytes() == b"a = 1\r\n\r\n\r\nb = 2\r\n\r\n\r\nif __name__ == '__main__':\r\n    print(a)\r\n"
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
