"""Scans in a row become one: where a scan reads the rows that another stacks, both run in one body.

    ys = scan f(xs)   zs = scan g(ys[], ws[])   |-   ys, zs = scan (f; g)(xs, ws[])     same rows, and nothing else between them

Forward derivatives need it: what the transposes passed on a tape stays inside the row, and the tape goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from seiche.ir import core
from seiche.ir.core import Equation, Fby, Node, Post, Scan, Var, operands, substitute

Joins: TypeAlias = Callable[[Scan, Scan], bool]
"""Whether two scans that could be one are to be."""


def fuse(node: Node, joins: Joins = lambda one, two: True) -> Node:
    """The node with its chains of scans fused, inside bodies too."""
    node = replace(node, eqs=[_inside(eq, joins) for eq in node.eqs])
    while (pair := _find(node, joins)) is not None:
        node = _merge(node, *pair)
    return node


def _inside(eq: Equation, joins: Joins) -> Equation:
    return (
        Equation(eq.outs, replace(eq.rhs, body=fuse(eq.rhs.body, joins)))
        if isinstance(eq.rhs, Scan)
        else eq
    )


def _find(node: Node, joins: Joins) -> tuple[Equation, Equation] | None:
    """Two scans that can be one."""
    scans = [eq for eq in node.eqs if isinstance(eq.rhs, Scan)]
    for first in scans:
        after = _after(node, first)
        for second in scans:
            if second is not first and _fits(first, second, after):
                assert isinstance(first.rhs, Scan) and isinstance(second.rhs, Scan)
                if joins(first.rhs, second.rhs):
                    return first, second
    return None


def _fits(first: Equation, second: Equation, after: set[Var]) -> bool:
    """Whether the second reads rows of the first, and nothing else that comes after it."""
    one, two = first.rhs, second.rhs
    assert isinstance(one, Scan) and isinstance(two, Scan)
    if one.extent != two.extent or one.length is not two.length:
        return False
    rows = {out for out, kind in zip(first.outs, one.outs, strict=True) if kind == "stack"}
    direct = [mapped and arg in rows for arg, mapped in zip(two.args, two.mapped, strict=True)]
    late = [arg in after for arg in two.args]
    return any(direct) and all(d or not l for d, l in zip(direct, late, strict=True))


def _after(node: Node, first: Equation) -> set[Var]:
    """What depends on the equation within the instant."""
    users: dict[Var, list[Equation]] = {}
    for eq in node.eqs:
        for arg in _now(eq):
            users.setdefault(arg, []).append(eq)
    seen: set[Var] = set()
    todo = list(first.outs)
    while todo:
        var = todo.pop()
        if var not in seen:
            seen.add(var)
            todo += (out for eq in users.get(var, ()) for out in eq.outs)
    return seen


def _now(eq: Equation) -> tuple[Var, ...]:
    """The operands that an equation reads at their own tick."""
    match eq.rhs:
        case Fby(init, _, reset) | Post(_, init, reset):
            return tuple(v for v in (init, reset) if v is not None)
        case rhs:
            return operands(rhs)


def _merge(node: Node, first: Equation, second: Equation) -> Node:
    one, two = first.rhs, second.rhs
    assert isinstance(one, Scan) and isinstance(two, Scan)
    made = dict(zip(first.outs, one.body.outputs, strict=True))
    body, _ = core.copy(two.body)
    inner = {
        var: made[arg]
        for var, arg, mapped in zip(body.inputs, two.args, two.mapped, strict=True) if mapped and arg in made
    }  # fmt: skip
    left = [i for i, var in enumerate(body.inputs) if var not in inner]

    def to(var: Var) -> Var:
        return inner.get(var, var)

    both = Node(
        one.body.name,
        (*one.body.inputs, *(body.inputs[i] for i in left)),
        (*one.body.outputs, *map(to, body.outputs)),
        [*one.body.eqs, *(Equation(eq.outs, substitute(eq.rhs, to)) for eq in body.eqs)],
        one.body.loc,
        (*one.body.checks, *(replace(c, cond=to(c.cond)) for c in body.checks)),
    )
    args = (*one.args, *(two.args[i] for i in left))
    mapped = (*one.mapped, *(two.mapped[i] for i in left))
    scan = Scan(both, args, mapped, (*one.outs, *two.outs), one.extent, one.length)
    fused = Equation((*first.outs, *second.outs), scan)
    return replace(node, eqs=[fused if eq is first else eq for eq in node.eqs if eq is not second])
