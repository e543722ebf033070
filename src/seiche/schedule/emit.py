"""A builder with the idioms of lowering: choices by a scalar, modular indices, conditions that may be absent."""

from __future__ import annotations

from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock
from seiche.ir.core import Apply, Equation, Fby, Rhs, Var
from seiche.numbers.formats import Shape, Type, bool_, i32

BOOL, INT = Type(bool_), Type(i32)


class Emitter(Builder):
    """Appends lowered equations; new Vars carry the line and scope of the Var that they serve."""

    def serve(self, var: Var) -> None:
        """What follows is done for `var`."""
        self.loc, self.scope = var.loc, var.scope

    def equation(self, outs: tuple[Var, ...], rhs: Rhs) -> None:
        """The equation of Vars that exist already."""
        self.eqs.append(Equation(outs, rhs))

    def declare(self, type: Type, name: str) -> Var:
        """A Var whose equation follows later."""
        return Var(name, type, self.loc, self.scope)

    def true(self) -> Var:
        return self.lit(True, BOOL, "true")

    def false(self) -> Var:
        return self.lit(False, BOOL, "false")

    def int(self, value: int) -> Var:
        return self.lit(value, INT, "k")

    def zeros(self, type: Type) -> Var:
        return self.lit(0, type, "zero")

    def either(self, *conds: Var | None) -> Var | None:
        """Where one of the conditions holds; an absent one never does."""
        result: Var | None = None
        for cond in conds:
            if cond is not None:
                result = cond if result is None else self.logical_or(result, cond)
        return result

    def choose(self, cond: Var, yes: Var, no: Var) -> Var:
        """`yes` where the scalar condition holds, else `no`: whole tensors."""
        return self.select(self.spread(cond, yes.type.shape), yes, no)

    def decide(self, out: Var, cond: Var, yes: Var, no: Var) -> None:
        """The equation of `out` by such a choice."""
        self.equation((out,), Apply("select", (self.spread(cond, out.type.shape), yes, no)))

    def spread(self, scalar: Var, shape: Shape) -> Var:
        """A scalar at every index of a shape."""
        return self.broadcast(scalar, shape=shape) if shape else scalar

    def sampled(self, var: Var, clock: Clock) -> Var:
        """A Var of the base clock on a sub-clock."""
        for cond, on in clock:
            var = self.when(var, cond, on)
        return var

    def wrapped(self, i: Var, n: int) -> Var:
        """i modulo n, for -n <= i < n (elementwise)."""
        negative = self.lt(i, self.lit(0, i.type))
        return self.select(negative, self.add(i, self.lit(n, i.type)), i)

    def successor(self, i: Var, n: int) -> Var:
        """i + 1 modulo n, for 0 <= i < n."""
        return self.select(self.lt(i, self.int(n - 1)), self.add(i, self.int(1)), self.int(0))

    def cycle(self, n: int, name: str) -> Var:
        """0, 1 .. n - 1, 0, 1 .. at the ticks of its clock."""
        at = self.declare(INT, name)
        self.equation((at,), Fby(self.int(0), self.successor(at, n)))
        return at
