"""Rounding to small formats, with XLA's own instructions: the values are those of `numbers.rounding`.

`numbers.rounding` finds an integer by adding and subtracting a power of two, which XLA's simplifier undoes; here it is `round`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from seiche.backends.xla.library import Array, jnp, lax
from seiche.numbers.carriers import F32, F64, Carrier
from seiche.numbers.formats import Format
from seiche.numbers.rounding import largest, smallest_exponent

TWO32 = 1 << 32


def nearest(x: Array, format: Format) -> Array:
    """Values to the nearest of the format, ties to even; x may be of any carrier that has the format's values."""
    if format.exact:
        return x
    if format.kind == "fixed":
        return _clamped(x, format, integer)
    c = _carrier(x)
    if format.exponent == (8 if c is F32 else 11):
        return lax.reduce_precision(x, format.exponent, format.mantissa)
    return _narrow(x, format, integer)


def stochastic(x: Array, format: Format, bits: Array) -> Array:
    """To the next value with the probability of the discarded fraction; `bits` are u32."""
    if format.exact:
        return x
    if format.kind == "fixed":
        return _clamped(x, format, lambda v: _moved(v, bits))
    c = _carrier(x)
    if format.exponent == (8 if c is F32 else 11):
        return _same_range(x, format, bits)
    return _narrow(x, format, lambda v: _moved(v, bits))


def integer(v: Array) -> Array:
    """The nearest integer, half to even."""
    return lax.round(v, lax.RoundingMethod.TO_NEAREST_EVEN)


def _moved(v: Array, bits: Array) -> Array:
    """The floor of v, or the next integer where the fraction, in units of 2^-32, exceeds the random bits."""
    whole = lax.floor(v)
    part = (v - whole) * float(TWO32)
    if v.dtype == jnp.float32:  # 32 bits are no f32: they are compared as integers
        up = part.astype(jnp.uint32) > bits
    else:
        up = lax.floor(jnp.minimum(part, TWO32 - 1.0)) > bits.astype(v.dtype)
    return jnp.where(up, whole + 1, whole)


def _carrier(x: Array) -> Carrier:
    return F32 if x.dtype == jnp.float32 else F64


def _unsigned(x: Array) -> Array:
    return lax.bitcast_convert_type(x, jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64)


def _clamped(x: Array, format: Format, to_integer: Callable[[Array], Array]) -> Array:
    """Fixed point: in units of the last place, saturated; NaN is 0, and 0 has no sign."""
    low, high = -float(1 << (format.bits - 1)), float((1 << (format.bits - 1)) - 1)
    units = jnp.where(x == x, x * 2.0**format.mantissa, 0)
    code = jnp.clip(to_integer(jnp.clip(units, low, high)), low, high)
    return jnp.where(code == 0, 0, code) * 2.0**-format.mantissa


def _narrow(x: Array, format: Format, to_integer: Callable[[Array], Array]) -> Array:
    """A format with fewer exponents than the carrier: |x| in units of its last place, to an integer, and back."""
    c, top = _carrier(x), largest(format)
    a = jnp.minimum(jnp.where(x == x, jnp.abs(x), 0), 2.0 ** math.frexp(top)[1])
    unsigned = jnp.dtype(jnp.uint32 if c is F32 else jnp.uint64)
    low = unsigned.type((smallest_exponent(format) + c.bias) << c.mantissa)
    exponent = jnp.maximum(_unsigned(a) & unsigned.type(c.infinity), low)
    shift = unsigned.type(format.mantissa << c.mantissa)
    quantum = lax.bitcast_convert_type(exponent - shift, x.dtype)
    inverse = unsigned.type(2 * c.bias << c.mantissa) + shift - exponent
    code = to_integer(a * lax.bitcast_convert_type(inverse, x.dtype))
    rounded = code * quantum
    beyond = jnp.asarray(math.inf if format.infinite else math.nan, x.dtype)
    rounded = jnp.where(rounded > top, beyond, rounded)
    return jnp.where(x == x, jnp.where(jnp.signbit(x), -rounded, rounded), x)


def _same_range(x: Array, format: Format, bits: Array) -> Array:
    """Stochastic rounding to a format with its carrier's exponents: in the bits of the carrier."""
    c = _carrier(x)
    cut, u = c.mantissa - format.mantissa, _unsigned(x)
    kind = u.dtype.type
    low = u & kind((1 << cut) - 1)
    part = low << kind(32 - cut) if cut <= 32 else low >> kind(cut - 32)
    up = jnp.where(part.astype(jnp.uint32) > bits, kind(1 << cut), kind(0))
    rounded = lax.bitcast_convert_type((u + up) & kind(c.modulo(-(1 << cut))), x.dtype)
    return jnp.where(x == x, rounded, x)
