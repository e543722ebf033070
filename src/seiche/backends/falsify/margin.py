"""By how much a condition holds: reals in place of truth values, which tell a search where it gets warmer.

    m(a <= b) = b - a      m(a = b) = -|a - b|      m(not c) = -m(c)      m(c and d) = min      m(c or d) = max

and plus or minus infinity for what is only true or false. A condition holds where its margin is positive and does not where
it is negative; at 0 either may be.

Source: Donzé & Maler 2010, "Robust satisfaction of temporal logic over real-valued signals".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Check, Frame, Merge, Node, Var, When
from seiche.numbers.formats import Type, f64


def with_margins(node: Node, checks: tuple[Check, ...]) -> Node:
    """The node with the margins of these checks as its last results; all its checks stay.

    Its own results stay only where there are frames, whose bounds are checked where something needs them.
    """
    margins = _Margins(node)
    kept = node.outputs if any(isinstance(eq.rhs, Frame) for eq in node.eqs) else ()
    outputs = (*kept, *(margins.of(check.cond) for check in checks))
    return replace(node, outputs=outputs, eqs=[*node.eqs, *margins.b.eqs])


class _Margins:
    def __init__(self, node: Node) -> None:
        self.defs, self.b = node.definitions(), Builder(node.loc)
        self.made: dict[Var, Var] = {}

    def of(self, cond: Var) -> Var:
        """The margin of a condition, element by element, on its clock."""
        if cond not in self.made:
            self.made[cond] = self._of(cond)
        return self.made[cond]

    def _of(self, cond: Var) -> Var:
        b, eq = self.b, self.defs.get(cond)
        match None if eq is None else eq.rhs:
            case Apply("lt" | "le", (x, y)):
                return b.sub(self.real(y), self.real(x))
            case Apply("gt" | "ge", (x, y)):
                return b.sub(self.real(x), self.real(y))
            case Apply("eq" | "ne" as op, (x, y)) if x.type.format.kind != "bool":
                apart = b.abs(b.sub(self.real(x), self.real(y)))
                return b.neg(apart) if op == "eq" else apart
            case Apply("logical_not", (c,)):
                return b.neg(self.of(c))
            case Apply("logical_and" | "logical_or" as op, (c, d)):
                return b.apply(
                    "minimum" if op == "logical_and" else "maximum", self.of(c), self.of(d)
                )
            case Apply("all" | "any" as op, (c,), params):
                return b.apply("min" if op == "all" else "max", self.of(c), **params)
            case When(c, key, on):
                return b.when(self.of(c), key, on)
            case Merge(key, c, d):
                return b.merge(key, self.of(c), self.of(d))
            case _:
                return self.crisp(cond)

    def real(self, x: Var) -> Var:
        return self.b.convert(x, format=f64)

    def crisp(self, cond: Var) -> Var:
        """Infinity where it holds, minus infinity where it does not."""
        type = Type(f64, cond.type.shape)
        return self.b.select(cond, self.b.lit(np.inf, type), self.b.lit(-np.inf, type))
