"""Loops keep no rows that nobody reads: a stack of which only the first or the last row is read leaves as that row.

    y = scan(...) "stack"    y[extent - 1] is all that is read of y    |-    y' = scan(...) "last"     the row is y'
    y = scan(...) "stack"    of a single row, for an op                |-    y' = scan(...) "last"     y = reshape(y')

`sc.over_time(step)(rows)[-1]` then holds one row, whatever the loop's length: weights after a loop of updates, the state
after a sequence. The first row likewise.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from seiche.ir.core import Apply, Equation, Node, OutKind, Scan, Var, operands


def ends(node: Node) -> Node:
    """The node, at its top level; the length of the loop must be fixed."""
    scans = [eq for eq in node.eqs if isinstance(eq.rhs, Scan) and eq.rhs.length is None]
    if not scans:
        return node
    users: dict[Var, list[Equation | None]] = defaultdict(list)
    for eq in node.eqs:
        for var in operands(eq.rhs):
            users[var].append(eq)
    for var in (*node.outputs, *(check.cond for check in node.checks)):
        users[var].append(None)
    made: dict[Equation, list[Equation]] = {}
    for eq in scans:
        _narrowed(eq, users, made)
    return replace(node, eqs=[new for eq in node.eqs for new in made.get(eq, [eq])])


def _narrowed(
    eq: Equation, users: dict[Var, list[Equation | None]], made: dict[Equation, list[Equation]]
) -> None:
    """Notes what becomes of a scan and of those who read one row of it."""
    scan = eq.rhs
    assert isinstance(scan, Scan)
    outs = list(eq.outs)
    kinds: list[OutKind] = list(scan.outs)
    alone: list[Equation] = []
    for k, out in enumerate(eq.outs):
        if kinds[k] != "stack":
            continue
        if scan.extent == 1 and all(u and isinstance(u.rhs, Apply) for u in users[out]):
            kinds[k], outs[k] = "last", _row(out, scan.body.outputs[k])
            alone.append(Equation((out,), Apply("reshape", (outs[k],), {"shape": out.type.shape})))
            continue
        found: set[OutKind | None] = {_end(user, scan.extent) for user in users[out]}
        end = found.pop() if len(found) == 1 else None
        if end is None:
            continue
        kinds[k], outs[k] = end, _row(out, scan.body.outputs[k])
        for user in users[out]:
            assert user is not None
            made[user] = _of_row(user, outs[k])
    if kinds != list(scan.outs):
        made[eq] = [Equation(tuple(outs), replace(scan, outs=tuple(kinds))), *alone]


def _row(stack: Var, row: Var) -> Var:
    """What a stack leaves as, where it leaves as one row."""
    return Var(stack.name, row.type, stack.loc, stack.scope)


def _end(user: Equation | None, extent: int) -> OutKind | None:
    """Which end a reader takes of a stack; None where it reads more."""
    match user:
        case Equation(rhs=Apply("slice", _, params)):
            start, stop, step = (params[name][0] for name in ("start", "stop", "step"))
            rows = range(extent)[start:stop:step]
            if len(rows) != 1 or 0 < rows[0] < extent - 1:
                return None
            return "first" if rows[0] == 0 else "last"
        case _:
            return None


def _of_row(user: Equation, row: Var) -> list[Equation]:
    """What took a row of the stack, over that row alone."""
    rhs = user.rhs
    assert isinstance(rhs, Apply)
    type = replace(row.type, shape=(1, *row.type.shape))
    alone = Var(row.name, type, row.loc, row.scope)
    params = {name: (first, *rhs.params[name][1:]) for name, first in _WHOLE.items()}
    return [
        Equation((alone,), Apply("reshape", (row,), {"shape": type.shape})),
        Equation(user.outs, Apply("slice", (alone,), params)),
    ]


_WHOLE = {"start": 0, "stop": 1, "step": 1}
"""A slice of the one row."""
