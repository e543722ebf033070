"""Clocks: sampling, joining, activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.builder import broadcast_shapes
from seiche.ir.clocks import infer
from seiche.ir.core import Merge, Node, When
from seiche.lang import trace
from seiche.lang.stream import Stream, Tensor, as_stream, broadcast_to, together
from seiche.numbers.formats import bool_


def condition(c: Stream, use: str) -> Stream:
    """c, which must be a scalar boolean stream; SE302 otherwise."""
    if isinstance(c, Stream) and c.format is bool_ and c.shape == ():
        return c
    what = f"`{c.var.name}` is {c.type}" if isinstance(c, Stream) else f"it is {c!r}"
    raise fail(
        "SE302", f"the condition of {use} is not a scalar boolean stream", trace.here(), what,
        hint="compare (x > 0), or reduce with .any() or .all(); a static choice is a plain Python `if`",
    )  # fmt: skip


def when(x: Any, c: Stream, on: bool = True) -> Any:
    """x at the ticks where c is `on`: a slower stream (or tree of them).

    >>> import seiche as sc
    >>> @sc.node
    ... def positive(x: sc.f32) -> sc.f32:
    ...     return sc.when(x, x > 0)
    >>> sc.compile(positive).run([1.0, -2.0, 3.0])
    Sparse(ticks=array([0, 2]), values=array([1., 3.], dtype=float32))
    """
    cond = condition(c, "when")
    here = trace.current().region
    region = trace.home_of((cond,), here)
    inner = region.clock(trace.lift(cond, here), on)

    def leaf(item: Tensor) -> Stream:
        stream = as_stream(item)
        graph = region.graph
        if stream.var in graph.constants:
            return Stream(stream.var, inner)
        return Stream(inner.enter(trace.lift(stream, here)), inner)

    return tree.map_tree(leaf, x)


def merge(c: Stream, yes: Any, no: Any) -> Any:
    """`yes` where c, `no` elsewhere: the union of two streams (or trees) on complementary clocks.

    >>> import seiche as sc
    >>> @sc.node
    ... def absolute(x: sc.f32) -> sc.f32:
    ...     c = x > 0
    ...     return sc.merge(c, sc.when(x, c), -sc.when(x, c, False))
    >>> sc.compile(absolute).run([1.0, -2.0]).tolist()
    [1.0, 2.0]
    """
    cond = condition(c, "merge")
    here = trace.current().region
    region = trace.home_of((cond,), here)
    var = trace.lift(cond, here)

    def leaf(a: Tensor, b: Tensor) -> Stream:
        first, second = _alike(a, b)
        inner = [trace.lift(s, here) for s in (first, second)]
        return Stream(region.graph.add(Merge(var, *inner), inner[0], "merge"), region)

    return tree.map_tree(leaf, yes, no)


def _alike(a: Tensor, b: Tensor) -> tuple[Stream, Stream]:
    """Two branches of one type; broadcasting happens on each branch's own clock."""
    shapes = [x.shape if isinstance(x, Stream) else np.shape(x) for x in (a, b)]
    try:
        shape = broadcast_shapes(*shapes)
    except ValueError:
        raise fail("SE201", f"the branches have shapes {shapes[0]} and {shapes[1]}", trace.here()) from None
    format = next((x.format for x in (a, b) if isinstance(x, Stream)), None)
    first, second = (broadcast_to(as_stream(x, format), shape) for x in (a, b))
    if first.format != second.format:
        together(first, second)
    return first, second


@contextmanager
def every(c: Stream) -> Iterator[None]:
    """What is traced inside happens only at the ticks where c holds: states inside wait meanwhile.

    >>> import seiche as sc
    >>> @sc.node
    ... def total_of_positive(x: sc.f32) -> sc.f32:
    ...     with sc.every(x > 0):
    ...         total = sc.state(0.0)
    ...         total.next = total + x
    ...     return sc.hold(total.next, 0.0)
    >>> sc.compile(total_of_positive).run([1.0, -2.0, 3.0]).tolist()
    [1.0, 1.0, 4.0]
    """
    with trace.clock(condition(c, "every")):
        yield


def activate(c: Stream, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One use of a node at the ticks where c holds; its results are on that clock."""
    with every(c):
        return function(*args, **kwargs)


def sampled(x: Stream) -> tuple[Stream, bool]:
    """The condition whose clock x is on, within the region here; SE301 when x is not slower."""
    region = trace.current().region
    inner = x.region
    while inner not in region.ancestors() and inner.cond is not None and inner.parent is not None:
        if inner.parent in region.ancestors():
            return Stream(inner.cond, inner.parent), inner.on
        inner = inner.parent
    graph = region.graph
    clocks = infer(Node(graph.name, tuple(graph.inputs), (), list(graph.eqs)))
    clock = clocks[x.var] if x.var in clocks.terms else ()
    if clock:
        return Stream(clock[-1][0], region), clock[-1][1]
    raise fail(
        "SE301", f"hold of `{x.var.name}`, which is not on a slower clock", trace.here(),
        (f"`{x.var.name}` was made here", x.var.loc), hint="hold takes what `when`, `every` or a frame made",
    )  # fmt: skip
