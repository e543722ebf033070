"""A slow evaluator of the imperative IR on numpy scalars: the oracle for the `code` of ops.

It is stricter than C: reading outside an array, dividing by zero, converting out of range, shifting by the width or more,
mixing formats and using a local outside its block all raise, in both branches of a choice (back ends may evaluate both).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seiche.ir.loops import (
    Assign,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Declare,
    Expr,
    For,
    If,
    Intrinsic,
    Invoke,
    Let,
    Load,
    Local,
    Name,
    Note,
    Stmt,
    Store,
    Unary,
    Writer,
    carrier,
)
from seiche.numbers.formats import Format

Scalar = Any

ARITHMETIC = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "&": lambda x, y: x & y,
    "|": lambda x, y: x | y,
    "^": lambda x, y: x ^ y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}


def dtype(format: Format) -> np.dtype[Any]:
    assert format.exact, f"{format} is no machine format"
    return np.dtype(format.dtype)


FUNCTIONS: dict[str, tuple[list[Name], list[Stmt], Expr]] = {}
"""Out-of-line functions by name, over the whole session: as in a program, one name is one function."""


@dataclass
class Evaluator:
    """Runs statements over `memory`, an array per buffer."""

    memory: dict[Buffer, np.ndarray]
    scopes: list[dict[str, Scalar]] = field(default_factory=lambda: [{}])
    stored: dict[Buffer, set[tuple[int, ...]]] = field(default_factory=dict)

    def run(self, block: list[Stmt]) -> None:
        """Runs the statements in a scope of their own."""
        self.scopes.append({})
        for statement in block:
            self.statement(statement)
        self.scopes.pop()

    def statement(self, s: Stmt) -> None:
        match s:
            case Let(name, value) | Local(name, value):
                assert name.name not in self.scopes[-1], f"{name.name} is declared twice"
                self.scopes[-1][name.name] = self.held(name, value)
            case Declare(buffer):
                self.memory[buffer] = undefined(buffer)
                self.stored[buffer] = set()
            case Assign(name, value):
                (scope,) = (scope for scope in self.scopes if name.name in scope)
                scope[name.name] = self.held(name, value)
            case Store(buffer, index, value):
                found = self.typed(value, carrier(buffer.type.format))
                for place, x in zip(self.places(buffer, index, value.lanes), np.atleast_1d(found)):
                    self.memory[buffer][place] = x
                    self.stored.setdefault(buffer, set()).add(place)
            case For(index, start, stop, body, reverse):
                trips = range(int(self.value(start)), int(self.value(stop)))
                for i in reversed(trips) if reverse else trips:
                    self.scopes.append({index.name: np.int32(i)})
                    self.run(body)
                    self.scopes.pop()
            case If(cond, yes, no):
                self.run(yes if self.value(cond) else no)
            case Note():
                pass

    def typed(self, e: Expr, format: Format) -> Scalar:
        value = self.value(e)
        assert value.dtype == dtype(format), f"{value.dtype} where {format} is expected"
        return value

    def held(self, name: Name, value: Expr) -> Scalar:
        """What a name holds: a scalar fills all its lanes."""
        assert value.lanes in (1, name.lanes), f"{value.lanes} lanes for {name.lanes}"
        x = self.typed(value, name.format)
        return np.full(name.lanes, x) if name.lanes > value.lanes else x

    def places(self, buffer: Buffer, index: tuple[Expr, ...], lanes: int) -> list[tuple[int, ...]]:
        """As many places, in row-major order."""
        start = self.place(buffer, index)
        if lanes == 1:
            return [start]
        first = int(np.ravel_multi_index(start, buffer.type.shape))
        assert first + lanes <= buffer.type.size, f"{lanes} lanes from {start} leave {buffer.type}"
        return [
            tuple(map(int, np.unravel_index(first + k, buffer.type.shape))) for k in range(lanes)
        ]

    def place(self, buffer: Buffer, index: tuple[Expr, ...]) -> tuple[int, ...]:
        place = tuple(int(self.value(i)) for i in index)
        inside = len(place) == len(buffer.type.shape) and all(
            0 <= i < n for i, n in zip(place, buffer.type.shape)
        )
        assert inside, f"{buffer.name}{list(place)} is outside {buffer.type}"
        return place

    def value(self, e: Expr) -> Scalar:
        value = self.raw(e)
        assert value.dtype == dtype(e.format), f"{value.dtype} is said to be {e.format}"
        assert np.shape(value) == ((e.lanes,) if e.lanes > 1 else ()), f"not {e.lanes} lanes"
        return value

    def raw(self, e: Expr) -> Scalar:
        match e:
            case Const(value, format):
                return dtype(format).type(value)
            case Name(name):
                return next(scope[name] for scope in reversed(self.scopes) if name in scope)
            case Load(buffer, index):
                places = self.places(buffer, index, e.lanes)
                known = buffer.storage != "local" or self.stored[buffer].issuperset(places)
                assert known, f"{buffer.name}{list(places[0])} is read before it is stored"
                found = np.array([self.memory[buffer][p] for p in places])
                return found if e.lanes > 1 else found[0]
            case Unary(op, arg):
                x = self.value(arg)
                assert (op == "!") == (x.dtype.kind == "b")
                return -x if op == "-" else ~x
            case Binary(op, left, right):
                return binary(op, self.value(left), self.value(right))
            case Choose(cond, yes, no):
                c, x, y = self.value(cond), self.value(yes), self.value(no)
                assert x.dtype == y.dtype and c.dtype.kind == "b"
                if e.lanes > 1:
                    assert np.shape(c) == (e.lanes,), "a mask has lanes"
                    return np.where(c, x, y)
                return x if c else y
            case Convert(arg, format):
                return convert(self.value(arg), dtype(format))
            case Intrinsic(name, arg):
                return intrinsic(name, self.value(arg))
            case Invoke(name, body, args) if e.lanes > 1:
                each = zip(*map(self.value, args), strict=True)
                return np.array([self.called(name, body, args, values) for values in each])
            case Invoke(name, body, args):
                return self.called(name, body, args, [self.value(a) for a in args])
        raise AssertionError(e)

    def called(self, name: str, body: Any, args: tuple[Expr, ...], values: Any) -> Scalar:
        if name not in FUNCTIONS:
            w = Writer()
            names = [Name(f"p{i}", a.format) for i, a in enumerate(args)]
            result = body(w, *names)
            FUNCTIONS[name] = names, w.block, result
        names, block, result = FUNCTIONS[name]
        inner = Evaluator({}, [{n.name: v for n, v in zip(names, values, strict=True)}])
        for statement in block:
            inner.statement(statement)
        return inner.value(result)


def undefined(buffer: Buffer) -> np.ndarray:
    """What an array holds before it is stored to: nonsense that a test notices."""
    kind = np.dtype(buffer.type.format.dtype)
    nonsense = np.nan if kind.kind == "f" else True if kind.kind == "b" else 85
    return np.full(buffer.type.shape, nonsense, kind)


def binary(op: str, x: Scalar, y: Scalar) -> Scalar:
    """Both of one dtype; integers divide as in C."""
    assert x.dtype == y.dtype, f"{x.dtype} {op} {y.dtype}"
    if op in ("<<", ">>"):
        assert 0 <= y < 8 * x.dtype.itemsize, f"a shift of {x.dtype} by {y}"
        return x << y if op == "<<" else x >> y
    if op == "/" and x.dtype.kind == "f":
        return x / y
    if op in ("/", "%"):
        assert y != 0, "a division by zero"
        quotient = abs(int(x)) // abs(int(y)) * (1 if (x < 0) == (y < 0) else -1)
        result = quotient if op == "/" else int(x) - quotient * int(y)
        return x.dtype.type(result)  # raises where the quotient overflows
    if x.dtype.kind == "b":
        assert op not in "+-*/", f"{op} of booleans"
    return ARITHMETIC[op](x, y)


def convert(x: Scalar, to: np.dtype[Any]) -> Scalar:
    """C's conversion, where it is defined."""
    if x.dtype.kind == "f" and to.kind in "iu":
        info = np.iinfo(to)
        assert np.isfinite(x) and info.min <= int(x) <= info.max, f"{x} to {to}"
    assert not (to.kind == "b" and x.dtype.kind != "b"), "to bool by comparison"
    return x.astype(to)


def intrinsic(name: str, x: Scalar) -> Scalar:
    if name == "sqrt":
        return np.sqrt(x)
    there = {"float32": "uint32", "float64": "uint64", "uint32": "float32", "uint64": "float64"}
    assert (name == "bits") == (x.dtype.kind == "f")
    return x.view(there[x.dtype.name])


def run(block: list[Stmt], memory: dict[Buffer, np.ndarray]) -> Evaluator:
    """Runs the statements; `memory` is changed in place. The evaluator knows what was stored."""
    evaluator = Evaluator(memory)
    with np.errstate(all="ignore"):
        evaluator.run(block)
    return evaluator
