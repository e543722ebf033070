"""Products of small integers by a matrix in words: the form in which processors multiply and add several at once.

A word holds 4 values of 8 bits (or 2 of 16) that lie below each other in a column of the matrix, the first in its lowest bits; what
is beyond the last row is 0. One instruction multiplies a word of the row by a word of the matrix and adds all the products to a
sum of 32 bits: VPDPBUSD and VPMADDWD on x86 (16 such sums side by side), SMLAD on Cortex-M4 and M7. The first of them wants the
bytes of one side without a sign, so a row of i8 is taken 128 larger, and sums start at -128 times their column's:

    sum_k a[k] w[k]  =  -128 sum_k w[k]  +  sum_k (a[k] + 128) w[k]

Sums of integers wrap and are the same in any order: all of this is exact. `schedule.packing` writes products by constants so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from seiche.ir.core import Params
from seiche.ir.loops import Access, Array, Expr, Invoke, Name, Result, Writer
from seiche.ir.op import AnyArray, Kernel, NoGradient, Op, SignatureError, Use, register
from seiche.ir.ops.batching import alike
from seiche.ir.ops.define import expect, law, sample
from seiche.ir.ops.indexing import Index, plus
from seiche.ir.ops.indexing import times as scaled
from seiche.ir.ops.operands import Piece, pieces
from seiche.ir.tiling import Chosen, Extents, tile
from seiche.ir.vectors import wide
from seiche.numbers.formats import Format, Type, i8, i16, i32, u8, u16, u32
from seiche.numbers.kit import Kit, Value

ROWS = (i8, u8, i16)
"""Formats of the row; bytes are multiplied by i8, words of 16 bits by i16."""
COLUMNS = 4
"""Sums that are kept at once where there are no vectors: the registers hold addresses and words too."""
OFFSET = 128
"""What is added to an i8, so that it is a byte without a sign."""


def per_word(format: Format) -> int:
    """Values in a word of 32 bits.

    >>> per_word(i8), per_word(i16)
    (4, 2)
    """
    return 4 // format.itemsize


def pack(w: AnyArray) -> AnyArray:
    """A matrix `[*batch, k, n]` of i8 or i16 in words `[*batch, ceil(k / per word), n]`.

    >>> [hex(x) for x in pack(np.array([[1], [2], [-1], [4], [5]], np.int8))[:, 0]]
    ['0x4ff0201', '0x5']
    """
    per = 4 // w.itemsize
    *batch, k, n = w.shape
    padded = np.zeros((*batch, -(-k // per) * per, n), np.uint32)
    padded[..., :k, :] = w.astype(f"u{w.itemsize}")
    parts = padded.reshape(*batch, -1, per, n)
    total = parts[..., 0, :]
    for q in range(1, per):
        total = total | parts[..., q, :] << np.uint32(32 // per * q)
    return total


def groups(words: AnyArray, columns: int) -> AnyArray:
    """Words `[*batch, depth, n]` as `[*batch, n / columns, depth, columns]`: what a group of sums reads lies side by side."""
    *batch, depth, n = words.shape
    return np.moveaxis(words.reshape(*batch, depth, n // columns, columns), -2, -3)


def together(words: AnyArray) -> AnyArray:
    """Undoes `groups`.

    >>> w = np.arange(24, dtype=np.uint32).reshape(2, 12)
    >>> bool((together(groups(w, 4)) == w).all())
    True
    """
    *batch, count, depth, columns = words.shape
    return np.moveaxis(words, -3, -2).reshape(*batch, depth, count * columns)


def unpack(words: AnyArray, per: int) -> AnyArray:
    """The matrix in words, as i64; rows of 0 may follow."""
    bits = 32 // per
    rows = [(words >> np.uint32(bits * q)).astype(f"i{4 // per}") for q in range(per)]
    *batch, kw, n = words.shape
    return np.stack(rows, -2).reshape(*batch, kw * per, n).astype(np.int64)


def starts(w: AnyArray, row: Format) -> AnyArray:
    """What the sums of a packed product start from, i32 `[*batch, n]`, for rows of that format."""
    total = w.astype(np.int64).sum(-2)
    return (total * (-OFFSET if row is i8 else 0)).astype(np.int32)


# ------------------------------------------------------------------------------- signature, value


def packed_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("packed_matmul", types, 3, {"columns": None, **params}, "columns")
    a, words, start = types
    if a.format not in ROWS or words.format != u32 or start.format != i32 or len(a.shape) < 2:
        raise SignatureError(
            f"`packed_matmul` takes rows of i8, u8 or i16, words in u32 and starts in i32, not {a}, {words}, {start}"
        )
    *batch, m, k = a.shape
    depth, columns = -(-k // per_word(a.format)), params.get("columns")
    n = start.shape[-1] if start.shape else 0
    if columns is not None and (not isinstance(columns, int) or columns < 1 or n % columns):
        raise SignatureError(f"`packed_matmul`: {n} columns are no whole groups of {columns!r}")
    shape = (depth, n) if columns is None else (n // columns, depth, columns)
    if words.shape != (*batch, *shape) or start.shape != (*batch, n):
        raise SignatureError(f"`packed_matmul`: {words} and {start} do not fit {a}")
    return Type(i32, (*batch, m, n))


def packed_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    a, words, start = arrays
    per, k = per_word(use.types[0].format), a.shape[-1]
    words = words if use.params.get("columns") is None else together(words)
    left = a.astype(np.int64) + (OFFSET if use.types[0].format is i8 else 0)
    products = left @ unpack(words, per)[..., :k, :]
    return (products + start[..., None, :]).astype(np.int32)


# ------------------------------------------------------------------------------------------- code


def byte(k: Kit, word: Value, q: int, to: Format) -> Value:
    """Byte (or half, for 16 bits) q of a word as an i32."""
    return k.convert(k.convert(word >> (to.bits * q) if q else word, to), i32)


def bytes_dot(k: Kit, total: Value, a: Value, w: Value) -> Value:
    """total + the four products of bytes of a, without a sign, by bytes of w, with one."""
    for q in range(4):
        total = total + byte(k, a, q, u8) * byte(k, w, q, i8)
    return total


def halves_dot(k: Kit, total: Value, a: Value, w: Value) -> Value:
    """total + the two products of signed halves."""
    for q in range(2):
        total = total + byte(k, a, q, i16) * byte(k, w, q, i16)
    return total


DOTS: dict[int, tuple[str, Callable[..., Expr]]] = {
    4: ("dot_bytes", bytes_dot),
    2: ("dot_halves", halves_dot),
}
"""By the values in a word: the function of that name, for which back ends know the processor's own instruction."""


def joined(w: Writer, parts: list[Expr]) -> Expr:
    """The word of these bytes or halves, the first lowest."""
    bits = parts[0].format.bits
    total: Expr | None = None
    for p, part in enumerate(parts):
        x = w.convert(w.convert(part, u8 if bits == 8 else u16), u32)
        x = x << (bits * p) if p else x
        total = x if total is None else total | x
    assert total is not None
    return total


@dataclass
class PackedProduct:
    """Writes one product of a batch: rectangles of the result whose sums stay in registers, over all words of a column."""

    w: Writer
    out: Result
    args: tuple[Access, ...]
    use: Use
    batch: tuple[Expr, ...]

    def __post_init__(self) -> None:
        *_, self.m, self.k = self.use.types[0].shape
        self.depth, self.n = (
            -(-self.k // per_word(self.use.types[0].format)),
            self.use.out.shape[-1],
        )
        self.format = self.use.types[0].format
        self.per = per_word(self.format)
        self.rows, self.columns, self.lanes = self._rectangle()

    def write(self) -> None:
        held = self.w.memory((self.rows, self.depth), u32, "words_")
        for _, down in units(self.w, self.m, self.rows):
            self._collect(held, down)
            for unit, across in units(self.w, self.n, self.columns):
                self._sums(held, down, unit, across)

    @property
    def chosen(self) -> Chosen:
        """For the report: as the words of tiles would say it."""
        extents, hard = Extents(self.m, self.n, self.k), self.w.hardware
        columns = min(self.columns, self.n)
        loops = tile(i=self.rows, j=columns).unroll("i", "j").pack("b")
        kept = self.rows * -(-columns // self.lanes)
        return Chosen(extents, loops, False, kept, hard.registers)

    def _rectangle(self) -> tuple[int, int, int]:
        """Rows, columns and lanes of a register tile: with vectors 6 x 4 of 32, 8 in a single row; 4 scalars, beside addresses."""
        hard = self.w.hardware
        lanes, grouped = max(1, hard.vector // 4), self.use.params.get("columns")
        if grouped is not None:
            return 1, grouped, 1
        if lanes == 1 or not self._side_by_side(lanes):
            return 1, COLUMNS, 1
        most = max(1, hard.registers * 3 // 4)
        vectors = -(-self.n // lanes)
        rows = min(self.m, 6)
        vectors = max(1, min(vectors, most // rows, 8 if rows == 1 else 4))
        return rows, vectors * lanes, lanes

    def _side_by_side(self, lanes: int) -> bool:
        """Whether memory has the words of a row so."""
        at, place = min(lanes, self.n), Name("place", i32)
        with self.w.into([]):
            found = wide(self.w, lambda j: self.args[1](*self.batch, place, j), 0, at)
            start = wide(self.w, lambda j: self.args[2](*self.batch, j), 0, at)
        return found is not None and start is not None

    def _collect(self, held: Array, down: list[Index]) -> None:
        """The words of some rows."""
        whole, rest = self.k // self.per, self.k % self.per
        for r, i in enumerate(down):
            if whole:
                with self.w.loop(whole, parallel=True) as q:
                    first = scaled(q, self.per)
                    held.put((r, q), self._word([plus(first, p) for p in range(self.per)], i))
            if rest:
                last = range(self.k - rest, self.k)
                held.put((r, whole), self._word(list(last), i))

    def _word(self, terms: list[Index], i: Index) -> Expr:
        word = joined(self.w, [self.args[0](*self.batch, i, k) for k in terms])
        turned = sum(OFFSET << (8 * p) for p in range(len(terms)))
        return word ^ turned if self.format is i8 else word

    def _sums(self, held: Array, down: list[Index], unit: Index, across: list[Index]) -> None:
        base = across[0]
        parts = pieces(len(across), self.lanes, 4 if self.lanes > 1 else 1)
        sums = [[self._started(plus(base, first), lanes) for first, lanes in parts] for _ in down]
        times = max(1, self.w.hardware.unroll) if self.lanes == 1 else 1
        whole = self.depth // times
        if whole:
            with self.w.loop(whole) as block:
                for p in range(times):
                    self._add(plus(scaled(block, times), p), held, unit, parts, sums)
        for q in range(whole * times, self.depth):
            self._add(q, held, unit, parts, sums)
        self._store(down, base, parts, sums)

    def _started(self, j: Index, lanes: int) -> Name:
        found = wide(self.w, lambda j: self.args[2](*self.batch, j), j, lanes)
        assert found is not None, "starts lie side by side"
        return self.w.local(found, "acc", lanes)

    def _add(
        self, q: Index, held: Array, unit: Index, parts: list[Piece], sums: list[list[Name]]
    ) -> None:
        """The products of the q-th words of all rows and columns."""
        right = [self._words(q, unit, first, lanes) for first, lanes in parts]
        for r, names in enumerate(sums):
            left = self.w.let(held.get((r, q)))
            alike: dict[int, Expr] = {1: left}
            for name, b in zip(names, right, strict=True):
                if name.lanes not in alike:
                    alike[name.lanes] = self.w.local(left, "row", name.lanes)
                called, body = DOTS[self.per]
                args = (name, alike[name.lanes], b)
                self.w.assign(name, Invoke(called, body, args, i32, name.lanes))

    def _words(self, q: Index, unit: Index, first: int, lanes: int) -> Expr:
        """The q-th words of the columns from `first` on of a unit."""
        if self.use.params.get("columns") is not None:
            return self.w.let(self.args[1](*self.batch, unit, q, first))
        at = plus(scaled(unit, self.columns), first)
        found = wide(self.w, lambda j: self.args[1](*self.batch, q, j), at, lanes)
        assert found is not None, "words lie side by side"
        return self.w.local(found, "word", lanes) if lanes > 1 else self.w.let(found)

    def _store(
        self, down: list[Index], base: Index, parts: list[Piece], sums: list[list[Name]]
    ) -> None:
        out, width = self.out, parts[-1][0] + parts[-1][1]
        places = [(*self.batch, down[0], plus(base, first)) for first, _ in parts]
        if all(out.takes(p, lanes) for p, (_, lanes) in zip(places, parts, strict=True)):
            for i, names in zip(down, sums, strict=True):
                for (first, _), name in zip(parts, names, strict=True):
                    out.put((*self.batch, i, plus(base, first)), name)
            return
        tile = self.w.array((len(down), width), i32, "tile")
        for r, names in enumerate(sums):
            for (first, _), name in zip(parts, names, strict=True):
                tile.put((r, first), name)
        for r, i in enumerate(down):
            with self.w.loop(width, parallel=True) as q:
                out.put((*self.batch, i, plus(q, base)), tile.get((r, q)))


def units(w: Writer, n: int, size: int) -> Iterator[tuple[Index, list[Index]]]:
    """Writes the loop over the whole units of `size` in 0..n, then the rest; yields the number of a unit and its indices."""
    whole = n // size
    if whole:
        with w.loop(whole) as unit:
            base = scaled(unit, size)
            base = base if isinstance(base, int) else w.let(base)
            yield unit, [plus(base, r) for r in range(size)]
    if n % size:
        yield whole, [whole * size + r for r in range(n % size)]


def packed_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    with w.loops(use.out.shape[:-2]) as batch:
        product = PackedProduct(w, out, args, use, batch)
        product.write()
    w.facts.append(product.chosen)


# ------------------------------------------------------------------------------------ the record


def _agrees(row: Format, k: int) -> Callable[..., None]:
    def check(value: Callable[..., AnyArray], rng: np.random.Generator) -> None:
        column = i16 if row is i16 else i8
        a, w = (
            rng.integers(np.iinfo(f.dtype).min, np.iinfo(f.dtype).max + 1, shape).astype(f.dtype)
            for f, shape in ((row, (3, k)), (column, (k, 5)))
        )
        w[0, :2] = np.iinfo(column.dtype).min
        exact = a.astype(np.int64) @ w.astype(np.int64)
        np.testing.assert_array_equal(value(a, pack(w), starts(w, row)), exact.astype(np.int32))

    return check


def _held(value: Callable[..., AnyArray], rng: np.random.Generator) -> None:
    for dtype in ("int8", "int16"):
        w = rng.integers(-128, 128, (2, 7, 3)).astype(dtype)
        np.testing.assert_array_equal(unpack(value(w), 4 // w.itemsize)[:, :7], w)


packed_matmul = register(
    Op(
        name="packed_matmul",
        doc="`packed_matmul(a, words, start, columns=None)`: `[*batch, m, k]` by a matrix `[*batch, k, n]` of small integers in words of "
        "32 bits, 4 of i8 (2 of i16) below each other, the first lowest: `start + (a + 128) w` for a in i8, `start + a w` for u8 and "
        "i16. With `columns`, groups of so many columns lie behind each other, `[*batch, n / columns, words of a column, columns]`. "
        "Sums are i32 and wrap. The compiler writes products by constants so, where the target multiplies several at once.",
        family="linalg",
        signature=packed_signature,
        value=packed_value,
        code=Kernel(packed_fill),
        vjp=NoGradient("integers have no derivative"),
        batch=alike("packed_matmul"),
        cost=lambda use: 2 * use.out.size * use.types[0].shape[-1],
        samples=(
            sample(i8[1, 16], u32[4, 40], i32[40]),
            sample(i8[7, 9], u32[3, 21], i32[21]),
            sample(u8[2, 5], u32[2, 3], i32[3]),
            sample(i16[3, 7], u32[4, 18], i32[18]),
            sample(i8[2, 1, 4], u32[2, 1, 2], i32[2, 2]),
            sample(i8[2, 9], u32[3, 3, 4], i32[12], columns=4),
            sample(i16[2, 1, 6], u32[2, 2, 3, 2], i32[2, 4], columns=2),
        ),
        laws=(
            law("the product of i8", _agrees(i8, 13)), law("the product of u8", _agrees(u8, 8)),
            law("the product of i16", _agrees(i16, 9)),
        ),
    )
)  # fmt: skip

# ---------------------------------------------------------------- a matrix that is known when it runs


def pack_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("pack_words", types, 1, params)
    (w,) = types
    if w.format not in (i8, i16) or len(w.shape) < 2:
        raise SignatureError(f"`pack_words` takes matrices of i8 or i16, not {w}")
    *batch, k, n = w.shape
    return Type(u32, (*batch, -(-k // per_word(w.format)), n))


def pack_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    *batch, k, n = use.types[0].shape
    per = per_word(use.types[0].format)
    whole, rest = k // per, k % per
    with w.loops(tuple(batch)) as at:

        def row(q: Index, terms: list[Index]) -> None:
            with w.loop(n, parallel=True) as j:
                out.put((*at, q, j), joined(w, [args[0](*at, p, j) for p in terms]))

        if whole:
            with w.loop(whole) as q:
                row(q, [plus(scaled(q, per), p) for p in range(per)])
        if rest:
            row(whole, list(range(k - rest, k)))


pack_words = register(
    Op(
        name="pack_words",
        doc="`pack_words(w)`: a matrix `[*batch, k, n]` of i8 or i16 in words of 32 bits, 4 (or 2) values below each other, the first "
        "lowest, 0 beyond the last row: what `packed_matmul` multiplies by.",
        family="linalg",
        signature=pack_signature,
        value=lambda arrays, use: pack(arrays[0]),
        code=Kernel(pack_fill),
        vjp=NoGradient("integers have no derivative"),
        batch=alike("pack_words"),
        cost=lambda use: use.types[0].size,
        samples=(
            sample(i8[8, 5]), sample(i8[6, 3]), sample(i8[3, 2]), sample(i16[5, 4]), sample(i8[2, 7, 3]),
        ),
        laws=(law("words hold the matrix", _held),),
    )
)  # fmt: skip
