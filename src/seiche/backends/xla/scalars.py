"""Ops on single elements, as functions of whole arrays: `SCALARS[name](use, *arrays)`, in carrier dtypes.

XLA's own functions wherever they exist. Edges are those of the op records: integers divided by zero, counts of shifts modulo the
width, casts that saturate. Subnormals may be flushed to zero, as XLA does on CPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from seiche.backends.xla import rounding
from seiche.backends.xla.kit import JAX
from seiche.backends.xla.library import Array, jnp, lax
from seiche.ir.op import Use
from seiche.numbers import random, units
from seiche.numbers.formats import Format

Function: TypeAlias = Callable[..., Array]
"""`f(use, *arrays)`: the result in its carrier, before it is rounded to a small format."""


def plain(fn: Callable[..., Array]) -> Function:
    """A function that needs no types."""
    return lambda use, *xs: fn(*xs)


def dtype_of(format: Format) -> np.dtype[Any]:
    """The dtype of a format's carrier."""
    return np.dtype(format.dtype)


SCALARS: dict[str, Function] = {
    name: plain(fn)
    for name, fn in {
        "add": lax.add, "sub": lax.sub, "mul": lax.mul, "div": lax.div, "square": lax.square, "reciprocal": lambda x: 1 / x,
        "neg": lambda x: -x, "abs": jnp.abs, "sign": lax.sign, "minimum": lax.min, "maximum": lax.max,
        "eq": lax.eq, "ne": lax.ne, "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y,
        "ge": lambda x, y: x >= y,
        "logical_and": lax.bitwise_and, "logical_or": lax.bitwise_or, "logical_xor": lax.bitwise_xor,
        "logical_not": lax.bitwise_not, "bit_and": lax.bitwise_and, "bit_or": lax.bitwise_or, "bit_xor": lax.bitwise_xor,
        "bit_not": lax.bitwise_not, "select": lax.select, "stop_gradient": lambda x: x, "pipeline_register": lambda x: x,
        "floor": lax.floor, "ceil": lax.ceil, "trunc": jnp.trunc, "round": rounding.integer,
        "exp": lax.exp, "expm1": lax.expm1, "exp2": lax.exp2, "log": lax.log, "log1p": lax.log1p, "log2": jnp.log2,
        "tanh": lax.tanh, "sigmoid": lax.logistic, "sinh": lax.sinh, "cosh": lax.cosh, "sin": lax.sin, "cos": lax.cos,
        "tan": lax.tan, "asin": lax.asin, "acos": lax.acos, "atan": lax.atan, "erf": lax.erf, "erfc": lax.erfc,
        "erfinv": lax.erf_inv, "sqrt": lax.sqrt, "isnan": lambda x: x != x, "isfinite": lax.is_finite, "pow": lax.pow,
        "atan2": lax.atan2, "copysign": jnp.copysign,
        "softplus": lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    }.items()
}  # fmt: skip


# Bits.


def _count(use: Use, count: Array) -> Array:
    return count & np.asarray(use.types[0].format.bits - 1, count.dtype)


def _shift_right(use: Use, x: Array, count: Array) -> Array:
    shift = lax.shift_right_arithmetic if use.out.format.kind == "int" else lax.shift_right_logical
    return shift(x, _count(use, count))


SCALARS["shift_left"] = lambda use, x, count: lax.shift_left(x, _count(use, count))
SCALARS["shift_right"] = _shift_right
SCALARS["bitcast"] = lambda use, x: lax.bitcast_convert_type(x, dtype_of(use.out.format))


# Quotients and remainders.


def _opposite(r: Array, y: Array) -> Array:
    return (r != 0) & ((r < 0) != (y < 0))


def _whole_parts(x: Array, y: Array) -> tuple[Array, Array]:
    """The floored quotient and remainder of integers: by 0 they are 0 and x; the least one by -1 wraps."""
    one, zero = np.asarray(1, x.dtype), np.asarray(0, x.dtype)
    signed = jnp.issubdtype(x.dtype, jnp.signedinteger)
    trivial = (y == 0) | (y == -1) if signed else y == 0
    safe = jnp.where(trivial, one, y)
    q = jnp.where(y == 0, zero, lax.div(x, safe))
    if signed:
        q = jnp.where(y == -1, -x, q)
    r = x - q * y
    wrong = _opposite(r, y) & (y != 0)
    return jnp.where(wrong, q - 1, q), jnp.where(wrong, r + y, r)


def _real_mod(x: Array, y: Array, mantissa: int) -> Array:
    """Exact, then rounded once: C's fmod is exact. A zero once the quotient has as many digits as the format."""
    r = lax.rem(x, y)
    r = jnp.where(_opposite(r, y), r + y, r)
    zero = jnp.copysign(jnp.zeros_like(x), y)
    lost = (jnp.abs(x / y) >= 2.0 ** (mantissa - 1)) & lax.is_finite(x) & (y != 0)
    return jnp.where(lost | (r == 0), zero, r)


def _mantissa(x: Array) -> int:
    return 23 if x.dtype == jnp.float32 else 52


def _mod(use: Use, x: Array, y: Array) -> Array:
    return _real_mod(x, y, _mantissa(x)) if use.out.format.is_float else _whole_parts(x, y)[1]


def _floor_div(use: Use, x: Array, y: Array) -> Array:
    """Of reals: one less than the floor of the rounded quotient where rounding went up to an integer."""
    if not use.out.format.is_float:
        return _whole_parts(x, y)[0]
    q = x / y
    whole = lax.floor(q)
    rest = lax.rem(x, y)
    rest = jnp.where(_opposite(rest, y), rest + y, rest)
    below = jnp.abs(rest) > jnp.abs(y) * 0.5
    passed = jnp.where(whole == 0, _opposite(x, y) & (y != 0), (whole == q) & below)
    counts = jnp.abs(whole) < 2.0 ** _mantissa(x)
    return jnp.where(passed & counts, whole - 1, whole)


SCALARS["mod"] = _mod
SCALARS["floor_div"] = _floor_div


# Conversions.


def _to_integer(x: Array, to: Format) -> Array:
    """Toward zero, saturated; NaN gives 0. The bounds are powers of two, hence exact."""
    info = np.iinfo(to.dtype)
    high, low = x >= float(int(info.max) + 1), x < float(info.min)
    inside = ~high & ~low & (x == x)
    whole = lax.convert_element_type(jnp.where(inside, x, 0), dtype_of(to))
    least, most = (dtype_of(to).type(bound) for bound in (info.min, info.max))
    return jnp.where(high, most, jnp.where(low, least, whole))


def _sticky(x: Array) -> Array:
    """A 64-bit integer as an f64 that rounds, to few bits, as the integer does: its low bits become one that says if any was."""
    low = x & np.asarray(0xFFF, x.dtype)
    rough = (x - low) | jnp.where(low != 0, np.asarray(0x800, x.dtype), np.asarray(0, x.dtype))
    large = x >= np.asarray(1 << 53, x.dtype)
    if jnp.issubdtype(x.dtype, jnp.signedinteger):
        large |= x <= np.asarray(-1 << 53, x.dtype)
    return jnp.where(large, rough, x)


def _convert(use: Use, x: Array) -> Array:
    """One rounding from format to format; a small format is rounded in f64 where its carrier would round first."""
    source, target = use.types[0].format, use.out.format
    if source == target:
        return x
    if target.kind == "bool":
        return x != 0
    if source.is_float and target.is_integer:
        return _to_integer(x, target)
    narrow = target.is_float and not target.exact and target.carrier == "f32"
    if narrow and (x.dtype == jnp.float64 or (source.is_integer and source.bits >= 32)):
        wide = (_sticky(x) if source.bits == 64 and source.is_integer else x).astype(jnp.float64)
        x = rounding.nearest(wide, target)
    elif target.is_float and not target.exact and source.is_integer and source.bits == 64:
        x = _sticky(x)
    return lax.convert_element_type(x, dtype_of(target))


SCALARS["convert"] = _convert


# Units of fixed point.


def _quantise(use: Use, x: Array) -> Array:
    to = use.params["to"]
    rounded = rounding.nearest(x.astype(jnp.float64), to)
    return lax.convert_element_type(rounded * 2.0**to.mantissa, dtype_of(use.out.format))


def _requantise(use: Use, x: Array) -> Array:
    p = use.params
    return units.requantised(JAX, x, use.types[0].format, p["fraction"], p["to"])


def _ratio(use: Use, x: Array, y: Array) -> Array:
    return units.ratio(JAX, x, y, lax.div, use.types[0].format, use.params["to"])


def _except_at(use: Use, x: Array, y: Array) -> Array:
    found = y
    for at, to in zip(use.params["at"], use.params["to"], strict=True):
        found = jnp.where(x == at, np.asarray(to, y.dtype), found)
    return found


SCALARS["quantise"] = _quantise
SCALARS["ratio"] = _ratio
SCALARS["except_at"] = _except_at
SCALARS["requantise"] = _requantise
SCALARS["dequantise"] = lambda use, x: units.dequantised(
    JAX, x, use.params["fraction"], use.out.format
)


# Random numbers: equal in bits, but for the last digit of normal ones.


def _normal(use: Use, bits: Array) -> Array:
    if use.out.format.carrier == "f32":
        odd = (bits >> np.uint32(8)).astype(jnp.float32) * 2.0**-23
        x = (odd - 1.0) + 2.0**-24
    else:
        x = (bits.astype(jnp.float64) * 2.0**-31 - 1.0) + 2.0**-32
    return lax.erf_inv(x) * 1.4142135623730951


SCALARS["uniform01"] = lambda use, bits: random.uniform01(JAX, bits, use.out.format)
SCALARS["normal01"] = _normal
SCALARS["round_stochastic"] = lambda use, x, bits: rounding.stochastic(x, use.out.format, bits)
