"""What the kernels of a matrix product share: how they read its operands, and what a sum starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seiche.ir.loops import Access, Const, Expr, Name, Writer, carrier
from seiche.ir.op import Use
from seiche.ir.ops.indexing import Index
from seiche.ir.vectors import wide
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format

Piece = tuple[int, int]
"""Elements side by side: the first, counted from the tile's, and how many (lanes)."""


class Operands:
    """How a kernel reads a(i, k) and b(k, j) of one matrix of the batch, in the format of the sums."""

    def __init__(
        self, w: Writer, batch: tuple[Expr, ...], args: Sequence[Access], use: Use
    ) -> None:
        self.w, self.batch, self.args = w, batch, args
        self.format = carrier(use.out.format)
        self.trans = tuple(bool(use.params.get(f)) for f in ("trans_a", "trans_b"))

    @property
    def lane_order(self) -> bool:
        """Whether the sums are in lane order; those of integers are the same in any."""
        return self.trans == (False, True) and not self.format.is_integer

    def a(self, i: Index, k: Index) -> Expr:
        return self._read(0, i, k)

    def b(self, k: Index, j: Index) -> Expr:
        return self._read(1, k, j)

    def _read(self, which: int, i: Index, j: Index) -> Expr:
        at = (j, i) if self.trans[which] else (i, j)
        return self.w.convert(self.args[which](*self.batch, *at), self.format)

    def side_by_side(self, at: Callable[[Index, Index], Expr], lanes: int) -> bool:
        """Whether memory has the elements `at(_, 0)`, `at(_, 1)` ... side by side."""
        place = Name("place", fmt.i32)
        with self.w.into([]):
            found = wide(self.w, lambda q: at(place, q), 0, lanes)
        return found is not None and found.lanes in (lanes, 1)


def start_of_sum(format: Format) -> Const:
    """-0 + x is x for every x, -0 itself too: the sum starts with its first term."""
    return Const(-0.0 if format.is_float else 0, format)


def pieces(n: int, lanes: int, least: int) -> list[Piece]:
    """n elements in vectors, the rest in halves of them down to `least`, what is left one by one.

    >>> pieces(38, 16, 4), pieces(3, 1, 4)
    ([(0, 16), (16, 16), (32, 4), (36, 1), (37, 1)], [(0, 1), (1, 1), (2, 1)])
    """
    found: list[Piece] = []
    at = 0
    while at < n:
        while lanes > n - at:
            lanes = lanes // 2 if lanes // 2 >= least else 1
        found.append((at, lanes))
        at += lanes
    return found
