"""numpy's indexing: integers, slices, `...`, None and index streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from seiche.errors import SeicheError, fail
from seiche.ir.builder import broadcast_shapes
from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.shapes import axis_of
from seiche.lang.stream import (
    Stream,
    Tensor,
    apply,
    as_stream,
    broadcast_to,
    recovering,
    same_format,
)
from seiche.numbers.formats import Shape

Item: TypeAlias = "int | slice | Stream | np.ndarray[Any, Any] | None"
"""What an index is made of, once `...` is spelled out: index streams are scalars or arrays, static arrays are in range."""


@recovering
def getitem(x: Stream, key: Any) -> Stream:
    """`x[key]`. Static positions are checked (SE202); an index stream is clamped into range."""
    items = _items(x, key)
    arrays = [item for item in items if not isinstance(item, int | slice | None) and item.ndim]
    if len(arrays) > 1:
        raise _unsupported(x, "more than one index array")
    start, stop, step = _bounds(x, items)
    whole = all(
        s == (0, n, 1) for s, n in zip(zip(start, stop, step, strict=True), x.shape, strict=True)
    )
    out = x if whole else apply("slice", x, start=start, stop=stop, step=step)
    return _dropped(out, items)


def _items(x: Stream, key: Any) -> list[Item]:
    """One item per axis (and None for new ones)."""
    given = key if isinstance(key, tuple) else (key,)
    named = sum(1 for item in given if item is not None and item is not Ellipsis)
    if named > x.ndim:
        raise fail(
            "SE202", f"{named} indices for a tensor with {x.ndim} axes", trace.here(),
            (f"`{x.var.name}` is {x.type}", x.var.loc),
        )  # fmt: skip
    places = [i for i, item in enumerate(given) if item is Ellipsis]
    if len(places) > 1:
        raise _unsupported(x, "more than one `...`")
    rest = (slice(None),) * (x.ndim - named)
    at = places[0] if places else len(given)
    lengths = iter(x.shape)
    return [
        _item(x, i, 1 if i is None else next(lengths))
        for i in (*given[:at], *rest, *given[at + 1 :])
    ]


def _item(x: Stream, item: Any, n: int) -> Item:
    """An item of an axis of length n; static positions are non-negative and in range."""
    if item is None or isinstance(item, slice):
        return item
    if isinstance(item, Stream):
        if not item.format.is_integer:
            raise _unsupported(x, f"an index of {item.format}")
        return item
    index = np.asarray(item)
    if index.dtype.kind not in "iu":
        raise _unsupported(x, f"an index of {'a mask' if index.dtype.kind == 'b' else index.dtype}")
    out = index[(index < -n) | (index >= n)]
    if out.size:
        raise fail(
            "SE202", f"index {out.flat[0]} of an axis of length {n}", trace.here(),
            (f"`{x.var.name}` is {x.type}", x.var.loc),
        )  # fmt: skip
    return index % n if index.ndim else int(index) % n


def _bounds(
    x: Stream, items: list[Item]
) -> tuple[tuple[int, ...], tuple[int | None, ...], tuple[int, ...]]:
    bounds = [
        _bound(x, i, n) for i, n in zip([i for i in items if i is not None], x.shape, strict=True)
    ]
    start, stop, step = (
        (tuple(part) for part in zip(*bounds, strict=True)) if bounds else ((), (), ())
    )
    return start, stop, step  # type: ignore[return-value]


def _bound(x: Stream, item: Item, n: int) -> tuple[int, int | None, int]:
    if isinstance(item, slice):
        return _slice(x, item, n)
    return (item, item + 1, 1) if isinstance(item, int) else (0, n, 1)


def _slice(x: Stream, item: slice, n: int) -> tuple[int, int | None, int]:
    if any(isinstance(part, Stream) for part in (item.start, item.stop, item.step)):
        raise fail(
            "SE110", "a slice bound is a stream", trace.here(), (f"`{x.var.name}` is {x.type}", x.var.loc),
            hint="for a window that moves use sc.dynamic_slice(x, start, size)",
        )  # fmt: skip
    low, high, by = item.indices(n)
    if len(range(low, high, by)) == 0:
        raise fail(
            "SE202",
            f"an empty slice of an axis of length {n}",
            trace.here(),
            (f"`{x.var.name}`", x.var.loc),
        )
    return low, None if high < 0 else high, by


def _dropped(x: Stream, items: list[Item]) -> Stream:
    """Applies index streams and arrays, drops integer axes, adds new ones."""
    axis, front = 0, None
    for item in items:
        if item is None:
            x = f.expand_dims(x, axis)
            axis += 1
        elif isinstance(item, slice):
            axis += 1
        elif isinstance(item, int):
            x = f.squeeze(x, axis)
        elif item.ndim == 0:
            x = apply("index", x, as_stream(item), axis=axis)
        else:
            x = apply("take", x, as_stream(item), axis=axis)
            front = axis, item.ndim
            axis += item.ndim
    if front is None or not _apart(items):
        return x
    moved = range(front[0], front[0] + front[1])
    return f.transpose(x, [*moved, *(a for a in range(x.ndim) if a not in moved)])


def _apart(items: list[Item]) -> bool:
    """Whether indices are apart, so that numpy puts the axes of the index array first."""
    places = [i for i, item in enumerate(items) if item is not None and not isinstance(item, slice)]
    return places[-1] - places[0] >= len(places)


def _unsupported(x: Stream, what: str) -> SeicheError:
    return fail(
        "SE202", f"{what} is not supported", trace.here(), (f"`{x.var.name}` is {x.type}", x.var.loc),
        hint="masks: sc.where(mask, x, 0); several index arrays: sc.take(x.reshape(...), flat_index)",
    )  # fmt: skip


@recovering
def update(x: Tensor, row: Tensor, i: Tensor, axis: int = 0) -> Stream:
    """x with row i along an axis replaced; an index out of range changes nothing."""
    whole = as_stream(x)
    axis = axis_of(axis, whole.ndim)
    value = as_stream(row, whole.format)
    same_format(whole, value)
    return apply(
        "update",
        whole,
        _spread(value, whole.shape[:axis] + whole.shape[axis + 1 :]),
        as_stream(i),
        axis=axis,
    )


@recovering
def dynamic_slice(x: Tensor, i: Tensor, size: int, axis: int = 0) -> Stream:
    """`size` rows from row i on; the start is clamped so that they exist."""
    whole = as_stream(x)
    return apply("dynamic_slice", whole, as_stream(i), axis=axis_of(axis, whole.ndim), size=size)


def _spread(value: Stream, shape: Shape) -> Stream:
    """A value broadcast to the part that it replaces."""
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if fits:
        return broadcast_to(value, shape)
    raise fail(
        "SE201", f"a value of shape {list(value.shape)} for a part of shape {list(shape)}", trace.here(),
        (f"`{value.var.name}` is {value.type}", value.var.loc),
    )  # fmt: skip


class At:
    """`x.at[...]`: what to change."""

    def __init__(self, x: Stream) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)


class Place:
    """`x.at[key]`: `.set(value)` and `.add(value)` give the changed copy.

    Scalar index streams out of range change nothing, as do those of an index stream that `.add` uses.
    """

    def __init__(self, x: Stream, key: Any) -> None:
        self._x = x
        self._key = key

    def set(self, value: Tensor) -> Stream:
        """x with that part replaced."""
        return _changed(self._x, self._key, value, _replaced)

    def add(self, value: Tensor) -> Stream:
        """x with the value added to that part; an index array may name a row several times."""
        return _changed(self._x, self._key, value, _increased)


@recovering
def _changed(
    x: Stream, key: Any, value: Tensor, change: Callable[[Stream, list[Item], Stream], Stream]
) -> Stream:
    new = as_stream(value, x.format)
    same_format(x, new)
    return _inside(x, _items(x, key), new, change)


def _inside(
    x: Stream,
    items: list[Item],
    value: Stream,
    change: Callable[[Stream, list[Item], Stream], Stream],
) -> Stream:
    """Goes into the rows that scalar index streams choose, changes what is static there, and puts the rows back."""
    axis = 0
    for place, item in enumerate(items):
        if isinstance(item, Stream) and not item.ndim:
            row = apply("index", x, item, axis=axis)
            changed = _inside(row, [*items[:place], *items[place + 1 :]], value, change)
            return apply("update", x, changed, item, axis=axis)
        axis += item is not None
    return change(x, items, value)


def _replaced(x: Stream, items: list[Item], value: Stream) -> Stream:
    if any(isinstance(item, Stream) for item in items):
        raise _unsupported(x, "setting the rows of an index stream")
    positions = _positions(x, items)
    mask, source = np.zeros(x.size, bool), np.zeros(x.size, np.int32)
    mask[positions.ravel()] = True
    source[positions.ravel()] = np.arange(positions.size)
    part = f.reshape(_spread(value, positions.shape), -1)
    return f.where(mask.reshape(x.shape), f.reshape(f.take(part, source), x.shape), x)


def _increased(x: Stream, items: list[Item], value: Stream) -> Stream:
    if all(isinstance(item, int | slice | None) for item in items):
        return _replaced(x, items, getitem(x, tuple(items)) + value)
    first, *rest = items
    if isinstance(first, Stream) and all(
        isinstance(item, slice) and item == slice(None) for item in rest
    ):
        rows = _spread(value, (*first.shape, *x.shape[1:]))
        return f.scatter_add(x, f.reshape(first, -1), f.reshape(rows, (-1, *x.shape[1:])))
    if any(isinstance(item, Stream) for item in items):
        raise _unsupported(x, "adding at an index stream beside other indices")
    positions = _positions(x, items)
    part = f.reshape(_spread(value, positions.shape), -1)
    return f.reshape(
        f.scatter_add(f.reshape(x, -1), positions.ravel().astype(np.int32), part), x.shape
    )


def _positions(x: Stream, items: list[Item]) -> np.ndarray[Any, Any]:
    """The static positions of a key among the elements of x."""
    return np.arange(x.size).reshape(x.shape)[tuple(items)]
