"""Clock inference: the clock of every Var of a node, by first-order unification.

    base clock: the inputs        x :: c, k :: c on b  (cond k, polarity b)
    Apply:  all operands and the result on one clock      Lit, and Apply of constants:   any clock, at each use
    Fby, Post: init, arg, reset and the result on one     When(x, k, b):  x :: c, k :: c  |-  c on (k, b)
    Merge(k, y, n):  k :: c, y :: c on k, n :: c on not k  |-  c
    Scan, Call: as Apply          Frame(until :: c):  mapped x :: c, others c on until  |-  "stream" :: c, slow c on until

Colaco & Pouzet 2003, "Clocks as first class abstract types" (the first-order, dependent-on-names fragment).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

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

Clock: TypeAlias = tuple[tuple[Var, bool], ...]
"""() is the base clock; (k, on) appended samples it, slowest last."""


@dataclass(eq=False)
class Base:
    """The node's own clock."""


@dataclass(eq=False)
class On:
    parent: Term
    cond: Var
    on: bool


@dataclass(eq=False)
class Free:
    """A clock that is not known yet; `name` speaks of it in messages."""

    bound: Term | None = None


Term: TypeAlias = Base | On | Free


@dataclass(frozen=True)
class Mismatch:
    """Two Vars that an equation wants on one clock and that are not."""

    equation: Equation
    left: Var
    left_clock: Clock
    right: Var
    right_clock: Clock


@dataclass
class Clocks:
    """What inference found: `of(var)`, and the mismatches in the order of the equations."""

    terms: dict[Var, Term] = field(default_factory=dict["Var", "Term"])
    mismatches: list[Mismatch] = field(default_factory=list["Mismatch"])

    def __getitem__(self, var: Var) -> Clock:
        return resolve(self.terms[var])

    def known(self, var: Var) -> bool:
        """Whether anything has fixed the Var's clock (a constant used nowhere is free)."""
        return not isinstance(find(self.terms[var])[0], Free)


def find(term: Term) -> tuple[Term, Clock]:
    """The root of a term (Base, or a Free that nothing bound) and the path from it."""
    path: list[tuple[Var, bool]] = []
    while True:
        match term:
            case Free(bound=None) | Base():
                return term, tuple(reversed(path))
            case Free():
                term = _shorten(term)
            case On(parent, cond, on):
                path.append((cond, on))
                term = parent
            case _:
                assert_never(term)


def resolve(term: Term) -> Clock:
    """The clock of a term; what is still free is on the base."""
    return find(term)[1]


def _shorten(term: Term) -> Term:
    """What a term is bound to in the end. The way there is cut short, or long chains would be walked at every look-up."""
    end = term
    while isinstance(end, Free) and end.bound is not None:
        end = end.bound
    while isinstance(term, Free) and term.bound is not None:
        term.bound, term = end, term.bound
    return end


def _occurs(free: Free, term: Term) -> bool:
    return find(term)[0] is free


def unify(a: Term, b: Term) -> bool:
    """Makes two terms equal; False when they cannot be."""
    a, b = _shorten(a), _shorten(b)
    if a is b:
        return True
    if isinstance(a, Free):
        if _occurs(a, b):
            return False
        a.bound = b
        return True
    if isinstance(b, Free):
        return unify(b, a)
    if isinstance(a, On) and isinstance(b, On):
        return a.cond is b.cond and a.on == b.on and unify(a.parent, b.parent)
    return False


def infer(node: Node) -> Clocks:
    """The clock of every Var of the node (not of bodies, which have a time of their own)."""
    clocks = Clocks()
    base = Base()
    for var in node.inputs:
        clocks.terms[var] = base
    for eq in node.eqs:
        for out in eq.outs:
            clocks.terms.setdefault(out, Free())
    fixed = constants(node)
    for eq in node.eqs:
        _constrain(eq, clocks, fixed)
    return clocks


def conditions_of(eq: Equation, clocks: Clocks) -> tuple[Var, ...]:
    """The conditions of the clock that an equation runs on."""
    return tuple(cond for cond, _ in clocks[eq.outs[0]])


def constants(node: Node) -> set[Var]:
    """The Vars that hold one value for ever: literals, and ops of nothing but constants (what reads itself is none)."""
    known: set[Var] = set()
    unknown: dict[Equation, int] = {}
    readers: dict[Var, list[Equation]] = {}
    todo: list[Equation] = []
    for eq in node.eqs:
        if isinstance(eq.rhs, Lit | Apply):
            unknown[eq] = len(operands(eq.rhs))
            todo += [] if unknown[eq] else [eq]
            for var in operands(eq.rhs):
                readers.setdefault(var, []).append(eq)
    while todo:
        (var,) = todo.pop().outs
        known.add(var)
        for reader in readers.get(var, ()):
            unknown[reader] -= 1
            todo += [] if unknown[reader] else [reader]
    return known


def _constrain(eq: Equation, clocks: Clocks, fixed: set[Var]) -> None:
    def same(var: Var, term: Term, as_: Var) -> None:
        if var in fixed:
            return
        mine = clocks.terms.setdefault(var, Free())
        if not unify(mine, term):
            clocks.mismatches.append(Mismatch(eq, var, resolve(mine), as_, resolve(term)))

    def together(*vars: Var) -> None:
        first, *rest = [v for v in vars if v not in fixed] or vars[:1]
        for var in rest:
            same(var, clocks.terms.setdefault(first, Free()), first)

    def clock_of(cond: Var, other: Var) -> Term:
        """Of a condition; a constant has the clock of what it goes with."""
        return clocks.terms.setdefault(other if cond in fixed else cond, Free())

    rhs = eq.rhs
    match rhs:
        case Lit():
            pass
        case Apply(args=args):
            together(eq.out, *args)
        case Fby(init, arg, reset) | Post(arg, init, reset):
            together(eq.out, *(v for v in (arg, init, reset) if v is not None))
        case When(arg, cond, on):
            together(cond, arg)
            same(eq.out, On(clock_of(cond, arg), cond, on), cond)
        case Merge(cond, yes, no):
            together(cond, eq.out)
            same(yes, On(clock_of(cond, eq.out), cond, True), cond)
            same(no, On(clock_of(cond, eq.out), cond, False), cond)
        case Scan(args=args, length=length):
            together(*eq.outs, *args, *(() if length is None else (length,)))
        case Call(args=args):
            together(*eq.outs, *args)
        case Frame():
            _constrain_frame(eq, rhs, clocks, same)
        case _:
            assert_never(rhs)


def _constrain_frame(
    eq: Equation, frame: Frame, clocks: Clocks, same: Callable[[Var, Term, Var], None]
) -> None:
    tick = clocks.terms.setdefault(frame.until, Free())
    slow = On(tick, frame.until, True)
    if frame.reset is not None:
        same(frame.reset, tick, frame.until)
    for arg, mapped in zip(frame.args, frame.mapped, strict=True):
        same(arg, tick if mapped else slow, frame.until)
    for out, kind in zip(eq.outs, frame.outs, strict=True):
        same(out, tick if kind == "stream" else slow, frame.until)


def show(clock: Clock) -> str:
    """A clock as people write it.

    >>> show(())
    'base'
    """
    return " on ".join(["base", *(("" if on else "not ") + cond.name for cond, on in clock)])
