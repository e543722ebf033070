"""Clocks: sampling, joining, activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.clocks import Clock
from seiche.ir.core import Merge, Var
from seiche.lang import trace
from seiche.lang.elementwise import same_form
from seiche.lang.stream import Stream, Tensor, as_stream, recover, together
from seiche.lang.trace import Region
from seiche.numbers.formats import bool_


def condition(c: Stream, use: str) -> Stream:
    """c, which must be a scalar boolean stream; SE302 otherwise."""
    if isinstance(c, Stream) and c.format is bool_ and c.shape == ():
        return c
    why = (f"`{c.var.name}` is {c.type}", c.var.loc) if isinstance(c, Stream) else f"it is {c!r}"
    error = fail(
        "SE302", f"the condition of {use} is not a scalar boolean stream", trace.here(), why,
        hint="compare (x > 0), or reduce with .any() or .all(); a static choice is a plain Python `if`",
    )  # fmt: skip
    return recover(error, bool_[()], c)


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
        first, second = together(a, b)
        inner = [trace.lift(s, here) for s in (first, second)]
        return Stream(region.graph.new(Merge(var, *inner), first.type, "merge"), region)

    return same_form("merge", leaf, yes, no)


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


def above(x: Stream) -> list[tuple[Stream, bool, Region]]:
    """The conditions by which x is slower than the clock here, slowest first, each in its region; SE301 where it is not.

    A state is as slow as what it takes, whatever region it was made in: so are conditions computed from it.
    """
    region = trace.current().clock
    graph = region.graph
    clocks = graph.clocks()

    def clock(var: Var) -> Clock:
        return clocks[graph.alias(var)] if graph.alias(var) in clocks.terms else ()

    here = (
        () if region.cond is None else (*clock(region.cond), (graph.alias(region.cond), region.on))
    )
    found = clock(x.var)
    if found[: len(here)] != here or len(found) <= len(here):
        raise fail(
            "SE301", f"hold of `{x.var.name}`, which is not on a slower clock", trace.here(),
            ("it was made here", x.var.loc), hint="hold takes what `when`, `every` or a frame made",
        )  # fmt: skip
    levels: list[tuple[Stream, bool, Region]] = []
    for cond, on in found[len(here) :]:
        levels.insert(0, (Stream(cond, region), on, region))
        region = region.clock(cond, on)
    return levels


def sampled(x: Stream) -> tuple[Stream, bool]:
    """The condition, of the clock here, by which x is slower, and whether it holds at its ticks; SE301 as `above`."""
    cond, on, _ = above(x)[-1]
    return cond, on
