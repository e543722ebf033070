"""From an op's name to its function on JAX arrays: complete, or SE904 with the user's line."""

from __future__ import annotations

from seiche.backends.xla import rounding
from seiche.backends.xla.library import Array
from seiche.backends.xla.linalg import LINALG
from seiche.backends.xla.scalars import SCALARS, Function
from seiche.backends.xla.tensors import TENSORS
from seiche.errors import Loc, fail
from seiche.ir.op import Use

TABLE: dict[str, Function] = {**SCALARS, **TENSORS, **LINALG}

EXACT = frozenset(
    ("reshape", "transpose", "broadcast", "slice", "concat", "index", "dynamic_slice", "take", "take_along", "update", "patches",
     "select", "stop_gradient", "pipeline_register", "minimum", "maximum", "max", "min", "sort", "uniform01", "round_stochastic")
)  # fmt: skip
"""Ops whose results are values of the format already."""


def value(
    op: str, args: tuple[Array, ...], use: Use, loc: Loc, function: Function | None = None
) -> Array:
    """What an op gives at one tick, rounded to the format of its result; by another `function` than the table's, if given."""
    if op not in TABLE:
        raise fail(
            "SE904", f'the target "xla" has no `{op}`', loc, hint='target="c" and "interp" have it'
        )
    result = (function or TABLE[op])(use, *args)
    if use.out.format.exact or op in EXACT:
        return result
    return rounding.nearest(result, use.out.format)
