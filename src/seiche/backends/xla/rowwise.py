"""An op on all rows of a loop at once: the same op on arrays with one more leading axis, its parameters shifted.

What has no rule here runs row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seiche.backends.xla.library import Array, jnp, lax
from seiche.backends.xla.scalars import SCALARS, dtype_of
from seiche.backends.xla.table import value
from seiche.errors import Loc
from seiche.ir.core import Params
from seiche.ir.op import Use
from seiche.numbers.formats import Type

Shift = Callable[[Params, int], Params]
"""The parameters of the op with a leading axis of that many rows."""


def _more(name: str, first: Callable[[int], Any]) -> Shift:
    """A parameter with an entry per axis."""
    return lambda params, rows: {**params, name: (first(rows), *params[name])}


def _both(*shifts: Shift) -> Shift:
    def shift(params: Params, rows: int) -> Params:
        for one in shifts:
            params = one(params, rows)
        return params

    return shift


def _later(name: str) -> Shift:
    """A parameter that names one axis, or several."""

    def shift(params: Params, rows: int) -> Params:
        axes = params[name]
        return {**params, name: axes + 1 if isinstance(axes, int) else tuple(a + 1 for a in axes)}

    return shift


SHIFTS: dict[str, Shift] = {
    **{name: lambda params, rows: params for name in (*SCALARS, "patches", "unpatch", "one_hot")},
    "reshape": _more("shape", lambda rows: rows),
    "broadcast": _more("shape", lambda rows: rows),
    "transpose": lambda params, rows: {"perm": (0, *(k + 1 for k in params["perm"]))},
    "slice": _both(_more("start", lambda rows: 0), _more("stop", lambda rows: rows), _more("step", lambda rows: 1)),
    "pad": _both(_more("low", lambda rows: 0), _more("high", lambda rows: 0)),
    **{name: _later("axis") for name in ("concat", "argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin", "sort", "argsort")},
    **{name: _later("axes") for name in ("sum", "prod", "max", "min", "any", "all")},
}  # fmt: skip


def can(op: str, use: Use, mapped: Sequence[bool]) -> bool:
    """Whether there is a rule for these arguments; `mapped` says which have rows, the others are constants."""
    if op == "matmul":
        plain = len(use.out.shape) == 2
        return all(mapped) or (
            plain and mapped[0] and not mapped[1] and not use.params.get("trans_a")
        )
    return op in SHIFTS and any(mapped)


def all_rows(
    op: str, use: Use, args: Sequence[Array], mapped: Sequence[bool], rows: int, loc: Loc
) -> Array:
    """The results of all rows."""
    if op == "matmul" and not all(mapped):
        by = (1 if use.params.get("trans_b") else 0,)
        wide = _use(use, use.params, rows)
        return value(op, tuple(args), wide, loc, lambda use, a, b: _product(use, a, b, ((2,), by)))
    args = [
        x if has else jnp.broadcast_to(x, (rows, *x.shape))
        for x, has in zip(args, mapped, strict=True)
    ]
    if op == "broadcast":
        new = len(use.out.shape) - len(use.types[0].shape)
        args = [args[0].reshape(rows, *(1,) * new, *use.types[0].shape)]
    params = use.params if op == "matmul" else SHIFTS[op](use.params, rows)
    return value(op, tuple(args), _use(use, params, rows), loc)


def summed_product(use: Use, a: Array, b: Array) -> Array:
    """The sum over all rows of the products of their matrices: one product over rows and k together."""
    i = 1 if use.params.get("trans_a") else 2
    j = 2 if use.params.get("trans_b") else 1
    return _product(use, a, b, ((0, i), (0, j)))


def _product(use: Use, a: Array, b: Array, contracted: Any) -> Array:
    dtype = dtype_of(use.out.format)
    if jnp.issubdtype(dtype, jnp.floating):
        a, b = a.astype(dtype), b.astype(dtype)
    return lax.dot_general(
        a, b, (contracted, ((), ())), precision=lax.Precision.HIGHEST, preferred_element_type=dtype
    )  # fmt: skip


def _use(use: Use, params: Params, rows: int) -> Use:
    def more(type: Type) -> Type:
        return Type(type.format, (rows, *type.shape))

    return Use(tuple(map(more, use.types)), params, more(use.out))
