"""Which device runs which equation, where a program's registers let parts of it run at once.

Within a tick, what reads each other must follow each other: such equations are one part, on one device. What reads a state of
the base clock does not wait for its next value; so a register is where parts meet, and its value travels between ticks.

    alike     constants, and what is small and reads no input (counters of ticks): repeated wherever it is read
    heavy     parts with a share of the work: divided, in the order of the program, into one run per device
    light     registers and moves: beside what reads them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from seiche.errors import fail
from seiche.ir.clocks import Clocks, conditions_of, constants
from seiche.ir.core import Equation, Fby, Node, Var, operands
from seiche.schedule.lower import Lowered
from seiche.timespace.pipeline import shares, work

ALIKE_WORK, ALIKE_SIZE = 64, 8
"""Operations and elements up to which an equation is repeated rather than sent."""

HEAVY_SHARE = 0.01
"""Of the work of a tick: parts with less are put beside their readers."""


@dataclass(frozen=True)
class Message:
    """The next value of a register, on its way to the device that holds it."""

    register: Equation
    value: Var
    source: int
    target: int


@dataclass(frozen=True)
class Stages:
    """`home[v]`: the device that computes a Var; those without one are repeated."""

    node: Node
    clocks: Clocks
    devices: int
    home: Mapping[Var, int]

    @cached_property
    def equations(self) -> tuple[frozenset[Equation], ...]:
        """What each device runs: its own equations, and what of the repeated ones they need."""
        defs = self.node.definitions()
        return tuple(frozenset(self._needed(d, defs)) for d in range(self.devices))

    def _needed(self, device: int, defs: dict[Var, Equation]) -> set[Equation]:
        todo = [eq.outs[0] for eq in self.node.eqs if self.home.get(eq.outs[0]) == device]
        todo += [v for v in self._owed if self.of(v) == device]
        found: set[Equation] = set()
        while todo:
            eq = defs.get(todo.pop())
            if eq is None or eq in found or self.home.get(eq.outs[0], device) != device:
                continue
            found.add(eq)
            todo += [*operands(eq.rhs), *conditions_of(eq, self.clocks)]
        return found

    @cached_property
    def _owed(self) -> list[Var]:
        return [*self.node.outputs, *(check.cond for check in self.node.checks)]

    def of(self, var: Var) -> int:
        """A device that has the Var at its tick."""
        return self.home.get(var, 0)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """One per register that another device feeds."""
        return tuple(
            Message(eq, eq.rhs.arg, self.home[eq.rhs.arg], self.home[eq.out])
            for eq in self.node.eqs
            if isinstance(eq.rhs, Fby)
            and eq.rhs.arg in self.home
            and self.home[eq.rhs.arg] != self.home[eq.out]
        )

    @cached_property
    def work(self) -> tuple[int, ...]:
        """Operations of each device at a tick, at most."""
        return tuple(sum(map(work, eqs)) for eqs in self.equations)


def stages_of(lowered: Lowered, devices: int) -> Stages:
    """The equations of a program on that many devices; raises SE904 where fewer parts can run at once."""
    node, clocks = lowered.node, lowered.clocks
    parts = _parts(node, clocks, _alike(lowered))
    total = sum(map(work, node.eqs))
    heavy = [p for p in parts if sum(map(work, p)) > HEAVY_SHARE * total]
    if len(heavy) < devices:
        what = f"`{node.name}` has {len(heavy)} stages of some weight, fewer than {devices} devices"
        raise fail("SE904", what, node.loc, hint="sc.pipeline puts registers between stages")
    ends = shares([sum(map(work, p)) for p in heavy], devices)
    home: dict[Var, int] = {}
    for k, part in enumerate(heavy):
        _settle(home, part, sum(end <= k for end in ends))
    _beside(home, [p for p in parts if p not in heavy], node)
    return Stages(node, clocks, devices, home)


def _settle(home: dict[Var, int], part: Iterable[Equation], device: int) -> None:
    home.update((out, device) for eq in part for out in eq.outs)


def _beside(home: dict[Var, int], parts: list[list[Equation]], node: Node) -> None:
    """Each part where it is read, else where it reads from."""
    readers: dict[Var, list[Var]] = {}
    for eq in node.eqs:
        for var in operands(eq.rhs):
            readers.setdefault(var, []).extend(eq.outs[:1])
    left = parts
    while left:
        waiting: list[list[Equation]] = []
        for part in left:
            near = [r for eq in part for out in eq.outs for r in readers.get(out, ())]
            near += [v for eq in part for v in operands(eq.rhs)]
            own = {out for eq in part for out in eq.outs}
            found = next((home[v] for v in near if v in home and v not in own), None)
            if found is None:
                waiting.append(part)
            else:
                _settle(home, part, found)
        if len(waiting) == len(left):
            _settle(home, waiting.pop(0), 0)
        left = waiting


def _parts(node: Node, clocks: Clocks, alike: set[Equation]) -> list[list[Equation]]:
    """Equations that follow each other within a tick, in the order of the program."""
    own = [eq for eq in node.eqs if eq not in alike]
    root = {out: eq.outs[0] for eq in own for out in eq.outs}

    def find(var: Var) -> Var:
        while root[var] is not var:
            root[var] = var = root[root[var]]
        return var

    for eq in own:
        for var in _same_tick(eq, clocks):
            if var in root:
                root[find(var)] = find(eq.outs[0])
    parts: dict[Var, list[Equation]] = {}
    for eq in own:
        parts.setdefault(find(eq.outs[0]), []).append(eq)
    return list(parts.values())


def _same_tick(eq: Equation, clocks: Clocks) -> list[Var]:
    """What an equation waits for. The next value of a state on a sub-clock stays with it."""
    read = [*operands(eq.rhs), *conditions_of(eq, clocks)]
    free = isinstance(eq.rhs, Fby) and not clocks[eq.out]
    return [v for v in read if not (free and v is eq.rhs.arg)] if isinstance(eq.rhs, Fby) else read


def _alike(lowered: Lowered) -> set[Equation]:
    """Constants, and what is small with all that it reads, now and at earlier ticks."""
    node = lowered.node
    fixed = constants(node)
    found = {eq for eq in node.eqs if fixed.issuperset(eq.outs) or _small(eq)}
    changed = True
    while changed:
        outs = {out for eq in found for out in eq.outs} | {lowered.ended}
        kept = {
            eq
            for eq in found
            if outs.issuperset((*operands(eq.rhs), *conditions_of(eq, lowered.clocks)))
        }
        changed, found = kept != found, kept
    return found


def _small(eq: Equation) -> bool:
    return work(eq) <= ALIKE_WORK and all(out.type.size <= ALIKE_SIZE for out in eq.outs)
