"""Folds in lane order, written: 16 accumulators, side by side in vectors where the terms lie side by side in memory, else in names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from seiche.ir.loops import Array, Expr, Load, Writer, integer
from seiche.ir.ops.define import LANES, Combine, plus
from seiche.ir.ops.operands import pieces
from seiche.ir.vectors import wide
from seiche.numbers.formats import Format

Term: TypeAlias = Callable[[Expr], Expr]


def write_lane_fold(w: Writer, n: int, term: Term, combine: Combine = plus) -> Expr:
    """Writes what `lane_fold` computes: `term(k)` is the k-th of n >= 1 terms. One loop step combines 16 of them."""
    found = _in_vectors(w, n, term, combine) if n >= 2 * LANES and w.hardware.vector else None
    return _in_names(w, n, term, combine) if found is None else found


def _in_names(w: Writer, n: int, term: Term, combine: Combine) -> Expr:
    acc = [w.local(term(integer(j))) for j in range(min(n, LANES))]
    if n >= 2 * LANES:
        with w.loop(n // LANES, start=1) as block:
            base = w.let(block * LANES)
            for j, a in enumerate(acc):
                w.assign(a, combine(w, a, term(base + j if j else base)))
    for k in range(max(LANES, n - n % LANES), n):
        w.assign(acc[k % LANES], combine(w, acc[k % LANES], term(integer(k))))
    half = LANES // 2
    while half:
        for j in range(half):
            if j + half < len(acc):
                w.assign(acc[j], combine(w, acc[j], acc[j + half]))
        acc = acc[:half]
        half //= 2
    return acc[0]


def _in_vectors(w: Writer, n: int, term: Term, combine: Combine) -> Expr | None:
    """The same in vectors; None where the terms cannot be taken so."""
    with w.into([]):
        format = term(integer(0)).format
    if not format.is_float:
        return None
    lanes = min(LANES, w.hardware.vector // format.itemsize)
    fold = _Fold(w, term, combine, lanes)
    rest = pieces(n % LANES, lanes, 2)
    with w.into([]):
        k = w.fresh("k", integer(0).format)
        taken = all(
            fold.takes(start, m) for start, m in [(k, lanes), *((k + j, m) for j, m in rest)]
        )
    return fold.write(n, format) if taken else None


@dataclass
class _Fold:
    w: Writer
    term: Term
    combine: Combine
    lanes: int

    def takes(self, start: Expr, lanes: int) -> bool:
        found = wide(self.w, self.term, start, lanes)
        return found is not None and found.lanes == lanes

    def _terms(self, start: Expr, lanes: int) -> Expr:
        found = wide(self.w, self.term, start, lanes)
        assert found is not None
        return self.w.let(found)

    def write(self, n: int, format: Format) -> Expr:
        w, across = self.w, pieces(LANES, self.lanes, 1)
        acc = [w.local(self._terms(integer(j), m), "acc", m) for j, m in across]
        with w.loop(n // LANES, start=1) as block:
            base = w.let(block * LANES)
            for (j, m), a in zip(across, acc, strict=True):
                w.assign(a, self.combine(w, a, self._terms(base + j if j else base, m)))
        t = w.array((LANES,), format, "lane")
        for (j, _), a in zip(across, acc, strict=True):
            t.put((j,), a)
        for j, m in pieces(n % LANES, self.lanes, 2):
            k = integer(n - n % LANES + j)
            t.put((j,), self.combine(w, self._lanes(t, j, m), self._terms(k, m)))
        return self._halved(t, format)

    def _lanes(self, t: Array, j: int, lanes: int) -> Expr:
        return self.w.let(Load(t.buffer, (integer(j),), lanes))

    def _halved(self, t: Array, format: Format) -> Expr:
        """Halves onto halves: the first are vectors too."""
        half, least = LANES // 2, max(2, 16 // format.itemsize)
        while half >= least:
            for j, m in pieces(half, min(half, self.lanes), 1):
                t.put((j,), self.combine(self.w, self._lanes(t, j, m), self._lanes(t, j + half, m)))
            half //= 2
        left = [self.w.let(t.get((j,))) for j in range(2 * half)]
        while half:
            left = [self.w.let(self.combine(self.w, left[j], left[j + half])) for j in range(half)]
            half //= 2
        return left[0]
