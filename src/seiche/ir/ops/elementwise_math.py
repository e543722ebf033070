"""Square roots and the elementary functions of `numbers.elementary`, element by element.

The functions are the language's own: every target computes the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.ir.op import AnyArray, Cotangents, Law, NoGradient, Use, Vjp
from seiche.ir.ops.define import (
    REAL,
    Rng,
    Scalar,
    Values,
    const,
    draw_extremes,
    law,
    pointwise,
    same_bits,
    standard,
    zeros,
)
from seiche.numbers import formats as fmt
from seiche.numbers.elementary import ELEMENTARY
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value

FORMATS = (fmt.f32, fmt.f64, fmt.bf16)
STEP = NoGradient("piecewise constant")
INF, NAN = math.inf, math.nan


def elementary(name: str) -> Scalar:
    """A function of the table, its format first."""

    def fn(k: Kit, format: Format, *xs: Value) -> Value:
        return ELEMENTARY[name].function(k, *xs, format)

    return fn


def known(*points: tuple[tuple[float, ...], Any]) -> Law:
    """The law that the op has these exact values, in f32 and f64."""

    def check(value: Values, rng: Rng) -> None:
        for dtype in (np.float32, np.float64):
            for args, expected in points:
                got = value(*map(dtype, args))
                assert same_bits(got, np.asarray(expected, got.dtype)), (args, got, expected)

    return law("known values: " + ", ".join(f"{a} gives {e}" for a, e in points), check)


def _accurate(rng: Rng) -> AnyArray:
    """Values at which the circular functions are accurate as well."""
    x = draw_extremes(rng, fmt.f32[60])
    return np.where(np.abs(x) < 1e5, x, np.float32(1.0))


def _odd(value: Values, rng: Rng) -> None:
    x = _accurate(rng)
    assert same_bits(value(-x), -value(x))


def _even(value: Values, rng: Rng) -> None:
    x = _accurate(rng)
    assert same_bits(value(-x), value(x))


ODD, EVEN = law("odd in bits", _odd), law("even in bits", _even)


# Derivatives of functions of one argument: `slope(b, ct, x, out)` is the cotangent of x.

Slope = Callable[[Builder, Var, Var, Var], Var]


def by(slope: Slope) -> Vjp:
    """The rule of a function of one argument."""

    def vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
        return (slope(b, ct, args[0], out),)

    return vjp


def one_plus(b: Builder, x: Var) -> Var:
    return b.add(const(b, 1, x), x)


def one_minus(b: Builder, x: Var) -> Var:
    return b.sub(const(b, 1, x), x)


def times(b: Builder, x: Var, factor: float) -> Var:
    return b.mul(x, const(b, factor, x))


def _arc(b: Builder, ct: Var, x: Var, out: Var) -> Var:
    """ct / sqrt(1 - x^2), without cancellation near 1."""
    return b.div(ct, b.sqrt(b.mul(one_minus(b, x), one_plus(b, x))))


def _bell(b: Builder, ct: Var, x: Var, out: Var) -> Var:
    """ct 2 / sqrt(pi) e^(-x^2)."""
    return b.mul(ct, times(b, b.exp(b.neg(b.square(x))), 2 / math.sqrt(math.pi)))


SLOPES: dict[str, Slope] = {
    "exp": lambda b, ct, x, out: b.mul(ct, out),
    "expm1": lambda b, ct, x, out: b.mul(ct, one_plus(b, out)),
    "exp2": lambda b, ct, x, out: b.mul(ct, times(b, out, math.log(2))),
    "log": lambda b, ct, x, out: b.div(ct, x),
    "log1p": lambda b, ct, x, out: b.div(ct, one_plus(b, x)),
    "log2": lambda b, ct, x, out: b.div(times(b, ct, 1 / math.log(2)), x),
    "tanh": lambda b, ct, x, out: b.mul(ct, b.mul(one_minus(b, out), one_plus(b, out))),
    "sigmoid": lambda b, ct, x, out: b.mul(ct, b.mul(out, one_minus(b, out))),
    "softplus": lambda b, ct, x, out: b.mul(ct, b.sigmoid(x)),
    "sinh": lambda b, ct, x, out: b.mul(ct, b.cosh(x)),
    "cosh": lambda b, ct, x, out: b.mul(ct, b.sinh(x)),
    "sin": lambda b, ct, x, out: b.mul(ct, b.cos(x)),
    "cos": lambda b, ct, x, out: b.neg(b.mul(ct, b.sin(x))),
    "tan": lambda b, ct, x, out: b.mul(ct, one_plus(b, b.square(out))),
    "asin": _arc,
    "acos": lambda b, ct, x, out: b.neg(_arc(b, ct, x, out)),
    "atan": lambda b, ct, x, out: b.div(ct, one_plus(b, b.square(x))),
    "erf": _bell,
    "erfc": lambda b, ct, x, out: b.neg(_bell(b, ct, x, out)),
    "erfinv": lambda b, ct, x, out: b.mul(
        ct, times(b, b.exp(b.square(out)), math.sqrt(math.pi) / 2)
    ),
}

UNARY: dict[str, tuple[str, tuple[Law, ...]]] = {
    "exp": ("e^x.", (known(((0.0,), 1), ((-INF,), 0), ((INF,), INF)),)),
    "expm1": ("e^x - 1, accurate near 0.", (known(((0.0,), 0), ((-INF,), -1)),)),
    "exp2": ("2^x.", (known(((3.0,), 8), ((-1.0,), 0.5), ((-INF,), 0)),)),
    "log": ("The natural logarithm; -inf at 0, NaN below.", (known(((1.0,), 0), ((0.0,), -INF), ((-1.0,), NAN)),)),
    "log1p": ("log(1 + x), accurate near 0.", (known(((0.0,), 0), ((-1.0,), -INF), ((-2.0,), NAN)),)),
    "log2": ("The binary logarithm; -inf at 0, NaN below.", (known(((8.0,), 3), ((1.0,), 0), ((0.0,), -INF)),)),
    "tanh": ("The hyperbolic tangent.", (known(((0.0,), 0), ((INF,), 1), ((-INF,), -1)), ODD)),
    "sigmoid": ("1 / (1 + e^-x).", (known(((0.0,), 0.5), ((INF,), 1), ((-INF,), 0)),)),
    "softplus": ("log(1 + e^x), without overflow.", (known(((-INF,), 0), ((800.0,), 800), ((INF,), INF)),)),
    "sinh": ("The hyperbolic sine.", (known(((0.0,), 0), ((INF,), INF)), ODD)),
    "cosh": ("The hyperbolic cosine.", (known(((0.0,), 1), ((-INF,), INF)), EVEN)),
    "sin": ("The sine; NaN of infinity.", (known(((0.0,), 0), ((INF,), NAN)), ODD)),
    "cos": ("The cosine; NaN of infinity.", (known(((0.0,), 1), ((INF,), NAN)), EVEN)),
    "tan": ("The tangent; NaN of infinity.", (known(((0.0,), 0), ((INF,), NAN)), ODD)),
    "asin": ("The arcsine; NaN outside -1 to 1.", (known(((0.0,), 0), ((2.0,), NAN)), ODD)),
    "acos": ("The arccosine; NaN outside -1 to 1.", (known(((1.0,), 0), ((2.0,), NAN)),)),
    "atan": ("The arctangent.", (known(((0.0,), 0), ((NAN,), NAN)), ODD)),
    "erf": ("The error function.", (known(((0.0,), 0), ((INF,), 1)), ODD)),
    "erfc": ("1 - erf(x), accurate where it is small.", (known(((0.0,), 1), ((INF,), 0), ((-INF,), 2)),)),
    "erfinv": ("The inverse of erf; infinite at -1 and 1, NaN outside.", (known(((0.0,), 0), ((1.0,), INF), ((2.0,), NAN)), ODD)),
}  # fmt: skip

for _name, (_doc, _laws) in UNARY.items():
    pointwise(
        _name, _doc, elementary(_name), arity=1, kinds=REAL, vjp=by(SLOPES[_name]), samples=standard(1, *FORMATS),
        laws=_laws, writing="call", family="math",
    )  # fmt: skip

pointwise(
    "sqrt", "The square root, correctly rounded; NaN below 0. The derivative at 0 is infinite.",
    lambda k, format, x: k.sqrt(x), arity=1, kinds=REAL,
    vjp=by(lambda b, ct, x, out: b.div(times(b, ct, 0.5), out)), samples=standard(1, *FORMATS),
    laws=(known(((4.0,), 2), ((-0.0,), -0.0), ((-1.0,), NAN)),), family="math",
)  # fmt: skip

for _name, _doc, _law in (
    ("isnan", "Whether x is NaN.", known(((NAN,), True), ((INF,), False), ((0.0,), False))),
    (
        "isfinite",
        "Whether x is neither infinite nor NaN.",
        known(((NAN,), False), ((-INF,), False), ((0.0,), True)),
    ),
):
    pointwise(
        _name, _doc, elementary(_name), arity=1, kinds=REAL, vjp=STEP, samples=standard(1, *FORMATS), laws=(_law,),
        result=fmt.bool_, writing="let", family="math",
    )  # fmt: skip


# Functions of two arguments.


def _pow_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """y x^(y-1), 0 where y is 0; log(x) x^y, 0 where x is 0 and y is positive or 0."""
    (x, y), none, one = args, zeros(b, args[0]), const(b, 1, args[0])
    flat = b.eq(y, none)
    lower = b.pow(x, b.select(flat, one, b.sub(y, one)))
    to_base = b.select(flat, none, b.mul(y, lower))
    to_exponent = b.mul(b.log(b.select(b.eq(x, none), one, x)), out)
    return b.mul(ct, to_base), b.mul(ct, to_exponent)


def _atan2_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    y, x = args
    part = b.div(ct, b.add(b.square(x), b.square(y)))
    return b.mul(part, x), b.neg(b.mul(part, y))


def _copysign_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    one = const(b, 1, ct)
    signs = b.mul(b.copysign(one, args[0]), b.copysign(one, args[1]))
    return b.mul(ct, signs), STEP


def _to_zero(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, fmt.f32[60])
    assert same_bits(value(x, np.zeros_like(x)), np.ones_like(x))


BINARY: dict[str, tuple[str, Vjp, tuple[Law, ...]]] = {
    "pow": (
        "x^y; 1 where y is 0; NaN where x is negative and y no integer.", _pow_vjp,
        (known(((2.0, 10.0), 1024), ((-2.0, 3.0), -8), ((0.0, -1.0), INF), ((-8.0, 0.5), NAN)), law("x^0 is 1", _to_zero)),
    ),
    "atan2": (
        "The angle of the point (x, y), as `atan2(y, x)`, from -pi to pi.", _atan2_vjp,
        (known(((0.0, 1.0), 0.0), ((-0.0, 1.0), -0.0), ((0.0, INF), 0.0)),),
    ),
    "copysign": (
        "|x| with the sign of y.", _copysign_vjp, (known(((2.0, -0.0), -2), ((-INF, 1.0), INF)),),
    ),
}  # fmt: skip
for _name, (_doc, _vjp, _laws) in BINARY.items():
    pointwise(
        _name, _doc, elementary(_name), arity=2, kinds=REAL, vjp=_vjp, samples=standard(2, *FORMATS), laws=_laws,
        writing="call", family="math",
    )  # fmt: skip
