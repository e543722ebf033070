"""Which Vars carry a derivative: reachability over the differentiable dependences of a node.

    x in wrt            |-  x varies              y is differentiated  |-  y matters
    x -> y, x varies    |-  y varies              x -> y, y matters    |-  x matters

A Var *carries* when it varies and matters: it alone gets a cotangent. `x -> y` (an edge) is a real argument of an equation
and a real result whose derivative by it is not known to be zero; through a body, the pairs that its equations connect.

Griewank & Walther 2008, "Evaluating derivatives", section 6.2 (activity analysis).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, assert_never

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
    operands,
)
from seiche.ir.op import OPS, NoGradient, Use

Edge: TypeAlias = tuple[Var, Var]
"""An argument and a result."""

Reach: TypeAlias = tuple[int, ...]
"""For each output of a node, the inputs that it depends on, as bits."""


def real(var: Var) -> bool:
    """Whether the Var's format has derivatives."""
    return var.type.format.is_float


class Flow:
    """Edges of equations, and what follows from them; knows each body once."""

    def __init__(self) -> None:
        self._bodies: dict[Node, Reach] = {}

    def edges(self, eq: Equation) -> Iterator[Edge]:
        """The pairs of a real argument and a real result, the second with a derivative by the first."""
        for arg, out in self._pairs(eq):
            if real(arg) and real(out):
                yield arg, out

    def _pairs(self, eq: Equation) -> Iterator[Edge]:
        rhs = eq.rhs
        match rhs:
            case Lit():
                return
            case Apply(args=args):
                if real(eq.out) and any(map(real, args)):
                    yield from (
                        (a, eq.out)
                        for a, is_smooth in zip(args, smooth(eq), strict=True)
                        if is_smooth
                    )
            case Fby(init, arg) | Post(arg, init):
                yield from ((v, eq.out) for v in (init, arg) if v is not None)
            case When(arg):
                yield arg, eq.out
            case Merge(_, yes, no):
                yield yes, eq.out
                yield no, eq.out
            case (
                Scan(body=body, args=args)
                | Frame(body=body, args=args)
                | Call(body=body, args=args, vjp=None)
            ):
                for out, inputs in zip(eq.outs, self.body(body), strict=True):
                    yield from ((a, out) for i, a in enumerate(args) if inputs >> i & 1)
            case Call(args=args):
                yield from ((a, out) for out in eq.outs for a in args)
            case _:
                assert_never(rhs)

    def body(self, node: Node) -> Reach:
        """The inputs that each output of the node has a derivative by."""
        if node not in self._bodies:
            self._bodies[node] = reach(node, self.edges)
        return self._bodies[node]

    def varying(self, node: Node, starts: Iterable[Var]) -> set[Var]:
        """What has a derivative by one of `starts`."""
        return _closure(starts, _successors(node, self.edges))

    def carrying(self, node: Node, wrt: Iterable[Var], seeded: Iterable[Var]) -> set[Var]:
        """The Vars between `wrt` and `seeded`."""
        forward = _successors(node, self.edges)
        backward: dict[Var, list[Var]] = defaultdict(list)
        for arg, outs in forward.items():
            for out in outs:
                backward[out].append(arg)
        return _closure(wrt, forward) & _closure(seeded, backward)


def smooth(eq: Equation) -> tuple[bool, ...]:
    """For each argument of an op, whether the result has a derivative by it, or ought to have one."""
    assert isinstance(eq.rhs, Apply)
    args, record = eq.rhs.args, OPS[eq.rhs.op]
    if isinstance(record.vjp, NoGradient):
        return (not record.vjp.zero,) * len(args)
    use = Use(tuple(a.type for a in args), eq.rhs.params, eq.out.type)
    found = record.vjp(Builder(), use, args, eq.out, Var("ct", eq.out.type))
    return tuple(isinstance(ct, Var) or not ct.zero for ct in found)


def every_operand(eq: Equation) -> Iterator[Edge]:
    """All dependences of an equation but those through a body."""
    return ((a, out) for out in eq.outs for a in operands(eq.rhs))


def reach(node: Node, edges: Callable[[Equation], Iterable[Edge]]) -> Reach:
    """For each output, the inputs from which edges lead to it."""
    successors = _successors(node, edges)
    masks: dict[Var, int] = defaultdict(int)
    for i, var in enumerate(node.inputs):
        masks[var] |= 1 << i
    todo = list(node.inputs)
    while todo:
        var = todo.pop()
        for out in successors.get(var, ()):
            if masks[var] & ~masks[out]:
                masks[out] |= masks[var]
                todo.append(out)
    return tuple(masks[out] for out in node.outputs)


def _successors(node: Node, edges: Callable[[Equation], Iterable[Edge]]) -> dict[Var, list[Var]]:
    after: dict[Var, list[Var]] = defaultdict(list)
    for eq in node.eqs:
        for arg, out in edges(eq):
            after[arg].append(out)
    return after


def _closure(starts: Iterable[Var], after: dict[Var, list[Var]]) -> set[Var]:
    seen: set[Var] = set()
    todo = list(starts)
    while todo:
        var = todo.pop()
        if var not in seen:
            seen.add(var)
            todo += after.get(var, ())
    return seen
