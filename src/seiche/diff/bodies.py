"""The transpose of forms with a body: Scan, Frame, and Call with a derivative of its own.

Scan    the transposed body over the same rows: cotangents of "stack" results come as mapped rows, of "first" and "last"
        ones at the row that opens or closes; cotangents of mapped arguments leave as "stack", of constant ones as
        sums over the rows. What it needs of the forward rows is on the tape (`diff.tape`).
Frame   the same over ticks, but with the forward body computed again beside its transpose: nothing leaves the frame.
        What the streams of a frame that the end of input cuts owe to arguments of the slow clock is lost: these have
        no tick to take it.
Call    `vjp(arguments, cotangents of the results)` gives the cotangents of the real arguments; a result that is not real
        has zeros for a cotangent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seiche.diff.flow import real
from seiche.diff.tape import Tape
from seiche.errors import fail
from seiche.ir import core
from seiche.ir.core import (
    Apply,
    Call,
    Equation,
    Frame,
    Node,
    OutKind,
    Scan,
    Var,
)
from seiche.numbers.formats import Type, i32

if TYPE_CHECKING:
    from seiche.diff.transpose import Transposer


@dataclass(frozen=True)
class Seed:
    """A cotangent on its way into the transposed body: there `row`, outside `ct`."""

    row: Var
    ct: Var
    mapped: bool


@dataclass(frozen=True)
class Leaf:
    """A cotangent on its way out of the transposed body, to argument `position`."""

    position: int
    row: Var
    kind: OutKind


def transpose_scan(t: Transposer, eq: Equation, scan: Scan) -> Equation:
    """Gives the cotangents of the arguments; the forward scan, made to emit the tape."""
    inner, active, seeds = _enter(t, eq, scan)
    inner.run()
    leaves = _leave(inner, scan, active, "stack")
    tape = Tape(scan, inner.forward, _needed(inner, leaves))
    forward, kept = tape.record(eq)
    body = tape.replay(tuple(s.row for s in seeds), tuple(leaf.row for leaf in leaves))
    backward = Scan(
        body=core.copy(body)[0],
        args=(*tape.args, *kept, *(s.ct for s in seeds)),
        mapped=(*tape.mapped, *(True for _ in kept), *(s.mapped for s in seeds)),
        outs=tuple(leaf.kind for leaf in leaves),
        extent=scan.extent,
        length=scan.length,
    )
    _give(t, scan, backward, leaves)
    return forward


def transpose_frame(t: Transposer, eq: Equation, frame: Frame) -> None:
    """Gives the cotangents of the arguments."""
    inner, active, seeds = _enter(t, eq, frame)
    inner.run()
    leaves = _leave(inner, frame, active, "stream")
    body = frame.body
    outputs = tuple(leaf.row for leaf in leaves)
    both = [*inner.forward, *_needed(inner, leaves)]
    whole = Node(f"{body.name}'", (*body.inputs, *(s.row for s in seeds)), outputs, both, body.loc)
    backward = Frame(
        body=core.copy(core.live(whole))[0],
        args=(*frame.args, *(s.ct for s in seeds)),
        mapped=(*frame.mapped, *(s.mapped for s in seeds)),
        outs=tuple(leaf.kind for leaf in leaves),
        extent=frame.extent,
        until=frame.until,
        reset=frame.reset,
    )
    _give(t, frame, backward, leaves)


def transpose_call(t: Transposer, eq: Equation, call: Call) -> None:
    """Gives the cotangents of the arguments by the call's own rule."""
    assert call.vjp is not None, "calls without a derivative of their own are inlined before"
    check_vjp(call)
    arguments = [arg for arg in call.args if real(arg)]
    cts = tuple(t.ct(out) if out in t.carrying else t.zero(out.type) for out in eq.outs)
    names = tuple(f"{arg.name}'" for arg in arguments)
    types = tuple(arg.type for arg in arguments)
    outs = t.b.define_many(Call(call.vjp, (*call.args, *cts)), types, names)
    for arg, ct in zip(arguments, outs, strict=True):
        t.give(arg, ct)


def check_vjp(call: Call) -> None:
    """Raises SE703 unless the derivative of a call has the types that its function asks for."""
    assert call.vjp is not None
    for what, wanted, given in (
        ("takes", (*call.body.inputs, *call.body.outputs), call.vjp.inputs),
        ("gives", tuple(filter(real, call.body.inputs)), call.vjp.outputs),
    ):
        if [v.type for v in wanted] != [v.type for v in given]:
            have, need = (", ".join(str(v.type) for v in vs) for vs in (given, wanted))
            raise fail(
                "SE703",
                f"the derivative `{call.vjp.name}` of `{call.body.name}` {what} ({have}), not ({need})",
                call.vjp.loc,
                (f"`{call.body.name}` is made here", call.body.loc),
                hint="it takes the arguments, then a cotangent per result; it gives one per real argument",
            )


# Into the body and out of it.


def _needed(inner: Transposer, leaves: Sequence[Leaf]) -> list[Equation]:
    """The backward equations that what leaves depends on."""
    return core.live(Node("", (), tuple(leaf.row for leaf in leaves), inner.backward)).eqs


def _give(
    t: Transposer, form: Scan | Frame, backward: Scan | Frame, leaves: Sequence[Leaf]
) -> None:
    """Defines what the transposed form gives, and adds it to the arguments' cotangents."""
    if not leaves:
        return
    args = [form.args[leaf.position] for leaf in leaves]
    outs = t.b.define_many(
        backward, tuple(arg.type for arg in args), tuple(f"{arg.name}'" for arg in args)
    )
    for arg, out in zip(args, outs, strict=True):
        t.give(arg, out)


def _enter(
    t: Transposer, eq: Equation, form: Scan | Frame
) -> tuple[Transposer, list[int], list[Seed]]:
    """The transposer of the body, seeded; the arguments that get cotangents."""
    body, reach = form.body, t.flow.body(form.body)
    wanted = [k for k, out in enumerate(eq.outs) if out in t.carrying]
    active = [
        i for i, arg in enumerate(form.args)
        if arg in t.carrying and any(reach[k] >> i & 1 for k in wanted)
    ]  # fmt: skip
    inner = t.inside(body, [body.inputs[i] for i in active], [body.outputs[k] for k in wanted])
    cut = (
        _Cut(inner, form.until)
        if isinstance(form, Frame) and any(form.mapped[i] for i in active)
        else None
    )
    seeds: list[Seed] = []
    for k in wanted:
        out, kind = body.outputs[k], form.outs[k]
        inner.b.loc, inner.b.scope = out.loc, out.scope
        whole = kind == "stack" and isinstance(form, Frame)
        type = eq.outs[k].type if whole else out.type
        row = Var(f"{out.name}'", type, out.loc, out.scope)
        seeds.append(
            Seed(row, t.ct(eq.outs[k]), mapped=kind == "stream" or (kind == "stack" and not whole))
        )
        ct = inner.b.index(row, _count(inner), axis=0) if whole else row
        _seed(inner, out, ct, kind, cut)
    return inner, active, seeds + (cut.seeds if cut else [])


def _seed(inner: Transposer, out: Var, ct: Var, kind: OutKind, cut: _Cut | None) -> None:
    """The cotangent of a result of the body, at the rows that it comes from."""
    if kind == "first":
        inner.give_left(out, cut.unless(ct) if cut else ct, "fby")
    elif kind == "last" and cut:
        inner.give(out, cut.at_close(ct))
    elif kind == "last":
        inner.give_right(out, ct, "post")
    else:
        inner.give(out, cut.unless(ct) if cut and kind == "stack" else ct)


class _Cut:
    """Whether the end of input cuts the frame. Then what leaves once per frame is absent, and has no cotangent."""

    def __init__(self, inner: Transposer, until: Var) -> None:
        self.inner = inner
        self.closes = Var("closes", until.type, until.loc, until.scope)
        self.until = until
        self._whole: Var | None = None
        self._used = False

    @property
    def seeds(self) -> list[Seed]:
        return [Seed(self.closes, self.until, mapped=True)] if self._used else []

    def at_close(self, ct: Var) -> Var:
        """`ct` at the row that closes the frame, if there is one."""
        return self._where(self.closes, ct)

    def unless(self, ct: Var) -> Var:
        """`ct` at all rows of a frame that closes."""
        if self._whole is None:
            b = self.inner.b
            self._whole = Var("whole", self.until.type, b.loc, b.scope)
            later = b.post(self._whole, b.lit(False, self.until.type))
            b.eqs.append(Equation((self._whole,), Apply("logical_or", (self.closes, later))))
        return self._where(self._whole, ct)

    def _where(self, cond: Var, ct: Var) -> Var:
        self._used = True
        b, shape = self.inner.b, ct.type.shape
        return b.select(
            b.broadcast(cond, shape=shape) if shape else cond, ct, self.inner.zero(ct.type)
        )


def _count(inner: Transposer) -> Var:
    """The number of the row."""
    b = inner.b
    one = b.lit(1, Type(i32))
    following = Var("following", Type(i32), b.loc, b.scope)
    count = b.fby(b.lit(0, Type(i32)), following, name="row")
    b.eqs.append(Equation((following,), Apply("add", (count, one))))
    return count


def _leave(
    inner: Transposer, form: Scan | Frame, active: Sequence[int], kind: OutKind
) -> list[Leaf]:
    """The cotangents of the active arguments: of a constant one, what lies at an end of the rows and the sum of the rest."""
    leaves: list[Leaf] = []
    for i in active:
        var = form.body.inputs[i]
        if form.mapped[i]:
            total = inner.total(var)
            leaves += [Leaf(i, total, kind)] if total else []
            continue
        joined = inner.parts[var].joined
        ends: tuple[tuple[OutKind, list[Var]], ...] = (
            ("first", joined["fby", None].left),
            ("last", joined["post", None].right),
        )
        for end, cts in ends:
            edge = inner.sum(cts)
            if edge is not None:
                leaves.append(Leaf(i, edge, end))
                cts.clear()
        total = inner.total(var)
        if total is not None:
            leaves.append(_accumulate(inner, i, total, "post" in inner.sweeps))
    return [Leaf(leaf.position, inner.meant(leaf.row), leaf.kind) for leaf in leaves]


def _accumulate(inner: Transposer, position: int, term: Var, backward: bool) -> Leaf:
    """The sum of a stream over the rows, in the direction of the sweep that makes its terms."""
    b = inner.b
    total = Var("sum", term.type, term.loc, term.scope)
    zero = inner.zero(term.type)
    so_far = b.post(total, zero) if backward else b.fby(zero, total)
    b.eqs.append(Equation((total,), Apply("add", (so_far, term))))
    return Leaf(position, total, "first" if backward else "last")
