"""The IR: a node is a set of named equations over streams, cut by delays.

Structural forms are a closed union of frozen dataclasses: a pass is one `match` that ends in `assert_never`.
Operators are an open table of records (`ir.op`). Identity is the object, never the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np

from seiche.errors import NOWHERE, Loc
from seiche.numbers.formats import Type

Params: TypeAlias = Mapping[str, Any]
"""Static arguments of an op: hashable values by name."""

Scope: TypeAlias = tuple[str, ...]
"""The path of instances that an equation belongs to, outermost first."""


@dataclass(eq=False)
class Var:
    """A stream: what it holds at a tick, the name and line that the user gave it."""

    name: str
    type: Type
    loc: Loc = NOWHERE
    scope: Scope = ()

    def __repr__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, eq=False)
class Given:
    """An array that the user gave: its name (the path of instances and the variable that holds it), its value in carriers."""

    name: str
    value: np.ndarray
    type: Type
    loc: Loc


@dataclass(frozen=True, eq=False)
class Origin:
    """The arrays that a constant was computed from while tracing, and how: a function of their values by name."""

    given: tuple[Given, ...]
    again: Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Lit:
    """A constant, on the clock of whatever uses it. `value` is in the carrier's dtype and of the Var's shape.

    `origin` is no part of its meaning: where the value came from, if that was the user.
    """

    value: np.ndarray
    origin: Origin | None = None


@dataclass(frozen=True, eq=False)
class Apply:
    """`op` pointwise in time."""

    op: str
    args: tuple[Var, ...]
    params: Params = field(default_factory=dict[str, Any])


@dataclass(frozen=True, eq=False)
class Fby:
    """`init` where the segment opens (tick 0, or `reset`), else `arg` at the previous tick; `init=None`: undefined there."""

    init: Var | None
    arg: Var
    reset: Var | None = None


@dataclass(frozen=True, eq=False)
class Post:
    """`final` where the segment closes (the tick before `reset`, or the last), else `arg` at the next tick."""

    arg: Var
    final: Var
    reset: Var | None = None


@dataclass(frozen=True, eq=False)
class When:
    """`arg` at the ticks where `cond` is `on`."""

    arg: Var
    cond: Var
    on: bool = True


@dataclass(frozen=True, eq=False)
class Merge:
    """`yes` where `cond`, `no` elsewhere."""

    cond: Var
    yes: Var
    no: Var


OutKind: TypeAlias = Literal["stack", "first", "last", "stream"]


@dataclass(frozen=True, eq=False)
class Scan:
    """Runs `body` over `extent` rows inside one tick. `mapped[i]`: argument i gives its row t, else it is constant.

    Output i of the body leaves as `outs[i]`: "stack" (`[extent, ...]`, zero from `length` on), "first" or "last".
    """

    body: Node
    args: tuple[Var, ...]
    mapped: tuple[bool, ...]
    outs: tuple[OutKind, ...]
    extent: int
    length: Var | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """Runs `body` over the ticks up to and including the one where `until` holds, at most `extent` of them.

    A mapped argument is collected at each tick; the others are on the frame's clock (`until`). "stream" outputs return to
    the ticks they belong to (a latency); the others are on the frame's clock. `reset` discards what was collected.
    """

    body: Node
    args: tuple[Var, ...]
    mapped: tuple[bool, ...]
    outs: tuple[OutKind, ...]
    extent: int
    until: Var
    reset: Var | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """A stateless function with a derivative of its own: `vjp` takes the arguments and the cotangents of the results."""

    body: Node
    args: tuple[Var, ...]
    vjp: Node | None = None


Rhs: TypeAlias = Lit | Apply | Fby | Post | When | Merge | Scan | Frame | Call


@dataclass(frozen=True, eq=False)
class Equation:
    """`outs = rhs`; every form but Scan, Frame and Call defines exactly one Var."""

    outs: tuple[Var, ...]
    rhs: Rhs

    @property
    def out(self) -> Var:
        (out,) = self.outs
        return out


Role: TypeAlias = Literal["assumption", "guarantee"]


@dataclass(frozen=True)
class Contract:
    """Whose duty a check is: an assumption is that of the line `caller`, which uses the instance (NOWHERE: of whoever
    gives the inputs); a guarantee is that of the instance. `about`: the names of the streams that it speaks of."""

    role: Role
    instance: Scope = ()
    caller: Loc = NOWHERE
    about: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Check:
    """`cond` holds at each of its ticks; where it does not, running stops with `code` and `text`.

    Without a `contract` it is a bound that the compiler relies on.
    """

    cond: Var
    code: str
    text: str
    loc: Loc
    contract: Contract | None = None

    def said(self, node: str) -> str:
        """What a check of the node of that name is about, in a line."""
        if self.contract is None:
            return f"{self.code} {self.text} ({self.loc})"
        who = "/".join((node, *self.contract.instance))
        line = f", used at {self.contract.caller}" if self.contract.caller != NOWHERE else ""
        said = f": {self.text}" if self.text else ""
        return f"{self.code} {self.contract.role} of {who} ({self.loc}{line}){said}"

    def within(self, scope: Scope) -> Check:
        """The same check in a node that is inlined under a path of instances."""
        if self.contract is None or not scope:
            return self
        path = (*scope, *self.contract.instance)
        return replace(self, contract=replace(self.contract, instance=path))


@dataclass(eq=False)
class Node:
    """Named equations from `inputs` to `outputs`; their order carries no meaning."""

    name: str
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    eqs: list[Equation]
    loc: Loc = NOWHERE
    checks: tuple[Check, ...] = ()

    def definitions(self) -> dict[Var, Equation]:
        """The equation of every defined Var."""
        return {out: eq for eq in self.eqs for out in eq.outs}

    def __str__(self) -> str:
        from seiche.ir.text import show

        return show(self)


def operands(rhs: Rhs) -> tuple[Var, ...]:
    """The Vars that a right-hand side reads, at whatever tick."""
    match rhs:
        case Lit():
            return ()
        case Apply(args=args):
            return args
        case Fby(init, arg, reset):
            return tuple(v for v in (init, arg, reset) if v is not None)
        case Post(arg, final, reset):
            return tuple(v for v in (arg, final, reset) if v is not None)
        case When(arg, cond):
            return (arg, cond)
        case Merge(cond, yes, no):
            return (cond, yes, no)
        case Scan(args=args, length=length):
            return args if length is None else (*args, length)
        case Frame(args=args, until=until, reset=reset):
            return (*args, until) if reset is None else (*args, until, reset)
        case Call(args=args):
            return args
        case _:
            assert_never(rhs)


def substitute(rhs: Rhs, to: Callable[[Var], Var]) -> Rhs:
    """The same form over other operands."""

    def maybe(v: Var | None) -> Var | None:
        return None if v is None else to(v)

    match rhs:
        case Lit():
            return rhs
        case Apply(op, args, params):
            return Apply(op, tuple(map(to, args)), params)
        case Fby(init, arg, reset):
            return Fby(maybe(init), to(arg), maybe(reset))
        case Post(arg, final, reset):
            return Post(to(arg), to(final), maybe(reset))
        case When(arg, cond, on):
            return When(to(arg), to(cond), on)
        case Merge(cond, yes, no):
            return Merge(to(cond), to(yes), to(no))
        case Scan(args=args, length=length):
            return replace(rhs, args=tuple(map(to, args)), length=maybe(length))
        case Frame(args=args, until=until, reset=reset):
            return replace(rhs, args=tuple(map(to, args)), until=to(until), reset=maybe(reset))
        case Call(args=args):
            return replace(rhs, args=tuple(map(to, args)))
        case _:
            assert_never(rhs)


def walk(node: Node) -> Iterator[Node]:
    """The node and every body inside it, outermost first."""
    yield node
    for eq in node.eqs:
        if isinstance(eq.rhs, Scan | Frame | Call):
            yield from walk(eq.rhs.body)


def live(node: Node) -> Node:
    """The node without the equations that no output or check depends on."""
    defs = node.definitions()
    seen: set[Var] = set()
    todo = [*node.outputs, *(check.cond for check in node.checks)]
    while todo:
        var = todo.pop()
        if var in seen or var not in defs:
            continue
        seen.update(defs[var].outs)
        todo.extend(operands(defs[var].rhs))
    return replace(node, eqs=[eq for eq in node.eqs if eq.outs[0] in seen])


def copy(node: Node) -> tuple[Node, dict[Var, Var]]:
    """The same node over fresh Vars, and the map from old to new."""
    new: dict[Var, Var] = {}

    def fresh(v: Var) -> Var:
        if v not in new:
            new[v] = Var(v.name, v.type, v.loc, v.scope)
        return new[v]

    eqs = [Equation(tuple(map(fresh, eq.outs)), substitute(eq.rhs, fresh)) for eq in node.eqs]
    inputs, outputs = tuple(map(fresh, node.inputs)), tuple(map(fresh, node.outputs))
    checks = tuple(replace(check, cond=fresh(check.cond)) for check in node.checks)
    return Node(node.name, inputs, outputs, eqs, node.loc, checks), new
