"""Rows in chunks: what a scan over chunks is given, the scans over the rows of one, and the results put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from seiche.diff.resume import Delay, Resumed
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Fby, Lit, Node, OutKind, Post, Scan, Var, operands
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type, i32

INT = Type(i32)


@dataclass
class Grid:
    """`extent` rows (or `length` of them) as chunks of `rows`; `b` takes the equations around the scans.

    Where chunks do not divide the rows an argument is given whole, and a row is found in it by its number: no copy is padded.
    """

    b: Builder
    extent: int
    rows: int
    length: Var | None
    made: dict[Var, Var] = field(default_factory=dict[Var, Var])

    def __post_init__(self) -> None:
        self.count = -(-self.extent // self.rows)
        self.ragged = self.count * self.rows != self.extent
        starts = np.arange(self.count, dtype=np.int32) * self.rows
        self.starts = self.b.lit(starts, i32[self.count], "starts") if self.ragged else None
        self.lengths, self.chunks = self._lengths(starts)

    def _lengths(self, starts: AnyArray) -> tuple[Var | None, Var | None]:
        """The rows of each chunk and the number of chunks, where these are not all."""
        b, n, rows = self.b, self.count, self.rows
        if self.length is None:
            last = np.minimum(rows, self.extent - starts).astype(np.int32)
            return (b.lit(last, i32[n], "rows") if self.ragged else None), None
        left = b.sub(b.broadcast(self.length, shape=(n,)), b.lit(starts, i32[n]))
        lengths = b.maximum(b.minimum(left, b.lit(rows, i32[n])), b.lit(1, i32[n]))
        chunks = b.floor_div(b.add(self.length, b.lit(rows - 1, INT)), b.lit(rows, INT))
        lengths.name, chunks.name = "rows", "chunks"
        return lengths, chunks

    def cut(self, arg: Var) -> Var:
        """[extent, ...] as [count, rows, ...]."""
        if arg not in self.made:
            self.made[arg] = self.b.reshape(arg, shape=(self.count, self.rows, *arg.type.shape[1:]))
            self.made[arg].name = arg.name
        return self.made[arg]

    def join(self, out: Var) -> Var:
        """A Var for the chunks of a stack, from which `out` is defined."""
        rest = out.type.shape[1:]
        chunks = Var(out.name, out.type.format[(self.count, self.rows, *rest)], out.loc, out.scope)
        shape = (self.count * self.rows, *rest)
        if not self.ragged:
            self.b.eqs.append(Equation((out,), Apply("reshape", (chunks,), {"shape": shape})))
            return chunks
        params = {"start": (0,) * len(shape), "stop": out.type.shape, "step": (1,) * len(shape)}
        self.b.eqs.append(
            Equation((out,), Apply("slice", (self.b.reshape(chunks, shape=shape),), params))
        )
        return chunks


Here = Mapping[Var, tuple[Var, bool]]
"""Inputs of a body that the scan over chunks has itself, and whether these are rows."""


class Chunk:
    """The body of a scan over chunks, while it is built."""

    def __init__(self, grid: Grid, at: Var) -> None:
        self.grid = grid
        self.b = Builder(at.loc, at.scope)
        self.inputs: dict[tuple[Var, bool], Var] = {}
        self.outputs: list[tuple[Var, OutKind, Var]] = []
        self.length = None if grid.lengths is None else self.row(grid.lengths)
        self.place = None if grid.starts is None else self.row(grid.starts)
        self.offsets: Var | None = None

    def row(self, arg: Var) -> Var:
        """A mapped argument of the scan over chunks."""
        return self._input(arg, True, arg.type.format[arg.type.shape[1:]])

    def given(self, arg: Var) -> Var:
        """A constant one."""
        return self._input(arg, False, arg.type)

    def _input(self, arg: Var, mapped: bool, type: Type) -> Var:
        if (arg, mapped) not in self.inputs:
            self.inputs[arg, mapped] = Var(arg.name, type, arg.loc, arg.scope)
        return self.inputs[arg, mapped]

    def rows(self, body: Node, like: Scan, kinds: Sequence[OutKind], here: Here) -> tuple[Var, ...]:
        """The results of a body over the rows of this chunk: its arguments are those of `like`, and what is `here`."""
        wanted = list(zip(body.outputs, kinds, strict=True))
        once = list(dict.fromkeys(wanted))  # what is carried on is often a result as well
        body = replace(body, outputs=tuple(var for var, _ in once))
        body, args, mapped = self._arguments(body, like, here)
        n = self.grid.rows
        types = tuple(
            v.type.format[(n, *v.type.shape)] if kind == "stack" else v.type for v, kind in once
        )
        outs: tuple[OutKind, ...] = tuple(kind for _, kind in once)
        scan = Scan(core.copy(body)[0], tuple(args), tuple(mapped), outs, n, self.length)
        made = dict(
            zip(once, self.b.define_many(scan, types, tuple(v.name for v, _ in once)), strict=True)
        )
        return tuple(made[each] for each in wanted)

    def _arguments(self, body: Node, like: Scan, here: Here) -> tuple[Node, list[Var], list[bool]]:
        used = {v for eq in body.eqs for v in operands(eq.rhs)} | set(body.outputs)
        outside = dict(zip(body.inputs, zip(like.args, like.mapped, strict=True), strict=False))
        inputs, args, flags = list[Var](), list[Var](), list[bool]()
        numbered: list[tuple[Var, Var]] = []
        for var in (v for v in body.inputs if v in used):
            arg, mapped = here[var] if var in here else outside[var]
            if var not in here and mapped and self.grid.ragged:
                numbered.append((var, Var(var.name, arg.type, var.loc, var.scope)))
                var, arg, mapped = numbered[-1][1], self.given(arg), False
            elif var not in here:
                arg = self.row(self.grid.cut(arg)) if mapped else self.given(arg)
            inputs.append(var)
            args.append(arg)
            flags.append(mapped)
        body = replace(body, inputs=tuple(inputs))
        return self._numbered(body, numbered, args, flags) if numbered else (body, args, flags)

    def _numbered(
        self, body: Node, numbered: list[tuple[Var, Var]], args: list[Var], flags: list[bool]
    ) -> tuple[Node, list[Var], list[bool]]:
        """Rows of whole arguments, by their number."""
        assert self.place is not None
        if self.offsets is None:
            self.offsets = self.b.lit(
                np.arange(self.grid.rows, dtype=np.int32), i32[self.grid.rows], "offsets"
            )
        b = Builder(self.b.loc, self.b.scope)
        start, offset = Var("start", INT, b.loc, b.scope), Var("offset", INT, b.loc, b.scope)
        at = b.add(start, offset)
        for var, whole in numbered:
            b.eqs.append(Equation((var,), Apply("index", (whole, at), {"axis": 0})))
        body = replace(body, inputs=(*body.inputs, start, offset), eqs=[*b.eqs, *body.eqs])
        return body, [*args, self.place, self.offsets], [*flags, False, True]

    def carry(
        self, open: Resumed, like: Scan, kinds: Sequence[OutKind], here: Here
    ) -> tuple[tuple[Var, ...], dict[Var, Var]]:
        """The results of a body whose delays go on from chunk to chunk; and the delays where this chunk opens."""
        states = {d: Var(d.old.name, d.old.type, d.old.loc, d.old.scope) for d in open.delays}
        starts = {d.start: (state, False) for d, state in states.items()}
        body = replace(open.body, outputs=(*open.body.outputs, *(d.next for d in open.delays)))
        ends: list[OutKind] = ["last" if d.forward else "first" for d in open.delays]
        outs = self.rows(body, like, [*kinds, *ends], {**here, **starts})
        for (d, state), next in zip(states.items(), outs[len(kinds) :], strict=True):
            init = self._initial(d, open.body, like)
            if d.forward:
                self.b.eqs.append(Equation((state,), Fby(init, next)))
            else:
                assert init is not None
                self.b.eqs.append(Equation((state,), Post(next, init)))
        return outs[: len(kinds)], {d.old: state for d, state in states.items()}

    def _initial(self, delay: Delay, body: Node, like: Scan) -> Var | None:
        if delay.init is None:
            return None
        if delay.init in body.inputs:
            return self.given(like.args[body.inputs.index(delay.init)])
        rhs = body.definitions()[delay.init].rhs
        assert isinstance(rhs, Lit), "lowered: an initial value is there before the first row"
        return self.b.lit(rhs.value, delay.init.type, delay.init.name)

    def leave(self, var: Var, kind: OutKind, out: Var) -> None:
        """A result of the scan over chunks."""
        self.outputs.append((var, kind, out))

    def equation(self, name: str) -> Equation:
        """The scan over chunks."""
        inputs, args = tuple(self.inputs.values()), tuple(arg for arg, _ in self.inputs)
        mapped = tuple(each for _, each in self.inputs)
        body = Node(name, inputs, tuple(v for v, _, _ in self.outputs), self.b.eqs, self.b.loc)
        kinds: tuple[OutKind, ...] = tuple(kind for _, kind, _ in self.outputs)
        scan = Scan(body, args, mapped, kinds, self.grid.count, self.grid.chunks)
        return Equation(tuple(out for _, _, out in self.outputs), scan)
