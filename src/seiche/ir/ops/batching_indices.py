"""Rules of batching for reading and writing at dynamic indices: an instance may have an index of its own.

index shared        the axis counts one more
tensor shared       one `take` with the indices of all instances
neither             `take_along` an axis of indices, repeated over the other axes by a move
"""

from __future__ import annotations

import math

from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.ir.op import Use
from seiche.ir.ops.batching import Flags, all_spread, behind, front, shaped, spread
from seiche.ir.ops.indexing import clamped, inside
from seiche.numbers.formats import Shape, i32


def taken(b: Builder, x: Var, indices: Var, axis: int) -> Var:
    """`take` for each of the n instances of x `[n, *shape]` and indices `[n, *any]`; `axis` counts in `shape`."""
    n, *shape = x.type.shape
    own = indices.type.shape[1:]
    lead, tail = tuple(shape[:axis]), tuple(shape[axis + 1 :])
    flat = (n, *(1 for _ in lead), math.prod(own), *(1 for _ in tail))
    wide = (n, *lead, math.prod(own), *tail)
    at = shaped(b, indices, flat)
    at = at if at.type.shape == wide else b.broadcast(at, shape=wide)
    return shaped(b, b.take_along(x, at, axis=axis + 1), (n, *lead, *own, *tail))


def take(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    (x, indices), axis = args, use.params["axis"]
    match flags:
        case (True, False):
            return b.take(x, indices, axis=axis + 1)
        case (False, True):
            return front(b, b.take(x, indices, axis=axis), axis)
        case _:
            return taken(b, x, indices, axis)


def index(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    (x, i), axis = args, use.params["axis"]
    if not flags[1]:
        return b.index(x, i, axis=axis + 1)
    return take(b, use, args, flags, n)


def dynamic_slice(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    (x, i), axis, size = args, use.params["axis"], use.params["size"]
    if not flags[1]:
        return b.dynamic_slice(x, i, axis=axis + 1, size=size)
    start = clamped(b, i, use.types[0].shape[axis] - size + 1)
    start = b.broadcast(b.reshape(start, shape=(n, 1)), shape=(n, size))
    rows = b.add(start, b.iota(shape=(n, size), axis=1, format=i32))
    return take(b, use, (x, rows), flags, n)


def update(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    """In place still: with an index per instance the op counts one more of the axes that have their own."""
    own = use.params.get("batch", 0)
    x, row, i = args
    x, row = all_spread(b, (x, row), flags[:2], n)
    axis = use.params["axis"] + 1
    if not flags[2] and not own:
        return b.update(x, row, i, axis=axis)
    i = i if flags[2] else spread(b, i, n)
    return b.update(x, row, i, axis=axis, batch=own + 1)


def scatter_add(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    """Indices per instance are positions in the rows of all instances, one instance after the other."""
    axis, x = use.params["axis"], use.types[0]
    if not flags[1]:
        x_n, rows = all_spread(b, (args[0], args[2]), (flags[0], flags[2]), n)
        return b.scatter_add(x_n, args[1], rows, axis=axis + 1)
    into, indices, rows = all_spread(b, args, flags, n)
    size, rest = x.shape[axis], (*x.shape[:axis], *x.shape[axis + 1 :])
    into = shaped(b, _outward(b, into, axis + 1, 1), (n * size, *rest))
    count = indices.type.size
    flat = _positions(b, indices, n, size)
    rows = _outward(b, rows, axis + 1, len(use.types[1].shape))
    total = b.scatter_add(into, flat, shaped(b, rows, (count, *rest)), axis=0)
    whole = shaped(b, total, (n, size, *rest))
    return behind(b, front(b, whole, 1), axis + 1) if axis else whole


def _positions(b: Builder, indices: Var, n: int, size: int) -> Var:
    """Of instance k, index i: k * size + i; -1 where i is out of range, so that nothing is added."""
    shape = indices.type.shape
    valid, at = inside(b, indices, size), clamped(b, indices, size)
    first = b.mul(b.iota(shape=shape, axis=0, format=i32), b.lit(size, at.type))
    at = b.select(valid, b.add(first, at), b.lit(-1, at.type))
    return shaped(b, at, (indices.type.size,))


def _outward(b: Builder, x: Var, axis: int, count: int) -> Var:
    """x `[n, *lead, *moved, *tail]` with the `count` axes from `axis` on brought behind the first."""
    rank: int = len(x.type.shape)
    perm: Shape = (0, *range(axis, axis + count), *range(1, axis), *range(axis + count, rank))
    return x if perm == tuple(range(rank)) else b.transpose(x, perm=perm)


def take_along(b: Builder, use: Use, args: tuple[Var, ...], flags: Flags, n: int) -> Var:
    x, indices = all_spread(b, args, flags, n)
    return b.take_along(x, indices, axis=use.params["axis"] + 1)
