"""Number formats as records, and the type of a stream's value: format x shape.

A format says which values exist; its *carrier* says which machine type holds them. Small floats and fixed point are
carried in a wider IEEE float and rounded after every op (`numbers.rounding`); nothing else in the language knows about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["float", "fixed", "int", "uint", "bool"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Format:
    """A number format.

    `bits` is its storage width. Floats have `exponent` and `mantissa` bits (the hidden bit not counted); fixed point has
    `mantissa` = fraction bits. `infinite` says whether a float has infinities (E4M3 has none: it saturates to NaN).

    >>> f32.carrier, bf16.carrier, bf16.exact
    ('f32', 'f32', False)
    """

    name: str
    kind: Kind
    bits: int
    exponent: int = 0
    mantissa: int = 0
    infinite: bool = True

    @cached_property
    def carrier(self) -> str:
        """Name of the machine format that holds the values: one of f32, f64, i8..i64, u8..u64, bool."""
        if self.kind == "float":
            # Rounding twice is harmless when the carrier has 2p + 2 bits: p <= 11 in f32, p <= 25 in f64.
            fits = (self.exponent, self.mantissa) == (8, 23) or (
                self.exponent <= 8 and self.mantissa <= 10
            )
            return "f32" if fits else "f64"
        if self.kind == "fixed":
            return "f64"
        return self.name

    @property
    def exact(self) -> bool:
        """Whether the carrier has exactly this format's values, so that no rounding follows an op."""
        return self.carrier == self.name

    @property
    def dtype(self) -> str:
        """The numpy dtype string of the carrier."""
        return _DTYPES[self.carrier]

    @property
    def itemsize(self) -> int:
        """Bytes of one value in its carrier."""
        return 1 if self.carrier == "bool" else int(self.carrier[1:]) // 8

    @property
    def is_float(self) -> bool:
        """Real-valued (float or fixed): the formats that have derivatives."""
        return self.kind in ("float", "fixed")

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    def __getitem__(self, shape: int | Shape) -> Type:
        return Type(self, (shape,) if isinstance(shape, int) else tuple(shape))

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


@dataclass(frozen=True)
class Type:
    """What one tick of a stream holds: a tensor of `shape` (`()` is a scalar) in `format`.

    >>> f32[3, 4]
    f32[3, 4]
    """

    format: Format
    shape: Shape = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the carrier."""
        return self.size * self.format.itemsize

    def __str__(self) -> str:
        return (
            f"{self.format}[{', '.join(map(str, self.shape))}]" if self.shape else str(self.format)
        )

    __repr__ = __str__


_DTYPES = {
    "f32": "float32", "f64": "float64", "bool": "bool",
    **{f"i{b}": f"int{b}" for b in (8, 16, 32, 64)},
    **{f"u{b}": f"uint{b}" for b in (8, 16, 32, 64)},
}  # fmt: skip

f64 = Format("f64", "float", 64, 11, 52)
f32 = Format("f32", "float", 32, 8, 23)
f16 = Format("f16", "float", 16, 5, 10)
bf16 = Format("bf16", "float", 16, 8, 7)
e5m2 = Format("e5m2", "float", 8, 5, 2)
e4m3 = Format("e4m3", "float", 8, 4, 3, infinite=False)
bool_ = Format("bool", "bool", 8)
i8, i16, i32, i64 = (Format(f"i{b}", "int", b) for b in (8, 16, 32, 64))
u8, u16, u32, u64 = (Format(f"u{b}", "uint", b) for b in (8, 16, 32, 64))

NAMED: dict[str, Format] = {
    f.name: f
    for f in (f64, f32, f16, bf16, e5m2, e4m3, bool_, i8, i16, i32, i64, u8, u16, u32, u64)
}


def float_(exponent: int, mantissa: int) -> Format:
    """An IEEE-like float of `exponent` and `mantissa` bits (with subnormals, infinities, NaN).

    >>> float_(5, 10) is f16, float_(4, 7)
    (True, float<4, 7>)
    """
    if not (2 <= exponent <= 11 and 1 <= mantissa <= 52):
        raise ValueError(
            f"float_({exponent}, {mantissa}): 2 to 11 exponent bits and 1 to 52 mantissa bits"
        )
    for known in (f64, f32, f16, bf16, e5m2):
        if (known.exponent, known.mantissa) == (exponent, mantissa):
            return known
    return Format(
        f"float<{exponent}, {mantissa}>", "float", 1 + exponent + mantissa, exponent, mantissa
    )


def fixed(integer: int, fraction: int) -> Format:
    """Signed two's-complement fixed point: `integer` bits (the sign among them) and `fraction` bits; saturates.

    Exact products need twice the bits in the carrier's 53, hence at most 26 bits in all.

    >>> fixed(4, 12)
    fixed<4, 12>
    """
    if integer < 1 or fraction < 0 or integer + fraction > 26:
        raise ValueError(
            f"fixed({integer}, {fraction}): at least 1 integer bit, and 26 bits at most in all"
        )
    return Format(f"fixed<{integer}, {fraction}>", "fixed", integer + fraction, integer, fraction)


def known(name: str) -> bool:
    """Whether `parse` knows a format of that name.

    >>> known("f64"), known("f63")
    (True, False)
    """
    try:
        parse(name)
    except ValueError:
        return False
    return True


def parse(name: str) -> Format:
    """The format of that printed name.

    >>> parse("fixed<4, 12>") == fixed(4, 12), parse("e4m3") is e4m3
    (True, True)
    """
    if name in NAMED:
        return NAMED[name]
    head, _, rest = name.partition("<")
    if head in ("float", "fixed") and rest.endswith(">"):
        first, second = (int(part) for part in rest[:-1].split(","))
        return float_(first, second) if head == "float" else fixed(first, second)
    raise ValueError(
        f"unknown format {name!r}; known: {', '.join(NAMED)}, float<e, m>, fixed<i, f>"
    )
