"""Reductions over axes, in the strict order (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Expr, Result, Writer, carrier, integer
from seiche.ir.op import (
    AnyArray,
    Cotangents,
    Kernel,
    Law,
    NoGradient,
    Op,
    Sample,
    SignatureError,
    Use,
    Vjp,
    register,
)
from seiche.ir.ops.batching import along
from seiche.ir.ops.define import (
    BOOLEAN,
    NUMBER,
    Combine,
    Kinds,
    Rng,
    Values,
    check_axes,
    check_axis,
    check_kind,
    draw,
    draw_extremes,
    expand,
    expect,
    extremes,
    lane_fold,
    law,
    plus,
    same_bits,
    sample,
    zeros,
)
from seiche.ir.ops.indexing import Index, unflatten
from seiche.ir.ops.lane_folds import write_lane_fold
from seiche.ir.ops.pointwise import greatest, least
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Shape, Type
from seiche.numbers.kit import Kit, Value


def _rest(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape without those axes."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _rows(x: AnyArray, axes: tuple[int, ...]) -> AnyArray:
    """The terms of a reduction as rows: the reduced axes flattened into the first, row-major."""
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    return x.transpose(*axes, *rest).reshape(-1, *(x.shape[i] for i in rest))


def _merge(
    index: Sequence[Index], reduced: Sequence[Index], axes: tuple[int, ...]
) -> tuple[Index, ...]:
    """The full index, of the parts along the reduced axes and along the others."""
    inner, outer = iter(reduced), iter(index)
    return tuple(
        next(inner) if i in axes else next(outer) for i in range(len(index) + len(reduced))
    )


def reduction(
    name: str,
    doc: str,
    combine: Callable[[Format], Combine],
    *,
    kinds: Kinds,
    vjp: Vjp | NoGradient,
    samples: tuple[Sample, ...],
    laws: tuple[Law, ...],
) -> Op:
    """Registers the reduction over `axes` by `combine(format)` in lane order; it needs a term."""

    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, 1, params, "axes")
        check_kind(name, types[0], kinds)
        axes = check_axes(name, types[0], params["axes"])
        if 0 in (types[0].shape[i] for i in axes):
            raise SignatureError(f"`{name}` of nothing: {types[0]} over the axes {axes}")
        return Type(types[0].format, _rest(types[0].shape, axes))

    def value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
        rows = _rows(arrays[0], tuple(sorted(use.params["axes"])))
        step = combine(carrier(use.out.format))
        return np.asarray(lane_fold(len(rows), lambda i, j: rows[i:j], step))

    def fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
        axes = tuple(sorted(use.params["axes"]))
        sizes = tuple(use.types[0].shape[i] for i in axes)
        n = Type(use.out.format, sizes).size
        with w.loops(use.out.shape) as index:

            def term(k: Expr) -> Expr:
                return args[0](*_merge(index, unflatten(k, sizes), axes))

            out.put(index, write_lane_fold(w, n, term, combine(carrier(use.out.format))))

    def cost(use: Use) -> int:
        return max(0, use.types[0].size - use.out.size)

    return register(
        Op(
            name,
            doc,
            "reduce",
            signature,
            value,
            Kernel(fill),
            vjp,
            along(name, "axes"),
            cost,
            samples,
            laws,
        )
    )


def _extremum(pick: Callable[[Kit, Format, Value, Value], Value]) -> Callable[[Format], Combine]:
    return lambda format: lambda k, x, y: pick(k, format, x, k.let(y))


# Derivatives.


def _sum_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (expand(b, ct, use.params["axes"], args[0].type.shape),)


def _prod_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """The product of the others, from both sides, so that zeros do no harm."""
    (x,), shape = args, args[0].type.shape
    axes = tuple(sorted(use.params["axes"]))
    order = (*(i for i in range(len(shape)) if i not in axes), *axes)
    rest = _rest(shape, axes)
    n = x.type.size // use.out.size
    if n == 1:
        return (b.reshape(ct, shape=shape),)
    rows, last = b.reshape(b.transpose(x, perm=order), shape=(*rest, n)), len(rest)
    none, one = (0,) * last, (*(0,) * last, 1)
    steps = (1,) * (last + 1)
    before = b.pad(
        b.slice(rows, start=(*none, 0), stop=(*rest, n - 1), step=steps),
        low=one,
        high=(*none, 0),
        value=1,
    )
    after = b.pad(
        b.slice(rows, start=one, stop=(*rest, n), step=steps), low=(*none, 0), high=one, value=1
    )
    others = b.mul(
        b.cumprod(before, axis=last, reverse=False), b.cumprod(after, axis=last, reverse=True)
    )
    moved = b.reshape(
        b.mul(expand(b, ct, (last,), rows.type.shape), others), shape=tuple(shape[i] for i in order)
    )
    return (b.transpose(moved, perm=tuple(int(i) for i in np.argsort(order))),)


def _extremum_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Shared evenly by all that attain it (as in JAX)."""
    (x,), axes = args, use.params["axes"]
    attains = b.eq(x, expand(b, out, axes, x.type.shape))
    count = b.sum(b.convert(attains, format=x.type.format), axes=axes)
    return (b.select(attains, expand(b, b.div(ct, count), axes, x.type.shape), zeros(b, x)),)


# Samples and laws.


def _over(*cases: tuple[Type, tuple[int, ...]]) -> tuple[Sample, ...]:
    def make(type: Type, axes: tuple[int, ...], hard: bool) -> Sample:
        maker = draw_extremes if hard else draw
        return sample(type, values=lambda rng: (maker(rng, type),), axes=axes)

    return tuple(make(type, axes, hard) for type, axes in cases for hard in (False, True))


SHAPES = (
    (fmt.f32[()], ()), (fmt.f32[7], (0,)), (fmt.f32[100], (0,)), (fmt.f32[3, 33], (1,)), (fmt.f32[18, 3], (0,)),
    (fmt.f32[3, 4, 5], (0, 2)), (fmt.f32[3, 4, 5], (2, 1, 0)), (fmt.f32[4, 1], (1,)), (fmt.f32[2, 3], ()),
    (fmt.f64[50], (0,)), (fmt.f64[2, 40], (1,)), (fmt.bf16[20], (0,)), (fmt.fixed(4, 12)[20], (0,)), (fmt.i32[40], (0,)), (fmt.i8[3, 17], (1,)),
    (fmt.u8[16], (0,)), (fmt.u32[2, 32], (0, 1)),
)  # fmt: skip


def _single(value: Values, rng: Rng) -> None:
    for format in (fmt.f32, fmt.i8):
        x = extremes(format)
        assert same_bits(value(x[:, None], axes=(1,)), x)


SINGLE = law("of one term: that term", _single)


def _whole_numbers(value: Values, rng: Rng) -> None:
    x = rng.integers(-1000, 1000, (7, 50))
    assert (value(x.astype(np.float32), axes=(1,)) == value(x, axes=(1,))).all()


def _ones(value: Values, rng: Rng) -> None:
    assert value(np.ones((4, 37), np.float32), axes=(0, 1)) == 1


def _attained(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, fmt.f32[60])
    clean = x[~np.isnan(x)]
    assert value(clean, axes=(0,)) in clean
    assert np.isnan(value(np.append(x, np.float32("nan")), axes=(0,)))


reduction(
    "sum", "The sum over `axes`, in lane order.", lambda format: plus, kinds=NUMBER,
    vjp=_sum_vjp, samples=_over(*SHAPES),
    laws=(SINGLE, law("floats add whole numbers as integers do", _whole_numbers)),
)  # fmt: skip
reduction(
    "prod", "The product over `axes`, in lane order.", lambda format: lambda k, x, y: x * y,
    kinds=NUMBER, vjp=_prod_vjp, samples=_over(*SHAPES), laws=(SINGLE, law("of ones: 1", _ones)),
)  # fmt: skip
ATTAINED = law("one of the terms; NaN with a NaN", _attained)
reduction(
    "max", "The largest over `axes`; NaN if any is. Derivative: shared evenly by all that attain it.",
    _extremum(greatest), kinds=NUMBER, vjp=_extremum_vjp, samples=_over(*SHAPES), laws=(SINGLE, ATTAINED),
)  # fmt: skip
reduction(
    "min", "The smallest over `axes`; NaN if any is. Derivative: shared evenly by all that attain it.",
    _extremum(least), kinds=NUMBER, vjp=_extremum_vjp, samples=_over(*SHAPES), laws=(SINGLE, ATTAINED),
)  # fmt: skip

TRUTHS = _over(
    (fmt.bool_[()], ()),
    (fmt.bool_[3], (0,)),
    (fmt.bool_[4, 40], (1,)),
    (fmt.bool_[2, 3, 2], (0, 2)),
)
BOOL = NoGradient("booleans have no derivative")


def _flips(neutral: bool) -> Law:
    def check(value: Values, rng: Rng) -> None:
        x = np.full(20, neutral)
        assert value(x, axes=(0,)) == neutral
        x[rng.integers(20)] = not neutral
        assert value(x, axes=(0,)) != neutral

    return law("one term decides", check)


reduction(
    "any", "Whether some element over `axes` is true.", lambda format: lambda k, x, y: x | y,
    kinds=BOOLEAN, vjp=BOOL, samples=TRUTHS, laws=(_flips(False),),
)  # fmt: skip
reduction(
    "all", "Whether all elements over `axes` are true.", lambda format: lambda k, x, y: x & y,
    kinds=BOOLEAN, vjp=BOOL, samples=TRUTHS, laws=(_flips(True),),
)  # fmt: skip


# Where the extremum is.


def _argument(
    name: str, doc: str, better: Callable[[Value, Value], Value], numpy: Callable[..., AnyArray]
) -> Op:
    """Registers argmax or argmin: the first of the best; the first NaN if there is one."""

    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, 1, params, "axis")
        check_kind(name, types[0], NUMBER)
        axis = check_axis(name, types[0], params["axis"])
        if not types[0].shape[axis]:
            raise SignatureError(f"`{name}` of nothing: {types[0]} along axis {axis}")
        return Type(fmt.i32, _rest(types[0].shape, (axis,)))

    def value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
        return np.asarray(numpy(arrays[0], axis=use.params["axis"])).astype(np.int32)

    def fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
        (x,), axes = args, (use.params["axis"],)
        n, real = x.type.shape[axes[0]], x.type.format.is_float
        with w.loops(use.out.shape) as index:
            best = w.local(x(*_merge(index, (integer(0),), axes)))
            place = w.local(integer(0))
            if n > 1:
                with w.loop(n, start=1) as i:
                    v = w.let(x(*_merge(index, (i,), axes)))
                    wins = better(v, best)
                    wins = w.let(wins | ((v != v) & (best == best)) if real else wins)
                    w.assign(place, w.select(wins, i, place))
                    w.assign(best, w.select(wins, v, best))
            out.put(index, place)

    def cost(use: Use) -> int:
        return max(0, use.types[0].size - use.out.size)

    def first(value: Values, rng: Rng) -> None:
        assert value(np.zeros((3, 5), np.float32), axis=1).tolist() == [0, 0, 0]
        assert value(np.array([1, np.nan, 3, np.nan], np.float32), axis=0) == 1

    samples = tuple(
        sample(type, values=(lambda t, f: lambda rng: (f(rng, t),))(type, maker), axis=axis)
        for type, axis in (
            (fmt.f32[7], 0),
            (fmt.f32[3, 4], 1),
            (fmt.f64[3, 4, 2], 1),
            (fmt.i8[20], 0),
            (fmt.u8[5, 1], 1),
        )
        for maker in (draw, draw_extremes)
    )
    vjp = NoGradient("an index is piecewise constant")
    laws = (law("the first wins; NaN wins", first),)
    return register(
        Op(
            name,
            doc,
            "reduce",
            signature,
            value,
            Kernel(fill),
            vjp,
            along(name),
            cost,
            samples,
            laws,
        )
    )


_argument(
    "argmax",
    "Where the largest is along `axis`: the first; the first NaN if any.",
    lambda v, b: v > b,
    np.argmax,
)
_argument(
    "argmin",
    "Where the smallest is along `axis`: the first; the first NaN if any.",
    lambda v, b: v < b,
    np.argmin,
)
