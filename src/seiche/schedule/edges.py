"""What a state of a loop starts from, and a costate, is computed once: of the first row and of the last.

    scan:  c = post(e, f(x))    |-    f' = f(row of x at the last)    scan:  c = post(e, f')
    scan:  s = fby(f(x), e)     |-    f' = f(row of x at the first)   scan:  s = fby(f', e)

Only where nothing else in the body needs f(x), and f has no memory: the rows between would compute it for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from seiche.ir import core
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Equation, Fby, Lit, Node, Post, Scan, Var, operands
from seiche.schedule.emit import Emitter
from seiche.schedule.inline import inline_calls


def once(b: Emitter, scan: Scan) -> Scan:
    """The scan with such values as arguments, which are computed around it."""
    scan = replace(scan, body=inline_calls(core.live(scan.body)))
    for eq in _edges(scan.body):
        scan = _moved(b, scan, eq)
    return scan


def _edges(body: Node) -> Iterator[Equation]:
    """The memories of all rows that open or close once."""
    kept = [e for e in body.eqs if isinstance(e.rhs, Fby | Post) and e.rhs.reset is None]
    clocks = infer(body) if kept else None
    return (eq for eq in kept if clocks is not None and clocks[eq.out] == ())


def _moved(b: Emitter, scan: Scan, eq: Equation) -> Scan:
    """The scan with the value at the edge of one memory as an argument, where that saves work."""
    body, rhs = scan.body, eq.rhs
    assert isinstance(rhs, Fby | Post)
    value = rhs.init if isinstance(rhs, Fby) else rhs.final
    part = None if value is None else _part(body, value)
    if value is None or part is None:
        return scan
    edge = Var(value.name, value.type, value.loc, value.scope)
    over = replace(rhs, init=edge) if isinstance(rhs, Fby) else replace(rhs, final=edge)
    eqs = [Equation(e.outs, over) if e is eq else e for e in body.eqs]
    rest = core.live(replace(body, inputs=(*body.inputs, edge), eqs=eqs))
    left = {out for e in rest.eqs for out in e.outs}
    if all(e.out in left for e in part if isinstance(e.rhs, Apply)):
        return scan
    at = _of_edge(b, scan, part, value, isinstance(rhs, Fby))
    return replace(scan, body=rest, args=(*scan.args, at), mapped=(*scan.mapped, False))


def _part(body: Node, value: Var) -> list[Equation] | None:
    """The equations that compute a value from the rows of the arguments; None where there is memory, or nothing is computed."""
    defs, inputs = body.definitions(), set(body.inputs)
    found: dict[Var, Equation] = {}
    todo, read = [value], False
    while todo:
        var = todo.pop()
        read |= var in inputs
        if var in found or var in inputs:
            continue
        if not isinstance(defs[var].rhs, Apply | Lit):
            return None
        found[var] = defs[var]
        todo += operands(defs[var].rhs)
    return list(found.values()) if found and read else None


def _of_edge(b: Emitter, scan: Scan, part: list[Equation], value: Var, first: bool) -> Var:
    """A value of the first or last row, computed around the loop."""
    fresh, new = core.copy(Node("edge", (), (), part))
    rows = {
        v: _row(b, scan, arg, first) if mapped else arg
        for v, arg, mapped in zip(scan.body.inputs, scan.args, scan.mapped, strict=True)
        if v in new
    }
    given = {new[v]: row for v, row in rows.items()}
    for eq in fresh.eqs:
        b.equation(eq.outs, core.substitute(eq.rhs, lambda v: given.get(v, v)))
    return new[value]


def _row(b: Emitter, scan: Scan, stack: Var, first: bool) -> Var:
    """The first or last row of a mapped argument."""
    if scan.length is not None and not first:
        return b.index(stack, b.sub(scan.length, b.int(1)), axis=0)
    at, (_, *shape) = 0 if first else scan.extent - 1, stack.type.shape
    start, stop = (at, *(0 for _ in shape)), (at + 1, *shape)
    row = b.slice(stack, start=start, stop=stop, step=(1,) * len(stop))
    return b.reshape(row, shape=tuple(shape))
