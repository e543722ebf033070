"""A matrix product in tiles: loops over tiles, and a rectangle of the result that stays in registers while k runs.

    for tiles of j, of k:                         (in the order of the cut)
        copy the panel of b                       (where it is packed)
        for tiles of i:
            acc[r][v] = result, or -0             6 x 4 vectors, say
            for k of the tile:
                acc[r][v] += a[i + r, k] * b[k, j + v]
            result = acc[r][v]

-0 is what a sum starts from: -0 + x is x for every x, -0 itself too, and so the first product starts the sum (0 for integers).
Each element's k ascends in whatever order the tiles come, for the loop over its tiles ascends and the partial sum is kept.
With `trans_b` alone an element is 16 sums side by side along k; these stay in registers, and k is not cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from seiche.ir.loops import Array, Expr, Load, Name, Result, Writer, integer
from seiche.ir.ops.indexing import Index, plus, times
from seiche.ir.ops.lane_tiles import LaneTile
from seiche.ir.ops.operands import Operands, Piece, pieces, start_of_sum
from seiche.ir.tiling import Cut, Extents
from seiche.ir.vectors import wide


@dataclass(frozen=True)
class Span:
    """Part of a loop, in units of the innermost tile: from `low`, up to `high`; the last unit of the whole may be smaller."""

    low: Index
    high: Index


@dataclass
class Tiling:
    """Writes one product of a batch."""

    w: Writer
    out: Result
    x: Operands
    cut: Cut
    extents: Extents
    terms: Expr | None = None
    """With it, the products are added to what the result holds: those of the first `terms` k."""
    memory: dict[str, Array] = field(default_factory=dict[str, Array])

    def write(self) -> None:
        carried = self._units("k") > 1 or self.terms is not None
        if carried and self.terms is None:
            with self.w.loops((self.extents.i, self.extents.j)) as (i, j):
                self.out.part((*self.x.batch, i, j), start_of_sum(self.x.format))
        self._levels(0, {x: Span(0, self._units(x)) for x in ("i", "j", "k")}, carried)

    def panel(self, operand: str) -> Array:
        """The memory that tiles of an operand are copied to, k outermost."""
        if operand not in self.memory:
            side = self.cut.tile["i" if operand == "a" else "j"]
            shape = (self.cut.tile["k"], side)
            self.memory[operand] = self.w.memory(shape, self.x.format, f"panel_{operand}_")
        return self.memory[operand]

    def _units(self, loop: str) -> int:
        return -(-self.extents.of(loop) // self.cut.tile[loop])

    def _levels(self, at: int, spans: dict[str, Span], carried: bool) -> None:
        if at == len(self.cut.outer):
            _Innermost(self, spans, carried).write()
            return
        sizes, order = self.cut.outer[at]
        steps = {x: max(1, n // self.cut.tile[x]) for x, n in sizes.items()}
        self._loops(at, order, steps, spans, carried)

    def _loops(
        self,
        at: int,
        order: tuple[str, ...],
        steps: dict[str, int],
        spans: dict[str, Span],
        carried: bool,
    ) -> None:
        """The loops of a level, one in the other; a tile that is no multiple of the innermost is cut down to one."""
        if not order:
            self._levels(at + 1, spans, carried)
            return
        loop, *rest = order
        with self._split(spans[loop], steps[loop]) as span:
            self._loops(at, tuple(rest), steps, {**spans, loop: span}, carried)

    @contextmanager
    def _split(self, span: Span, step: int) -> Iterator[Span]:
        """The loop over parts of `step` units."""
        w, low, high = self.w, span.low, span.high
        static = isinstance(low, int) and isinstance(high, int)
        if static and high - low <= step:
            yield span
            return
        if static:
            parts: Index = -(-(high - low) // step)
        else:
            parts = w.let((integer(high) - integer(low) + (step - 1)) // step)
        with w.loop(parts) as part:
            first = w.let(integer(plus(times(part, step), low)))
            whole = static and (high - low) % step == 0
            yield Span(first, w.let(first + step) if whole else self.least(first + step, high))

    def least(self, a: Expr, b: Index) -> Expr:
        """The smaller of two indices."""
        a = self.w.let(a)
        return self.w.let(self.w.select(a < b, a, b))


@dataclass(frozen=True)
class At:
    """Where a loop stands: the start of its unit, and the size."""

    base: Index
    size: int


class _Innermost:
    """The loops over the units of the innermost tile, in their order, then the rectangle in registers."""

    def __init__(self, tiling: Tiling, spans: dict[str, Span], carried: bool) -> None:
        self.t, self.w, self.x, self.cut = tiling, tiling.w, tiling.x, tiling.cut
        self.spans, self.carried = spans, carried
        self.panels: dict[str, Array] = {}
        self.low: Index = 0 if tiling.terms is None else integer(0)
        self.high: Index = tiling.extents.k if tiling.terms is None else tiling.terms

    def write(self) -> None:
        order = self.cut.order
        self._next(tuple(x for x in order if x != "k") if self.x.lane_order else order, {})

    def _next(self, order: tuple[str, ...], at: dict[str, At]) -> None:
        """`at`: where the loops stand that are written already."""
        before, self.panels = self.panels, self._packed(at)
        if not order:
            self._rectangle(at["i"], at["j"])
        elif order[0] == "k":
            self._along_k(order[1:], at)
        else:
            self._across(order[0], order[1:], at)
        self.panels = before

    def _across(self, loop: str, rest: tuple[str, ...], at: dict[str, At]) -> None:
        """The loop over the units of i or j that are whole, then what is left: it takes code of its own."""
        size, n, span = self.cut.tile[loop], self.t.extents.of(loop), self.spans[loop]
        whole = n // size
        with self._whole(span, whole) as unit:
            base = times(unit, size)
            self._next(
                rest, {**at, loop: At(base if isinstance(base, int) else self.w.let(base), size)}
            )
        if n % size:
            with self._if_last(span.high, whole + 1):
                self._next(rest, {**at, loop: At(whole * size, n % size)})

    @contextmanager
    def _whole(self, span: Span, whole: int) -> Iterator[Expr]:
        high = span.high
        stop = min(high, whole) if isinstance(high, int) else self.t.least(high, whole)
        with self.w.loop(stop, span.low) as unit:
            yield unit

    @contextmanager
    def _if_last(self, high: Index, units: int) -> Iterator[None]:
        """Where the span reaches the last unit of the loop."""
        if isinstance(high, int):
            yield
            return
        with self.w.when(high.eq(units)):
            yield

    def _along_k(self, rest: tuple[str, ...], at: dict[str, At]) -> None:
        """The loop over the tiles of k. How many terms the last one has is found when it runs: that takes no other code."""
        size, n, span = self.cut.tile["k"], self.t.extents.k, self.spans["k"]
        if size >= n:
            self._next(rest, {**at, "k": At(0, n)})
            return
        with self.w.loop(span.high, span.low) as unit:
            low = self.w.let(unit * size)
            self.low = low
            self.high = self.w.let(low + size) if n % size == 0 else self.t.least(low + size, n)
            self._next(rest, {**at, "k": At(low, size)})
        self.low, self.high = 0, n

    # Panels.

    def _packed(self, at: dict[str, At]) -> dict[str, Array]:
        """The panels, with those of the operands whose loops all stand by now."""
        found = dict(self.panels)
        for operand, side in (("a", "i"), ("b", "j")):
            ready = "k" in at and side in at and operand in self.cut.packed
            if ready and operand not in found:
                found[operand] = self._copied(operand, at[side])
        return found

    def _copied(self, operand: str, at: At) -> Array:
        panel = self.t.panel(operand)
        with self.w.loop(self._terms_here()) as k:
            for first, lanes in pieces(at.size, self.cut.lanes, self._least_lanes()):
                self._copy(panel, operand, k, at.base, (first, lanes))
        return panel

    def _copy(self, panel: Array, operand: str, k: Index, base: Index, piece: Piece) -> None:
        """A piece of a row of a panel, in lanes where memory has it so."""
        (first, lanes), term = piece, plus(self.low, k)

        def read(q: Index) -> Expr:
            return self.x.a(q, term) if operand == "a" else self.x.b(term, q)

        found = wide(self.w, read, plus(base, first), lanes)
        if found is not None and found.lanes == lanes:
            panel.put((k, first), found)
            return
        with self.w.loop(lanes, parallel=True) as q:
            panel.put((k, plus(q, first)), read(plus(plus(base, first), q)))

    def _terms_here(self) -> Index:
        """Terms of the tile of k."""
        if isinstance(self.low, int) or isinstance(self.high, int):
            return self.t.extents.k
        if self.t.extents.k % self.cut.tile["k"] == 0:
            return self.cut.tile["k"]
        return self.w.let(self.high - self.low)

    def _least_lanes(self) -> int:
        """Vectors of 16 bytes are the smallest."""
        return max(2, 16 // self.x.format.itemsize)

    # The rectangle.

    def _rectangle(self, rows: At, columns: At) -> None:
        down = [plus(rows.base, r) for r in range(rows.size)]
        if self.x.lane_order:
            self._in_lane_order(rows, columns, down)
            return
        across = pieces(columns.size, self.cut.lanes, self._least_lanes())
        places = [[(*self.x.batch, i, plus(columns.base, q)) for q, _ in across] for i in down]
        sums = [
            [self._started(place, lanes) for place, (_, lanes) in zip(row, across, strict=True)]
            for row in places
        ]
        self._terms(lambda k: self._add(k, down, columns.base, across, sums))
        stored = [
            pair
            for row, names in zip(places, sums, strict=True)
            for pair in zip(row, names, strict=True)
        ]
        if not (self.carried and self.t.out.fused):
            self._ended(rows, columns, across, stored)
            return
        assert isinstance(self.high, Expr), "partial sums are carried through a loop over tiles"
        with self.w.when(self.high.eq(self.t.extents.k)):
            self._ended(rows, columns, across, stored)
        with self.w.otherwise():
            for place, name in stored:
                self.t.out.part(place, name)

    def _ended(
        self,
        rows: At,
        columns: At,
        across: list[Piece],
        stored: list[tuple[tuple[Index, ...], Name]],
    ) -> None:
        """Stores sums that are whole: from the registers, if their reader takes them so, else element by element out of a tile."""
        out = self.t.out
        if len(stored) == 1 == stored[0][1].lanes or all(
            out.takes(place, name.lanes) for place, name in stored[: len(across)]
        ):
            for place, name in stored:
                out.put(place, name)
            return
        with self._staged(rows, columns) as tile:
            for n, (_, name) in enumerate(stored):
                tile.put((n // len(across), across[n % len(across)][0]), name)

    @contextmanager
    def _staged(self, rows: At, columns: At) -> Iterator[Array]:
        """A tile in local memory; what is put there goes to the result afterwards."""
        tile = self.w.array((rows.size, columns.size), self.x.format, "tile")
        yield tile
        with self.w.loops((rows.size, columns.size)) as (r, q):
            there = (*self.x.batch, plus(r, rows.base), plus(q, columns.base))
            self.t.out.put(there, tile.get((r, q)))

    def _in_lane_order(self, rows: At, columns: At, down: list[Index]) -> None:
        across = [plus(columns.base, q) for q in range(columns.size)]
        out, size = self.t.out, (self.t.extents.k, self.cut.lanes)
        if rows.size * columns.size == 1 or out.takes((*self.x.batch, down[0], across[0]), 1):

            def put(r: int, q: int, value: Expr) -> None:
                out.put((*self.x.batch, down[r], across[q]), value)

            LaneTile(self.w, put, self.x, down, across, *size).write()
            return
        with self._staged(rows, columns) as tile:
            LaneTile(
                self.w, lambda r, q, value: tile.put((r, q), value), self.x, down, across, *size
            ).write()

    def _started(self, place: tuple[Index, ...], lanes: int) -> Name:
        if not self.carried:
            return self.w.local(start_of_sum(self.x.format), "acc", lanes)
        return self.w.local(in_lanes(self.t.out.get(place), lanes), "acc")

    def _add(
        self, k: Index, down: list[Index], base: Index, across: list[Piece], sums: list[list[Name]]
    ) -> None:
        """One term of all sums."""
        right = [self._b(k, base, piece) for piece in across]
        neighbours = len(across) > 1 and all(lanes == 1 for _, lanes in across)
        if len(down) > 1 or neighbours:
            right = [self.w.let(b) for b in right]
        for r, names in enumerate(sums):
            a = self._a(k, down[r], r)
            a = self.w.let(a) if len(across) > 1 else a
            for name, b in zip(names, right, strict=True):
                self.w.assign(name, name + a * b)

    def _a(self, k: Index, row: Index, r: int) -> Expr:
        return (
            self.panels["a"].get((self._inside(k), r)) if "a" in self.panels else self.x.a(row, k)
        )

    def _b(self, k: Index, base: Index, piece: Piece) -> Expr:
        first, lanes = piece
        if "b" in self.panels:
            return in_lanes(self.panels["b"].get((self._inside(k), first)), lanes)
        found = wide(self.w, lambda q: self.x.b(k, q), plus(base, first), lanes)
        assert found is not None, "b is read in lanes only where it lies side by side"
        return found

    def _inside(self, k: Index) -> Index:
        """The position of a term in the tile of k."""
        return k if isinstance(self.low, int) else integer(k) - self.low

    def _terms(self, add: Callable[[Index], None]) -> None:
        """The loop over k, several terms at a time."""
        n, count = self.t.extents.k, self.cut.times
        if isinstance(self.low, int) or isinstance(self.high, int):
            self._repeat(n // count, 0, count, add)
            for k in range(n - n % count, n):
                add(k)
            return
        if n % count or self.cut.tile["k"] % count:
            count = 1
        if count == 1:
            self._repeat(self.high, self.low, 1, add)
        else:
            self._repeat(self.high // count, self.low // count, count, add)

    def _repeat(self, stop: Index, start: Index, count: int, add: Callable[[Index], None]) -> None:
        if isinstance(stop, int) and not stop:
            return
        with self.w.loop(stop, start) as block:
            base = block if count == 1 else self.w.let(block * count)
            for q in range(count):
                add(plus(base, q))


def in_lanes(e: Expr, lanes: int) -> Expr:
    """What is loaded, and its neighbours."""
    if lanes == 1:
        return e
    assert isinstance(e, Load)
    return Load(e.buffer, e.index, lanes)
