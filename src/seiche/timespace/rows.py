"""The rows of a block at once: each Var of a node as `[n, ...]`, part by part (`kinds`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.ir import core
from seiche.ir.core import (
    Apply,
    Check,
    Equation,
    Fby,
    Frame,
    Node,
    OutKind,
    Post,
    Scan,
    Var,
    operands,
    substitute,
)
from seiche.ir.op import OPS, use
from seiche.ir.ops.batching import shaped, spread
from seiche.numbers.formats import Type, bool_
from seiche.timespace.batch import batch
from seiche.timespace.kinds import Part, Parts, sorted_by_kind
from seiche.timespace.loop import Body
from seiche.timespace.opened import Opened
from seiche.timespace.recurrence import Composer
from seiche.timespace.registers import windows


class Blocks:
    """`rows[v]` is `[n, ...]`: v at the n ticks of a block; `once[v]` is what all of them share."""

    carried = True
    """Whether states go on from block to block."""

    def __init__(
        self, node: Node, n: int, mapped: Sequence[bool], wide: bool = True, fast: bool = False
    ) -> None:
        self.node, self.n, self.mapped = node, n, mapped
        varying = [v for v, m in zip(node.inputs, mapped, strict=True) if m]
        self.parts: Parts = sorted_by_kind(node, varying, wide, fast)
        self.b = Opened(node.loc)
        self.defs = node.definitions()
        self.rows: dict[Var, Var] = {}
        self.once: dict[Var, Var] = {}
        self.single: dict[tuple[Var, int], Var] = {}
        self.begun: Var | None = None

    def run(self) -> Node:
        inputs = self.fill()
        outputs = tuple(map(self.whole, self.node.outputs))
        return core.live(
            Node(self.node.name, inputs, outputs, self.b.eqs, self.node.loc, self.checks())
        )

    def fill(self) -> tuple[Var, ...]:
        """Everything level by level; the new inputs."""
        inputs = tuple(
            self._input(v, m) for v, m in zip(self.node.inputs, self.mapped, strict=True)
        )
        for level in range(self.parts.levels):
            group = [p for p in self.parts.parts if p.level == level]
            if level % 2:
                self._loop([eq for p in group for eq in p.eqs])
            else:
                for part in group:
                    self._wide(part)
        return inputs

    def checks(self) -> tuple[Check, ...]:
        """Those of the whole ops, and those outside of loops."""
        return (*self.b.checks, *map(self._check, self._outer_checks()))

    def _input(self, var: Var, mapped: bool) -> Var:
        if mapped:
            self.rows[var] = Var(var.name, self.stacked(var.type), var.loc, var.scope)
        else:
            self.once[var] = Var(var.name, var.type, var.loc, var.scope)
        return self.rows[var] if mapped else self.once[var]

    def stacked(self, type: Type) -> Type:
        return Type(type.format, (self.n, *type.shape))

    # Rows.

    def whole(self, var: Var) -> Var:
        """`[n, ...]` in any case."""
        if var not in self.rows:
            self.rows[var] = spread(self.b, self.once[var], self.n)
        return self.rows[var]

    def part_of(self, x: Var, start: int, stop: int) -> Var:
        """Rows `start` to `stop` of a tensor."""
        rest = x.type.shape[1:]
        ones, none = (1,) * len(x.type.shape), (0,) * len(rest)
        return self.b.slice(x, start=(start, *none), stop=(stop, *rest), step=ones)

    def row(self, var: Var, r: int) -> Var:
        """One row. What looks ahead inside the block does not wait for the next one."""
        if var in self.once:
            return self.once[var]
        if (var, r) not in self.single:
            self.single[var, r] = self._row(var, r)
        return self.single[var, r]

    def _row(self, var: Var, r: int) -> Var:
        part, rhs = self.parts.of.get(var), self.defs[var].rhs if var in self.defs else None
        if isinstance(rhs, Post) and part and part.kind == "shift" and r < self.n - 1:
            following = self.row(rhs.arg, r + 1)
            return (
                following
                if rhs.reset is None
                else self._choose(self.row(rhs.reset, r + 1), self.row(rhs.final, r), following)
            )
        if isinstance(rhs, Apply) and part and part.kind == "wide" and self._looks_ahead(var):
            return self.b.apply(rhs.op, *(self.row(a, r) for a in rhs.args), **rhs.params)
        return shaped(self.b, self.part_of(self.rows[var], r, r + 1), var.type.shape)

    def _looks_ahead(self, var: Var) -> bool:
        """Whether whole ops lead to the Var from a look-ahead."""
        part = self.parts.of.get(var)
        if part is None or part.kind not in ("wide", "shift"):
            return False
        rhs = self.defs[var].rhs
        return isinstance(rhs, Post) or (
            isinstance(rhs, Apply) and any(map(self._looks_ahead, rhs.args))
        )

    def _choose(self, cond: Var, yes: Var, no: Var) -> Var:
        shape = yes.type.shape
        if cond.type.shape != shape:
            aligned = (*cond.type.shape, *(1 for _ in shape[len(cond.type.shape) :]))
            cond = self.b.broadcast(shaped(self.b, cond, aligned), shape=shape)
        return self.b.select(cond, yes, no)

    # Wide levels.

    def _wide(self, part: Part) -> None:
        eq = part.eqs[0]
        if eq.outs:
            self.b.loc, self.b.scope = eq.outs[0].loc, eq.outs[0].scope
        match part.kind:
            case "constant" | "invariant":
                outs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in eq.outs)
                self.b.eqs.append(Equation(outs, substitute(eq.rhs, self.once.__getitem__)))
                self.once.update(zip(eq.outs, outs, strict=True))
            case "wide":
                self._whole_op(eq)
            case "shift":
                self._shift(eq)
            case "register":
                self._register(part)
            case "frames":
                self._frames(eq)
            case "linear":
                self._linear(part)
            case "loop":
                raise AssertionError(part)

    def _whole_op(self, eq: Equation) -> None:
        rhs = eq.rhs
        args = operands(rhs)
        flags = tuple(a not in self.once for a in args)
        given = tuple(self.rows[a] if f else self.once[a] for a, f in zip(args, flags, strict=True))
        if isinstance(rhs, Apply):
            one = use(rhs.op, tuple(a.type for a in args), rhs.params)
            made = OPS[rhs.op].batch(self.b, one, given, flags, self.n)
            made.name = eq.out.name
            self.rows[eq.out] = made
            return
        alone = dict.fromkeys(args)
        node = Node(self.node.name, tuple(alone), eq.outs, [eq], self.node.loc)
        own = dict(zip(args, flags, strict=True))
        wide = batch(node, self.n, [own[a] for a in alone])
        outs = self.b.inline(wide, tuple(dict(zip(args, given, strict=True))[a] for a in alone))
        self.rows.update(zip(eq.outs, outs, strict=True))

    def _frames(self, eq: Equation) -> None:
        """Frames that follow each other in a block: a scan each, side by side."""
        b, frame = self.b, eq.rhs
        assert isinstance(frame, Frame)
        ticks, count = frame.extent, self.n // frame.extent
        rows: list[Var] = []
        given: list[Var] = []
        for arg, mapped in zip(frame.args, frame.mapped, strict=True):
            whole = self.whole(arg) if mapped else self.once[arg]
            shape = (count, ticks, *arg.type.shape)
            given.append(b.reshape(whole, shape=shape) if mapped else whole)
            rows.append(Var(arg.name, Type(arg.type.format, shape[1:]) if mapped else arg.type))
        outs = [Var(v.name, Type(v.type.format, (ticks, *v.type.shape)), v.loc) for v in eq.outs]
        kinds: tuple[OutKind, ...] = ("stack",) * len(outs)
        scan = Scan(core.copy(frame.body)[0], tuple(rows), frame.mapped, kinds, ticks)
        one = Node(self.node.name, tuple(rows), tuple(outs), [Equation(tuple(outs), scan)])
        made = b.inline(batch(one, count, frame.mapped), tuple(given))
        for out, value in zip(eq.outs, made, strict=True):
            self.rows[out] = b.reshape(value, shape=self.stacked(out.type).shape)

    def _shift(self, eq: Equation) -> None:
        b, rhs, last = self.b, eq.rhs, self.n - 1
        match rhs:
            case Fby(init, arg, reset):
                edge = self.before(eq.out, init, lambda _: self.row(arg, last))
                rows = self._joined(edge, arg, 0, last, first=True)
                if reset is not None:
                    opening = b.lit(0, rows.type) if init is None else self.whole(init)
                    rows = self._choose(self.whole(reset), opening, rows)
            case Post(arg, final, reset):
                edge = self.after(eq.out, arg, self.row(final, last), reset)
                rows = self._joined(edge, arg, 1, self.n, first=False)
                if reset is not None and last:
                    closes = b.pad(
                        self.part_of(self.whole(reset), 1, self.n), low=(0,), high=(1,), value=False
                    )
                    rows = self._choose(closes, self.whole(final), rows)
            case _:
                raise AssertionError(eq)
        rows.name = eq.out.name
        self.rows[eq.out] = rows

    def before(self, state: Var, init: Var | None, last: Callable[[Var], Var]) -> Var:
        """A state at the first row: what the block before left, `last` of it."""
        start = None if init is None else self.row(init, 0)
        edge = self.b.declare(state.type, state.name)
        self.b.equation(edge, Fby(start, last(edge)))
        return edge

    def after(self, out: Var, arg: Var, final: Var, reset: Var | None) -> Var:
        """What the row after the last brings: the first row of the next block."""
        closing = None if reset is None else self.row(reset, 0)
        return self.b.post(self.row(arg, 0), final, closing, name=out.name)

    def _joined(self, edge: Var, arg: Var, start: int, stop: int, first: bool) -> Var:
        """The edge before or after the rows of the argument that are left."""
        row = self.b.reshape(edge, shape=(1, *edge.type.shape))
        if start == stop:
            return row
        rest = self.part_of(self.whole(arg), start, stop)
        return self.b.concat(*((row, rest) if first else (rest, row)), axis=0)

    def _register(self, part: Part) -> None:
        b, n, found = self.b, self.n, part.register
        assert found is not None
        k, m = found.kept, found.fresh
        fresh = self.whole(found.arg)
        fresh = shaped(b, fresh, (n * m, *fresh.type.shape[2:]))
        joined: list[Var] = []

        def last(state: Var) -> Var:
            joined.append(b.concat(state, fresh, axis=0))
            return self.part_of(joined[0], n * m, n * m + k)

        edge = self.before(found.state, found.init, last)
        history = joined[0] if joined else b.concat(edge, fresh, axis=0)
        at_rows = windows(b, history, n, k + m, m)
        whole, none = at_rows.type.shape, (0,) * len(at_rows.type.shape[2:])
        ones = (1,) * len(whole)
        self.rows[found.joined] = at_rows
        self.rows[found.state] = b.slice(
            at_rows, start=(0, 0, *none), stop=(n, k, *whole[2:]), step=ones
        )
        self.rows[found.rest] = b.slice(at_rows, start=(0, m, *none), stop=whole, step=ones)

    def _linear(self, part: Part) -> None:
        found, b = part.linear, self.b
        assert found is not None and isinstance(found.fby.rhs, Fby)
        composer = Composer(b, self.n, found.state.type)
        inside = set(part.outs)
        one = composer.step(
            found,
            {a: self.whole(a) for eq in found.steps for a in operands(eq.rhs) if a not in inside},
        )
        made: list[Var] = []

        def last(state: Var) -> Var:
            made.append(composer.composed(one, state))
            return shaped(b, self.part_of(made[0], self.n - 1, self.n), state.type.shape)

        edge = self.before(found.state, found.fby.rhs.init, last)
        following = made[0] if made else composer.composed(one, edge)
        first = b.reshape(edge, shape=(1, *edge.type.shape))
        rest = (self.part_of(following, 0, self.n - 1),) if self.n > 1 else ()
        self.rows[found.state] = b.concat(first, *rest, axis=0)
        for eq in found.steps:
            self._whole_op(eq)
        self.rows[found.fby.rhs.arg] = following

    # Loops.

    def _loop(self, eqs: list[Equation]) -> None:
        """One scan over the rows of a block, its states carried from block to block."""
        inside = {out for eq in eqs for out in eq.outs}
        body = Body(self, inside)
        for eq in eqs:
            body.add(eq)
        checks = tuple(c for c in self.node.checks if c.cond in inside)
        wanted = [v for v in self._read_outside(inside) if v in inside]
        if not wanted and not body.last and not checks:
            return
        outputs = (*map(body.filled, wanted), *body.last)
        kinds: tuple[OutKind, ...] = (*("stack" for _ in wanted), *("last" for _ in body.last))
        whole = Node(self.node.name, tuple(body.inputs), outputs, body.eqs, self.node.loc, checks)
        stacked = [Var(v.name, self.stacked(v.type), v.loc, v.scope) for v in wanted]
        lasts = [Var(v.name, v.type, v.loc, v.scope) for v in body.last]
        scan = Scan(core.copy(whole)[0], tuple(body.args), tuple(body.mapped), kinds, self.n)
        self.b.eqs.append(Equation((*stacked, *lasts), scan))
        self.rows.update(zip(wanted, stacked, strict=True))
        body.carry(dict(zip(body.last, lasts, strict=True)))

    def _read_outside(self, inside: set[Var]) -> list[Var]:
        """What other parts, the outputs, and whole checks read."""
        outer = (
            v
            for eq in self.node.eqs
            if not inside.issuperset(eq.outs) or not eq.outs
            for v in operands(eq.rhs)
        )
        conditions = (
            c
            for eq in self.node.eqs
            for out in eq.outs
            if out not in inside
            for c, _ in self.parts.clocks[out]
        )
        return list(dict.fromkeys([*outer, *conditions, *self.node.outputs]))

    def first(self) -> Var:
        """True in the first block."""
        if self.begun is None:
            yes, no = self.b.lit(True, Type(bool_)), self.b.lit(False, Type(bool_))
            self.begun = self.b.fby(yes, no, name="first")
        return self.begun

    # Checks.

    def _outer_checks(self) -> list[Check]:
        loops = {v for p in self.parts.parts if p.kind == "loop" for v in p.outs}
        return [c for c in self.node.checks if c.cond not in loops]

    def _check(self, check: Check) -> Check:
        """It holds at every tick of the block."""
        if check.cond in self.once:
            return replace(check, cond=self.once[check.cond])
        return replace(check, cond=self.b.all(self.rows[check.cond], axes=(0,)))
