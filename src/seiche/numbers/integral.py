"""Rounding to integers, remainders, signs and choices: the functions that need no approximation."""

from __future__ import annotations

from seiche.numbers.carriers import carrier_of, magnitude, sign_bit, two_product
from seiche.numbers.formats import Format
from seiche.numbers.kit import Kit, Value


def abs(k: Kit, x: Value, format: Format) -> Value:
    """|x|; clears the sign of zero and NaN.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("abs", -0.0))
    0.0
    """
    return magnitude(k, x, format)


def copysign(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """|x| with the sign of y.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("copysign", 2.0, -0.0))
    -2.0
    """
    return k.from_bits((k.bits(x) & carrier_of(format).magnitude) | sign_bit(k, y, format))


def isnan(k: Kit, x: Value, format: Format) -> Value:
    """Whether x is NaN.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("isnan", float("nan")))
    True
    """
    return x != x


def isfinite(k: Kit, x: Value, format: Format) -> Value:
    """Whether x is neither infinite nor NaN.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("isfinite", float("inf")))
    False
    """
    return magnitude(k, x, format) < float("inf")


def maximum(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """The larger; NaN where either is NaN; y where they are equal.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("maximum", 1.0, float("nan")))
    nan
    """
    return k.select((x > y) | (x != x), x, y)


def minimum(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """The smaller; NaN where either is NaN; y where they are equal.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("minimum", 1.0, 2.0))
    1.0
    """
    return k.select((x < y) | (x != x), x, y)


def _nearest(k: Kit, x: Value, format: Format) -> Value:
    """x to an integer, half to even, with the sign of x; large x, infinity and NaN as they are."""
    big = 2.0 ** carrier_of(format).mantissa
    a = k.let(magnitude(k, x, format))
    return k.let(copysign(k, k.select(a < big, (a + big) - big, a), x, format))


def round(k: Kit, x: Value, format: Format) -> Value:
    """The nearest integer, half to even.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("round", 2.5), evaluate("round", -0.4))
    2.0 -0.0
    """
    return _nearest(k, x, format)


def trunc(k: Kit, x: Value, format: Format) -> Value:
    """The nearest integer towards zero.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("trunc", -2.7))
    -2.0
    """
    big = 2.0 ** carrier_of(format).mantissa
    a = k.let(magnitude(k, x, format))
    r = k.let(k.select(a < big, (a + big) - big, a))
    return copysign(k, k.select(r > a, r - 1.0, r), x, format)


def floor(k: Kit, x: Value, format: Format) -> Value:
    """The largest integer that is not above x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("floor", -0.5))
    -1.0
    """
    r = _nearest(k, x, format)
    return k.select(r > x, r - 1.0, r)


def ceil(k: Kit, x: Value, format: Format) -> Value:
    """The smallest integer that is not below x.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("ceil", 0.5), evaluate("ceil", -0.5))
    1.0 -0.0
    """
    r = _nearest(k, x, format)
    return k.select(r < x, copysign(k, r + 1.0, x, format), r)


def mod(k: Kit, x: Value, y: Value, format: Format) -> Value:
    """x - y floor(x / y), with the sign of y, as numpy's `mod`; exact (then rounded once) for |x / y| < 2^(mantissa - 1).

    Beyond, where a quotient no longer counts the turns, it is a zero. A remainder that rounds to y is y. mod(x, 0) is NaN; mod(x, inf) is x, or inf where the signs
    differ.

    >>> from seiche.numbers.elementary import evaluate
    >>> print(evaluate("mod", -1.0, 3.0))
    2.0
    """
    c = carrier_of(format)
    zero = k.let(k.from_bits(sign_bit(k, y, format)))
    quotient = k.let(x / y)
    turns = k.let(trunc(k, quotient, format))
    p, e = two_product(k, turns, y, format)
    r = k.let(k.select(turns == 0.0, x, (x - p) - e))
    # A truncated quotient that was rounded up to an integer leaves a remainder of the other sign too.
    opposite = ((r < 0.0) & (y > 0.0)) | ((r > 0.0) & (y < 0.0))
    r = k.let(k.select(opposite, r + y, r))
    r = k.select(r == 0.0, zero, r)
    lost = (
        (magnitude(k, quotient, format) >= 2.0 ** (c.mantissa - 1))
        & (magnitude(k, x, format) < float("inf"))
        & (y != 0.0)
    )
    return k.select(lost, zero, r)
