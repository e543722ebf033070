"""Clocks: streams that meet are present at the same ticks.

The judgement `x :: clock` and its rules are in `ir.clocks`, which infers them by unification; here its failures are told:

    x :: c1,  y :: c2,  c1 /= c2,  an equation wants them together          SE301
    a result of a body is present at each row:  out :: base                 SE301
    the condition of when, merge, until, reset, check : bool, a scalar      SE302
    post, and a frame's streams, on the device's own ticks:  :: base        SE303

Look-ahead on a sub-clock would return to the base clock after an unbounded time; rows are bounded, and may look ahead.
Colaco & Pouzet 2003, "Clocks as first class abstract types".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias, assert_never

from seiche.check.facts import Place, Why, named
from seiche.errors import Diagnostic, Loc
from seiche.ir import clocks
from seiche.ir.clocks import Clock, Clocks, Mismatch
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
from seiche.numbers.formats import bool_

Definitions: TypeAlias = Mapping[Var, Equation]


def check(node: Node, place: Place, body: bool) -> tuple[Clocks, list[Diagnostic]]:
    """The clock of every stream, and SE301, SE302, SE303. `body`: results must be present at each row (or call)."""
    found = clocks.infer(node)
    defs = node.definitions()
    faults = [*_conditions(node), *(_mismatch(_apart(m, found), defs) for m in found.mismatches)]
    if not found.mismatches:
        faults += [*_results(node, found)] if body else []
        faults += [*_ahead(node, found)] if place == "node" else []
    return found, faults


def _apart(m: Mismatch, found: Clocks) -> Mismatch:
    """The same mismatch between two operands where the result only took the clock of one of them."""
    if m.right not in m.equation.outs:
        return m
    for var in operands(m.equation.rhs):
        if var is not m.left and var in found.terms and found[var] == m.right_clock:
            return replace(m, right=var) if found.known(var) else m
    return m


def _mismatch(m: Mismatch, defs: Definitions) -> Diagnostic:
    left, right = clocks.show(m.left_clock), clocks.show(m.right_clock)
    what = f"{_said(m.left, defs)} is on clock `{left}`, {_said(m.right, defs)} on `{right}`"
    out = m.equation.outs[0] if m.equation.outs else m.left
    sides = ((m.left, left), (m.right, right))
    why = tuple((f"{_said(var, defs)} is present on `{clock}`", var.loc) for var, clock in sides)
    return Diagnostic("SE301", what, out.loc, why + _conds(m), _hint(m))


def _said(var: Var, defs: Definitions) -> str:
    """A stream by name; one that was sampled under its old name, with the condition."""
    rhs = defs[var].rhs if var in defs else None
    if isinstance(rhs, When) and rhs.arg.name == var.name:
        return f"{named(var)} (when {'' if rhs.on else 'not '}{named(rhs.cond)})"
    return named(var)


def _conds(m: Mismatch) -> Why:
    """Where conditions come from that share a name and would read as the same clock."""
    conds = [cond for cond, _ in (*m.left_clock, *m.right_clock)]
    twins = {c for c in conds if any(c.name == d.name and c is not d for d in conds)}
    told = [c for i, c in enumerate(conds) if c in twins and c not in conds[:i]]
    return tuple((f"one {named(c)} is made here", c.loc) for c in told)


def _hint(m: Mismatch) -> str:
    left, right = m.left_clock, m.right_clock
    if left[: len(right)] == right:
        return _sample(m.left, m.right, left[len(right) :])
    if right[: len(left)] == left:
        return _sample(m.right, m.left, right[len(left) :])
    if left and right and left[:-1] == right[:-1] and left[-1][0] is right[-1][0]:
        yes, no = (m.left, m.right) if left[-1][1] else (m.right, m.left)
        return f"join the two: sc.merge({left[-1][0].name}, {yes.name}, {no.name})"
    return "bring both to one clock: sc.hold(x, init) keeps a slow stream's latest value, sc.when(x, c) samples it"


def _sample(slow: Var, fast: Var, rest: Clock) -> str:
    cond, on = rest[0]
    sample = f"sc.when({fast.name}, {cond.name}{'' if on else ', False'})"
    slow_one = f"the slow `{slow.name}`"
    return f"sample the fast one: {sample}; or keep {slow_one}: sc.hold(it, init); or sc.merge it with what holds elsewhere"


def _results(node: Node, found: Clocks) -> Iterator[Diagnostic]:
    for out in dict.fromkeys(node.outputs):
        clock = found[out] if out in found.terms else ()
        if clock:
            what = f"{named(out)} leaves `{node.name}` and is absent at some of its rows"
            why = ((f"it is on clock `{clocks.show(clock)}`", out.loc),)
            hint = f"a value for every row: sc.hold({out.name}, init), or sc.merge"
            yield Diagnostic("SE301", what, out.loc, why, hint)


def _ahead(node: Node, found: Clocks) -> Iterator[Diagnostic]:
    """SE303: look-ahead is on the base clock."""
    for eq in node.eqs:
        match eq.rhs:
            case Post():
                ahead = eq.outs
            case Frame(outs=kinds):
                ahead = tuple(v for v, kind in zip(eq.outs, kinds, strict=True) if kind == "stream")
            case _:
                continue
        for out in ahead:
            if clock := found[out]:
                what = f"{named(out)} looks ahead on the clock `{clocks.show(clock)}`"
                why = (("its next tick may be arbitrarily far away", None),)
                hint = "look ahead on the base clock and sample after it, or take slow results of the frame"
                yield Diagnostic("SE303", what, out.loc, why, hint)


def _conditions(node: Node) -> Iterator[Diagnostic]:
    seen: set[tuple[Var, str]] = set()
    for role, cond, where in _all_conditions(node):
        bad = cond.type.format != bool_ or cond.type.shape
        if bad and (cond, role) not in seen:
            seen.add((cond, role))
            what = f"{role} is a scalar bool, but {named(cond)} is {cond.type}"
            hint = "compare (x > 0), or reduce with .any() or .all()"
            yield Diagnostic(
                "SE302", what, where, ((f"{named(cond)} is made here", cond.loc),), hint
            )


def _all_conditions(node: Node) -> Iterator[tuple[str, Var, Loc]]:
    for eq in node.eqs:
        where = eq.outs[0].loc if eq.outs else node.loc
        yield from ((role, cond, where) for role, cond in conditions(eq) if cond is not None)
    yield from (("what is checked", check.cond, check.loc) for check in node.checks)


def conditions(eq: Equation) -> tuple[tuple[str, Var | None], ...]:
    """The conditions that an equation reads, with the role of each."""
    rhs = eq.rhs
    match rhs:
        case Fby(reset=reset) | Post(reset=reset):
            return (("a reset", reset),)
        case When(cond=cond):
            return (("the condition of `when`", cond),)
        case Merge(cond=cond):
            return (("the condition of `merge`", cond),)
        case Frame(until=until, reset=reset):
            return (("the end of a frame (until)", until), ("a reset", reset))
        case Lit() | Apply() | Scan() | Call():
            return ()
        case _:
            assert_never(rhs)
