"""What is the same at every row of a scan is computed once, before it.

    y = op(w) in a body, w constant over the rows   |-   y = op(w) beside the scan, and y a constant argument

So its cotangent is summed over the rows first and passed through the op once, and nothing of it is on the tape. Moves stay
where they are read: they cost nothing there, and a buffer outside.
"""

from __future__ import annotations

from dataclasses import replace

from seiche.ir.core import Apply, Equation, Frame, Lit, Node, Scan, Var, operands, substitute
from seiche.ir.op import OPS, Element


def hoist(node: Node) -> Node:
    """The node with the invariants of its scans outside of them, from the innermost on."""
    eqs: list[Equation] = []
    for eq in node.eqs:
        match eq.rhs:
            case Scan():
                eqs += _scan(eq, replace(eq.rhs, body=hoist(eq.rhs.body)))
            case Frame(body=body):
                eqs.append(Equation(eq.outs, replace(eq.rhs, body=hoist(body))))
            case _:
                eqs.append(eq)
    return replace(node, eqs=eqs)


def is_move(rhs: Apply) -> bool:
    """Whether an op may be computed again for each use."""
    code = OPS[rhs.op].code
    return isinstance(code, Element) and code.cheap


def _scan(eq: Equation, scan: Scan) -> list[Equation]:
    body = scan.body
    outer = {
        v: a for v, a, each in zip(body.inputs, scan.args, scan.mapped, strict=True) if not each
    }
    moved: list[Equation] = []
    made: list[Var] = []
    for inner in _invariant(body, set(outer)):
        twins = tuple(Var(v.name, v.type, v.loc, v.scope) for v in inner.outs)
        outer.update(zip(inner.outs, twins, strict=True))
        moved.append(Equation(twins, substitute(inner.rhs, outer.__getitem__)))
        if not isinstance(inner.rhs, Lit) and not (
            isinstance(inner.rhs, Apply) and is_move(inner.rhs)
        ):
            made += inner.outs
    if not made:
        return [Equation(eq.outs, scan)]
    inside = replace(
        body,
        inputs=(*body.inputs, *made),
        eqs=[inner for inner in body.eqs if not set(inner.outs) <= set(made)],
    )
    args = (*scan.args, *(outer[v] for v in made))
    mapped = (*scan.mapped, *(False for _ in made))
    return [*moved, Equation(eq.outs, replace(scan, body=inside, args=args, mapped=mapped))]


def _invariant(body: Node, known: set[Var]) -> list[Equation]:
    """The equations over constant arguments alone, each after those it reads."""
    found: list[Equation] = []
    known, left = set(known), [eq for eq in body.eqs if isinstance(eq.rhs, Lit | Apply | Scan)]
    while True:
        ready = [eq for eq in left if known.issuperset(operands(eq.rhs))]
        if not ready:
            return found
        found += ready
        known.update(out for eq in ready for out in eq.outs)
        left = [eq for eq in left if eq.outs[0] not in known]
