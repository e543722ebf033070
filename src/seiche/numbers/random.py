"""Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011).

A key is two u32. The layout of counters, the same for `Key` and for the language's op `random_bits(key: u32[2], shape)`:

| counter | use |
|---|---|
| `(i, 0)` | the i-th element, in row-major order, of any array drawn with the key: its bits are the first output word |
| `(i, 1)` | the i-th key of `split`: both output words |
| `(d, 2)` | the key of `fold_in(d)`: both output words |

So draws, children and folds of one key never share a counter; two draws with one key are equal bits: split the key first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seiche.numbers.carriers import carrier_of
from seiche.numbers.formats import Format, Shape, f32
from seiche.numbers.kit import NUMPY, Kit, Value
from seiche.numbers.rounding import format_of, round_nearest
from seiche.numbers.special import erfinv

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_SQRT_2 = 1.4142135623730951


def threefry2x32(k: Kit, key0: Value, key1: Value, ctr0: Value, ctr1: Value) -> tuple[Value, Value]:
    """Two words of random bits from a key and a counter, all u32 (Salmon et al. 2011, section 3.3).

    >>> zero = np.zeros(1, np.uint32)
    >>> [hex(int(w[0])) for w in threefry2x32(NUMPY, zero, zero, zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    keys = (key0, key1, k.let(key0 ^ key1 ^ _PARITY))
    x, y = k.let(ctr0 + key0), k.let(ctr1 + key1)
    for turn in range(20):
        x = k.let(x + y)
        r = _ROTATIONS[turn % 8]
        y = k.let(((y << r) | (y >> (32 - r))) ^ x)
        if turn % 4 == 3:
            s = turn // 4 + 1
            x = k.let(x + keys[s % 3])
            y = k.let(y + (keys[(s + 1) % 3] + s))
    return x, y


def precision(format: Format) -> int:
    """How many of the 32 random bits `uniform01` uses: as many as all multiples of 2^-bits in [0, 1) are values of the format.

    >>> precision(f32)
    24
    """
    return min(32, format.mantissa + (format.kind == "float"))


def uniform01(k: Kit, bits: Value, format: Format) -> Value:
    """Uniform in [0, 1) from u32 bits: the top `precision(format)` bits as a fraction, a value of the format.

    >>> print(uniform01(NUMPY, np.array([0, 2**31, 2**32 - 1], np.uint32), f32))
    [0.         0.5        0.99999994]
    """
    count = precision(format)
    top = bits >> (32 - count) if count < 32 else bits
    return k.convert(top, format_of(format)) * 2.0**-count


def normal(k: Kit, bits: Value, format: Format) -> Value:
    """Standard normal from u32 bits, in the format's carrier: sqrt(2) erfinv of an odd multiple of 2^-24 (f32) or 2^-32 (f64).

    The inverse of the distribution: one draw per counter, symmetric, increasing in the bits; |z| <= 5.42 in f32, 6.34 in f64.
    Rounding to a smaller format is left to the caller.

    >>> print(normal(NUMPY, np.array([0, 2**31, 2**32 - 1], np.uint32), f32))
    [-5.4199829e+00  7.4703344e-08  5.4199829e+00]
    """
    carried = format_of(format)
    if carrier_of(format).name == "f32":
        # 24 random bits and a final 1 make a 25-bit odd integer; less 2^24 it is exact in f32.
        odd = k.convert(bits >> 8, carried) * 2.0**-23
        x = k.let((odd - 1.0) + 2.0**-24)
    else:
        x = k.let((k.convert(bits, carried) * 2.0**-31 - 1.0) + 2.0**-32)
    return erfinv(k, x, carried) * _SQRT_2


@dataclass(frozen=True)
class Key:
    """A key of the generator, for initial values drawn while a program is traced.

    >>> Key.of(7).bits((2,)).tolist() == Key.of(7).bits((2,)).tolist(), Key.of(7) == Key.of(8)
    (True, False)
    """

    key0: int
    key1: int

    @staticmethod
    def of(seed: int | Key) -> Key:
        """The key of a seed (its 64 low bits, upper word first), or the key itself.

        >>> Key.of(2**32 + 5)
        Key(key0=1, key1=5)
        """
        if isinstance(seed, Key):
            return seed
        return Key((seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF)

    @property
    def words(self) -> Any:
        """The key as the u32[2] that the language's ops take."""
        return np.array([self.key0, self.key1], np.uint32)

    def _draw(self, count: int, kind: int, first: int = 0) -> tuple[Any, Any]:
        counter = np.arange(first, first + count, dtype=np.uint64).astype(np.uint32)
        full = [np.full(count, v, np.uint32) for v in (self.key0, self.key1, kind)]
        return threefry2x32(NUMPY, full[0], full[1], counter, full[2])

    def split(self, n: int = 2) -> tuple[Key, ...]:
        """n independent keys.

        >>> len(set(Key.of(0).split(3)))
        3
        """
        x, y = self._draw(n, 1)
        return tuple(Key(int(a), int(b)) for a, b in zip(x, y, strict=True))

    def fold_in(self, data: int) -> Key:
        """The key derived by a u32 of data, such as a layer's index.

        >>> Key.of(0).fold_in(1) == Key.of(0).fold_in(2)
        False
        """
        x, y = self._draw(1, 2, data & 0xFFFFFFFF)
        return Key(int(x[0]), int(y[0]))

    def bits(self, shape: int | Shape) -> Any:
        """u32 random bits.

        >>> [hex(w) for w in Key(0, 0).bits(1).tolist()]
        ['0x6b200159']
        """
        return self._draw(int(np.prod(shape)), 0)[0].reshape(shape)

    def uniform(self, shape: int | Shape, format: Format = f32) -> Any:
        """Uniform values of the format in [0, 1), in its carrier.

        >>> print(Key.of(1).uniform(1).dtype)
        float32
        """
        return uniform01(NUMPY, self.bits(shape), format)

    def normal(self, shape: int | Shape, format: Format = f32) -> Any:
        """Standard normal values rounded to the format, in its carrier.

        >>> print(abs(float(Key.of(1).normal(10000).mean())) < 0.03)
        True
        """
        with np.errstate(all="ignore"):
            return round_nearest(NUMPY, normal(NUMPY, self.bits(shape), format), format)
