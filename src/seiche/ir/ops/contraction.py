"""Matrix products, in the strict order of `docs/architecture.md`, in tiles that a user states or the hardware suggests.

Where sums are of floats, `tiles` writes them. What has no vectors (integers; operands that do not lie side by side, as their producers
are computed in place) is written here so that compilers vectorise what they can: rows take a few k at a time, in lane
order the 16 accumulators are a local array. No sum is reordered: tiles, vectors and registers change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from seiche.ir import tiling
from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Expr, Result, Writer, carrier, integer
from seiche.ir.op import AnyArray, Cotangents, Kernel, Op, SignatureError, Use, register
from seiche.ir.ops import batching
from seiche.ir.ops.define import LANES, NUMBER, check_kind, expect, lane_fold, law, sample
from seiche.ir.ops.indexing import Index, plus, times, values
from seiche.ir.ops.lane_tiles import fold
from seiche.ir.ops.operands import Operands
from seiche.ir.ops.tiles import Tiling
from seiche.ir.tiling import Chosen, Cut, Extents, Loops, lanes_of
from seiche.numbers.formats import Format, Type, bf16, e4m3, f32, f64, fixed, i8, i16, i32, u8

Value = Callable[..., AnyArray]
DEFAULTS: Params = {"trans_a": False, "trans_b": False, "accumulate": None, "loops": None}
ROWS = 4
"""Rows of the result that are computed together: 4 x 4 products per element of b that is loaded."""
COLUMNS = 4
"""Columns that are computed together with `trans_b`: 4 x 16 accumulators fill the vector registers of AVX2."""


def dims(use: Use) -> tuple[int, int, int]:
    """m, k, n."""
    a = use.types[0].shape[-2:]
    m, n = use.out.shape[-2:]
    return m, a[0] if use.params.get("trans_a") else a[1], n


def matmul_signature(types: tuple[Type, ...], params: Params) -> Type:
    p = {**DEFAULTS, **params}
    expect("matmul", types, 2, p, *DEFAULTS)
    a, b = types
    check_kind("matmul", a, NUMBER)
    mixed = a.format != b.format and not (b.format.is_integer and p["accumulate"] is not None)
    if mixed or len(a.shape) != len(b.shape) or len(a.shape) < 2:
        raise SignatureError(
            f"`matmul` needs two matrices (or batches) of one format, not {a}, {b}"
        )
    m, k = reversed(a.shape[-2:]) if p["trans_a"] else a.shape[-2:]
    k_too, n = reversed(b.shape[-2:]) if p["trans_b"] else b.shape[-2:]
    if k != k_too or a.shape[:-2] != b.shape[:-2]:
        flags = "".join(f", {f}" for f in ("trans_a", "trans_b") if p[f])
        raise SignatureError(
            f"`matmul` of {a} and {b}{flags}: {k} is not {k_too}, or batches differ"
        )
    wide = accumulator(a.format, p["accumulate"])
    accumulator(b.format, p["accumulate"])
    check_loops(p["loops"], extents_of((m, k, n), p, wide))
    return Type(wide, (*a.shape[:-2], m, n))


def check_loops(text: str | None, extents: Extents) -> None:
    """Raises SignatureError where they fit no such product; a tile may be larger than what a transformation left of a loop."""
    if text is None:
        return
    names = {x: x for x in (*tiling.LOOPS, *tiling.OPERANDS)}
    try:
        found = tiling.fault(tiling.parse(text), extents, names, clipped=True)
    except (ValueError, TypeError) as error:
        raise SignatureError(f"`matmul`: {error}") from error
    if found is not None:
        raise SignatureError(f"`matmul`, loops={text!r}: {found}")


def accumulator(format: Format, accumulate: Format | None) -> Format:
    """The format of the sums; raises SignatureError unless it has every value of `format`."""
    if accumulate is None:
        return format
    if not holds(accumulate, format):
        raise SignatureError(f"`matmul`: {accumulate} cannot accumulate {format}")
    return accumulate


def holds(wide: Format, narrow: Format) -> bool:
    """Whether a numeric format has every value of another.

    >>> holds(i16, u8), holds(i8, u8), holds(f32, fixed(4, 8)), holds(bf16, f32)
    (True, False, True, False)
    """
    match narrow.kind, wide.kind:
        case ("int", "int") | ("uint", "uint"):
            return wide.bits >= narrow.bits
        case ("uint", "int"):
            return wide.bits > narrow.bits
        case ("float", "float") | ("fixed", "fixed"):
            return wide.exponent >= narrow.exponent and wide.mantissa >= narrow.mantissa
        case ("fixed", "float"):
            return wide.mantissa + 1 >= narrow.bits and wide.exponent >= 8
        case _:
            return False


# -------------------------------------------------------------------------------------------- value


def matmul_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    """a as [*batch, m, k] by b as [*batch, k, n], summed in the declared order."""
    p = {**DEFAULTS, **use.params}
    a, b = (x.astype(use.out.format.dtype) for x in arrays)
    a = np.swapaxes(a, -1, -2) if p["trans_a"] else a
    b = np.swapaxes(b, -1, -2) if p["trans_b"] else b
    with np.errstate(all="ignore"):
        if p["trans_b"] and not p["trans_a"]:
            return lane_fold(a.shape[-1], lambda i, j: products(a, b, i, j))
        out = a[..., :, 0, None] * b[..., 0, None, :]
        for k in range(1, a.shape[-1]):
            out = out + a[..., :, k, None] * b[..., k, None, :]
    return out


def products(a: AnyArray, b: AnyArray, i: int, j: int) -> AnyArray:
    """The products of all rows and columns at k = i to j - 1, k first."""
    left, right = np.moveaxis(a[..., i:j], -1, 0), np.moveaxis(b[..., i:j, :], -2, 0)
    return left[..., :, None] * right[..., None, :]


# --------------------------------------------------------------------------------------------- code


def blocks(w: Writer, n: int, size: int) -> Iterator[list[Index]]:
    """Writes the loop over the whole blocks of `size` in 0..n, then the rest; yields the indices of a block."""
    whole = n // size
    if whole:
        with w.loop(whole) as block:
            base = times(block, size)
            yield [plus(base, r) for r in range(size)]
    if n % size:
        yield [whole * size + r for r in range(n % size)]


def matmul_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    extents, stated = extents_of(dims(use), use.params, use.out.format), stated_loops(use)
    with w.loops(use.out.shape[:-2]) as batch:
        x = Operands(w, batch, args, use)
        loops = stated or default_loops(w, x, extents)
        cut = None if loops is None else cut_of(w, x, loops, extents)
        kept = 0 if cut is None else cut.accumulators
        w.facts.append(Chosen(extents, loops, stated is not None, kept, w.hardware.registers))
        if cut is None:
            fill_plain(w, out, x, use)
        else:
            Tiling(w, out, x, cut, extents).write()


def accumulate_products(
    w: Writer, out: Result, args: tuple[Access, Access], use: Use, terms: Expr
) -> None:
    """Adds the products over the first `terms` k to what the result holds, k by k."""
    extents, x = extents_of(dims(use), use.params, use.out.format), Operands(w, (), args, use)
    lanes = lanes_of(w.hardware, x.format)
    loops = tiling.chosen(extents, x.format, w.hardware, x.side_by_side(x.b, lanes))
    Tiling(w, out, x, cut_of(w, x, loops, extents), extents, terms).write()


def extents_of(dims: tuple[int, int, int], params: Params, format: Format) -> Extents:
    """Of a product with sums in a format. Integers wrap: their sums are the same in any order."""
    m, k, n = dims
    lanes = bool(params.get("trans_b")) and not params.get("trans_a")
    return Extents(m, n, k, lanes and not carrier(format).is_integer)


def stated_loops(use: Use) -> Loops | None:
    """The user's."""
    text = use.params.get("loops")
    loops = None if text is None else tiling.parse(text)
    return None if loops is None or loops.only_fuses else loops


def default_loops(w: Writer, x: Operands, extents: Extents) -> Loops | None:
    """From the hardware; None where a compiler finds more vectors than there would be in tiles."""
    lanes = lanes_of(w.hardware, x.format)
    if lanes == 1:
        return None if w.hardware.vector else tiling.chosen(extents, x.format, w.hardware, True)
    if extents.lane_order:
        good = in_lanes_along_k(x, lanes)
        return tiling.chosen(extents, x.format, w.hardware, True) if good else None
    near = x.side_by_side(x.b, min(lanes, extents.j))
    loops = tiling.chosen(extents, x.format, w.hardware, near)
    return loops if near or extents.i >= 4 else None


def in_lanes_along_k(x: Operands, lanes: int) -> bool:
    """Whether both operands lie side by side along k."""
    return x.side_by_side(x.a, lanes) and x.side_by_side(lambda j, k: x.b(k, j), lanes)


def cut_of(w: Writer, x: Operands, loops: Loops, extents: Extents) -> Cut:
    """In vectors; in scalars where an operand that is not packed does not lie side by side."""
    lanes = lanes_of(w.hardware, x.format)
    if x.lane_order:
        good = lanes > 1 and in_lanes_along_k(x, min(lanes, LANES))
    else:
        good = "b" in loops.packed or x.side_by_side(x.b, lanes)
    return tiling.cut(loops, extents, lanes if good else 1)


def fill_plain(w: Writer, out: Result, x: Operands, use: Use) -> None:
    """For a compiler's vectoriser, one matrix of the batch."""
    m, k, n = dims(use)
    if x.trans != (False, True):
        for rows in blocks(w, m, ROWS):
            fill_rows(w, out, x, rows, k, n)
        return
    with w.loop(m) as i:
        for columns in blocks(w, n, COLUMNS):
            for j, total in zip(columns, lanes(w, x, i, columns, k), strict=True):
                out.put((*x.batch, i, j), total)


def fill_rows(w: Writer, out: Result, x: Operands, rows: list[Index], k: int, n: int) -> None:
    """All of these rows; several k at a time, so that a row is read and written once for all of them."""
    chunk = 4 if len(rows) > 2 else 8
    store = out.put if k <= chunk else out.part
    add_products(w, out, store, x, rows, range(min(chunk, k)), n, first=True)
    if k // chunk > 1:
        with w.loop(k // chunk, start=1) as c:
            base = w.let(c * chunk)
            terms = [plus(base, r) for r in range(chunk)]
            add_products(w, out, store, x, rows, terms, n, first=False)
    if k > chunk and k % chunk:
        add_products(w, out, store, x, rows, range(k - k % chunk, k), n, first=False)
    if out.fused and k > chunk:
        with w.loops((len(rows), n)) as (r, j):
            place = (*x.batch, plus(r, rows[0]), j)
            out.put(place, out.get(place))


def add_products(
    w: Writer,
    out: Result,
    store: Callable[[tuple[Index, ...], Expr], None],
    x: Operands,
    rows: list[Index],
    ks: Sequence[Index],
    n: int,
    first: bool,
) -> None:
    """Adds a(i, k) b(k, j) for these rows and k ascending to the result, or starts it with them."""
    left = [[w.let(x.a(i, k)) for k in ks] for i in rows]
    with w.loop(n, parallel=True) as j:
        right = [w.let(x.b(k, j)) for k in ks]
        for i, scalars in zip(rows, left, strict=True):
            place = (*x.batch, i, j)
            terms = [a * b for a, b in zip(scalars, right, strict=True)]
            total = terms[0] if first else out.get(place) + terms[0]
            for term in terms[1:]:
                total = total + term
            store(place, total)


def lanes(w: Writer, x: Operands, i: Index, columns: list[Index], k: int) -> list[Expr]:
    """The sums over k of a(i, k) b(k, j) in lane order, for these columns j."""
    if k <= LANES:
        left = [w.let(x.a(i, q)) for q in range(k)]
        return [fold([left[q] * x.b(q, j) for q in range(k)]) for j in columns]
    accs = [w.array((LANES,), x.format, "acc") for _ in columns]

    def add(base: Index, count: int, first: bool) -> None:
        with w.loop(count, parallel=True) as lane:
            q = w.let(integer(plus(base, lane)))
            a = w.let(x.a(i, q))
            for acc, j in zip(accs, columns, strict=True):
                term = a * x.b(q, j)
                acc.put((lane,), term if first else acc.get((lane,)) + term)

    add(0, LANES, first=True)
    if k // LANES > 1:
        with w.loop(k // LANES, start=1) as c:
            add(w.let(c * LANES), LANES, first=False)
    if k % LANES:
        add(k - k % LANES, k % LANES, first=False)
    return [fold([acc.get((lane,)) for lane in range(LANES)]) for acc in accs]


# --------------------------------------------------------------------------------------- derivative


def matmul_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """With A = op(a), B = op(b): A' = C' B^T, B' = A^T C' (Giles 2008, section 2.2.2); flags in place of transposes."""
    wide = use.out.format
    x, y = (v if v.type.format == wide else b.convert(v, format=wide) for v in args)
    ta, tb = (bool(use.params.get(f)) for f in ("trans_a", "trans_b"))
    if ta:
        a_ct = b.matmul(y, ct, trans_a=tb, trans_b=True)
    else:
        a_ct = b.matmul(ct, y, trans_b=not tb)
    if tb:
        b_ct = b.matmul(ct, x, trans_a=True, trans_b=ta)
    else:
        b_ct = b.matmul(x, ct, trans_a=not ta)
    narrow = use.types[0].format
    return [c if narrow == wide else b.convert(c, format=narrow) for c in (a_ct, b_ct)]


def matmul_exact(value: Value, rng: np.random.Generator) -> None:
    """Where no sum rounds, the order does not show: all flags agree with integer arithmetic."""
    a, b = rng.integers(-8, 9, (5, 37)), rng.integers(-8, 9, (37, 6))
    x, y = a.astype("float32"), b.astype("float32")
    for ta in (False, True):
        for tb in (False, True):
            got = value(x.T if ta else x, y.T if tb else y, trans_a=ta, trans_b=tb)
            np.testing.assert_array_equal(got, a @ b)


def cancelling(rng: np.random.Generator) -> tuple[AnyArray, ...]:
    """Terms of both signs and of many magnitudes: any other order of sums shows."""
    x = rng.normal(size=(3, 70)) * 10.0 ** rng.integers(-6, 7, (3, 70))
    y = rng.normal(size=(70, 9)) * 10.0 ** rng.integers(-6, 7, (70, 9))
    return x.astype("float32"), y.astype("float32")


def cancelling_lanes(rng: np.random.Generator) -> tuple[AnyArray, ...]:
    x, y = cancelling(rng)
    return x, np.ascontiguousarray(y.T)


matmul = register(
    Op(
        name="matmul",
        doc="`matmul(a, b, trans_a=False, trans_b=False, accumulate=None)`: `[*batch, m, k]` by `[*batch, k, n]`; the flags "
        "say that an operand is stored transposed; `accumulate` is a wider format of the sums and of the result (with it, integers of two formats multiply). "
        "k ascends from the first product; with `trans_b` alone, lane order.",
        family="linalg",
        signature=matmul_signature,
        value=matmul_value,
        code=Kernel(matmul_fill),
        vjp=matmul_vjp,
        batch=batching.matmul,
        cost=lambda use: 2 * use.out.size * dims(use)[1],
        samples=(
            sample(f32[2, 3], f32[3, 4]),
            sample(f32[1, 21], f32[21, 5], trans_a=False, trans_b=False),
            sample(f64[6, 2], f64[6, 3], trans_a=True),
            sample(f32[2, 40], f32[5, 40], trans_b=True),
            sample(f32[2, 7], f32[9, 7], trans_b=True),
            sample(f64[1, 16], f64[4, 16], trans_b=True),
            sample(f64[4, 5], f64[3, 4], trans_a=True, trans_b=True),
            sample(bf16[2, 2, 3, 5], bf16[2, 2, 5, 2]),
            sample(bf16[2, 3, 17], bf16[2, 1, 17], trans_b=True, accumulate=f32),
            sample(e4m3[3, 9], e4m3[9, 2], accumulate=f32),
            sample(fixed(4, 8)[5, 4], fixed(4, 8)[4, 3], accumulate=f64),
            sample(f32[1, 1], f32[1, 1]),
            sample(f32[3, 70], f32[70, 9], values=cancelling),
            sample(f32[3, 70], f32[9, 70], trans_b=True, values=cancelling_lanes),
            sample(i8[2, 3], i8[3, 2], values=values((i8[2, 3], (127, -128, 5, 100, 3, 9)), (i8[3, 2], (-128, 127, 7, 7, 50, 1)))),
            sample(i8[5, 33], i8[5, 33], trans_b=True, accumulate=i32),
            sample(u8[3, 4], u8[4, 6], accumulate=i16),
            sample(u8[3, 9], i8[9, 5], accumulate=i32),
        ),
        laws=(law("exact sums are those of integers", matmul_exact),),
    )
)  # fmt: skip
