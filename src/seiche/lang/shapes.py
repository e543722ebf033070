"""Functions that move, join and make tensors, with numpy's names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.elementwise import same_form
from seiche.lang.stream import (
    Stream,
    Tensor,
    apply,
    as_stream,
    broadcast_to,
    made,
    of_one_format,
    recovering,
    same_format,
)
from seiche.numbers import formats
from seiche.numbers.formats import Format, Shape

Axis: TypeAlias = "int | Sequence[int] | None"


def axis_of(axis: int, ndim: int) -> int:
    """An axis as a non-negative number; SE202 where there is none."""
    if not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise fail("SE202", f"axis {axis} of a tensor with {ndim} axes", trace.here())
    return int(axis) % ndim


def axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as sorted non-negative numbers; all of them for None. Raises SE202.

    >>> axes(-1, 3), axes(None, 2)
    ((2,), (0, 1))
    """
    given = (
        tuple(range(ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    )
    found = [axis_of(a, ndim) for a in given]
    if len(set(found)) < len(found):
        raise fail("SE202", f"axes {given} name an axis twice", trace.here())
    return tuple(sorted(found))


@recovering
def reshape(x: Tensor, shape: int | Sequence[int]) -> Stream:
    """x in another shape, row-major; one length may be -1."""
    stream = as_stream(x)
    sizes = [int(n) for n in ([shape] if isinstance(shape, int | np.integer) else shape)]
    if sizes.count(-1) == 1:
        known = prod(n for n in sizes if n != -1)
        sizes[sizes.index(-1)] = stream.size // (known or 1)
    if prod(sizes) != stream.size or any(n < 0 for n in sizes):
        raise fail(
            "SE201", f"{list(stream.shape)} does not reshape to {shape}", trace.here(),
            (f"`{stream.var.name}` is {stream.type}", stream.var.loc),
        )  # fmt: skip
    return stream if tuple(sizes) == stream.shape else apply("reshape", stream, shape=tuple(sizes))


@recovering
def transpose(x: Tensor, perm: Sequence[int] | None = None) -> Stream:
    """x with its axes permuted; reversed when `perm` is not given."""
    stream = as_stream(x)
    order = (
        tuple(range(stream.ndim)[::-1])
        if perm is None
        else tuple(axis_of(a, stream.ndim) for a in perm)
    )
    if sorted(order) != list(range(stream.ndim)):
        raise fail("SE202", f"{tuple(perm or ())} is no order of {stream.ndim} axes", trace.here())
    return stream if order == tuple(range(stream.ndim)) else apply("transpose", stream, perm=order)


@recovering
def swapaxes(x: Tensor, a: int, b: int) -> Stream:
    """x with two axes exchanged."""
    stream = as_stream(x)
    order = list(range(stream.ndim))
    first, second = axis_of(a, stream.ndim), axis_of(b, stream.ndim)
    order[first], order[second] = second, first
    return transpose(stream, order)


@recovering
def moveaxis(x: Tensor, source: int, destination: int) -> Stream:
    """x with one axis moved to another place."""
    stream = as_stream(x)
    order = list(range(stream.ndim))
    moved = order.pop(axis_of(source, stream.ndim))
    order.insert(axis_of(destination, stream.ndim), moved)
    return transpose(stream, order)


@recovering
def expand_dims(x: Tensor, axis: int) -> Stream:
    """x with a new axis of length 1."""
    shape = list(as_stream(x).shape)
    shape.insert(axis_of(axis, len(shape) + 1), 1)
    return reshape(x, shape)


@recovering
def squeeze(x: Tensor, axis: Axis = None) -> Stream:
    """x without axes of length 1."""
    stream = as_stream(x)
    gone = (
        [a for a in range(stream.ndim) if stream.shape[a] == 1]
        if axis is None
        else axes(axis, stream.ndim)
    )
    long = [a for a in gone if stream.shape[a] != 1]
    if long:
        raise fail(
            "SE201",
            f"axis {long[0]} has length {stream.shape[long[0]]}: squeeze drops those of length 1",
            trace.here(),
        )
    return reshape(stream, [n for a, n in enumerate(stream.shape) if a not in gone])


def flatten(x: Tensor) -> Stream:
    """x as a vector."""
    return reshape(x, -1)


@recovering
def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Stream:
    """Tensors joined along an axis they have."""
    streams = of_one_format(*xs)
    same_format(*streams)
    along = axis_of(axis, streams[0].ndim)
    return streams[0] if len(streams) == 1 else apply("concat", *streams, axis=along)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors (or trees of them) of one shape side by side, along a new axis."""
    return same_form("stack", lambda *leaves: _stack(leaves, axis), *xs)


@recovering
def _stack(xs: Sequence[Tensor], axis: int) -> Stream:
    return concatenate([expand_dims(x, axis) for x in of_one_format(*xs)], axis)


def split(x: Tensor, parts: int | Sequence[int], axis: int = 0) -> list[Stream]:
    """x cut into equal parts, or at the places given."""
    stream = as_stream(x)
    axis = axis_of(axis, stream.ndim)
    length = stream.shape[axis]
    if isinstance(parts, int):
        if parts < 1 or length % parts:
            raise fail("SE201", f"{length} does not split into {parts} equal parts", trace.here())
        parts = range(length // parts, length, length // parts)
    bounds = [0, *parts, length]
    return [
        stream[(slice(None),) * axis + (slice(low, high),)]
        for low, high in itertools.pairwise(bounds)
    ]


@recovering
def pad(x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0) -> Stream:
    """x with (before, after) more elements along each axis, of that value."""
    low, high = (tuple(w[i] for w in widths) for i in (0, 1))
    return apply("pad", as_stream(x), low=low, high=high, value=value)


@recovering
def flip(x: Tensor, axis: Axis = None) -> Stream:
    """x in reverse order along axes."""
    stream = as_stream(x)
    gone = axes(axis, stream.ndim)
    return stream[
        tuple(slice(None, None, -1) if a in gone else slice(None) for a in range(stream.ndim))
    ]


@recovering
def roll(x: Tensor, shift: int, axis: int = 0) -> Stream:
    """x moved along an axis; what leaves at one end enters at the other."""
    stream = as_stream(x)
    cut = -shift % stream.shape[axis_of(axis, stream.ndim)]
    return concatenate(split(stream, [cut], axis)[::-1], axis) if cut else stream


@recovering
def repeat(x: Tensor, n: int, axis: int = 0) -> Stream:
    """Each element n times."""
    stream = as_stream(x)
    axis = axis_of(axis, stream.ndim)
    shape = list(stream.shape)
    wide = broadcast_to(expand_dims(stream, axis + 1), (*shape[: axis + 1], n, *shape[axis + 1 :]))
    shape[axis] *= n
    return reshape(wide, shape)


def zeros(shape: int | Shape, format: Format = formats.f32) -> Stream:
    """A constant of zeros."""
    return made(np.zeros(shape, format.dtype), format)


def ones(shape: int | Shape, format: Format = formats.f32) -> Stream:
    """A constant of ones."""
    return made(np.ones(shape, format.dtype), format)


def zeros_like(x: Any) -> Any:
    """Zeros of the same shapes and formats."""
    return tree.map_tree(lambda s: zeros(s.shape, s.format), x)


def arange(n: int, format: Format = formats.i32) -> Stream:
    """0, 1, ... n - 1."""
    return made(np.arange(n).astype(format.dtype), format)


def eye(n: int, format: Format = formats.f32) -> Stream:
    """The identity matrix."""
    return made(np.eye(n).astype(format.dtype), format)
