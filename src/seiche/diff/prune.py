"""Dead code, inside bodies too: what no output or check depends on, result by result.

`core.live` keeps a scan whole; here a result of a scan that nothing reads goes, with what it alone needed of the body, and
the arguments that only it read. It is what keeps the tape of a gradient to the Vars that the backward sweep reads.
A scan that reads nothing but constants any more keeps an argument: that is where it has its clock from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from seiche.diff.flow import Edge, reach
from seiche.ir.clocks import constants
from seiche.ir.core import Equation, Frame, Node, Scan, Var, operands


def prune(node: Node) -> Node:
    """The node without dead equations, results and arguments of bodies; its inputs and outputs stay."""
    return _Pruner().node(node)


class _Pruner:
    def __init__(self) -> None:
        self._bodies: dict[Node, tuple[int, ...]] = {}

    def node(self, node: Node) -> Node:
        constant = constants(node)
        wanted = self.wanted(node, constant)
        eqs = [
            self.equation(eq, wanted, constant)
            for eq in node.eqs
            if any(out in wanted for out in eq.outs)
        ]
        return replace(node, eqs=eqs)

    def wanted(self, node: Node, constant: set[Var]) -> set[Var]:
        """The Vars that outputs and checks depend on."""
        needs: dict[Var, list[Var]] = defaultdict(list)
        for eq in node.eqs:
            for arg, out in self.edges(constant, eq):
                needs[out].append(arg)
        seen: set[Var] = set()
        todo = [*node.outputs, *(check.cond for check in node.checks)]
        while todo:
            var = todo.pop()
            if var not in seen:
                seen.add(var)
                todo += needs[var]
        return seen

    def edges(self, constant: set[Var], eq: Equation) -> Iterator[Edge]:
        rhs = eq.rhs
        if not isinstance(rhs, Scan | Frame):
            yield from ((arg, out) for out in eq.outs for arg in operands(rhs))
            return
        always = operands(rhs)[len(rhs.args) :]
        for out, inputs in zip(eq.outs, self.body(rhs.body), strict=True):
            given = [i for i in range(len(rhs.args)) if inputs >> i & 1]
            yield from ((rhs.args[i], out) for i in anchored(rhs, given, constant))
            yield from ((arg, out) for arg in always)

    def body(self, body: Node) -> tuple[int, ...]:
        """The inputs that each output of a body needs; what its checks need, all of them do."""
        if body not in self._bodies:
            whole = replace(body, outputs=(*body.outputs, *(check.cond for check in body.checks)))
            found, checked = reach(whole, partial(self.edges, constants(body))), 0
            for inputs in found[len(body.outputs) :]:
                checked |= inputs
            self._bodies[body] = tuple(inputs | checked for inputs in found[: len(body.outputs)])
        return self._bodies[body]

    def equation(self, eq: Equation, wanted: set[Var], constant: set[Var]) -> Equation:
        rhs = eq.rhs
        if not isinstance(rhs, Scan | Frame):
            return eq
        kept = [k for k, out in enumerate(eq.outs) if out in wanted]
        body = self.node(replace(rhs.body, outputs=tuple(rhs.body.outputs[k] for k in kept)))
        read = {*body.outputs, *(check.cond for check in body.checks)}
        read.update(arg for inner in body.eqs for arg in operands(inner.rhs))
        given = anchored(rhs, [i for i, var in enumerate(body.inputs) if var in read], constant)
        fewer = replace(
            rhs,
            body=replace(body, inputs=tuple(body.inputs[i] for i in given)),
            args=tuple(rhs.args[i] for i in given),
            mapped=tuple(rhs.mapped[i] for i in given),
            outs=tuple(rhs.outs[k] for k in kept),
        )
        return Equation(tuple(eq.outs[k] for k in kept), fewer)


def anchored(rhs: Scan | Frame, given: list[int], constant: set[Var]) -> list[int]:
    """These arguments, and another one if these are constants and have no clock."""
    if isinstance(rhs, Frame) or any(rhs.args[i] not in constant for i in given):
        return given
    return [*given, *[i for i, arg in enumerate(rhs.args) if arg not in constant][:1]]
