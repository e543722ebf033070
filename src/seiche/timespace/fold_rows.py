"""Rows side by side: what goes with a row of one argument is a row of another, an earlier one that waited, or part of a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seiche.errors import SeicheError
from seiche.ir.core import Apply, Lit, Var
from seiche.ir.op import AnyArray
from seiche.timespace.lines import Reach
from seiche.timespace.pieces import Done, Piece, Rows, stopped, with_axis

if TYPE_CHECKING:
    from seiche.timespace.fold import Folding


def refused(out: Var, rhs: Apply, why: str, *reads: Var, hint: str = "") -> SeicheError:
    """SE605 for an op."""
    name = f"`{rhs.op}`" if out.name == rhs.op else f"`{out.name}`, a {rhs.op},"
    return stopped(name, out, why, *reads, hint=hint)


# Rows side by side.


def wait(f: Folding, x: Rows, late: int, out: Var) -> Rows:
    """The same rows, later."""
    if late == x.late and x.total == x.count:
        return x
    return replace(x, var=f.lines.fetch(x, Reach(x.count), late, out), late=late)


def settled(f: Folding, x: Rows, out: Var) -> Rows:
    """With the rows around it as rows of its own."""
    if x.total == x.count:
        return x
    return Rows(
        f.lines.fetch(x, Reach(x.total), x.late, out), x.axis, x.total, x.every, x.late, x.inner
    )


def aligned(f: Folding, out: Var, rhs: Apply) -> tuple[Rows, tuple[Var, ...]]:
    """The rows of all arguments at the same ticks, and the cadence that they have."""
    streams = [p for a in rhs.args if isinstance(p := f.pieces[a], Rows)]
    first = streams[0]
    for arg, other in zip(rhs.args, map(f.pieces.get, rhs.args), strict=True):
        if isinstance(other, Rows) and _form(other) != _form(first):
            why = f"its arguments have {_told(first)} and {_told(other)}"
            raise refused(out, rhs, why, arg)
    late = max(x.late for x in streams)
    lead = wait(f, first, late, out)
    return lead, tuple(row_of(f, f.pieces[a], lead, out) for a in rhs.args)


def _form(x: Rows) -> tuple[int, ...]:
    return x.axis, x.count, x.every, x.inner


def _told(x: Rows) -> str:
    return f"{x.count} rows along axis {x.axis}, one every {x.every} ticks"


def row_of(f: Folding, piece: Piece, lead: Rows, out: Var) -> Var:
    """The part of a piece that goes with a row of another one of its shape."""
    if isinstance(piece, Rows):
        return wait(f, piece, lead.late, out).var
    return part_of(f, piece.var, lead.axis, lead)


def part_of(f: Folding, whole: Var, axis: int, lead: Rows) -> Var:
    """The rows of a whole value along an axis that go with each row: where all are equal, the first of them."""
    c, length = f.c, lead.inner
    shape = with_axis(whole.type, axis, length)
    clock = c.clock_of(lead)
    eq = next((e for e in c.eqs if whole in e.outs), None)
    if eq is not None and isinstance(eq.rhs, Apply) and eq.rhs.op == "broadcast":
        source = eq.rhs.args[0]
        own = axis - (len(shape) - len(source.type.shape))
        if own < 0 or source.type.shape[own] == 1:
            return c.broadcast(c.at(source, clock), shape=shape)
    if eq is not None and isinstance(eq.rhs, Lit) and _alike(eq.rhs.value, axis):
        first = np.take(eq.rhs.value, [0], axis=axis)
        scalar = first.ravel()[:1].reshape(())
        if (_bits(first) == _bits(scalar)).all():
            return c.filled(scalar, whole.type.format[shape])
        return c.broadcast(c.lit(first, whole.type.format[first.shape]), shape=shape)
    row = c.row(lead)
    start = c.mul(row, c.int(length)) if length > 1 else row
    return c.dynamic_slice(c.at(whole, clock), start, axis=axis, size=length)


def _bits(x: AnyArray) -> AnyArray:
    """Told apart: zeros by their sign, NaNs not at all."""
    return np.ascontiguousarray(x).reshape(-1).view(f"u{x.dtype.itemsize}")


def _alike(value: AnyArray, axis: int) -> bool:
    """Whether all rows have the same bits."""
    rows = np.moveaxis(value, axis, 0)
    return all((_bits(row) == _bits(rows[0])).all() for row in rows[1:])


def rows_of(f: Folding, rhs: Apply) -> Rows:
    x = f.pieces[rhs.args[0]]
    assert isinstance(x, Rows)
    return x


def mixed(x: Rows) -> str:
    return f"its rows are {x.inner} elements of axis {x.axis} each, which it would cut"


def single(f: Folding, x: Rows) -> Done:
    """The only row of a frame is a value that is known once."""
    return Done(f.c.move(x.var, f.c.clock_of(x), f.c.done(x.late)), x.late)
