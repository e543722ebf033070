"""Sums over the rows, in the order that the tensor op declares: the bits are the same.

    sum, prod, max, min   16 accumulators; term k goes to accumulator k mod 16       (`docs/architecture.md`, lane order)
    matmul over the rows  acc = (row = 0 ? -0 : acc) + x[k] w[k], each k of the row    k ascending
    cumsum ...            s = row = 0 ? x row : s + x row

What stands in for no term changes no bit: -0 in a sum, 1 in a product, infinities in extremes. Small formats are summed in
their carrier and rounded at the end, as the op does.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from seiche.ir.core import Apply, Fby, Node, Scan, Var
from seiche.ir.loops import carrier
from seiche.ir.ops.batching import front
from seiche.ir.ops.define import LANES
from seiche.numbers.formats import Format, Type, bool_, i32
from seiche.timespace.fold_rows import aligned, part_of, refused, row_of, rows_of, wait
from seiche.timespace.opened import Opened
from seiche.timespace.pieces import Done, Piece, Rows, Whole

if TYPE_CHECKING:
    from seiche.timespace.fold import Folding

COMBINE = {
    "sum": "add",
    "prod": "mul",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}
RUNNING = {"sum": "cumsum", "prod": "cumprod", "max": "cummax", "min": "cummin"}
BINARY = {"cumsum": "add", "cumprod": "mul", "cummax": "maximum", "cummin": "minimum"}


def neutral(op: str, format: Format) -> Any:
    """What changes no bit of the other term."""
    if format is bool_:
        return op == "all"
    if op in ("sum", "prod"):
        return 1 if op == "prod" else -0.0 if format.is_float else 0
    if format.is_float:
        return -np.inf if op == "max" else np.inf
    limits = np.iinfo(format.dtype)
    return limits.min if op == "max" else limits.max


class Memory:
    """A value carried from row to row of a frame, on the clock of the rows."""

    def __init__(self, f: Folding, x: Rows, type: Type, name: str) -> None:
        self.f, self.c, self.x = f, f.c, x
        self.before = f.c.declare(type, name)
        self.row = f.c.row(x)

    def first(self, rows: int = 1) -> Var:
        """Whether this is one of the first rows of its frame."""
        return self.c.lt(self.row, self.c.int(rows))

    def opened(self, start: Any) -> Var:
        """What is carried, afresh with the first row of a frame."""
        type = self.before.type
        return self.c.select(
            self.c.spread(self.first(), type.shape), self.c.filled(start, type), self.before
        )

    def next(self, value: Var) -> Var:
        self.c.equation(self.before, Fby(self.c.zeros(value.type), value))
        return value

    def real(self, value: Var, other: Any) -> Var:
        """A value of the row, or another where there is no such row in the frame."""
        if self.x.count >= -(-self.c.rows // self.x.every):
            return value
        here = self.c.spread(self.c.lt(self.row, self.c.int(self.x.count)), value.type.shape)
        return self.c.select(here, value, self.c.filled(other, value.type))


def carried(f: Folding, x: Var) -> Var:
    """In the format in which it is summed."""
    wide = carrier(x.type.format)
    return x if x.type.format in (wide, bool_) else f.c.convert(x, format=wide)


def rounded(f: Folding, x: Var, format: Format) -> Var:
    return x if x.type.format == format else f.c.convert(x, format=format)


def finished(f: Folding, x: Rows, var: Var) -> Var:
    """What the last row leaves, on the clock of what is known then."""
    return f.c.move(var, f.c.clock_of(x), f.c.done(x.last))


# Reductions.


def reduction(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = sum(x)  ->  acc = row = 0 ? 0 : acc + x row, known with the last row        or, over other axes, row by row"""
    x, axes = rows_of(f, rhs), tuple(sorted(rhs.params["axes"]))
    if x.axis not in axes:
        gone = sum(a < x.axis for a in axes)
        return replace(x, var=f.c.apply(rhs.op, x.var, axes=axes), axis=x.axis - gone)
    format = x.var.type.format
    if not format.is_float or rhs.op in ("any", "all"):
        return _exact(f, x, out, rhs.op, axes)
    if any(x.chunk[a] > 1 for a in axes if a < x.axis):
        why = f"the order of a sum is declared: axis {axes[0]} is outside of axis {x.axis}, whose rows come one by one"
        raise refused(
            out,
            rhs,
            why,
            rhs.args[0],
            hint="reduce over the other axes first: x.sum(other).sum(rows)",
        )
    rest = tuple(a for a in range(len(x.chunk)) if a not in axes)
    terms = carried(f, f.c.transpose(x.var, perm=(*axes, *rest)))
    terms = f.c.reshape(terms, shape=(prod(x.chunk[a] for a in axes), *(x.chunk[a] for a in rest)))
    lanes = _lane(f, x, rhs.op, terms) if terms.type.shape[0] == 1 else _lanes(f, x, rhs.op, terms)
    total = f.c.apply(rhs.op, finished(f, x, lanes), axes=(0,))
    return Done(rounded(f, total, out.type.format), x.last)


def _exact(f: Folding, x: Rows, out: Var, op: str, axes: tuple[int, ...]) -> Piece:
    """Integers and booleans: the order changes nothing."""
    m = Memory(f, x, out.type, op)
    row = m.real(f.c.apply(op, x.var, axes=axes), neutral(op, out.type.format))
    acc = m.next(f.c.apply(COMBINE[op], m.opened(neutral(op, out.type.format)), row))
    return Done(finished(f, x, acc), x.last)


def _lane(f: Folding, x: Rows, op: str, terms: Var) -> Var:
    """One term per row: it goes to the accumulator of its number."""
    c, row = f.c, Type(terms.type.format, terms.type.shape[1:])
    count = min(LANES, x.count)
    m = Memory(f, x, Type(row.format, (count, *row.shape)), op)
    lane = c.mod(m.row, c.int(count)) if x.count > LANES else m.row
    none = neutral(op, row.format)
    before = c.select(
        c.spread(m.first(count), row.shape), c.filled(none, row), c.index(m.before, lane, axis=0)
    )
    after = c.apply(COMBINE[op], before, m.real(c.reshape(terms, shape=row.shape), none))
    return m.next(c.update(m.before, after, lane, axis=0))


def _lanes(f: Folding, x: Rows, op: str, terms: Var) -> Var:
    """Several terms per row: from the accumulator on at which the row before ended."""
    c, (size, *rest) = f.c, terms.type.shape
    blocks, none = -(-size // LANES), neutral(op, terms.type.format)
    m = Memory(f, x, Type(terms.type.format, (LANES, *rest)), op)
    terms = m.real(terms, none)
    if size % LANES:
        high = (blocks * LANES - size, *(0 for _ in rest))
        terms = c.pad(terms, low=(0,) * len(high), high=high, value=none)
    terms = c.reshape(terms, shape=(blocks, LANES, *rest))
    begin = _turned(f, m, m.opened(none), size, 1)
    rows = c.concat(c.reshape(begin, shape=(1, LANES, *rest)), terms, axis=0)
    if blocks == 1:
        ends = c.apply(COMBINE[op], begin, c.reshape(terms, shape=(LANES, *rest)))
    else:
        sums = c.apply(RUNNING[op], rows, axis=0, reverse=False)
        shape = sums.type.shape
        ends = c.slice(
            sums, start=(blocks, *(0 for _ in shape[1:])), stop=shape, step=(1,) * len(shape)
        )
        ends = c.reshape(ends, shape=(LANES, *rest))
    return m.next(_turned(f, m, ends, size, -1))


def _turned(f: Folding, m: Memory, lanes: Var, size: int, sign: int) -> Var:
    """The accumulators from that of the row's first term on, or back."""
    if size % LANES == 0:
        return lanes
    c = f.c
    start = c.broadcast(c.mul(m.row, c.int(sign * (size % LANES))), shape=(LANES,))
    places = c.add(start, c.lit(np.arange(LANES), i32[LANES]))
    return c.take(lanes, c.mod(places, c.filled(LANES, i32[LANES])), axis=0)


def extremum(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = argmax(x)  ->  place = x row > best ? row : place"""
    x, op = rows_of(f, rhs), rhs.op
    if rhs.params["axis"] != x.axis:
        axis = x.axis - (rhs.params["axis"] < x.axis)
        return replace(x, var=f.c.apply(op, x.var, **rhs.params), axis=axis)
    if x.inner > 1:
        raise refused(out, rhs, f"{x.inner} elements of its axis come at once", rhs.args[0])
    c, value = f.c, f.c.reshape(x.var, shape=x.rest)
    best, place = Memory(f, x, value.type, "best"), Memory(f, x, out.type, op)
    wins = c.apply("gt" if op == "argmax" else "lt", value, best.before)
    if value.type.format.is_float:
        wins = c.logical_or(
            wins, c.logical_and(c.isnan(value), c.logical_not(c.isnan(best.before)))
        )
    wins = c.logical_or(best.real(wins, False), c.spread(best.first(), x.rest))
    best.next(c.select(wins, value, best.before))
    at = place.next(c.select(wins, c.spread(place.row, x.rest), place.before))
    return Done(finished(f, x, at), x.last)


def cumulative(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = cumsum(x)  ->  s = row = 0 ? x row : s + x row"""
    x, op = rows_of(f, rhs), rhs.op
    if rhs.params["axis"] != x.axis:
        return replace(x, var=f.c.apply(op, x.var, **rhs.params))
    if rhs.params["reverse"] or x.inner > 1:
        raise refused(out, rhs, "it runs along the axis of the rows from its end", rhs.args[0])
    row = carried(f, x.var)
    m = Memory(f, x, row.type, op)
    more = f.c.apply(BINARY[op], m.before, row)
    so_far = m.next(f.c.select(f.c.spread(m.first(), row.type.shape), row, more))
    return replace(x, var=rounded(f, so_far, out.type.format))


# Products.


def matmul(f: Folding, out: Var, rhs: Apply) -> Piece:
    """Rows of the result come row by row; where the rows are summed over, the product is known with the last one."""
    a, b = (f.pieces[v] for v in rhs.args)
    trans = [bool(rhs.params.get(name)) for name in ("trans_a", "trans_b")]
    rank = len(out.type.shape)
    inner = (rank - 2 if trans[0] else rank - 1, rank - 1 if trans[1] else rank - 2)
    over = [isinstance(x, Rows) and x.axis == k for x, k in zip((a, b), inner, strict=True)]
    if any(over):
        if any(isinstance(x, Rows) and not o for x, o in zip((a, b), over, strict=True)):
            raise refused(
                out, rhs, "one factor is summed over its rows, the other is not", *rhs.args
            )
        return _summed(f, out, rhs, inner, trans)
    batch = [isinstance(x, Rows) and x.axis < rank - 2 for x in (a, b)]
    if any(batch):
        lead, args = aligned(f, out, rhs)
        return replace(lead, var=f.c.matmul(*args, **rhs.params))
    if isinstance(a, Rows) and isinstance(b, Rows):
        raise refused(out, rhs, "each row of the one meets every row of the other", *rhs.args)
    lead = a if isinstance(a, Rows) else b
    assert isinstance(lead, Rows)
    args = tuple(
        x.var if isinstance(x, Rows) else f.c.at(x.var, f.c.clock_of(lead)) for x in (a, b)
    )
    return replace(
        lead, var=f.c.matmul(*args, **rhs.params), axis=rank - 2 if lead is a else rank - 1
    )


def _summed(f: Folding, out: Var, rhs: Apply, inner: tuple[int, int], trans: list[bool]) -> Piece:
    """y = x @ w  ->  acc = (row = 0 ? -0 : acc) + x[k] w[k] for each k of the row, in turn"""
    if trans[1] and not trans[0]:
        raise refused(
            out, rhs, "with its second factor stored transposed it sums in lanes", *rhs.args
        )
    c, wide = f.c, Type(carrier(out.type.format), out.type.shape)
    streams = [p for v in rhs.args if isinstance(p := f.pieces[v], Rows)]
    lead = wait(f, streams[0], max(x.late for x in streams), out)
    if any((x.count, x.every, x.inner) != (lead.count, lead.every, lead.inner) for x in streams):
        raise refused(out, rhs, "its factors do not have one row each at the same rate", *rhs.args)
    left, right = (_factor(f, v, k, lead, out) for v, k in zip(rhs.args, inner, strict=True))
    left = c.reshape(left, shape=(*left.type.shape, 1))
    right = c.reshape(right, shape=(*right.type.shape[:-1], 1, right.type.shape[-1]))
    m = Memory(f, lead, wide, rhs.op)
    before = m.opened(neutral("sum", wide.format))
    step = _step(left.type, right.type, wide, out)
    scan = Scan(step, (left, right, before), (True, True, False), ("last",), lead.inner)
    after = c.define(scan, wide, rhs.op)
    here = c.spread(c.lt(m.row, c.int(lead.count)), wide.shape)
    full = lead.count >= -(-f.rows // lead.every)
    total = finished(f, lead, m.next(after if full else c.select(here, after, before)))
    return Done(rounded(f, total, out.type.format), lead.last)


def _step(left: Type, right: Type, sum: Type, out: Var) -> Node:
    """One k: an outer product is added."""
    b = Opened(out.loc, out.scope)
    x, w, start = (
        b.declare(t, n) for t, n in ((_row(left), "x"), (_row(right), "w"), (sum, "so_far"))
    )
    acc = b.declare(sum, out.name)
    wide = (v if v.type.format == sum.format else b.convert(v, format=sum.format) for v in (x, w))
    product = b.mul(*(b.broadcast(v, shape=sum.shape) for v in wide))
    following = b.add(acc, product)
    b.equation(acc, Fby(start, following))
    return b.node(out.name, (x, w, start), (following,))


def _row(type: Type) -> Type:
    return Type(type.format, type.shape[1:])


def _factor(f: Folding, var: Var, axis: int, lead: Rows, out: Var) -> Var:
    """The part of a factor that goes with a row, the axis that is summed in front."""
    piece = f.pieces[var]
    part = (
        part_of(f, piece.var, axis, lead)
        if isinstance(piece, Whole)
        else row_of(f, piece, lead, out)
    )
    return front(f.c, part, axis)
