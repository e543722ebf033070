"""Usage: each stream has one definition, and is good for something.

    x in inputs  xor  exactly one equation defines x          for every x that an equation, output or check reads
    x is live  <=>  an output or a check depends on it        what is not live is a warning, SE107

Single definition is Lustre's principle (Caspi, Pilaud, Halbwachs & Plaice 1987, "LUSTRE: a declarative language").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from seiche.check.facts import named
from seiche.errors import NOWHERE, Diagnostic, InternalError, Loc
from seiche.ir.core import Equation, Node, Var, operands
from seiche.ir.graph import components
from seiche.ir.text import show_equation


def check(node: Node) -> list[Diagnostic]:
    """SE103 for streams with several definitions, SE106 for those without; InternalError where no user made them."""
    return [*_twice(node), *_nowhere(node)]


def unused(node: Node, *, inputs: bool) -> list[Diagnostic]:
    """SE107, as warnings: inputs (where asked for) and the last equation of each chain that leads nowhere."""
    live = _live(node)
    found = [_warning("input", v, node.loc) for v in node.inputs if inputs and v not in live]
    dead = [eq for eq in node.eqs if eq.outs and not any(v in live for v in eq.outs)]
    lines = {(v.loc, v.name): v for v in _ends(dead) if v.loc != NOWHERE}
    return found + [_warning("value", v, v.loc) for v in lines.values()]


def _ends(dead: list[Equation]) -> Iterator[Var]:
    """A Var of each component of dead equations that no other reads."""
    groups = components(Node("", (), (), dead))
    for group in groups:
        outs = {out for eq in group for out in eq.outs}
        others = (eq for other in groups if other is not group for eq in other)
        if not any(v in outs for eq in others for v in operands(eq.rhs)):
            yield group[0].outs[0]


def _warning(what: str, var: Var, where: Loc) -> Diagnostic:
    place = where if var.loc == NOWHERE else var.loc
    text = f"nothing uses the {what} {named(var)}"
    return Diagnostic("SE107", text, place, (), "return it, or leave it out", "warning")


def _live(node: Node) -> set[Var]:
    defs = node.definitions()
    live: set[Var] = set()
    todo = [*node.outputs, *(check.cond for check in node.checks)]
    while todo:
        var = todo.pop()
        if var not in live:
            live.add(var)
            todo += operands(defs[var].rhs) if var in defs else ()
    return live


def _twice(node: Node) -> Iterator[Diagnostic]:
    count = Counter([*node.inputs, *(out for eq in node.eqs for out in eq.outs)])
    for var, times in count.items():
        if times == 1:
            continue
        what = f"{named(var)} has {times} definitions" + (
            ", one as an input" * (var in node.inputs)
        )
        lines = [(show_equation(node, eq), None) for eq in node.eqs if var in eq.outs]
        hint = "one equation per stream: choose between values with sc.where or sc.merge"
        yield Diagnostic("SE103", what, var.loc, tuple(lines), hint)


def _nowhere(node: Node) -> Iterator[Diagnostic]:
    known = {*node.inputs, *(out for eq in node.eqs for out in eq.outs)}
    seen: set[Var] = set()
    for var, reader in _reads(node):
        if var in known or var in seen:
            continue
        seen.add(var)
        if var.loc == NOWHERE:
            raise InternalError(_around(node, var, reader))
        user = reader.outs[0] if reader and reader.outs else None
        why = ((f"{named(user)} reads it", user.loc),) if user else ()
        hint = "give it one with .define(...)"
        yield Diagnostic("SE106", f"{named(var)} is used and has no definition", var.loc, why, hint)


def _reads(node: Node) -> Iterator[tuple[Var, Equation | None]]:
    for eq in node.eqs:
        yield from ((var, eq) for var in operands(eq.rhs))
    yield from ((var, None) for var in (*node.outputs, *(check.cond for check in node.checks)))


AROUND = 10
"""Equations shown on either side of a fault of ours."""


def _around(node: Node, var: Var, reader: Equation | None) -> str:
    at = node.eqs.index(reader) if reader else len(node.eqs)
    low = max(0, at - AROUND)
    lines = [
        ("> " if eq is reader else "  ") + show_equation(node, eq).split("\n")[0]
        for eq in node.eqs[low : at + AROUND + 1]
    ]
    user = "an equation" if reader else "an output or a check"
    return "\n".join(
        [f"in `{node.name}`, {user} reads `{var.name}`, which has no definition:", *lines]
    )
