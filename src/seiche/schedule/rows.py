"""Writes a scan: a loop over its rows per sweep of its body.

States live in scratch memory (scalars: in locals) around a loop; what a later sweep reads is stored row by row; stacked results are
written to their rows directly. An accumulator whose last value leaves the scan is kept in the result's memory from the start.
What is the same at every row is computed before the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from seiche.ir.clocks import Clocks, infer
from seiche.ir.core import Apply, Equation, Fby, Lit, Node, Post, Scan, Var, When, operands
from seiche.ir.loops import Access, Const, Expr, For, Local, Name, carrier, integer
from seiche.ir.op import OPS
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Type
from seiche.schedule.carry import same_place
from seiche.schedule.defer import CHUNK, LEAST_ROWS, Chunk, Deferred, Kept, deferred
from seiche.schedule.plan import SweepFact
from seiche.schedule.pull import Pulled, stem_of, use_of
from seiche.schedule.shop import Constant, Shop
from seiche.schedule.sweeps import Sweep, crossing, sweeps
from seiche.schedule.tasks import Copy, Place, Rows, State, Work, fill


class Written(Protocol):
    """A region: what writes the statements of a row."""

    def write(self) -> None: ...
    def access(self, var: Var) -> Access: ...


Region: TypeAlias = Callable[[Shop, Work, int, int], Written]


@dataclass(frozen=True)
class Row:
    """An Access to one row of another."""

    of: Access
    row: Expr

    @property
    def type(self) -> Type:
        return Type(self.of.type.format, self.of.type.shape[1:])

    def __call__(self, *index: Expr | int) -> Expr:
        return self.of(self.row, *index)


def row_of(place: Place, row: Expr) -> Place:
    """The memory of one row."""
    return Place(Type(place.type.format, place.type.shape[1:]), place.buffer, (*place.prefix, row))


def write_rows(
    shop: Shop,
    unit: Rows,
    args: Sequence[Access],
    length: Expr | None,
    places: Sequence[Place],
    trips: int,
    depth: int,
    region: Region,
) -> None:
    """Appends the statements of a scan over `args` that leaves its results in `places`."""
    _Rows(
        shop, unit.scan, list(args), length, list(places), trips, depth, region, unit.outs[0]
    ).write()


@dataclass
class _Rows:
    shop: Shop
    scan: Scan
    args: list[Access]
    length: Expr | None
    places: list[Place]
    trips: int
    depth: int
    region: Region
    title: Var
    given: dict[Var, Access] = field(default_factory=dict["Var", Access])
    mapped: dict[Var, Access] = field(default_factory=dict["Var", Access])
    stored: dict[Var, Place] = field(default_factory=dict["Var", Place])
    delivered: set[int] = field(default_factory=set[int])

    def write(self) -> None:
        body = self.scan.body
        self.stop = self._stop()
        for var, access, is_mapped in zip(body.inputs, self.args, self.scan.mapped, strict=True):
            (self.mapped if is_mapped else self.given)[var] = access
        literals = {eq.out: eq.rhs.value for eq in body.eqs if isinstance(eq.rhs, Lit)}
        self.given.update((v, Constant(self.shop, v, x)) for v, x in literals.items())
        node = self._invariants(
            replace(body, eqs=[e for e in body.eqs if not isinstance(e.rhs, Lit)])
        )
        clocks = infer(body)
        found = [s for s in sweeps(node, clocks) if s.eqs]
        cross = crossing(found, node)
        for sweep in found:
            self._sweep(sweep, clocks, cross)
        self._rest()

    def _stop(self) -> Expr:
        """The number of rows, kept within its bounds whatever the program computed."""
        w, extent = self.shop.w, self.scan.extent
        if self.length is None or extent == 1:
            return integer(extent)
        n = w.let(self.length)
        return w.let(w.select(n < 1, 1, w.select(n > extent, extent, n)))

    def _invariants(self, body: Node) -> Node:
        """Writes what no row changes; the body without it, that being an input."""
        fixed = set(self.given)
        eqs: list[Equation] = []
        left = list(body.eqs)
        while True:
            new = [
                e
                for e in left
                if isinstance(e.rhs, Apply) and e.rhs.args and fixed.issuperset(e.rhs.args)
            ]
            if not new:
                break
            eqs += new
            fixed.update(e.out for e in new)
            left = [e for e in left if e not in new]
        if not eqs:
            return body
        needed = {v for e in left for v in operands(e.rhs)} | set(body.outputs)
        exports = tuple(e.out for e in eqs if e.out in needed)
        work = Work(eqs, dict(self.given), {e.out: () for e in eqs}, exports=exports)
        written = self.region(self.shop, work, self.trips, self.depth)
        written.write()
        self.given.update((v, written.access(v)) for v in exports)
        return replace(body, inputs=(*body.inputs, *exports), eqs=left)

    def _sweep(self, sweep: Sweep, clocks: Clocks, cross: set[Var]) -> None:
        w = self.shop.w
        index = w.fresh("row", fmt.i32)
        loop = For(index, integer(0), self.stop, [], sweep.reverse)
        late = self._deferred(sweep, cross)
        waiting = {e for each in late for e in (each.state, *each.equations)}
        eqs = [e for e in sweep.eqs if not isinstance(e.rhs, Fby | Post) and e not in waiting]
        made = {out for e in sweep.eqs for out in e.outs}
        work = Work(eqs, self._visible(index), {v: clocks[v] for e in sweep.eqs for v in e.outs})
        for eq in sweep.eqs:
            if isinstance(eq.rhs, Fby | Post) and eq not in waiting:
                work.states.append(self._state(eq, sweep, clocks, loop))
        sums = [(each, self._state(each.state, sweep, clocks, loop).place) for each in late]
        work.copies += [Copy(s.next, s.place, s.clock, s) for s in work.states]
        work.copies += self._stores(index, made, clocks, cross, sweep)
        kept = self._kept(late, index, loop, work)
        work.refresh()
        w.block.append(loop)
        with w.into(loop.body):
            self.region(self.shop, work, self.trips * self.scan.extent, self.depth + 1).write()
            self._add(sums, kept, Chunk(w, index, self.stop, sweep.reverse))
        self._fact(sweep, cross & made)

    # Sums of outer products, which wait until a chunk of rows is there.

    def _deferred(self, sweep: Sweep, cross: set[Var]) -> list[Deferred]:
        if self.scan.extent < LEAST_ROWS or not self.shop.w.hardware.vector:
            return []
        body, kind = self.scan.body, "first" if sweep.reverse else "last"

        def result(var: Var) -> bool:
            there = [how for v, how in zip(body.outputs, self.scan.outs, strict=True) if v is var]
            return there == [kind] and var not in cross

        return deferred(sweep, result, lambda var: var in cross or var in body.outputs)

    def _kept(self, late: list[Deferred], index: Name, loop: For, work: Work) -> dict[Var, Kept]:
        """The vectors of the products at the rows of a chunk."""
        found: dict[Var, Kept] = {}
        for var in dict.fromkeys(v for each in late for v in (each.left, each.right)):
            whole = self.mapped.get(var) or self.stored.get(var)
            if whole is not None and _there(whole) is not None:
                found[var] = Kept(var.type, whole, False)
            else:
                type = Type(var.type.format, (min(CHUNK, self.scan.extent), *var.type.shape))
                place = self.shop.memory(var, type, f"{var.name}_chunk", kind="carried")
                assert place.buffer is not None
                self.shop.carried[place.buffer] = loop
                work.copies.append(Copy(var, row_of(place, index % CHUNK), ()))
                found[var] = Kept(var.type, place, True)
        return found

    def _add(self, sums: list[tuple[Deferred, Place]], kept: dict[Var, Kept], chunk: Chunk) -> None:
        for each, _ in sums:
            for eq in each.equations:
                assert isinstance(eq.rhs, Apply)
                cost = OPS[eq.rhs.op].cost(use_of(eq.rhs, eq.out))
                self.shop.count(eq, eq.rhs.op, cost, self.trips * self.scan.extent, False, ())
        if sums:
            with self.shop.w.when(chunk.full):
                for each, place in sums:
                    chunk.add(each, place, kept[each.left], kept[each.right])

    def _visible(self, index: Name) -> dict[Var, Access]:
        """What one row can read: constants, its row of the mapped arguments and of what earlier sweeps stored."""
        rows = {v: Row(a, index) for v, a in (*self.mapped.items(), *self.stored.items())}
        return {**self.given, **rows}

    def _state(self, eq: Equation, sweep: Sweep, clocks: Clocks, loop: For) -> State:
        """The memory of a delay, opened before the loop."""
        rhs, var, w = eq.rhs, eq.out, self.shop.w
        assert isinstance(rhs, Fby | Post)
        init, reset = (rhs.init, rhs.reset) if isinstance(rhs, Fby) else (rhs.final, None)
        clock = clocks[var]
        place = None if clock else self._accumulator(rhs.arg, var, sweep)
        start = self._start(var, init)
        if not var.type.shape:
            name = w.fresh(stem_of(var.name), carrier(var.type.format))
            w.block.append(Local(name, start()))
            place = Place(var.type, None, (), name)
        else:
            if place is None:
                place = self.shop.memory(var, kind="carried")
                assert place.buffer is not None
                self.shop.carried[place.buffer] = loop
            if not same_place(place, _there(start)):
                fill(w, place, start)
        return State(var, rhs.arg, start, reset, place, clock)

    def _start(self, var: Var, init: Var | None) -> Access:
        if init is not None:
            return self.given[init]
        return Zero(var.type)

    def _accumulator(self, next: Var, old: Var, sweep: Sweep) -> Place | None:
        """The result's own memory, if what leaves the scan is the state's value after the last row of the sweep."""
        kind = "first" if sweep.reverse else "last"
        made = {out for e in sweep.eqs for out in e.outs}
        for k, (var, how) in enumerate(zip(self.scan.body.outputs, self.scan.outs, strict=True)):
            fits = var is next and how == kind and k not in self.delivered and var in made
            if fits and var.type.shape and self.places[k].type == old.type:
                self.delivered.add(k)
                return self.places[k]
        return None

    def _stores(
        self, index: Name, made: set[Var], clocks: Clocks, cross: set[Var], sweep: Sweep
    ) -> list[Copy]:
        """Rows of stacked results and of stored streams; first and last values."""
        copies: list[Copy] = []
        for k, (var, how) in enumerate(zip(self.scan.body.outputs, self.scan.outs, strict=True)):
            if var not in made or k in self.delivered:
                continue
            self.delivered.add(k)
            if how == "stack":
                copies.append(Copy(var, row_of(self.places[k], index), clocks[var]))
                if var in cross and not clocks[var]:
                    self.stored.setdefault(var, self.places[k])
            else:
                copies.append(
                    Copy(
                        var, self.places[k], clocks[var], guard=self._guard(index, var, how, sweep)
                    )
                )
        for var in (out for e in sweep.eqs for out in e.outs if out in cross):
            if var not in self.stored:
                type = Type(var.type.format, (self.scan.extent, *var.type.shape))
                self.stored[var] = self.shop.memory(var, type, f"{var.name}_rows", kind="stored")
                copies.append(Copy(var, row_of(self.stored[var], index), clocks[var]))
        return copies

    def _guard(self, index: Name, var: Var, how: str, sweep: Sweep) -> Expr | None:
        """At which row a first or last value is taken. Where the sweep ends there, scalars are simply overwritten."""
        if (how == "first") == sweep.reverse and not var.type.shape:
            return None
        return index.eq(0) if how == "first" else index.eq(self.stop - 1)

    def _rest(self) -> None:
        """Results that no sweep computes, and the rows of stacks beyond the length."""
        writer = self.shop.w
        for k, (var, how) in enumerate(zip(self.scan.body.outputs, self.scan.outs, strict=True)):
            place = self.places[k]
            if k not in self.delivered:
                if how == "stack":
                    with writer.loop(self.stop) as row:
                        fill(writer, row_of(place, row), self._visible_at(row, var))
                else:
                    row = integer(0) if how == "first" else self.stop - 1
                    fill(writer, place, self._visible_at(row, var))
            if how == "stack" and self.length is not None:
                with writer.loop(self.scan.extent, start=self.stop) as row:
                    fill(writer, row_of(place, row), Zero(var.type))

    def _visible_at(self, row: Expr, var: Var) -> Access:
        return self.given[var] if var in self.given else Row(self.mapped[var], row)

    def _fact(self, sweep: Sweep, stored: set[Var]) -> None:
        names = tuple(e.outs[0].name for e in sweep.eqs)
        bytes = tuple(sorted((v.name, v.type.nbytes * self.scan.extent) for v in stored))
        t = self.title
        fact = SweepFact(
            t.name, t.loc, t.scope, self.depth, sweep.reverse, self.scan.extent, names, bytes
        )
        self.shop.sweeps.append(fact)


def _there(access: Access) -> Access | None:
    """The memory that an access reads as it stands."""
    if not isinstance(access, Pulled):
        return access
    var, defs = access.var, access.puller.defs
    while var in defs and isinstance(rhs := defs[var].rhs, When):
        var = rhs.arg
    return access.puller.leaf(var)


@dataclass(frozen=True)
class Zero:
    """An Access to zeros."""

    type: Type

    def __call__(self, *index: Expr | int) -> Expr:
        format = carrier(self.type.format)
        return Const(False if format.kind == "bool" else 0, format)
