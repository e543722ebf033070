"""Ops on whole arrays: moves, reductions, products, sorting, windows. `TENSORS[name](use, *arrays)`, in carrier dtypes.

Sums take XLA's order. Indices are brought into range, or written nowhere, before XLA sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from seiche.backends.xla.kit import JAX
from seiche.backends.xla.library import Array, jnp, lax
from seiche.backends.xla.scalars import Function, dtype_of
from seiche.ir.op import Use
from seiche.ir.ops.moves import ranges
from seiche.ir.ops.packed import OFFSET, per_word
from seiche.ir.ops.windows import Geometry, geometry, geometry_back
from seiche.numbers import formats
from seiche.numbers.random import threefry2x32

TENSORS: dict[str, Function] = {}


# Static moves.


def _slice(use: Use, x: Array) -> Array:
    taken = ranges(use.types[0], use.params)
    start, stop = [min(r) for r in taken], [max(r) + 1 for r in taken]
    part = lax.slice(x, start, stop, [abs(r.step) if len(r) > 1 else 1 for r in taken])
    back = [k for k, r in enumerate(taken) if r.step < 0]
    return lax.rev(part, back) if back else part


def _pad(use: Use, x: Array) -> Array:
    """Cropped first: XLA's negative padding would crop what was added."""
    low, high = use.params["low"], use.params["high"]
    stop = [n - max(-z, 0) for n, z in zip(x.shape, high)]
    x = lax.slice(x, [max(-a, 0) for a in low], stop) if x.ndim else x
    fill = np.asarray(use.params.get("value", 0)).astype(dtype_of(use.out.format))
    return lax.pad(x, fill, [(max(a, 0), max(z, 0), 0) for a, z in zip(low, high)])


def _iota(use: Use) -> Array:
    count = lax.broadcasted_iota(jnp.int32, use.out.shape, use.params["axis"])
    return lax.convert_element_type(count, dtype_of(use.out.format))


TENSORS.update(
    {
        "reshape": lambda use, x: jnp.reshape(x, use.out.shape),
        "transpose": lambda use, x: lax.transpose(x, use.params["perm"]),
        "broadcast": lambda use, x: jnp.broadcast_to(x, use.out.shape),
        "slice": _slice,
        "concat": lambda use, *xs: lax.concatenate(xs, use.params["axis"]),
        "pad": _pad,
        "iota": _iota,
    }
)


# Dynamic indices. A gather or scatter of one row is a dynamic slice here already: XLA would make one of it, and call it
# `dynamic-slice.7`; the emitters of its fusions write dashes as underscores, and take it for JAX's own `dynamic_slice.7`.


def clamped(i: Array, n: int) -> Array:
    """Integers of any format moved into 0 <= i < n, as i32."""
    top = min(n - 1, int(jnp.iinfo(i.dtype).max))
    kind = np.dtype(i.dtype).type
    return jnp.clip(i, kind(0), kind(top)).astype(jnp.int32)


def inside(i: Array, n: int) -> Array:
    """Whether an index names one of n rows."""
    top = min(n - 1, int(jnp.iinfo(i.dtype).max))
    kind = np.dtype(i.dtype).type
    return (i >= kind(0)) & (i <= kind(top))


def _row(x: Array, i: Array, axis: int) -> Array:
    """The row that the one index in `i` names."""
    at = clamped(jnp.reshape(i, ()), x.shape[axis])
    return lax.dynamic_index_in_dim(x, at, axis, keepdims=False)


def _take(use: Use, x: Array, indices: Array) -> Array:
    axis = use.params["axis"]
    if indices.size == 1:
        return jnp.reshape(_row(x, indices, axis), use.out.shape)
    at = (*(slice(None),) * axis, clamped(indices, x.shape[axis]))
    return x.at[at].get(mode="promise_in_bounds")


def _take_along(use: Use, x: Array, indices: Array) -> Array:
    if indices.size == 1:
        return _take(use, x, indices)
    axis = use.params["axis"]
    i = clamped(indices, x.shape[axis])
    return jnp.take_along_axis(x, i, axis, mode="promise_in_bounds")


def _one_hot(use: Use, i: Array) -> Array:
    depth = use.params["depth"]
    place = jnp.where(inside(i, depth), clamped(i, depth), np.int32(-1))
    marks = place[..., None] == lax.iota(jnp.int32, depth)
    return lax.convert_element_type(marks, dtype_of(use.out.format))


def _dynamic_slice(use: Use, x: Array, i: Array) -> Array:
    axis, size = use.params["axis"], use.params["size"]
    start = clamped(i, x.shape[axis] - size + 1)
    return lax.dynamic_slice_in_dim(x, start, size, axis)


def _update(use: Use, x: Array, row: Array, i: Array) -> Array:
    axis, lead = use.params["axis"], use.params.get("batch", 0)
    return _update_one(x, row, i, axis) if i.size == 1 else _update_each(x, row, i, axis, lead)


def _update_one(x: Array, row: Array, i: Array, axis: int) -> Array:
    """Written at every tick, where i is out of range with what is there: so that XLA can do it in place."""
    there = inside(jnp.reshape(i, ()), x.shape[axis])
    row = jnp.where(there, row, _row(x, i, axis))
    at = clamped(jnp.reshape(i, ()), x.shape[axis])
    return lax.dynamic_update_index_in_dim(x, row, at, axis)


def _update_each(x: Array, row: Array, i: Array, axis: int, lead: int) -> Array:
    """The first `lead` axes have an index of their own."""
    n = x.shape[axis]
    own = [lax.broadcasted_iota(jnp.int32, i.shape, k) for k in range(lead)]
    at = jnp.where(inside(i, n), clamped(i, n), np.int32(n))
    moved = jnp.moveaxis(x, axis, lead).at[(*own, at)].set(row, mode="drop")
    return jnp.moveaxis(moved, lead, axis)


def _scatter_add(use: Use, x: Array, indices: Array, rows: Array) -> Array:
    axis = use.params["axis"]
    n = x.shape[axis]
    if indices.size == 1:
        old = _row(x, indices, axis)
        return _update_one(x, old + jnp.reshape(rows, old.shape), indices, axis)
    i = jnp.where(inside(indices, n), clamped(indices, n), np.int32(n))
    return x.at[(*(slice(None),) * axis, i)].add(rows, mode="drop")


def _index(use: Use, x: Array, i: Array) -> Array:
    return _row(x, i, use.params["axis"])


TENSORS.update(
    {
        "index": _index, "dynamic_slice": _dynamic_slice, "take": _take, "take_along": _take_along, "one_hot": _one_hot,
        "update": _update, "scatter_add": _scatter_add,
    }
)  # fmt: skip


# Reductions and running ones.


def _reduction(fn: Callable[..., Array], typed: bool) -> Function:
    def run(use: Use, x: Array) -> Array:
        more: dict[str, Any] = {"dtype": x.dtype} if typed else {}
        return fn(x, axis=tuple(use.params["axes"]), **more)

    return run


def _running(fn: Callable[..., Array]) -> Function:
    return lambda use, x: fn(x, axis=use.params["axis"], reverse=use.params["reverse"])


TENSORS.update(
    {
        "sum": _reduction(jnp.sum, True), "prod": _reduction(jnp.prod, True), "max": _reduction(jnp.max, False),
        "min": _reduction(jnp.min, False), "any": _reduction(jnp.any, False), "all": _reduction(jnp.all, False),
        "argmax": lambda use, x: lax.argmax(x, use.params["axis"], jnp.int32),
        "argmin": lambda use, x: lax.argmin(x, use.params["axis"], jnp.int32),
        "cumsum": _running(lax.cumsum), "cumprod": _running(lax.cumprod), "cummax": _running(lax.cummax),
        "cummin": _running(lax.cummin),
    }
)  # fmt: skip


# Products.


def _matmul(use: Use, a: Array, b: Array) -> Array:
    dtype = dtype_of(use.out.format)
    if jnp.issubdtype(dtype, jnp.floating):
        a, b = a.astype(dtype), b.astype(dtype)
    lead = a.ndim - 2
    batch = tuple(range(lead))
    contracted = (
        (lead if use.params.get("trans_a") else lead + 1,),
        (lead + 1 if use.params.get("trans_b") else lead,),
    )
    return lax.dot_general(
        a, b, (contracted, (batch, batch)), precision=lax.Precision.HIGHEST, preferred_element_type=dtype
    )  # fmt: skip


def _pack(use: Use, w: Array) -> Array:
    """A matrix of small integers in words."""
    per, (*batch, k, n) = per_word(use.types[0].format), w.shape
    bare = lax.bitcast_convert_type(w, jnp.uint8 if per == 4 else jnp.uint16).astype(jnp.uint32)
    spare = [(0, 0)] * len(batch) + [(0, -k % per), (0, 0)]
    parts = jnp.pad(bare, spare).reshape(*batch, -1, per, n)
    shifts = jnp.arange(per, dtype=jnp.uint32) * (32 // per)
    return jnp.sum(parts << shifts[:, None], axis=-2, dtype=jnp.uint32)


def _packed(use: Use, a: Array, words: Array, start: Array) -> Array:
    """Of small integers in words, the first part lowest."""
    row = use.types[0].format
    per, k = per_word(row), a.shape[-1]
    if use.params.get("columns") is not None:
        words = jnp.moveaxis(words, -3, -2).reshape(*words.shape[:-3], words.shape[-2], -1)
    parts = [words >> (32 // per * q) for q in range(per)]
    narrow = jnp.int8 if per == 4 else jnp.int16
    whole = jnp.stack([p.astype(narrow) for p in parts], -2)
    matrix = whole.reshape(*words.shape[:-2], -1, words.shape[-1])[..., :k, :].astype(jnp.int32)
    left = a.astype(jnp.int32) + (OFFSET if row is formats.i8 else 0)
    return jnp.matmul(left, matrix) + start[..., None, :]


TENSORS["matmul"] = _matmul
TENSORS["packed_matmul"] = _packed
TENSORS["pack_words"] = _pack


# Sorting.


def _keys(use: Use, x: Array) -> Array:
    """What sorts ascending as x is to be sorted; NaN stays last in both directions."""
    x = x.astype(jnp.uint8) if x.dtype == jnp.bool_ else x
    if not use.params.get("descending"):
        return x
    return -x if jnp.issubdtype(x.dtype, jnp.floating) else ~x


def _sort(use: Use, x: Array) -> Array:
    axis = use.params["axis"]
    keys = _keys(use, x)
    if keys is x:
        return lax.sort(x, dimension=axis)
    return lax.sort((keys, x), dimension=axis, num_keys=1)[1]


def _argsort(use: Use, x: Array) -> Array:
    axis = use.params["axis"]
    place = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    return lax.sort((_keys(use, x), place), dimension=axis, num_keys=1)[1]


TENSORS.update(sort=_sort, argsort=_argsort)


# Windows: one axis after the other, a strided slice per tap.


def _patches(use: Use, x: Array) -> Array:
    g = geometry(use.types[0], tuple(use.params["window"]), use.params)
    zero = np.zeros((), x.dtype)
    for k, a in enumerate(g.axes):
        axis, (low, high) = len(g.batch) + k, a.spread
        edges = [(0, 0, 0)] * x.ndim
        edges[axis] = (-low, high - a.n, 0)
        wide = lax.pad(x, zero, edges)
        last = (a.out - 1) * a.stride + 1
        taps = [
            lax.slice_in_dim(wide, t * a.dilation, t * a.dilation + last, a.stride, axis)
            for t in range(a.window)
        ]
        x = jnp.stack(taps, axis=-2)
    return x


def _unpatch(use: Use, y: Array) -> Array:
    g: Geometry = geometry_back(use.types[0], tuple(use.params["spatial"]), use.params)
    zero = np.zeros((), y.dtype)
    for k, a in reversed(list(enumerate(g.axes))):
        axis = len(g.batch) + k
        total: Array = None
        for t in range(a.window):
            tap = y[..., t, :]
            start = t * a.dilation - a.low
            edges = [(0, 0, 0)] * tap.ndim
            edges[axis] = (start, a.n - start - (a.out - 1) * a.stride - 1, a.stride - 1)
            back = lax.pad(tap, zero, edges)
            total = back if total is None else total + back
        y = total
    return y


TENSORS.update(patches=_patches, unpatch=_unpatch)


# Random bits.


def _words(keys: Array, counters: Array, kind: int) -> tuple[Array, Array]:
    """Both words of each key `[..., 2]` at each of its counters `[..., m]`."""
    shape = jnp.broadcast_shapes((*keys.shape[:-1], 1), counters.shape)
    given = (keys[..., 0, None], keys[..., 1, None], counters, jnp.asarray(kind, jnp.uint32))
    return threefry2x32(JAX, *(jnp.broadcast_to(v, shape) for v in given))


def _random_bits(use: Use, key: Array) -> Array:
    each = lax.iota(jnp.uint32, math.prod(use.params["shape"]))
    return _words(key, each, 0)[0].reshape(use.out.shape)


TENSORS.update(
    random_bits=_random_bits,
    split_key=lambda use, key: jnp.stack(_words(key, lax.iota(jnp.uint32, use.params["n"]), 1), -1),
    fold_in=lambda use, key, data: jnp.concatenate(_words(key, data[..., None], 2), -1),
)
