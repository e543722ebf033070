"""Arithmetic, order, choice and logic, element by element."""

from __future__ import annotations

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.op import AnyArray, Cotangents, Law, NoGradient, Sample, SignatureError, Use, Vjp
from seiche.ir.ops.define import (
    ANY,
    BOOLEAN,
    NUMBER,
    REAL,
    Rng,
    Values,
    const,
    draw,
    draw_extremes,
    expect,
    law,
    pointwise,
    same_bits,
    sample,
    scalar_op,
    standard,
    zeros,
)
from seiche.numbers import formats as fmt
from seiche.numbers import integral
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import Kit, Value

F = fmt.f32[40]
EVERY = (fmt.f32, fmt.f64, fmt.bf16, fmt.fixed(4, 12), fmt.i32, fmt.i8, fmt.u8, fmt.i64, fmt.u32)
STEP = NoGradient("piecewise constant")


def _commutes(value: Values, rng: Rng) -> None:
    for type in (F, fmt.i8[40]):
        x, y = draw_extremes(rng, type), draw_extremes(rng, type)
        assert same_bits(value(x, y), value(y, x))


COMMUTES = law("commutes in bits", _commutes)


# Arithmetic.


def _neutral(e: float) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x = draw_extremes(rng, F)
        assert same_bits(value(x, np.full_like(x, e)), x)

    return law(f"{e} on the right changes nothing", check)


def _add_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return ct, ct


def _sub_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return ct, b.neg(ct)


def _mul_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    x, y = args
    return b.mul(ct, y), b.mul(ct, x)


def _div_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    part = b.div(ct, args[1])
    return part, b.neg(b.mul(part, out))


pointwise(
    "add", "x + y; integers wrap.", lambda k, format, x, y: x + y,
    arity=2, kinds=NUMBER, vjp=_add_vjp, samples=standard(2, *EVERY), laws=(COMMUTES, _neutral(-0.0)),
)  # fmt: skip
pointwise(
    "sub", "x - y; integers wrap.", lambda k, format, x, y: x - y,
    arity=2, kinds=NUMBER, vjp=_sub_vjp, samples=standard(2, *EVERY), laws=(_neutral(0.0),),
)  # fmt: skip
pointwise(
    "mul", "x * y; integers wrap.", lambda k, format, x, y: x * y,
    arity=2, kinds=NUMBER, vjp=_mul_vjp, samples=standard(2, *EVERY), laws=(COMMUTES, _neutral(1.0)),
)  # fmt: skip
pointwise(
    "div", "x / y of real numbers (IEEE 754: x/0 is infinite, 0/0 is NaN).", lambda k, format, x, y: x / y,
    arity=2, kinds=REAL, vjp=_div_vjp, samples=standard(2, fmt.f32, fmt.f64, fmt.bf16), laws=(_neutral(1.0),),
)  # fmt: skip


def _twice(value: Values, rng: Rng) -> None:
    for type in (F, fmt.i8[40]):
        x = draw_extremes(rng, type)
        assert same_bits(value(value(x)), x)


def _neg_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.neg(ct),)


pointwise(
    "neg", "-x: flips the sign of a float, zeros too; integers wrap.", lambda k, format, x: -x,
    arity=1, kinds=NUMBER, vjp=_neg_vjp, samples=standard(1, *EVERY), laws=(law("its own inverse", _twice),),
)  # fmt: skip


def _square_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.mul(b.add(ct, ct), args[0]),)


def _even(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, F)
    assert same_bits(value(x), value(-x))


pointwise(
    "square", "x * x; integers wrap.", lambda k, format, x: x * x,
    arity=1, kinds=NUMBER, vjp=_square_vjp, samples=standard(1, *EVERY), laws=(law("even", _even),), writing="let",
)  # fmt: skip


def _reciprocal_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.neg(b.mul(b.mul(ct, out), out)),)


def _odd(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, F)
    assert same_bits(-value(x), value(-x))


pointwise(
    "reciprocal", "1 / x.", lambda k, format, x: 1.0 / x,
    arity=1, kinds=REAL, vjp=_reciprocal_vjp, samples=standard(1, fmt.f32, fmt.f64, fmt.bf16), laws=(law("odd", _odd),),
)  # fmt: skip


# Sign and magnitude.


def magnitude(k: Kit, format: Format, x: Value) -> Value:
    """|x|: clears the sign bit of a float; the least integer wraps to itself."""
    if format.kind == "uint":
        return x
    if format.kind == "int":
        return k.select(x < 0, -x, x)
    return integral.abs(k, x, format)


def signum(k: Kit, format: Format, x: Value) -> Value:
    """-1, 0 or 1; zeros and NaN stay as they are."""
    one = k.const(1, format)
    if format.kind == "uint":
        return k.select(x > 0, one, x)
    return k.select(x > 0, one, k.select(x < 0, k.const(-1, format), x))


def _abs_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.mul(ct, b.sign(args[0])),)


def _idempotent(value: Values, rng: Rng) -> None:
    for type in (F, fmt.i8[40]):
        x = draw_extremes(rng, type)
        assert same_bits(value(value(x)), value(x))


IDEMPOTENT = law("idempotent", _idempotent)
pointwise(
    "abs", "|x|; the least integer wraps to itself. The derivative at 0 is 0.", magnitude,
    arity=1, kinds=NUMBER, vjp=_abs_vjp, samples=standard(1, *EVERY), laws=(IDEMPOTENT,), writing="let",
)  # fmt: skip
pointwise(
    "sign", "-1, 0 or 1; signed zeros and NaN stay as they are.", signum,
    arity=1, kinds=NUMBER, vjp=STEP, samples=standard(1, *EVERY), laws=(IDEMPOTENT,), writing="let",
)  # fmt: skip


# Order.


def least(k: Kit, format: Format, x: Value, y: Value) -> Value:
    """The smaller; NaN if either is; y where both are equal (so -0 and 0 are not told apart)."""
    return integral.minimum(k, x, y, format) if format.is_float else k.select(x < y, x, y)


def greatest(k: Kit, format: Format, x: Value, y: Value) -> Value:
    """The larger; NaN if either is; y where both are equal (so -0 and 0 are not told apart)."""
    return integral.maximum(k, x, y, format) if format.is_float else k.select(x > y, x, y)


def _extremum_vjp(order: str) -> Vjp:
    """The cotangent goes to the argument that won; half to each where both are equal (as in JAX)."""

    def vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
        x, y = args
        none = zeros(b, ct)
        tie = b.select(b.eq(x, y), b.mul(ct, const(b, 0.5, ct)), none)
        first, second = b.apply(order, x, y), b.apply(order, y, x)
        return b.select(first, ct, tie), b.select(second, ct, tie)

    return vjp


def _meets(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, F)
    assert same_bits(value(x, x), x)
    y = draw_extremes(rng, F)
    assert np.array_equal(np.isnan(value(x, y)), np.isnan(x) | np.isnan(y))


MEETS = law("idempotent; NaN where either is NaN", _meets)
pointwise(
    "minimum", "The smaller of x and y; NaN if either is. Derivative: one half to each where they are equal.", least,
    arity=2, kinds=NUMBER, vjp=_extremum_vjp("lt"), samples=standard(2, *EVERY), laws=(MEETS,), writing="let",
)  # fmt: skip
pointwise(
    "maximum", "The larger of x and y; NaN if either is. Derivative: one half to each where they are equal.", greatest,
    arity=2, kinds=NUMBER, vjp=_extremum_vjp("gt"), samples=standard(2, *EVERY), laws=(MEETS,), writing="let",
)  # fmt: skip


def _on_self(expected: bool) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x = draw(rng, fmt.f64[20])
        assert (value(x, x) == expected).all()

    return law(f"{str(expected).lower()} of x and x", check)


def _nan(expected: bool) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x = np.full(20, np.nan, np.float32)
        assert (value(x, draw_extremes(rng, fmt.f32[20])) == expected).all()

    return law(f"{str(expected).lower()} with NaN", check)


COMPARISONS = {
    "eq": ("x = y; false with NaN.", lambda k, format, x, y: x == y, True),
    "ne": ("x differs from y; true with NaN.", lambda k, format, x, y: x != y, False),
    "lt": ("x < y; false with NaN.", lambda k, format, x, y: x < y, False),
    "le": ("x <= y; false with NaN.", lambda k, format, x, y: x <= y, True),
    "gt": ("x > y; false with NaN.", lambda k, format, x, y: x > y, False),
    "ge": ("x >= y; false with NaN.", lambda k, format, x, y: x >= y, True),
}
for _name, (_doc, _fn, _self) in COMPARISONS.items():
    pointwise(
        _name, _doc, _fn, arity=2, kinds=ANY, vjp=STEP, samples=standard(2, *EVERY, fmt.bool_),
        laws=(_on_self(_self), _nan(_name == "ne")), result=fmt.bool_,
    )  # fmt: skip


# Logic.

TRUTH = (np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
BOOL = NoGradient("booleans have no derivative")


def _truth(*table: int) -> Law:
    def check(value: Values, rng: Rng) -> None:
        assert value(*TRUTH).tolist() == [bool(t) for t in table]

    return law("truth table", check)


LOGIC = {
    "logical_and": ("Both x and y.", lambda k, format, x, y: x & y, _truth(0, 0, 0, 1)),
    "logical_or": ("x or y or both.", lambda k, format, x, y: x | y, _truth(0, 1, 1, 1)),
    "logical_xor": ("Either x or y.", lambda k, format, x, y: x != y, _truth(0, 1, 1, 0)),
}
for _name, (_doc, _fn, _law) in LOGIC.items():
    pointwise(
        _name, _doc, _fn, arity=2, kinds=BOOLEAN, vjp=BOOL, samples=standard(2, fmt.bool_), laws=(_law,),
    )  # fmt: skip


def _not(value: Values, rng: Rng) -> None:
    assert value(TRUTH[1]).tolist() == [True, False, True, False]


pointwise(
    "logical_not", "Not x.", lambda k, format, x: ~x,
    arity=1, kinds=BOOLEAN, vjp=BOOL, samples=standard(1, fmt.bool_), laws=(law("truth table", _not),),
)  # fmt: skip


# Choice.


def _select_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("select", types, 3, params)
    cond, yes, no = types
    if cond.format is not fmt.bool_:
        raise SignatureError(f"`select`: the condition is bool, not {cond}")
    if yes != no:
        raise SignatureError(f"`select`: both values have one type, not {yes} and {no}")
    if cond.shape != yes.shape:
        raise SignatureError(
            f"`select`: the condition has the shape of the values, not {cond} for {yes}"
        )
    return yes


def _select_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    none = zeros(b, ct)
    return STEP, b.select(args[0], ct, none), b.select(args[0], none, ct)


def _choice(type: Type) -> Sample:
    def values(rng: Rng) -> tuple[AnyArray, ...]:
        return draw(rng, fmt.bool_[type.shape]), draw_extremes(rng, type), draw_extremes(rng, type)

    return sample(fmt.bool_[type.shape], type, type, values=values)


def _chooses(value: Values, rng: Rng) -> None:
    x, y = draw_extremes(rng, F), draw_extremes(rng, F)
    assert same_bits(value(np.ones(40, bool), x, y), x) and same_bits(
        value(np.zeros(40, bool), x, y), y
    )


scalar_op(
    "select", "x where the condition holds, else y.", _select_signature,
    lambda use: lambda k, c, x, y: k.select(c, x, y), vjp=_select_vjp,
    samples=tuple(map(_choice, (F, fmt.f64[()], fmt.i8[2, 3], fmt.bool_[2, 3, 1], fmt.bf16[7]))),
    laws=(law("takes one side whole", _chooses),),
)  # fmt: skip
