"""Sweeps: the equations of a lowered node or body, as passes over its ticks (rows), forward and backward in turn.

The rule of causality gives every strongly connected component of the equations one direction (all its cycles are negative,
or all positive); a lone `Fby` runs forward, a lone `Post` backward, all else either way. A component can join the sweep of
what it reads, or a later one. Giving each the earliest sweep of its direction is optimal in their number, for a given first
direction (loop distribution and fusion, Kennedy & McKinley 1993, with two kinds of loops); both first directions are tried.

Afterwards, what runs either way moves to a later sweep where that makes fewer bytes cross from sweep to sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seiche.errors import InternalError
from seiche.ir.clocks import Clock, Clocks, conditions_of, infer
from seiche.ir.core import Equation, Fby, Lit, Node, Post, Var, operands
from seiche.ir.graph import components, dependences

Component = list[Equation]

DEPTH_MAX = 32
"""Equations of the longest chain that is weighed as a whole."""


@dataclass(frozen=True)
class Sweep:
    """Equations in an order in which each tick can run them."""

    reverse: bool
    eqs: tuple[Equation, ...]


def sweeps(node: Node, clocks: Clocks | None = None) -> list[Sweep]:
    """The fewest alternating sweeps of a node without Frames and Calls."""
    clocks = clocks or infer(node)
    conditions = {eq: conditions_of(eq, clocks) for eq in node.eqs}
    parts = components(node, conditions)
    reads = {eq: (*operands(eq.rhs), *conditions[eq]) for eq in node.eqs}
    start, levels = min(
        ((first, _levels(parts, reads, first)) for first in (False, True)),
        key=lambda choice: max(choice[1], default=0),
    )
    levels = _later(parts, levels, reads, set(node.inputs))
    found: list[Sweep] = []
    for level in range(max(levels, default=0) + 1):
        eqs = [eq for part, at in zip(parts, levels, strict=True) if at == level for eq in part]
        found.append(Sweep(start ^ bool(level % 2), _ordered(eqs, clocks, conditions)))
    return found


def crossing(found: Sequence[Sweep], node: Node) -> set[Var]:
    """The Vars that a later sweep reads: they need a row per tick. Literals and inputs are there anyway."""
    clocks = infer(node)
    level = {out: k for k, sweep in enumerate(found) for eq in sweep.eqs for out in eq.outs}
    literal = {eq.out for eq in node.eqs if isinstance(eq.rhs, Lit)}
    return {
        var
        for k, sweep in enumerate(found)
        for eq in sweep.eqs
        for var in (*operands(eq.rhs), *conditions_of(eq, clocks))
        if var not in literal and level.get(var, k) < k
    }


def _direction(part: Component) -> bool | None:
    """True for backward, False for forward, None for either."""
    forward = any(isinstance(eq.rhs, Fby) for eq in part)
    backward = any(isinstance(eq.rhs, Post) for eq in part)
    if forward and backward:
        names = ", ".join(eq.outs[0].name for eq in part)
        raise InternalError(f"one component with states and costates in it: {names}")
    return backward if forward or backward else None


def _levels(
    parts: list[Component], reads: dict[Equation, tuple[Var, ...]], first: bool
) -> list[int]:
    """The earliest sweep of each component, when sweep 0 runs backward (`first`) or forward."""
    level_of: dict[Var, int] = {}
    levels: list[int] = []
    for part in parts:
        level = max((level_of.get(v, 0) for eq in part for v in reads[eq]), default=0)
        direction = _direction(part)
        if direction is not None and (first ^ bool(level % 2)) != direction:
            level += 1
        levels.append(level)
        level_of.update((out, level) for eq in part for out in eq.outs)
    return levels


def _later(
    parts: list[Component],
    levels: list[int],
    reads: dict[Equation, tuple[Var, ...]],
    free: set[Var],
) -> list[int]:
    """Levels after moving neutral equations to their first readers, where no more bytes cross than before."""
    moving = _Moving(parts, list(levels), reads, free)
    for k in reversed(range(len(parts))):
        moving.visit(k)
    return moving.levels


class _Moving:
    """Components are visited readers first; `last_read` and `first_read` are the sweeps of the readers seen so far."""

    def __init__(
        self,
        parts: list[Component],
        levels: list[int],
        reads: dict[Equation, tuple[Var, ...]],
        free: set[Var],
    ) -> None:
        self.parts, self.levels, self.free = parts, levels, free
        self.place = {out: k for k, part in enumerate(parts) for eq in part for out in eq.outs}
        self.reads = [list(dict.fromkeys(v for eq in part for v in reads[eq])) for part in parts]
        self.unseen: dict[Var, int] = {}
        for var in (v for read in self.reads for v in read):
            self.unseen[var] = self.unseen.get(var, 0) + 1
        self.last_read: dict[Var, int] = {}
        self.first_read: dict[Var, int] = {}

    def visit(self, k: int) -> None:
        outs = [out for eq in self.parts[k] for out in eq.outs]
        target = min((self.first_read[v] for v in outs if v in self.first_read), default=0)
        if target > self.levels[k] and self.neutral(k):
            saved = sum(v.type.nbytes for v in outs if self.last_read.get(v, -1) == target)
            if sum(self.cost(v, target) for v in self.reads[k]) <= saved:
                self.levels[k] = target
        for var in self.reads[k]:
            self.last_read[var] = max(self.levels[k], self.last_read.get(var, 0))
            self.first_read[var] = min(self.levels[k], self.first_read.get(var, self.levels[k]))
            self.unseen[var] -= 1

    def neutral(self, k: int) -> bool:
        return len(self.parts[k]) == 1 and _direction(self.parts[k]) is None

    def cost(self, var: Var, level: int, depth: int = 0) -> int:
        """Bytes that begin to cross when a Var is read at `level`: its own, or those of what it is computed from there."""
        k = self.place.get(var)
        if var in self.free or k is None or isinstance(self.parts[k][0].rhs, Lit):
            return 0
        if self.levels[k] >= level or self.last_read.get(var, -1) >= level:
            return 0
        # It can move too if its other readers have been seen and are that late.
        follows = self.unseen[var] <= 1 and self.first_read.get(var, level) >= level
        if not (follows and self.neutral(k) and depth < DEPTH_MAX):
            return var.type.nbytes
        return min(var.type.nbytes, sum(self.cost(v, level, depth + 1) for v in self.reads[k]))


def _ordered(
    eqs: list[Equation], clocks: Clocks, conditions: dict[Equation, tuple[Var, ...]]
) -> tuple[Equation, ...]:
    """An order by the dependences within a tick: equations of one clock side by side, old values read before new ones made."""
    here = {out: eq for eq in eqs for out in eq.outs}
    waits = {eq: _same_tick(eq, here, conditions[eq]) for eq in eqs}
    readers: dict[Equation, list[Equation]] = {eq: [] for eq in eqs}
    for eq, before in waits.items():
        for other in before:
            readers[other].append(eq)
    # `old[eq]`: equations that read the state whose next value eq defines.
    old: dict[Equation, set[Equation]] = {eq: set() for eq in eqs}
    for eq in eqs:
        if isinstance(eq.rhs, Fby | Post) and eq.rhs.arg in here:
            maker = here[eq.rhs.arg]
            old[maker].update(e for e in readers[eq] if e is not maker)
    at = {eq: clocks[eq.outs[0]] for eq in eqs}
    done = _listed(eqs, {eq: len(before) for eq, before in waits.items()}, readers, old, at)
    if len(done) != len(eqs):
        left = ", ".join(str(eq.outs[0]) for eq in eqs if eq not in set(done))
        raise InternalError(f"equations that wait for each other: {left}")
    return tuple(done)


def _same_tick(eq: Equation, here: dict[Var, Equation], conditions: Iterable[Var]) -> set[Equation]:
    """The equations of this sweep that must run before this one at the same tick."""
    now = [v for v, offset in dependences(eq.rhs) if offset == 0]
    return {here[v] for v in (*now, *conditions) if v in here}


def _listed(
    eqs: list[Equation],
    missing: dict[Equation, int],
    readers: dict[Equation, list[Equation]],
    old: dict[Equation, set[Equation]],
    clock: dict[Equation, Clock],
) -> list[Equation]:
    """List scheduling: literals first; then, of what is ready, what destroys no old value, the clock at hand, the given order.

    `missing` counts the equations that each still waits for.
    """
    place = {eq: i for i, eq in enumerate(eqs)}
    unread = {eq: len(readers) for eq, readers in old.items()}
    makers: dict[Equation, list[Equation]] = {}
    for maker, before in old.items():
        for eq in before:
            makers.setdefault(eq, []).append(maker)
    done: list[Equation] = []
    ready: set[Equation] = set()
    current: list[Clock] = [()]

    def rank(eq: Equation) -> tuple[bool, bool, int]:
        return unread[eq] > 0, clock[eq] != current[0], place[eq]

    def finish(eq: Equation) -> None:
        done.append(eq)
        for maker in makers.get(eq, ()):
            unread[maker] -= 1
        for reader in readers[eq]:
            missing[reader] -= 1
            if not missing[reader]:
                ready.add(reader)

    ready.update(eq for eq in eqs if not missing[eq] and not isinstance(eq.rhs, Lit))
    for eq in eqs:
        if isinstance(eq.rhs, Lit):
            finish(eq)
    while ready:
        eq = min(ready, key=rank)
        ready.remove(eq)
        current[0] = clock[eq]
        finish(eq)
    return done
