"""What the elementary functions know of a carrier: the layout of its bits, and constants split for exact products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seiche.numbers.coefficients import COEFFICIENTS
from seiche.numbers.formats import Format, u32, u64
from seiche.numbers.kit import Kit, Value


@dataclass(frozen=True)
class Carrier:
    """A machine float: `mantissa` bits stored, exponents biased by `bias`, its bits seen through `unsigned`.

    `magic` is 1.5 * 2^mantissa: adding it rounds |x| < 2^(mantissa - 1) to an integer, half to even, and leaves that integer in
    the low bits. `ln2` is (high, low): n * high is exact for every exponent n.

    >>> F32.magic, hex(F32.one)
    (12582912.0, '0x3f800000')
    """

    name: str
    unsigned: Format
    mantissa: int
    bias: int
    ln2: tuple[float, float]
    exp_low: float
    exp_high: float

    @property
    def magic(self) -> float:
        return 1.5 * 2.0**self.mantissa

    @property
    def sign(self) -> int:
        return 1 << (self.unsigned.bits - 1)

    @property
    def magnitude(self) -> int:
        return self.sign - 1

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.mantissa

    @property
    def magic_bits(self) -> int:
        return ((self.bias + self.mantissa) << self.mantissa) | (1 << (self.mantissa - 1))

    @property
    def sqrt_half(self) -> int:
        """The bits of sqrt(1/2)."""
        return 0x3F3504F3 if self.mantissa == 23 else 0x3FE6A09E667F3BCD

    @property
    def infinity(self) -> int:
        """The bits of infinity."""
        return (2 * self.bias + 1) << self.mantissa

    @property
    def unit(self) -> float:
        """Half the distance from 1 to the next value: the unit roundoff."""
        return 2.0 ** (-self.mantissa - 1)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    def modulo(self, value: int) -> int:
        """A negative integer constant as the unsigned type wraps it."""
        return value % (1 << self.unsigned.bits)

    def coefficients(self, name: str) -> tuple[float, ...]:
        return COEFFICIENTS[self.name][name]


# ln 2 = high + low; high has 15 (f32) and 32 (f64) bits, so that its product with an exponent (9 and 11 bits) is exact.
# e^exp_low rounds to zero and e^exp_high to infinity.
F32 = Carrier("f32", u32, 23, 127, (0.693145751953125, 1.4286068203094173e-06), -104.0, 89.0)
F64 = Carrier("f64", u64, 52, 1023, (0.6931471803691238, 1.9082149292705877e-10), -746.0, 710.0)
_CARRIERS = {"f32": F32, "f64": F64}


def carrier_of(format: Format) -> Carrier:
    """The layout of the float that carries `format`.

    >>> from seiche.numbers.formats import bf16
    >>> carrier_of(bf16) is F32
    True
    """
    return _CARRIERS[format.carrier]


def horner(k: Kit, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, lowest power first, from the highest power down.

    >>> from seiche.numbers.kit import NUMPY
    >>> horner(NUMPY, 2.0, (1.0, 10.0, 100.0))
    421.0
    """
    *rest, total = coefficients
    for c in reversed(rest):
        total = k.let(total * x + c)
    return total


def magnitude(k: Kit, x: Value, format: Format) -> Value:
    """|x|, by its bits."""
    return k.from_bits(k.bits(x) & carrier_of(format).magnitude)


def sign_bit(k: Kit, x: Value, format: Format) -> Value:
    """The sign bit of x, in place."""
    return k.bits(x) & carrier_of(format).sign


def with_sign(k: Kit, x: Value, sign: Value) -> Value:
    """x with its sign flipped where the bit `sign` (in place) is set."""
    return k.from_bits(k.bits(x) ^ sign)


def power_of_two(k: Kit, biased: Value, format: Format) -> Value:
    """2^(biased - bias), from an unsigned biased exponent between 1 and 2 bias."""
    return k.from_bits(biased << carrier_of(format).mantissa)


def two_product(k: Kit, a: Value, b: Value, format: Format) -> tuple[Value, Value]:
    """(p, e) with p = round(a b) and p + e = a b, without fused operations (Dekker 1971).

    a is split after rounding its upper half, b by truncation, so that the four partial products are exact for the 53 bits of f64
    as well. Needs |a| below the largest binade.
    """
    c = carrier_of(format)
    cut = 1 << (c.mantissa // 2 + 1)
    mask = c.modulo(-cut)
    p = k.let(a * b)
    a_high = k.let(k.from_bits((k.bits(a) + (cut >> 1)) & mask))
    b_high = k.let(k.from_bits(k.bits(b) & mask))
    a_low, b_low = k.let(a - a_high), k.let(b - b_high)
    return p, k.let(((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low)
