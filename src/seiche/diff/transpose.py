"""Reverse mode: the transpose of a node's derivative, as equations beside its own.

    y = fby(i, x, r)      x' += post(y', 0, r)         i' += fby(y', 0, r)      y' where the segment opens
    y = post(x, f, r)     x' += fby(0, y', r)          f' += post(0, y', r)     y' where it closes
    y = when(x, c)        x' += merge(c, y', 0)
    y = merge(c, a, b)    a' += when(y', c)            b' += when(y', !c)
    y = op(x ...)         x' += the record's rule      y = scan, frame, call:   `diff.bodies`

The cotangent x' is the sum of what its uses give, in their order. Addends that pass one delay with one reset, or
one condition, are summed before it: `post(a, 0) + post(0, f)` is `post(a, f)`. Zeros are absent, never built and added.

Conal Elliott 2018, "The simple essence of automatic differentiation"; fby and post, when and merge are each other's
transposes: Pouzet et al. 2023, "Bidirectional Reactive Programming for Machine Learning" (arXiv 2311.16977).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

from seiche.diff import bodies
from seiche.diff.flow import Flow
from seiche.errors import Diagnostic, InternalError
from seiche.ir.builder import Builder
from seiche.ir.core import (
    Apply,
    Call,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    Post,
    Scan,
    Var,
    When,
    substitute,
)
from seiche.ir.op import OPS, NoGradient, Use
from seiche.ir.ops.indexing import blank
from seiche.numbers.formats import Type

Joint: TypeAlias = Literal["fby", "post", "merge"]
"""A form that joins two streams: `fby(left, right, r)`, `post(left, right, r)`, `merge(c, left, right)`."""


@dataclass
class Sides:
    """Addends that pass one joint, by the operand that they are summed into."""

    left: list[Var] = field(default_factory=list[Var])
    right: list[Var] = field(default_factory=list[Var])


@dataclass
class Parts:
    """The addends of a cotangent, the last use first; `joined` by the form and its reset or condition."""

    plain: list[Var] = field(default_factory=list[Var])
    joined: dict[tuple[Joint, Var | None], Sides] = field(
        default_factory=lambda: defaultdict(Sides)
    )


class Transposer:
    """Transposes one node: `seed` its outputs, `run`, then take each `total`.

    `forward` are the node's equations, made to emit what the transpose of their bodies needs; `backward` the transpose;
    `sweeps` the directions in which its cotangents move.
    """

    def __init__(
        self,
        node: Node,
        wrt: Sequence[Var],
        seeded: Sequence[Var],
        flow: Flow,
        errors: list[Diagnostic],
    ) -> None:
        self.node = node
        self.flow = flow
        self.errors = errors
        self.b = Builder()
        self.forward: list[Equation] = []
        self.sweeps: set[Joint] = set()
        self.carrying = flow.carrying(node, wrt, seeded)
        self.parts: dict[Var, Parts] = defaultdict(Parts)
        self._ct: dict[Var, Var] = {}
        self._meant: dict[Var, Var] = {}
        self._zeros: dict[Type, Var] = {}

    def inside(self, body: Node, wrt: Sequence[Var], seeded: Sequence[Var]) -> Transposer:
        """The transposer of a body of this node."""
        return Transposer(body, wrt, seeded, self.flow, self.errors)

    # What flows into a cotangent.

    def give(self, var: Var, ct: Var) -> None:
        """Adds to the cotangent of a Var."""
        if var in self.carrying:
            self.parts[var].plain.insert(0, ct)

    def give_left(self, var: Var, ct: Var, joint: Joint, by: Var | None = None) -> None:
        """Adds `ct` where a segment opens (fby), of the next tick (post), or where `by` holds (merge)."""
        if var in self.carrying:
            self.parts[var].joined[joint, by].left.insert(0, ct)

    def give_right(self, var: Var, ct: Var, joint: Joint, by: Var | None = None) -> None:
        """Adds `ct` of the previous tick (fby), where a segment closes (post), or where `by` does not hold (merge)."""
        if var in self.carrying:
            self.parts[var].joined[joint, by].right.insert(0, ct)

    def ct(self, out: Var) -> Var:
        """Stands for the cotangent of a defined Var until `run` has found it."""
        if out not in self._ct:
            self._ct[out] = Var(f"{out.name}'", out.type, out.loc, out.scope)
        return self._ct[out]

    def zero(self, type: Type) -> Var:
        """Zeros, where a form needs them."""
        if type not in self._zeros:
            self._zeros[type] = blank(self.b, type)
        return self._zeros[type]

    def sum(self, terms: Sequence[Var]) -> Var | None:
        """The sum from left to right; None of no terms."""
        if not terms:
            return None
        total, *rest = terms
        for term in rest:
            total = self.b.add(total, term)
        return total

    def total(self, var: Var) -> Var | None:
        """The cotangent of a Var: None where it is zero."""
        parts = self.parts.pop(var, Parts())
        self.b.loc, self.b.scope = var.loc, var.scope
        joined = [
            self._join(joint, by, sides, var.type)
            for (joint, by), sides in reversed(parts.joined.items())
        ]
        total = self.sum([*parts.plain, *(v for v in joined if v is not None)])
        if total is not None and not total.name.endswith("'"):
            total.name = f"{var.name}'"
        return total

    def _join(self, joint: Joint, by: Var | None, sides: Sides, type: Type) -> Var | None:
        if not sides.left and not sides.right:
            return None
        left = self.sum(sides.left) or self.zero(type)
        right = self.sum(sides.right) or self.zero(type)
        match joint:
            case "fby":
                self.sweeps.update(["fby"] if sides.right else [])
                return self.b.fby(left, right, by)
            case "post":
                self.sweeps.update(["post"] if sides.left else [])
                return self.b.post(left, right, by)
            case "merge":
                assert by is not None
                return self.b.merge(by, left, right)
            case _:
                assert_never(joint)

    # Equations.

    def run(self) -> None:
        """Transposes the equations, from the last to the first."""
        for eq in reversed(self.node.eqs):
            if any(out in self.carrying for out in eq.outs):
                self.b.loc, self.b.scope = eq.outs[0].loc, eq.outs[0].scope
                self._equation(eq)
            else:
                self.forward.append(eq)
        self.forward.reverse()
        # Rules name the cotangent of every carrying result, and no equation of theirs is of another Var.
        for out, stand_in in list(self._ct.items()):
            self._meant[stand_in] = self.total(out) or self.zero(out.type)

    @property
    def backward(self) -> list[Equation]:
        """The equations of the transpose."""
        return [Equation(eq.outs, substitute(eq.rhs, self.meant)) for eq in self.b.eqs]

    def meant(self, var: Var) -> Var:
        """The Var that a stand-in stands for."""
        while var in self._meant:
            var = self._meant[var]
        return var

    def _equation(self, eq: Equation) -> None:
        rhs = eq.rhs
        match rhs:
            case Lit():
                raise InternalError(f"a constant with a derivative: {eq.out}")
            case Apply():
                self._apply(eq, rhs)
            case Fby(init, arg, reset):
                self.give_left(arg, self.ct(eq.out), "post", reset)
                if init is not None:
                    self.give_left(init, self.ct(eq.out), "fby", reset)
            case Post(arg, final, reset):
                self.give_right(arg, self.ct(eq.out), "fby", reset)
                self.give_right(final, self.ct(eq.out), "post", reset)
            case When(arg, cond, on):
                (self.give_left if on else self.give_right)(arg, self.ct(eq.out), "merge", cond)
            case Merge(cond, yes, no):
                for arg, on in ((yes, True), (no, False)):
                    if arg in self.carrying:
                        self.give(arg, self.b.when(self.ct(eq.out), cond, on))
            case Scan():
                self.forward.append(bodies.transpose_scan(self, eq, rhs))
                return
            case Frame():
                bodies.transpose_frame(self, eq, rhs)
            case Call():
                bodies.transpose_call(self, eq, rhs)
            case _:
                assert_never(rhs)
        self.forward.append(eq)

    def _apply(self, eq: Equation, rhs: Apply) -> None:
        record = OPS[rhs.op]
        use = Use(tuple(a.type for a in rhs.args), rhs.params, eq.out.type)
        if isinstance(record.vjp, NoGradient):
            self.errors.append(missing(eq.out, rhs.op, record.vjp.why))
            return
        cts = record.vjp(self.b, use, rhs.args, eq.out, self.ct(eq.out))
        for arg, ct in zip(rhs.args, cts, strict=True):
            match ct:
                case Var():
                    self.give(arg, ct)
                case NoGradient(why, zero):
                    if arg in self.carrying and not zero:
                        self.errors.append(missing(eq.out, rhs.op, why))
                case _:
                    assert_never(ct)


def missing(out: Var, op: str, why: str) -> Diagnostic:
    """An op on the way of a gradient has no derivative."""
    hint = "`stop_gradient` treats it as a constant; `custom_vjp` gives a function a derivative of its own"
    return Diagnostic("SE701", f"`{op}` has no derivative", out.loc, ((why, None),), hint)
