"""A node in stages that run at once: registers between them, so that each works on another tick.

    z = f(x)   y = g(z)    ->    z = f(x)   y = g(pipeline_register(z))

A register is the identity, and what reads it is computed a tick later (`schedule.retime`): y is the same, its latency one
more, and f of a tick has nothing to wait for while g of the tick before runs. Registers where every path has as many are
the pipelining of Leiserson & Saxe 1991, "Retiming synchronous circuitry".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.errors import fail
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clocks, constants, infer
from seiche.ir.core import Apply, Call, Equation, Frame, Node, Scan, Var, operands
from seiche.ir.graph import components
from seiche.ir.op import OPS, use


def pipelined(node: Node, stages: int) -> Node:
    """The node cut into that many stages of nearly equal work, a register per stage that a stream passes.

    Recurrences and what runs on a sub-clock stay in one stage. Raises SE606 where there are fewer parts than stages.
    """
    node, clocks = core.live(node), infer(node)
    groups = _uncut(node, clocks)
    if len(groups) < stages:
        what = f"`{node.name}` has {len(groups)} parts that follow each other, which makes no {stages} stages"
        raise fail(
            "SE606", what, node.loc, hint="a recurrence, and what shares a sub-clock, is one part"
        )
    ends = shares([sum(map(work, eqs)) for eqs in groups], stages)
    # A condition samples at one latency: each stage has a copy of its own, of an input too.
    stage_of = {cond: 0 for out in clocks.terms for cond, _ in clocks[out] if cond in node.inputs}
    for k, group in enumerate(groups):
        stage = sum(end <= k for end in ends)
        stage_of.update((out, stage) for eq in group for out in eq.outs)
    return _with_registers(node, stage_of)


def _with_registers(node: Node, stage_of: dict[Var, int]) -> Node:
    b, fixed = Builder(node.loc), constants(node)
    made: dict[tuple[Var, int], Var] = {}

    def at(var: Var, stage: int) -> Var:
        """The Var as a stage reads it."""
        if var in fixed or stage_of.get(var, stage) == stage:
            return var
        if (var, stage) not in made:
            before = at(var, stage - 1)
            b.loc, b.scope = var.loc, var.scope
            made[var, stage] = b.pipeline_register(before)
            made[var, stage].name = var.name
        return made[var, stage]

    eqs = [
        Equation(eq.outs, core.substitute(eq.rhs, lambda v, s=stage_of[eq.outs[0]]: at(v, s)))
        for eq in node.eqs
    ]
    return replace(node, eqs=[*eqs, *b.eqs])


def _uncut(node: Node, clocks: Clocks) -> list[list[Equation]]:
    """The equations in order, in groups between which only streams of the base clock pass."""
    fixed = constants(node)
    parts = components(node)
    place = {out: k for k, eqs in enumerate(parts) for eq in eqs for out in eq.outs}
    joined = [0] * (len(parts) + 1)
    for k, eqs in enumerate(parts):
        for var in {v for eq in eqs for v in operands(eq.rhs)}:
            if var in place and clocks[var] and var not in fixed:
                joined[place[var]] += 1
                joined[k] -= 1
    groups: list[list[Equation]] = []
    across = 0
    for k, eqs in enumerate(parts):
        if across:
            groups[-1] += eqs
        else:
            groups.append(list(eqs))
        across += joined[k]
    return groups


def work(eq: Equation) -> int:
    """Operations of an equation at a tick at which it runs, all rows of a scan or frame counted."""
    match eq.rhs:
        case Apply(op, args, params):
            return OPS[op].cost(use(op, tuple(a.type for a in args), params))
        case Scan(body=body, extent=extent) | Frame(body=body, extent=extent):
            return extent * sum(map(work, body.eqs))
        case Call(body=body):
            return sum(map(work, body.eqs))
        case _:
            return 0


def shares(costs: Sequence[int], n: int) -> list[int]:
    """Where a list is cut into n parts, in order and none empty, so that the largest sum is least: the ends of all but the last.

    >>> shares([3, 1, 1, 1, 4], 3)
    [2, 4]
    """
    low, high = max(costs), sum(costs)
    while low < high:
        middle = (low + high) // 2
        if _cut(costs, n, middle) is None:
            low = middle + 1
        else:
            high = middle
    ends = _cut(costs, n, low)
    assert ends is not None
    return ends


def _cut(costs: Sequence[int], n: int, limit: int) -> list[int] | None:
    """The ends, each part as large as the limit allows; None where that takes more than n."""
    ends: list[int] = []
    total = 0
    for k, cost in enumerate(costs):
        scarce = len(costs) - k == n - 1 - len(ends)
        if k and (total + cost > limit or scarce):
            if len(ends) == n - 1:
                return None
            ends.append(k)
            total = 0
        total += cost
    return ends
