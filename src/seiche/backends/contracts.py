"""Contracts while a program runs: what is said of a check that fails, and programs that leave their contracts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from seiche.errors import NOWHERE, Loc, SeicheError, fail
from seiche.ir import core
from seiche.ir.core import Apply, Call, Check, Equation, Frame, Merge, Node, Scan, Var, When
from seiche.ir.op import AnyArray

AGAIN = "reset() starts again"


def complaint(name: str, check: Check, tick: int, values: Mapping[str, AnyArray]) -> SeicheError:
    """The error of a check of the node `name` that fails at a tick: whose duty it was, and what the streams were."""
    was = tuple(f"`{of}` is {shown(value)}" for of, value in values.items())
    if check.contract is None:
        return fail(check.code, f"{check.text}, at tick {tick}", check.loc, *was, hint=AGAIN)
    who, role, caller = instance_of(name, check), check.contract.role, check.contract.caller
    verb = {"assumption": "assumes", "guarantee": "guarantees"}[role]
    broken = (
        f"`{who}` {verb} that {check.text}, which does not hold at tick {tick}"
        if check.text
        else f"a{'n' * (role == 'assumption')} {role} of `{who}` does not hold at tick {tick}"
    )
    if role == "guarantee":
        return fail(check.code, broken, check.loc, *was, hint=AGAIN)
    duty = "whoever gives the inputs" if caller == NOWHERE else "the line that uses it"
    stated: tuple[tuple[str, Loc | None], ...] = (
        () if caller == NOWHERE else (("it is stated here", check.loc),)
    )
    where = check.loc if caller == NOWHERE else caller
    return fail(check.code, broken, where, *stated, *was, hint=f"{duty} must see to it; {AGAIN}")


def instance_of(name: str, check: Check) -> str:
    """The path of the instance whose contract a check is of.

    >>> from seiche.ir.core import Contract
    >>> from seiche.numbers.formats import Type, bool_
    >>> check = Check(Var("c", Type(bool_)), "SE803", "", NOWHERE, Contract("assumption", ("limiter",)))
    >>> instance_of("car", check)
    'car/limiter'
    """
    return "/".join((name, *(check.contract.instance if check.contract else ())))


def shown(value: AnyArray) -> str:
    """A value of a stream in a few characters, on one line."""
    said = np.array2string(
        np.asarray(value),
        max_line_width=10_000,
        precision=7,
        threshold=8,
        edgeitems=2,
        separator=", ",
    )
    return said.replace("\n", "")


def spoken_of(node: Node, check: Check, values: Mapping[Var, AnyArray]) -> dict[str, AnyArray]:
    """The values at a tick of the streams that a check of a lowered node speaks of, by name."""
    about = () if check.contract is None else check.contract.about
    return {v.name: values[v] for v in _parts(node, check.cond, frozenset(about)) if v in values}


def _parts(node: Node, cond: Var, about: frozenset[str]) -> Iterator[Var]:
    """The Vars of these names that a condition is made of at its own tick."""
    defs, todo, seen = node.definitions(), [cond], {cond}
    while todo and about:
        var = todo.pop(0)
        if var.name in about and var is not cond:
            yield var
        else:
            inner = [v for v in _read(defs.get(var)) if v not in seen]
            seen.update(inner)
            todo[:0] = inner


def _read(eq: Equation | None) -> tuple[Var, ...]:
    match eq:
        case Equation(rhs=Apply() | When() | Merge() as rhs):
            return core.operands(rhs)
        case _:
            return ()


def unmonitored(node: Node) -> Node:
    """The node without its contracts, and without what only they need."""

    def bare(rhs: core.Rhs) -> core.Rhs:
        bodies = isinstance(rhs, Scan | Frame | Call)
        return replace(rhs, body=unmonitored(rhs.body)) if bodies else rhs

    eqs = [Equation(eq.outs, bare(eq.rhs)) for eq in node.eqs]
    kept = tuple(check for check in node.checks if check.contract is None)
    return core.live(replace(node, eqs=eqs, checks=kept))
