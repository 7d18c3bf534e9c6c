"""The public contract: a user's file type-checks as written, mistakes are refused, every name of the stubs exists."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import queuekit
from queuekit.cli.scaffold import templates

HERE = Path(__file__).parent
FILES = ("example.py", "refused.py", "contract.pyi")
SCAFFOLD = ("one_file.py", "jobs")
BASES = {"Protocol", "TypedDict", "Generic"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files alone in a folder, as a user has them: `refused` imports `example`."""
    folder = tmp_path_factory.mktemp("typing")
    for name in FILES:
        shutil.copy(HERE / name, folder)
    _scaffold(folder)
    return folder


def _scaffold(folder: Path) -> None:
    """What `queuekit init` and `queuekit new queue` write, as one program."""
    names = {"kit": "kit", "queue": "mail:out", "name": "mail_out", "module": "jobs", "package": "jobs"}
    files = {"one_file.py": templates.ONE_FILE, "jobs/__init__.py": templates.PACKAGE}
    files |= {f"jobs/mail_out/{name}": text.substitute(names) for name, text in templates.FEATURE.items()}
    files["jobs/bills.py"] = templates.QUEUE.substitute(names, name="bills")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_mypy_takes_the_example_and_what_is_scaffolded_and_refuses_every_mistake(folder: Path) -> None:
    strictly = ["--config-file=", "--strict", "--warn-unused-ignores", "--python-version=3.11"]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *strictly, *FILES, *SCAFFOLD],
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_pyright_takes_the_example_and_refuses_every_mistake(folder: Path) -> None:
    root = Path(sys.prefix)
    config = {
        "include": list(FILES[:2]), "pythonVersion": "3.11", "venvPath": str(root.parent), "venv": root.name,
        "enableTypeIgnoreComments": False,
    }  # fmt: skip
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    ran = subprocess.run(
        [sys.executable, "-m", "pyright", "-p", str(folder), "--outputjson"],
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    if not ran.stdout.startswith("{"):
        pytest.skip(f"pyright does not start here: {ran.stderr[-300:]}")
    said = json.loads(ran.stdout)["generalDiagnostics"]
    found = {(Path(one["file"]).name, one["range"]["start"]["line"]) for one in said if one["severity"] == "error"}
    lines = (folder / "refused.py").read_text().splitlines()
    assert found == {("refused.py", number) for number, line in enumerate(lines) if "type: ignore" in line}


def test_the_example_can_be_imported_and_called_where_nothing_is_stored() -> None:
    spec = importlib.util.spec_from_file_location("example", HERE / "example.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.resize("abc", width=2) == 6
    assert sorted(example.kit.tasks()) == ["charge-card", "process", "resize", "send_email"]


def _contract() -> list[ast.stmt]:
    return ast.parse((HERE / "contract.pyi").read_text()).body


CLASSES = [node for node in _contract() if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_every_class_of_the_contract_is_as_it_says(node: ast.ClassDef) -> None:
    cls = getattr(queuekit, node.name)
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _same_function(cls, item)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            assert _has_field(cls, item.target.id), f"{node.name}.{item.target.id} is missing"


def test_every_function_of_the_contract_is_as_it_says() -> None:
    for node in _contract():
        if isinstance(node, ast.FunctionDef):
            _same_parameters(node, getattr(queuekit, node.name))


def _same_function(cls: type, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    has = getattr(cls, node.name)
    assert inspect.iscoroutinefunction(has) == isinstance(node, ast.AsyncFunctionDef), f"{cls.__name__}.{node.name}"
    overloaded = any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)
    if not overloaded and not dataclasses.is_dataclass(cls) and node.args.kwarg is None:
        _same_parameters(node, has)
    if node.args.kwarg is not None and not overloaded:
        assert any(p.kind is p.VAR_KEYWORD for p in inspect.signature(has).parameters.values())


def _same_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, has: object) -> None:
    assert callable(has)
    found = inspect.signature(has).parameters
    for arg in [*node.args.posonlyargs, *node.args.args]:
        assert arg.arg in found, f"{node.name}({arg.arg})"
    for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        assert found[arg.arg].kind is inspect.Parameter.KEYWORD_ONLY, f"{node.name}({arg.arg}=)"
        assert (default is None) == (found[arg.arg].default is inspect.Parameter.empty), f"{node.name}({arg.arg}=)"


def _has_field(cls: type, name: str) -> bool:
    own = {key for base in cls.__mro__ for key in getattr(base, "__annotations__", {})}
    if hasattr(cls, "__total__"):  # a TypedDict forgets its bases, and keeps their keys
        own |= cls.__required_keys__ | cls.__optional_keys__  # type: ignore[attr-defined]  # of TypedDicts
    return name in own or hasattr(cls, name) or f"self.{name} = " in inspect.getsource(cls)
