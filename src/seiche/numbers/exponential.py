"""Exponentials, logarithms, hyperbolic functions and powers, over the primitives of a kit.

Each is branch-free and works in the carrier alone: the f32 functions contain no f64. Reductions and reconstructions follow
Tang 1989 and the fdlibm of Sun (Ng 1993); the polynomials are this package's own (`coefficients`).
"""

from __future__ import annotations

from seiche.numbers.carriers import (
    carrier_of,
    horner,
    magnitude,
    power_of_two,
    sign_bit,
    two_product,
    with_sign,
)
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value

LOG2_E = 1.4426950408889634


def clamp(k: Kit, x: Value, low: float, high: float, format: Format) -> Value:
    """x within [low, high]; NaN stays."""
    x = k.let(k.select(x < low, k.const(low, format), x))
    return k.let(k.select(x > high, k.const(high, format), x))


def reduce_ln2(k: Kit, x: Value, low: Value | None, format: Format) -> tuple[Value, Value, Value]:
    """(t, r, c): x + low = n ln 2 + r + c with |r| <= ln 2 / 2; the low bits of t are those of the integer n.

    Cody and Waite 1980: n times the upper part of ln 2 is exact.
    """
    c = carrier_of(format)
    t = k.let((x if low is None else x + low) * LOG2_E + c.magic)
    n = k.let(t - c.magic)
    upper = k.let(x - n * c.ln2[0])
    lower = k.let(n * c.ln2[1] if low is None else n * c.ln2[1] - low)
    r = k.let(upper - lower)
    return t, r, k.let((upper - r) - lower)


def scale(k: Kit, p: Value, t: Value, format: Format, offset: int = 0) -> Value:
    """p 2^(n + offset) for the n in the low bits of t, in two steps: the first product is exact."""
    c = carrier_of(format)
    biased = k.let(k.bits(t) + c.modulo(2 * c.bias + offset - c.magic_bits))
    half = k.let(biased >> 1)
    return p * power_of_two(k, half, format) * power_of_two(k, biased - half, format)


def exp_sum(k: Kit, x: Value, low: Value | None, format: Format, offset: int = 0) -> Value:
    """e^(x + low) 2^offset for x in [exp_low, exp_high] and a small correction `low`."""
    t, e = exp_fraction(k, x, low, format)
    return scale(k, k.let(1.0 + e), t, format, offset)


def exp_fraction(k: Kit, x: Value, low: Value | None, format: Format) -> tuple[Value, Value]:
    """(t, e): e^(x + low) = 2^n (1 + e), the low bits of t are those of n."""
    t, r, rest = reduce_ln2(k, x, low, format)
    return t, k.let(r + (r * r * horner(k, r, carrier_of(format).coefficients("exp")) + rest))


def exp(k: Kit, x: Value, format: Format) -> Value:
    """e^x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("exp", 1.0))
    2.7182817
    """
    c = carrier_of(format)
    return exp_sum(k, clamp(k, x, c.exp_low, c.exp_high, format), None, format)


def expm1(k: Kit, x: Value, format: Format) -> Value:
    """e^x - 1, accurate near 0.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("expm1", 1e-10))
    1e-10
    """
    c = carrier_of(format)
    y = clamp(k, x, -(c.mantissa + 3) * 0.6931, c.exp_high, format)
    t, r, rest = reduce_ln2(k, y, None, format)
    e = k.let(r * r * horner(k, r, c.coefficients("exp")) + rest)
    # (2^n (1 + r + e) - 1) / 2: halved, so that the power of two is finite.
    power = k.let(power_of_two(k, k.bits(t) + c.modulo(c.bias - 1 - c.magic_bits), format))
    result = ((power * r + (power - 0.5)) + power * e) * 2.0
    return k.select(magnitude(k, x, format) < c.unit, x, result)


def exp2(k: Kit, x: Value, format: Format) -> Value:
    """2^x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("exp2", -149.0))
    1e-45
    """
    c = carrier_of(format)
    return exp2_sum(
        k, clamp(k, x, -(c.bias + c.mantissa + 1.0), c.bias + 1.0, format), None, format
    )


def exp2_sum(k: Kit, x: Value, low: Value | None, format: Format) -> Value:
    """2^(x + low) for x within the carrier's exponents."""
    c = carrier_of(format)
    t = k.let(x + c.magic)
    r = k.let(x - (t - c.magic)) if low is None else k.let((x - (t - c.magic)) + low)
    return scale(k, k.let(1.0 + r * horner(k, r, c.coefficients("exp2"))), t, format)


def split_exponent(k: Kit, x: Value, format: Format) -> tuple[Value, Value, Value]:
    """(n, m, biased): x = m 2^n with m in [sqrt(1/2), sqrt(2)), for positive finite x; n is a float, biased = n + bias."""
    c = carrier_of(format)
    shifted = k.let(k.bits(x) + (c.one - c.sqrt_half))
    m = k.let(k.from_bits((shifted & ((1 << c.mantissa) - 1)) + c.sqrt_half))
    biased = k.let(shifted >> c.mantissa)
    return k.let(k.convert(biased, format) - float(c.bias)), m, biased


def normalised(k: Kit, x: Value, format: Format) -> tuple[Value, Value]:
    """(x, 0), or where x is subnormal (x 2^mantissa, mantissa)."""
    c = carrier_of(format)
    small = k.let(x < c.smallest_normal)
    shift = k.select(small, k.const(float(c.mantissa), format), k.const(0.0, format))
    return k.let(k.select(small, x * 2.0**c.mantissa, x)), k.let(shift)


def log1p_reduced(k: Kit, f: Value, name: str, format: Format, low: Value | float) -> Value:
    """log(1 + f) + low by 2 atanh(s), s = f / (2 + f), arranged as f - (f^2/2 - s (f^2/2 + s^2 p))."""
    c = carrier_of(format)
    s = k.let(f / (2.0 + f))
    z = k.let(s * s)
    half_square = k.let(f * f * 0.5)
    rest = s * (half_square + z * horner(k, z, c.coefficients(name)))
    return f - (half_square - (rest + low))


def log_ends(k: Kit, x: Value, result: Value, format: Format) -> Value:
    """The result, but for log 0, the log of a negative number, of infinity and of NaN."""
    inf = float("inf")
    result = k.select(x < inf, result, x)
    result = k.select(x == 0.0, k.const(-inf, format), result)
    return k.select(x < 0.0, k.const(float("nan"), format), result)


def log(k: Kit, x: Value, format: Format) -> Value:
    """Natural logarithm.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("log", 10.0))
    2.3025851
    """
    c = carrier_of(format)
    scaled, shift = normalised(k, x, format)
    n, m, _ = split_exponent(k, scaled, format)
    n = k.let(n - shift)
    value = n * c.ln2[0] + log1p_reduced(k, k.let(m - 1.0), "log", format, n * c.ln2[1])
    return log_ends(k, x, value, format)


def log1p(k: Kit, x: Value, format: Format) -> Value:
    """log(1 + x), accurate near 0.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("log1p", 1e-10))
    1e-10
    """
    c = carrier_of(format)
    u = k.let(1.0 + x)
    n, m, biased = split_exponent(k, u, format)
    lost = k.select(magnitude(k, x, format) < 1.0, x - (u - 1.0), 1.0 - (u - x))
    lost = lost * k.from_bits(c.modulo(2 * c.bias << c.mantissa) - (biased << c.mantissa))
    f = k.let((m - 1.0) + k.select(x < 2.0 ** (c.mantissa + 2), lost, k.const(0.0, format)))
    value = n * c.ln2[0] + log1p_reduced(k, f, "log", format, n * c.ln2[1])
    value = k.select(magnitude(k, x, format) < c.unit, x, value)
    return log_ends(k, u, value, format)


def log2(k: Kit, x: Value, format: Format) -> Value:
    """Logarithm to base 2; exact at powers of 2.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("log2", 8.0))
    3.0
    """
    ax, shift = normalised(k, x, format)
    high, low = log2_pair(k, ax, shift, format)
    return log_ends(k, x, high + low, format)


# 2 / ln 2 and 2 / (3 ln 2), and their parts below f32 and below f64.
_LOG2_C0 = {
    "f32": (2.885390043258667, 3.851926e-08),
    "f64": (2.8853900817779268, 4.0710547481862066e-17),
}
_LOG2_C1 = {
    "f32": (0.9617967009544373, -7.028462e-09),
    "f64": (0.9617966939259756, 5.0577616648125906e-17),
}


def log2_pair(k: Kit, x: Value, shift: Value, format: Format) -> tuple[Value, Value]:
    """log2(x) - shift as a sum high + low of about one and a half times the carrier's precision, for positive normal x.

    log2 m = s (c0 + s^2 (c1 + s^2 p)), s = (m - 1) / (m + 1); s, s^2 and the two leading coefficients are pairs.
    """
    c = carrier_of(format)
    c0, c1 = _LOG2_C0[c.name], _LOG2_C1[c.name]
    n, m, _ = split_exponent(k, x, format)
    f = k.let(m - 1.0)
    d = k.let(2.0 + f)
    inverse = k.let(1.0 / d)
    s = k.let(f * inverse)
    p, e = two_product(k, s, d, format)
    s_low = k.let((((f - p) - e) - s * (f - (d - 2.0))) * inverse)
    z, z_low = two_product(k, s, s, format)
    z_low = k.let(z_low + 2.0 * s * s_low)
    tail = k.let(z * horner(k, z, c.coefficients("log2")))
    q = k.let(c1[0] + tail)
    q_low = k.let(((c1[0] - q) + tail) + c1[1])
    u, e = two_product(k, z, q, format)
    u_low = k.let(e + (z * q_low + z_low * q) + c0[1])
    v = k.let(c0[0] + u)
    v_low = k.let(((c0[0] - v) + u) + u_low)
    w, e = two_product(k, s, v, format)
    w_low = k.let(e + (s * v_low + s_low * v))
    n = k.let(n - shift)
    # |n| >= 1 exceeds |w| <= 1/2, or n = 0: the error of the sum is exact.
    high = k.let(n + w)
    low = k.let(((n - high) + w) + w_low)
    total = k.let(high + low)
    return total, k.let((high - total) + low)


def pow(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """x^y, with the special values of IEEE 754 and C99: x^0 = 1^y = 1, negative x to an integer y only.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("pow", -2.0, 3.0), evaluate("pow", 2.0, 0.5))
    -8.0 1.4142135
    """
    c = carrier_of(format)
    inf = float("inf")
    ax = k.let(magnitude(k, x, format))
    scaled, shift = normalised(k, ax, format)
    scaled = k.let(k.select(scaled == 0.0, k.const(1.0, format), scaled))
    high, low = log2_pair(k, scaled, shift, format)
    # Any |y| beyond 4 bias 2^mantissa overflows or underflows whatever x is, 1 apart.
    top = c.bias * 2.0 ** (c.mantissa + 2)
    yc = clamp(k, y, -top, top, format)
    p, e = two_product(k, yc, high, format)
    e = k.let(e + yc * low)
    limit = c.bias + c.mantissa + 2.0
    pc = clamp(k, p, -limit, limit, format)
    result = exp2_sum(k, pc, k.select(pc == p, e, k.const(0.0, format)), format)
    ends = k.let((ax == 0.0) | (ax == inf))
    up = (ax == inf) == (y > 0.0)
    result = k.select(ends, k.select(up, k.const(inf, format), k.const(0.0, format)), result)
    whole, odd = integer_kinds(k, y, format)
    negative = k.let(k.bits(x) >= c.sign)
    result = k.let(k.select(negative & odd, -result, result))
    wrong = negative & (~whole) & (ax < inf) & (ax > 0.0)
    result = k.select(wrong | (x != x) | (y != y), k.const(float("nan"), format), result)
    result = k.select((ax == 1.0) & (magnitude(k, y, format) == inf), k.const(1.0, format), result)
    return k.select((x == 1.0) | (y == 0.0), k.const(1.0, format), result)


def integer_kinds(k: Kit, y: Value, format: Format) -> tuple[Value, Value]:
    """(y is an integer or infinite, y is an odd integer)."""
    c = carrier_of(format)
    ay = k.let(magnitude(k, y, format))
    big, top = 2.0**c.mantissa, 2.0 ** (c.mantissa + 1)
    t = k.let(ay + big)
    whole = k.let((ay >= big) | ((t - big) == ay))
    units = k.select(ay >= big, k.bits(ay), k.bits(t))
    return whole, k.let(whole & ((units & 1) == 1) & (ay < top))


def tanh_base(k: Kit, a: Value, format: Format) -> Value:
    """tanh a for a >= 0 with one division.

    Below 0.55 Lambert's continued fraction a / (1 + z / (3 + z / (5 + ...))), z = a^2, as a - a z b / (a_n + z b) with integer
    coefficients (f32: to 9, f64: to 15); above, 1 - 2 / (e^2a + 1).
    """
    c = carrier_of(format)
    a = k.let(k.select(a > c.mantissa * 0.4, k.const(c.mantissa * 0.4, format), a))
    w = k.let(a * (2 * LOG2_E))
    t = k.let(w + c.magic)
    r = k.let(w - (t - c.magic))
    p = 1.0 + r * horner(k, r, c.coefficients("exp2"))
    e = k.from_bits(k.bits(p) + (k.bits(t) << c.mantissa))
    z = k.let(a * a)
    upper, lower = lambert(4 if c.name == "f32" else 7)
    zb = k.let(z * horner(k, z, lower))
    large = k.let(a > 0.55)
    den = k.select(large, e + 1.0, horner(k, z, upper) + zb)
    q = k.let(k.select(large, k.const(2.0, format), zb) / den)
    return k.select(large, 1.0 - q, a - a * q)


def lambert(depth: int, sign: int = 1) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The polynomials (A, B) in z, lowest power first, with A / B = 3 + z / (5 + z / (... 2 depth + 1)) (z signed).

    >>> lambert(2)
    ((15.0, 1.0), (5.0,))
    """
    a, b = [float(2 * depth + 1)], [1.0]
    for odd in range(2 * depth - 1, 1, -2):
        shifted = [0.0, *(sign * v for v in b)]
        grown = [odd * v for v in a] + [0.0] * (len(shifted) - len(a))
        a, b = [p + (shifted[i] if i < len(shifted) else 0.0) for i, p in enumerate(grown)], a
    return tuple(a), tuple(b)


def tanh(k: Kit, x: Value, format: Format) -> Value:
    """Hyperbolic tangent.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("tanh", 0.5))
    0.46211717
    """
    sign = k.let(sign_bit(k, x, format))
    return with_sign(k, tanh_base(k, k.let(with_sign(k, x, sign)), format), sign)


def exp_negative(k: Kit, x: Value, format: Format) -> Value:
    """e^-|x|."""
    c = carrier_of(format)
    a = k.let(k.from_bits(k.bits(x) | c.sign))
    return exp_sum(k, k.let(k.select(a < c.exp_low, k.const(c.exp_low, format), a)), None, format)


def sigmoid(k: Kit, x: Value, format: Format) -> Value:
    """1 / (1 + e^-x), from q = e / (1 + e), e = e^-|x|: 1 - q, or e - e q for negative x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("sigmoid", -100.0))
    3.8e-44
    """
    e = k.let(exp_negative(k, x, format))
    q = k.let(e / (1.0 + e))
    return k.select(x < 0.0, e - e * q, 1.0 - q)


def softplus(k: Kit, x: Value, format: Format) -> Value:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|).

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("softplus", 800.0))
    800.0
    """
    e = k.let(exp_negative(k, x, format))
    return k.select(x > 0.0, x, k.const(0.0, format)) + log1p_reduced(k, e, "log1p", format, 0.0)


def half_exp(k: Kit, a: Value, format: Format) -> Value:
    """e^a / 2 for a >= 0; finite a little beyond the overflow of e^a."""
    high = carrier_of(format).exp_high + 1.0
    return k.let(
        exp_sum(k, k.let(k.select(a > high, k.const(high, format), a)), None, format, offset=-1)
    )


def sinh(k: Kit, x: Value, format: Format) -> Value:
    """Hyperbolic sine.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("sinh", 1.0))
    1.1752012
    """
    c = carrier_of(format)
    sign = k.let(sign_bit(k, x, format))
    a = k.let(with_sign(k, x, sign))
    e = half_exp(k, a, format)
    z = k.let(a * a)
    small = a + a * z * horner(k, z, c.coefficients("sinh"))
    return with_sign(k, k.select(a < 1.0, small, e - 0.25 / e), sign)


def cosh(k: Kit, x: Value, format: Format) -> Value:
    """Hyperbolic cosine.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("cosh", 1.0))
    1.5430806
    """
    e = half_exp(k, k.let(magnitude(k, x, format)), format)
    return e + 0.25 / e
