"""Where the user's program stands while it is traced, and the names that it gives to what it makes there."""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import TypeAlias

from seiche import errors
from seiche.errors import Loc

_PACKAGE = os.path.dirname(os.path.abspath(errors.__file__)) + os.sep

Span: TypeAlias = tuple[int, int, int, int]
"""Of an expression: its first line and column, its last line and column."""


def here() -> Loc:
    """The innermost line outside of this package."""
    frame = _user()
    return Loc(frame.f_code.co_filename, frame.f_lineno)


def assigned(default: str) -> str:
    """The name that the running expression, or one around it, is assigned to; else the default."""
    frame = _user()
    span = _span(frame)
    if span is None:
        return default
    around = [
        (s, n)
        for s, n in _assignments(frame).get(span[0], ())
        if s[:2] <= span[:2] and span[2:] <= s[2:]
    ]
    return max(around, default=(span, default))[1]


def function() -> str:
    """The name of the function that is running; nothing where it has none."""
    name = _user().f_code.co_name
    return name if name.isidentifier() else ""


def whole() -> str:
    """The name that the running expression is assigned to as it is; nothing where it is only a part of a value."""
    frame = _user()
    span = _span(frame)
    if span is None:
        return ""
    return next((name for s, name in _assignments(frame).get(span[0], ()) if s == span), "")


def _user() -> FrameType:
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and (internal(frame.f_code.co_filename) or _generated(frame)):
        frame = frame.f_back
    return frame


def _generated(frame: FrameType) -> bool:
    """Whether it is code without a file that was made for this package: the `__init__` of a dataclass."""
    made = frame.f_code.co_filename == "<string>"
    return made and str(frame.f_globals.get("__name__", "")).startswith("seiche.")


@functools.cache
def internal(file: str) -> bool:
    """Whether code of that file is the package's own, or Python's that calls back into it."""
    if file.startswith("<"):
        return file.startswith("<frozen")
    return os.path.abspath(file).startswith(_PACKAGE) or file in _MACHINERY


_MACHINERY = {
    os.path.join(os.path.dirname(ast.__file__), name)
    for name in ("contextlib.py", "functools.py", "copy.py")
}
"""Modules of Python's own that call back into this package."""


def _span(frame: FrameType) -> Span | None:
    """The expression that a frame is evaluating; None where Python was told not to keep this."""
    line, last, column, end = _positions(frame.f_code)[frame.f_lasti // 2]
    if line is None or last is None or column is None or end is None:
        return None
    return line, column, last, end


@functools.cache
def _positions(code: CodeType) -> tuple[tuple[int | None, int | None, int | None, int | None], ...]:
    return tuple(code.co_positions())


_known: dict[str, tuple[list[str], dict[int, list[tuple[Span, str]]]]] = {}


def _assignments(frame: FrameType) -> dict[int, list[tuple[Span, str]]]:
    """The assigned expressions of a file by each line they touch; read again when the text has changed."""
    file = frame.f_code.co_filename
    lines = linecache.getlines(file, frame.f_globals)
    if file not in _known or _known[file][0] is not lines:
        _known[file] = lines, _read("".join(lines))
    return _known[file][1]


def _read(text: str) -> dict[int, list[tuple[Span, str]]]:
    found: dict[int, list[tuple[Span, str]]] = defaultdict(list)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return found
    for stmt in ast.walk(tree):
        for value, name in _named(stmt):
            span = (
                value.lineno,
                value.col_offset,
                value.end_lineno or 0,
                value.end_col_offset or 0,
            )
            for line in range(span[0], span[2] + 1):
                found[line].append((span, name))
    return found


def _named(stmt: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What a statement assigns, each with its name: `x = e`, `x.next = e`, `x, y = e, f`, `x += e`, `(x := e)`."""
    match stmt:
        case ast.Assign(targets=[target, *_], value=value):
            yield from _paired(target, value)
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.NamedExpr(target=target, value=value)
        ):
            yield from _paired(target, value)
        case ast.AugAssign(target=ast.Name(id=name)):
            yield stmt, name
        case _:
            pass


def _paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    match target:
        case ast.Name(id=name):
            yield value, name
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            yield value, f"{owner}_{attr}"
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            if len(values) == len(targets):
                for each, one in zip(targets, values, strict=True):
                    yield from _paired(each, one)
        case _:
            pass
