"""Stable sorting along an axis; NaN comes last in both directions, and -0 equals +0.

Short rows are ranked: an element's place is the number of those that come before it. This takes n^2 comparisons without a
branch or a copy, and vectorises. Longer rows are merged bottom-up, with one row of scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Array, Expr, Result, Writer, integer
from seiche.ir.op import AnyArray, Cotangents, Kernel, NoGradient, Op, Use, register
from seiche.ir.ops import batching
from seiche.ir.ops.define import check_axis, draw_extremes, expect, law, same_bits, sample
from seiche.ir.ops.indexing import values
from seiche.numbers.formats import Type, bf16, bool_, f32, f64, fixed, i8, i32, u8, u64

Value = Callable[..., AnyArray]
RANKED_MAX = 64
"""Rows up to this length are ranked: about where n^2 vectorised comparisons cost as much as n log2 n branches."""
DEFAULTS: Params = {"descending": False}


def sort_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("sort", types, 1, {**DEFAULTS, **params}, "axis", "descending")
    check_axis("sort", types[0], params["axis"])
    return types[0]


def argsort_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("argsort", types, 1, {**DEFAULTS, **params}, "axis", "descending")
    check_axis("argsort", types[0], params["axis"])
    return Type(i32, types[0].shape)


def order(x: AnyArray, use: Use) -> AnyArray:
    """The stable order along the axis."""
    if use.params.get("descending"):
        # Reversing the order of the values, not of the result, keeps equal elements in place and NaN last.
        x = -x if x.dtype.kind == "f" else ~x
    return np.argsort(x, axis=use.params["axis"], kind="stable")


def argsort_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    return order(arrays[0], use).astype(np.int32)


def sort_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    return np.take_along_axis(arrays[0], order(arrays[0], use), use.params["axis"])


# --------------------------------------------------------------------------------------------- code


@dataclass(frozen=True)
class Row:
    """One row to be sorted: how to read the argument, how to store an item, and what an item is.

    An item is what the result holds: a value (`sort`), or an index of one (`argsort`).
    """

    w: Writer
    n: int
    descending: bool
    arg: Callable[[Expr], Expr]
    put: Callable[[Expr, Expr], None]
    get: Callable[[Expr], Expr]
    by_index: bool

    def item(self, i: Expr) -> Expr:
        """The item of the i-th element of the argument."""
        return i if self.by_index else self.arg(i)

    def key(self, item: Expr) -> Expr:
        """The value that an item stands for."""
        return self.arg(item) if self.by_index else item

    def before(self, x: Expr, y: Expr) -> Expr:
        """Whether value x comes strictly before y. Both are names."""
        first = y < x if self.descending else x < y
        if not x.format.is_float:
            return first
        return first | (x.eq(x) & y.ne(y))


def named(w: Writer, x: Expr) -> Expr:
    """A value that can be compared, named."""
    return w.let(w.convert(x, u8) if x.format is bool_ else x)


def write_ranked(row: Row) -> None:
    """Places each element by the number of those that come before it: smaller ones, and equal ones on its left."""
    w = row.w
    with w.loop(row.n) as i:
        x = named(w, row.arg(i))
        rank = w.local(integer(0), "rank")

        def count(j: Expr, earlier: bool) -> None:
            y = named(w, row.arg(j))
            comes = ~row.before(x, y) if earlier else row.before(y, x)
            w.assign(rank, rank + w.convert(comes, i32))

        if row.n > 1:
            with w.loop(i, start=integer(0)) as j:
                count(j, earlier=True)
            with w.loop(integer(row.n), start=i + 1) as j:
                count(j, earlier=False)
        row.put(rank, row.item(i))


def write_merged(row: Row, scratch: Array) -> None:
    """Merges runs of 1, 2, 4, ... from the row into the scratch and copies them back."""
    w, n = row.w, row.n
    with w.loop(n) as i:
        row.put(i, row.item(i))
    width = w.local(integer(1), "width")
    with w.loop((n - 1).bit_length()):
        with w.loop(integer(n - 1) // (width * 2) + 1) as pair:
            start = w.let(pair * (width * 2))
            middle = w.let(smaller(w, start + width, n))
            stop = w.let(smaller(w, middle + width, n))
            merge(row, scratch, start, middle, stop)
        with w.loop(n, parallel=True) as i:
            row.put(i, scratch.get((i,)))
        w.assign(width, width * 2)


def smaller(w: Writer, i: Expr, n: int) -> Expr:
    i = w.let(i)
    return w.select(i < n, i, n)


def merge(row: Row, scratch: Array, start: Expr, middle: Expr, stop: Expr) -> None:
    """Two sorted neighbours into the scratch; of equals the left one first."""
    w = row.w
    left, right = w.local(start, "left"), w.local(middle, "right")
    with w.loop(stop, start=start) as to:
        # Both items are read, wherever the indices stand: they are kept inside the row.
        a = w.let(row.get(smaller(w, left, row.n - 1)))
        b = w.let(row.get(smaller(w, right, row.n - 1)))
        wins = row.before(named(w, row.key(b)), named(w, row.key(a)))
        take_right = (right < stop) & ((left >= middle) | wins)
        with w.when(take_right):
            scratch.put((to,), b)
            w.assign(right, right + 1)
        with w.otherwise():
            scratch.put((to,), a)
            w.assign(left, left + 1)


def sorting_fill(by_index: bool) -> Callable[[Writer, Result, tuple[Access, ...], Use], None]:
    """The kernel of both ops."""

    def fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
        shape, axis = use.out.shape, use.params["axis"]
        n = shape[axis]
        with w.loops((*shape[:axis], *shape[axis + 1 :])) as rest:

            def at(i: Expr) -> tuple[Expr, ...]:
                return (*rest[:axis], i, *rest[axis:])

            row = Row(
                w, n, bool(use.params.get("descending")), lambda i: args[0](*at(i)),
                lambda i, x: out.put(at(i), x), lambda i: out.get(at(i)), by_index,
            )  # fmt: skip
            if n <= RANKED_MAX:
                write_ranked(row)
            else:
                write_merged(row, w.array((n,), use.out.format, "run"))

    return fill


def sorting_cost(use: Use) -> int:
    """A comparison and a move (or an addition) for each pair that is ranked, for each element that is merged."""
    n = use.out.shape[use.params["axis"]]
    each = n - 1 if n <= RANKED_MAX else (n - 1).bit_length()
    return 2 * use.out.size * each


# --------------------------------------------------------------------------------------- derivative


def sort_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """A permutation: its adjoint is its inverse, which is its order."""
    axis = use.params["axis"]
    taken = b.argsort(args[0], axis=axis, descending=bool(use.params.get("descending")))
    return (b.take_along(ct, b.argsort(taken, axis=axis, descending=False), axis=axis),)


# ------------------------------------------------------------------------------------ samples, laws


def hard(*made: Type) -> Callable[[np.random.Generator], tuple[AnyArray, ...]]:
    """Extremes with repetitions: signed zeros, NaN, infinities, equal elements."""
    return lambda rng: tuple(draw_extremes(rng, m) for m in made)


def sort_again(value: Value, rng: np.random.Generator) -> None:
    for n in (20, 100):
        x = draw_extremes(rng, f32[3, n])
        once = value(x, axis=1)
        assert same_bits(value(once, axis=1), once)
        down = value(x, axis=1, descending=True)
        real = [int((~np.isnan(row)).sum()) for row in x]
        for r, up, back in zip(real, once, down, strict=True):
            np.testing.assert_array_equal(up[:r][::-1], back[:r])
            assert np.isnan(up[r:]).all() and np.isnan(back[r:]).all()


def argsort_is_stable(value: Value, rng: np.random.Generator) -> None:
    for n in (20, 100):
        x = rng.integers(0, 4, n).astype("int8")
        for descending in (False, True):
            key = [(-int(v) if descending else int(v), i) for i, v in enumerate(x)]
            got = value(x, axis=0, descending=descending)
            assert got.tolist() == [i for _, i in sorted(key)]


SHAPES = (
    sample(f32[7], axis=0),
    sample(f32[40], axis=0, descending=True, values=hard(f32[40])),
    sample(f32[3, 100], axis=1, values=hard(f32[3, 100])),
    sample(f64[65, 2], axis=0, descending=True, values=hard(f64[65, 2])),
    sample(f64[2, 5, 2], axis=1, descending=False),
    sample(f32[1], axis=0),
    sample(bf16[2, 9], axis=1),
    sample(fixed(4, 4)[12], axis=0, descending=True),
    sample(i8[30], axis=0, descending=True, values=hard(i8[30])),
    sample(i32[130], axis=0, values=hard(i32[130])),
    sample(u64[9], axis=0, descending=True, values=hard(u64[9])),
    sample(
        u8[70], axis=0, descending=True, values=values((u8[70], [k * 37 % 5 for k in range(70)]))
    ),
    sample(bool_[6], axis=0),
)

sort = register(
    Op(
        name="sort",
        doc="`sort(x, axis=, descending=False)`: ascending or descending along an axis, stable; NaN last in both directions.",
        family="sorting",
        signature=sort_signature,
        value=sort_value,
        code=Kernel(sorting_fill(by_index=False)),
        vjp=sort_vjp,
        batch=batching.along("sort"),
        cost=sorting_cost,
        samples=SHAPES,
        laws=(law("sorting twice is sorting once; descending is its mirror", sort_again),),
    )
)

argsort = register(
    Op(
        name="argsort",
        doc="`argsort(x, axis=, descending=False)`: the i32 indices that sort x, as `sort` does.",
        family="sorting",
        signature=argsort_signature,
        value=argsort_value,
        code=Kernel(sorting_fill(by_index=True)),
        vjp=NoGradient("an index is discrete"),
        batch=batching.along("argsort"),
        cost=sorting_cost,
        samples=SHAPES,
        laws=(law("equal elements keep their order", argsort_is_stable),),
    )
)
