"""Frames and scans told in simpler forms, where instances differ in the ticks or rows that these have.

frame(...), its slow outputs      ->  rows collected in states, and a scan of `count + 1` rows on the clock `until`
scan(..., length)                 ->  a scan over all rows, its body on the clock `row < length`
"""

from __future__ import annotations

from dataclasses import replace

from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.core import Check, Equation, Fby, Frame, Scan, Var
from seiche.numbers.formats import Type, i32

INT = Type(i32)


class Opened(Builder):
    """A builder that can define Vars that exist."""

    def equation(self, out: Var, rhs: core.Rhs) -> None:
        self.eqs.append(Equation((out,), rhs))

    def declare(self, type: Type, name: str) -> Var:
        return Var(name, type, self.loc, self.scope)


def open_frame(eq: Equation) -> Opened:
    """The equations of a frame without "stream" outputs, and its checks.

    y = frame(body, x[], w, until, N)  ->  count = 0 fby (until ? 0 : count + 1)      rows = zeros fby rows'
                                           rows' = update(rows, x, count)
                                           y = scan(body, rows' when until, w, length = count + 1 when until)
    """
    frame = eq.rhs
    assert isinstance(frame, Frame) and "stream" not in frame.outs
    first = eq.outs[0] if eq.outs else frame.until
    b = Opened(first.loc, first.scope)
    name = first.name
    count = b.declare(INT, f"{name}.count")
    one, zero = b.lit(1, INT), b.lit(0, INT)
    rows = b.minimum(b.add(count, one), b.lit(frame.extent, INT))
    b.equation(count, Fby(zero, b.select(frame.until, zero, rows), frame.reset))

    def collected(arg: Var) -> Var:
        stacked = Type(arg.type.format, (frame.extent, *arg.type.shape))
        buffer = b.declare(stacked, f"{arg.name}.rows")
        filled = b.update(buffer, arg, count, axis=0)
        b.equation(buffer, Fby(b.lit(0, stacked), filled))
        return b.when(filled, frame.until)

    pairs = zip(frame.args, frame.mapped, strict=True)
    args = tuple(collected(arg) if mapped else arg for arg, mapped in pairs)
    length = b.when(rows, frame.until)
    scan = Scan(frame.body, args, frame.mapped, frame.outs, frame.extent, length)
    b.eqs.append(Equation(eq.outs, scan))
    fits = b.lt(count, b.lit(frame.extent, INT))
    text = f"the frame holds {frame.extent} ticks at most, and `{frame.until.name}` did not close it in time"
    place = frame.body.loc if frame.body.loc.line else first.loc
    b.checks.append(Check(fits, "SE602", text, place))
    return b


def open_rows(scan: Scan) -> Scan:
    """A scan of `length` rows as one over all rows; what lies beyond is on no tick of its body's clock.

    y = scan(body, x[], length)  ->  y = scan(live = row < length;  body(x when live);  stack: merge(live, y, 0),
                                              last: y held)(x[], length)
    """
    assert scan.length is not None
    b = Opened(scan.body.loc)
    inputs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in scan.body.inputs)
    length = b.declare(INT, "length")
    row = b.declare(INT, "row")
    b.equation(row, Fby(b.lit(0, INT), b.add(row, b.lit(1, INT))))
    live = b.lt(row, length)
    outs = b.inline(scan.body, tuple(b.when(v, live) for v in inputs))
    results = tuple(_leaves(b, out, kind, live) for out, kind in zip(outs, scan.outs, strict=True))
    body = replace(b.node(scan.body.name, (*inputs, length), results), loc=scan.body.loc)
    args, mapped = (*scan.args, scan.length), (*scan.mapped, False)
    return Scan(body, args, mapped, scan.outs, scan.extent)


def _leaves(b: Opened, out: Var, kind: core.OutKind, live: Var) -> Var:
    """A result that is there at every row: zero beyond the length, or the last one held."""
    zero = b.lit(0, out.type, "zero")
    if kind != "last":
        return b.merge(live, out, b.when(zero, live, False))
    held = b.declare(out.type, out.name)
    before = b.fby(zero, held)
    return_to = b.when(before, live, False)
    b.equation(held, core.Merge(live, out, return_to))
    return held


def one_of(b: Builder, x: Var, i: int) -> Var:
    """Instance i of a batched Var."""
    shape = x.type.shape
    start, stop = (i, *(0 for _ in shape[1:])), (i + 1, *shape[1:])
    row = b.slice(x, start=start, stop=stop, step=(1,) * len(shape))
    return b.reshape(row, shape=shape[1:])


def per_instance(cond: Var, shape: tuple[int, ...], b: Builder) -> Var:
    """A boolean per instance `[n]`, at every index of `[n, *rest]`."""
    if cond.type.shape == shape:
        return cond
    aligned = b.reshape(cond, shape=(*cond.type.shape, *(1,) * (len(shape) - len(cond.type.shape))))
    return b.broadcast(aligned, shape=shape)
