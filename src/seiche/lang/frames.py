"""Frames and scans: where time has an end, so that costates may form a recurrence; and the way from time to space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.clocks import find
from seiche.ir.core import Equation, Frame, Node, OutKind, Scan, Var
from seiche.lang import duties, trace
from seiche.lang.clocks import condition, when
from seiche.lang.functions import where
from seiche.lang.indexing import update
from seiche.lang.memory import State, post, state
from seiche.lang.node import name_of, subgraph
from seiche.lang.stream import Stream, as_stream
from seiche.lang.trace import Context, Graph, Region
from seiche.numbers.formats import Type
from seiche.timespace import spread as spreading


@dataclass(eq=False)
class Draft:
    """A frame whose body is traced, and whose results are still being asked for."""

    graph: Graph
    extent: int
    until: Var
    region: Region
    context: Context
    exports: dict[tuple[Var, OutKind], Var] = field(
        default_factory=dict[tuple["Var", "OutKind"], "Var"]
    )
    finished: bool = False

    def export(self, var: Var, kind: OutKind) -> Var:
        """A Var of the body, as a result in the graph around."""
        key = (var, kind)
        if key not in self.exports:
            shape = (self.extent, *var.type.shape) if kind == "stack" else var.type.shape
            self.exports[key] = Var(var.name, var.type.format[shape], var.loc, var.scope)
        return self.exports[key]

    def outline(self) -> Equation:
        """The Frame without its body: what the clocks of its results are."""
        kinds: tuple[OutKind, ...] = tuple(kind for _, kind in self.exports)
        rhs = Frame(Node("", (), (), []), (), (), kinds, self.extent, self.until)
        return Equation(tuple(self.exports.values()), rhs)

    def equation(self) -> Equation:
        """The Frame; which arguments are collected at each tick is decided by their clocks."""
        # Contracts return with the streams, if there are any: that costs no scan of its own, and the tick is the very one.
        way: OutKind = "stream" if "stream" in {kind for _, kind in self.exports} else "last"
        body = self.graph.finish(tuple(var for var, _ in self.exports), way)
        args = tuple(self.graph.captured)
        around = self.region.graph
        mapped = self._mapped(args, around)
        self.finished = True
        owed = tuple(duties.leave(around, self.context.use, duty) for duty in self.graph.owed)
        kinds: tuple[OutKind, ...] = (*(kind for _, kind in self.exports), *(way for _ in owed))
        outs = (*self.exports.values(), *owed)
        if outs and self.context.resets:
            around.resets[outs[0]] = self.context.resets
        return Equation(outs, Frame(body, args, mapped, kinds, self.extent, self.until))

    def _mapped(self, args: tuple[Var, ...], graph: Graph) -> tuple[bool, ...]:
        """Which arguments are collected at each tick: those not on the frame's clock."""
        terms, until = graph.clocks().terms, graph.alias(self.until)
        root, path = find(terms[until])

        def slow(arg: Var) -> bool:
            term = terms.get(graph.alias(arg))
            return term is not None and find(term) == (root, (*path, (until, True)))

        return tuple(not slow(arg) for arg in args)


class frame:
    """`with sc.frame(max=N, until=e) as fr:` — a segment of at most N ticks, traced as a program of its own.

    The segment closes at the ticks where `until` holds (or just before `reset` holds; or after every N ticks when neither
    is given). Inside, `post` and `costate` may form recurrences; streams of outside are seen at each tick, values on the
    frame's clock (parameters) are constant. Streams of inside, used outside, come at their ticks with the latency that
    `report()` states; `fr.last(x)`, `fr.sum(x)` and `fr.stack(x)` are on the frame's clock, without latency.

    Raises SE601 for a maximum that is no positive integer. More than N ticks without a close is a run-time error (SE602).

    >>> import seiche as sc
    >>> @sc.node
    ... def returns(reward: sc.f32, done: sc.bool_) -> sc.f32:
    ...     with sc.frame(max=8, until=done):
    ...         ahead = sc.costate(0.0)
    ...         ahead.prev = reward + 0.5 * ahead
    ...         return ahead.prev
    >>> sc.compile(returns).run([1.0, 1.0, 1.0], [False, True, True]).tolist()
    [1.5, 1.0, 1.0]
    """

    def __init__(
        self, max: int, *, until: Stream | None = None, reset: Stream | None = None
    ) -> None:
        if not isinstance(max, int) or isinstance(max, bool) or max < 1:
            raise fail(
                "SE601", f"a frame's maximum must be a positive integer, not {max!r}", trace.here(),
                hint="the buffers of a frame are sized before the program runs: sc.frame(max=128, ...)",
            )  # fmt: skip
        if until is not None and reset is not None:
            raise fail(
                "SE601", "a frame is closed by `until` or opened by `reset`, not both", trace.here()
            )
        self.max = max
        if reset is not None:
            until = post(condition(reset, "reset"), True)
        closes = _counted(max)[1] if until is None else condition(until, "until")
        context = trace.current()
        self._region = trace.home_of((closes,), context.region)
        self._closes = Stream(trace.lift(closes, context.region), self._region)
        graph = Graph(f"frame_{trace.here().line}", "frame", context.region, trace.here())
        self._draft = Draft(graph, max, self._closes.var, context.region, context)

    def __enter__(self) -> frame:
        context = trace.current()
        context.region.graph.frames.append(self._draft)
        self._within = trace.within(Context(self._draft.graph.root, context.path, around=context))
        self._within.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._within.__exit__(*error)

    def last(self, x: Any) -> Any:
        """The value at the close, on the frame's clock."""
        return self._slow(x, "last")

    def stack(self, x: Any) -> Any:
        """All values, `[max, ...]`, zero beyond the frame's length, on the frame's clock."""
        return self._slow(x, "stack")

    def sum(self, x: Any) -> Any:
        """The sum over the frame's ticks, in their order, on the frame's clock."""
        with trace.within(Context(self._draft.graph.root, trace.current().path)):
            total = tree.map_tree(_running_sum, x)
        return self._slow(total, "last")

    @property
    def closes(self) -> Stream:
        """True at the ticks where the frame closes: the condition of its clock."""
        return self._closes

    def _slow(self, x: Any, kind: OutKind) -> Any:
        inner = self._draft.graph.root
        outer = self._region.clock(self._closes.var)

        def leaf(item: Any) -> Stream:
            with trace.within(Context(inner, trace.current().path)):
                var = trace.lift(as_stream(item), inner)
            return Stream(self._draft.export(var, kind), outer)

        return tree.map_tree(leaf, x)


def _running_sum(x: Any) -> Stream:
    stream = as_stream(x)
    total = _zeros(stream.type)
    total.next = total + stream
    return total.next


def _zeros(type: Type) -> State:
    return state(np.zeros(type.shape, type.format.dtype), format=type.format)


def _counted(n: int) -> tuple[Stream, Stream]:
    """The number of each tick modulo n, and whether it is the last one."""
    count = state(0)
    full = count == n - 1
    count.next = where(full, 0, count + 1)
    return count, full


def over_time(
    function: Callable[..., Any],
    *,
    reverse: bool = False,
    carry: bool = False,
    spread: bool = False,
) -> Callable[..., Any]:
    """A node along the first axis of its arguments, inside one tick: time in place of space.

    The node's memory starts afresh at each tick; with `carry` it goes on where the tick before left it. `reverse` runs from
    the last row to the first. Arguments are trees of streams with the same first length; results gain that axis. Inside,
    costates may form recurrences (but not across ticks, so not with `carry`). With `spread`, what no recurrence needs row by
    row leaves the loop as whole tensors (the product of all rows with a weight is one product): faster, for more memory.

    >>> import seiche as sc
    >>> @sc.node
    ... def total(x: sc.f32) -> sc.f32:
    ...     s = sc.state(0.0)
    ...     s.next = s + x
    ...     return s.next
    >>> @sc.node
    ... def prefix(x: sc.f32[3]) -> sc.f32[3]:
    ...     return sc.over_time(total)(x)
    >>> sc.compile(prefix).step([1.0, 2.0, 3.0]).tolist()
    [1.0, 3.0, 6.0]
    """
    if carry:
        from seiche.lang.iterators import carried

        if reverse:
            raise fail(
                "SE604",
                "memory that is carried to the next tick goes forward, not in reverse",
                trace.here(),
            )
        return carried(function)

    def run(*args: Any) -> Any:
        streams = tree.map_tree(lambda x: _flipped(as_stream(x), reverse), args)
        leaves, form = tree.flatten(streams)
        if not leaves or any(not s.shape for s in leaves) or len({s.shape[0] for s in leaves}) > 1:
            raise fail(
                "SE201", "over_time needs arguments with one common first length", trace.here(),
                *((f"`{s.var.name}` is {s.type}", s.var.loc) for s in leaves),
            )  # fmt: skip
        rows = form.unflatten([s.format[s.shape[1:]] for s in leaves])
        graph, outputs, shape = subgraph(name_of(function), "scan", function, rows)
        return tree.map_tree(
            lambda y: _flipped(y, reverse), shape.unflatten(_scan(graph, leaves, outputs, spread))
        )

    return run


def _flipped(x: Stream, reverse: bool) -> Stream:
    return x[::-1] if reverse else x


def _scan(graph: Graph, mapped: list[Stream], outputs: list[Var], spread: bool) -> list[Stream]:
    body = graph.finish(tuple(outputs))
    extent, owed = mapped[0].shape[0], len(graph.owed)
    context = trace.current()
    captured = [Stream(v, context.region) for v in graph.captured]
    home = trace.home_of((*mapped, *captured), context.region)
    args = tuple(trace.lift(s, context.region) for s in (*mapped, *captured))
    flags = (True,) * len(mapped) + (False,) * len(captured)
    target = context.region.graph
    kinds: tuple[OutKind, ...] = (*("stack" for _ in outputs), *("last" for _ in graph.owed))
    rhs = Scan(body, args, flags, kinds, extent)
    types = (
        *(v.type.format[(extent, *v.type.shape)] for v in outputs),
        *(d.cond.type for d in graph.owed),
    )
    outs = target.new_many(rhs, types, tuple(v.name for v in body.outputs), hidden=owed)
    for duty, out in zip(graph.owed, outs[len(outputs) :], strict=True):
        duties.leave(target, context.use, duty, out)
    if spread:
        whole = spreading.spread(Node(body.name, args, outs, [target.eqs.pop()]))
        target.eqs += whole.eqs
        target.checks += whole.checks
    return [Stream(v, home) for v in outs[: len(outputs)]]


def gather(x: Any, n: int) -> Any:
    """n ticks become one: streams of `[n, ...]` on the clock of every n-th tick; time becomes space.

    >>> import seiche as sc
    >>> @sc.node
    ... def pairs(x: sc.f32) -> sc.f32[2]:
    ...     return sc.gather(x, 2)
    >>> sc.compile(pairs).run([1.0, 2.0, 3.0, 4.0, 5.0]).values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise fail("SE601", f"gather takes a positive number of ticks, not {n!r}", trace.here())
    leaves, form = tree.flatten(tree.map_tree(as_stream, x))
    context = trace.current()
    with trace.within(
        replace(context, region=trace.home_of(tuple(leaves), context.region), pace=None)
    ):
        count, full = _counted(n)
        return form.unflatten([when(_rows(row, n, count), full) for row in leaves])


def _rows(row: Stream, n: int, count: Stream) -> Stream:
    """The last n ticks of a stream, the one of each tick at its number."""
    rows = _zeros(row.format[(n, *row.shape)])
    rows.next = update(rows, row, count)
    return rows.next
