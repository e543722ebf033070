"""Builds equations: what tracing, derivatives and other transformations share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from seiche.errors import NOWHERE, Loc
from seiche.ir import core
from seiche.ir.core import (
    Apply,
    Check,
    Equation,
    Fby,
    Lit,
    Merge,
    Node,
    Post,
    Rhs,
    Scope,
    Var,
    When,
)
from seiche.ir.op import OPS, use
from seiche.numbers.formats import Shape, Type


class Builder:
    """Appends equations to `eqs`; a record of the op table is a method: `b.mul(x, y)`, `b.sum(x, axes=(0,))`.

    New Vars carry the `loc` and `scope` that are set at the time.
    """

    def __init__(self, loc: Loc = NOWHERE, scope: Scope = ()) -> None:
        self.eqs: list[Equation] = []
        self.checks: list[Check] = []
        self.loc = loc
        self.scope = scope

    def define(self, rhs: Rhs, type: Type, name: str) -> Var:
        """A new Var with that equation."""
        var = Var(name, type, self.loc, self.scope)
        self.eqs.append(Equation((var,), rhs))
        return var

    def define_many(
        self, rhs: Rhs, types: tuple[Type, ...], names: tuple[str, ...]
    ) -> tuple[Var, ...]:
        """New Vars for the results of a Scan, Frame or Call."""
        outs = tuple(Var(n, t, self.loc, self.scope) for n, t in zip(names, types, strict=True))
        self.eqs.append(Equation(outs, rhs))
        return outs

    def apply(self, op: str, *args: Var, **params: Any) -> Var:
        """`op` of the table; raises SignatureError."""
        out = use(op, tuple(a.type for a in args), params).out
        return self.define(Apply(op, args, params), out, op)

    def __getattr__(self, op: str) -> Callable[..., Var]:
        if op not in OPS:
            raise AttributeError(op)

        def method(*args: Var, **params: Any) -> Var:
            return self.apply(op, *args, **params)

        return method

    def lit(self, value: Any, type: Type, name: str = "k") -> Var:
        """A constant, broadcast to the type's shape, in its carrier."""
        array = np.broadcast_to(np.asarray(value, type.format.dtype), type.shape)
        return self.define(Lit(array), type, name)

    def fby(self, init: Var | None, arg: Var, reset: Var | None = None, name: str = "fby") -> Var:
        return self.define(Fby(init, arg, reset), arg.type, name)

    def post(self, arg: Var, final: Var, reset: Var | None = None, name: str = "post") -> Var:
        return self.define(Post(arg, final, reset), arg.type, name)

    def when(self, arg: Var, cond: Var, on: bool = True) -> Var:
        return self.define(When(arg, cond, on), arg.type, arg.name)

    def merge(self, cond: Var, yes: Var, no: Var) -> Var:
        return self.define(Merge(cond, yes, no), yes.type, "merge")

    def inline(self, node: Node, args: tuple[Var, ...]) -> tuple[Var, ...]:
        """The equations of `node` over `args`, under fresh Vars; its outputs."""
        fresh, new = core.copy(node)
        given = dict(zip(fresh.inputs, args, strict=True))
        called = {e.out for e in fresh.eqs if isinstance(e.rhs, Lit) and e.rhs.origin is not None}
        inside = {v for v in new.values() if v not in given}
        for var in inside - called:  # what the user called it says where it is from
            var.scope = self.scope + var.scope

        def to(v: Var) -> Var:
            return given.get(v, v)

        for eq in fresh.eqs:
            self.eqs.append(Equation(eq.outs, core.substitute(eq.rhs, to)))
        self.checks += [replace(c.within(self.scope), cond=to(c.cond)) for c in fresh.checks]
        return tuple(map(to, fresh.outputs))

    def node(self, name: str, inputs: tuple[Var, ...], outputs: tuple[Var, ...]) -> Node:
        """What was built, as a node without dead equations."""
        return core.live(Node(name, inputs, outputs, self.eqs, self.loc, tuple(self.checks)))


def broadcast_shapes(*shapes: Shape) -> Shape:
    """numpy's rule; raises ValueError.

    >>> broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    return tuple(np.broadcast_shapes(*shapes))
