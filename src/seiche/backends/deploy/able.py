"""What a target refuses: formats and ops that its file names, found in a program with their lines."""

from __future__ import annotations

from seiche.errors import Diagnostic, SeicheError
from seiche.ir.core import Apply, Node, walk
from seiche.schedule.lower import Lowered
from seiche.schedule.target import Target
from seiche.schedule.units import in_units


def check_able(lowered: Lowered, target: Target) -> None:
    """Raises SE904 where the target's file refuses an op or a format that the program uses, with the lines that use them.

    A board's file may say `[refuse]` with `formats = ["f64"]` or `ops = ["cholesky"]`: what nobody wants to call there.
    """
    refused = target.tables.get("refuse", {})
    formats, ops = set(refused.get("formats", ())), set(refused.get("ops", ()))
    found = {
        **_formats(in_units(lowered, target.floats).lowered.node, formats),
        **_ops(lowered.node, ops),
    }
    if found:
        raise SeicheError(found.values())


def _formats(node: Node, refused: set[str]) -> dict[str, Diagnostic]:
    """The first use of each refused format."""
    found: dict[str, Diagnostic] = {}
    for one in walk(node):
        for v in (*one.inputs, *(v for eq in one.eqs for v in eq.outs)):
            name = v.type.format.carrier
            if refused & {name, str(v.type.format)} and name not in found:
                what = f"the target refuses {name}, which carries `{v.name}`"
                found[name] = Diagnostic("SE904", what, v.loc)
    return found


def _ops(node: Node, refused: set[str]) -> dict[str, Diagnostic]:
    """The first use of each refused op."""
    found: dict[str, Diagnostic] = {}
    for one in walk(node):
        for eq in one.eqs:
            if isinstance(eq.rhs, Apply) and eq.rhs.op in refused and eq.rhs.op not in found:
                what = f"the target refuses the op `{eq.rhs.op}`"
                found[eq.rhs.op] = Diagnostic("SE904", what, eq.outs[0].loc)
    return found
