"""The loop that is left of a block: one scan over its rows, with states that are carried from block to block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seiche.ir.clocks import Clock
from seiche.ir.core import Equation, Fby, Var, operands
from seiche.numbers.formats import Type, bool_
from seiche.timespace.opened import Opened

if TYPE_CHECKING:
    from seiche.timespace.rows import Blocks


class Body:
    """The body of a scan over the rows of a block: what it reads comes as rows, or is the same at all of them."""

    def __init__(self, blocks: Blocks, inside: set[Var]) -> None:
        self.blocks, self.inside = blocks, inside
        self.inputs: list[Var] = []
        self.args: list[Var] = []
        self.mapped: list[bool] = []
        self.eqs: list[Equation] = []
        self.known: set[Var] = set()
        self.last: list[Var] = []
        self.states: list[tuple[Var, Var | None, Var]] = []
        self._first: Var | None = None

    def add(self, eq: Equation) -> None:
        for var in operands(eq.rhs):
            self.read(var)
        for out in eq.outs:
            for cond, _ in self.blocks.parts.clocks[out]:
                self.read(cond)
        if isinstance(eq.rhs, Fby) and self.blocks.carried:
            self._state(eq.out, eq.rhs)
        else:
            self.eqs.append(eq)

    def read(self, var: Var) -> None:
        """A Var from outside becomes an input; a constant is repeated."""
        if var in self.inside or var in self.known:
            return
        self.known.add(var)
        part = self.blocks.parts.of.get(var)
        if part is not None and part.kind == "constant":
            for arg in operands(part.eqs[0].rhs):
                self.read(arg)
            self.eqs += part.eqs
            return
        if var in self.blocks.once:
            self._input(var, self.blocks.once[var], False)
        elif clock := self.blocks.parts.clocks[var]:
            self._sampled(var, clock)
        else:
            self._input(var, self.blocks.rows[var], True)

    def _sampled(self, var: Var, clock: Clock) -> None:
        """A Var of a sub-clock comes as `filled` rows."""
        b = Opened(var.loc, var.scope)
        arrived = b.declare(var.type, var.name)
        self._input(arrived, self.blocks.rows[var], True)
        for cond, on in clock:
            self.read(cond)
            arrived = b.when(arrived, cond, on)
        self.eqs += [Equation((var if e.out is arrived else e.out,), e.rhs) for e in b.eqs]

    def filled(self, var: Var) -> Var:
        """A Var at every row, for other loops: zero where its clock is off."""
        b = Opened(var.loc, var.scope)
        for cond, on in reversed(self.blocks.parts.clocks[var]):
            zero = b.lit(0, var.type, "zero")
            var = b.merge(cond, *((var, zero) if on else (zero, var)))
        self.eqs += b.eqs
        return var

    def _input(self, var: Var, arg: Var, mapped: bool) -> None:
        self.inputs.append(var)
        self.args.append(arg)
        self.mapped.append(mapped)

    def _state(self, out: Var, fby: Fby) -> None:
        """It opens with what the block before left; in the first block, with its own initial value."""
        b = Opened(out.loc, out.scope)
        carried = b.declare(out.type, out.name)
        given = self.blocks.b.declare(out.type, out.name)
        self._input(carried, given, False)
        init, start = fby.init, carried
        own = init is not None and init not in self.blocks.parts.fixed
        if init is not None and own:
            start = _where(b, self._first_block(), init, carried)
        if fby.reset is None:
            b.equation(out, Fby(start, fby.arg))
        else:
            opening = b.lit(0, out.type) if init is None else init
            _where(b, fby.reset, opening, b.fby(start, fby.arg, name=out.name))
            b.eqs[-1] = Equation((out,), b.eqs[-1].rhs)
        self.eqs += b.eqs
        self.states.append((given, None if own else init, fby.arg))
        if fby.arg in self.inside and fby.arg not in self.last:
            self.last.append(fby.arg)

    def _first_block(self) -> Var:
        if self._first is None:
            self._first = Var("first", Type(bool_))
            self._input(self._first, self.blocks.first(), False)
        return self._first

    def carry(self, lasts: dict[Var, Var]) -> None:
        """The states between blocks."""
        blocks = self.blocks
        for given, init, arg in self.states:
            blocks.b.loc, blocks.b.scope = given.loc, given.scope
            start = blocks.b.lit(0, given.type) if init is None else blocks.once[init]
            last = lasts[arg] if arg in lasts else blocks.row(arg, blocks.n - 1)
            blocks.b.equation(given, Fby(start, last))


def _where(b: Opened, cond: Var, yes: Var, no: Var) -> Var:
    shape = yes.type.shape
    return b.select(b.broadcast(cond, shape=shape) if shape else cond, yes, no)
