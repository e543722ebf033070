"""The table of operators: importing this package fills `seiche.ir.op.OPS`, one module per family."""

from seiche.ir.ops import (
    bits,
    contraction,
    convert,
    cumulative,
    elementwise_math,
    gather,
    integral,
    moves,
    packed,
    pointwise,
    random,
    reduce,
    scatter,
    solve,
    sorting,
    windows,
)

__all__ = [
    "bits",
    "contraction",
    "convert",
    "cumulative",
    "elementwise_math",
    "gather",
    "integral",
    "moves",
    "packed",
    "pointwise",
    "random",
    "reduce",
    "scatter",
    "solve",
    "sorting",
    "windows",
]
