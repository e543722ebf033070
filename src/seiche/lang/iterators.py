"""Iterators between time and space: instances side by side, ticks in blocks, windows, rows that come back as ticks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from seiche.errors import NOWHERE, fail
from seiche.ir import tree
from seiche.ir.core import Node, Var
from seiche.lang import trace
from seiche.lang.clocks import above, every
from seiche.lang.frames import frame
from seiche.lang.functions import take, where
from seiche.lang.indexing import update
from seiche.lang.memory import state
from seiche.lang.node import NodeFunction, embed, name_of, subgraph
from seiche.lang.stream import Stream, apply, as_stream
from seiche.numbers.formats import Type
from seiche.timespace import blocks
from seiche.timespace.batch import batch


def over_space(function: Callable[..., Any], n: int) -> Callable[..., Any]:
    """n instances of a node side by side, each with memory of its own: batch, lanes, devices.

    Arguments are trees of streams with a first length n, one row per instance; so are the results. What the function reads
    from around is shared. The result is that of n separate instances, bit for bit; an instance that needs its number, for
    random draws, takes it as an argument. Raises SE201 for other lengths, SE604 where a result is present at different
    ticks in different instances.

    >>> import seiche as sc
    >>> @sc.node
    ... def total(x: sc.f32) -> sc.f32:
    ...     s = sc.state(0.0)
    ...     s.next = s + x
    ...     return s.next
    >>> @sc.node
    ... def totals(x: sc.f32[2]) -> sc.f32[2]:
    ...     return sc.over_space(total, 2)(x)
    >>> sc.compile(totals).run([[1.0, 2.0], [10.0, 20.0]]).tolist()
    [[1.0, 2.0], [11.0, 22.0]]
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise fail(
            "SE604", f"over_space takes a positive number of instances, not {n!r}", trace.here()
        )

    def run(*args: Any) -> Any:
        leaves, form = _rows("over_space", n, args)
        node, captured, shape = _traced(function, form, leaves)
        flags = (True,) * len(leaves) + (False,) * len(captured)
        return shape.unflatten(embed(batch(node, n, flags), leaves, captured))

    return run


def _rows(what: str, n: int, args: Any) -> tuple[list[Stream], tree.Tree]:
    """The arguments as streams with a first length n; SE201 otherwise."""
    leaves, form = tree.flatten(tree.map_tree(as_stream, args))
    if any(s.shape[:1] != (n,) for s in leaves):
        raise fail(
            "SE201", f"{what} of {n} needs arguments with the first length {n}", trace.here(),
            *((f"`{s.var.name}` is {s.type}", s.var.loc) for s in leaves),
        )  # fmt: skip
    return leaves, form


def _traced(
    function: Callable[..., Any], form: tree.Tree, leaves: list[Stream], whole: bool = False
) -> tuple[Node, tuple[Var, ...], Any]:
    """The function over one row of each argument: its node, what it read from around, the form of its result.

    `whole`: it is the whole program, which no line uses.
    """
    rows = form.unflatten([s.format[s.shape[1:]] for s in leaves])
    graph, outputs, shape = subgraph(
        name_of(function), "function", function, rows, [s.var.name for s in leaves]
    )
    graph.caller = NOWHERE if whole else graph.caller
    return graph.finish(tuple(outputs)), tuple(graph.captured), shape


def to_space(
    function: Callable[..., Any], n: int, *, arithmetic: Literal["strict", "fast"] = "strict"
) -> Blocked:
    """The same node, n ticks at a time: arguments and results gain a first axis of n rows, memory is carried from block to block.

    Equal to the tick-wise node row by row, bit for bit; gradients but for the order of sums over the rows. What no
    recurrence needs tick by tick runs as whole tensors: products over the rows become one product, the memory of a causal
    convolution a few rows kept from the block before. A look-ahead of k ticks costs ceil(k / n) blocks. A call with `reset=`
    opens a new segment at the first row of a block. With `arithmetic="fast"`, linear recurrences become parallel scans, which
    round otherwise. Streams of frames return within the block where frames of a fixed length fill it. Raises SE604 where they do
    not, for results that are not there at every tick, and for look-ahead inside a recurrence.

    >>> import seiche as sc
    >>> @sc.node
    ... def total(x: sc.f32) -> sc.f32:
    ...     s = sc.state(0.0)
    ...     s.next = s + x
    ...     return s.next
    >>> sc.compile(sc.to_space(total, 2)).run([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[1.0, 3.0], [6.0, 10.0]]
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise fail("SE604", f"to_space takes a positive number of ticks, not {n!r}", trace.here())
    inner = function if isinstance(function, NodeFunction) else NodeFunction(function)
    return Blocked(inner, n, arithmetic == "fast")


class Blocked(NodeFunction):
    """Made by `to_space`: a node whose one tick is n ticks of another."""

    def __init__(self, inner: NodeFunction, n: int, fast: bool = False) -> None:
        super().__init__(inner.function, inner._hints)
        # Blocks of blocks: the function of a `Blocked` has no signature of its own.
        self.name, self.signature, self.where = inner.name, inner.signature, inner.where
        self.inner, self.n, self.fast = inner, n, fast
        self.function = self._in_blocks

    def __get__(self, owner: Any, kind: type | None = None) -> NodeFunction:
        """As a method, blocks of the method of its object."""
        return (
            self if owner is None else Blocked(self.inner.__get__(owner, kind), self.n, self.fast)
        )

    @functools.cached_property
    def annotations(self) -> dict[str, Any]:
        """Those of the node, with a first axis of n rows."""
        return {
            name: tree.map_tree(self._rows, types) for name, types in self.inner.annotations.items()
        }

    @functools.cached_property
    def results(self) -> Any:
        """What the node says it returns, with a first axis of n rows."""
        types = self.inner.results
        return None if types is None else tree.map_tree(self._rows, types)

    def _rows(self, type: Type) -> Type:
        return Type(type.format, (self.n, *type.shape))

    def _in_blocks(self, *args: Any, **kwargs: Any) -> Any:
        """The node over the streams among its arguments; all others are fixed."""
        given = dict(self.inner.signature.bind(*args, **kwargs).arguments)
        streams = {k: v for k, v in given.items() if _is_tree_of_streams(v)}

        def rowwise(rows: dict[str, Any]) -> Any:
            bound = self.inner.signature.bind_partial()
            bound.arguments.update({**given, **rows})
            return self.inner.function(*bound.args, **bound.kwargs)

        # As the whole program, nobody uses it but whoever gives the inputs.
        whole = trace.current().use is None
        return _in_blocks(self.name, rowwise, (streams,), self.n, self.fast, whole)


def _is_tree_of_streams(value: Any) -> bool:
    leaves, _ = tree.flatten(value)
    return bool(leaves) and all(isinstance(leaf, Stream) for leaf in leaves)


def _in_blocks(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    n: int,
    fast: bool = False,
    whole: bool = False,
) -> Any:
    """A function over rows, its memory carried from tick to tick; a reset from around opens a segment at the first row."""
    leaves, form = _rows(name, n, args)
    node, captured, shape = _traced(function, form, leaves, whole)
    flags = (True,) * len(leaves) + (False,) * len(captured)
    return shape.unflatten(embed(blocks.to_space(node, n, flags, fast=fast), leaves, captured))


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """`over_time(function, carry=True)`: a node along the first axis whose memory goes on at the next tick."""

    def run(*args: Any) -> Any:
        leaves, _ = tree.flatten(tree.map_tree(as_stream, args))
        if not leaves or any(not s.shape for s in leaves):
            raise fail("SE201", "over_time needs arguments with a first length", trace.here())
        return _in_blocks("over_time", function, args, leaves[0].shape[0])

    return run


def scatter(xs: Any) -> Any:
    """The inverse of `gather`: rows `[n, ...]` on a slower clock come back as ticks of the clock around.

    Row i of what is present at a tick belongs to the i-th tick since it was last present; so n is the most ticks between two
    presences (more is SE602 at run time). Results have a latency of n - 1 ticks.

    >>> import seiche as sc
    >>> @sc.node
    ... def centred(x: sc.f32) -> sc.f32:
    ...     rows = sc.gather(x, 3)
    ...     return sc.scatter(rows - sc.mean(rows))
    >>> sc.compile(centred).run([1.0, 2.0, 6.0, 4.0, 4.0, 4.0]).tolist()
    [-2.0, -1.0, 3.0, 0.0, 0.0, 0.0]
    """
    leaves, form = tree.flatten(tree.map_tree(as_stream, xs))
    rows = {s.shape[0] if s.shape else 0 for s in leaves}
    if len(rows) != 1 or 0 in rows:
        raise fail(
            "SE201", "scatter needs rows with one common first length", trace.here(),
            *((f"`{s.var.name}` is {s.type}", s.var.loc) for s in leaves),
        )  # fmt: skip
    (cond, on, _), *slower = above(leaves[0])
    if slower:
        raise fail(
            "SE604", f"`{leaves[0].var.name}` is slower than the clock here by more than one condition", trace.here(),
            (f"`{cond.var.name}` is one", cond.var.loc), (f"`{slower[0][0].var.name}` is another", slower[0][0].var.loc),
            hint="gather all ticks at once, sc.gather(x, n * m): a stream does not come back to a clock between, whose next tick may never come",
        )  # fmt: skip
    closes = cond if on else ~cond
    with frame(max=rows.pop(), until=closes):
        at = state(0)
        at.next = at + 1
        results = [index(s, at) for s in leaves]
    return form.unflatten(results)


def index(rows: Stream, i: Stream) -> Stream:
    """Row i."""
    return apply("index", rows, i, axis=0)


def window(x: Any, n: int, hop: int) -> Any:
    """The last n ticks, `[n, ...]`, oldest first, at every `hop`-th tick from the first full window on.

    They overlap where hop < n; `window(x, n, n)` is `gather(x, n)`. Windows are complete: the first is there at tick n - 1.

    >>> import seiche as sc
    >>> @sc.node
    ... def pairs(x: sc.f32) -> sc.f32[2]:
    ...     return sc.window(x, 2, 1)
    >>> sc.compile(pairs).run([1.0, 2.0, 3.0]).values.tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    for what, value in (("ticks", n), ("ticks between windows", hop)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise fail(
                "SE601", f"window takes a positive number of {what}, not {value!r}", trace.here()
            )
    slot, left = state(0), state(n - 1)
    slot.next = where(slot == n - 1, 0, slot + 1)
    due = left == 0
    left.next = where(due, hop - 1, left - 1)

    def leaf(item: Any) -> Stream:
        row = as_stream(item)
        rows = state(np.zeros((n, *row.shape), row.format.dtype), format=row.format)
        rows.next = update(rows, row, slot)
        # The oldest row lies behind the one just written.
        with every(due):
            order = (np.arange(1, n + 1, dtype=np.int32) + slot) % n
            return take(rows.next, order, axis=0)

    return tree.map_tree(leaf, x)
