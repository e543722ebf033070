"""Accumulators of a scan that start from an argument: result and argument may share a memory.

    c = fby(c0, next)    next leaves as "last",  c0 a constant argument read nowhere else   |-  next in the place of c0
    c = post(next, c0)   next leaves as "first", the same

A loop of chunks (`diff.checkpoint`) carries its states through the scan of each chunk this way, without a copy: the sums over a
sequence are as large as the parameters.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from seiche.ir.core import Fby, Node, Post, Scan, Var, operands
from seiche.schedule.tasks import Place


def carried(scan: Scan) -> dict[int, int]:
    """The results that are such accumulators, each with the argument that it starts from."""
    return _carried(scan.body, scan.mapped, scan.outs)


@lru_cache(maxsize=256)
def _carried(body: Node, mapped: tuple[bool, ...], outs: tuple[str, ...]) -> dict[int, int]:
    uses = Counter(v for eq in body.eqs for v in operands(eq.rhs))
    uses.update(body.outputs)
    uses.update(check.cond for check in body.checks)
    whole = {v: i for i, v in enumerate(body.inputs) if not mapped[i]}
    found: dict[int, int] = {}
    nexts = Counter(eq.rhs.arg for eq in body.eqs if isinstance(eq.rhs, Fby | Post))
    for eq in body.eqs:
        match eq.rhs:
            case Fby(Var() as start, next, None):
                kind = "last"
            case Post(next, start, None):
                kind = "first"
            case _:
                continue
        if start not in whole or uses[start] > 1 or nexts[next] > 1 or not eq.out.type.shape:
            continue
        places = [k for k, v in enumerate(body.outputs) if v is next and outs[k] == kind]
        if places and _follows(body, eq.out, next):
            found[places[0]] = whole[start]
    return found


def _follows(body: Node, old: Var, next: Var) -> bool:
    """Whether the next value is computed from the old one at the same row: then no earlier sweep has it."""
    defs, seen, todo = body.definitions(), set[Var](), [next]
    while todo:
        var = todo.pop()
        if var is old:
            return True
        if var in seen or var not in defs:
            continue
        seen.add(var)
        if not isinstance(defs[var].rhs, Fby | Post):
            todo += operands(defs[var].rhs)
    return False


def same_place(a: Place, b: object) -> bool:
    """Whether two places are one memory."""
    return isinstance(b, Place) and a.buffer is not None and a.buffer is b.buffer and (
        len(a.prefix) == len(b.prefix) and all(x is y for x, y in zip(a.prefix, b.prefix, strict=True))
    )  # fmt: skip
