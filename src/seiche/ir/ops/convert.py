"""Conversions between formats, and the identities that only derivatives tell apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import carrier
from seiche.ir.op import Cotangents, NoGradient, SignatureError, Use
from seiche.ir.ops.define import (
    Body,
    Rng,
    Values,
    draw_extremes,
    edges,
    expect,
    extremes,
    law,
    same_bits,
    sample,
    scalar_op,
)
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import Kit, Value


def _signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("convert", types, 1, params, "format")
    if not isinstance(params["format"], Format):
        raise SignatureError(f"`convert`: {params['format']!r} is no format")
    return Type(params["format"], types[0].shape)


def _to_integer(k: Kit, x: Value, to: Format) -> Value:
    """Toward zero, saturated; NaN gives 0. The bounds are powers of two, hence exact."""
    format = fmt.f32 if _is(x, fmt.f32) else fmt.f64
    least, above = (
        (0, 1 << to.bits) if to.kind == "uint" else (-1 << (to.bits - 1), 1 << (to.bits - 1))
    )
    x = k.let(x)
    high, low = k.let(x >= float(above)), k.let(x < float(least))
    inside = ~high & ~low & (x == x)
    whole = k.convert(k.select(inside, x, k.const(0.0, format)), to)
    return k.select(high, k.const(above - 1, to), k.select(low, k.const(least, to), whole))


def _is(x: Value, format: Format) -> bool:
    """Whether a value of the kit is in that machine format."""
    return x.format is format if hasattr(x, "format") else x.dtype == format.dtype


def _sticky(k: Kit, x: Value, to: Format) -> Value:
    """A 64-bit integer as a float, exactly, but for low bits that are replaced by one that says whether there were any."""
    x = k.let(x)
    low = k.let(x & 0xFFF)
    rough = (x - low) | k.select(low != 0, k.const(0x800, to), k.const(0, to))
    large = x >= 1 << 53
    return k.select(large if to.kind == "uint" else large | (x <= -1 << 53), rough, x)


def _to_odd(k: Kit, x: Value) -> Value:
    """f64 to f32, inexact results to the odd neighbour: rounding that again, to 11 bits or fewer, rounds x once.

    Boldo & Melquiond 2008, "Emulation of FMA and correctly rounded sums".
    """
    x = k.let(x)
    y = k.let(k.convert(x, fmt.f32))
    back = k.let(k.convert(y, fmt.f64))
    bits = k.let(k.bits(y))
    magnitude, given = k.bits(back) & ((1 << 63) - 1), k.bits(x) & ((1 << 63) - 1)
    odd = k.select(magnitude > given, bits - 1, bits + 1)
    exact = (back == x) | (x != x) | ((bits & 1) == 1)
    return k.from_bits(k.select(exact, bits, odd))


def _body(use: Use) -> Body:
    """One rounding from format to format, although a small format is rounded by the caller, from its carrier."""
    source, target = use.types[0].format, use.out.format
    a, b = carrier(source), carrier(target)
    narrow = target.is_float and not target.exact

    def body(k: Kit, x: Value) -> Value:
        if source == target:
            return x
        if b.kind == "bool":
            return x != 0
        if a.is_float and b.is_integer:
            return _to_integer(k, x, b)
        if narrow and a.is_integer and a.bits == 64:
            x = _sticky(k, x, a)
        if narrow and b is fmt.f32 and (a is fmt.f64 or (a.is_integer and a.bits >= 32)):
            return _to_odd(k, k.convert(x, fmt.f64))
        return k.convert(x, b)

    return body


def _vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    if not use.types[0].format.is_float:
        return (NoGradient("integers and booleans have no derivative"),)
    if not use.out.format.is_float:
        return (NoGradient("piecewise constant"),)
    return (b.convert(ct, format=use.types[0].format),)


def _saturates(value: Values, rng: Rng) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -2.9, 127.5, -128.5, 255.5])
    assert value(x, format=fmt.i8).tolist() == [0, 127, -128, 127, -128, 2, -2, 127, -128, 127]
    assert value(x, format=fmt.u8).tolist() == [0, 255, 0, 255, 0, 2, 0, 127, 0, 255]


def _wraps(value: Values, rng: Rng) -> None:
    assert value(np.array([255, 256, -1, 129], np.int32), format=fmt.i8).tolist() == [
        -1,
        0,
        -1,
        -127,
    ]


def _there_and_back(value: Values, rng: Rng) -> None:
    x = extremes(fmt.f32)
    assert same_bits(value(value(x, format=fmt.f64), format=fmt.f32), x)


PAIRS = (
    *((fmt.f32, to) for to in (fmt.f64, fmt.i32, fmt.u32, fmt.i8, fmt.u8, fmt.i64, fmt.u64, fmt.bool_, fmt.bf16, fmt.f32)),
    *((fmt.f64, to) for to in (fmt.f32, fmt.i32, fmt.i64, fmt.u64, fmt.bf16, fmt.f16, fmt.fixed(4, 12), fmt.bool_)),
    *((fmt.i32, to) for to in (fmt.f32, fmt.f64, fmt.i8, fmt.u32, fmt.i64, fmt.bool_, fmt.bf16)),
    *((fmt.i64, to) for to in (fmt.f32, fmt.f64, fmt.i8, fmt.u64, fmt.f16)), (fmt.u64, fmt.bf16), (fmt.u64, fmt.f32),
    *((fmt.u8, to) for to in (fmt.i8, fmt.f32, fmt.i32)), (fmt.bool_, fmt.f32), (fmt.bool_, fmt.i8), (fmt.bf16, fmt.f32),
    (fmt.fixed(4, 12), fmt.f32), (fmt.fixed(4, 12), fmt.i8), (fmt.bf16, fmt.i8),
)  # fmt: skip

scalar_op(
    "convert",
    "x in another format. Float to integer truncates and saturates, NaN gives 0; integers wrap; bool is `x != 0`. "
    "The derivative passes between real formats.",
    _signature, _body, vjp=_vjp,
    samples=(
        sample(fmt.f32[()], format=fmt.i32), sample(fmt.f64[2, 3, 2], format=fmt.f32),
        *(sample(s.types[0], values=s.values, format=to) for a, to in PAIRS for s in [edges(1, a)]),
    ),
    laws=(
        law("floats saturate", _saturates), law("integers wrap", _wraps), law("f32 to f64 and back", _there_and_back),
    ), cheap=True, family="convert",
)  # fmt: skip


def _identity_of(name: str) -> Callable[[tuple[Type, ...], Params], Type]:
    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, 1, params)
        return types[0]

    return signature


def _same(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, fmt.f32[40])
    assert same_bits(value(x), x)


scalar_op(
    "stop_gradient", "x itself; no derivative passes.", _identity_of("stop_gradient"), lambda use: lambda k, x: x,
    vjp=NoGradient("the program stops it here"),
    samples=(sample(fmt.f32[()]), sample(fmt.f64[2, 3]), sample(fmt.i8[4]), sample(fmt.bool_[3])),
    laws=(law("the identity", _same),), cheap=True, family="convert",
)  # fmt: skip


def _later(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.pipeline_register(ct),)


scalar_op(
    "pipeline_register",
    "x itself, where a stage of a pipeline ends: what follows is computed a tick of the base clock later, and all of it is "
    "reported as latency. The cotangent waits alike.",
    _identity_of("pipeline_register"), lambda use: lambda k, x: x,
    vjp=_later,
    samples=(sample(fmt.f32[()]), sample(fmt.f64[2, 3]), sample(fmt.i8[4]), sample(fmt.bool_[3])),
    laws=(law("the identity", _same),), cheap=True, family="convert",
)  # fmt: skip
