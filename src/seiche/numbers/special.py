"""The error function and its relatives, over the primitives of a kit."""

from __future__ import annotations

from seiche.numbers.carriers import carrier_of, horner, magnitude, sign_bit, with_sign
from seiche.numbers.exponential import exp_fraction, log, scale
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value

HALF_SQRT_PI = 0.886226925452758


# Where the two polynomials for erfc meet, and the points about which they are expanded.
_SPLIT = {"f32": (1.75, 1.065185546875, 0.337158203125), "f64": (2.25, 1.34375, 0.234375)}


def gauss(k: Kit, a: Value, format: Format) -> tuple[Value, Value]:
    """(t, e): e^(-a^2) = 2^n (1 + e) for a >= 0; the square is split into an exact part and a correction."""
    c = carrier_of(format)
    cut = c.mantissa // 2 + 1
    high = k.let(k.from_bits(k.bits(a) & c.modulo(-(1 << cut))))
    low = k.let((high - a) * (high + a))
    return exp_fraction(k, k.let(-(high * high)), low, format)


def chosen(
    k: Kit, first: Value, x: Value, one: str, other: str, format: Format
) -> tuple[Value, Value]:
    """(constant, rest) of one of two polynomials of equal degree, by selecting coefficients."""
    c = carrier_of(format)
    pairs = zip(c.coefficients(one), c.coefficients(other), strict=True)
    constant, *higher = [
        k.let(k.select(first, k.const(p, format), k.const(q, format))) for p, q in pairs
    ]
    return constant, k.let(x * horner(k, x, higher))


def erfc_tail(k: Kit, a: Value, format: Format) -> Value:
    """erfc a for a >= 0.44: p e^(-a^2), over a for large a. What is added last to the constant of p carries all roundings."""
    name = carrier_of(format).name
    top = 10.1 if name == "f32" else 27.3
    split, near_centre, far_centre = _SPLIT[name]
    a = k.let(k.select(a > top, k.const(top, format), a))
    near = k.let(a < split)
    v = k.let(k.select(near, a - near_centre, 1.0 / a - far_centre))
    constant, rest = chosen(k, near, v, "erfc", "erfc_tail", format)
    t, e = gauss(k, a, format)
    total = constant + (rest + (constant + rest) * e)
    return scale(k, k.let(total / k.select(near, k.const(1.0, format), a)), t, format)


def erf_centre(k: Kit, x: Value, format: Format) -> Value:
    """erf x for |x| <= 0.55."""
    return x + x * horner(k, k.let(x * x), carrier_of(format).coefficients("erf"))


def erf(k: Kit, x: Value, format: Format) -> Value:
    """The error function.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("erf", 1.0))
    0.8427008
    """
    sign = k.let(sign_bit(k, x, format))
    a = k.let(with_sign(k, x, sign))
    value = k.select(a < 0.5, erf_centre(k, a, format), 1.0 - erfc_tail(k, a, format))
    return with_sign(k, value, sign)


def erfc(k: Kit, x: Value, format: Format) -> Value:
    """1 - erf x, accurate for large x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("erfc", 4.0))
    1.5417259e-08
    """
    a = k.let(magnitude(k, x, format))
    tail = k.let(erfc_tail(k, a, format))
    return k.select(a < 0.45, 1.0 - erf_centre(k, x, format), k.select(x > 0.0, tail, 2.0 - tail))


def erfinv(k: Kit, x: Value, format: Format) -> Value:
    """The inverse of erf on (-1, 1); infinite at its ends.

    The form is that of Giles 2010, "Approximating the erfinv function": x + x p(w), w = -log((1 - x)(1 + x)). In f64 one step of
    Halley's method on erf or erfc follows.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("erfinv", 0.5))
    0.47693628
    """
    c = carrier_of(format)
    sign = k.let(sign_bit(k, x, format))
    a = k.let(with_sign(k, x, sign))
    w = k.let(-log(k, k.let((1.0 - a) * (1.0 + a)), format))
    near = k.let(w < 5.0)
    w = k.let(k.select(w < 40.0, w, k.const(40.0, format)))
    centre = 3.125 if c.name == "f32" else 4.125
    v = k.let(k.select(near, w - 0.5, k.sqrt(k.select(w < 0.0, k.const(0.0, format), w)) - centre))
    constant, rest = chosen(k, near, v, "erfinv", "erfinv_tail", format)
    value = k.let(a + a * (constant + rest))
    if c.name == "f64":
        value = k.let(_halley(k, a, value, format))
    value = k.select(
        a < 1.0,
        value,
        k.select(a == 1.0, k.const(float("inf"), format), k.const(float("nan"), format)),
    )
    return with_sign(k, value, sign)


def _halley(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """One step from y towards erf y = x: y + h / (1 - y h), h = (x - erf y) sqrt(pi) / 2 e^(y^2)."""
    t, e = gauss(k, y, format)
    g = k.let(scale(k, 1.0 + e, t, format))
    tail = erfc_tail(k, y, format) - (1.0 - x)
    rest = k.let(HALF_SQRT_PI * k.select(y < 0.5, x - erf_centre(k, y, format), tail))
    return y + rest / (g - rest * y)
