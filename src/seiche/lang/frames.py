"""Frames and scans: where time has an end, so that costates may form a recurrence; and the way from time to space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.clocks import Free, find, infer
from seiche.ir.core import Equation, Frame, Node, OutKind, Scan, Var
from seiche.lang import trace
from seiche.lang.clocks import condition, when
from seiche.lang.functions import where
from seiche.lang.indexing import update
from seiche.lang.memory import state
from seiche.lang.node import subgraph
from seiche.lang.stream import Stream, as_stream
from seiche.lang.trace import Draft, Graph
from seiche.numbers.formats import Type


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

    def __init__(self, max: int, *, until: Stream | None = None, reset: Stream | None = None) -> None:
        from seiche.lang.memory import post

        if not isinstance(max, int) or isinstance(max, bool) or max < 1:
            raise fail(
                "SE601", f"a frame's maximum must be a positive integer, not {max!r}", trace.here(),
                hint="the buffers of a frame are sized before the program runs: sc.frame(max=128, ...)",
            )  # fmt: skip
        if until is not None and reset is not None:
            raise fail("SE601", "a frame is closed by `until` or opened by `reset`, not both", trace.here())
        self.max = max
        if reset is not None:
            until = post(condition(reset, "reset"), True)
        closes = _every(max) if until is None else condition(until, "until")
        context = trace.current()
        self._region = trace.home_of((closes,), context.region)
        self._closes = Stream(trace.lift(closes, context.region), self._region)
        outer = trace.ambient()
        var = None if outer is None else trace.lift(outer, context.region)
        graph = Graph(f"frame_{trace.here().line}", "frame", context.region, trace.here())
        self._draft = Draft(graph, max, self._closes.var, var)

    def __enter__(self) -> frame:
        context = trace.current()
        context.region.graph.frames.append(self._draft)
        inner = replace(context, region=self._draft.graph.root, reset=None)
        self._within = trace.within(inner)
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
        context = trace.current()
        with trace.within(replace(context, region=self._draft.graph.root, reset=None)):
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
            with trace.within(replace(trace.current(), region=inner)):
                var = trace.lift(as_stream(item), inner)
            return Stream(self._draft.export(var, kind), outer)

        return tree.map_tree(leaf, x)


def _running_sum(x: Stream) -> Stream:
    total = state(0.0 if x.format.is_float else 0, format=x.format) if not x.shape else _zeros(x.type)
    total.next = total + x
    return total.next


def _zeros(type: Type) -> Any:
    import numpy as np

    return state(np.zeros(type.shape, type.format.dtype), format=type.format)


def _every(n: int) -> Stream:
    """True at every n-th tick."""
    count = state(0)
    full = count == n - 1
    count.next = where(full, 0, count + 1)
    return full


def mapped_arguments(draft: Draft, args: tuple[Var, ...], graph: Graph) -> tuple[bool, ...]:
    """Which arguments of a frame are collected at each tick: those not on the frame's clock."""
    kinds = tuple(kind for _, kind in draft.exports)
    body = Node("", (), (), [])
    rhs = Frame(body, (), (), kinds, draft.extent, draft.until, draft.reset)
    eqs = [*graph.eqs, Equation(tuple(draft.exports.values()), rhs)]
    others = [d for d in graph.frames if d is not draft]
    eqs += [
        Equation(tuple(d.exports.values()), Frame(body, (), (), tuple(k for _, k in d.exports), d.extent, d.until, None))
        for d in others
        if d.exports and not any(eq.outs and eq.outs[0] in d.exports.values() for eq in graph.eqs)
    ]
    provisional = graph.resolved(Node("", tuple(graph.inputs), (), eqs))
    clocks = infer(provisional)
    until = graph.alias(draft.until)

    def slow(arg: Var) -> bool:
        term = clocks.terms.get(graph.alias(arg))
        if term is None or isinstance(find(term)[0], Free):
            return False
        return clocks[graph.alias(arg)] == (*clocks[until], (until, True))

    return tuple(not slow(arg) for arg in args)


def over_time(function: Callable[..., Any], *, reverse: bool = False) -> Callable[..., Any]:
    """A node along the first axis of its arguments, inside one tick: time in place of space.

    The node's memory starts afresh at each use. `reverse` runs from the last row to the first. Arguments are trees of
    streams with the same first length; results gain that axis. Inside, costates may form recurrences.

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

    def run(*args: Any) -> Any:
        streams = tree.map_tree(lambda x: _flipped(as_stream(x), reverse), args)
        leaves, form = tree.flatten(streams)
        if not leaves or any(not s.shape for s in leaves) or len({s.shape[0] for s in leaves}) > 1:
            raise fail(
                "SE201", "over_time needs arguments with one common first length", trace.here(),
                *((f"`{s.var.name}` is {s.type}", s.var.loc) for s in leaves),
            )  # fmt: skip
        rows = form.unflatten([s.format[s.shape[1:]] for s in leaves])
        name = getattr(function, "name", getattr(function, "__name__", "scan"))
        graph, outputs, shape = subgraph(name, "scan", function, rows)
        return tree.map_tree(lambda y: _flipped(y, reverse), shape.unflatten(_scan(graph, leaves, outputs)))

    return run


def _flipped(x: Stream, reverse: bool) -> Stream:
    return x[::-1] if reverse else x


def _scan(graph: Graph, mapped: list[Stream], outputs: list[Var]) -> list[Stream]:
    body = graph.finish(tuple(outputs))
    extent = mapped[0].shape[0]
    context = trace.current()
    captured = [Stream(v, context.region) for v in graph.captured]
    home = trace.home_of((*mapped, *captured), context.region)
    args = tuple(trace.lift(s, context.region) for s in (*mapped, *captured))
    flags = (True,) * len(mapped) + (False,) * len(captured)
    target = context.region.graph
    target.loc, target.scope = trace.here(), context.path
    rhs = Scan(body, args, flags, ("stack",) * len(outputs), extent)
    types = tuple(v.type.format[(extent, *v.type.shape)] for v in body.outputs)
    outs = target.define_many(rhs, types, tuple(v.name for v in body.outputs))
    return [Stream(v, home) for v in outs]


def gather(x: Any, n: int) -> Any:
    """n ticks become one: streams of `[n, ...]` on the clock of every n-th tick; time becomes space.

    >>> import seiche as sc
    >>> @sc.node
    ... def pairs(x: sc.f32) -> sc.f32[2]:
    ...     return sc.gather(x, 2)
    >>> sc.compile(pairs).run([1.0, 2.0, 3.0, 4.0, 5.0]).values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    import numpy as np

    if not isinstance(n, int) or n < 1:
        raise fail("SE601", f"gather takes a positive number of ticks, not {n!r}", trace.here())
    count = state(0)
    full = count == n - 1
    count.next = where(full, 0, count + 1)

    def leaf(item: Any) -> Stream:
        row = as_stream(item)
        rows = state(np.zeros((n, *row.shape), row.format.dtype), format=row.format)
        rows.next = update(rows, row, count)
        return when(rows.next, full)

    return tree.map_tree(leaf, x)


