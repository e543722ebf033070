"""A tensor function folded over time: IR -> IR. One row per tick; what waits is in line buffers; the result is equal, in bits.

    y = op(x)            ->  y row = op(x row)                     pointwise, and along the other axes
    y = patches(x)       ->  y row = patches(taps of x)            line buffers (`lines`); every `stride`-th row, later by what it looks ahead
    y = sum(x)           ->  acc = 0 fby (row = 0 ? 0 : acc) + x   known once per frame (`sums`)
    y = matmul(x, w)     ->  y row = x row @ w,                    or, where the rows are summed, acc + x row @ (rows of w)
    y = reshape(x)       ->  the same rows in another shape        where the axis is a factor of the new one

A function is traced as a node without memory. What needs the whole frame before its first row is made is SE605.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.core import (
    Apply,
    Call,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    Post,
    Scan,
    Var,
    When,
    operands,
    substitute,
)
from seiche.ir.graph import components
from seiche.timespace.cadence import Cadence
from seiche.timespace.fold_rows import settled, single
from seiche.timespace.fold_rules import apply as row_by_row
from seiche.timespace.lines import Lines
from seiche.timespace.pieces import Done, Piece, Rows, Whole, stopped


@dataclass(frozen=True)
class Late:
    """When a stream of the folded function is there: from which tick of its frame on, every how many, how often.

    `latency` is how many ticks after the last row of a frame the last of it comes. `once`: it is no row, but a value.
    """

    first: int
    every: int
    count: int
    latency: int
    once: bool


@dataclass(frozen=True, eq=False)
class Folded:
    """The node of one row per tick, when its results leave, and when each stream of the function (`whole`) is there."""

    node: Node
    whole: Node
    results: tuple[Late, ...]
    streams: Mapping[Var, Late]

    @property
    def latency(self) -> int:
        """Ticks after the last row of a frame at which the last of its results leaves."""
        return max([0, *(r.latency for r in self.results)])


@dataclass(eq=False)
class Folding:
    """A function while it is folded: the piece that each Var became."""

    rows: int
    c: Cadence
    lines: Lines
    defs: dict[Var, Equation]
    pieces: dict[Var, Piece] = field(default_factory=dict[Var, Piece])

    def whole(self, var: Var) -> Var | None:
        """What stands for a Var that is the same at every tick."""
        piece = self.pieces[var]
        return piece.var if isinstance(piece, Whole) else None


def fold(node: Node, axes: Sequence[int | None], rows: int) -> Folded:
    """The node over rows: `axes` says along which axis each input comes row by row; None is an input that is whole.

    Raises SE605 for what cannot be folded.
    """
    node = _inlined(node)
    cadence = Cadence(rows, node.loc)
    f = Folding(rows, cadence, Lines(cadence), node.definitions())
    inputs = tuple(_input(f, v, axis) for v, axis in zip(node.inputs, axes, strict=True))
    for eq, *around in components(node):
        if around:  # equations that need each other: a recurrence
            raise _lasting(next((e for e in around if isinstance(e.rhs, Fby | Post)), eq))
        if eq.outs:
            cadence.loc, cadence.scope = eq.outs[0].loc, eq.outs[0].scope
        _equation(f, eq)
    results = tuple(_result(f, v) for v in node.outputs)
    conds = tuple(_result(f, check.cond)[0] for check in node.checks)
    f.lines.finish()
    cadence.finish()
    eqs = [Equation(eq.outs, substitute(eq.rhs, cadence.meant)) for eq in cadence.eqs]
    outputs = tuple(cadence.meant(v) for v, _ in results)
    pairs = zip(node.checks, conds, strict=True)
    checks = tuple(replace(check, cond=cadence.meant(v)) for check, v in pairs)
    folded = core.live(Node(node.name, inputs, outputs, eqs, node.loc, checks))
    streams = {v: _late(p, rows) for v, p in f.pieces.items() if not isinstance(p, Whole)}
    return Folded(folded, node, tuple(late for _, late in results), streams)


def _inlined(node: Node) -> Node:
    """Calls by their bodies: what is folded has the derivative of its equations."""
    b, became = Builder(), dict[Var, Var]()
    if not any(isinstance(eq.rhs, Call) for eq in node.eqs):
        return core.live(node)
    for eq in node.eqs:
        if isinstance(eq.rhs, Call):
            b.loc, b.scope = eq.outs[0].loc, eq.outs[0].scope
            became.update(zip(eq.outs, b.inline(_inlined(eq.rhs.body), eq.rhs.args), strict=True))
        else:
            b.eqs.append(eq)

    def to(var: Var) -> Var:
        while var in became:
            var = became[var]
        return var

    eqs = [Equation(eq.outs, substitute(eq.rhs, to)) for eq in b.eqs]
    return core.live(replace(node, outputs=tuple(map(to, node.outputs)), eqs=eqs))


def _input(f: Folding, var: Var, axis: int | None) -> Var:
    """The input of the folded node: a row, or the whole."""
    if axis is None:
        given = Var(var.name, var.type, var.loc, var.scope)
        f.pieces[var] = Whole(given)
        return given
    shape = var.type.shape
    given = Var(var.name, var.type.format[shape[:axis] + shape[axis + 1 :]], var.loc, var.scope)
    f.c.loc, f.c.scope = var.loc, var.scope
    chunk = f.c.reshape(given, shape=(*shape[:axis], 1, *shape[axis + 1 :]))
    f.pieces[var] = Rows(chunk, axis, shape[axis])
    return given


def _equation(f: Folding, eq: Equation) -> None:
    rhs = eq.rhs
    if isinstance(rhs, Apply | Scan):
        _singles(f, operands(rhs))
    match rhs:
        case Lit():
            f.c.eqs.append(
                Equation((kept := Var(eq.out.name, eq.out.type, eq.out.loc, eq.out.scope),), rhs)
            )
            f.pieces[eq.out] = Whole(kept)
        case Apply() | Scan() if all(f.whole(v) for v in operands(rhs)):
            outs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in eq.outs)
            f.c.eqs.append(Equation(outs, substitute(rhs, lambda v: f.pieces[v].var)))
            f.pieces.update((v, Whole(new)) for v, new in zip(eq.outs, outs, strict=True))
        case Apply() | Scan() if not any(isinstance(f.pieces[v], Rows) for v in operands(rhs)):
            _after(f, eq, rhs)
        case Apply():
            f.pieces[eq.out] = row_by_row(f, eq.out, rhs)
            _call(f.pieces[eq.out].var, eq.out, rhs.op)
        case Scan():
            why = "a scan runs over rows that are all there"
            reads = [v for v in operands(rhs) if isinstance(f.pieces[v], Rows)]
            raise stopped(f"the scan that gives `{eq.outs[0].name}`", eq.outs[0], why, *reads[:1])
        case Fby() | Post() | When() | Merge() | Frame() | Call():
            raise _lasting(eq)
        case _:
            assert_never(rhs)


def _lasting(eq: Equation) -> Exception:
    what = f"`{eq.outs[0].name}`, which has memory or a clock,"
    why = "a tensor function has one value per tick, made of its arguments at that tick"
    hint = "keep states, clocks and frames outside of the function"
    return stopped(what, eq.outs[0], why, hint=hint)


def _singles(f: Folding, args: Sequence[Var]) -> None:
    """Beside what is known once per frame, the only row of a frame is so too."""
    if any(isinstance(f.pieces[v], Done) for v in args):
        for var in args:
            if isinstance(x := f.pieces[var], Rows) and x.total == 1:
                f.pieces[var] = single(f, x)


def _call(made: Var, out: Var, op: str) -> None:
    """The piece bears the name that the user gave."""
    if made.name == op or out.name != op:
        made.name = out.name


def _after(f: Folding, eq: Equation, rhs: Apply | Scan) -> None:
    """y = op(values known once per frame)  ->  the same op, at the tick of the last of them."""
    late = max(p.late for v in operands(rhs) if isinstance(p := f.pieces[v], Done))
    new = {v: known(f, f.pieces[v], late, eq.outs[0]) for v in operands(rhs)}
    outs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in eq.outs)
    f.c.eqs.append(Equation(outs, substitute(rhs, new.__getitem__)))
    f.pieces.update((v, Done(out, late)) for v, out in zip(eq.outs, outs, strict=True))


def known(f: Folding, piece: Piece, late: int, out: Var) -> Var:
    """A value on the clock of what is known at tick `late`."""
    clock = f.c.done(late)
    match piece:
        case Whole(var):
            return f.c.at(var, clock)
        case Done(var, own) if own == late:
            return var
        case Done(var, own) if late - own < f.rows:
            return f.c.kept(var, f.c.done(own), clock)
        case Done(var) | Rows(var):
            raise stopped(f"`{out.name}`", out, "a frame has passed between its arguments", var)
        case _:
            assert_never(piece)


def _result(f: Folding, var: Var) -> tuple[Var, Late]:
    """What leaves for an output, and when: rows lose their axis; what holds anything is absent."""
    piece = f.pieces[var]
    c = f.c
    c.loc, c.scope = var.loc, var.scope
    match piece:
        case Whole():
            out = known(f, piece, f.rows - 1, var)
            piece = Done(out, f.rows - 1)
        case Done(out):
            pass
        case Rows() if piece.low or piece.high:
            f.pieces[var] = settled(f, piece, var)
            return _result(f, var)
        case Rows():
            out = c.reshape(piece.var, shape=piece.rest) if piece.inner == 1 else piece.var
            present = c.present(piece)
            out = out if present is None else c.when(out, present)
        case _:
            assert_never(piece)
    out.name = var.name
    return out, _late(piece, f.rows)


def _late(piece: Rows | Done, rows: int) -> Late:
    match piece:
        case Rows(late=first, last=last, every=every, count=count):
            return Late(first, every, count, max(0, last - (rows - 1)), False)
        case Done(late=late):
            return Late(late, rows, 1, max(0, late - (rows - 1)), True)
        case _:
            assert_never(piece)
