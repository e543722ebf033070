"""Between numbers and the integers that count units of their last place: what fixed point becomes where C computes it (`schedule.units`)."""

from __future__ import annotations

from fractions import Fraction
from zlib import crc32

import numpy as np

from seiche.ir.core import Params
from seiche.ir.loops import carrier
from seiche.ir.op import AnyArray, NoGradient, Sample, SignatureError, Use
from seiche.ir.ops.define import (
    Body,
    Rng,
    Values,
    check_same,
    edges,
    expect,
    law,
    sample,
    scalar_op,
)
from seiche.ir.ops.integral import truncated
from seiche.ir.ops.random import slug
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type, fixed
from seiche.numbers.kit import Kit, Value
from seiche.numbers.rounding import round_exact
from seiche.numbers.units import dequantised, ends, held, quantised, ratio, requantised

UNITS = NoGradient("it is written by the compiler, after derivatives")


def _fixed(name: str, format: object) -> Format:
    if not isinstance(format, Format) or format.kind != "fixed":
        raise SignatureError(f"`{name}`: {format!r} is no format of fixed point")
    return format


def _signed(name: str, type: Type) -> None:
    if type.format.kind != "int":
        raise SignatureError(f"`{name}` takes signed integers, not {type}")


# Real numbers as units.


def _quantise_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("quantise", types, 1, params, "to")
    to = _fixed("quantise", params["to"])
    if not types[0].format.is_float:
        raise SignatureError(f"`quantise` takes real numbers, not {types[0]}")
    return Type(held(to), types[0].shape)


def _quantise(use: Use) -> Body:
    source, to = carrier(use.types[0].format), use.params["to"]
    return lambda k, x: quantised(k, x, source, to)


def _rounds(value: Values, rng: Rng) -> None:
    to = fixed(3, 4)
    x = rng.normal(size=200).astype(np.float32) * 3
    wanted = [int(round_exact(float(v), to) * 16) for v in x]
    assert value(x, to=to).tolist() == wanted


QUANTISED = (
    (fmt.f32, fixed(4, 12)), (fmt.f32, fixed(1, 7)), (fmt.f32, fixed(8, 15)), (fmt.f64, fixed(6, 10)), (fmt.f64, fixed(13, 13)),
    (fmt.bf16, fixed(4, 4)), (fixed(4, 12), fixed(4, 8)),
)  # fmt: skip
scalar_op(
    "quantise",
    "`quantise(x, to=)`: x in units of the last place of `to`, a format of fixed point, rounded to it: the nearest unit, the even one "
    "of two, saturated; NaN is 0. In the narrowest of i8, i16 and i32. The compiler writes it where C holds fixed point as integers.",
    _quantise_signature, _quantise, vjp=UNITS,
    samples=(
        sample(fmt.f32[()], to=fixed(4, 4)), sample(fmt.f64[2, 3], to=fixed(4, 12)),
        *(sample(s.types[0], values=s.values, to=to) for a, to in QUANTISED for s in [edges(1, a)]),
    ),
    laws=(law("units of what the format rounds to", _rounds),),
    writing="call", label=lambda use: f"quantise_{slug(use.params['to'])}", family="convert",
)  # fmt: skip


# Units as real numbers.


def _dequantise_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("dequantise", types, 1, params, "fraction", "format")
    _signed("dequantise", types[0])
    if params["format"] not in (fmt.f32, fmt.f64):
        raise SignatureError(f"`dequantise` gives f32 or f64, not {params['format']}")
    return Type(params["format"], types[0].shape)


def _dequantise(use: Use) -> Body:
    fraction, format = use.params["fraction"], use.out.format
    return lambda k, x: dequantised(k, x, fraction, format)


def _halves(value: Values, rng: Rng) -> None:
    found = value(np.array([-3, 0, 5], np.int8), fraction=1, format=fmt.f32)
    assert found.tolist() == [-1.5, 0.0, 2.5]


scalar_op(
    "dequantise",
    "`dequantise(x, fraction=, format=)`: x 2^-fraction of an integer x, in f32 or f64: what so many units of fixed point are.",
    _dequantise_signature, _dequantise, vjp=UNITS,
    samples=(
        sample(fmt.i8[()], fraction=4, format=fmt.f32), sample(fmt.i16[2, 3], fraction=12, format=fmt.f64),
        *(sample(s.types[0], values=s.values, fraction=9, format=to) for a in (fmt.i8, fmt.i32) for to in (fmt.f32, fmt.f64) for s in [edges(1, a)]),
    ),
    laws=(law("halves", _halves),), cheap=True, family="convert",
)  # fmt: skip


# Units as other units.


def _requantise_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("requantise", types, 1, params, "fraction", "to")
    _signed("requantise", types[0])
    to, fraction = params["to"], params["fraction"]
    if not isinstance(to, Format) or not (to.kind == "fixed" or to.is_integer):
        raise SignatureError(f"`requantise`: {to!r} is neither fixed point nor an integer")
    shift = fraction - (to.mantissa if to.kind == "fixed" else 0)
    if not -31 < shift < max(types[0].format.bits, 32) - 1:
        raise SignatureError(f"`requantise` of {types[0]}: no shift by {shift}")
    return Type(held(to) if to.kind == "fixed" else to, types[0].shape)


def _requantise(use: Use) -> Body:
    source, fraction, to = use.types[0].format, use.params["fraction"], use.params["to"]

    def body(k: Kit, x: Value) -> Value:
        return requantised(k, x, source, fraction, to)

    return body


def _exactly(value: Values, rng: Rng) -> None:
    x = rng.integers(-(1 << 31), 1 << 31, 200)
    for to, fraction in (
        (fixed(4, 4), 24),
        (fixed(5, 12), 20),
        (fixed(8, 2), 1),
        (fixed(20, 2), 2),
    ):
        exact = [round_exact(float(Fraction(int(v), 1 << fraction)), to) for v in x]
        found = value(x.astype(np.int32), fraction=fraction, to=to)
        assert np.ldexp(found.astype(np.float64), -to.mantissa).tolist() == exact


def _toward_zero(value: Values, rng: Rng) -> None:
    x = np.array([-33, -32, -31, -1, 1, 31, 32, 9999], np.int32)
    assert value(x, fraction=5, to=fmt.i8).tolist() == [-1, -1, 0, 0, 0, 0, 1, 127]
    assert value(x, fraction=5, to=fmt.u8).tolist() == [0, 0, 0, 0, 0, 0, 1, 255]
    least, most = ends(fmt.i8)
    assert value(np.array([-(1 << 60), 1 << 60]), fraction=5, to=fmt.i8).tolist() == [least, most]


REQUANTISED = (
    (fmt.i32, 24, fixed(4, 12)), (fmt.i32, 10, fixed(3, 5)), (fmt.i64, 24, fixed(4, 12)), (fmt.i64, 50, fixed(1, 25)),
    (fmt.i16, 4, fixed(4, 12)), (fmt.i8, 0, fixed(4, 4)), (fmt.i32, 0, fixed(4, 12)), (fmt.i32, 7, fmt.i32), (fmt.i16, 12, fmt.i8),
    (fmt.i16, 3, fmt.u8), (fmt.i8, 2, fmt.i64), (fmt.i32, 2, fmt.u32),
)  # fmt: skip
scalar_op(
    "requantise",
    "`requantise(x, fraction=, to=)`: an integer x in units of 2^-fraction, in units of the last place of `to`: the nearest, the even "
    "one of two; an integer format takes it toward zero. Saturated. Exact products and sums of fixed point become values so.",
    _requantise_signature, _requantise, vjp=UNITS,
    samples=(
        sample(fmt.i32[()], fraction=8, to=fixed(4, 4)), sample(fmt.i64[2, 3], fraction=2, to=fixed(4, 12)),
        *(sample(s.types[0], values=s.values, fraction=n, to=to) for a, n, to in REQUANTISED for s in [edges(1, a)]),
    ),
    laws=(law("rounds once", _exactly), law("integers toward zero", _toward_zero)),
    writing="call", label=lambda use: f"requantise_{use.params['fraction']}_{slug(use.params['to'])}", family="convert",
)  # fmt: skip


# Quotients.


def _ratio_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("ratio", types, 2, params, "to")
    check_same("ratio", types)
    if types[0].format not in (fmt.i32, fmt.i64):
        raise SignatureError(f"`ratio` takes i32 or i64, not {types[0]}")
    return Type(held(_fixed("ratio", params["to"])), types[0].shape)


def _ratio(use: Use) -> Body:
    wide, to = use.types[0].format, use.params["to"]
    return lambda k, x, y: ratio(k, x, y, truncated, wide, to)


def _divided(to: Format, wide: Format, *shape: int) -> Sample:
    """Pairs of numbers of units, small ones, ends and zeros often."""
    least, most = ends(to)

    def values(rng: Rng) -> tuple[AnyArray, ...]:
        pair = (2, *shape)
        any_, small = rng.integers(least, most + 1, pair), rng.integers(-9, 10, pair)
        drawn = np.where(rng.random(pair) < 0.5, small, any_)
        x, y = np.where(rng.random(pair) < 0.1, least, drawn).astype(wide.dtype)
        return x, y

    return sample(wide[shape], wide[shape], values=values, to=to)


def _by_zero(value: Values, rng: Rng) -> None:
    x = np.array([-7, 0, 7], np.int32)
    assert value(x, np.zeros_like(x), to=fixed(4, 4)).tolist() == [-128, 0, 127]


scalar_op(
    "ratio",
    "`ratio(x, y, to=)`: x / y of integers in units of the last place of `to`, the nearest, the even one of two. Saturated, where y is 0 "
    "too; 0 / 0 is 0. x 2^f must be in the format of x. Quotients of fixed point are written so.",
    _ratio_signature, _ratio, vjp=UNITS,
    samples=(
        _divided(fixed(4, 4), fmt.i32), _divided(fixed(4, 4), fmt.i32, 200), _divided(fixed(4, 12), fmt.i32, 20, 10),
        _divided(fixed(1, 15), fmt.i32, 200), _divided(fixed(1, 25), fmt.i64, 200), _divided(fixed(16, 0), fmt.i32, 200),
    ),
    laws=(law("by zero", _by_zero),),
    writing="call", label=lambda use: f"ratio_{slug(use.params['to'])}", family="convert",
)  # fmt: skip


# Exceptions.


def _except_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("except_at", types, 2, params, "at", "to")
    x, y = types
    for type in types:
        _signed("except_at", type)
    at, to = params["at"], params["to"]
    if x.shape != y.shape or not at or len(at) != len(to) or list(at) != sorted(set(at)):
        raise SignatureError(f"`except_at` of {x} and {y}: no places {at} for {to}")
    return y


def _except(use: Use) -> Body:
    pairs = list(zip(use.params["at"], use.params["to"], strict=True))
    out = use.out.format

    def body(k: Kit, x: Value, y: Value) -> Value:
        def among(some: list[tuple[int, int]]) -> Value:
            middle = len(some) // 2
            at, to = some[middle]
            if not middle:
                return k.select(x == at, k.const(to, out), y)
            return k.select(x < at, among(some[:middle]), among(some[middle:]))

        return among(pairs)

    return body


def _where(value: Values, rng: Rng) -> None:
    x, y = np.arange(-5, 5, dtype=np.int16), np.zeros(10, np.int8)
    assert value(x, y, at=(-4, -1, 3), to=(7, 8, 9)).tolist() == [0, 7, 0, 0, 8, 0, 0, 0, 9, 0]


scalar_op(
    "except_at",
    "`except_at(x, y, at=, to=)`: y, but `to[k]` where x is `at[k]`; `at` ascends. A function of fixed point that is right at nearly all of "
    "its values is made right at all.",
    _except_signature, _except, vjp=UNITS,
    samples=(
        sample(fmt.i16[()], fmt.i16[()], at=(0,), to=(3,)), sample(fmt.i16[2, 3], fmt.i8[2, 3], at=(-1, 0), to=(5, 6)),
        sample(fmt.i8[12], fmt.i8[12], at=(-128, -3, 0, 1, 2, 7, 127), to=(1, -1, 2, -2, 3, -3, 4)),
    ),
    laws=(law("at these places alone", _where),),
    writing="call", label=lambda use: f"except_at_{crc32(repr(use.params).encode()):08x}", family="convert",
)  # fmt: skip
