"""Products of small integers by constants: the matrix is stored in words, as the target multiplies several at once.

    y = matmul(x, w)       |-   y = packed_matmul(x, words of w, start)             sums in i32       (see `ir.ops.packed`)
    y = matmul(x, w)       |-   y = convert(matmul(x, w, accumulate=i32), i64)      sums in i64 that i32 holds
    y = matmul(x, w)       |-   y = 2^8 matmul(x, high) + matmul(x, low), ...       sums in i64

The words take the place of the matrix: as many bytes, and the starts of the sums, one per column. It is done where the target has such
instructions and nothing is said about the loops. A matrix that is no constant is packed as the program runs, where the target has vectors
and there are rows enough; sums in i64 of fewer rows are taken in f64 there, which has vectors too.

Sums in i64 of products of i16, which is what products of fixed point are (`schedule.units`), are summed in i32 where the matrix is so
small that they cannot wrap. Else, where there are instructions for that, over so many terms that they cannot, a matrix of many bits in two
parts; what is left to i64 is a sum of these per column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seiche.ir.core import Apply, Equation, Var
from seiche.ir.loops import Access
from seiche.ir.op import OPS, AnyArray, use
from seiche.ir.ops.packed import COLUMNS, OFFSET, groups, pack, per_word, starts
from seiche.numbers.formats import Format, Type, f64, i8, i16, i32, i64, u8, u32
from seiche.schedule.fold import use_of, value
from seiche.schedule.pull import Pulled
from seiche.schedule.shop import Constant, Shop
from seiche.schedule.tasks import Work

PAIRS = {(i8, i8), (u8, i8), (i16, i16)}
"""Formats of the rows and of the matrix."""
SUM_MAX = (1 << 31) - 1
LOW_BITS = 8
ROWS_MIN = 4
"""Rows that make up for packing a matrix that is no constant."""
TERMS_MIN = 64
"""Fewer terms in a sum of i32, and the matrix is split."""


def pack_products(work: Work, shop: Shop) -> None:
    """Rewrites such products of a region."""
    eqs = [new for eq in work.eqs for new in _Packing(work, shop, eq).written()]
    if len(eqs) != len(work.eqs) or any(a is not b for a, b in zip(eqs, work.eqs, strict=True)):
        work.eqs[:] = eqs
        work.refresh()


class _Packing:
    """What takes the place of one equation."""

    def __init__(self, work: Work, shop: Shop, eq: Equation) -> None:
        self.work, self.shop, self.eq = work, shop, eq
        self.made: list[Equation] = []

    def written(self) -> list[Equation]:
        rhs, out = self.eq.rhs, self.eq.outs[0]
        if not isinstance(rhs, Apply) or rhs.op != "matmul" or not _free(rhs):
            return [self.eq]
        a, b = rhs.args
        if (a.type.format, b.type.format) not in PAIRS or out.type.format not in (i32, i64):
            return [self.eq]
        matrix, few = _known(self.work, b), a.type.shape[-1] < per_word(a.type.format)
        transposed, words = bool(rhs.params.get("trans_b")), bool(self.dots) and not few
        if matrix is not None:
            matrix = np.swapaxes(matrix, -1, -2) if transposed else matrix
            if out.type.format == i64:
                self._wide(a, b, matrix, out, words)
            elif words:
                self._product(a, b, matrix, out)
        elif self.shop.w.hardware.vector:
            self._unknown(a, b, out, transposed, words and out.type.shape[-2] >= ROWS_MIN)
        return self.made or [self.eq]

    @property
    def dots(self) -> int:
        return self.shop.w.hardware.dots

    def _product(self, a: Var, b: Var, matrix: AnyArray, out: Var | None = None) -> Var:
        if not self.dots or a.type.shape[-1] < per_word(a.type.format):
            plain = self._constant(b, b.name, matrix, b.type.format)
            return self._apply("matmul", a, plain, out=out, accumulate=i32)
        words, params = pack(matrix), dict[str, Any]()
        if not self.shop.w.hardware.vector and matrix.shape[-1] % COLUMNS == 0:
            words, params = groups(words, COLUMNS), {"columns": COLUMNS}
        first = self._constant(b, "start", starts(matrix, a.type.format), i32)
        stored = self._constant(b, b.name, words, u32)
        return self._apply("packed_matmul", a, stored, first, out=out, **params)

    def _unknown(self, a: Var, b: Var, out: Var, transposed: bool, words: bool) -> None:
        """By a matrix that is no constant, where there are vectors: it is packed as the program runs if `words` are worth it."""
        if words:
            b = self._apply("transpose", b, perm=_swapped(b)) if transposed else b
            if out.type.format == i64:
                self._in_parts(a, b, out)
            else:
                self._as_it_runs(a, b, out)
        elif out.type.format == i64 and "f64" in self.shop.w.hardware.floats:
            self._in_reals(a, b, out, transposed)

    def _as_it_runs(self, a: Var, b: Var, out: Var | None = None) -> Var:
        words = self._apply("pack_words", b)
        if a.type.format is i8:
            total = self._apply(
                "sum", self._apply("convert", b, format=i32), axes=(len(b.type.shape) - 2,)
            )
            first = self._scaled(total, -OFFSET)
        else:
            zeros = np.zeros((*b.type.shape[:-2], b.type.shape[-1]), np.int32)
            first = self._constant(b, "start", zeros, i32)
        return self._apply("packed_matmul", a, words, first, out=out)

    def _in_parts(self, a: Var, b: Var, out: Var) -> None:
        """Sums in i64 by a matrix of i16, the upper and the lower bits of which are packed."""
        low = (1 << LOW_BITS) - 1
        parts = (
            self._apply("shift_right", b, self._filled(b, LOW_BITS)),
            self._apply("bit_and", b, self._filled(b, low)),
        )

        def product(some: Var, part: int, first: int, last: int) -> Var:
            return self._as_it_runs(some, self._piece(parts[part], -2, first, last))

        self._summed(a, terms_of(a.type.format.bits, low), (1 << LOW_BITS, 1), product, out)

    def _in_reals(self, a: Var, b: Var, out: Var, transposed: bool) -> None:
        """Sums in i64 by f64, which vectors have: exact, as long as it holds them."""
        if a.type.shape[-1] << (a.type.format.bits + b.type.format.bits - 2) > 1 << f64.mantissa:
            return
        real = [self._apply("convert", v, format=f64) for v in (a, b)]
        self._apply(
            "convert", self._apply("matmul", *real, trans_b=transposed), out=out, format=i64
        )

    def _wide(self, a: Var, b: Var, matrix: AnyArray, out: Var, words: bool) -> None:
        """Sums in i64 as sums in i32 that cannot wrap."""
        if largest_sum(matrix, a.type.format) <= SUM_MAX:
            self._apply("convert", self._product(a, b, matrix), out=out, format=i64)
            return
        if not words:
            return
        terms, parts = split(matrix.astype(np.int64), a.type.format.bits, a.type.shape[-1])

        def product(some: Var, part: int, first: int, last: int) -> Var:
            held = parts[part][0][..., first:last, :].astype(b.type.format.dtype)
            return self._product(some, b, held)

        self._summed(a, terms, tuple(factor for _, factor in parts), product, out)

    def _summed(
        self,
        a: Var,
        terms: int,
        factors: tuple[int, ...],
        product: Callable[[Var, int, int, int], Var],
        out: Var,
    ) -> None:
        """The sum in i64 of products in i32 over so many terms each, by parts of the matrix with these factors."""
        k, total = a.type.shape[-1], None
        for first in range(0, k, terms):
            last = min(k, first + terms)
            some = self._piece(a, -1, first, last)
            for part, factor in enumerate(factors):
                found = self._apply("convert", product(some, part, first, last), format=i64)
                found = found if factor == 1 else self._scaled(found, factor)
                total = found if total is None else self._apply("add", total, found)
        assert total is not None
        self._apply("stop_gradient", total, out=out)

    def _piece(self, x: Var, axis: int, first: int, last: int) -> Var:
        """Rows along an axis, counted from the end."""
        start, stop = [0] * len(x.type.shape), list(x.type.shape)
        if last - first == stop[axis]:
            return x
        start[axis], stop[axis] = first, last
        step = (1,) * len(stop)
        return self._apply("slice", x, start=tuple(start), stop=tuple(stop), step=step)

    def _filled(self, like: Var, value: int) -> Var:
        many = np.broadcast_to(np.asarray(value, like.type.format.dtype), like.type.shape)
        return self._constant(like, "filled", many, like.type.format)

    def _scaled(self, x: Var, factor: int) -> Var:
        return self._apply("mul", x, self._filled(x, factor))

    def _apply(self, op: str, *args: Var, out: Var | None = None, **params: Any) -> Var:
        like = self.eq.outs[0]
        if out is None:
            type = use(op, tuple(a.type for a in args), params).out
            out = Var(op, type, like.loc, like.scope)
            self.work.clocks[out] = self.work.clocks[like]
        self.made.append(Equation((out,), Apply(op, args, params)))
        return out

    def _constant(self, like: Var, name: str, value: AnyArray, format: Format) -> Var:
        """A literal of the region."""
        made = Var(name, Type(format, value.shape), like.loc, like.scope)
        self.work.given[made] = Constant(self.shop, made, value)
        self.work.clocks[made] = self.work.clocks.get(like, ())
        return made


def _free(rhs: Apply) -> bool:
    return rhs.params.get("loops") is None and not rhs.params.get("trans_a")


def _swapped(b: Var) -> tuple[int, ...]:
    """The permutation that transposes its matrices."""
    *batch, last, k = range(len(b.type.shape))
    return (*batch, k, last)


def largest_sum(matrix: AnyArray, rows: Format) -> int:
    """The largest magnitude of a sum of products by a column of a matrix, or of a part of such a sum.

    >>> largest_sum(np.array([[3], [-4]]), i16)
    229376
    """
    columns = np.abs(matrix.astype(np.int64)).sum(axis=-2)
    return int(columns.max(initial=0)) << (rows.bits - 1)


def split(codes: AnyArray, bits: int, k: int) -> tuple[int, list[tuple[AnyArray, int]]]:
    """How many terms a sum in i32 takes at most, and the parts of a matrix of codes with the factor of each.

    >>> [split(np.array([[-300]]), bits, 400)[0] for bits in (8, 12, 16)]
    [131071, 511, 257]
    >>> [(int(part[0, 0]), factor) for part, factor in split(np.array([[-300]]), 16, 400)[1]]
    [(-2, 256), (212, 1)]
    """
    terms = terms_of(bits, 1 << (bits - 1))
    if terms >= min(k, TERMS_MIN):
        return terms, [(codes, 1)]
    low = (1 << LOW_BITS) - 1
    return terms_of(bits, low), [(codes >> LOW_BITS, 1 << LOW_BITS), (codes & low, 1)]


def terms_of(bits: int, largest: int) -> int:
    """How many products of numbers of so many bits by others, up to the largest, a sum in i32 takes at most.

    >>> terms_of(16, 255)
    257
    """
    return SUM_MAX // (largest << (bits - 1))


def _known(work: Work, var: Var) -> AnyArray | None:
    """The value of a constant, or of one that is only moved about."""
    if var in work.given:
        return _held(work.given[var])
    rhs = work.defs[var].rhs if var in work.defs else None
    if not isinstance(rhs, Apply) or OPS[rhs.op].family != "moves":
        return None
    args = [_known(work, v) for v in rhs.args]
    known = [x for x in args if x is not None]
    return value(rhs.op, tuple(known), use_of(rhs)) if len(known) == len(args) else None


def _held(access: Access) -> AnyArray | None:
    """The value that an access reads, if it is a literal."""
    if isinstance(access, Pulled):
        leaf = access.puller.leaf(access.var)
        return None if leaf is None else _held(leaf)
    return access.value if isinstance(access, Constant) else None
