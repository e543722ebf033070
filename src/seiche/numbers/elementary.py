"""The table of elementary functions, written once over a kit, and their evaluation on numpy arrays.

>>> print(evaluate("tanh", [0.0, 0.5]), ELEMENTARY["atan2"].arity)
[0.         0.46211717] 2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from seiche.numbers import exponential, integral, special, trigonometric
from seiche.numbers.formats import NAMED, Format, f32
from seiche.numbers.kit import NUMPY, Value


class Elementary(NamedTuple):
    """`function(k, *values, format)` of that many values; `exact` where it does not approximate."""

    function: Callable[..., Value]
    arity: int
    exact: bool = False

    def __call__(self, *arguments: Any) -> Value:
        return self.function(*arguments)


_APPROXIMATE = (
    *(
        getattr(exponential, n)
        for n in (
            "exp",
            "expm1",
            "exp2",
            "log",
            "log1p",
            "log2",
            "tanh",
            "sigmoid",
            "softplus",
            "sinh",
            "cosh",
        )
    ),
    *(getattr(trigonometric, n) for n in ("sin", "cos", "tan", "asin", "acos", "atan")),
    *(getattr(special, n) for n in ("erf", "erfc", "erfinv")),
)
_EXACT = tuple(
    getattr(integral, n) for n in ("abs", "isnan", "isfinite", "round", "trunc", "floor", "ceil")
)

ELEMENTARY: dict[str, Elementary] = {
    **{f.__name__: Elementary(f, 1) for f in _APPROXIMATE},
    **{f.__name__: Elementary(f, 2) for f in (exponential.pow, trigonometric.atan2)},
    **{f.__name__: Elementary(f, 1, exact=True) for f in _EXACT},
    **{
        f.__name__: Elementary(f, 2, exact=True)
        for f in (integral.copysign, integral.maximum, integral.minimum, integral.mod)
    },
}


def evaluate(function: str | Callable[..., Value], *arrays: ArrayLike, format: Format = f32) -> Any:
    """The function on numpy arrays, converted to the carrier of `format`, without numpy's floating-point warnings.

    >>> print(evaluate("log", -1.0))
    nan
    """
    called = ELEMENTARY[function].function if isinstance(function, str) else function
    values = [np.asarray(a, dtype=format.dtype) for a in arrays]
    with np.errstate(all="ignore"):
        return called(NUMPY, *values, NAMED[format.carrier])[()]
