"""Functions of one number of fixed point, computed for every value that it may have: the compiler knows them whole.

Up to 8 bits such a function is a table. Up to 16 it is computed in f32 instead of f64 where, rounded, that gives the same: at all values
but few (tanh of 16 bits: 4 of 65,536, where a result lies in the middle of two units), which are exceptions in the program text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from seiche.ir.core import Apply
from seiche.ir.op import OPS, AnyArray, Element, use
from seiche.numbers.formats import Format, Type, f32
from seiche.numbers.kit import NUMPY
from seiche.numbers.units import quantised, units, values
from seiche.schedule.fold import value

TABLE_BITS_MAX = 8
"""Bits of the widest argument whose results are looked up."""
BITS_MAX = 16
"""Of the widest argument for which all values are tried."""
EXCEPTIONS_MAX = 64
SCALAR = frozenset({"pointwise", "math", "integral"})
"""Families of ops that are computed element by element."""

Params: TypeAlias = tuple[tuple[str, Any], ...]


def is_curve(rhs: Apply) -> bool:
    """Whether an op is a function of one number of fixed point, of few bits."""
    if len(rhs.args) != 1 or OPS[rhs.op].family not in SCALAR:
        return False
    format = rhs.args[0].type.format
    return (
        isinstance(OPS[rhs.op].code, Element) and format.kind == "fixed" and format.bits <= BITS_MAX
    )


def every(format: Format) -> AnyArray:
    """All numbers of units of a format, ascending.

    >>> from seiche.numbers.formats import fixed
    >>> every(fixed(1, 2))
    array([-4, -3, -2, -1,  0,  1,  2,  3])
    """
    half = 1 << (format.bits - 1)
    return np.arange(-half, half)


def results(op: str, params: Params, format: Format, out: Format) -> AnyArray:
    """The results of an op at all values of a format, in units where they are of fixed point.

    >>> from seiche.numbers.formats import fixed
    >>> results("exp", (), fixed(2, 1), fixed(2, 1))
    array([0, 0, 1, 1, 2, 3, 3, 3], dtype=int8)
    """
    inputs = values(every(format), format)
    with np.errstate(all="ignore"):
        found = value(op, (inputs,), use(op, (Type(format, inputs.shape),), dict(params)))
    return units(found, out) if out.kind == "fixed" else found


@lru_cache(maxsize=256)
def exceptions(op: str, params: Params, format: Format) -> tuple[tuple[int, int], ...] | None:
    """Where an op that is computed in f32 and rounded gives other units than it is to, and these; None where it often does.

    >>> from seiche.numbers.formats import fixed
    >>> len(exceptions("tanh", (), fixed(6, 10))), len(exceptions("tanh", (), fixed(4, 12)))
    (0, 4)
    """
    codes = every(format)
    inputs = values(codes, format).astype(np.float32)
    with np.errstate(all="ignore"):
        single = value(op, (inputs,), use(op, (f32[inputs.shape],), dict(params)))
        found = quantised(NUMPY, single, f32, format)
    right = results(op, params, format, format)
    wrong = np.flatnonzero(found != right)
    if len(wrong) > EXCEPTIONS_MAX:
        return None
    return tuple((int(codes[k]), int(right[k])) for k in wrong)
