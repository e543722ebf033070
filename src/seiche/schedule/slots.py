"""The work of a slower clock, cut into slots: what each of the ticks that follow the clock's tick does of it.

    a scan        rows per slot, in the order of its sweep, as many slots as that takes
    all else      together in a slot, as much as the quota allows, in the order of the equations

A slot costs a quota of operations at most, where that can be: a row, and an equation that is no scan, are not cut. Slots follow each
other in a static order; each starts with what those before it left (`schedule.amortise`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from seiche.diff.checkpoint import way
from seiche.ir.clocks import Clock, Clocks, constants, infer
from seiche.ir.core import (
    Apply,
    Call,
    Equation,
    Fby,
    Lit,
    Node,
    Post,
    Scan,
    Var,
    When,
    operands,
)
from seiche.ir.op import OPS, Element
from seiche.schedule.counters import gap
from seiche.schedule.emit import Emitter
from seiche.schedule.pull import code_of, is_move, use_of

OPENING = 32
"""A memory of 1 / OPENING of the quota, in elements, is opened in a tick before: that is no operation, but takes time."""


@dataclass(frozen=True)
class Slot:
    """A step of the work: equations, or `rows` rows of the one scan among them at each of `ticks` ticks."""

    eqs: tuple[Equation, ...]
    ticks: int = 1
    rows: int | None = None


def cost(eq: Equation) -> int:
    """Operations of an equation."""
    if isinstance(eq.rhs, Apply):
        return OPS[eq.rhs.op].cost(use_of(eq.rhs, eq.out))
    if isinstance(eq.rhs, Scan):
        once, row = row_cost(eq.rhs)
        return once + eq.rhs.extent * row
    return 0


def row_cost(scan: Scan) -> tuple[int, int]:
    """Operations of what no row changes, and of a row."""
    fixed = {v for v, m in zip(scan.body.inputs, scan.mapped, strict=True) if not m}
    fixed.update(eq.out for eq in scan.body.eqs if isinstance(eq.rhs, Lit))
    once, row, left = 0, 0, list(scan.body.eqs)
    while True:
        new = [
            e
            for e in left
            if isinstance(e.rhs, Apply) and e.rhs.args and fixed.issuperset(e.rhs.args)
        ]
        if not new:
            break
        once += sum(map(cost, new))
        fixed.update(e.out for e in new)
        left = [e for e in left if e not in new]
    row = sum(map(cost, left))
    kept = zip(scan.body.outputs, scan.outs, strict=True)
    return once, row + sum(v.type.size for v, kind in kept if kind == "stack")


def is_free(eq: Equation) -> bool:
    """Whether a slot that reads it may as well compute it: a sample, or a view."""
    match eq.rhs:
        case When():
            return True
        case Apply() as rhs:
            code = code_of(rhs, eq.out)
            return is_move(rhs, eq.out) and isinstance(code, Element) and code.cheap
        case _:
            return False


def readers_of(node: Node) -> dict[Var, list[Equation]]:
    """The equations that read each Var; outputs and checks read as one."""
    outside = Equation((), Call(node, (*node.outputs, *(check.cond for check in node.checks))))
    found: dict[Var, list[Equation]] = {}
    for eq in (*node.eqs, outside):
        for var in dict.fromkeys(operands(eq.rhs)):
            found.setdefault(var, []).append(eq)
    return found


@dataclass(eq=False)
class Region:
    """What runs at the ticks of the base clock where `cond` is `on`: a part of a lowered node."""

    node: Node
    clocks: Clocks
    cond: Var
    on: bool

    def __post_init__(self) -> None:
        inside = {eq for eq in self.node.eqs if self.inside(eq.outs[0])}
        self.eqs = _settled([eq for eq in self.node.eqs if eq in inside], self.clocks)
        if len(self.eqs) != len(inside):
            outside = [eq for eq in self.node.eqs if eq not in inside]
            self.node = replace(self.node, eqs=[*outside, *self.eqs])
            self.clocks = infer(self.node)
        self.fixed = constants(self.node)
        self.defs = self.node.definitions()
        self.members = {out for eq in self.eqs for out in eq.outs}

    def inside(self, var: Var) -> bool:
        """Whether a Var is on the region's clock, or a slower one."""
        return self.clocks[var][:1] == ((self.cond, self.on),)

    def below(self, var: Var) -> Clock:
        """The clock of a Var within the region."""
        return self.clocks[var][1:]

    @cached_property
    def gap(self) -> int | None:
        """Ticks from one start of the work to the next, at least."""
        return gap(self.defs, self.cond) if self.on else None

    @cached_property
    def longest(self) -> int | None:
        """Ticks of a frame that is full: its gap, or the rows of its longest scan of a length that is known late."""
        late = [
            eq.rhs.extent
            for eq in self.eqs
            if isinstance(eq.rhs, Scan) and eq.rhs.length is not None
        ]
        return self.gap or max(late, default=None)

    @cached_property
    def entries(self) -> dict[Var, Equation]:
        """What is sampled from the base clock."""
        return {
            eq.out: eq
            for eq in self.eqs
            if isinstance(eq.rhs, When)
            and eq.rhs.cond is self.cond
            and len(self.clocks[eq.out]) == 1
        }

    @cached_property
    def states(self) -> dict[Var, Equation]:
        return {eq.out: eq for eq in self.eqs if isinstance(eq.rhs, Fby)}

    @cached_property
    def leaving(self) -> tuple[Var, ...]:
        """What is read outside of the region."""
        outer = [v for eq in self.node.eqs if not self.inside(eq.outs[0]) for v in operands(eq.rhs)]
        return tuple(dict.fromkeys(v for v in (*outer, *self.node.outputs) if v in self.members))

    @cached_property
    def checked(self) -> tuple[Var, ...]:
        return tuple(c.cond for c in self.node.checks if c.cond in self.members)

    @cached_property
    def units(self) -> tuple[Equation, ...]:
        """The equations that are placed in slots, each after those that it reads."""
        done: dict[Equation, None] = {}
        read = [*self.leaving, *self.checked]
        read += [eq.rhs.arg for eq in self.states.values() if isinstance(eq.rhs, Fby)]
        for var in read:
            self._visit(var, done)
        return tuple(done)

    def _visit(self, var: Var, done: dict[Equation, None]) -> None:
        todo = [var]
        while todo:
            eqs = self.made_by(todo[-1])
            waiting = [v for eq in eqs if eq not in done for v in self.reads(eq)]
            waiting = [v for v in waiting if any(e not in done for e in self.made_by(v))]
            if waiting:
                todo += waiting
                continue
            done.update(dict.fromkeys(eqs))
            todo.pop()

    def made_by(self, var: Var) -> tuple[Equation, ...]:
        """The units that a Var needs at its tick: its own, or through views those of what it shows."""
        if (
            var not in self.members
            or var in self.entries
            or var in self.states
            or var in self.fixed
        ):
            return () if var not in self.states else self._conditions(var)
        eq = self.defs[var]
        if not is_free(eq):
            return (eq,)
        return tuple(dict.fromkeys(u for v in self.reads(eq) for u in self.made_by(v)))

    def _conditions(self, var: Var) -> tuple[Equation, ...]:
        """A state of a slower clock is read where that is on."""
        conds = [cond for cond, _ in self.below(var)]
        return tuple(dict.fromkeys(u for v in conds for u in self.made_by(v)))

    def reads(self, eq: Equation) -> tuple[Var, ...]:
        """Operands, and the conditions of the clock within the region."""
        return (*operands(eq.rhs), *(cond for cond, _ in self.below(eq.outs[0])))

    def states_read(self, eq: Equation) -> Iterator[Var]:
        """The states of the region that an equation reads, through views too."""
        for var in self.reads(eq):
            if var in self.states:
                yield var
            elif var in self.members and var not in self.entries and is_free(self.defs[var]):
                yield from self.states_read(self.defs[var])

    @cached_property
    def needs(self) -> dict[Equation, set[Equation]]:
        """The units that each unit reads."""
        return {eq: {u for v in self.reads(eq) for u in self.made_by(v)} for eq in self.units}

    @cached_property
    def operations(self) -> int:
        return sum(map(cost, self.units))

    def slots(self, quota: int) -> tuple[Slot, ...]:
        """The slots of about `quota` operations."""
        return tuple(_Packing(self, quota).run())

    def ticks(self, quota: int) -> int:
        """How many ticks the whole work takes."""
        return sum(slot.ticks for slot in self.slots(quota))

    @cached_property
    def grain(self) -> tuple[int, Equation]:
        """The most operations that are not cut, and the equation."""

        def whole(eq: Equation) -> int:
            return sum(row_cost(eq.rhs)) if self.is_cut(eq) else cost(eq)  # type: ignore[arg-type]

        largest = max(self.units, key=whole)
        return whole(largest), largest

    def is_cut(self, eq: Equation) -> bool:
        """Whether it is a scan that can stop after any of its rows."""
        rhs = eq.rhs
        one_way = isinstance(rhs, Scan) and rhs.extent > 1 and way(rhs.body) != "both"
        return one_way and not self.below(eq.outs[0])


def _settled(eqs: list[Equation], clocks: Clocks) -> list[Equation]:
    """Resets of states as choices: a state is then its memory, whenever it is read."""
    b = Emitter()
    for eq in eqs:
        match eq.rhs:
            case Fby(Var() as init, arg, Var() as reset):
                b.serve(eq.out)
                memory = b.fby(init, arg, name=eq.out.name)
                b.decide(eq.out, reset, init, memory)
            case _:
                b.eqs.append(eq)
    return b.eqs


class _Packing:
    """Units in slots: each scan after what it needs, and at the end what no scan needs: little has to be kept meanwhile."""

    def __init__(self, region: Region, quota: int) -> None:
        self.region, self.quota = region, quota
        self.open: list[Equation] = []
        self.filled = 0

    def run(self) -> Iterator[Slot]:
        last: Slot | None = None
        for eq in self._ordered():
            rows = self._rows(eq)
            if self.open and (rows or self.filled + cost(eq) > self.quota):
                yield (last := self._closed())
            if rows:
                assert isinstance(eq.rhs, Scan)
                if self._opens_much(eq.rhs) and (last is None or last.rows is not None):
                    yield Slot(())
                yield (last := Slot((eq,), -(-eq.rhs.extent // rows), rows))
            else:
                self.open.append(eq)
                self.filled += cost(eq)
        if self.open:
            yield self._closed()

    def _closed(self) -> Slot:
        slot = Slot(tuple(self.open))
        self.open, self.filled = [], 0
        return slot

    def _ordered(self) -> Iterable[Equation]:
        """The units: before each scan that is cut those that it needs, then the others."""
        units, needed = self.region.units, self.region.needs
        order: dict[Equation, None] = {}
        for scan in filter(self._rows, units):
            above, todo = {scan}, [scan]
            while todo:
                fresh = needed[todo.pop()] - above
                above |= fresh
                todo += fresh
            order.update(dict.fromkeys(eq for eq in units if eq in above))
        return dict.fromkeys([*order, *units])

    def _opens_much(self, scan: Scan) -> bool:
        """Whether opening its memories takes a while, though no operation: then that is done in a tick before."""
        opened = sum(eq.out.type.size for eq in scan.body.eqs if isinstance(eq.rhs, Fby | Post))
        return opened * OPENING > self.quota

    def _rows(self, eq: Equation) -> int:
        """The rows per tick of a scan that does not fit into one; else 0."""
        if not self.region.is_cut(eq) or cost(eq) <= self.quota:
            return 0
        assert isinstance(eq.rhs, Scan)
        once, row = row_cost(eq.rhs)
        return max(1, min((self.quota - once) // max(row, 1), eq.rhs.extent - 1))
