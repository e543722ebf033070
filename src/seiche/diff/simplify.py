"""Local simplification inside one instant: what a transposition leaves behind goes, bits stay.

    neg(neg x) -> x     x + neg y -> x - y     x - neg y -> x + y     x * 1, x / 1 -> x     select(c, x, x) -> x
    select(c, select(c, x, _), y) -> select(c, x, y)     moves that move nothing, and two reshapes or transposes in a row
    when(merge(c, x, y), c) -> x     merge(c, when(x, c), when(x, !c)) -> x     y = fby(k, y) -> k, of constant k
    equal equations, arguments and results of a body -> one of them

Every rule is exact on every value (IEEE 754: a - b is a + (-b), x * 1 is x), so that the primal results keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, TypeAlias, assert_never

import numpy as np

from seiche.diff.prune import prune
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
    Rhs,
    Scan,
    Var,
    When,
    substitute,
)

PASSES_MAX = 20
"""Each pass but the last makes the program smaller; what is not done after these is left as it is."""

Forms: TypeAlias = dict[Var, Rhs]
"""The right-hand side of every Var that is the only result of its equation."""


def simplify(node: Node, constant: Collection[Var] = ()) -> Node:
    """The same streams from fewer equations; the inputs in `constant` have one value at all ticks."""
    for _ in range(PASSES_MAX):
        node, changed = _Pass(node, constant).run()
        if not changed:
            break
    node = prune(node)
    node = prune(replace(node, eqs=[_inside(eq) for eq in node.eqs]))
    same = dict(pair for eq in node.eqs for pair in _twins(eq))
    return _renamed(node, lambda v: same.get(v, v)) if same else node


def _inside(eq: Equation) -> Equation:
    """A scan or frame with a simpler body, that reads each argument once."""
    rhs = eq.rhs
    if not isinstance(rhs, Scan | Frame):
        return eq
    first: dict[tuple[Var, bool], Var] = {}
    same: dict[Var, Var] = {}
    for var, arg, mapped in zip(rhs.body.inputs, rhs.args, rhs.mapped, strict=True):
        kept = first.setdefault((arg, mapped), var)
        if kept is not var:
            same[var] = kept
    body = _renamed(rhs.body, lambda v: same.get(v, v))
    constant = {v for v, mapped in zip(body.inputs, rhs.mapped, strict=True) if not mapped}
    return Equation(eq.outs, replace(rhs, body=simplify(body, constant)))


def _twins(eq: Equation) -> Iterator[tuple[Var, Var]]:
    """Equal results of a body, each with the first of them."""
    if isinstance(eq.rhs, Scan | Frame):
        first: dict[tuple[Var, str], Var] = {}
        for out, var, kind in zip(eq.outs, eq.rhs.body.outputs, eq.rhs.outs, strict=True):
            kept = first.setdefault((var, kind), out)
            if kept is not out:
                yield out, kept


def _renamed(node: Node, to: Callable[[Var], Var]) -> Node:
    """The node with other operands, outputs and conditions."""
    return replace(
        node,
        outputs=tuple(map(to, node.outputs)),
        eqs=[Equation(eq.outs, substitute(eq.rhs, to)) for eq in node.eqs],
        checks=tuple(replace(check, cond=to(check.cond)) for check in node.checks),
    )


class _Pass:
    """One pass over the equations in their order."""

    def __init__(self, node: Node, constant: Collection[Var]) -> None:
        self.before = node
        self.constant = constant
        self.forms: Forms = {eq.outs[0]: eq.rhs for eq in node.eqs if len(eq.outs) == 1}
        self.same: dict[Var, Var] = {}
        self.seen: dict[tuple[Any, ...], Var] = {}

    def run(self) -> tuple[Node, bool]:
        eqs: list[Equation] = []
        for eq in self.before.eqs:
            kept = self.equation(eq)
            if kept is not None:
                eqs.append(kept)
        changed = bool(self.same) or any(
            a.rhs is not b.rhs for a, b in zip(eqs, self.before.eqs, strict=False)
        )
        if not changed:
            return self.before, False
        return _renamed(replace(self.before, eqs=eqs), self.to), True

    def to(self, var: Var) -> Var:
        """The Var that stands for an equal one."""
        while var in self.same:
            var = self.same[var]
        return var

    def equation(self, eq: Equation) -> Equation | None:
        if len(eq.outs) != 1:
            return eq
        found = self.held(eq) or rewrite(eq.rhs, self.form)
        if isinstance(found, Var) and self.to(found) is eq.out:
            found = eq.rhs
        if isinstance(found, Var):
            self.same[eq.out] = self.to(found)
            return None
        key = self.key(found, eq.out)
        if key is not None and self.seen.setdefault(key, eq.out) is not eq.out:
            self.same[eq.out] = self.to(self.seen[key])
            return None
        self.forms[eq.out] = found
        return eq if found is eq.rhs else Equation(eq.outs, found)

    def held(self, eq: Equation) -> Var | None:
        """The constant that a delay of itself holds."""
        match eq.rhs:
            case Fby(Var() as value, arg) | Post(arg, value) if self.to(arg) in (
                eq.out,
                self.to(value),
            ):
                is_constant = value in self.constant or isinstance(self.form(value), Lit)
                return value if is_constant else None
            case _:
                return None

    def form(self, var: Var) -> Rhs | None:
        return self.forms.get(self.to(var))

    def key(self, rhs: Rhs, out: Var) -> tuple[Any, ...] | None:
        """Equal keys, equal streams."""
        to = self.to
        match rhs:
            case Lit(value):
                return (
                    (Lit, out.type, np.ascontiguousarray(value).tobytes())
                    if value.size <= 64
                    else None
                )
            case Apply(op, args, params):
                return (
                    Apply,
                    op,
                    *map(to, args),
                    repr(sorted(params.items(), key=lambda item: item[0])),
                )
            case Fby(init, arg, reset) | Post(arg, init, reset):
                return (type(rhs), *(v and to(v) for v in (init, arg, reset)))
            case When(arg, cond, on):
                return (When, to(arg), to(cond), on)
            case Merge(cond, yes, no):
                return (Merge, to(cond), to(yes), to(no))
            case Scan() | Frame() | Call():
                return None
            case _:
                assert_never(rhs)


def rewrite(rhs: Rhs, form: Callable[[Var], Rhs | None]) -> Rhs | Var:
    """A simpler form of the same stream, a Var that is that stream, or the form itself."""
    match rhs:
        case When(arg, cond, on):
            match form(arg):
                case Merge(other, yes, no) if other is cond:
                    return yes if on else no
                case _:
                    return rhs
        case Merge(cond, yes, no):
            match form(yes), form(no):
                case When(x, c, True), When(y, d, False) if x is y and c is cond and d is cond:
                    return x
                case _:
                    return rhs
        case Apply():
            return _apply(rhs, form)
        case _:
            return rhs


def _apply(rhs: Apply, form: Callable[[Var], Rhs | None]) -> Rhs | Var:
    forms = tuple(form(a) for a in rhs.args)
    match rhs.op, rhs.args, forms:
        case "neg", _, (Apply("neg", (x,)),):
            return x
        case "add", (x, _), (_, Apply("neg", (y,))):
            return Apply("sub", (x, y), rhs.params)
        case "add", (_, x), (Apply("neg", (y,)), _):
            return Apply("sub", (x, y), rhs.params)
        case "sub", (x, _), (_, Apply("neg", (y,))):
            return Apply("add", (x, y), rhs.params)
        case "mul" | "div", (x, _), (_, one) if _is_one(one, form):
            return x
        case "mul", (_, x), (one, _) if _is_one(one, form):
            return x
        case "select", (_, x, y), _ if x is y:
            return x
        case "select", (c, _, y), (_, Apply("select", (d, x, _)), _) if c is d:
            return Apply("select", (c, x, y), rhs.params)
        case "select", (c, x, _), (_, _, Apply("select", (d, _, y))) if c is d:
            return Apply("select", (c, x, y), rhs.params)
        case (("reshape" | "broadcast" | "transpose"), (x,), (inner,)):
            return _move(rhs, x, inner)
        case _:
            return rhs


def _move(rhs: Apply, x: Var, inner: Rhs | None) -> Rhs | Var:
    """Moves of one argument."""
    match rhs.op, inner:
        case "transpose", _ if tuple(rhs.params["perm"]) == tuple(range(len(x.type.shape))):
            return x
        case (("reshape" | "broadcast"), _) if tuple(rhs.params["shape"]) == x.type.shape:
            return x
        case "reshape", Apply("reshape", (y,)):
            return Apply("reshape", (y,), rhs.params)
        case "transpose", Apply("transpose", (y,), params):
            perm = tuple(params["perm"][k] for k in rhs.params["perm"])
            return Apply("transpose", (y,), {"perm": perm})
        case _:
            return rhs


def _is_one(rhs: Rhs | None, form: Callable[[Var], Rhs | None]) -> bool:
    match rhs:
        case Lit(value):
            return bool(np.all(value == 1))
        case Apply("broadcast" | "reshape", (x,)):
            return _is_one(form(x), form)
        case _:
            return False
