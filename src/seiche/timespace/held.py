"""States of sub-clocks told on the base clock: a memory that waits while its clock is off.

y = fby(i, x, r) on k  ->  m = fby(i, merge(k, x, m when not k))      y = r ? i : m when k
"""

from __future__ import annotations

from dataclasses import replace

from seiche.ir.clocks import Clock, Clocks, constants, infer
from seiche.ir.core import Equation, Fby, Node, Var
from seiche.numbers.formats import Type, bool_
from seiche.timespace.opened import Opened


def held(node: Node) -> Node:
    """The node with every state on the base clock."""
    clocks, fixed = infer(node), constants(node)
    eqs: list[Equation] = []
    for eq in node.eqs:
        if isinstance(eq.rhs, Fby) and clocks[eq.out]:
            eqs += _held(eq, eq.rhs, clocks, fixed)
        else:
            eqs.append(eq)
    return replace(node, eqs=eqs)


def _held(eq: Equation, fby: Fby, clocks: Clocks, fixed: set[Var]) -> list[Equation]:
    b, clock = Opened(eq.out.loc, eq.out.scope), clocks[eq.out]
    known = fby.init is None or fby.init in fixed
    start = b.lit(0, eq.out.type) if fby.init is None or not known else fby.init
    memory = _memory(b, start, fby.arg, clock)
    opens = (
        None if known else _memory(b, b.lit(True, Type(bool_)), b.lit(False, Type(bool_)), clock)
    )
    if fby.reset is not None:
        opens = fby.reset if opens is None else b.logical_or(opens, fby.reset)
    if opens is not None:
        init = b.lit(0, eq.out.type) if fby.init is None else fby.init
        shape = eq.out.type.shape
        memory = b.select(b.broadcast(opens, shape=shape) if shape else opens, init, memory)
    return [Equation(tuple(eq.out if v is memory else v for v in e.outs), e.rhs) for e in b.eqs]


def _memory(b: Opened, start: Var, arg: Var, clock: Clock) -> Var:
    """The latest value of `arg`, `start` before the first, on its clock."""
    memory = b.declare(start.type, arg.name)
    sampled = [memory]
    for cond, on in clock:
        sampled.append(b.when(sampled[-1], cond, on))
    value = arg
    for (cond, on), outer in zip(reversed(clock), reversed(sampled[:-1]), strict=True):
        other = b.when(outer, cond, not on)
        value = b.merge(cond, *((value, other) if on else (other, value)))
    b.equation(memory, Fby(start, value))
    return sampled[-1]
