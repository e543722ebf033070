"""Delays against the direction of their component, taken out of bodies: each reads the row that it means.

A cycle may look ahead where it looks back further on each round, `p = post(s)` with `s = fby(i, t)` and `t = fby(j, p)`: by
the rule of causality it is swept forward. With `x[n]` for x at n rows from here, in such a component

    post(x, f, r)       =  f where the segment closes, else x[1]           (closes: the final row, or r[1])
    op(x, y)[n]         =  op(x[n], y[n])                   When, Merge and scans likewise
    fby(i, x, r)[n]     =  i[n] where r[n], else x[n - 1]                       for n >= 1
    post(x, f, r)[n]    =  f[n] where it closes there, else x[n + 1]
    x[n]                =  n posts                          where x is of another component

and n falls on each round, so that this ends with n = 0 and no post inside the component. Backward components mirror it. It is
the shift of index-set splitting (Feautrier 1992, "Some efficient solutions to the affine scheduling problem") at one dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from seiche.check import causality
from seiche.errors import InternalError
from seiche.ir import core
from seiche.ir.clocks import Clock, Clocks, constants, infer
from seiche.ir.core import Apply, Equation, Fby, Merge, Node, Post, Scan, Var, When
from seiche.schedule.emit import Emitter


def one_way(body: Node, constant: set[Var]) -> Node:
    """`before -> after`: the same body, whose components with states and costates keep one kind of them.

    `constant`: inputs that are the same at all rows.
    """
    kinds = {type(eq.rhs) for eq in body.eqs}
    if not {Fby, Post} <= kinds:
        return body
    clocks, defs = infer(body), body.definitions()
    fixed = constants(body) | constant
    b = Emitter(body.loc)
    for component in causality.check(body, "rows", clocks)[0]:
        part = {defs[v]: None for v in component.vars}
        if {Fby, Post} <= {type(eq.rhs) for eq in part}:
            backward = component.direction == "backward"
            _Shift(b, frozenset(component.vars), backward, defs, clocks, fixed).run(list(part))
        else:
            b.eqs += part
    return replace(body, eqs=b.eqs)


@dataclass
class _Shift:
    """One component; `known[v, n]` is v at n ticks from here, on the clock of the component's delays."""

    b: Emitter
    part: frozenset[Var]
    backward: bool
    defs: Mapping[Var, Equation]
    clocks: Clocks
    fixed: set[Var]
    known: dict[tuple[Var, int], Var] = field(default_factory=dict["tuple[Var, int]", "Var"])

    def run(self, eqs: list[Equation]) -> None:
        delays = [eq for eq in eqs if isinstance(eq.rhs, Fby | Post)]
        self.clock = self.clocks[delays[0].out]
        if any(self.clocks[eq.out] != self.clock for eq in delays):
            raise InternalError(f"delays of one component on several clocks: {delays}")
        self.end = self._end()
        for eq in eqs:
            self.b.serve(eq.outs[0])
            if isinstance(eq.rhs, Fby if self.backward else Post):
                self.b.decide(eq.out, *self._choice(eq.rhs, 0))
            else:
                self.b.eqs.append(eq)

    def _end(self) -> Var:
        """True at the row where the delays against the direction find no neighbour: the first, or the final one."""
        b = self.b
        return b.fby(b.true(), b.false()) if self.backward else b.post(b.false(), b.true())

    def _choice(self, rhs: Fby | Post, n: int) -> tuple[Var, Var, Var]:
        """Of a delay at n ticks from here: whether its segment ends there, the value there, and the neighbour's.

        A delay in the direction of the component has a neighbour n ticks away: only a reset ends its segment.
        """
        if isinstance(rhs, Fby):
            reset = None if rhs.reset is None else self.at(rhs.reset, n)
            edge = self.at(self.end, n) if self.backward else None
            ends, last, step = self.b.either(edge, reset), rhs.init, -1
        else:
            reset = None if rhs.reset is None else self.at(rhs.reset, n + 1)
            edge = None if self.backward else self.at(self.end, n)
            ends, last, step = self.b.either(edge, reset), rhs.final, 1
        moved = self.at(rhs.arg, n + step)
        if ends is None:
            return self.b.false(), moved, moved
        return ends, self.b.zeros(moved.type) if last is None else self.at(last, n), moved

    def at(self, var: Var, n: int) -> Var:
        """A Var at n ticks from here."""
        if n == 0 or var in self.fixed:
            return var
        if (var, n) not in self.known:
            if var in self.part:
                self._compute(self.defs[var], n)
            else:
                self.known[var, n] = self._carried(var, n)
        return self.known[var, n]

    def _compute(self, eq: Equation, n: int) -> None:
        """All results of an equation at n ticks from here."""
        b = self.b
        match eq.rhs:
            case Fby() | Post():
                ends, last, moved = self._choice(eq.rhs, n)
                found = (moved if last is moved else b.choose(ends, last, moved),)
            case Apply() | When() | Merge() | Scan():
                moved_rhs = core.substitute(eq.rhs, lambda v: self.at(v, n))
                b.serve(eq.outs[0])
                types, names = zip(*((v.type, v.name) for v in eq.outs), strict=True)
                found = b.define_many(moved_rhs, types, names)
            case _:
                raise InternalError(f"on a cycle of a body: {eq}")
        self.known.update(((out, n), v) for out, v in zip(eq.outs, found, strict=True))

    def _carried(self, var: Var, n: int) -> Var:
        """A Var of another component: one more delay per tick, zeros (never seen) beyond the rows."""
        b = self.b
        below = self._below(var)
        near = n - 1 if n > 0 else n + 1
        if not below:
            before = self.at(var, near)
            zeros = b.zeros(var.type)
            return b.post(before, zeros) if n > 0 else b.fby(zeros, before)
        whole = var
        for cond, on in reversed(below):
            rest = b.zeros(var.type)
            whole = b.merge(cond, whole, rest) if on else b.merge(cond, rest, whole)
        return b.sampled(self.at(whole, n), tuple((self.at(c, n), on) for c, on in below))

    def _below(self, var: Var) -> Clock:
        """The conditions that sample a Var from the clock of the delays."""
        clock = self.clocks[var] if var in self.clocks.terms else self.clock
        if clock[: len(self.clock)] != self.clock:
            raise InternalError(f"`{var.name}` is not on the clock of what reads it")
        return clock[len(self.clock) :]
