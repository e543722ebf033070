"""Causality: each strongly connected component is swept in one direction.

    y(t) reads x(t + d):   y = fby(i, x): d = -1     y = post(x, f): d = +1     all else: d = 0
                           a "stream" of a frame of at most N ticks: d <= N - 1

    all cycles of a component have a negative sum:  forward        all positive:  backward, over rows only (SE403)
    a cycle of sum 0:  SE401                                       both signs, or a frame's own future:  SE402
    what runs on a clock reads its conditions, d = 0

A component of both signs has closed walks of sum 0, which no order of evaluation serves (Karp, Miller & Winograd 1967, "The
organization of computations for uniform recurrence equations"); negative cycles alone are the causality of Lustre
(Cuoq & Pouzet 2001, "Modular causality in a synchronous stream language"). Across clocks the order is lexicographic: frames
and scans are atoms here, the cycles of their bodies are judged there. A cycle that looks both ways does so on one clock: ticks
of another are no measure of how far (SE402).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seiche.check import cycles
from seiche.check.facts import Component, Place, Why, named
from seiche.errors import Diagnostic, Loc
from seiche.ir.clocks import Clocks, conditions_of, show
from seiche.ir.core import Apply, Equation, Fby, Frame, Node, Post, Var, operands
from seiche.ir.graph import components, dependences, is_cyclic


def check(
    node: Node, place: Place, clocks: Clocks
) -> tuple[tuple[Component, ...], list[Diagnostic]]:
    """The components, dependencies first, and SE401, SE402, SE403: one per component, with a shortest cycle."""
    conditions = {eq: conditions_of(eq, clocks) for eq in node.eqs}
    found: list[Component] = []
    faults: list[Diagnostic] = []
    for eqs in components(node, conditions):
        component, fault = _judge(eqs, place, clocks)
        found.append(component)
        faults += [fault] if fault else []
    return tuple(found), faults


@dataclass(frozen=True)
class _Graph:
    """The dependences inside of a component: who reads whom, how many ticks away, and by which equation."""

    reads: Mapping[Var, Sequence[tuple[Var, int]]]
    by: Mapping[Var, Equation]
    streams: frozenset[Var]

    def sum(self, cycle: list[Var]) -> int:
        return sum(self.offset(v, u) for v, u in _hops(cycle))

    def offset(self, reader: Var, read: Var) -> int:
        """Of the edge that matters: the latest where several join the two."""
        return max(w for u, w in self.reads[reader] if u is read)


def _graph(eqs: list[Equation], clocks: Clocks) -> _Graph:
    by = {out: eq for eq in eqs for out in eq.outs}
    reads: dict[Var, list[tuple[Var, int]]] = {}
    streams: set[Var] = set()
    for eq in eqs:
        for i, out in enumerate(eq.outs):
            ahead = 0
            if isinstance(eq.rhs, Frame) and eq.rhs.outs[i] == "stream":
                ahead = eq.rhs.extent - 1
                streams.add(out)
            sampled = [(v, 0) for v in conditions_of(eq, clocks)]
            reads[out] = [(v, d + ahead) for v, d in (*dependences(eq.rhs), *sampled) if v in by]
    return _Graph(reads, by, frozenset(streams))


def _judge(
    eqs: list[Equation], place: Place, clocks: Clocks
) -> tuple[Component, Diagnostic | None]:
    vars = tuple(out for eq in eqs for out in eq.outs)
    if not is_cyclic(eqs):
        return Component(vars, "none"), None
    graph = _graph(eqs, clocks)
    if cycles.all_negative(graph.reads):
        fault = _several_clocks(eqs, clocks) if place == "rows" else None
        return Component(vars, "forward"), fault
    if cycles.all_negative(cycles.negated(graph.reads)):
        fault = _several_clocks(eqs, clocks) if place == "rows" else _all_positive(graph)
        return Component(vars, "backward"), fault
    return Component(vars, "none"), _mixed(graph)


def _mixed(graph: _Graph) -> Diagnostic:
    """A component that has neither sign alone."""
    cycle = cycles.shortest_zero(graph.reads)
    if cycle is None:
        ahead = cycles.shortest_positive(graph.reads)
        back = cycles.shortest_positive(cycles.negated(graph.reads))
        if ahead and back:
            return (
                _own_future(graph, ahead)
                if graph.streams & set(ahead)
                else _both(graph, ahead, back)
            )
        one_sign = cycles.negated(graph.reads) if ahead else graph.reads
        cycle = cycles.shortest_balanced(one_sign)
    assert cycle is not None, "a component with cycles of no sign"
    return _own_future(graph, cycle) if graph.streams & set(cycle) else _instantaneous(graph, cycle)


def _several_clocks(eqs: list[Equation], clocks: Clocks) -> Diagnostic | None:
    """Of rows: where a component looks both ways, it counts the ticks of one clock, and the rest of it is there or below."""
    back = [eq.out for eq in eqs if isinstance(eq.rhs, Fby)]
    ahead = [eq.out for eq in eqs if isinstance(eq.rhs, Post)]
    if not back or not ahead:
        return None
    clock = clocks[ahead[0]]
    delayed = {*back, *ahead}
    off = [
        out
        for eq in eqs
        for out in eq.outs
        if (clocks[out] != clock if out in delayed else clocks[out][: len(clock)] != clock)
    ]
    if not off:
        return None
    what = f"{named(ahead[0])} looks ahead on the clock `{show(clock)}`, and {named(off[0])}, on the same cycle, is on `{show(clocks[off[0]])}`"
    why = (
        (
            "whether the cycle looks further back than ahead depends on the clocks' values",
            off[0].loc,
        ),
    )
    hint = "let all delays of the cycle run on one clock: sample before the cycle, and hold what leaves it"
    return Diagnostic("SE402", what, ahead[0].loc, why, hint)


def _instantaneous(graph: _Graph, cycle: list[Var]) -> Diagnostic:
    cycle = _turned(graph, cycle)
    cancel = any(graph.offset(v, u) for v, u in _hops(cycle))
    what = f"{named(cycle[0])} depends on itself at the same tick"
    what += ": the steps back and ahead cancel" if cancel else ""
    why = _told(graph, cycle)
    hint = "a delay on the cycle makes it a recurrence: sc.fby(0.0, x), or a state read before its .next"
    return Diagnostic("SE401", what, cycle[0].loc, why, hint)


def _both(graph: _Graph, ahead: list[Var], back: list[Var]) -> Diagnostic:
    ahead, back = _turned(graph, ahead), _turned(graph, back)
    what = f"{named(ahead[0])} needs its own future, and {named(back[0])}, which it depends on, needs its past"
    why = (
        (f"this cycle goes {_ticks(graph.sum(ahead))}:", None),
        *_told(graph, ahead),
        (f"and this one goes {_ticks(graph.sum(back))}:", None),
        *_told(graph, back),
    )
    hint = "sweep the one backward inside a frame, and carry the other from frame to frame: a state outside of the frame"
    return Diagnostic("SE402", what, ahead[0].loc, why, hint)


def _own_future(graph: _Graph, cycle: list[Var]) -> Diagnostic:
    cycle = _turned(graph, cycle, first=graph.streams)
    what = f"the frame that gives {named(cycle[0])} needs it to begin with"
    why = _told(graph, cycle)
    hint = "a stream of a frame is known when the frame is over: use a slow result (fr.last, fr.sum) through a state"
    return Diagnostic("SE402", what, cycle[0].loc, why, hint)


def _all_positive(graph: _Graph) -> Diagnostic:
    cycle = cycles.shortest_positive(graph.reads)
    assert cycle is not None
    if graph.streams & set(cycle):
        return _own_future(graph, cycle)
    cycle = _turned(graph, cycle)
    what = f"the costate {named(cycle[0])} comes from an end of input that a device never sees"
    why = _told(graph, cycle)
    hint = "bound it by a frame: `with sc.frame(max=128, until=...):`, or run it over rows with sc.over_time"
    return Diagnostic("SE403", what, cycle[0].loc, why, hint)


# ------------------------------------------------------------------------------------- cycles as text


def _hops(cycle: list[Var]) -> list[tuple[Var, Var]]:
    return list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))


def _turned(graph: _Graph, cycle: list[Var], first: frozenset[Var] = frozenset()) -> list[Var]:
    """The cycle from a Var of `first`, else a delay, else its earliest line; the order of equations decides ties."""
    place = {v: i for i, v in enumerate(graph.by)}

    def rank(hop: tuple[Var, Var]) -> tuple[bool, bool, str, int, int]:
        v, u = hop
        return (v not in first, graph.offset(v, u) == 0, v.loc.file, v.loc.line, place[v])

    at = cycle.index(min(_hops(cycle), key=rank)[0])
    return cycle[at:] + cycle[:at]


def _told(graph: _Graph, cycle: list[Var]) -> Why:
    """A line per hop; hops of one source line at one tick are told as one."""
    runs: list[list[tuple[Var, Var]]] = []
    for hop in _hops(cycle):
        if runs and _joins(graph, runs[-1][-1], hop):
            runs[-1].append(hop)
        else:
            runs.append([hop])
    return tuple(_hop(graph, run) for run in runs)


def _joins(graph: _Graph, before: tuple[Var, Var], hop: tuple[Var, Var]) -> bool:
    same = before[0].loc == hop[0].loc and before[0].scope == hop[0].scope and hop[0].loc.line > 0
    return same and graph.offset(*before) == 0 == graph.offset(*hop)


def _hop(graph: _Graph, run: list[tuple[Var, Var]]) -> tuple[str, Loc | None]:
    reader, read = run[0][0], run[-1][1]
    forms = ", ".join(_form(graph.by[v], u) for v, u in run)
    when = "at the same tick"
    if reader in graph.streams:
        when = f"up to {graph.offset(reader, read)} ticks ahead, at the end of its frame"
    elif offset := graph.offset(*run[0]):
        when = f"of the {'previous' if offset < 0 else 'next'} tick"
    return f"{named(reader)} reads {named(read)} {when} ({forms})", reader.loc


def _form(eq: Equation, read: Var) -> str:
    match eq.rhs:
        case Apply(op=op):
            return op
        case Fby(arg=arg):
            return "fby" if read is arg else "the first value or reset of fby"
        case Post(arg=arg):
            return "post" if read is arg else "the final value or reset of post"
        case _ if read not in operands(eq.rhs):
            return "its clock"
        case _:
            return type(eq.rhs).__name__.lower()


def _ticks(sum_: int) -> str:
    count = f"{abs(sum_)} tick{'s' * (abs(sum_) != 1)}"
    return f"{count} {'ahead' if sum_ > 0 else 'back'} on each round"
