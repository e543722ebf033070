"""A rectangle of a product whose sums are in lane order: 16 accumulators for each element, side by side along k.

for blocks of 16 terms:   acc[i, j][0 .. 15] += a[i, k .. k + 15] * b[j, k .. k + 15]
the terms that are left go to their lanes; then halves are added onto halves
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seiche.ir.loops import Array, Expr, Load, Name, Writer, integer
from seiche.ir.ops.define import LANES
from seiche.ir.ops.indexing import Index, plus
from seiche.ir.ops.operands import Operands, Piece, pieces, start_of_sum
from seiche.ir.vectors import wide


@dataclass
class LaneTile:
    """Rows i and columns j of a product over k terms, in vectors of `lanes` (1: in scalars). `put(r, q, value)` stores row r, column q of it."""

    w: Writer
    put: Callable[[int, int, Expr], None]
    x: Operands
    rows: list[Index]
    columns: list[Index]
    k: int
    lanes: int

    def write(self) -> None:
        if self.k < LANES:
            self._few()
            return
        across = pieces(LANES, min(self.lanes, LANES), 1)
        zero = start_of_sum(self.x.format)
        sums = [
            [[self.w.local(zero, "acc", n) for _, n in across] for _ in self.columns]
            for _ in self.rows
        ]
        with self.w.loop(self.k // LANES) as block:
            self._block(self.w.let(block * LANES), across, sums)
        for r, row in enumerate(sums):
            for q, names in enumerate(row):
                self.put(r, q, self._folded(self.rows[r], self.columns[q], names, across))

    def _few(self) -> None:
        """Fewer terms than lanes: each has a lane of its own."""
        for r, i in enumerate(self.rows):
            left = [self.w.let(self.x.a(i, k)) for k in range(self.k)]
            for q, j in enumerate(self.columns):
                self.put(r, q, fold([a * self.x.b(k, j) for k, a in enumerate(left)]))

    def _block(self, base: Expr, across: list[Piece], sums: list[list[list[Name]]]) -> None:
        """A term for each lane."""
        for p, (first, lanes) in enumerate(across):
            start = plus(base, first)
            right = [self.w.let(self._b(start, j, lanes)) for j in self.columns]
            for i, row in zip(self.rows, sums, strict=True):
                left = self.w.let(self._a(start, i, lanes))
                for names, b in zip(row, right, strict=True):
                    self.w.assign(names[p], names[p] + left * b)

    def _a(self, start: Index, i: Index, lanes: int) -> Expr:
        found = wide(self.w, lambda q: self.x.a(i, q), start, lanes)
        assert found is not None, "a is read in lanes only where it lies side by side"
        return found

    def _b(self, start: Index, j: Index, lanes: int) -> Expr:
        found = wide(self.w, lambda q: self.x.b(q, j), start, lanes)
        assert found is not None, "b is read in lanes only where it lies side by side"
        return found

    def _folded(self, i: Index, j: Index, names: list[Name], across: list[Piece]) -> Expr:
        rest = range(self.k - self.k % LANES, self.k)
        if across[0][1] == 1:
            for q, k in enumerate(rest):
                self.w.assign(names[q], names[q] + self.x.a(i, k) * self.x.b(k, j))
            return fold(list(names))
        t = self.w.array((LANES,), self.x.format, "lane")
        for (first, _), name in zip(across, names, strict=True):
            t.put((first,), name)
        if rest:
            with self.w.loop(len(rest), parallel=True) as q:
                k = plus(q, rest[0])
                t.put((q,), t.get((q,)) + self.x.a(i, k) * self.x.b(k, j))
        return self._halved(t)

    def _halved(self, t: Array) -> Expr:
        """The first halves are vectors too."""
        least, half = max(2, 16 // self.x.format.itemsize), LANES // 2
        while half >= least:
            for first, lanes in pieces(half, min(half, self.lanes), 1):
                both = [Load(t.buffer, (integer(at),), lanes) for at in (first, first + half)]
                t.put((first,), both[0] + both[1])
            half //= 2
        return fold([t.get((q,)) for q in range(2 * half)])


def fold(lanes: list[Expr]) -> Expr:
    """The sum of at most 16 lanes as one expression, halves onto halves."""
    half = LANES // 2
    while half:
        upper = lanes[half:]
        lanes = [a + upper[j] if j < len(upper) else a for j, a in enumerate(lanes[:half])]
        half //= 2
    return lanes[0]
