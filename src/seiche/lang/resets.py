"""Resets of memories, attached when all clocks are known: a reset waits for the next tick of the memory that it opens."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from seiche.ir.clocks import Clock, Clocks
from seiche.ir.core import Equation, Fby, Frame, OutKind, Post, Var, When, copy, live

if TYPE_CHECKING:
    from seiche.lang.trace import Graph, Region


def attach(graph: Graph) -> None:
    """Gives each memory of a graph its resets; those of constants alone the clock of their region."""
    if not graph.resets and all(region.cond is None for _, region in graph.memories):
        return
    clocks, loose = graph.clocks_and_loose()
    latches = Latches(graph, clocks)
    for i, eq in enumerate(list(graph.eqs)):
        if not isinstance(eq.rhs, Fby | Post | Frame) or not eq.outs:
            continue
        clock = clocks[graph.alias(eq.rhs.until if isinstance(eq.rhs, Frame) else eq.out)]
        reset = latches.joined(eq.rhs.reset, graph.resets.get(eq.outs[0], ()), clock)
        if reset is None and eq.outs[0] in loose:
            reset = anchor(graph, loose[eq.outs[0]])
        if reset is not eq.rhs.reset:
            first, *more = _under(graph, Equation(eq.outs, replace(eq.rhs, reset=reset)))
            graph.eqs[i] = first
            graph.eqs += more


@dataclass
class Latches:
    """What has been built for the resets of a graph, each once."""

    graph: Graph
    clocks: Clocks
    kept: dict[tuple[Var, Var, bool], Var] = field(
        default_factory=dict[tuple["Var", "Var", bool], "Var"]
    )
    either: dict[tuple[Var, Var], Var] = field(default_factory=dict[tuple["Var", "Var"], "Var"])

    def joined(self, own: Var | None, others: Sequence[Var], clock: Clock) -> Var | None:
        """One reset, on a memory's clock."""
        causes = dict.fromkeys(
            [*(() if own is None else (own,)), *(self.down(r, clock) for r in others)]
        )
        return functools.reduce(self._or, causes) if causes else None

    def down(self, reset: Var, slow: Clock) -> Var:
        """A reset at the ticks of a slower clock."""
        fast = self.clocks[self.graph.alias(reset)]
        for cond, on in slow[len(fast) :] if slow[: len(fast)] == fast else ():
            key = (reset, cond, on)
            if key not in self.kept:
                self.kept[key] = _latch(self.graph, reset, cond, on)
            reset = self.kept[key]
        return reset

    def _or(self, a: Var, b: Var) -> Var:
        if (a, b) not in self.either:
            self.graph.loc, self.graph.scope = b.loc, b.scope
            self.either[a, b] = self.graph.apply("logical_or", a, b)
        return self.either[a, b]


def _latch(graph: Graph, reset: Var, cond: Var, on: bool) -> Var:
    """A reset kept until the next tick of the sub-clock where `cond` is `on`, seen there."""
    graph.loc, graph.scope = reset.loc, reset.scope
    waiting = Var("waiting", reset.type, reset.loc, reset.scope)
    seen = graph.apply("logical_or", reset, waiting)
    absent = graph.apply("logical_not", cond) if on else cond
    keep = graph.apply("logical_and", seen, absent)
    never = graph.lit(False, reset.type, "never")
    graph.eqs.append(Equation((waiting,), Fby(never, keep)))
    return graph.define(When(seen, cond, on), reset.type, reset.name)


def anchor(graph: Graph, region: Region) -> Var:
    """A reset that never comes, on the clock of a region: it says on which clock a memory of constants is."""
    if region.anchor is None:
        assert region.cond is not None
        graph.loc, graph.scope = region.cond.loc, region.cond.scope
        never = graph.lit(False, region.cond.type, "never")
        region.anchor = graph.define(When(never, region.cond, region.on), never.type, "never")
    return region.anchor


def _under(graph: Graph, eq: Equation) -> list[Equation]:
    """An equation with a reset. What a frame's reset discards must still return to its ticks where it leaves as a stream:
    by a frame of its own, which closes just before the reset. (Its parameters would be missing then: SE603 without it.)
    """
    frame = eq.rhs
    if (
        not isinstance(frame, Frame)
        or "stream" not in frame.outs
        or not all(frame.mapped)
        or frame.reset is None
    ):
        return [eq]
    graph.loc, graph.scope = frame.until.loc, frame.until.scope
    soon = graph.post(frame.reset, graph.lit(False, frame.reset.type, "never"))
    early = replace(frame, until=graph.apply("logical_or", frame.until, soon), reset=None)
    late = replace(frame, body=copy(replace(frame.body, checks=()))[0])
    slow: tuple[OutKind, ...] = ("stack", "first", "last")
    parts = (_part(eq.outs, early, ("stream",)), _part(eq.outs, late, slow))
    return [part for part in parts if part.outs]


def _part(outs: tuple[Var, ...], whole: Frame, kinds: tuple[OutKind, ...]) -> Equation:
    """A frame with its results of some kinds."""
    kept = [k for k, kind in enumerate(whole.outs) if kind in kinds]
    body = live(replace(whole.body, outputs=tuple(whole.body.outputs[k] for k in kept)))
    rhs = replace(whole, body=body, outs=tuple(whole.outs[k] for k in kept))
    return Equation(tuple(outs[k] for k in kept), rhs)
