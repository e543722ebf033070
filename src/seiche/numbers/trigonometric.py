"""Circular functions and their inverses, over the primitives of a kit.

Arguments are reduced by pi / 2 as in Cody and Waite 1980 with the last products' errors kept: sin, cos and tan are accurate for
|x| <= 1e5 in f32 and |x| <= 1e9 in f64. Beyond, they stay deterministic and sin and cos within [-1, 1], but lose accuracy in
proportion to x, and all of it from about 2^22 (f32) and 2^51 (f64) quarter turns.
"""

from __future__ import annotations

from seiche.numbers.carriers import carrier_of, horner, magnitude, sign_bit, with_sign
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value

TWO_OVER_PI = 0.6366197723675814
# pi / 4 = high + low, high short enough for exact multiples by 2, 3 and 4.
_QUARTER = {
    "f32": (0.785398006439209, 1.5695823932524066e-07),
    "f64": (0.7853981633974483, 3.061616997868383e-17),
}
# How many subtractions of pieces of pi / 2 are exact: their last bits are within those of 1.
_EXACT = {"f32": 3, "f64": 2}
# pi / 4 with room for the rounding of the quotient, 2^-8 at 1e5 in f32.
_LIMIT = 0.7925
_HALF_TAN = 0.41421356237309503


def reduce_half_pi(k: Kit, x: Value, format: Format) -> tuple[Value, Value, Value]:
    """(q, r, c): x = n pi/2 + r + c, |r| <= 0.7925, and q are the bits whose lowest two are those of n."""
    c = carrier_of(format)
    *pieces, rest = c.coefficients("half_pi")
    t = k.let(x * TWO_OVER_PI + c.magic)
    n = k.let(t - c.magic)
    r = x
    for part in pieces[: _EXACT[c.name]]:
        r = k.let(r - n * part)
    low = None
    for part in pieces[_EXACT[c.name] :]:
        product = k.let(n * part)
        next_r = k.let(r - product)
        error = (r - next_r) - product
        low = k.let(error if low is None else low + error)
        r = next_r
    low = k.let(low - n * rest)
    total = k.let(r + low)
    low = (r - total) + low
    # Only where the argument is too large, whatever bits are left then.
    over, under = k.let(total > _LIMIT), k.let(total < -_LIMIT)
    low = k.let(k.select(over | under, k.const(0.0, format), low))
    total = k.select(over, k.const(_LIMIT, format), total)
    total = k.let(k.select(under, k.const(-_LIMIT, format), total))
    return k.let(k.bits(t)), total, low


def sin_kernel(k: Kit, r: Value, low: Value, format: Format) -> Value:
    """sin(r + low) for |r| <= 0.7925."""
    z = k.let(r * r)
    s = horner(k, z, carrier_of(format).coefficients("sin"))
    return r + (z * (r * s - 0.5 * low) + low)


def cos_kernel(k: Kit, r: Value, low: Value, format: Format) -> Value:
    """cos(r + low) for |r| <= 0.7925: 1 - z/2 with its rounding error returned."""
    z = k.let(r * r)
    half = k.let(0.5 * z)
    w = k.let(1.0 - half)
    rest = z * z * horner(k, z, carrier_of(format).coefficients("cos")) - r * low
    return w + (((1.0 - w) - half) + rest)


def _turned(k: Kit, x: Value, format: Format, quarters: int) -> Value:
    """sin(x + quarters pi/2)."""
    bits = carrier_of(format).unsigned.bits
    q, r, low = reduce_half_pi(k, x, format)
    q = k.let(q + quarters) if quarters else q
    value = k.select((q & 1) == 1, cos_kernel(k, r, low, format), sin_kernel(k, r, low, format))
    return with_sign(k, value, (q & 2) << (bits - 2))


def sin(k: Kit, x: Value, format: Format) -> Value:
    """Sine of x radians.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("sin", 1e5))
    0.0357488
    """
    return k.select(x == 0.0, x, _turned(k, x, format, 0))


def cos(k: Kit, x: Value, format: Format) -> Value:
    """Cosine of x radians.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("cos", 0.0))
    1.0
    """
    return _turned(k, x, format, 1)


def tan(k: Kit, x: Value, format: Format) -> Value:
    """Tangent of x radians.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("tan", 1.0))
    1.5574077
    """
    c = carrier_of(format)
    q, r, low = reduce_half_pi(k, x, format)
    z = k.let(r * r)
    odd = k.let((q & 1) == 1)
    # tan r = r + small, or cot r = 1 / r + small; the reduction's remainder enters by the derivative.
    main = k.let(k.select(odd, 1.0 / r, r))
    cubic = r * z * horner(k, z, c.coefficients("tan"))
    small = k.let(k.select(odd, r * horner(k, z, c.coefficients("cot")), cubic))
    near = k.let(main + small)
    change = k.let(low * (1.0 + near * near))
    value = main + (small + k.select(odd, -change, change))
    value = with_sign(k, value, (q & 1) << (c.unsigned.bits - 1))
    return k.select(x == 0.0, x, value)


def _asin_parts(k: Kit, a: Value, format: Format) -> tuple[Value, Value, Value]:
    """(a > 1/2, s, rest): s + rest = asin a, or asin sqrt((1 - a) / 2) where a > 1/2, half of acos a."""
    large = k.let(a > 0.5)
    z = k.let(k.select(large, (1.0 - a) * 0.5, a * a))
    s = k.let(k.select(large, k.sqrt(z), a))
    return large, s, k.let(s * z * horner(k, z, carrier_of(format).coefficients("asin")))


def asin(k: Kit, x: Value, format: Format) -> Value:
    """Arc sine; NaN beyond [-1, 1].

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("asin", -1.0))
    -1.5707964
    """
    high, low = _QUARTER[carrier_of(format).name]
    sign = k.let(sign_bit(k, x, format))
    large, s, rest = _asin_parts(k, k.let(with_sign(k, x, sign)), format)
    far = (2.0 * high - 2.0 * s) + (2.0 * low - 2.0 * rest)
    return with_sign(k, k.select(large, far, s + rest), sign)


def acos(k: Kit, x: Value, format: Format) -> Value:
    """Arc cosine; NaN beyond [-1, 1].

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("acos", -1.0))
    3.1415927
    """
    high, low = _QUARTER[carrier_of(format).name]
    sign = k.let(sign_bit(k, x, format))
    large, s, rest = _asin_parts(k, k.let(with_sign(k, x, sign)), format)
    p = k.let(s + rest)
    far = k.select(sign == 0, 2.0 * p, 4.0 * high - (2.0 * p - 4.0 * low))
    return k.select(large, far, 2.0 * high - (with_sign(k, p, sign) - 2.0 * low))


def _turn(k: Kit, t: Value, eighths: Value, flip: Value, format: Format) -> Value:
    """eighths pi/4 + atan t, or - atan t where the bit `flip` is set, for |t| <= tan(pi/8)."""
    c = carrier_of(format)
    high, low = _QUARTER[c.name]
    z = k.let(t * t)
    rest = t * z * horner(k, z, c.coefficients("atan"))
    signed, rest = with_sign(k, t, flip), with_sign(k, rest, flip)
    return _join(k, k.let(eighths * high), k.let(eighths * low), k.let(signed), rest)


def _join(k: Kit, high: Value, low: Value, t: Value, rest: Value) -> Value:
    """high + t + rest + low, the first sum with its error: |high| >= |t| or high = 0."""
    total = k.let(high + t)
    return total + (((high - total) + t) + (rest + low))


def atan(k: Kit, x: Value, format: Format) -> Value:
    """Arc tangent.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("atan", 1.0))
    0.7853982
    """
    sign = k.let(sign_bit(k, x, format))
    a = k.let(with_sign(k, x, sign))
    one, zero = k.const(1.0, format), k.const(0.0, format)
    small, large = k.let(a < _HALF_TAN), k.let(a > 1.0 / _HALF_TAN)
    numerator = k.select(small, a, k.select(large, k.const(-1.0, format), a - 1.0))
    denominator = k.select(small, one, k.select(large, a, a + 1.0))
    eighths = k.let(k.select(small, zero, k.select(large, k.const(2.0, format), one)))
    value = _turn(k, k.let(numerator / denominator), eighths, sign & 0, format)
    return with_sign(k, value, sign)


def atan2(k: Kit, y: Value, x: Value, format: Format) -> Value:
    """The angle of the point (x, y), in [-pi, pi]; signed zeros and infinities as in C99.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("atan2", 0.0, -1.0))
    3.1415927
    """
    c = carrier_of(format)
    inf, one, zero = float("inf"), k.const(1.0, format), k.const(0.0, format)
    ay, ax = k.let(magnitude(k, y, format)), k.let(magnitude(k, x, format))
    steep = k.let(ay > ax)
    low, high = k.let(k.select(steep, ax, ay)), k.let(k.select(steep, ay, ax))
    both = k.let(low == inf)
    low = k.let(k.select(both, one, low))
    high = k.select(both, one, k.select(high == 0.0, one, high))
    # Scaling large operands down keeps their sum finite; a quotient that this changes is zero.
    huge = k.let(high > 2.0 ** (c.bias - 1))
    low, high = k.let(k.select(huge, 0.25 * low, low)), k.let(k.select(huge, 0.25 * high, high))
    middle = k.let(low > high * _HALF_TAN)
    t = k.let(k.select(middle, low - high, low) / k.select(middle, low + high, high))
    negative = k.let(sign_bit(k, x, format))
    eighths = k.let(k.select(middle, one, zero))
    eighths = k.let(k.select(steep, 2.0 - eighths, eighths))
    eighths = k.let(k.select(negative == 0, eighths, 4.0 - eighths))
    flip = k.select(steep, k.const(c.sign, c.unsigned), k.const(0, c.unsigned)) ^ negative
    value = with_sign(k, _turn(k, t, eighths, k.let(flip), format), sign_bit(k, y, format))
    return k.select((x != x) | (y != y), k.const(float("nan"), format), value)
