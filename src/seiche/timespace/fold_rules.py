"""What each op does to rows. An op that is applied to a row sees the axis with the length of one row.

pointwise, other axes     the rows of all arguments side by side: early ones wait, whole ones give the same row
patches, slice, pad       rows of other places: line buffers
concat                    one stream after the other, by the number of the row
reshape                   P x rows x Q in another shape of P, rows and Q; rows in groups; a single row is known once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from seiche.ir.core import Apply, Var, operands
from seiche.ir.op import OPS, SignatureError
from seiche.ir.ops.moves import ranges
from seiche.ir.ops.windows import Axis
from seiche.numbers.formats import Shape
from seiche.timespace import fold_sums
from seiche.timespace.fold_rows import aligned, mixed, refused, rows_of, settled, single
from seiche.timespace.lines import Reach
from seiche.timespace.pieces import Done, Piece, Rows, Whole, with_axis

if TYPE_CHECKING:
    from seiche.timespace.fold import Folding

Rule: TypeAlias = "Callable[[Folding, Var, Apply], Piece]"

POINTWISE = frozenset({"pointwise", "math", "integral", "bits", "convert"})


def apply(f: Folding, out: Var, rhs: Apply) -> Piece:
    """An op of which some argument comes row by row."""
    for arg in rhs.args:
        if isinstance(f.pieces[arg], Done):
            first = _cause(f, arg)
            why = f"it needs `{first.name}` with the first row, and that is known with the last one"
            raise refused(
                out,
                rhs,
                why,
                first,
                hint="two passes need the whole frame: use what the frame before gave",
            )
    x = f.pieces[rhs.args[0]]
    if rhs.op not in ("patches", "slice", "pad") and any(
        isinstance(p, Rows) and p.total > p.count for p in map(f.pieces.get, rhs.args)
    ):
        for arg in rhs.args:
            if isinstance(piece := f.pieces[arg], Rows):
                f.pieces[arg] = settled(f, piece, out)
    if OPS[rhs.op].family in POINTWISE or rhs.op == "round_stochastic":
        return pointwise(f, out, rhs)
    rule = RULES.get(rhs.op)
    if rule is None or (rhs.op not in SEVERAL and not isinstance(x, Rows)):
        raise refused(out, rhs, "there is no rule for it row by row", *rhs.args[:1])
    return rule(f, out, rhs)


def pointwise(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = op(x, w)  ->  y row = op(x row, w row)"""
    lead, args = aligned(f, out, rhs)
    return replace(lead, var=f.c.apply(rhs.op, *args, **rhs.params))


def along_others(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = op(x, axis=other)  ->  y row = op(x row, axis=other)"""
    lead, args = aligned(f, out, rhs)
    if rhs.params["axis"] == lead.axis:
        raise refused(
            out,
            rhs,
            f"along axis {lead.axis} it needs all rows before it gives the first",
            rhs.args[0],
        )
    return replace(lead, var=f.c.apply(rhs.op, *args, **rhs.params))


def _cause(f: Folding, var: Var) -> Var:
    """The sum over rows by which a value is known once per frame."""
    while True:
        before = [v for v in operands(f.defs[var].rhs) if isinstance(f.pieces[v], Done)]
        if not before:
            return var
        var = before[0]


# Other places.


def patches(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = patches(x)  ->  y row = patches(the taps of x), one place along the axis of the rows"""
    x, p = rows_of(f, rhs), rhs.params
    rank, ndim = len(p["window"]), len(x.chunk)
    k = x.axis - (ndim - rank - 1)
    if not 0 <= k < rank:
        x = settled(f, x, out)
        var = f.c.patches(x.var, **p)
        return replace(x, var=var, axis=x.axis if k < 0 else len(var.type.shape) - 1)
    if x.inner > 1:
        raise refused(out, rhs, mixed(x), rhs.args[0])
    a = Axis(x.total, *(p[name][k] for name in ("window", "strides", "dilation", "low", "high")))
    reach = Reach(a.out, a.window, a.stride, a.dilation, a.low)
    late = x.late + replace(reach, low=a.low + x.low).behind(x)
    taps = f.lines.fetch(x, reach, late, out)
    one = {"window": a.window, "strides": 1, "dilation": 1, "low": 0, "high": 0}
    there = {name: tuple(v if i != k else one[name] for i, v in enumerate(p[name])) for name in one}
    return Rows(f.c.patches(taps, **there), x.axis, a.out, x.every * a.stride, late)


def slice_(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = x[a:b:s]  ->  the rows a, a + s ...: fewer of them, and no memory"""
    x = rows_of(f, rhs)
    shape = tuple(x.total * x.inner if k == x.axis else n for k, n in enumerate(x.chunk))
    own = ranges(x.var.type.format[shape], rhs.params)[x.axis]
    start, stop, step = (list(rhs.params[name]) for name in ("start", "stop", "step"))
    start[x.axis], stop[x.axis], step[x.axis] = 0, x.inner, 1
    row = f.c.slice(x.var, start=tuple(start), stop=tuple(stop), step=tuple(step))
    if own == range(x.total * x.inner):
        return replace(x, var=row)
    if own.step < 0 and len(own) > 1:
        why = "it reads the rows from the last to the first"
        raise refused(
            out,
            rhs,
            why,
            rhs.args[0],
            hint="fold along another axis, or let the rows come in the other order",
        )
    if own.start % x.inner or len(own) % x.inner or (x.inner > 1 and own.step != 1):
        raise refused(out, rhs, mixed(x), rhs.args[0])
    reach = Reach(len(own) // x.inner, 1, max(1, own.step), 1, -own.start // x.inner)
    late = x.late + replace(reach, low=reach.low + x.low).behind(x)
    x = replace(x, var=row)
    return Rows(
        f.lines.fetch(x, reach, late, out),
        x.axis,
        reach.count,
        x.every * reach.stride,
        late,
        x.inner,
    )


def pad(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = pad(x)  ->  rows that stand around x, made by the window that reads them"""
    x, low, high = rows_of(f, rhs), list(rhs.params["low"]), list(rhs.params["high"])
    before, after, value = low[x.axis], high[x.axis], rhs.params["value"]
    if x.inner > 1 and (before or after):
        raise refused(out, rhs, mixed(x), rhs.args[0])
    low[x.axis] = high[x.axis] = 0
    if (x.low or x.high) and (before or after or value != x.value):
        x = settled(f, x, out)
    var = (
        f.c.pad(x.var, low=tuple(low), high=tuple(high), value=value)
        if any(low) or any(high)
        else x.var
    )
    x = replace(x, var=var)
    if before < 0 or after < 0:
        reach = Reach(x.count + min(before, 0) + min(after, 0), low=min(before, 0))
        late = x.late + reach.behind(x)
        x = Rows(f.lines.fetch(x, reach, late, out), x.axis, reach.count, x.every, late)
    if before <= 0 and after <= 0:
        return x
    return replace(x, low=max(before, 0), high=max(after, 0), value=value)


def concat(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = concat(a, b)  ->  y row = row < rows of a ? a row : b row        along another axis: side by side"""
    streams = [p for a in rhs.args if isinstance(p := f.pieces[a], Rows)]
    axis, first = rhs.params["axis"], streams[0]
    if axis != first.axis:
        lead, args = aligned(f, out, rhs)
        return replace(lead, var=f.c.concat(*args, axis=axis))
    if any((x.axis, x.every, x.inner) != (axis, first.every, 1) for x in streams):
        raise refused(
            out, rhs, "its arguments do not have one row each at the same rate", *rhs.args
        )
    starts = list(np.cumsum([0, *(a.type.shape[axis] for a in rhs.args)]))
    places = list(zip(rhs.args, map(int, starts[:-1]), strict=True))
    late = max(
        [0, *(p.late - s * p.every for a, s in places if isinstance(p := f.pieces[a], Rows))]
    )
    lead = Rows(first.var, axis, int(starts[-1]), first.every, late)
    parts = [_placed(f, f.pieces[a], s, lead, out) for a, s in places]
    row = f.c.row(lead)
    joined = parts[-1]
    for part, end in zip(reversed(parts[:-1]), reversed(starts[1:-1]), strict=True):
        before = f.c.lt(row, f.c.int(int(end)))
        joined = f.c.select(f.c.spread(before, part.type.shape), part, joined)
    return replace(lead, var=joined)


def _placed(f: Folding, piece: Piece, start: int, lead: Rows, out: Var) -> Var:
    """Row r - start of a piece at row r; anything where there is none."""
    if isinstance(piece, Rows):
        return f.lines.fetch(piece, Reach(lead.count, low=start), lead.late, out)
    row = f.c.sub(f.c.row(lead), f.c.int(start))
    return f.c.dynamic_slice(f.c.at(piece.var, f.c.clock_of(lead)), row, axis=lead.axis, size=1)


# The same rows in another form.


def transpose(f: Folding, out: Var, rhs: Apply) -> Piece:
    x = rows_of(f, rhs)
    return replace(x, var=f.c.transpose(x.var, **rhs.params), axis=rhs.params["perm"].index(x.axis))


def broadcast(f: Folding, out: Var, rhs: Apply) -> Piece:
    x, shape = rows_of(f, rhs), out.type.shape
    axis = x.axis + len(shape) - len(x.chunk)
    if x.count == 1 and shape[axis] != x.inner:
        known = single(f, x)
        return Done(f.c.broadcast(known.var, shape=shape), x.late)
    if shape[axis] != x.count * x.inner:
        raise refused(out, rhs, "a single row is repeated along the axis of the rows", rhs.args[0])
    return replace(x, var=f.c.broadcast(x.var, shape=with_axis(out.type, axis, x.inner)), axis=axis)


def reshape(f: Folding, out: Var, rhs: Apply) -> Piece:
    """P x rows x Q  ->  P x (rows / g) x (g Q), wherever an axis of the new shape begins after P and holds rows / g"""
    x, shape = rows_of(f, rhs), out.type.shape
    if x.count == 1:
        known = single(f, x)
        return Done(f.c.reshape(known.var, shape=shape), x.late)
    before, size = prod(x.chunk[: x.axis]), x.var.type.size // prod(x.chunk[: x.axis])
    for axis in range(len(shape)):
        after = prod(shape[axis + 1 :])
        if prod(shape[:axis]) != before or shape[axis] == 1:
            continue
        if size % after == 0:
            chunk = (*shape[:axis], size // after, *shape[axis + 1 :])
            return replace(x, var=f.c.reshape(x.var, shape=chunk), axis=axis, inner=size // after)
        if after % size == 0 and x.count % (after // size) == 0 and x.inner == 1:
            return _groups(f, x, after // size, axis, shape, out)
    why = f"{list(rhs.args[0].type.shape)} as {list(shape)} puts {x.count} rows where none of its axes has them in order"
    raise refused(out, rhs, why, rhs.args[0], hint="move the axis of the rows to the front first")


def _groups(f: Folding, x: Rows, size: int, axis: int, shape: Shape, out: Var) -> Piece:
    """`size` rows that follow each other are one row."""
    reach = Reach(x.count // size, size, size)
    late = x.late + reach.behind(x)
    taps = f.lines.fetch(x, reach, late, out)
    var = f.c.reshape(taps, shape=(*shape[:axis], 1, *shape[axis + 1 :]))
    return Rows(var, axis, reach.count, x.every * size, late)


def index(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = x[i]  ->  y row = x row[i], where i is an index of another axis"""
    x, i = (f.pieces[a] for a in rhs.args)
    axis, size = rhs.params["axis"], rhs.params.get("size")
    if not isinstance(x, Rows) or isinstance(i, Rows) or axis == x.axis:
        raise refused(out, rhs, "which rows it reads is known at run time only", *rhs.args)
    at = f.c.at(i.var, f.c.clock_of(x))
    lost = i.var.type.shape == () and size is None
    gained = len(i.var.type.shape) - 1
    moved = x.axis if x.axis < axis or size is not None else x.axis - 1 if lost else x.axis + gained
    return replace(x, var=f.c.apply(rhs.op, x.var, at, **rhs.params), axis=moved)


def take(f: Folding, out: Var, rhs: Apply) -> Piece:
    """y = table[x]  ->  y row = table[x row]"""
    table, i = (f.pieces[a] for a in rhs.args)
    if isinstance(i, Rows) and isinstance(table, Whole):
        var = f.c.take(f.c.at(table.var, f.c.clock_of(i)), i.var, **rhs.params)
        return replace(i, var=var, axis=i.axis + rhs.params["axis"])
    return index(f, out, rhs)


def one_hot(f: Folding, out: Var, rhs: Apply) -> Piece:
    x = rows_of(f, rhs)
    return replace(x, var=f.c.one_hot(x.var, **rhs.params))


def solved(f: Folding, out: Var, rhs: Apply) -> Piece:
    """Linear algebra over the last two axes: batches of it come row by row."""
    lead, args = aligned(f, out, rhs)
    if lead.axis >= len(lead.chunk) - 2:
        raise refused(out, rhs, "it needs the whole matrix", *rhs.args)
    try:
        return replace(lead, var=f.c.apply(rhs.op, *args, **rhs.params))
    except SignatureError as error:
        raise refused(out, rhs, str(error), *rhs.args) from None


SEVERAL = frozenset({"concat", "matmul", "take", "take_along", "solve", "triangular_solve"})
"""Ops whose first argument may be whole where another one is not."""

RULES: dict[str, Rule] = {
    "patches": patches, "slice": slice_, "pad": pad, "concat": concat, "transpose": transpose, "broadcast": broadcast,
    "reshape": reshape, "index": index, "dynamic_slice": index, "take": take, "take_along": along_others,
    "one_hot": one_hot, "sort": along_others, "argsort": along_others, "solve": solved, "triangular_solve": solved,
    "cholesky": solved, "matmul": fold_sums.matmul,
    **{name: fold_sums.reduction for name in ("sum", "prod", "max", "min", "any", "all")},
    **{name: fold_sums.extremum for name in ("argmax", "argmin")},
    **{name: fold_sums.cumulative for name in ("cumsum", "cumprod", "cummax", "cummin")},
}  # fmt: skip
