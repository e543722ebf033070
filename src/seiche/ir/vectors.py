"""Lanes from scalar expressions: what an access gives at `lanes` indices side by side, where memory has it side by side too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from seiche.ir.loops import (
    COMPARISONS,
    Binary,
    Choose,
    Const,
    Expr,
    Let,
    Load,
    Name,
    Stmt,
    Unary,
    Writer,
    integer,
)
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format

Env = dict[str, Expr]


def wide(
    w: Writer,
    at: Callable[[Expr], Expr],
    base: Expr | int,
    lanes: int,
    known: Mapping[str, Expr] = MappingProxyType({}),
) -> Expr | None:
    """`at(base)` to `at(base + lanes - 1)` as lanes (a scalar, if they are all one); None where memory has them elsewhere.

    Statements that `at` writes are written once, for all lanes. `known`: names in them that differ from lane to lane, as lanes.
    """
    if lanes == 1:
        return at(integer(base))
    lane = w.fresh("lane", fmt.i32)
    start = integer(base)
    scalar: list[Stmt] = []
    with w.into(scalar):
        value = at(lane if isinstance(start, Const) and start.value == 0 else start + lane)
    env: Env = dict(known)
    lets: list[Stmt] = []
    for stmt in scalar:
        if not isinstance(stmt, Let):
            return None
        held = _widened(stmt.value, lane, lanes, env)
        if held is None:
            return None
        name = Name(stmt.name.name, stmt.name.format, held.lanes)
        env[name.name] = name
        lets.append(Let(name, held))
    found = _widened(value, lane, lanes, env)
    if found is not None:
        w.block.extend(lets)
    return found


def _widened(e: Expr, lane: Name, lanes: int, env: Env) -> Expr | None:
    if not depends(e, lane, env):
        return e
    match e:
        case Name(name):
            return env.get(name)
        case Load(buffer, index):
            steps = [slope(i, lane, env) for i in index]
            step, size = 0, 1
            for found, n in zip(reversed(steps), reversed(buffer.type.shape), strict=True):
                if found is None:
                    return None
                step, size = step + found * size, size * n
            return (
                Load(buffer, tuple(without(i, lane) for i in index), lanes) if step == 1 else None
            )
        case Unary("-", arg) if e.format.is_float:
            inner = _widened(arg, lane, lanes, env)
            return None if inner is None else Unary("-", inner)
        case Binary(op, left, right) if e.format.is_float and op in "+-*/":
            a, b = _widened(left, lane, lanes, env), _widened(right, lane, lanes, env)
            return None if a is None or b is None else Binary(op, a, b)
        case Choose(cond, yes, no) if e.format.is_float:
            mask = _mask(cond, e.format, lane, lanes, env)
            a, b = _widened(yes, lane, lanes, env), _widened(no, lane, lanes, env)
            return None if mask is None or a is None or b is None else Choose(mask, a, b)
        case _:
            return None


def _mask(e: Expr, format: Format, lane: Name, lanes: int, env: Env) -> Expr | None:
    """Comparisons in lanes of that format, joined by `&` and `|`; what is the same in all lanes would be no mask."""
    match e:
        case Binary(op, left, right) if op in COMPARISONS and left.format is format:
            a, b = _widened(left, lane, lanes, env), _widened(right, lane, lanes, env)
        case Binary("&" | "|" as op, left, right):
            a, b = _mask(left, format, lane, lanes, env), _mask(right, format, lane, lanes, env)
        case _:
            return None
    return None if a is None or b is None or max(a.lanes, b.lanes) == 1 else Binary(op, a, b)


def depends(e: Expr, lane: Name, env: Env) -> bool:
    """Whether the lane's number shows in an expression; unknown kinds count as if it did."""
    match e:
        case Const():
            return False
        case Name(name):
            return e is lane or name in env
        case Binary(_, left, right):
            return depends(left, lane, env) or depends(right, lane, env)
        case Unary(_, arg):
            return depends(arg, lane, env)
        case Load(_, index):
            return any(depends(i, lane, env) for i in index)
        case _:
            return True


def slope(e: Expr, lane: Name, env: Env) -> int | None:
    """By how much an index grows from lane to lane; None where that is not known.

    >>> j = Name("j", fmt.i32)
    >>> slope(3 + j * 4, j, {}), slope(j / 2, j, {})
    (4, None)
    """
    if not depends(e, lane, env):
        return 0
    match e:
        case Name():
            return 1 if e is lane else None
        case Binary("+", left, right):
            a, b = slope(left, lane, env), slope(right, lane, env)
            return None if a is None or b is None else a + b
        case Binary("*", left, Const(value)):
            a = slope(left, lane, env)
            return None if a is None else a * int(value)
        case Binary("*", Const(value), right):
            a = slope(right, lane, env)
            return None if a is None else a * int(value)
        case _:
            return None


def without(e: Expr, lane: Name) -> Expr:
    """An index at lane 0."""
    match e:
        case Name() if e is lane:
            return integer(0)
        case Binary(op, left, right):
            a, b = without(left, lane), without(right, lane)
            if op == "+" and isinstance(b, Const) and b.value == 0:
                return a
            if op == "+" and isinstance(a, Const) and a.value == 0:
                return b
            return e if a is left and b is right else Binary(op, a, b)
        case _:
            return e
