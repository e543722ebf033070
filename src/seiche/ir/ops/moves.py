"""Moves with static indices: each element of the result is one element of an argument, or a constant.

Their code is pulled: the element of the result at an index, in terms of elements of the arguments. They cost nothing:
what copies, if anything must, is their consumer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Const, Expr, Result, Writer, carrier, integer
from seiche.ir.op import AnyArray, Cotangents, Element, Kernel, Op, SignatureError, Use, register
from seiche.ir.ops import batching
from seiche.ir.ops.define import check_axis, expect, law, sample
from seiche.ir.ops.indexing import (
    Index,
    flatten,
    known,
    need_sizes,
    plus,
    times,
    unflatten,
)
from seiche.numbers.formats import Shape, Type, bf16, bool_, f32, f64, i8, i32, u8

Value = Callable[..., AnyArray]


def pull(source: Callable[[tuple[Expr, ...], Use], Sequence[Index]]) -> Element:
    """An element of the result is the one of argument 0 at `source(index, use)`."""

    def at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
        return args[0](*source(index, use))

    return Element(at, cheap=True)


def free(use: Use) -> int:
    """A move costs nothing by itself."""
    return 0


# ------------------------------------------------------------------------------------------ reshape


def reshape_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("reshape", types, 1, params, "shape")
    (x,) = types
    shape = tuple(params["shape"])
    if math.prod(shape) != x.size or any(n < 1 for n in shape):
        raise SignatureError(f"{x} has {x.size} elements, {shape} has {math.prod(shape)}")
    return Type(x.format, shape)


def groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The finest runs of axes of equal size: an index splits there. Axes of size 1 are in no run.

    >>> groups((2, 3, 1, 4), (6, 2, 2))
    [([0, 1], [0]), ([3], [1, 2])]
    """
    left = [k for k, n in enumerate(before) if n > 1]
    right = [k for k, n in enumerate(after) if n > 1]
    found: list[tuple[list[int], list[int]]] = []
    while left:
        olds, news = [left.pop(0)], [right.pop(0)]
        while (p := math.prod(before[k] for k in olds)) != (q := math.prod(after[k] for k in news)):
            (olds if p < q else news).append((left if p < q else right).pop(0))
        found.append((olds, news))
    return found


def reshape_source(index: tuple[Expr, ...], use: Use) -> Sequence[Index]:
    before, after = use.types[0].shape, use.out.shape
    source: list[Index] = [0] * len(before)
    for olds, news in groups(before, after):
        flat = flatten([index[k] for k in news], tuple(after[k] for k in news))
        for k, i in zip(olds, unflatten(flat, tuple(before[k] for k in olds)), strict=True):
            source[k] = i
    return source


def reshape_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.reshape(ct, shape=args[0].type.shape),)


def reshape_keeps_order(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    assert list(value(x, shape=(4, 6)).flat) == list(x.flat)


reshape = register(
    Op(
        name="reshape",
        doc="`reshape(x, shape=)`: the same elements in row-major order, in another shape.",
        family="moves",
        signature=reshape_signature,
        value=lambda arrays, use: np.reshape(arrays[0], use.out.shape),
        code=pull(reshape_source),
        vjp=reshape_vjp,
        batch=batching.reshape,
        cost=free,
        samples=(
            sample(f32[6], shape=(2, 3)),
            sample(f32[2, 3, 4], shape=(4, 6)),
            sample(bf16[4, 6], shape=(2, 2, 1, 3, 2)),
            sample(f64[1], shape=()),
            sample(i8[2, 1, 9], shape=(3, 6)),
            sample(bool_[()], shape=(1, 1)),
        ),
        laws=(law("order is kept", reshape_keeps_order),),
    )
)

# ---------------------------------------------------------------------------------------- transpose


def transpose_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("transpose", types, 1, params, "perm")
    (x,) = types
    perm = tuple(params["perm"])
    if sorted(perm) != list(range(len(x.shape))):
        raise SignatureError(f"{perm} is no permutation of the axes of {x}")
    return Type(x.format, tuple(x.shape[k] for k in perm))


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes it.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(perm)), key=lambda k: perm[k]))


def transpose_source(index: tuple[Expr, ...], use: Use) -> Sequence[Index]:
    return [index[k] for k in inverse(use.params["perm"])]


def transpose_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.transpose(ct, perm=inverse(use.params["perm"])),)


def transpose_twice(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    again = value(value(x, perm=(2, 0, 1)), perm=inverse((2, 0, 1)))
    np.testing.assert_array_equal(again, x)


transpose = register(
    Op(
        name="transpose",
        doc="`transpose(x, perm=)`: axis k of the result is axis `perm[k]` of x.",
        family="moves",
        signature=transpose_signature,
        value=lambda arrays, use: np.transpose(arrays[0], use.params["perm"]),
        code=pull(transpose_source),
        vjp=transpose_vjp,
        batch=batching.transpose,
        cost=free,
        samples=(
            sample(f32[2, 3], perm=(1, 0)),
            sample(f64[2, 3, 4], perm=(2, 0, 1)),
            sample(bf16[3, 1, 2], perm=(0, 1, 2)),
            sample(i32[2, 2, 3, 2], perm=(3, 1, 0, 2)),
            sample(bool_[()], perm=()),
        ),
        laws=(law("the inverse permutation undoes it", transpose_twice),),
    )
)

# ---------------------------------------------------------------------------------------- broadcast


def broadcast_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("broadcast", types, 1, params, "shape")
    (x,) = types
    shape = tuple(params["shape"])
    need_sizes(shape)
    tail = shape[len(shape) - len(x.shape) :] if len(shape) >= len(x.shape) else None
    if tail is None or any(n not in (1, m) for n, m in zip(x.shape, tail, strict=True)):
        raise SignatureError(f"{x} does not broadcast to {shape}")
    return Type(x.format, shape)


def broadcast_source(index: tuple[Expr, ...], use: Use) -> Sequence[Index]:
    x = use.types[0].shape
    tail = index[len(index) - len(x) :]
    return [0 if n == 1 else i for n, i in zip(x, tail, strict=True)]


def broadcast_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    before, after = use.types[0].shape, use.out.shape
    lead = len(after) - len(before)
    repeated = tuple(
        k for k, m in enumerate(after) if m > 1 and (k < lead or before[k - lead] == 1)
    )
    total = b.sum(ct, axes=repeated) if repeated else ct
    return (total if total.type.shape == before else b.reshape(total, shape=before),)


def broadcast_repeats(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 1)).astype("float32")
    for row in value(x, shape=(5, 3, 4)):
        np.testing.assert_array_equal(row, np.hstack([x] * 4))


broadcast = register(
    Op(
        name="broadcast",
        doc="`broadcast(x, shape=)`: x repeated along new leading axes and along its axes of size 1.",
        family="moves",
        signature=broadcast_signature,
        value=lambda arrays, use: np.broadcast_to(arrays[0], use.out.shape).copy(),
        code=pull(broadcast_source),
        vjp=broadcast_vjp,
        batch=batching.broadcast,
        cost=free,
        samples=(
            sample(f32[()], shape=(2, 3)),
            sample(f32[3, 1], shape=(2, 3, 4)),
            sample(f64[1, 1], shape=(1, 1, 1)),
            sample(bf16[4], shape=(4,)),
            sample(u8[1, 2], shape=(3, 2)),
        ),
        laws=(law("every row is x", broadcast_repeats),),
    )
)

# -------------------------------------------------------------------------------------------- slice


def ranges(x: Type, params: Params) -> list[range]:
    """The positions along each axis that a slice takes."""
    parts = zip(params["start"], params["stop"], params["step"], x.shape, strict=True)
    return [range(*slice(a, b, s).indices(n)) for a, b, s, n in parts]


def slice_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("slice", types, 1, params, "start", "stop", "step")
    (x,) = types
    if any(len(params[p]) != len(x.shape) for p in ("start", "stop", "step")):
        raise SignatureError(f"start, stop and step need an entry for each axis of {x}")
    if 0 in params["step"]:
        raise SignatureError("a step of 0")
    shape = tuple(map(len, ranges(x, params)))
    need_sizes(shape)
    return Type(x.format, shape)


def slice_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    p = use.params
    parts = zip(p["start"], p["stop"], p["step"], strict=True)
    return arrays[0][tuple(slice(a, b, s) for a, b, s in parts)].copy()


def slice_source(index: tuple[Expr, ...], use: Use) -> Sequence[Index]:
    taken = ranges(use.types[0], use.params)
    return [plus(times(i, r.step), r.start) for i, r in zip(index, taken, strict=True)]


def slice_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Turn what was taken backwards; widen the steps by zeros; put it back among zeros."""
    x, taken = use.types[0], ranges(use.types[0], use.params)
    rank = len(taken)
    if any(r.step < 0 for r in taken):
        step = tuple(-1 if r.step < 0 else 1 for r in taken)
        ct = b.slice(ct, start=(None,) * rank, stop=(None,) * rank, step=step)
    steps = [abs(r.step) for r in taken]
    if any(s > 1 for s in steps):
        pairs = [(len(r), 1) for r in taken]
        ct = b.reshape(ct, shape=tuple(n for pair in pairs for n in pair))
        high = tuple(h for s in steps for h in (0, s - 1))
        ct = b.pad(ct, low=(0,) * (2 * rank), high=high, value=0)
        ct = b.reshape(ct, shape=tuple(len(r) * s for r, s in zip(taken, steps, strict=True)))
    low = tuple(min(r) for r in taken)
    high = tuple(n - a - m for n, a, m in zip(x.shape, low, ct.type.shape, strict=True))
    return (b.pad(ct, low=low, high=high, value=0),)


def slice_backwards(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4)).astype("float32")
    back = {"start": (None, None), "stop": (None, None), "step": (-1, -1)}
    np.testing.assert_array_equal(value(value(x, **back), **back), x)
    assert value(x, **back)[0, 0] == x[2, 3]


slice_ = register(
    Op(
        name="slice",
        doc="`slice(x, start=, stop=, step=)`: numpy's basic slice, an entry per axis; `None` is the end in that direction.",
        family="moves",
        signature=slice_signature,
        value=slice_value,
        code=pull(slice_source),
        vjp=slice_vjp,
        batch=batching.slice_,
        cost=free,
        samples=(
            sample(f32[5], start=(1,), stop=(4,), step=(1,)),
            sample(f32[7], start=(1,), stop=(None,), step=(3,)),
            sample(f64[6], start=(None,), stop=(None,), step=(-1,)),
            sample(f32[4, 9], start=(-1, 8), stop=(0, 1), step=(-1, -3)),
            sample(bf16[3, 4], start=(0, 0), stop=(3, 100), step=(1, 2)),
            sample(i8[3], start=(2,), stop=(3,), step=(5,)),
        ),
        laws=(law("backwards twice is x", slice_backwards),),
    )
)

# ------------------------------------------------------------------------------------------- concat


def concat_signature(types: tuple[Type, ...], params: Params) -> Type:
    if not types:
        raise SignatureError("nothing to join")
    expect("concat", types, len(types), params, "axis")
    first, axis = types[0], check_axis("concat", types[0], params["axis"])

    def rest(t: Type) -> Shape:
        return t.shape[:axis] + t.shape[axis + 1 :]

    for t in types[1:]:
        unlike = len(t.shape) != len(first.shape) or rest(t) != rest(first)
        if t.format != first.format or unlike:
            raise SignatureError(f"{first} and {t} do not join along axis {axis}")
    size = sum(t.shape[axis] for t in types)
    return Type(first.format, (*first.shape[:axis], size, *first.shape[axis + 1 :]))


def concat_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    axis, offset = use.params["axis"], 0
    for arg in args:
        with w.loops(arg.type.shape) as index:
            there = plus(index[axis], offset)
            out.put((*index[:axis], there, *index[axis + 1 :]), arg(*index))
        offset += arg.type.shape[axis]


def concat_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    axis, rank, at = use.params["axis"], len(use.out.shape), 0
    cts: list[Var] = []
    for t in use.types:
        start, stop = [0] * rank, list(use.out.shape)
        start[axis], stop[axis] = at, at + t.shape[axis]
        cts.append(b.slice(ct, start=tuple(start), stop=tuple(stop), step=(1,) * rank))
        at += t.shape[axis]
    return cts


def concat_parts(value: Value, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 1))
    both = value(x, y, axis=1)
    np.testing.assert_array_equal(both[:, :3], x)
    np.testing.assert_array_equal(both[:, 3:], y)


concat = register(
    Op(
        name="concat",
        doc="`concat(*xs, axis=)`: the arguments one after the other along an axis. One move per element.",
        family="moves",
        signature=concat_signature,
        value=lambda arrays, use: np.concatenate(arrays, axis=use.params["axis"]),
        code=Kernel(concat_fill),
        vjp=concat_vjp,
        batch=batching.along("concat"),
        cost=lambda use: use.out.size,
        samples=(
            sample(f32[2], f32[3], axis=0),
            sample(f64[2, 3], f64[2, 1], f64[2, 2], axis=1),
            sample(bf16[1, 2, 2], bf16[3, 2, 2], axis=0),
            sample(i8[4], axis=0),
            sample(bool_[1], bool_[1], axis=0),
        ),
        laws=(law("its slices are the parts", concat_parts),),
    )
)

# ---------------------------------------------------------------------------------------------- pad


def pad_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("pad", types, 1, {"value": 0, **params}, "low", "high", "value")
    (x,) = types
    low, high = params["low"], params["high"]
    if not len(low) == len(high) == len(x.shape):
        raise SignatureError(f"low and high need an entry for each axis of {x}")
    if any(n + min(a, 0) + min(z, 0) < 1 for n, a, z in zip(x.shape, low, high, strict=True)):
        raise SignatureError(f"cropping by {low} and {high} leaves nothing of {x}")
    shape = tuple(a + n + z for n, a, z in zip(x.shape, low, high, strict=True))
    return Type(x.format, shape)


def pad_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    (x,), low, high = arrays, use.params["low"], use.params["high"]
    cut = tuple(slice(max(-a, 0), n - max(-z, 0)) for a, z, n in zip(low, high, x.shape))
    width = [(max(a, 0), max(z, 0)) for a, z in zip(low, high)]
    fill = np.dtype(x.dtype).type(use.params.get("value", 0))
    return np.pad(x[cut], width, constant_values=fill) if width else x.copy()


def pad_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    source: list[Index] = []
    conditions: list[Expr] = []
    for i, n, a, z in zip(index, use.types[0].shape, use.params["low"], use.params["high"]):
        j = within(w, plus(i, -a), (-a, n + z), n, conditions)
        source.append(j)
    outside = Const(use.params.get("value", 0), carrier(use.out.format))
    return chosen(w, conditions, lambda: args[0](*source), outside)


def within(w: Writer, i: Index, spread: tuple[int, int], n: int, conditions: list[Expr]) -> Index:
    """An index that lies in `spread` (end excluded), safe to read at in 0..n: where it is outside, `conditions` says so.

    Both branches of a choice may be evaluated: what is not chosen must still be readable.
    """
    low, high = spread
    tests: list[Expr] = []
    if (k := known(i)) is not None:
        if not 0 <= k < n:
            conditions.append(Const(False, bool_))
            return 0
        return i
    i = w.let(integer(i)) if low < 0 or high > n else i
    if low < 0:
        tests.append(integer(i) >= 0)
    if high > n:
        tests.append(integer(i) < n)
    if not tests:
        return i
    inside = w.let(tests[0] if len(tests) == 1 else tests[0] & tests[1])
    conditions.append(inside)
    return w.let(w.select(inside, i if isinstance(i, Expr) else integer(i), 0))


def chosen(w: Writer, conditions: list[Expr], yes: Callable[[], Expr], no: Expr) -> Expr:
    """`yes()` where all the conditions hold, else `no`."""
    if any(isinstance(c, Const) for c in conditions):
        return no
    if not conditions:
        return yes()
    every = conditions[0]
    for c in conditions[1:]:
        every = every & c
    return w.select(every, yes(), no)


def pad_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    low, high = (tuple(-n for n in use.params[p]) for p in ("low", "high"))
    return (b.pad(ct, low=low, high=high, value=0),)


def pad_then_crop(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3)).astype("float32")
    wide = value(x, low=(1, 0), high=(2, 4), value=7.0)
    assert (wide == 7.0).sum() == wide.size - x.size
    np.testing.assert_array_equal(value(wide, low=(-1, 0), high=(-2, -4), value=0.0), x)


pad = register(
    Op(
        name="pad",
        doc="`pad(x, low=, high=, value=0)`: `value` before and after each axis; a negative count crops.",
        family="moves",
        signature=pad_signature,
        value=pad_value,
        code=Element(pad_at, cheap=True),
        vjp=pad_vjp,
        batch=batching.pad,
        cost=free,
        samples=(
            sample(f32[3], low=(1,), high=(2,), value=0.0),
            sample(f64[4, 3], low=(-1, 2), high=(1, -1), value=-1.5),
            sample(f32[2, 2], low=(0, 0), high=(0, 3), value=-math.inf),
            sample(bf16[2], low=(1,), high=(0,), value=0.3),
            sample(i8[1, 3], low=(2, -2), high=(0, 0), value=-7),
            sample(bool_[2], low=(1,), high=(1,), value=True),
        ),
        laws=(law("cropping undoes it", pad_then_crop),),
    )
)
