"""Latencies: at which physical tick each stream is computed, so that nothing is read before it exists.

    L(v) >= L(u) + d   for each dependence of v on u with offset d (fby -1, post +1, else 0), and of v on its clock's conditions
    L(v) >= L(u) + extent - 1   where v leaves a frame as a "stream"          L(input) = 0, L >= 0
    L(v) >= L(u) + 1            where v = pipeline_register(u)

The least solution is a longest path (Leiserson & Saxe 1991, "Retiming synchronous circuitry", with the delays chosen to make
every weight causal). A value on a clock cannot be delayed but by way of the base (`Timeline.at`), which costs a copy per tick.
So equations on a clock that read one another are a part, and a part has one latency, that of the delayed copies of the conditions
by which it is sampled. Only where that has no solution (a part waits for a stream that waits for the part) parts are cut: into
what is recurrent, then into single equations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from seiche.errors import Diagnostic, SeicheError, fail
from seiche.ir.clocks import Clocks, conditions_of, constants, show
from seiche.ir.core import Apply, Equation, Frame, Node, Post, Rhs, Var, operands
from seiche.ir.graph import components, connected, dependences


@dataclass(eq=False)
class Latencies:
    """`at` of each part, named by an equation of it; `of(var)` is the physical tick of a Var minus its logical tick."""

    node: Node
    clocks: Clocks
    fixed: set[Var]
    defs: dict[Var, Equation]
    part: dict[Equation, Equation] = field(default_factory=dict["Equation", "Equation"])
    at: dict[Equation, int] = field(default_factory=dict["Equation", int])

    def extra(self, var: Var) -> int:
        """How much later than its equation a Var is there."""
        eq = self.defs.get(var)
        if eq is None or not isinstance(eq.rhs, Frame):
            return 0
        return eq.rhs.extent - 1 if eq.rhs.outs[eq.outs.index(var)] == "stream" else 0

    def of(self, var: Var) -> int:
        """Inputs and constants are there at once."""
        if var in self.fixed or var not in self.defs:
            return 0
        return self.of_equation(self.defs[var]) + self.extra(var)

    def of_equation(self, eq: Equation) -> int:
        """The latency at which an equation runs (of a frame: at which it collects)."""
        return self.at.get(self.part[eq], 0)


@dataclass(frozen=True)
class Edge:
    """The part of `eq` >= of(var) + weight."""

    var: Var
    weight: int
    eq: Equation


def latencies(node: Node, clocks: Clocks) -> Latencies:
    """The least latencies of the coarsest parts; raises SE303, SE403, SE603 or SE606 where there are none."""
    lat = Latencies(node, clocks, constants(node), node.definitions())
    _refuse_sub_clocks(node, clocks)
    edges = list(_edges(lat))
    parts = _joined(lat)
    while True:
        lat.part = {eq: part[0] for part in parts for eq in part}
        cycle = _solve(lat, edges)
        if cycle is None:
            return lat
        waiting = {lat.part[edge.eq] for edge in cycle}
        finer = [_cut(lat, part) if part[0] in waiting else [part] for part in parts]
        if len(finer) == sum(map(len, finer)):
            raise _unbounded(lat, cycle)
        parts = [part for cut in finer for part in cut]


def _solve(lat: Latencies, edges: list[Edge]) -> list[Edge] | None:
    """Sets the least latencies of the parts; or a cycle of edges that none satisfy."""
    # Even of a constant: whether the segment closes is known a tick later.
    lat.at = {eq: 1 for eq in lat.node.eqs if isinstance(eq.rhs, Post) and eq.out not in lat.fixed}
    reached_from: dict[Equation, Edge] = {}
    readers: dict[Equation | None, list[Edge]] = {}
    for edge in edges:
        read = lat.defs.get(edge.var)
        readers.setdefault(None if read is None else lat.part[read], []).append(edge)
    bound = sum(max(0, e.weight) + lat.extra(e.var) for e in edges) + 1
    todo: deque[Equation | None] = deque(readers)
    while todo:
        for edge in readers.get(todo.popleft(), ()):
            least, part = lat.of(edge.var) + edge.weight, lat.part[edge.eq]
            if least > lat.at.get(part, 0):
                lat.at[part] = least
                reached_from[part] = edge
                todo.append(part)
                if least > bound:
                    return _cycle(lat, reached_from, edge)
    return None


def _cycle(lat: Latencies, reached_from: dict[Equation, Edge], edge: Edge) -> list[Edge]:
    """The edges around which latencies rise without end, the last reader first."""
    seen: list[Edge] = []
    while edge not in seen:
        seen.append(edge)
        edge = reached_from[lat.part[lat.defs[edge.var]]]
    return seen[seen.index(edge) :]


def _edges(lat: Latencies) -> Iterator[Edge]:
    for eq in lat.node.eqs:
        if eq.outs[0] in lat.fixed:
            continue
        sampled = [(cond, 0) for cond in conditions_of(eq, lat.clocks)]
        for var, offset in (*dependences(eq.rhs), *sampled):
            if var not in lat.fixed:
                yield Edge(var, offset + is_register(eq.rhs), eq)


def _joined(lat: Latencies) -> list[list[Equation]]:
    """The coarsest parts: what reads one another on a clock below the base. A merge on the base reads both its branches at once."""
    pairs: list[tuple[Equation, Equation]] = []
    for eq in lat.node.eqs:
        on_base = not lat.clocks[eq.outs[0]] and not isinstance(eq.rhs, Frame)
        read = (*operands(eq.rhs), *conditions_of(eq, lat.clocks))
        slow = [lat.defs[v] for v in read if v in lat.defs and v not in lat.fixed and lat.clocks[v]]
        if on_base:
            pairs += pairwise(slow)
        else:
            pairs += ((eq, other) for other in slow)
    return connected(lat.node.eqs, pairs)


def _cut(lat: Latencies, part: list[Equation]) -> list[list[Equation]]:
    """The strongly connected components of a part; of one that is strongly connected its equations."""
    if len(part) == 1:
        return [part]
    conditions = {eq: conditions_of(eq, lat.clocks) for eq in part}
    cut = components(replace(lat.node, eqs=part), conditions)
    return cut if len(cut) > 1 else [[eq] for eq in part]


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


def _unbounded(lat: Latencies, cycle: list[Edge]) -> SeicheError:
    """The cycle whose offsets sum to more than zero, hop by hop."""
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
