"""Stages of a model that run at once, each on another tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seiche.errors import fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.node import embed, name_of, subgraph
from seiche.lang.stream import Stream, apply, as_stream
from seiche.timespace.pipeline import pipelined

Stages = Sequence[Callable[..., Any]] | Callable[..., Any]


def pipeline(stages: Stages, n: int | None = None) -> Callable[..., Any]:
    """Stages that run at once, each on another tick: equal to one after the other, in bits, n - 1 ticks later.

    `stages` is a list of functions or nodes, each of which takes what the one before returns (the items of a tuple as several
    arguments); or one function, which is cut into `n` stages of nearly equal work. Between stages lies a register. The
    latency is inferred and reported like that of any look-ahead: `run` aligns results with inputs, memory inside
    a stage opens at its own first tick, and streams that a later stage takes from around wait for it. On XLA,
    `compile(..., devices=n)` runs the stages on devices of their own.

    Derivatives are those of the stages one after the other; cotangents pass the registers too, so that their latency is
    another n - 1. Raises SE606 for a stage on a sub-clock, for a recurrence too short for the registers on it, and where a
    function has too few parts.

    >>> import seiche as sc
    >>> @sc.node
    ... def total(x: sc.f32) -> sc.f32:
    ...     s = sc.state(0.0)
    ...     s.next = s + x
    ...     return s.next
    >>> @sc.node
    ... def twice_summed(x: sc.f32) -> sc.f32:
    ...     return sc.pipeline([total, total])(x)
    >>> program = sc.compile(twice_summed)
    >>> program.run([1.0, 1.0, 1.0]).tolist(), program.latency
    ([1.0, 3.0, 6.0], 1)
    """
    if callable(stages):
        return _cut(stages, n)
    functions = list(stages)
    if not functions or n not in (None, len(functions)):
        count = (
            "one stage or more" if not functions else f"{n} stages, and was given {len(functions)}"
        )
        raise fail("SE606", f"pipeline takes {count}", trace.here())

    def run(*args: Any) -> Any:
        result = functions[0](*args)
        for stage in functions[1:]:
            held = tree.map_tree(_register, result)
            result = stage(*held) if isinstance(held, tuple) else stage(held)
        return result

    return run


def _register(x: Any) -> Stream:
    return apply("pipeline_register", as_stream(x))


def _cut(function: Callable[..., Any], n: int | None) -> Callable[..., Any]:
    """A function as n stages."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise fail(
            "SE606", f"pipeline cuts a function into a number of stages, not {n!r}", trace.here()
        )

    def run(*args: Any) -> Any:
        leaves, form = tree.flatten(tree.map_tree(as_stream, args))
        types = form.unflatten([s.type for s in leaves])
        names = [s.var.name for s in leaves]
        graph, outputs, shape = subgraph(name_of(function), "function", function, types, names)
        node = pipelined(graph.finish(tuple(outputs)), n)
        return shape.unflatten(embed(node, leaves, tuple(graph.captured)))

    return run
