"""Scans with less in them: what no recurrence needs row by row leaves the loop as whole tensors.

    ys = scan(h = fby(0, tanh(x W + h U)))(xs[], W, U)   ->   zs = xs W      ys = scan(h = fby(0, tanh(z + h U)))(zs[], U)

Forward and backward recurrences alike. What leaves is stored for all rows: faster, for more memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from seiche.ir import core
from seiche.ir.clocks import Clock, constants, infer
from seiche.ir.core import Equation, Frame, Node, OutKind, Scan, Var
from seiche.timespace.rows import Blocks


def spread(node: Node) -> Node:
    """The node with every scan of a static length spread, inside bodies too. Equal in bits."""
    eqs: list[Equation] = []
    checks, clocks, fixed = list(node.checks), infer(node), constants(node)
    for eq in node.eqs:
        match eq.rhs:
            case Scan(length=None) as scan:
                clock = clocks[eq.outs[0]] if eq.outs else ()
                made = _spread(eq, replace(scan, body=spread(scan.body)), clock, fixed)
                eqs += made.eqs
                checks += made.checks
            case Scan() | Frame() as form:
                eqs.append(Equation(eq.outs, replace(form, body=spread(form.body))))
            case _:
                eqs.append(eq)
    return replace(node, eqs=eqs, checks=tuple(checks))


def _spread(eq: Equation, scan: Scan, clock: Clock, fixed: set[Var]) -> Node:
    """The equations of a scan, defining its results; those that read no argument are put on its clock."""
    rows = _Rows(core.copy(core.live(scan.body))[0], scan.extent, scan.mapped)
    inputs = rows.fill()
    results = [_leaves(rows, v, kind) for v, kind in zip(rows.node.outputs, scan.outs, strict=True)]
    if clock:
        clocked = _reached(
            {v for v, a in zip(inputs, scan.args, strict=True) if a not in fixed}, rows.b.eqs
        )
        results = [v if v in clocked else _on(rows, v, clock) for v in results]
    to = dict(zip(inputs, scan.args, strict=True))
    outs: dict[Var, Var] = {}
    for out, result in zip(eq.outs, results, strict=True):
        if result in outs or result in to:
            result = rows.b.reshape(result, shape=result.type.shape)
        outs[result] = out

    def meant(var: Var) -> Var:
        return to.get(var) or outs.get(var, var)

    eqs = [Equation(tuple(map(meant, e.outs)), core.substitute(e.rhs, meant)) for e in rows.b.eqs]
    checks = tuple(replace(c, cond=meant(c.cond)) for c in rows.checks())
    return core.live(Node(scan.body.name, scan.args, eq.outs, eqs, checks=checks))


def _reached(given: set[Var], eqs: list[Equation]) -> set[Var]:
    """The given Vars and all that read one, through whatever forms; the rest has no clock of its own."""
    found, size = set(given), -1
    while len(found) > size:
        size = len(found)
        for eq in eqs:
            if not found.isdisjoint(core.operands(eq.rhs)):
                found.update(eq.outs)
    return found


def _on(rows: _Rows, var: Var, clock: Clock) -> Var:
    for cond, on in clock:
        var = rows.b.when(var, cond, on)
    return var


def _leaves(rows: _Rows, var: Var, kind: OutKind) -> Var:
    match kind:
        case "stack" | "stream":
            return rows.whole(var)
        case "first":
            return rows.row(var, 0)
        case "last":
            return rows.row(var, rows.n - 1)


class _Rows(Blocks):
    """All rows there are: states open with the first one, costates close with the last."""

    carried = False

    def before(self, state: Var, init: Var | None, last: Callable[[Var], Var]) -> Var:
        return self.b.lit(0, state.type) if init is None else self.row(init, 0)

    def after(self, out: Var, arg: Var, final: Var, reset: Var | None) -> Var:
        return final
