"""The scalar primitives in which elementary functions, rounding and random numbers are written once.

A function `f(k, x)` takes a kit and values; it runs on numpy arrays (`NumpyKit`, the meaning) and, with the kit of a code
generator, records the expression that every target executes with the same bits. Values overload `+ - * /` (IEEE, no
contraction), `& | ^ << >> ~` on integers (wrapping), comparisons (to bool) and `& | ~` on bool; a Python number adopts
the format of the other operand.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from seiche.numbers.formats import Format

Value = Any
"""An array or scalar in a carrier dtype under `NumpyKit`; an expression under a code generator's kit."""


class Kit(Protocol):
    def const(self, value: float | int | bool, format: Format) -> Value:
        """A constant of a carrier format."""
        ...

    def select(self, cond: Value, yes: Value, no: Value) -> Value:
        """yes where cond, else no; both are evaluated."""
        ...

    def convert(self, x: Value, format: Format) -> Value:
        """To another carrier format: C's conversion. Float to integer truncates; the caller keeps it in range."""
        ...

    def bits(self, x: Value) -> Value:
        """The bits of an f32 as u32, of an f64 as u64."""
        ...

    def from_bits(self, u: Value) -> Value:
        """The f32 of u32 bits, the f64 of u64 bits."""
        ...

    def sqrt(self, x: Value) -> Value:
        """The correctly rounded square root (IEEE 754)."""
        ...

    def let(self, x: Value) -> Value:
        """Names x, so that a code generator computes it once."""
        ...


class NumpyKit:
    """The meaning of the primitives; arrays in carrier dtypes."""

    def const(self, value: float | int | bool, format: Format) -> Value:
        return np.dtype(format.dtype).type(value)

    def select(self, cond: Value, yes: Value, no: Value) -> Value:
        return np.where(cond, yes, no)

    def convert(self, x: Value, format: Format) -> Value:
        return np.asarray(x).astype(format.dtype)

    def bits(self, x: Value) -> Value:
        x = np.asarray(x)
        return x.view(np.uint32 if x.dtype == np.float32 else np.uint64)

    def from_bits(self, u: Value) -> Value:
        u = np.asarray(u)
        return u.view(np.float32 if u.dtype == np.uint32 else np.float64)

    def sqrt(self, x: Value) -> Value:
        return np.sqrt(x)

    def let(self, x: Value) -> Value:
        return x


NUMPY = NumpyKit()
