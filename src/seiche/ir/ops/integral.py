"""Rounding to integers, and the quotients and remainders that round down."""

from __future__ import annotations

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.ir.loops import Expr
from seiche.ir.op import AnyArray, Cotangents, Law, NoGradient, Use
from seiche.ir.ops.define import (
    NUMBER,
    REAL,
    Rng,
    Values,
    draw_extremes,
    law,
    pointwise,
    same_bits,
    standard,
)
from seiche.ir.ops.elementwise_math import elementary
from seiche.numbers import formats as fmt
from seiche.numbers import integral
from seiche.numbers.carriers import two_product
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value

STEP = NoGradient("piecewise constant")
INTEGERS = (fmt.i32, fmt.i8, fmt.u8, fmt.i64, fmt.u32)


def _fixed_points(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, fmt.f32[60])
    assert same_bits(value(value(x)), value(x))
    whole = np.array([0.0, -0.0, 1, -7, 1e6, 3e9, np.inf, -np.inf], np.float32)
    assert same_bits(value(whole), whole)


ROUNDINGS = {
    "floor": "The largest integer that is at most x; the sign of zero is kept.",
    "ceil": "The smallest integer that is at least x; the sign of zero is kept.",
    "trunc": "x rounded toward zero; the sign of zero is kept.",
    "round": "The nearest integer, the even one of two; the sign of zero is kept.",
}
for _name, _doc in ROUNDINGS.items():
    pointwise(
        _name, _doc, elementary(_name), arity=1, kinds=REAL, vjp=STEP, samples=standard(1, fmt.f32, fmt.f64, fmt.bf16),
        laws=(law("integers stay", _fixed_points),), writing="call", family="integral",
    )  # fmt: skip


# Quotient and remainder.


def truncated(x: Value, y: Value) -> Value:
    """x / y of integers, truncated; y is neither 0 nor -1. The kit's `/` is C's only where it writes C."""
    if isinstance(x, Expr):
        return x / y
    q = np.floor_divide(x, y)
    return np.where((x - q * y != 0) & ((x < 0) != (y < 0)), q + 1, q).astype(q.dtype)


def _integer_parts(k: Kit, format: Format, x: Value, y: Value) -> tuple[Value, Value]:
    """The floored quotient and remainder of integers: by 0 they are 0 and x; the least one by -1 wraps."""
    one = k.const(1, format)
    if format.kind == "uint":
        q = k.let(
            k.select(y == 0, k.const(0, format), truncated(x, k.let(k.select(y == 0, one, y))))
        )
        return q, x - q * y
    safe = k.let(k.select((y == 0) | (y == -1), one, y))
    q = k.let(k.select(y == 0, k.const(0, format), k.select(y == -1, -x, truncated(x, safe))))
    r = k.let(x - q * y)
    wrong = k.let((y != 0) & (r != 0) & ((r < 0) != (y < 0)))
    return k.select(wrong, q - 1, q), k.select(wrong, r + y, r)


def _real_quotient(k: Kit, format: Format, x: Value, y: Value) -> Value:
    """The floor of x / y: one less than that of the rounded quotient where rounding went up to an integer."""
    quotient = k.let(x / y)
    whole = k.let(integral.floor(k, quotient, format))
    product, error = two_product(k, whole, y, format)
    rest = k.let(k.select(whole == 0.0, x, (x - product) - error))  # 0 * inf is not wanted
    passed = ((rest < 0.0) & (y > 0.0)) | ((rest > 0.0) & (y < 0.0))
    counts = integral.abs(k, whole, format) < 2.0**format.mantissa
    return k.select(passed & counts, whole - 1.0, whole)


def floor_quotient(k: Kit, format: Format, x: Value, y: Value) -> Value:
    """x / y rounded down."""
    return (
        _real_quotient(k, format, x, y) if format.is_float else _integer_parts(k, format, x, y)[0]
    )


def floor_remainder(k: Kit, format: Format, x: Value, y: Value) -> Value:
    """x - y floor(x / y), with the sign of y."""
    return integral.mod(k, x, y, format) if format.is_float else _integer_parts(k, format, x, y)[1]


def _mod_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return ct, b.neg(b.mul(ct, b.floor_div(*args)))


def _by_zero(expected: str) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x: AnyArray = draw_extremes(rng, fmt.i8[40])
        assert same_bits(
            value(x, np.zeros_like(x)), x if expected == "the dividend" else np.zeros_like(x)
        )

    return law(f"of integers by zero: {expected}", check)


def _half_open(value: Values, rng: Rng) -> None:
    x = rng.uniform(-100, 100, 50).astype(np.float32)
    for y in np.array([0.1, 3, 1e3], np.float32):
        r = value(x, np.full_like(x, y))
        assert ((r >= 0) & (r <= y)).all()


FORMATS = (fmt.f32, fmt.f64, *INTEGERS)
pointwise(
    "floor_div",
    "x / y rounded down. Integers: 0 where y is 0; the least one by -1 wraps. Reals: infinite where x / y is.",
    floor_quotient, arity=2, kinds=NUMBER, vjp=STEP, samples=standard(2, *FORMATS), laws=(_by_zero("0"),),
    writing="call", family="integral",
)  # fmt: skip
pointwise(
    "mod",
    "The remainder x - y floor(x / y), with the sign of y. Integers: x where y is 0. Reals: exact, then rounded "
    "once; a zero once the quotient has as many digits as the format.",
    floor_remainder, arity=2, kinds=NUMBER, vjp=_mod_vjp, samples=standard(2, *FORMATS),
    laws=(_by_zero("the dividend"), law("between 0 and y", _half_open)), writing="call", family="integral",
)  # fmt: skip
