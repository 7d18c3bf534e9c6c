"""Small enough to read: modules, functions, nesting and Lua scripts have limits."""

from __future__ import annotations

import ast

from tests.architecture import ROOT, functions, shipped

MODULE, FUNCTION, NESTING, SCRIPT = 400, 50, 4, 120
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in shipped(".py")}
    assert len(lengths) > 20
    assert {name: lines for name, lines in lengths.items() if lines > MODULE} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({node.end_lineno - node.lineno + 1})"
        for path in shipped(".py")
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION
    ]
    assert long == []


def test_no_function_nests_deeper_than_4_blocks() -> None:
    deep = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in shipped(".py")
        for node in functions(path)
        if _depth(node.body) > NESTING
    ]
    assert deep == []


def test_no_lua_script_is_longer_than_120_lines() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in shipped(".lua")}
    assert len(lengths) > 5
    assert {name: lines for name, lines in lengths.items() if lines > SCRIPT} == {}


def _depth(body: list[ast.stmt]) -> int:
    """The deepest block in a body; an `elif` is no deeper than its `if`, an inner function starts anew."""
    deepest = 0
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, BLOCKS):
            deepest = max(deepest, 1 + max(map(_depth, _bodies(statement)), default=0))
    return deepest


def _bodies(block: ast.stmt) -> list[list[ast.stmt]]:
    bodies = [getattr(block, name, []) for name in ("body", "finalbody")]
    bodies += [part.body for part in getattr(block, "handlers", [])] + [
        part.body for part in getattr(block, "cases", [])
    ]
    orelse = getattr(block, "orelse", [])
    while isinstance(block, ast.If) and len(orelse) == 1 and isinstance(orelse[0], ast.If):  # elif
        bodies.append(orelse[0].body)
        orelse = orelse[0].orelse
    return [*bodies, orelse]
