"""Writing at dynamic indices: an index out of range writes nothing.

Both ops start as their argument 0 and touch only the rows that are named.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Result, Writer
from seiche.ir.op import AnyArray, Cotangents, Kernel, Op, SignatureError, Use, register
from seiche.ir.ops import batching_indices
from seiche.ir.ops.define import INTEGER, NUMBER, check_axis, check_kind, expect, law, sample
from seiche.ir.ops.gather import DISCRETE, taken_shape, without
from seiche.ir.ops.indexing import between, blank, inside, values
from seiche.numbers.formats import Type, bf16, bool_, f32, f64, i8, i32, i64, u8, u64

Value = Callable[..., AnyArray]

# ------------------------------------------------------------------------------------------- update


def update_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("update", types, 3, {"batch": 0, **params}, "axis", "batch")
    x, row, i = types
    axis, lead = check_axis("update", x, params["axis"]), own_axes(params)
    if not 0 <= lead <= axis:
        raise SignatureError(
            f"`update`: {lead} axes with an index of their own, before axis {axis}"
        )
    check_kind("update", i, INTEGER)
    if i.shape != x.shape[:lead]:
        raise SignatureError(f"`update`: the index is one per {x.shape[:lead]}, not {i}")
    if row != Type(x.format, without(x.shape, axis)):
        raise SignatureError(f"{row} is no row of {x} along axis {axis}")
    return x


def own_axes(params: Params) -> int:
    """How many leading axes have an index of their own."""
    return int(params.get("batch", 0))


def update_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    x, row, i = arrays
    axis, out = use.params["axis"] - own_axes(use.params), x.copy()
    for lead in np.ndindex(i.shape):
        if 0 <= int(i[lead]) < use.types[0].shape[use.params["axis"]]:
            np.moveaxis(out[lead], axis, 0)[int(i[lead])] = row[lead]
    return out


def update_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    axis, (x, row, i) = use.params["axis"], use.types
    with w.loops(i.shape) as lead:
        at = w.let(args[2](*lead))
        with w.when(between(at, x.shape[axis])):
            k = w.let(w.convert(at, i32))
            with w.loops(row.shape[len(lead) :]) as inner:
                rest = (*lead, *inner)
                out.put((*rest[:axis], k, *rest[axis:]), args[1](*rest))


def update_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis, (x, row, _) = use.params["axis"], use.types
    i, n = args[2], x.shape[axis]
    written = inside(b, i, n)
    if row.shape != i.type.shape:
        inner = (1,) * (len(row.shape) - len(i.type.shape))
        aligned = b.reshape(written, shape=(*i.type.shape, *inner)) if inner else written
        written = b.broadcast(aligned, shape=row.shape)
    return (
        b.update(ct, blank(b, row), i, **use.params),
        b.select(written, _row_at(b, ct, i, row, axis), blank(b, row)),
        DISCRETE,
    )


def _row_at(b: Builder, x: Var, i: Var, row: Type, axis: int) -> Var:
    """Row i of x, of each of its leading axes that has an index of its own."""
    lead = len(i.type.shape)
    if not lead:
        return b.index(x, i, axis=axis)
    shape = tuple(1 if k == axis else n for k, n in enumerate(x.type.shape))
    aligned = (*i.type.shape, *(1 for _ in shape[lead:]))
    at = b.broadcast(b.reshape(i, shape=aligned), shape=shape)
    return b.reshape(b.take_along(x, at, axis=axis), shape=row.shape)


def update_then_index(value: Value, rng: np.random.Generator) -> None:
    x, row = rng.normal(size=(4, 3)), rng.normal(size=3)
    for i in range(4):
        np.testing.assert_array_equal(value(x, row, np.int32(i), axis=0)[i], row)
    np.testing.assert_array_equal(value(x, row, np.int32(-1), axis=0), x)


update = register(
    Op(
        name="update",
        doc="`update(x, row, i, axis=, batch=0)`: x with row i replaced; i out of range changes nothing. A move per element of "
        "the row. The first `batch` axes of x and row have an index of their own: i has their shape.",
        family="moves",
        signature=update_signature,
        value=update_value,
        code=Kernel(update_fill, in_place=0),
        vjp=update_vjp,
        batch=batching_indices.update,
        cost=lambda use: use.types[1].size,
        samples=(
            sample(f32[4], f32[()], i32[()], axis=0, values=values(f32[4], f32[()], (i32[()], 3))),
            sample(
                f32[2, 3], f32[2], i64[()], axis=1, values=values(f32[2, 3], f32[2], (i64[()], 1))
            ),
            sample(
                f64[3, 2], f64[2], i32[()], axis=0, values=values(f64[3, 2], f64[2], (i32[()], 3))
            ),
            sample(
                bf16[3, 2],
                bf16[2],
                i8[()],
                axis=0,
                values=values(bf16[3, 2], bf16[2], (i8[()], -1)),
            ),
            sample(i8[300], i8[()], u8[()], axis=0, values=values(i8[300], i8[()], (u8[()], 255))),
            sample(
                bool_[2],
                bool_[()],
                u64[()],
                axis=0,
                values=values(bool_[2], bool_[()], (u64[()], 2**63)),
            ),
            sample(
                f32[3, 2, 4], f32[3, 2], i32[3], axis=2, batch=1,
                values=values(f32[3, 2, 4], f32[3, 2], (i32[3], (3, -1, 0))),
            ),
            sample(
                f64[2, 2, 3], f64[2, 2], u8[2, 2], axis=2, batch=2,
                values=values(f64[2, 2, 3], f64[2, 2], (u8[2, 2], (0, 2, 3, 1))),
            ),
        ),
        laws=(law("the row can be read back", update_then_index),),
    )
)  # fmt: skip

# -------------------------------------------------------------------------------------- scatter_add


def scatter_add_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("scatter_add", types, 3, params, "axis")
    x, indices, rows = types
    check_kind("scatter_add", x, NUMBER)
    check_kind("scatter_add", indices, INTEGER)
    axis = check_axis("scatter_add", x, params["axis"])
    if rows != Type(x.format, taken_shape(x, indices, axis)):
        wanted = Type(x.format, taken_shape(x, indices, axis))
        raise SignatureError(f"the rows to add must be {wanted}, not {rows}")
    return x


def scatter_add_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    x, indices, rows = arrays
    axis, out = use.params["axis"], x.copy()
    flat = rows.reshape(*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
    into, each = np.moveaxis(out, axis, 0), np.moveaxis(flat, axis, 0)
    with np.errstate(all="ignore"):
        for k, i in enumerate(indices.flat):
            if 0 <= int(i) < len(into):
                into[int(i)] = into[int(i)] + each[k]
    return out


def scatter_add_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    axis, (x, indices, _) = use.params["axis"], use.types
    with w.loops(indices.shape, parallel=False) as at:
        i = w.let(args[1](*at))
        with w.when(between(i, x.shape[axis])):
            k = w.let(w.convert(i, i32))
            with w.loops(without(x.shape, axis)) as rest:
                lead, tail = rest[:axis], rest[axis:]
                place = (*lead, k, *tail)
                out.put(place, out.get(place) + args[2](*lead, *at, *tail))


def scatter_add_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis, (x, indices, rows) = use.params["axis"], use.types
    taken = b.take(ct, args[1], axis=axis)
    tail = len(x.shape) - axis - 1
    added = inside(b, args[1], x.shape[axis])
    aligned = (1,) * axis + indices.shape + (1,) * tail
    added = b.broadcast(b.reshape(added, shape=aligned), shape=rows.shape)
    return ct, DISCRETE, b.select(added, taken, blank(b, rows))


def scatter_add_counts(value: Value, rng: np.random.Generator) -> None:
    i = rng.integers(-2, 7, 40).astype("int32")
    counts = value(np.zeros(5, "int32"), i, np.ones(40, "int32"), axis=0)
    assert counts.tolist() == [int((i == k).sum()) for k in range(5)]


scatter_add = register(
    Op(
        name="scatter_add",
        doc="`scatter_add(x, indices, rows, axis=)`: x with `rows[k]` added at `indices[k]`, k ascending in row-major order; "
        "an index out of range adds nothing. The adjoint of `take`.",
        family="moves",
        signature=scatter_add_signature,
        value=scatter_add_value,
        code=Kernel(scatter_add_fill, in_place=0),
        vjp=scatter_add_vjp,
        batch=batching_indices.scatter_add,
        cost=lambda use: use.types[2].size,
        samples=(
            sample(f32[3], i32[5], f32[5], axis=0, values=values(f32[3], (i32[5], (0, 2, 2, -1, 3)), f32[5])),
            sample(
                f64[2, 3, 2], i64[2, 2], f64[2, 2, 2, 2], axis=1,
                values=values(f64[2, 3, 2], (i64[2, 2], (1, 1, 2**40, 0)), f64[2, 2, 2, 2]),
            ),
            sample(f32[2, 2], u8[()], f32[2], axis=0, values=values(f32[2, 2], (u8[()], 1), f32[2])),
            sample(bf16[4], i8[3], bf16[3], axis=0, values=values(bf16[4], (i8[3], (3, 3, 3)), bf16[3])),
            sample(i8[2], i32[4], i8[4], axis=0, values=values((i8[2], (100, -100)), (i32[4], (0, 0, 1, 1)), (i8[4], (100, 50, -100, 1)))),
        ),
        laws=(law("ones count the indices", scatter_add_counts),),
    )
)  # fmt: skip
