"""Rounding to a number format: an exact specification in fractions, its vectorised twin over a kit, and storage codes.

Modes. `nearest` is to the nearest value, ties to the even code. `zero` truncates. `stochastic` takes 32 random bits r: let a value be
a fraction d of the way (0 <= d < 1) from one code to the next; it moves to the next iff floor(d 2^32) > r, so values of the format
never move, and others move with probability floor(d 2^32) / 2^32. Floats are sign and magnitude: the next code is away from zero.
Fixed point is two's complement: the next code is towards +infinity.

Overflow. The exponent is first taken as unbounded; a result beyond the largest value is infinite, or NaN in a format without
infinities (e4m3: beyond 464 under `nearest`, as OCP FP8 1.0 and ml_dtypes cast without saturation), or the largest value under
`zero` or with `saturate`. With `saturate`, infinities become the largest value too. Fixed point always saturates, and NaN gives 0.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from seiche.numbers.carriers import carrier_of, magnitude, sign_bit
from seiche.numbers.formats import NAMED, Format, u32
from seiche.numbers.kit import Kit, Value

Mode = Literal["nearest", "zero", "stochastic"]
_TWO32 = 1 << 32


def bias(format: Format) -> int:
    """The exponent bias of a float format."""
    return (1 << (format.exponent - 1)) - 1


def smallest_exponent(format: Format) -> int:
    """The exponent of the smallest normal value; subnormals share its spacing."""
    return 1 - bias(format)


def largest(format: Format) -> float:
    """The largest finite value.

    >>> from seiche.numbers.formats import e4m3, e5m2, fixed
    >>> largest(e4m3), largest(e5m2), largest(fixed(2, 2))
    (448.0, 57344.0, 1.75)
    """
    if format.kind == "fixed":
        return math.ldexp((1 << (format.bits - 1)) - 1, -format.mantissa)
    if format.infinite:
        return math.ldexp(2 - 2.0**-format.mantissa, bias(format))
    # The all-ones exponent holds values too; its all-ones mantissa is NaN.
    return math.ldexp(2 - 2.0 ** (1 - format.mantissa), bias(format) + 1)


def _moved(scaled: Fraction, mode: Mode, bits: int) -> int:
    """The integer that `scaled`, in units of a code, goes to: its floor or the next."""
    whole = math.floor(scaled)
    rest = scaled - whole
    if mode == "stochastic":
        return whole + (math.floor(rest * _TWO32) > bits)
    if mode == "zero":
        return whole + (scaled < 0 and rest > 0)
    return whole + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1))


def round_exact(
    value: float, format: Format, mode: Mode = "nearest", bits: int = 0, saturate: bool = False
) -> float:
    """The value of `format` that `value` rounds to, in exact rational arithmetic: the specification.

    >>> from seiche.numbers.formats import bf16, e4m3, fixed
    >>> round_exact(1.00390625, bf16), round_exact(465.0, e4m3), round_exact(0.3, fixed(2, 2))
    (1.0, nan, 0.25)
    """
    if format.kind == "fixed":
        return _fixed_exact(value, format, mode, bits)
    top = largest(format)
    beyond = top if saturate else math.inf if format.infinite else math.nan
    if math.isnan(value):
        return math.nan
    if math.isinf(value):
        return math.copysign(beyond, value)
    size = abs(Fraction(value))
    exponent = max(math.frexp(value)[1] - 1, smallest_exponent(format)) if value else 0
    quantum = Fraction(2) ** (exponent - format.mantissa)
    result = _moved(size / quantum, mode, bits) * quantum
    if result > Fraction(top):
        return math.copysign(top if mode == "zero" else beyond, value)
    return math.copysign(float(result), value)


def _fixed_exact(value: float, format: Format, mode: Mode, bits: int) -> float:
    if math.isnan(value):
        return 0.0
    low, high = -(1 << (format.bits - 1)), (1 << (format.bits - 1)) - 1
    if math.isinf(value):
        code = high if value > 0 else low
    else:
        code = _moved(Fraction(value) * (1 << format.mantissa), mode, bits)
    return math.ldexp(min(max(code, low), high), -format.mantissa)


def round_nearest(k: Kit, x: Value, format: Format, saturate: bool = False) -> Value:
    """Carrier values to the nearest values of the format, ties to even.

    >>> from seiche.numbers.formats import bf16
    >>> from seiche.numbers.kit import NUMPY
    >>> print(round_nearest(NUMPY, np.float32(3.14159), bf16))
    3.140625
    """
    if format.exact:
        return x
    if format.kind == "fixed":
        return _fixed_nearest(k, x, format)
    if format.exponent == _exponent_bits(format):
        return _same_range(k, x, format, None, saturate)
    return _narrow(k, x, format, None, saturate)


def round_stochastic(
    k: Kit, x: Value, format: Format, bits: Value, saturate: bool = False
) -> Value:
    """Carrier values to values of the format, to the next code with the probability of the discarded fraction; `bits` are u32.

    >>> from seiche.numbers.formats import bf16
    >>> from seiche.numbers.kit import NUMPY
    >>> print(round_stochastic(NUMPY, np.float32(3.14159), bf16, np.array([0, 2**32 - 1], np.uint32)))
    [3.15625  3.140625]
    """
    if format.exact:
        return x
    if format.kind == "fixed":
        return _fixed_stochastic(k, x, format, bits)
    if format.exponent == _exponent_bits(format):
        return _same_range(k, x, format, bits, saturate)
    return _narrow(k, x, format, bits, saturate)


def _exponent_bits(format: Format) -> int:
    return 8 if format.carrier == "f32" else 11


def _same_range(k: Kit, x: Value, format: Format, bits: Value | None, saturate: bool) -> Value:
    """A format with its carrier's exponents: its codes are the upper bits of the carrier's, subnormals and overflow included."""
    c = carrier_of(format)
    cut = c.mantissa - format.mantissa
    mask = c.modulo(-(1 << cut))
    u = k.let(k.bits(x))
    if bits is None:
        up = u + (((u >> cut) & 1) + ((1 << (cut - 1)) - 1))
    else:
        up = u + k.select(
            _discarded(k, u, cut, c.unsigned) > bits,
            k.const(1 << cut, c.unsigned),
            k.const(0, c.unsigned),
        )
    rounded = k.from_bits(up & mask)
    if saturate:
        top, a = largest(format), k.let(magnitude(k, rounded, format))
        limited = k.select(a > top, k.const(top, format_of(format)), a)
        rounded = k.from_bits(k.bits(limited) | (u & c.sign))
    return k.select(x == x, rounded, x)


def _discarded(k: Kit, u: Value, cut: int, unsigned: Format) -> Value:
    """The low `cut` bits of u as a fraction of 2^32, in u32."""
    low = u & ((1 << cut) - 1)
    if cut <= 32:
        shifted = low << (32 - cut)
    else:
        shifted = low >> (cut - 32)
    return k.let(shifted if unsigned is u32 else k.convert(shifted, u32))


def _narrow(k: Kit, x: Value, format: Format, bits: Value | None, saturate: bool) -> Value:
    """A format with fewer exponents than its carrier: |x| is scaled by a power of two so that codes are integers."""
    c = carrier_of(format)
    top = largest(format)
    above = 2.0 ** (math.frexp(top)[1])
    sign = k.let(sign_bit(k, x, format))
    a = k.let(magnitude(k, x, format))
    a = k.let(
        k.select(a <= above, a, k.const(above, format_of(format)))
    )  # NaN too: it must convert to an integer
    low = (smallest_exponent(format) + c.bias) << c.mantissa
    exponent = k.let(k.bits(a) & c.infinity)
    exponent = k.let(k.select(exponent < low, k.const(low, c.unsigned), exponent))
    shift = format.mantissa << c.mantissa
    quantum = k.from_bits(exponent - shift)
    v = k.let(a * k.from_bits(((2 * c.bias << c.mantissa) + shift) - exponent))
    code = _integer(k, v, format) if bits is None else _next_integer(k, v, format, bits)
    rounded = k.let(code * quantum)
    beyond = top if saturate else float("inf") if format.infinite else float("nan")
    rounded = k.select(rounded > top, k.const(beyond, format_of(format)), rounded)
    return k.select(x == x, k.from_bits(k.bits(rounded) | sign), x)


def _integer(k: Kit, v: Value, format: Format) -> Value:
    """0 <= v to the nearest integer, half to even: v has at most mantissa + 1 bits before the point."""
    big = 2.0 ** carrier_of(format).mantissa
    return (v + big) - big


def _next_integer(k: Kit, v: Value, format: Format, bits: Value) -> Value:
    """0 <= v to its floor, or to the next integer where the fraction exceeds the random bits."""
    near = k.let(_integer(k, v, format))
    whole = k.let(k.select(near > v, near - 1.0, near))
    up = k.convert((v - whole) * float(_TWO32), u32) > bits
    return whole + k.select(up, k.const(1.0, format_of(format)), k.const(0.0, format_of(format)))


def _fixed_clamped(k: Kit, x: Value, format: Format) -> Value:
    """x in units of the last place, within the codes; NaN is 0."""
    high = float((1 << (format.bits - 1)) - 1)
    v = k.let(k.select(x == x, x * 2.0**format.mantissa, k.const(0.0, format_of(format))))
    v = k.let(k.select(v < -high - 1.0, k.const(-high - 1.0, format_of(format)), v))
    return k.let(k.select(v > high, k.const(high, format_of(format)), v))


def _fixed_nearest(k: Kit, x: Value, format: Format) -> Value:
    magic = carrier_of(format).magic
    return ((_fixed_clamped(k, x, format) + magic) - magic) * 2.0**-format.mantissa


def _fixed_stochastic(k: Kit, x: Value, format: Format, bits: Value) -> Value:
    v = k.let(_fixed_clamped(k, x, format))
    a = k.let(magnitude(k, v, format))
    near = k.let(_integer(k, a, format))
    below = k.let(k.select(near > a, near - 1.0, near))
    # Exact for either sign: the fraction of a negative v is one less that of |v|, taken in u32, where 2^32 is 0.
    rest = k.let((a - below) * float(_TWO32))
    part = k.let(k.convert(rest, u32))
    one, zero = k.const(1, u32), k.const(0, u32)
    ceiling = part + k.select(k.convert(part, format_of(format)) < rest, one, zero)
    negative = k.let(v < 0.0)
    up = k.select(negative, zero - ceiling, part) > bits
    floor = k.select(negative, -k.select(a > below, below + 1.0, below), below)
    return (
        floor + k.select(up, k.const(1.0, format_of(format)), k.const(0.0, format_of(format)))
    ) * 2.0**-format.mantissa


def format_of(format: Format) -> Format:
    """The carrier of a format, as a format.

    >>> from seiche.numbers.formats import bf16
    >>> format_of(bf16)
    f32
    """
    return NAMED[format.carrier]


def code_dtype(format: Format) -> np.dtype[Any]:
    """The smallest unsigned dtype that holds a code.

    >>> from seiche.numbers.formats import fixed
    >>> print(code_dtype(fixed(4, 12)), code_dtype(fixed(4, 13)))
    uint16 uint32
    """
    return np.dtype(f"uint{next(b for b in (8, 16, 32, 64) if b >= format.bits)}")


def encode(values: ArrayLike, format: Format) -> Any:
    """Storage codes of values of the format (carrier values already rounded to it); NaN gets one quiet code.

    >>> from seiche.numbers.formats import bf16, fixed
    >>> print(encode([1.0, -2.0], bf16), encode([-0.25], fixed(2, 2)))
    [16256 49152] [15]
    """
    dtype = code_dtype(format)
    carried = np.asarray(values, dtype=format.dtype)
    if format.kind == "fixed":
        scaled = np.ldexp(carried, format.mantissa).astype(np.int64)
        return (scaled & ((1 << format.bits) - 1)).astype(dtype)
    if format.kind != "float" or format.exact:
        return np.ascontiguousarray(carried).view(dtype).reshape(carried.shape)
    with np.errstate(invalid="ignore"):  # A signalling NaN.
        return _encode_float(carried.astype(np.float64), format).astype(dtype)


def _encode_float(x: Any, format: Format) -> Any:
    m, low = format.mantissa, smallest_exponent(format)
    a = np.where(np.isfinite(x), np.abs(x), 0.0)
    exponent = np.where(a == 0, low, np.maximum(np.frexp(a)[1] - 1, low))
    units = np.ldexp(a, m - exponent).astype(np.int64)
    # A normal value has its hidden bit in units, which adds the one missing from the exponent field.
    code = units + ((exponent - low).astype(np.int64) << m)
    special = ((1 << format.exponent) - 1) << m
    nan = special | ((1 << (m - 1)) if format.infinite else (1 << m) - 1)
    code = np.where(np.isinf(x), special if format.infinite else nan, code)
    code = np.where(np.isnan(x), nan, code)
    return code | (np.signbit(x).astype(np.int64) << (format.bits - 1))


def decode(codes: ArrayLike, format: Format) -> Any:
    """The carrier values of storage codes.

    >>> from seiche.numbers.formats import e4m3
    >>> print(decode([0x7E, 0x7F, 0x01], e4m3))
    [4.480000e+02          nan 1.953125e-03]
    """
    stored = np.asarray(codes, dtype=code_dtype(format))
    if format.kind == "fixed":
        signed = stored.astype(np.int64)
        signed = signed - ((signed >> (format.bits - 1)) << format.bits)
        return np.ldexp(signed.astype(np.float64), -format.mantissa)
    if format.kind == "bool":
        return stored.astype(np.bool_)
    if format.kind != "float" or format.exact:
        return np.ascontiguousarray(stored).view(format.dtype).reshape(stored.shape)
    return _decode_float(stored.astype(np.int64), format)


def _decode_float(code: Any, format: Format) -> Any:
    m = format.mantissa
    field = (code >> m) & ((1 << format.exponent) - 1)
    fraction = code & ((1 << m) - 1)
    exponent = np.maximum(field, 1) - bias(format) - m
    value = np.ldexp((fraction + ((field > 0).astype(np.int64) << m)).astype(np.float64), exponent)
    special = field == (1 << format.exponent) - 1
    if format.infinite:
        value = np.where(special, np.where(fraction == 0, np.inf, np.nan), value)
    else:
        value = np.where(special & (fraction == (1 << m) - 1), np.nan, value)
    negative = (code >> (format.bits - 1)) & 1 == 1
    return np.where(negative, -value, value).astype(format.dtype)
