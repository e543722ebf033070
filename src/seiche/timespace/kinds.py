"""Which equations of a node over rows become whole tensors, and which stay a loop; in which order.

    constant    the same for ever                 copied to where it is read
    invariant   the same at every row             once
    wide        stateless, on the base clock      an op over the axis of rows, by the rule of batching
    shift       a delay on no recurrence          the rows moved by one, with the edge of the row before (or after)
    register    s' = concat(s, x)[m:]             windows of the rows, with the edges of those before
    frames      of P ticks, which fill a block    scans side by side
    linear      s' = a s + b (fast arithmetic)    a parallel scan
    loop        recurrences, and sub-clocks       a scan

Wide levels (wide, shift, register) and loop levels alternate: each component joins the earliest level of its kind after
what it reads (loop distribution, Kennedy & McKinley 1993), so that independent recurrences share one scan.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from seiche.ir.clocks import Clocks, constants, infer
from seiche.ir.core import Apply, Call, Equation, Fby, Frame, Lit, Node, Post, Scan, Var, operands
from seiche.ir.graph import components, is_cyclic
from seiche.ir.op import OPS, Element, use
from seiche.timespace.recurrence import Linear, find_linear
from seiche.timespace.registers import Register, find_register

Kind = Literal["constant", "invariant", "wide", "shift", "register", "frames", "linear", "loop"]


@dataclass(eq=False)
class Part:
    """A component of equations, its kind, and its level: even ones are wide, odd ones loops."""

    eqs: list[Equation]
    kind: Kind
    level: int = 0
    register: Register | None = None
    linear: Linear | None = None

    @property
    def outs(self) -> list[Var]:
        return [out for eq in self.eqs for out in eq.outs]


@dataclass(eq=False)
class Parts:
    """All parts, each after those it reads, and what is known of the Vars."""

    parts: list[Part]
    clocks: Clocks
    fixed: set[Var]
    of: dict[Var, Part] = field(default_factory=dict[Var, Part])

    @property
    def levels(self) -> int:
        return 1 + max((p.level for p in self.parts), default=0)


def sorted_by_kind(
    node: Node, varying: Collection[Var], wide: bool = True, fast: bool = False
) -> Parts:
    """The parts of a node whose inputs `varying` differ from row to row. Without `wide` only look-ahead leaves the loop.

    With `fast`, linear recurrences leave it too.
    """
    clocks, fixed = infer(node), constants(node)
    reads = {
        eq: [*operands(eq.rhs), *(c for out in eq.outs for c, _ in clocks[out])] for eq in node.eqs
    }
    found = Parts([], clocks, fixed)
    same = {v for v in node.inputs if v not in varying}
    for eqs in components(node, reads):
        part = Part(eqs, _kind(eqs, found, same, wide))
        if part.kind == "loop" and wide and not _sampled(eqs, found):
            _recognise(part, fast)
        if part.kind in ("constant", "invariant"):
            same.update(part.outs)
        part.level = _level(part, reads, found)
        found.parts.append(part)
        found.of.update((out, part) for out in part.outs)
    if wide:
        _sink(found, reads, set(node.outputs) | {check.cond for check in node.checks})
    return found


def _kind(eqs: list[Equation], found: Parts, same: set[Var], wide: bool) -> Kind:
    (eq, *more) = eqs
    if more or is_cyclic(eqs) or _sampled(eqs, found):
        return "loop"
    match eq.rhs:
        case Post():
            return "shift"
        case Frame():
            return "frames"
        case Fby():
            return "shift" if wide else "loop"
        case Lit():
            return "constant"
        case Apply() if eq.out in found.fixed:
            return "constant"
        case Apply() | Scan() | Call() if eq.outs and same.issuperset(operands(eq.rhs)):
            return "invariant"
        case Apply() | Scan() | Call() if wide:
            return "wide"
        case _:
            return "loop"


def _sampled(eqs: list[Equation], found: Parts) -> bool:
    """Whether sub-clocks have a part in it."""
    read = (v for eq in eqs for v in (*eq.outs, *operands(eq.rhs)))
    return any(found.clocks[v] for v in read if v not in found.fixed)


def _recognise(part: Part, fast: bool) -> None:
    """Recurrences that need no loop."""
    part.register = find_register(part.eqs)
    if part.register is not None:
        part.kind = "register"
    elif fast:
        part.linear = find_linear(part.eqs)
        part.kind = "loop" if part.linear is None else "linear"


def _level(part: Part, reads: dict[Equation, list[Var]], found: Parts) -> int:
    """The earliest of its kind after what it reads."""
    before = (found.of[v].level for eq in part.eqs for v in reads[eq] if v in found.of)
    level = max(before, default=0)
    return level + (level % 2 != (part.kind == "loop"))


def _sink(found: Parts, reads: dict[Equation, list[Var]], kept: set[Var]) -> None:
    """What one loop alone reads goes there if it is a move, or grows without work: its rows need no tensor of their own."""
    readers: dict[Var, list[Part]] = {}
    for part in found.parts:
        for var in {v for eq in part.eqs for v in reads[eq]}:
            readers.setdefault(var, []).append(part)
    for part in reversed(found.parts):
        eq = part.eqs[0]
        if part.kind != "wide" or not isinstance(eq.rhs, Apply) or eq.out in kept:
            continue
        users = readers.get(eq.out, [])
        into = {user.level for user in users if user.kind == "loop"}
        if (
            len(into) == 1
            and all(u.kind == "loop" for u in users)
            and _better_inside(eq, eq.rhs, found)
        ):
            part.kind, part.level = "loop", into.pop()


def _better_inside(eq: Equation, rhs: Apply, found: Parts) -> bool:
    """A move, or an outer product and its like: larger than what it is made from, for a product or so per element."""
    record = OPS[rhs.op]
    if isinstance(record.code, Element) and record.code.cheap:
        return True
    made = use(rhs.op, tuple(a.type for a in rhs.args), rhs.params)
    given = sum(a.type.size for a in rhs.args if a not in found.fixed)
    return made.out.size > given and record.cost(made) <= 2 * made.out.size
