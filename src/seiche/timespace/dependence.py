"""Which Vars differ between instances: those that depend on an argument, or a clock, that does.

x has the axis, y reads x    |-  y has it
k has it, y on k             |-  y has it, unless it is constant for ever: instances are present at different ticks
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seiche.ir.clocks import Clocks, constants, infer
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


def different(node: Node, given: Collection[Var], clocks: Clocks | None = None) -> set[Var]:
    """The Vars of the node that differ between instances when the inputs `given` do."""
    clocks = clocks or infer(node)
    fixed = constants(node)
    found = set(given)
    left = list(node.eqs)
    changed = True
    while changed:
        changed, waiting = False, left
        left = []
        for eq in waiting:
            outs = _outs(eq, found, clocks, fixed)
            changed = changed or bool(outs - found)
            found |= outs
            if len(outs) < len(eq.outs):
                left.append(eq)
    return found


def _outs(eq: Equation, found: set[Var], clocks: Clocks, fixed: set[Var]) -> set[Var]:
    """The results of an equation that differ, as far as is known."""
    everything = {out for out in eq.outs if out not in fixed}
    if any(cond in found for out in everything for cond, _ in clocks[out]):
        return everything
    match eq.rhs:
        case Scan(length=Var() as length) if length in found:
            return everything
        case Frame(until=until, reset=reset) if until in found or reset in found:
            return everything
        case Scan(body=body, args=args) | Frame(body=body, args=args):
            flags = [arg in found for arg in args]
            return {out for out, own in zip(eq.outs, body_flags(body, flags), strict=True) if own}
        case Lit() | Apply() | Fby() | Post() | When() | Merge() | Call():
            return everything if any(v in found for v in operands(eq.rhs)) else set()


def body_flags(body: Node, flags: Sequence[bool]) -> tuple[bool, ...]:
    """Which outputs of a body differ."""
    if not any(flags):
        return (False,) * len(body.outputs)
    own = different(body, [v for v, f in zip(body.inputs, flags, strict=True) if f])
    return tuple(out in own for out in body.outputs)
