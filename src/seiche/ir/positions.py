"""Positions in memory: indices put together in row-major order, and compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from seiche.ir.loops import Binary, Const, Expr, Name, integer

Index: TypeAlias = tuple[Expr, ...]


def flat_index(index: Index, shape: tuple[int, ...]) -> Expr:
    """The row-major position of an index, without the detours of a reshape or of a patch.

    Neighbouring patches overlap in memory: term k of the patch at row r is k elements after the start of that row.

    >>> from seiche.numbers.formats import i32
    >>> r, k = Name("r", i32), Name("k", i32)
    >>> flat_index((k / 8, k % 8), (4, 8)) is k
    True
    >>> key(flat_index((r + k / 8, k % 8), (4, 8))) == key(r * 8 + k)
    True
    """
    total: Expr = integer(0)
    for part, n in zip(index, shape, strict=True):
        total = _joined(total, part, n) if n > 1 else total
    return total


def _joined(high: Expr, low: Expr, n: int) -> Expr:
    """high * n + low; where both are the quotient and the remainder of one position, that position."""
    if isinstance(low, Binary) and low.op == "%" and _is(low.right, n):
        for part, rest in _each_summand(high):
            if (whole := _whole(part, low.left, n)) is not None:
                return whole if rest is None else rest * n + whole
    if isinstance(high, Const):
        base = int(high.value) * n
        if isinstance(low, Const):
            return integer(base + int(low.value))
        return low if base == 0 else base + low
    scaled = high * n
    return scaled if _is(low, 0) else scaled + low


def _each_summand(e: Expr) -> Iterator[tuple[Expr, Expr | None]]:
    """(a summand, the sum of the others), for each."""
    yield e, None
    if isinstance(e, Binary) and e.op == "+":
        for side, other in ((e.left, e.right), (e.right, e.left)):
            for part, rest in _each_summand(side):
                yield part, other if rest is None else other + rest


def _whole(high: Expr, x: Expr, n: int) -> Expr | None:
    """high * n + x % n, where high is x / n (of a patch: the tap) or (x / n) % m (the tap along one axis of several)."""
    left, many = _quotient(x)
    if _quotient(high) == (left, many * n):
        return x
    if isinstance(high, Binary) and high.op == "%" and isinstance(high.right, Const):
        if _quotient(high.left) == (left, many * n):
            return x % (n * int(high.right.value))
    return None


def _quotient(e: Expr) -> tuple[Any, int]:
    """(key of x, n) where e is x / n."""
    if isinstance(e, Binary) and e.op == "/" and isinstance(e.right, Const):
        inner, n = _quotient(e.left)
        return inner, n * int(e.right.value)
    return key(e), 1


def _is(e: Expr, n: int) -> bool:
    return isinstance(e, Const) and e.value == n


def key(e: Expr) -> Any:
    """Equal keys: equal values (as long as no mutable local changes)."""
    match e:
        case Const(value):
            return ("const", repr(value))
        case Name(name):
            return ("name", name)
        case Binary(op, left, right):
            return (op, key(left), key(right))
        case _:
            return ("other", id(e))
