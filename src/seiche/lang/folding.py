"""From space to time: a tensor function, one row per tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seiche.errors import fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.clocks import condition
from seiche.lang.node import embed, name_of, subgraph
from seiche.lang.stream import Stream, as_stream
from seiche.numbers.formats import Type
from seiche.timespace.fold import Folded, fold

Axes = int | Sequence[int | None]
"""An axis of the first argument, the others whole; or, per argument, its axis of rows, and None where it is whole."""


def to_time(function: Callable[..., Any], *, rows: int, axis: Axes = 0) -> Callable[..., Any]:
    """A tensor function over frames of `rows` rows that come one per tick, equal to the function, in bits, in less memory.

    The arguments that `axis` names are rows: the function sees them stacked along that axis. The others are whole; they
    should not change within a frame. Results come as soon as they are known: rows one by one, where they are strided every
    so many ticks, and later by what a padding or a window looks ahead; sums over rows, and what follows from them, once per
    frame. Frames follow each other without a gap. `reset=r` begins a frame and drops what is under way.
    Raises SE605 for an operation that needs the whole frame before its first row.

    >>> import seiche as sc
    >>> def smooth(image):
    ...     return (image[:-1] + image[1:]) / 2
    >>> @sc.node
    ... def rows(row: sc.f32[2]) -> sc.f32[2]:
    ...     return sc.to_time(smooth, rows=3)(row)
    >>> sc.compile(rows).run([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]]).values.tolist()
    [[2.0, 3.0], [4.0, 6.0]]
    """
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise fail("SE605", f"to_time takes a positive number of rows, not {rows!r}", trace.here())

    def run(*args: Any, reset: Stream | None = None) -> Any:
        streams = tree.map_tree(as_stream, args)
        leaves, form = tree.flatten(streams)
        places = _places(streams, axis)
        types = [_stacked(s, place, rows) for s, place in zip(leaves, places, strict=True)]
        names = [s.var.name for s in leaves]
        graph, outputs, shape = subgraph(
            name_of(function), "function", function, form.unflatten(types), names
        )
        node = graph.finish(tuple(outputs))
        folded: Folded = fold(node, (*places, *(None for _ in graph.captured)), rows)
        opens = None if reset is None else condition(reset, "reset")
        with trace.instance(name_of(function), opens, tuple(leaves)):
            return shape.unflatten(embed(folded.node, leaves, tuple(graph.captured)))

    return run


def _places(args: tuple[Any, ...], axis: Axes) -> list[int | None]:
    """The axis of rows of each leaf of the arguments; SE109 where `axis` does not fit them."""
    given = [axis, *(None for _ in args[1:])] if isinstance(axis, int) else list(axis)
    if not all(a is None or isinstance(a, int) for a in given):
        raise fail("SE109", f"an axis of to_time is an integer or None, not {axis!r}", trace.here())
    if len(given) != len(args) or not args:
        raise fail(
            "SE109", f"to_time has {len(given)} axes for {len(args)} arguments", trace.here(),
            hint="axis=0 is that of the first argument; axis=(0, None) says it for each, None where one is whole",
        )  # fmt: skip
    return [
        None if a is None else _axis(s, a)
        for arg, a in zip(args, given, strict=True)
        for s in tree.flatten(arg)[0]
    ]


def _axis(row: Stream, axis: int) -> int:
    if not -row.ndim - 1 <= axis <= row.ndim:
        why = (f"`{row.var.name}` is {row.type}", row.var.loc)
        raise fail("SE202", f"axis {axis} of rows that have {row.ndim} axes", trace.here(), why)
    return axis % (row.ndim + 1)


def _stacked(row: Stream, axis: int | None, rows: int) -> Type:
    """What the function sees of an argument."""
    return row.type if axis is None else row.format[(*row.shape[:axis], rows, *row.shape[axis:])]
