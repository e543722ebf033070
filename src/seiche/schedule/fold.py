"""Constants are computed before the first tick: small ones become literals, and so does every constant initial value.

A large constant stays an equation (it would otherwise grow the program), and so does one that is nothing but copies of a smaller
one, as the bias of all rows of a block: its readers find the elements in the smaller. An initial value never does, because it would
be computed again at each tick for the sake of one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.ir import core
from seiche.ir.clocks import constants
from seiche.ir.core import Apply, Equation, Fby, Lit, Node, Post, Rhs, Var, operands
from seiche.ir.op import OPS, AnyArray, Element, Use, use
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest

SIZE_MAX = 4096
"""Elements of the largest constant that becomes a literal wherever it is used."""


def value(op: str, args: tuple[AnyArray, ...], use: Use) -> AnyArray:
    """What an op gives at one tick, rounded to the format of its result. Run it under `np.errstate(all="ignore")`."""
    result = OPS[op].value(args, use)
    if not use.out.format.exact:
        result = round_nearest(NUMPY, result, use.out.format)
    result = np.asarray(result)
    assert result.dtype == use.out.format.dtype and result.shape == use.out.shape, (op, use, result)
    return result


def use_of(rhs: Apply) -> Use:
    return use(rhs.op, tuple(a.type for a in rhs.args), rhs.params)


def fold(node: Node) -> Node:
    """The node with literals in place of constants."""
    defs, fixed = node.definitions(), constants(node)
    copied = copies(node, fixed)
    values: dict[Var, AnyArray] = {}
    extra: list[Equation] = []

    def known(var: Var) -> AnyArray:
        if var not in values:
            rhs = defs[var].rhs
            if isinstance(rhs, Lit):
                values[var] = rhs.value
            else:
                assert isinstance(rhs, Apply)
                args = tuple(map(known, rhs.args))
                with np.errstate(all="ignore"):
                    values[var] = value(rhs.op, args, use_of(rhs))
        return values[var]

    def literal(var: Var) -> Var:
        """A constant that must be a literal whatever its size."""
        if var not in fixed or isinstance(defs[var].rhs, Lit) or var.type.size <= SIZE_MAX:
            return var
        held = Var(var.name, var.type, var.loc, var.scope)
        extra.append(Equation((held,), Lit(known(var))))
        return held

    def folded(eq: Equation) -> Rhs:
        match eq.rhs:
            case Apply() if eq.out in fixed - copied and eq.out.type.size <= SIZE_MAX:
                return Lit(known(eq.out))
            case Fby(init, arg, reset) if init is not None:
                return Fby(literal(init), arg, reset)
            case Post(arg, final, reset):
                return Post(arg, literal(final), reset)
            case _:
                return eq.rhs

    eqs = [Equation(eq.outs, folded(eq)) for eq in node.eqs]
    return core.live(replace(node, eqs=[*extra, *eqs]))


def copies(node: Node, fixed: set[Var]) -> set[Var]:
    """Constants that repeat the elements of smaller ones, or move those about, for readers that compute element by element."""
    readers: dict[Var, list[Rhs]] = {}
    for eq in node.eqs:
        for var in operands(eq.rhs):
            readers.setdefault(var, []).append(eq.rhs)
    found: set[Var] = set()
    for eq in node.eqs:
        rhs = eq.rhs
        if not isinstance(rhs, Apply) or eq.out not in fixed or eq.out in node.outputs:
            continue
        grown = rhs.op == "broadcast" and eq.out.type.size > rhs.args[0].type.size > 1
        moved = rhs.op in ("reshape", "transpose") and rhs.args[0] in found
        if (grown or moved) and all(map(_by_element, readers.get(eq.out, []))):
            found.add(eq.out)
    return found


def _by_element(rhs: Rhs) -> bool:
    return isinstance(rhs, Apply) and isinstance(OPS[rhs.op].code, Element)
