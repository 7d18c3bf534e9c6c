"""What is in a folder already: a Django, Flask or FastAPI project, kits, queues. Files are read, never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

KITS: Final = ("QueueKit", "FlaskKit", "DjangoKit")
DEPTH: Final = 3  # folders below the one that is looked at: src/shop/web
MOST: Final = 500  # files that are read: a folder with more is no new project
LEFT_OUT: Final = ("node_modules", "site-packages", "tests", "__pycache__")

Framework: TypeAlias = Literal["django", "flask", "fastapi"]
APPS: Final[dict[str, Framework]] = {"Flask": "flask", "FastAPI": "fastapi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Where a framework's application is made: by a module, or by a function of it."""

    framework: Framework
    file: Path
    module: str
    name: str = "app"
    factory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """A kit that is a module's global, and the packages whose every module its worker imports."""

    file: Path
    module: str
    name: str
    imports: tuple[str, ...] = ()

    def package(self, more: Iterable[object] = ()) -> tuple[str, Path] | None:
        """The package around the kit that is imported whole, and its folder; `more`: what a settings file imports."""
        for name in (*self.imports, *more):
            around = str(name).removesuffix(".*")
            if around != name and (self.module == around or self.module.startswith(f"{around}.")):
                below = self.module.count(".") - around.count(".")
                return around, self.file.parents[max(below, 1) - 1]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Where a queue is named."""

    file: Path
    line: int


def app(folder: Path) -> App | None:
    """The application of a framework that is made somewhere in the folder."""
    if (folder / "manage.py").is_file():
        text = _text(folder / "manage.py")
        said = re.search(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)", text)
        module = said[1] if said else "settings"
        return App(framework="django", file=Path(*module.split(".")).with_suffix(".py"), module=module)
    for path, tree in _trees(folder):
        packages = _imported(tree)
        known = {call: framework for call, framework in APPS.items() if framework in packages}
        for call, name, factory in _made(tree):
            if call in known:
                return App(
                    framework=known[call], file=path.relative_to(folder), module=_module(folder, path), name=name,
                    factory=factory,
                )  # fmt: skip
    return None


def kits(folder: Path) -> list[Kit]:
    """Every kit that is a global of a module in the folder."""
    found = []
    for path, tree in _trees(folder):
        for node in tree.body:
            target, value = _assigned(node)
            if target and isinstance(value, ast.Call) and _called(value) in KITS:
                module = _module(folder, path)
                found.append(Kit(file=path, module=module, name=target, imports=_imports(value)))
    return found


def broken(folder: Path) -> Path | None:
    """The nearest file that cannot be read as Python."""
    return next((path for path in _files(folder) if _tree(path) is None), None)


def queue(folder: Path, name: str) -> Queue | None:
    """Where a queue of this name is named already."""
    for path, tree in _trees(folder):
        for node in ast.walk(tree):
            for value in _queues(node):
                if isinstance(value, ast.Constant) and value.value == name:
                    return Queue(file=path, line=value.lineno)
    return None


def defined(tree: ast.Module) -> dict[str, int]:
    """Names that a module binds at its top, and the lines where."""
    names: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = node.lineno
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((one.asname or one.name.partition(".")[0], node.lineno) for one in node.names)
        elif _assigned(node)[0]:
            names[_assigned(node)[0]] = node.lineno
    return names


def _trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Python files of the folder that can be read, the nearest first."""
    for path in _files(folder):
        tree = _tree(path)
        if tree is not None:
            yield path, tree


def _tree(path: Path) -> ast.Module | None:
    try:
        return ast.parse(_text(path))
    except (SyntaxError, ValueError):
        return None  # whoever wrote it mends it; until then it says nothing


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    level = [folder]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for one in level:
            entries = sorted(one.iterdir()) if one.is_dir() else []
            if any(entry.name == "pyvenv.cfg" for entry in entries):
                continue
            found += [entry for entry in entries if entry.suffix == ".py" and entry.is_file()]
            below += [
                entry for entry in entries
                if entry.is_dir() and not entry.is_symlink() and entry.name[0] != "." and entry.name not in LEFT_OUT
            ]  # fmt: skip
        level = below
        if len(found) > MOST:
            break
    return found[:MOST]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _module(folder: Path, path: Path) -> str:
    parts = list(path.relative_to(folder).with_suffix("").parts)
    if parts[0] == "src" and len(parts) > 1 and not (folder / "src" / "__init__.py").exists():
        del parts[0]
    if parts[-1] == "__init__" and len(parts) > 1:
        del parts[-1]
    return ".".join(parts)


def _imported(tree: ast.Module) -> set[str]:
    """The packages that a module imports, at whatever place."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            found.update(one.name.partition(".")[0] for one in node.names)
    return found


def _made(tree: ast.Module) -> Iterator[tuple[str, str, bool]]:
    """(what is called, the name of what is bound or of the function around, whether it is a function)."""
    for node in tree.body:
        target, value = _assigned(node)
        if target and isinstance(value, ast.Call):
            yield _called(value), target, False
        elif isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call):
                    yield _called(inner), node.name, True


def _assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _imports(call: ast.Call) -> tuple[str, ...]:
    said = next((one.value for one in call.keywords if one.arg == "imports"), None)
    parts = said.elts if isinstance(said, ast.List | ast.Tuple) else []
    return tuple(str(part.value) for part in parts if isinstance(part, ast.Constant))


def _queues(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions that name a queue: `queue=…`, `kit.processor(…)`, `QUEUE = …`."""
    if isinstance(node, ast.Call):
        yield from (one.value for one in node.keywords if one.arg == "queue")
        if _called(node) == "processor":
            yield from node.args[:1]
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        target, value = _assigned(node)
        if target == "QUEUE" and value is not None:
            yield value
