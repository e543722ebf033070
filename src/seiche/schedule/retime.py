"""Latencies: at which physical tick each stream is computed, so that nothing is read before it exists.

    L(v) >= L(u) + d   for each dependence of v on u with offset d (fby -1, post +1, else 0)
    L(v) >= L(u) + extent - 1   where v leaves a frame as a "stream"          L(input) = 0, L >= 0
    L(v) >= L(u) + 1            where v = pipeline_register(u)

What lives on a clock `k` (a condition on the base clock) cannot be delayed by ticks of the base: everything on `k`, and on
clocks below it, has one latency, that of the delayed copy of `k` by which it is sampled. The least solution is a longest
path (Leiserson & Saxe 1991, "Retiming synchronous circuitry", with the delays chosen to make every weight causal).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from seiche.errors import Diagnostic, SeicheError, fail
from seiche.ir.clocks import Clocks, constants, show
from seiche.ir.core import Apply, Equation, Frame, Merge, Node, Post, Rhs, Var, operands
from seiche.ir.graph import dependences

Place: TypeAlias = Equation | Var
"""What has a latency of its own: an equation on the base clock, or (by its condition) a clock below the base."""


@dataclass(frozen=True, eq=False)
class Latencies:
    """`at` of each place; `of(var)` is the physical tick of a Var minus its logical tick."""

    node: Node
    clocks: Clocks
    fixed: set[Var]
    defs: dict[Var, Equation]
    at: dict[Place, int] = field(default_factory=dict["Place", int])

    def place(self, var: Var) -> Place | None:
        """Where a Var is computed; None for inputs and constants, which are there at once."""
        if var in self.fixed or var not in self.defs:
            return None
        eq = self.defs[var]
        clock = self.clocks[eq.rhs.until if isinstance(eq.rhs, Frame) else var]
        if clock:
            return clock[0][0]
        return eq.rhs.until if isinstance(eq.rhs, Frame) else eq

    def extra(self, var: Var) -> int:
        """How much later than its place a Var is there."""
        eq = self.defs.get(var)
        if eq is None or not isinstance(eq.rhs, Frame):
            return 0
        return eq.rhs.extent - 1 if eq.rhs.outs[eq.outs.index(var)] == "stream" else 0

    def of(self, var: Var) -> int:
        place = self.place(var)
        return 0 if place is None else self.at.get(place, 0) + self.extra(var)

    def of_equation(self, eq: Equation) -> int:
        """The latency at which an equation runs (of a frame: at which it collects)."""
        place = self.place(eq.outs[0])
        return 0 if place is None else self.at.get(place, 0)


@dataclass(frozen=True)
class Edge:
    """place >= of(var) + weight, because of `eq`."""

    var: Var
    place: Place
    weight: int
    eq: Equation


def latencies(node: Node, clocks: Clocks) -> Latencies:
    """The least latencies; raises SE303, SE403, SE603 or SE606 where there are none."""
    lat = Latencies(node, clocks, constants(node), node.definitions())
    _refuse_sub_clocks(node, clocks)
    edges = _edges(lat)
    reached_from: dict[Place, Edge] = {}
    readers: dict[Place | None, list[Edge]] = {}
    for edge in edges:
        readers.setdefault(lat.place(edge.var), []).append(edge)
    for eq in node.eqs:
        # Even of a constant: whether the segment closes is known a tick later.
        if isinstance(eq.rhs, Post) and lat.place(eq.out) is eq:
            lat.at[eq] = 1
    bound = sum(max(0, e.weight) + lat.extra(e.var) for e in edges) + 1
    todo: deque[Place | None] = deque(readers)
    while todo:
        for edge in readers.get(todo.popleft(), ()):
            least = lat.of(edge.var) + edge.weight
            if least > lat.at.get(edge.place, 0):
                lat.at[edge.place] = least
                reached_from[edge.place] = edge
                todo.append(edge.place)
                if least > bound:
                    raise _unbounded(lat, reached_from, edge)
    return lat


def _edges(lat: Latencies) -> list[Edge]:
    edges: list[Edge] = []
    for eq in lat.node.eqs:
        place = lat.place(eq.outs[0])
        if place is None:
            continue
        for var, offset in dependences(eq.rhs):
            if not lat.clocks[var] and var not in lat.fixed:
                weight = offset + is_register(eq.rhs) if place is eq else 0
                edges.append(Edge(var, place, weight, eq))
        if place is eq and isinstance(eq.rhs, Merge):
            # Read by its delayed copy, the one that samples both branches.
            edges += [Edge(v, place, 0, eq) for v in operands(eq.rhs) if lat.clocks[v]]
    for var in dict.fromkeys(cond for v in lat.defs for cond, _ in lat.clocks[v][:1]):
        samplers = [e for e in lat.node.eqs if lat.place(e.outs[0]) is var]
        if samplers:
            edges.append(Edge(var, var, 0, samplers[0]))
    return edges


def is_register(rhs: Rhs) -> bool:
    """Whether it is where a stage of a pipeline ends (`timespace.pipeline`)."""
    return isinstance(rhs, Apply) and rhs.op == "pipeline_register"


def _refuse_sub_clocks(node: Node, clocks: Clocks) -> None:
    """Look-ahead on a sub-clock would come back after an unbounded time."""
    faults: list[Diagnostic] = []
    for eq in node.eqs:
        var, clock = eq.outs[0], clocks[eq.rhs.until if isinstance(eq.rhs, Frame) else eq.outs[0]]
        streams = isinstance(eq.rhs, Frame) and "stream" in eq.rhs.outs
        if clock and is_register(eq.rhs):
            what = f"`{var.name}` ends a stage of a pipeline on the clock `{show(clock)}`"
            why = "the next stage would run at its next tick, any number of ticks of the base clock away"
            hint = "pipeline what runs at every tick, and sample its result"
            faults.append(Diagnostic("SE606", what, var.loc, ((why, clock[-1][0].loc),), hint))
        if clock and (isinstance(eq.rhs, Post) or streams):
            what = f"`{var.name}` looks ahead on the clock `{show(clock)}`"
            why = "its next tick may be any number of ticks of the base clock away, so that no latency bounds it"
            hint = "look ahead on the base clock and sample the result, or take the value out of a frame"
            faults.append(Diagnostic("SE303", what, var.loc, ((why, clock[-1][0].loc),), hint))
        if isinstance(eq.rhs, Frame) and eq.rhs.reset is not None and streams:
            what = f"`{var.name}` is a stream of a frame that a reset may discard"
            why = "ticks that the reset discards would have no value to return"
            hint = "close the frame with `until=` instead, or return the frame's last value"
            faults.append(Diagnostic("SE603", what, var.loc, ((why, eq.rhs.reset.loc),), hint))
    if faults:
        raise SeicheError(faults)


def _unbounded(lat: Latencies, reached_from: dict[Place, Edge], edge: Edge) -> SeicheError:
    """The cycle whose offsets sum to more than zero, hop by hop."""
    seen: list[Edge] = []
    while edge not in seen:
        seen.append(edge)
        place = lat.place(edge.var)
        assert place is not None
        edge = reached_from[place]
    cycle = seen[seen.index(edge) :]
    hops = [
        (
            f"`{e.eq.outs[0].name}` reads `{e.var.name}` {_offset(e.weight + lat.extra(e.var))}",
            e.eq.outs[0].loc,
        )
        for e in reversed(cycle)
    ]
    first = cycle[-1].eq.outs[0]
    if any(is_register(e.eq.rhs) for e in cycle):
        what = f"`{first.name}` carries back what a pipeline has not computed yet"
        hint = "a recurrence of n ticks has room for n registers: delay what it carries back, or keep it inside a stage"
        return fail("SE606", what, first.loc, *hops, hint=hint)
    if any(lat.extra(e.var) for e in cycle):
        what = f"`{first.name}` depends on what a frame returns to its ticks after it has closed"
        hint = "take what the next frame needs out of the frame as its first or last value"
        return fail("SE603", what, first.loc, *hops, hint=hint)
    hint = "put the recurrence into a frame: `with sc.frame(max=..., until=...)`"
    return fail("SE403", f"`{first.name}` depends on its own future", first.loc, *hops, hint=hint)


def _offset(weight: int) -> str:
    if weight == 0:
        return "at the same tick"
    return f"{abs(weight)} tick{'s' * (abs(weight) != 1)} {'ahead' if weight > 0 else 'back'}"
