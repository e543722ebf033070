"""Some rows of a scan per tick: what a slot does of it, going on where the tick before stopped.

    ys, c = scan f(xs[]), state s       |-     ys', c', s' = scan f(xs[rows done ..]), state from s'       at each tick of the slot

As in a loop of chunks (`diff.checkpoint`), but the loop is time: states, accumulators and stacked rows lie in states of the base clock,
which the scan overwrites in place. Rows are found and written by their number.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from seiche.diff.checkpoint import way
from seiche.diff.resume import Delay, resumed
from seiche.ir.core import Apply, Equation, Fby, Lit, Node, OutKind, Post, Scan, Var
from seiche.numbers.formats import i32
from seiche.schedule.emit import INT, Emitter
from seiche.schedule.slots import Region, Slot


class Around(Protocol):
    """The node that is rewritten: its slots and their conditions, the rows done, and what it collects."""

    b: Emitter
    region: Region
    slots: list[Slot]
    gates: list[Var]
    rows: Var
    more: list[tuple[Var, int]]
    made: dict[tuple[Var, int], Var]
    memories: dict[Var, Var]

    def at(self, var: Var, i: int) -> Var: ...
    def first_row(self, var: Var, i: int) -> tuple[Var, Var] | None: ...


class Portion:
    """The next rows of a scan, in a slot of its own."""

    def __init__(self, around: Around, eq: Equation, i: int, rows: int) -> None:
        assert isinstance(eq.rhs, Scan)
        self.around, self.b, self.eq, self.i, self.n = around, around.b, eq, i, rows
        self.scan = eq.rhs
        self.gate = around.gates[i]
        self.forward = way(self.scan.body) != "backward"
        self.end: OutKind = "last" if self.forward else "first"

    def run(self) -> None:
        self.b.serve(self.eq.outs[0])
        # Memories are opened in the slot before, if that is one tick: the first rows have enough to do.
        slots, i = self.around.slots, self.i
        before = self.around.gates[i - 1] if i and slots[i - 1].rows is None else None
        self.begins = self.b.logical_and(self.gate, self.b.eq(self.around.rows, self.b.int(0)))
        self.opens = before or self.begins
        self._rows()
        self._body()
        self._states()
        self._results()

    def _rows(self) -> None:
        """The first row of the chunk and how many there are; whether more are left."""
        b, n, extent = self.b, self.n, self.scan.extent
        done = b.when(self.around.rows, self.gate)
        length = b.int(extent) if self.scan.length is None else self._bounded(self.scan.length)
        left = b.sub(length, done)
        ragged = self.scan.length is not None or extent % n > 0
        self.length = b.minimum(left, b.int(n)) if ragged else None
        self.start = done if self.forward else b.sub(left, self.length or b.int(n))
        b.serve(self.eq.outs[0])
        more = b.merge(self.gate, b.lt(b.int(n), left), b.false())
        self.around.more.append((more, self.i))

    def _bounded(self, length: Var) -> Var:
        b = self.b
        length = self.around.at(length, self.i)
        b.serve(self.eq.outs[0])
        return b.minimum(b.maximum(length, b.int(1)), b.int(self.scan.extent))

    def _body(self) -> None:
        """The body over rows that it finds by number, its delays from arguments; rows that it leaves, written by number."""
        scan, open = self.scan, resumed(self.scan.body)
        at = self.eq.outs[0]
        self.delays = open.delays
        self.inside = b = Emitter(at.loc, at.scope)
        start, offset = b.declare(INT, "start"), b.declare(INT, "offset")
        self.row = b.add(start, offset)
        offsets = self.b.lit(np.arange(self.n, dtype=np.int32), i32[self.n], "offsets")
        self.inputs = [start, offset]
        self.args, self.mapped = [self.start, offsets], [False, True]
        for var, arg, mapped in zip(scan.body.inputs, scan.args, scan.mapped, strict=True):
            if mapped:
                self._numbered(var, arg)
            else:
                self._given(var, self.around.at(arg, self.i))
        self.eqs = list(open.body.eqs)
        self.outputs: list[tuple[Var, OutKind, Var]] = []

    def _numbered(self, var: Var, arg: Var) -> None:
        """A row of an argument that is there as a whole."""
        b, row = self.inside, self.row
        half = self.around.first_row(arg, self.i)
        if half is not None:
            here, first = half
            offset = b.declare(INT, "half")
            self._given(offset, first)
            row = b.add(row, offset)
        else:
            here = self.around.at(arg, self.i)
        whole = Var(var.name, here.type, var.loc, var.scope)
        b.equation((var,), Apply("index", (whole, row), {"axis": 0}))
        self._given(whole, here)

    def _given(self, var: Var, arg: Var) -> None:
        self.inputs.append(var)
        self.args.append(arg)
        self.mapped.append(False)

    def _result(self, var: Var, kind: OutKind) -> Var:
        """A result of this chunk."""
        for known, of, out in self.outputs:
            if known is var and of == kind:
                return out
        out = self.b.declare(var.type, var.name)
        self.outputs.append((var, kind, out))
        return out

    def _states(self) -> None:
        """Delays go on from chunk to chunk."""
        self.carried: dict[Var, Var] = {}
        for d in self.delays:
            self.b.serve(d.old)
            kept = self.b.declare(d.old.type, d.old.name)
            init, start = self._opening(d, kept)
            self._given(d.start, start)
            self._carry(kept, self._result(d.next, self.end), init)
            self.carried[d.next] = kept

    def _opening(self, d: Delay, kept: Var) -> tuple[Var | None, Var]:
        """The literal that the memory is set to at the first chunk, and what the chunk starts from."""
        b, body = self.b, self.scan.body
        now = b.when(kept, self.gate)
        if d.init is None:
            return None, now
        if d.init not in body.inputs:
            rhs = body.definitions()[d.init].rhs
            assert isinstance(rhs, Lit), "lowered: an initial value is there before the first row"
            return b.lit(rhs.value, d.init.type, d.init.name), now
        first = b.when(self.begins, self.gate)
        init = b.when(self.args[self._place(d.init)], first)
        return None, b.merge(first, init, b.when(now, first, False))

    def _place(self, var: Var) -> int:
        return next(k for k, v in enumerate(self.inputs) if v is var)

    def _carry(self, kept: Var, next: Var, init: Var | None) -> None:
        """kept = next at the ticks of this slot; it starts from `init`."""
        b = self.b
        after = b.merge(self.gate, next, b.when(kept, self.gate, False))
        b.equation((kept,), Fby(init, after, None if init is None else self.opens))

    def _results(self) -> None:
        needed = self._needed()
        for var, kind, out in zip(
            self.scan.body.outputs, self.scan.outs, self.eq.outs, strict=True
        ):
            if out in needed:
                self.b.serve(out)
                self.around.memories[out] = self._kept(var, kind, out)
        self._emit()

    def _needed(self) -> set[Var]:
        region = self.around.region
        read = {v for eq in region.eqs for v in region.reads(eq)}
        return read.union(region.leaving, region.checked)

    def _kept(self, var: Var, kind: OutKind, out: Var) -> Var:
        """The memory of a result: rows in their places, or the value at one end."""
        b = self.b
        if kind == "stack":
            return self._stack(var, out)
        if kind == self.end:
            value = self._result(var, kind)
            self.around.made[out, self.i] = value
            if var in self.carried:
                return self.carried[var]
        else:
            value = self._result(var, kind)
        kept = b.declare(out.type, out.name)
        if kind != self.end:  # the first chunk's
            first = b.when(self.begins, self.gate)
            before = b.when(b.when(kept, self.gate), first, False)
            value = b.merge(first, b.when(value, first), before)
        self._carry(kept, value, None)
        return kept

    def _stack(self, var: Var, out: Var) -> Var:
        """The rows so far, as an accumulator of the scan: written in place."""
        b, inside = self.b, self.inside
        kept = b.declare(out.type, out.name)
        inside.serve(var)
        start, before = inside.declare(out.type, out.name), inside.declare(out.type, out.name)
        filled = inside.update(before, var, self.row, axis=0)
        inside.equation((before,), Fby(start, filled) if self.forward else Post(filled, start))
        self._given(start, b.when(kept, self.gate))
        late = b.zeros(out.type) if self._read_beyond(out) else None
        self._carry(kept, self._result(filled, self.end), late)
        return kept

    def _read_beyond(self, out: Var) -> bool:
        """Whether rows beyond a length that is known late are read: they are zero."""
        length, region = self.scan.length, self.around.region
        if length is None:
            return False
        shown = [eq for eq in region.eqs if out in region.reads(eq)]
        known = all(
            isinstance(eq.rhs, Scan) and eq.rhs.length is length
            and all(m for a, m in zip(eq.rhs.args, eq.rhs.mapped, strict=True) if a is out)
            for eq in shown
        )  # fmt: skip
        return out in region.leaving or not known

    def _emit(self) -> None:
        outputs = tuple(var for var, _, _ in self.outputs)
        kinds: tuple[OutKind, ...] = tuple(kind for _, kind, _ in self.outputs)
        body = Node(
            self.scan.body.name, tuple(self.inputs), outputs, [*self.inside.eqs, *self.eqs], self.scan.body.loc
        )  # fmt: skip
        scan = Scan(body, tuple(self.args), tuple(self.mapped), kinds, self.n, self.length)
        self.b.equation(tuple(out for _, _, out in self.outputs), scan)
