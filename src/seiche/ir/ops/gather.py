"""Reading at dynamic indices, which are clamped into range; one-hot vectors and positions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Const, Expr, Writer, carrier, integer
from seiche.ir.op import (
    AnyArray,
    Cotangents,
    Element,
    NoGradient,
    Op,
    SignatureError,
    Use,
    register,
)
from seiche.ir.ops import batching, batching_indices
from seiche.ir.ops.define import INTEGER, NUMBER, check_axis, check_kind, expect, law, sample
from seiche.ir.ops.indexing import blank, clamp, clamped, need_sizes, values
from seiche.ir.ops.moves import free
from seiche.numbers.formats import (
    Format,
    Type,
    bf16,
    bool_,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
)

Value = Callable[..., AnyArray]
DISCRETE = NoGradient("an index is discrete")


def check_scalar_index(name: str, type: Type) -> None:
    """Raises SignatureError unless it is a scalar integer."""
    check_kind(name, type, INTEGER)
    if type.shape:
        raise SignatureError(f"`{name}` needs a scalar index, not {type}")


def clamped_value(i: AnyArray, n: int) -> AnyArray:
    """Integers moved into 0 <= i < n, as int64.

    >>> clamped_value(np.array([2**64 - 1, 1], "uint64"), 3).tolist()
    [2, 1]
    """
    top = min(n - 1, int(np.iinfo(i.dtype).max))
    return np.clip(i, 0, top).astype(np.int64)


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


# -------------------------------------------------------------------------------------------- index


def index_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("index", types, 2, params, "axis")
    x, i = types
    check_scalar_index("index", i)
    return Type(x.format, without(x.shape, check_axis("index", x, params["axis"])))


def index_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    (x, i), axis = arrays, use.params["axis"]
    return np.asarray(np.take(x, int(clamped_value(i, x.shape[axis])), axis))


def index_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    axis = use.params["axis"]
    i = clamp(w, args[1](), use.types[0].shape[axis])
    return args[0](*index[:axis], i, *index[axis:])


def index_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis = use.params["axis"]
    i = clamped(b, args[1], use.types[0].shape[axis])
    return b.update(blank(b, use.types[0]), ct, i, axis=axis), DISCRETE


def index_rows(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 4)).astype("float32")
    rows = [value(x, np.int32(i), axis=1) for i in range(4)]
    np.testing.assert_array_equal(np.stack(rows, 1), x)
    np.testing.assert_array_equal(value(x, np.int32(-9), axis=1), x[:, 0])
    np.testing.assert_array_equal(value(x, np.uint8(200), axis=1), x[:, 3])


index = register(
    Op(
        name="index",
        doc="`index(x, i, axis=)`: row i of x along an axis, which the result lacks; i is clamped into range.",
        family="moves",
        signature=index_signature,
        value=index_value,
        code=Element(index_at, cheap=True),
        vjp=index_vjp,
        batch=batching_indices.index,
        cost=free,
        samples=(
            sample(f32[4], i32[()], axis=0, values=values(f32[4], (i32[()], 2))),
            sample(f32[2, 3, 4], u8[()], axis=1, values=values(f32[2, 3, 4], (u8[()], 255))),
            sample(f64[2, 3], i64[()], axis=1, values=values(f64[2, 3], (i64[()], -(2**63)))),
            sample(bf16[300], i8[()], axis=0, values=values(bf16[300], (i8[()], 127))),
            sample(i8[3, 2], u64[()], axis=0, values=values(i8[3, 2], (u64[()], 2**64 - 1))),
            sample(bool_[1], i16[()], axis=0, values=values(bool_[1], (i16[()], 9))),
        ),
        laws=(law("the rows make up x; outside, the nearest", index_rows),),
    )
)

# ------------------------------------------------------------------------------------ dynamic_slice


def dynamic_slice_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("dynamic_slice", types, 2, params, "axis", "size")
    x, i = types
    check_scalar_index("dynamic_slice", i)
    axis, size = check_axis("dynamic_slice", x, params["axis"]), params["size"]
    if not 1 <= size <= x.shape[axis]:
        raise SignatureError(f"{size} rows of {x} along axis {axis}")
    return Type(x.format, (*x.shape[:axis], size, *x.shape[axis + 1 :]))


def starts(use: Use) -> int:
    """Number of places where the window can start."""
    return use.types[0].shape[use.params["axis"]] - use.params["size"] + 1


def dynamic_slice_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    start = int(clamped_value(arrays[1], starts(use)))
    return np.take(arrays[0], range(start, start + use.params["size"]), use.params["axis"])


def dynamic_slice_at(
    w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use
) -> Expr:
    axis = use.params["axis"]
    start = clamp(w, args[1](), starts(use))
    return args[0](*index[:axis], start + index[axis], *index[axis + 1 :])


def dynamic_slice_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis, size = use.params["axis"], use.params["size"]
    start = b.broadcast(clamped(b, args[1], starts(use)), shape=(size,))
    rows = b.add(start, b.iota(shape=(size,), axis=0, format=i32))
    return b.scatter_add(blank(b, use.types[0]), rows, ct, axis=axis), DISCRETE


def dynamic_slice_whole(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 2)).astype("float32")
    for i in (-1, 0, 3, 9):
        np.testing.assert_array_equal(value(x, np.int32(i), axis=0, size=5), x)


dynamic_slice = register(
    Op(
        name="dynamic_slice",
        doc="`dynamic_slice(x, i, axis=, size=)`: `size` rows of x from row i on; i is clamped so that the window fits.",
        family="moves",
        signature=dynamic_slice_signature,
        value=dynamic_slice_value,
        code=Element(dynamic_slice_at, cheap=True),
        vjp=dynamic_slice_vjp,
        batch=batching_indices.dynamic_slice,
        cost=free,
        samples=(
            sample(f32[6], i32[()], axis=0, size=2, values=values(f32[6], (i32[()], 3))),
            sample(f64[2, 5], u16[()], axis=1, size=3, values=values(f64[2, 5], (u16[()], 4))),
            sample(f32[3, 2], i64[()], axis=0, size=3, values=values(f32[3, 2], (i64[()], 1))),
            sample(bf16[4, 1], i8[()], axis=0, size=1, values=values(bf16[4, 1], (i8[()], -5))),
            sample(i8[300], u8[()], axis=0, size=2, values=values(i8[300], (u8[()], 255))),
        ),
        laws=(law("a window as large as x is x", dynamic_slice_whole),),
    )
)

# --------------------------------------------------------------------------------------------- take


def taken_shape(x: Type, indices: Type, axis: int) -> tuple[int, ...]:
    """x with the axis replaced by the axes of the indices."""
    return x.shape[:axis] + indices.shape + x.shape[axis + 1 :]


def take_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("take", types, 2, params, "axis")
    x, indices = types
    check_kind("take", indices, INTEGER)
    return Type(x.format, taken_shape(x, indices, check_axis("take", x, params["axis"])))


def take_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    (x, indices), axis = arrays, use.params["axis"]
    return np.asarray(np.take(x, clamped_value(indices, x.shape[axis]), axis))


def take_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    axis, (x, indices) = use.params["axis"], use.types
    end = axis + len(indices.shape)
    i = clamp(w, args[1](*index[axis:end]), x.shape[axis])
    return args[0](*index[:axis], i, *index[end:])


def take_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis = use.params["axis"]
    i = clamped(b, args[1], use.types[0].shape[axis])
    return b.scatter_add(blank(b, use.types[0]), i, ct, axis=axis), DISCRETE


def take_all(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 6)).astype("float32")
    np.testing.assert_array_equal(value(x, np.arange(6, dtype="int32"), axis=1), x)


take = register(
    Op(
        name="take",
        doc="`take(x, indices, axis=)`: the rows of x at the indices, which are clamped; their axes replace the axis.",
        family="moves",
        signature=take_signature,
        value=take_value,
        code=Element(take_at, cheap=True),
        vjp=take_vjp,
        batch=batching_indices.take,
        cost=free,
        samples=(
            sample(f32[5], i32[3], axis=0, values=values(f32[5], (i32[3], (4, 0, 4)))),
            sample(
                f64[2, 3], i64[2, 2], axis=1, values=values(f64[2, 3], (i64[2, 2], (0, -9, 7, 1)))
            ),
            sample(f32[3, 2], u8[()], axis=0, values=values(f32[3, 2], (u8[()], 200))),
            sample(bf16[2, 2, 2], i8[1], axis=2, values=values(bf16[2, 2, 2], (i8[1], (-128,)))),
            sample(i8[300], u32[2], axis=0, values=values(i8[300], (u32[2], (2**32 - 1, 299)))),
        ),
        laws=(law("all rows in order are x", take_all),),
    )
)

# --------------------------------------------------------------------------------------- take_along


def take_along_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("take_along", types, 2, params, "axis")
    x, indices = types
    axis = check_axis("take_along", x, params["axis"])
    check_kind("take_along", indices, INTEGER)
    same_rank = len(indices.shape) == len(x.shape)
    if not same_rank or without(indices.shape, axis) != without(x.shape, axis):
        raise SignatureError(f"indices {indices} do not follow {x} beside axis {axis}")
    return Type(x.format, indices.shape)


def take_along_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    (x, indices), axis = arrays, use.params["axis"]
    return np.take_along_axis(x, clamped_value(indices, x.shape[axis]), axis)


def take_along_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    axis = use.params["axis"]
    i = clamp(w, args[1](*index), use.types[0].shape[axis])
    return args[0](*index[:axis], i, *index[axis + 1 :])


def take_along_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """As `take` of the flattened x: the row-major positions of what was taken."""
    axis, (x, indices) = use.params["axis"], use.types
    terms: list[Var] = []
    for k in range(len(x.shape)):
        stride = math.prod(x.shape[k + 1 :])
        if k == axis:
            i = clamped(b, args[1], x.shape[axis])
        else:
            i = b.iota(shape=indices.shape, axis=k, format=i32)
        terms.append(i if stride == 1 else b.mul(i, b.lit(stride, i.type)))
    position = terms[0]
    for term in terms[1:]:
        position = b.add(position, term)
    flat = b.scatter_add(blank(b, Type(x.format, (x.size,))), position, ct, axis=0)
    return b.reshape(flat, shape=x.shape), DISCRETE


def take_along_sorts(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 6)).astype("float32")
    order = np.argsort(x, axis=1).astype("int32")
    np.testing.assert_array_equal(value(x, order, axis=1), np.sort(x, axis=1))


take_along = register(
    Op(
        name="take_along",
        doc="`take_along(x, indices, axis=)`: element by element along an axis, as numpy's `take_along_axis`; clamped.",
        family="moves",
        signature=take_along_signature,
        value=take_along_value,
        code=Element(take_along_at, cheap=True),
        vjp=take_along_vjp,
        batch=batching_indices.take_along,
        cost=free,
        samples=(
            sample(f32[4], i32[4], axis=0, values=values(f32[4], (i32[4], (3, 3, 0, 1)))),
            sample(
                f64[2, 3], i32[2, 2], axis=1, values=values(f64[2, 3], (i32[2, 2], (2, 0, 9, -1)))
            ),
            sample(f32[3, 2], u8[1, 2], axis=0, values=values(f32[3, 2], (u8[1, 2], (2, 255)))),
            sample(
                bf16[2, 1, 2],
                i8[2, 3, 2],
                axis=1,
                values=values(bf16[2, 1, 2], (i8[2, 3, 2], range(-6, 6))),
            ),
        ),
        laws=(law("the order of `argsort` sorts", take_along_sorts),),
    )
)


# ------------------------------------------------------------------------------------- one_hot, iota


def one_hot_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("one_hot", types, 1, params, "depth", "format")
    check_kind("one_hot", types[0], INTEGER)
    need_sizes((params["depth"],))
    return Type(params["format"], (*types[0].shape, params["depth"]))


def one_hot_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    hit = arrays[0][..., None] == np.arange(use.params["depth"], dtype=np.int32)
    return hit.astype(use.out.format.dtype)


def one_hot_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    i, format = args[0](*index[:-1]), carrier(use.out.format)
    common: Format = i.format if i.format.bits >= 32 else i32  # holds both sides
    hit = w.convert(i, common).eq(w.convert(integer(index[-1]), common))
    return w.select(hit, Const(1, format), Const(0, format)) if format is not bool_ else hit


def one_hot_marks(value: Value, rng: np.random.Generator) -> None:
    i = rng.integers(0, 5, 9).astype("int16")
    hot = value(i, depth=5, format=f32)
    np.testing.assert_array_equal(hot.sum(1), 1)
    np.testing.assert_array_equal(hot.argmax(1), i)


one_hot = register(
    Op(
        name="one_hot",
        doc="`one_hot(i, depth=, format=)`: a new last axis with 1 at position i, 0 elsewhere; all 0 where i is out of range.",
        family="moves",
        signature=one_hot_signature,
        value=one_hot_value,
        code=Element(one_hot_at, cheap=True),
        vjp=NoGradient("an index is discrete"),
        batch=batching.alike("one_hot"),
        cost=lambda use: use.out.size,
        samples=(
            sample(i32[()], depth=4, format=f32, values=values((i32[()], 2))),
            sample(i8[2, 2], depth=3, format=f64, values=values((i8[2, 2], (0, 2, 3, -1)))),
            sample(u8[2], depth=300, format=bf16, values=values((u8[2], (255, 4)))),
            sample(u64[2], depth=2, format=i8, values=values((u64[2], (2**64 - 1, 1)))),
            sample(i64[2], depth=2, format=bool_, values=values((i64[2], (2**32, 1)))),
        ),
        laws=(law("one 1 in a row, at the index", one_hot_marks),),
    )
)


def iota_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("iota", types, 0, params, "shape", "axis", "format")
    out = Type(params["format"], tuple(params["shape"]))
    need_sizes(out.shape)
    check_kind("iota", out, NUMBER)
    check_axis("iota", out, params["axis"])
    return out


def iota_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    shape, axis = use.out.shape, use.params["axis"]
    along = [n if k == axis else 1 for k, n in enumerate(shape)]
    count = np.arange(shape[axis], dtype=np.int32).astype(use.out.format.dtype)
    return np.broadcast_to(count.reshape(along), shape).copy()


def iota_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    return w.convert(index[use.params["axis"]], carrier(use.out.format))


def iota_rises(value: Value, rng: np.random.Generator) -> None:
    x = value(shape=(3, 4), axis=1, format=f64)
    np.testing.assert_array_equal(np.diff(x, axis=1), 1)
    np.testing.assert_array_equal(x[:, 0], 0)


iota = register(
    Op(
        name="iota",
        doc="`iota(shape=, axis=, format=)`: each element is its position along an axis (integers wrap).",
        family="moves",
        signature=iota_signature,
        value=iota_value,
        code=Element(iota_at, cheap=True),
        vjp=NoGradient("no arguments"),
        batch=batching.constant,
        cost=free,
        samples=(
            sample(shape=(4,), axis=0, format=i32),
            sample(shape=(2, 3), axis=1, format=f32),
            sample(shape=(3, 1, 2), axis=0, format=bf16),
            sample(shape=(300,), axis=0, format=u8),
            sample(shape=(130, 2), axis=0, format=i8),
        ),
        laws=(law("rises by one along its axis", iota_rises),),
    )
)
