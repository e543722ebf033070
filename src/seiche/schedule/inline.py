"""Calls replaced by the equations of their bodies. Their derivatives are no longer needed."""

from __future__ import annotations

from dataclasses import replace

from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.core import Call, Equation, Node, Var


def inline_calls(node: Node) -> Node:
    """The node without Calls at its top level; names and lines stay those of the equations inlined."""
    if not any(isinstance(eq.rhs, Call) for eq in node.eqs):
        return node
    b = Builder()
    became: dict[Var, Var] = {}
    for eq in node.eqs:
        if isinstance(eq.rhs, Call):
            b.loc, b.scope = eq.outs[0].loc, eq.outs[0].scope
            body = inline_calls(eq.rhs.body)
            became.update(zip(eq.outs, b.inline(body, eq.rhs.args), strict=True))
        else:
            b.eqs.append(eq)

    def to(var: Var) -> Var:
        while var in became:
            var = became[var]
        return var

    eqs = [Equation(eq.outs, core.substitute(eq.rhs, to)) for eq in b.eqs]
    checks = [replace(check, cond=to(check.cond)) for check in (*node.checks, *b.checks)]
    return replace(node, outputs=tuple(map(to, node.outputs)), eqs=eqs, checks=tuple(checks))
