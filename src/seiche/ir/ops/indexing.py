"""Index arithmetic that folds constants, so that generated code stays readable; dynamic indices and their ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.ir.loops import Binary, Const, Expr, Writer, integer
from seiche.ir.op import AnyArray, SignatureError
from seiche.ir.ops.define import draw
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Shape, Type

Index = Expr | int


def known(i: Index) -> int | None:
    """The value of a constant index."""
    if isinstance(i, Const):
        return int(i.value)
    return i if isinstance(i, int) else None


def plus(i: Index, n: Index) -> Index:
    """i + n.

    >>> plus(plus(2, 3), -5)
    0
    """
    a, b = known(i), known(n)
    if a is not None and b is not None:
        return a + b
    if a is not None:
        return plus(n, a)
    if b is not None and isinstance(i, Binary) and i.op == "+" and known(i.right) is not None:
        return plus(i.left, plus(i.right, b))
    return i if b == 0 else integer(i) + integer(n)


def times(i: Index, n: int) -> Index:
    """i * n."""
    a = known(i)
    if a is not None:
        return a * n
    return i if n == 1 else integer(i) * n


def quotient(i: Index, n: int) -> Index:
    """i // n, for i >= 0."""
    a = known(i)
    if a is not None:
        return a // n
    return i if n == 1 else integer(i) // n


def remainder(i: Index, n: int) -> Index:
    """i % n, for i >= 0."""
    a = known(i)
    if a is not None:
        return a % n
    return 0 if n == 1 else integer(i) % n


def flatten(index: Sequence[Index], shape: Shape) -> Index:
    """The row-major position of an index.

    >>> flatten((1, 2, 3), (2, 3, 4))
    23
    """
    flat: Index = 0
    for i, n in zip(index, shape, strict=True):
        flat = plus(times(flat, n), i)
    return flat


def unflatten(flat: Index, shape: Shape) -> tuple[Index, ...]:
    """The index of a row-major position inside the shape.

    >>> unflatten(23, (2, 3, 4))
    (1, 2, 3)
    """
    index: list[Index] = []
    for k, n in enumerate(shape):
        high = quotient(flat, int(np.prod(shape[k + 1 :], dtype=np.int64)))
        outermost = all(m == 1 for m in shape[:k])
        index.append(high if outermost and n > 1 else remainder(high, n))
    return tuple(index)


def between(i: Expr, n: int) -> Expr:
    """Whether 0 <= i < n, for i of any integer format."""
    inside: Expr = Const(True, fmt.bool_)
    if i.format.kind == "int":
        inside = i >= 0
    if n <= limit(i.format):
        below = i < n
        inside = below if isinstance(inside, Const) else inside & below
    return inside


def clamp(w: Writer, i: Expr, n: int) -> Expr:
    """i moved into 0 <= i < n, as an index, for i of any integer format."""
    if n == 1:
        return integer(0)
    i = w.let(i)
    if n <= limit(i.format):
        i = w.select(i < n, i, n - 1)
    if i.format.kind == "int":
        i = w.let(i)
        i = w.select(i < 0, 0, i)
    return w.let(w.convert(i, fmt.i32))


def limit(format: Format) -> int:
    """The largest value of an integer format."""
    return (1 << (format.bits - (format.kind == "int"))) - 1


def clamped(b: Builder, i: Var, n: int) -> Var:
    """The equations of `clamp`: the integers i, each moved into 0 <= i < n, as i32."""
    if n <= limit(i.type.format):
        i = b.minimum(i, b.lit(n - 1, i.type))
    if i.type.format.kind == "int":
        i = b.maximum(i, b.lit(0, i.type))
    return i if i.type.format is fmt.i32 else b.convert(i, format=fmt.i32)


def inside(b: Builder, i: Var, n: int) -> Var:
    """The equations of `between`: where 0 <= i < n. A clamped index is equal to itself exactly there."""
    held = i
    if n <= limit(i.type.format):
        held = b.minimum(held, b.lit(n - 1, i.type))
    if i.type.format.kind == "int":
        held = b.maximum(held, b.lit(0, i.type))
    return b.eq(held, i)


def blank(b: Builder, type: Type) -> Var:
    """Zeros that take no memory of their own."""
    zero = b.lit(0, Type(type.format), "zero")
    return b.broadcast(zero, shape=type.shape) if type.shape else zero


def need_sizes(shape: Shape) -> None:
    """Every size is at least 1: nothing in the language is empty."""
    if any(n < 1 for n in shape):
        raise SignatureError(f"an empty result of shape {shape}")


def values(
    *made: Type | tuple[Type, Sequence[object] | float],
) -> Callable[[np.random.Generator], tuple[AnyArray, ...]]:
    """Arguments of a sample: drawn where a type stands alone, else the elements given beside it.

    >>> values(fmt.f32[2], (fmt.i32[1, 2], (7, -1)))(np.random.default_rng(0))[1]
    array([[ 7, -1]], dtype=int32)
    """

    def maker(rng: np.random.Generator) -> tuple[AnyArray, ...]:
        return tuple(
            draw(rng, m)
            if isinstance(m, Type)
            else np.array(m[1], m[0].format.dtype).reshape(m[0].shape)
            for m in made
        )

    return maker
