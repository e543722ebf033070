"""Rules of batching: n uses of an op, side by side along a new leading axis, as equations over whole tensors.

y[i] = op(x[i], w)  for i < n   |-   y = op'(x, w)      equal in bits: no sum is reordered
"""

from __future__ import annotations

from typing import Any

from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.ir.op import Batch, Use
from seiche.numbers.formats import Shape

Flags = tuple[bool, ...]


def spread(b: Builder, x: Var, n: int) -> Var:
    """x repeated along a new leading axis; a move, which takes no memory."""
    return b.broadcast(x, shape=(n, *x.type.shape))


def all_spread(b: Builder, args: tuple[Var, ...], flags: Flags, n: int) -> tuple[Var, ...]:
    """Every argument with the leading axis."""
    return tuple(x if f else spread(b, x, n) for x, f in zip(args, flags, strict=True))


def alike(op: str) -> Batch:
    """An op whose leading axes are independent: pointwise ones, and those over the last axes."""

    def rule(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
        return b.apply(op, *all_spread(b, args, flags, n), **use.params)

    return rule


def along(op: str, parameter: str = "axis") -> Batch:
    """An op along an axis (or axes): every axis counts one more."""

    def rule(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
        at: Any = use.params[parameter]
        later = tuple(a + 1 for a in at) if isinstance(at, tuple) else at + 1
        params = {**use.params, parameter: later}
        return b.apply(op, *all_spread(b, args, flags, n), **params)

    return rule


def constant(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    """Of an op without arguments there is one instance."""
    raise AssertionError("an op without arguments does not differ between instances")


def front(b: Builder, x: Var, axis: int) -> Var:
    """x with an axis moved to the front."""
    if axis == 0:
        return x
    rest = (k for k in range(len(x.type.shape)) if k != axis)
    return b.transpose(x, perm=(axis, *rest))


def behind(b: Builder, x: Var, axis: int) -> Var:
    """x with its first axis moved to `axis`."""
    if axis == 0:
        return x
    rank = len(x.type.shape)
    return b.transpose(x, perm=(*range(1, axis + 1), 0, *range(axis + 1, rank)))


def shaped(b: Builder, x: Var, shape: Shape) -> Var:
    """x in another shape."""
    return x if x.type.shape == shape else b.reshape(x, shape=shape)


# Moves.


def reshape(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    return b.reshape(args[0], shape=(n, *use.params["shape"]))


def transpose(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    return b.transpose(args[0], perm=(0, *(k + 1 for k in use.params["perm"])))


def broadcast(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    shape, inner = tuple(use.params["shape"]), use.types[0].shape
    aligned = (n, *(1 for _ in range(len(shape) - len(inner))), *inner)
    return b.broadcast(shaped(b, args[0], aligned), shape=(n, *shape))


def slice_(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    p = use.params
    return b.slice(args[0], start=(0, *p["start"]), stop=(n, *p["stop"]), step=(1, *p["step"]))


def pad(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    p = use.params
    return b.apply("pad", *args, **{**p, "low": (0, *p["low"]), "high": (0, *p["high"])})


# Products and systems.


def matmul(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    """A shared matrix takes all instances as rows, or as columns, of one product."""
    if flags == (True, False) and len(use.types[0].shape) == 2:
        return _rows(b, use, args[0], args[1])
    if flags == (False, True) and len(use.types[0].shape) == 2:
        return _columns(b, use, args[0], args[1])
    return b.apply("matmul", *all_spread(b, args, flags, n), **use.params)


def _rows(b: Builder, use: Use, x: Var, y: Var) -> Var:
    """[n, m, k] by [k, p] is [n * m, k] by [k, p]. With both flags k ascends as it does without them."""
    ta, tb = (bool(use.params.get(f)) for f in ("trans_a", "trans_b"))
    n, (m, p) = x.type.shape[0], use.out.shape
    if ta:
        x = b.transpose(x, perm=(0, 2, 1))
        y = b.transpose(y, perm=(1, 0)) if tb else y
    k = x.type.shape[2]
    flags = {"trans_a": False, "trans_b": tb and not ta}
    out = b.apply("matmul", shaped(b, x, (n * m, k)), y, **{**use.params, **flags})
    return shaped(b, out, (n, m, p))


def _columns(b: Builder, use: Use, x: Var, y: Var) -> Var:
    """[m, k] by [n, k, p] is [m, k] by [k, n * p]; stored transposed, by [n * p, k]."""
    n, (m, p) = y.type.shape[0], use.out.shape
    if use.params.get("trans_b"):
        y = shaped(b, y, (n * p, y.type.shape[2]))
    else:
        y = shaped(b, b.transpose(y, perm=(1, 0, 2)), (y.type.shape[1], n * p))
    out = b.apply("matmul", x, y, **use.params)
    return b.transpose(shaped(b, out, (m, n, p)), perm=(1, 0, 2))


def system(op: str) -> Batch:
    """Systems with one matrix: the right-hand sides of all instances are columns of one system."""

    def rule(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
        if flags != (False, True) or len(use.types[0].shape) != 2:
            return b.apply(op, *all_spread(b, args, flags, n), **use.params)
        rows, m = use.out.shape
        wide = shaped(b, b.transpose(args[1], perm=(1, 0, 2)), (rows, n * m))
        out = b.apply(op, args[0], wide, **use.params)
        return b.transpose(shaped(b, out, (rows, n, m)), perm=(1, 0, 2))

    return rule
