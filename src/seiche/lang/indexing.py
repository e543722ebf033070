"""numpy's indexing: integers, slices, `...`, None and index streams."""

from __future__ import annotations

from typing import Any

from seiche.errors import SeicheError, fail
from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream, Tensor, apply, as_stream, broadcast_to


def getitem(x: Stream, key: Any) -> Stream:
    """`x[key]`. Static positions are checked (SE202); an index stream is clamped into range."""
    items = _full(x, key if isinstance(key, tuple) else (key,))
    dynamic = [item for item in items if _is_index(item)]
    if len(dynamic) > 1:
        raise _unsupported(x, "more than one index that is a stream or an array")
    start, stop, step = _bounds(x, items)
    whole = all(s == (0, n, 1) for s, n in zip(zip(start, stop, step, strict=True), x.shape, strict=True))
    out = x if whole else apply("slice", x, start=start, stop=stop, step=step)
    return _dropped(out, items)


def _full(x: Stream, key: tuple[Any, ...]) -> list[Any]:
    """One item per axis (and None for new ones), without `...`."""
    named = sum(1 for item in key if item is not None and item is not Ellipsis)
    if named > x.ndim:
        raise fail(
            "SE202", f"{named} indices for a tensor with {x.ndim} axes", trace.here(),
            (f"`{x.var.name}` is {x.type}", x.var.loc),
        )  # fmt: skip
    rest = [slice(None)] * (x.ndim - named)
    place = next((i for i, item in enumerate(key) if item is Ellipsis), None)
    if place is None:
        return [*key, *rest]
    after = [item for item in key[place + 1 :] if item is not Ellipsis]
    return [*key[:place], *rest, *after]


def _is_index(item: Any) -> bool:
    return not (item is None or isinstance(item, slice | int) and not isinstance(item, bool))


def _bounds(x: Stream, items: list[Any]) -> tuple[tuple[int, ...], tuple[int | None, ...], tuple[int, ...]]:
    start: list[int] = []
    stop: list[int | None] = []
    step: list[int] = []
    for item, n in zip([i for i in items if i is not None], x.shape, strict=True):
        if isinstance(item, slice):
            low, high, by = _slice(x, item, n)
        elif isinstance(item, int):
            if not -n <= item < n:
                raise fail(
                    "SE202", f"index {item} of an axis of length {n}", trace.here(),
                    (f"`{x.var.name}` is {x.type}", x.var.loc),
                )  # fmt: skip
            low, high, by = item % n, item % n + 1, 1
        else:
            low, high, by = 0, n, 1
        start.append(low)
        stop.append(high)
        step.append(by)
    return tuple(start), tuple(stop), tuple(step)


def _slice(x: Stream, item: slice, n: int) -> tuple[int, int | None, int]:
    if any(isinstance(part, Stream) for part in (item.start, item.stop, item.step)):
        raise fail(
            "SE110", "a slice bound is a stream", trace.here(), (f"`{x.var.name}` is {x.type}", x.var.loc),
            hint="for a window that moves use sc.dynamic_slice(x, start, size)",
        )  # fmt: skip
    low, high, by = item.indices(n)
    if len(range(low, high, by)) == 0:
        raise fail("SE202", f"an empty slice of an axis of length {n}", trace.here(), (f"`{x.var.name}`", x.var.loc))
    return low, None if high < 0 else high, by


def _dropped(x: Stream, items: list[Any]) -> Stream:
    """Applies the index stream, drops integer axes, adds new ones."""
    axis = 0
    for item in items:
        if item is None:
            x = f.expand_dims(x, axis)
            axis += 1
        elif isinstance(item, slice):
            axis += 1
        elif isinstance(item, int):
            x = f.squeeze(x, axis)
        else:
            index = as_stream(item)
            if not index.format.is_integer:
                raise _unsupported(x, f"an index of {index.format}")
            x = apply("index" if index.shape == () else "take", x, index, axis=axis)
            axis += index.ndim
    return x


def _unsupported(x: Stream, what: str) -> SeicheError:
    return fail(
        "SE202", f"{what} is not supported", trace.here(), (f"`{x.var.name}` is {x.type}", x.var.loc),
        hint="masks: sc.where(mask, x, 0); several index arrays: sc.take(x.reshape(...), flat_index)",
    )  # fmt: skip


def update(x: Stream, row: Tensor, i: Tensor, axis: int = 0) -> Stream:
    """x with row i along an axis replaced; an index out of range changes nothing."""
    axis %= x.ndim
    value = broadcast_to(as_stream(row, x.format), x.shape[:axis] + x.shape[axis + 1 :])
    return apply("update", x, value, as_stream(i), axis=axis)


def dynamic_slice(x: Stream, i: Tensor, size: int, axis: int = 0) -> Stream:
    """`size` rows from row i on; the start is clamped so that they exist."""
    return apply("dynamic_slice", x, as_stream(i), axis=axis % x.ndim, size=size)


class At:
    """`x.at[...]`: what to change."""

    def __init__(self, x: Stream) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)


class Place:
    """`x.at[key]`: `.set(value)` and `.add(value)` give the changed copy."""

    def __init__(self, x: Stream, key: Any) -> None:
        self._x = x
        self._key = key

    def set(self, value: Tensor) -> Stream:
        """x with that part replaced."""
        x, key = self._x, self._key
        if isinstance(key, Stream) and key.shape == ():
            return update(x, value, key)
        return f.where(self._mask(), self._spread(value), x)

    def add(self, value: Tensor) -> Stream:
        """x with the value added to that part; an index array may name a row several times."""
        x, key = self._x, self._key
        if isinstance(key, Stream):
            flat = f.reshape(key, -1)
            rows = broadcast_to(as_stream(value, x.format), (*key.shape, *x.shape[1:]))
            return f.scatter_add(x, flat, f.reshape(rows, (-1, *x.shape[1:])))
        return x + f.where(self._mask(), self._spread(value), 0)

    def _positions(self) -> Any:
        import numpy as np

        flat = np.arange(self._x.size).reshape(self._x.shape)
        return flat[self._key]

    def _mask(self) -> Any:
        import numpy as np

        mask = np.zeros(self._x.size, bool)
        mask[self._positions().ravel()] = True
        return mask.reshape(self._x.shape)

    def _spread(self, value: Tensor) -> Stream:
        """The value's elements where they belong, something anywhere else."""
        import numpy as np

        positions = self._positions()
        part = broadcast_to(as_stream(value, self._x.format), positions.shape)
        source = np.zeros(self._x.size, np.int32)
        source[positions.ravel()] = np.arange(positions.size)
        return f.reshape(f.take(f.reshape(part, -1), source), self._x.shape)
