"""Fixed point as integers: how many units of the last place, 2^-f, a value of fixed(i, f) is; and the kit that computes with them.

    x: fixed(i, f)   <->   the integer 2^f x, in the narrowest of i8, i16 and i32

Rounding is `numbers.rounding`'s: to the nearest unit, ties to even, saturated, NaN to 0. Nothing overflows, whatever x is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from seiche.numbers.carriers import carrier_of
from seiche.numbers.formats import Format, f32, f64, i8, i16, i32
from seiche.numbers.kit import Kit, Value

Array: TypeAlias = np.ndarray[Any, Any]
F32_BITS_MAX = 22
"""Bits of the widest format whose units f32 rounds to: adding 1.5 * 2^23 rounds what is below 2^22."""


def held(format: Format) -> Format:
    """The integers that hold a fixed-point format's units.

    >>> from seiche.numbers.formats import fixed
    >>> held(fixed(1, 7)), held(fixed(4, 8)), held(fixed(5, 12))
    (i8, i16, i32)
    """
    return next(f for f in (i8, i16, i32) if f.bits >= format.bits)


def units(values: ArrayLike, format: Format) -> Array:
    """Values of a fixed-point format in units of its last place.

    >>> from seiche.numbers.formats import fixed
    >>> units([0.5, -8.0], fixed(4, 12))
    array([  2048, -32768], dtype=int16)
    """
    scaled = np.ldexp(np.asarray(values, np.float64), format.mantissa)
    return np.asarray(scaled).astype(held(format).dtype)


def values(units: ArrayLike, format: Format) -> Array:
    """The values of units of the last place, in the format's carrier.

    >>> from seiche.numbers.formats import fixed
    >>> values(np.int16([2048, -32768]), fixed(4, 12))
    array([ 0.5, -8. ])
    """
    return np.asarray(np.ldexp(np.asarray(units, np.float64), -format.mantissa))


def kept(of: Format | None, x: Array) -> Array:
    """Carrier values as C holds them: in units, where those of a format are counted."""
    return x if of is None else units(x, of)


def carried(of: Format | None, x: Array) -> Array:
    """What C holds as carrier values.

    >>> from seiche.numbers.formats import fixed
    >>> print(carried(None, np.int8([5])), carried(fixed(4, 4), np.int8([5])))
    [5] [0.3125]
    """
    return x if of is None else values(x, of)


def ends(format: Format) -> tuple[int, int]:
    """The least and the largest number of units of a fixed-point format, or the ends of an integer format.

    >>> from seiche.numbers.formats import fixed, u8
    >>> ends(fixed(4, 12)), ends(u8)
    ((-32768, 32767), (0, 255))
    """
    if format.kind == "uint":
        return 0, (1 << format.bits) - 1
    return -(1 << (format.bits - 1)), (1 << (format.bits - 1)) - 1


def quantised(k: Kit, x: Value, carrier: Format, to: Format) -> Value:
    """Carrier values as units of a fixed-point format, rounded as `rounding.round_nearest` does.

    >>> from seiche.numbers.formats import fixed
    >>> from seiche.numbers.kit import NUMPY
    >>> quantised(NUMPY, np.float32([0.3, 9.0, np.nan]), f32, fixed(4, 4))
    array([  5, 127,   0], dtype=int8)
    """
    wide = f32 if carrier is f32 and to.bits <= F32_BITS_MAX else f64
    c = carrier_of(wide)
    low, high = (k.const(float(end), wide) for end in ends(to))
    v = k.let((x if carrier is wide else k.convert(x, wide)) * 2.0**to.mantissa)
    v = k.let(k.select(v == v, v, k.const(0.0, wide)))
    v = k.let(k.select(v < low, low, v))
    v = k.let(k.select(v > high, high, v))
    # The sum's low bits are those of the integer: cheaper than a conversion where floats are emulated.
    whole = k.convert(k.bits(v + c.magic), i32) - k.const(_signed(c.magic_bits), i32)
    return _narrowed(k, whole, to)


def _signed(bits: int) -> int:
    """The low 32 bits, as i32 has them."""
    low = bits & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def dequantised(k: Kit, x: Value, fraction: int, format: Format) -> Value:
    """x 2^-fraction in f32 or f64, rounded once.

    >>> from seiche.numbers.kit import NUMPY
    >>> dequantised(NUMPY, np.int8([5, -128]), 4, f32)
    array([ 0.3125, -8.    ], dtype=float32)
    """
    return k.convert(x, format) * 2.0**-fraction


def requantised(k: Kit, x: Value, source: Format, fraction: int, to: Format) -> Value:
    """Integers in units of 2^-fraction as units of `to`: of fixed point to the nearest, ties to even; of integers toward zero. Saturated.

    >>> from seiche.numbers.formats import fixed
    >>> from seiche.numbers.kit import NUMPY
    >>> requantised(NUMPY, np.int32([24, 40, -24, 9999]), i32, 8, fixed(4, 4))
    array([  2,   2,  -2, 127], dtype=int8)
    >>> requantised(NUMPY, np.int16([-24, 24]), i32, 4, i8)
    array([-1,  1], dtype=int8)
    """
    wide = source if source.bits >= i32.bits else i32
    x = k.let(x if source is wide else k.convert(x, wide))
    shift = fraction - (to.mantissa if to.kind == "fixed" else 0)
    if shift < 0:
        return _narrowed(k, _raised(k, x, wide, -shift, to), to)
    if shift:
        x = _nearest(k, x, shift) if to.kind == "fixed" else _truncated(x, shift, wide)
    return _narrowed(k, _saturated(k, x, wide, to), to)


def ratio(
    k: Kit, x: Value, y: Value, divide: Callable[[Value, Value], Value], wide: Format, to: Format
) -> Value:
    """x / y of integers, in units of a fixed-point format: the nearest, ties to even. Saturated, by zero too; 0 / 0 is 0.

    `divide` gives the quotient of integers that are not negative; |x| 2^f must be in the integers `wide`.

    >>> from seiche.numbers.formats import fixed
    >>> from seiche.numbers.kit import NUMPY
    >>> x, y = np.int32([1, 5, -5, 3, 0]), np.int32([3, 2, 32, 0, 0])
    >>> ratio(NUMPY, x, y, np.floor_divide, i32, fixed(4, 4))
    array([   5,   40,   -2,  127,    0], dtype=int8)
    """
    x, y = k.let(x), k.let(y)
    low, high = ends(to)
    n = k.let(k.select(x < 0, -x, x) << to.mantissa)
    d = k.let(k.select(y < 0, -y, k.select(y == 0, k.const(1, wide), y)))
    q = k.let(divide(n, d))
    rest = k.let(n - q * d)
    # Not twice the rest, which could wrap; the even one of two is above where the quotient is odd.
    more = k.let(d - rest)
    up = (rest > more) | ((rest == more) & ((q & 1) == 1))
    q = k.let(k.select(up, q + 1, q))
    negative = k.let((x < 0) != (y < 0))
    limit = k.let(k.select(negative, k.const(-low, wide), k.const(high, wide)))
    q = k.let(k.select((q > limit) | ((y == 0) & (x != 0)), limit, q))
    return _narrowed(k, k.select(negative, -q, q), to)


def _nearest(k: Kit, x: Value, shift: int) -> Value:
    """x / 2^shift to the nearest integer, half to even: its floor, or one more where the rest and the floor's last bit say so."""
    whole = k.let(x >> shift)
    rest = (x & ((1 << shift) - 1)) + (whole & 1)
    return whole + ((rest + ((1 << (shift - 1)) - 1)) >> shift)


def _truncated(x: Value, shift: int, wide: Format) -> Value:
    """x / 2^shift toward zero."""
    return (x + ((x >> (wide.bits - 1)) & ((1 << shift) - 1))) >> shift


def _raised(k: Kit, x: Value, wide: Format, shift: int, to: Format) -> Value:
    """x 2^shift, saturated before it is shifted."""
    low, high = ends(to)
    least, most = low >> shift, high >> shift
    up = k.let(x << shift)
    up = k.let(k.select(x < least, k.const(low, wide), up))
    return k.let(k.select(x > most, k.const(high, wide), up))


def _saturated(k: Kit, x: Value, wide: Format, to: Format) -> Value:
    """x within the ends of a format; those that x cannot reach are not looked at."""
    x = k.let(x)
    (low, high), (least, most) = ends(to), ends(wide)
    if low > least:
        x = k.let(k.select(x < low, k.const(low, wide), x))
    if high < most:
        x = k.let(k.select(x > high, k.const(high, wide), x))
    return x


def _narrowed(k: Kit, x: Value, to: Format) -> Value:
    return k.convert(x, held(to) if to.kind == "fixed" else to)
