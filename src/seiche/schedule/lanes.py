"""Short loops in vectors: a loop whose rows are independent, and few, is written as statements about all of them side by side.

    for i < 12: y[i] = x[i] > 0 ? x[i] : a[k[i]]      becomes      y[0..7] = ..., y[8..11] = ...

Compilers do so too where they see that it is safe and believe that it pays: choices with arithmetic in them, truth values beside
floats, and places that are looked up often keep them from it. Longer loops are left to them. No bit changes.
"""

from __future__ import annotations

from collections.abc import Callable

from seiche.ir.loops import (
    Binary,
    Choose,
    Const,
    Convert,
    Expr,
    For,
    If,
    Intrinsic,
    Invoke,
    Let,
    Load,
    Name,
    Stmt,
    Store,
    Unary,
    Writer,
    integer,
)
from seiche.ir.ops.operands import pieces
from seiche.ir.vectors import Widening
from seiche.numbers import formats as fmt

REGISTERS_MAX = 4
"""Vectors that a short loop fills."""
LEAST = 4
"""Iterations from which on a loop is worth vectors."""


def widen(block: list[Stmt], w: Writer) -> None:
    """Rewrites the short loops of a block in place; `w` makes names, and knows the hardware."""
    lanes = w.hardware.vector // 4
    if lanes < LEAST:
        return
    made: list[Stmt] = []
    for stmt in block:
        match stmt:
            case For() if (found := _short(stmt, lanes, w)) is not None:
                made += found
                continue
            case For(body=body):
                widen(body, w)
            case If(_, yes, no):
                widen(yes, w)
                widen(no, w)
            case _:
                pass
        made.append(stmt)
    block[:] = made


def _short(loop: For, lanes: int, w: Writer) -> list[Stmt] | None:
    """What it becomes; None where it stays."""
    start, stop = loop.start, loop.stop
    if not (loop.parallel and isinstance(start, Const) and isinstance(stop, Const)):
        return None
    first, n = int(start.value), int(stop.value) - int(start.value)
    if not LEAST <= n <= REGISTERS_MAX * lanes:
        return None
    made: list[Stmt] = []
    for at, some in pieces(n, lanes, 2):
        found = _piece(loop, first + at, some, w)
        if found is None:
            return None
        made += found
    return made


def _piece(loop: For, first: int, lanes: int, w: Writer) -> list[Stmt] | None:
    """So many iterations."""
    if lanes == 1:
        return Renaming(w, {loop.index.name: integer(first)}).block(loop.body)
    lane = w.fresh("lane", fmt.i32)
    body = Renaming(w, {loop.index.name: integer(first) + lane if first else lane}).block(loop.body)
    widening = Widening(w, lane, lanes, mixed=True)
    return widening.made if body is not None and widening.block(body) else None


class Renaming:
    """Copies statements: `names` are replaced, and what the copies name gets names of its own."""

    def __init__(self, w: Writer, names: dict[str, Expr]) -> None:
        self.w, self.names = w, names

    def block(self, stmts: list[Stmt]) -> list[Stmt] | None:
        """The copies; None where something else than names and stores occurs."""
        made: list[Stmt] = []
        for stmt in stmts:
            match stmt:
                case Let(name, value):
                    held = self.expr(value)
                    fresh = self.w.fresh(name.name.rstrip("0123456789"), name.format, name.lanes)
                    self.names[name.name] = fresh
                    made.append(Let(fresh, held))
                case Store(buffer, index, value):
                    made.append(Store(buffer, tuple(map(self.expr, index)), self.expr(value)))
                case _:
                    return None
        return made

    def expr(self, e: Expr) -> Expr:
        return rebuilt(e, lambda x: self.names.get(x.name) if isinstance(x, Name) else None)


def rebuilt(e: Expr, swap: Callable[[Expr], Expr | None]) -> Expr:
    """An expression with what `swap` puts for its parts, the outermost first; None leaves a part as it is."""
    found = swap(e)
    if found is not None:
        return found

    def inner(x: Expr) -> Expr:
        return rebuilt(x, swap)

    match e:
        case Load(buffer, index, lanes):
            return Load(buffer, tuple(map(inner, index)), lanes)
        case Unary(op, arg):
            return Unary(op, inner(arg))
        case Binary(op, left, right):
            return Binary(op, inner(left), inner(right))
        case Choose(cond, yes, no):
            return Choose(inner(cond), inner(yes), inner(no))
        case Convert(arg, format, lanes):
            return Convert(inner(arg), format, lanes)
        case Intrinsic(name, arg):
            return Intrinsic(name, inner(arg))
        case Invoke(name, body, args, format, lanes):
            return Invoke(name, body, tuple(map(inner, args)), format, lanes)
        case _:
            return e
