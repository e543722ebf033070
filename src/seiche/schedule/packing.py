"""Products of small integers by constants: the matrix is stored in words, as the target multiplies several at once.

    y = matmul(x, w)       |-   y = packed_matmul(x, words of w, start)                          (see `ir.ops.packed`)
    y = matmul(x, w)       |-   y = convert(2^-2f packed_matmul(2^f x, words of 2^f w, start))   of fixed(i, f)

The words take the place of the matrix: as many bytes, and the starts of the sums, one per column. It is done where the target has such
instructions, sums are i32 and nothing is said about the loops; elsewhere fixed-point numbers are multiplied as integers, one by one.
A matrix that is no constant is packed as the program runs, where the target has vectors and there are rows enough.

Fixed-point numbers of up to 16 bits are integers of units in the last place. Their products are exact in f64, their carrier, and so
are sums of up to 2^23 of them, rounded once at the end; here they are summed in i32, over so many terms that it cannot wrap, a matrix of more
than 13 bits in two: 2^8 high + low. What is left to f64 is a sum per column, of integers. No bit changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seiche.ir.core import Apply, Equation, Var
from seiche.ir.loops import Access
from seiche.ir.op import OPS, AnyArray, use
from seiche.ir.ops.packed import COLUMNS, OFFSET, groups, pack, per_word, starts
from seiche.numbers.formats import Format, Type, f64, i8, i16, i32, u8, u32
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
        whole = out.type.format == i32 and (a.type.format, b.type.format) in PAIRS
        if whole and not self.shop.w.hardware.dots:
            return [self.eq]
        format = a.type.format if whole else units(a.type.format, out.type.format)
        if format is None or a.type.shape[-1] < per_word(format):
            return [self.eq]
        matrix = _known(self.work, b)
        if matrix is None:
            if not (whole and self.shop.w.hardware.vector and out.type.shape[-2] >= ROWS_MIN):
                return [self.eq]
            self._as_it_runs(a, b, out, bool(rhs.params.get("trans_b")))
            return self.made
        matrix = np.swapaxes(matrix, -1, -2) if rhs.params.get("trans_b") else matrix
        if whole:
            self._product(a, b, matrix, out)
        else:
            self._fixed(a, b, matrix, out, format)
        return self.made

    def _product(self, a: Var, b: Var, matrix: AnyArray, out: Var | None = None) -> Var:
        if not self.shop.w.hardware.dots:
            plain = self._constant(b, b.name, matrix, a.type.format)
            return self._apply("matmul", a, plain, out=out, accumulate=i32)
        words, params = pack(matrix), dict[str, Any]()
        if not self.shop.w.hardware.vector and matrix.shape[-1] % COLUMNS == 0:
            words, params = groups(words, COLUMNS), {"columns": COLUMNS}
        first = self._constant(b, "start", starts(matrix, a.type.format), i32)
        stored = self._constant(b, b.name, words, u32)
        return self._apply("packed_matmul", a, stored, first, out=out, **params)

    def _as_it_runs(self, a: Var, b: Var, out: Var, transposed: bool) -> None:
        """A matrix that is no constant, for many rows: it is packed before it is multiplied."""
        if transposed:
            *batch, last, k = range(len(b.type.shape))
            b = self._apply("transpose", b, perm=(*batch, k, last))
        words = self._apply("pack_words", b)
        if a.type.format is i8:
            total = self._apply(
                "sum", self._apply("convert", b, format=i32), axes=(len(b.type.shape) - 2,)
            )
            first = self._scaled(total, -OFFSET)
        else:
            zeros = np.zeros((*b.type.shape[:-2], b.type.shape[-1]), np.int32)
            first = self._constant(b, "start", zeros, i32)
        self._apply("packed_matmul", a, words, first, out=out)

    def _fixed(self, a: Var, b: Var, matrix: AnyArray, out: Var, format: Format) -> None:
        """In units of the last place, and back; every step but the last is exact."""
        point, k = out.type.format.mantissa, a.type.shape[-1]
        wide = self._scaled(self._apply("convert", a, format=f64), 2.0**point)
        row = self._apply("convert", wide, format=format)
        codes = np.ldexp(matrix, point).astype(np.int64)
        terms, parts = split(codes, out.type.format.bits, k)
        total: Var | None = None
        for first in range(0, k, terms):
            last = min(k, first + terms)
            some = row if last - first == k else self._terms(row, first, last)
            for part, factor in parts:
                held = part[..., first:last, :].astype(format.dtype)
                found = self._apply("convert", self._product(some, b, held), format=f64)
                found = found if factor == 1 else self._scaled(found, factor)
                total = found if total is None else self._apply("add", total, found)
        assert total is not None
        self._apply(
            "convert", self._scaled(total, 2.0 ** (-2 * point)), out=out, format=out.type.format
        )

    def _terms(self, row: Var, first: int, last: int) -> Var:
        *shape, _ = row.type.shape
        start, stop = (*(0 for _ in shape), first), (*shape, last)
        return self._apply("slice", row, start=start, stop=stop, step=(1,) * len(stop))

    def _scaled(self, x: Var, factor: float) -> Var:
        many = np.broadcast_to(np.asarray(factor, x.type.format.dtype), x.type.shape)
        return self._apply("mul", x, self._constant(x, "unit", many, x.type.format))

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


def units(row: Format, out: Format) -> Format | None:
    """The integers in which such products of fixed point are multiplied; None for those that are not.

    >>> from seiche.numbers.formats import fixed
    >>> units(fixed(4, 4), fixed(4, 4)), units(fixed(4, 12), fixed(4, 12)), units(fixed(8, 12), fixed(8, 12))
    (i8, i16, None)
    """
    if row.kind != "fixed" or row != out or row.bits > i16.bits:
        return None
    return i8 if row.bits <= i8.bits else i16


def split(codes: AnyArray, bits: int, k: int) -> tuple[int, list[tuple[AnyArray, float]]]:
    """How many terms a sum in i32 takes at most, and the parts of a matrix of codes with the factor of each.

    >>> [split(np.array([[-300]]), bits, 400)[0] for bits in (8, 12, 16)]
    [131071, 511, 257]
    >>> [(int(part[0, 0]), factor) for part, factor in split(np.array([[-300]]), 16, 400)[1]]
    [(-2, 256.0), (212, 1.0)]
    """
    most = 1 << (bits - 1)
    terms = SUM_MAX // most**2
    if terms >= min(k, TERMS_MIN):
        return terms, [(codes, 1.0)]
    low = (1 << LOW_BITS) - 1
    return SUM_MAX // (most * low), [(codes >> LOW_BITS, 2.0**LOW_BITS), (codes & low, 1.0)]


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
