"""Initialisation: an undefined first value is never seen.

    x : S    S = the `pre`s whose undefined opening may show in x;  x : {} is defined at each of its ticks

    pre x : {pre} if x : {}            fby(i, x) : S_i if x : {}            post(x, f) : S_f if x : {} at ticks that post reads
    op(x_1 ... x_n) : S_1 | ... | S_n           select(first, a, x) : S_a | (S_x - openings of first)
    when(x, c) : S_x  if c : {}                 when(x, not first) : S_x - openings of first
    merge(c, x, y) : S_x | S_y  if c : {}       lit, input : {}
    outputs, checks, conditions, resets, what enters or leaves a frame : {}

The one-bit system of Colaco & Pouzet 2004, "Type-based initialization analysis of a synchronous dataflow language" (0 =
defined, 1 = undefined at the first tick; a delayed x must be 0, since two ticks deep is not followed), with a bit per `pre`
and its segment instead of one for the program, so that resets are told apart. `first` is fby(true, false): it guards the
`pre`s of its clock and of its reset, and those that open at the first tick only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from seiche.check.clocks import conditions
from seiche.check.facts import Why, named
from seiche.errors import NOWHERE, Diagnostic, Loc
from seiche.ir.clocks import Clock, Clocks
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
    walk,
)


@dataclass(frozen=True)
class Opening:
    """The ticks where the segments of a clock open: its first, and where `reset` holds."""

    clock: Clock
    reset: Var | None


@dataclass
class _Analysis:
    """`seen[x]`: the `pre`s that may show in x, each with the Var through which it came."""

    node: Node
    clocks: Clocks
    defs: dict[Var, Equation]
    seen: dict[Var, dict[Var, Var]] = field(default_factory=dict["Var", "dict[Var, Var]"])

    def opening(self, var: Var) -> Opening:
        """Of a Var that an Fby defines."""
        rhs = self.defs[var].rhs
        assert isinstance(rhs, Fby)
        return Opening(self.clocks[var], rhs.reset)

    def of(self, var: Var | None) -> dict[Var, Var]:
        return self.seen.get(var, {}) if var is not None else {}


def check(node: Node, clocks: Clocks) -> list[Diagnostic]:
    """SE501 once for each `pre` that can be seen undefined, with the path to the place."""
    if not any(isinstance(eq.rhs, Fby) and eq.rhs.init is None for eq in node.eqs):
        return []
    found = _Analysis(node, clocks, node.definitions())
    _spread(found)
    told: dict[Var, Diagnostic] = {}
    for role, var, where in _sites(found):
        for pre in _hidden(found, role, var):
            told.setdefault(pre, _fault(found, pre, var, role, where))
    return list(told.values())


def _spread(found: _Analysis) -> None:
    """The least solution: openings spread along the equations until nothing changes."""
    users: dict[Var, list[Equation]] = {}
    for eq in found.node.eqs:
        for var in operands(eq.rhs):
            users.setdefault(var, []).append(eq)
    todo = list(found.node.eqs)
    while todo:
        eq = todo.pop(0)
        for out in eq.outs:
            here = found.seen.setdefault(out, {})
            new = {pre: via for pre, via in _flow(found, eq, out) if pre not in here}
            if new:
                here.update(new)
                todo += users.get(out, [])


def _flow(found: _Analysis, eq: Equation, out: Var) -> Iterator[tuple[Var, Var]]:
    """The openings that may show in a result, each with the operand it comes from."""
    rhs = eq.rhs
    match rhs:
        case Lit() | Frame():
            pass
        case Apply("select", (cond, yes, no)):
            yield from _all(found, cond, yes)
            guard = _guard(found, cond)
            yield from ((p, no) for p in found.of(no) if not guard or not _covers(found, guard, p))
        case Apply(args=args):
            yield from _all(found, *args)
        case Fby(init, _):
            yield from [(out, out)] if init is None else _all(found, init)
        case Post(_, final):
            yield from _all(found, final)
        case When(arg, cond, on):
            guard = None if on else _guard(found, cond)
            yield from (
                (p, arg) for p in found.of(arg) if not guard or not _covers(found, guard, p)
            )
        case Merge(_, yes, no):
            yield from _all(found, yes, no)
        case Scan(args=args) | Call(args=args):
            yield from _all(found, *args)
        case _:
            assert_never(rhs)


def _all(found: _Analysis, *vars: Var) -> Iterator[tuple[Var, Var]]:
    return ((pre, var) for var in vars for pre in found.of(var))


# --------------------------------------------------------------------------------------------- guards

_PASSING = frozenset({"reshape", "broadcast"})
"""Ops that keep a condition what it is."""


def _guard(found: _Analysis, cond: Var) -> Opening | None:
    """The openings where a condition is sure to hold: those of `first`, seen on a sub-clock or beside others (`or`)."""
    eq = found.defs.get(cond)
    match eq.rhs if eq else None:
        case Fby(Var() as init, arg) if _constant(found, init, True) and _constant(
            found, arg, False
        ):
            return found.opening(cond)
        case When(arg=arg):
            return _guard(found, arg)
        case Apply(op, (arg, *_)) if op in _PASSING:
            return _guard(found, arg)
        case Apply("logical_or", (left, right)):
            return _guard(found, left) or _guard(found, right)
        case _:
            return None


def _covers(found: _Analysis, guard: Opening, pre: Var) -> bool:
    """Whether the guard holds wherever the `pre` opens."""
    opening = found.opening(pre)
    return guard.clock == opening.clock and _implied(found, opening.reset, guard.reset)


def _implied(found: _Analysis, reset: Var | None, by: Var | None) -> bool:
    """Whether `by` opens at least the segments that `reset` opens: nothing more, the same, or one side of an `or`."""
    if reset is None or reset is by:
        return True
    eq = found.defs.get(by) if by is not None else None
    match eq.rhs if eq else None:
        case Apply("logical_or", args):
            return any(_implied(found, reset, arg) for arg in args)
        case _:
            return False


def _constant(found: _Analysis, var: Var, value: bool) -> bool:
    eq = found.defs.get(var)
    match eq.rhs if eq else None:
        case Lit(value=array):
            return bool((array == value).all())
        case Apply(op, (arg, *_)) if op in _PASSING:
            return _constant(found, arg, value)
        case _:
            return False


# --------------------------------------------------------------------------- where values must be defined


def _sites(found: _Analysis) -> Iterator[tuple[str, Var, Loc]]:
    """What must be defined: a role, the Var, and the place to complain at."""
    for eq in found.node.eqs:
        where = eq.outs[0].loc if eq.outs else found.node.loc
        match eq.rhs:
            case Fby(arg=arg):
                yield f"is delayed once more by {named(eq.out)}", arg, where
            case Post(arg=arg):
                yield "is looked ahead to", arg, where
            case Frame(args=args):
                yield from (("enters a frame", arg, where) for arg in args)
            case Scan(args=args, body=body) | Call(args=args, body=body) if _checked(body):
                yield from (("enters a node that checks its values", arg, where) for arg in args)
            case _:
                pass
        for role, cond in conditions(eq):
            if cond is not None:
                yield f"is {role}", cond, where
        if isinstance(eq.rhs, Scan) and eq.rhs.length is not None:
            yield "is the length of a scan", eq.rhs.length, where
    yield from (("is checked", check.cond, check.loc) for check in found.node.checks)
    yield from (("leaves as an output", var, var.loc) for var in found.node.outputs)


def _checked(body: Node) -> bool:
    return any(inner.checks for inner in walk(body))


def _hidden(found: _Analysis, role: str, var: Var) -> Iterator[Var]:
    """The `pre`s that show in a Var that must be defined; `post` never reads the opening of its own segment."""
    for pre in found.of(var):
        if role != "is looked ahead to" or not _opens_unseen(found, pre, var):
            yield pre


def _opens_unseen(found: _Analysis, pre: Var, arg: Var) -> bool:
    """A value at an opening has no tick before it in its segment that could look ahead to it."""
    opening = found.opening(pre)
    posts = [eq for eq in found.node.eqs if isinstance(eq.rhs, Post) and eq.rhs.arg is arg]
    return all(
        found.clocks[eq.out] == opening.clock
        and isinstance(eq.rhs, Post)
        and _implied(found, opening.reset, eq.rhs.reset)
        for eq in posts
    )


def _fault(found: _Analysis, pre: Var, var: Var, role: str, where: Loc) -> Diagnostic:
    path = [var]
    while path[-1] is not pre:
        path.append(found.seen[path[-1]][pre])
    fby = found.defs[pre].rhs
    assert isinstance(fby, Fby)
    value = f"pre({fby.arg.name})"
    it = f"`{value}`" if pre.name == "pre" else f"{named(pre)}, which is `{value}`,"
    opens = "at the first tick" + (f" and where {named(fby.reset)} holds" if fby.reset else "")
    why: Why = ((f"{it} has no value {opens}", pre.loc),)
    for source, user in zip(reversed(path), list(reversed(path))[1:], strict=False):
        why += ((f"{named(user)} is computed from {named(source)}", user.loc),)
    why += ((f"{named(var)} {role}", None if where == var.loc else where),)
    hint = "say what comes first: sc.fby(0.0, x), or sc.arrow(0.0, sc.pre(x))"
    place = pre.loc if where == NOWHERE else where
    return Diagnostic(
        "SE501", f"the undefined first value of `{value}` can be seen", place, why, hint
    )
