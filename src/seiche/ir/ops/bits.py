"""Bits of integers: logic, shifts, reinterpretation."""

from __future__ import annotations

import numpy as np

from seiche.ir.core import Params
from seiche.ir.loops import carrier
from seiche.ir.op import Law, NoGradient, SignatureError, Use
from seiche.ir.ops.define import (
    INTEGER,
    Body,
    Rng,
    Values,
    draw_extremes,
    edges,
    expect,
    extremes,
    law,
    pointwise,
    same_bits,
    sample,
    scalar_op,
    standard,
)
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import Kit, Value

INTEGERS = (fmt.i32, fmt.u32, fmt.i8, fmt.u8, fmt.i16, fmt.i64, fmt.u64)
BITS = NoGradient("bits have no derivative")
T = fmt.u32[40]


def _commutes(value: Values, rng: Rng) -> None:
    x, y = draw_extremes(rng, T), draw_extremes(rng, T)
    assert same_bits(value(x, y), value(y, x))


def _on_itself(same: bool) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x = draw_extremes(rng, T)
        assert same_bits(value(x, x), x if same else np.zeros_like(x))

    return law("x with itself is x" if same else "x with itself is 0", check)


BINARY = {
    "bit_and": ("Bitwise and.", lambda k, format, x, y: x & y, True),
    "bit_or": ("Bitwise or.", lambda k, format, x, y: x | y, True),
    "bit_xor": ("Bitwise exclusive or.", lambda k, format, x, y: x ^ y, False),
}
for _name, (_doc, _fn, _same) in BINARY.items():
    pointwise(
        _name, _doc, _fn, arity=2, kinds=INTEGER, vjp=BITS, samples=standard(2, *INTEGERS),
        laws=(law("commutes", _commutes), _on_itself(_same)), family="bits",
    )  # fmt: skip


def _twice(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, T)
    assert same_bits(value(value(x)), x)


pointwise(
    "bit_not", "Flips every bit.", lambda k, format, x: ~x,
    arity=1, kinds=INTEGER, vjp=BITS, samples=standard(1, *INTEGERS), laws=(law("its own inverse", _twice),),
    family="bits",
)  # fmt: skip


def _left(k: Kit, format: Format, x: Value, count: Value) -> Value:
    return x << (count & (format.bits - 1))


def _right(k: Kit, format: Format, x: Value, count: Value) -> Value:
    return x >> (count & (format.bits - 1))


def _by_width(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, T)
    assert same_bits(value(x, np.full_like(x, 32)), x)
    assert same_bits(value(x, np.full_like(x, 35)), value(x, np.full_like(x, 3)))


MODULO = law("counts are taken modulo the width", _by_width)
pointwise(
    "shift_left", "x * 2^count, wrapping; the count is taken modulo the width.", _left,
    arity=2, kinds=INTEGER, vjp=BITS, samples=standard(2, *INTEGERS), laws=(MODULO,), family="bits",
)  # fmt: skip
pointwise(
    "shift_right", "x / 2^count rounded down (signs are extended); the count is taken modulo the width.", _right,
    arity=2, kinds=INTEGER, vjp=BITS, samples=standard(2, *INTEGERS), laws=(MODULO,), family="bits",
)  # fmt: skip


def _bitcast_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("bitcast", types, 1, params, "format")
    source, target = types[0].format, params["format"]
    for format in (source, target):
        if not format.exact or format.kind == "bool":
            raise SignatureError(f"`bitcast` is defined on integers, f32 and f64, not on {format}")
    if source.bits != target.bits:
        raise SignatureError(
            f"`bitcast` keeps the width: {source} has {source.bits} bits, {target} {target.bits}"
        )
    return Type(target, types[0].shape)


def _bitcast(use: Use) -> Body:
    source, target = carrier(use.types[0].format), carrier(use.out.format)
    unsigned = fmt.NAMED[f"u{source.bits}"]

    def body(k: Kit, x: Value) -> Value:
        u = k.bits(x) if source.is_float else k.convert(x, unsigned)
        return k.from_bits(u) if target.is_float else k.convert(u, target)

    return body


def _round_trip(value: Values, rng: Rng) -> None:
    x = extremes(fmt.f32)
    assert same_bits(value(value(x, format=fmt.i32), format=fmt.f32), x)
    assert value(np.float32(1.0), format=fmt.u32) == 0x3F800000


CASTS = (
    (fmt.f32, fmt.u32), (fmt.f32, fmt.i32), (fmt.f64, fmt.u64), (fmt.u32, fmt.f32), (fmt.i64, fmt.f64),
    (fmt.i8, fmt.u8), (fmt.u64, fmt.i64), (fmt.i32, fmt.i32),
)  # fmt: skip
scalar_op(
    "bitcast", "The same bits read in another format of the same width.", _bitcast_signature, _bitcast, vjp=BITS,
    samples=(
        sample(fmt.f32[()], format=fmt.u32), sample(fmt.i32[2, 3], format=fmt.f32),
        *(sample(s.types[0], values=s.values, format=to) for a, to in CASTS for s in [edges(1, a)]),
    ),
    laws=(law("there and back; 1.0 is 0x3f800000", _round_trip),), cheap=True, family="bits",
)  # fmt: skip
