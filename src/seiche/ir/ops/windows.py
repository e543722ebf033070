"""Sliding windows over spatial axes, and their adjoint: a convolution is `patches`, then `matmul`.

`x` is `[*batch, *spatial, channels]` and has as many spatial axes as `window` has entries. Along each of them, tap k of
output o reads position `o * stride + k * dilation - low`; what lies outside is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Const, Expr, Result, Writer, carrier
from seiche.ir.op import AnyArray, Cotangents, Element, Kernel, Op, SignatureError, Use, register
from seiche.ir.ops import batching
from seiche.ir.ops.define import NUMBER, caller, check_kind, expect, law, sample
from seiche.ir.ops.indexing import Index, plus, times
from seiche.ir.ops.moves import chosen, free, within
from seiche.numbers.formats import Shape, Type, bf16, bool_, f32, f64, i8

Value = Callable[..., AnyArray]


@dataclass(frozen=True)
class Axis:
    """One spatial axis: n positions, `window` taps, `out` places of the window."""

    n: int
    window: int
    stride: int
    dilation: int
    low: int
    high: int

    @property
    def out(self) -> int:
        """Number of places where the window fits.

        >>> Axis(n=5, window=3, stride=2, dilation=1, low=1, high=1).out
        3
        """
        reach = (self.window - 1) * self.dilation + 1
        return (self.n + self.low + self.high - reach) // self.stride + 1

    def position(self, place: Index, tap: Index) -> Index:
        """Which position a tap reads; may lie outside."""
        return plus(plus(times(place, self.stride), times(tap, self.dilation)), -self.low)

    @property
    def spread(self) -> tuple[int, int]:
        """All positions that are read, the end excluded."""
        last = (self.out - 1) * self.stride + (self.window - 1) * self.dilation
        return -self.low, last - self.low + 1

    def inside(self, tap: int) -> tuple[slice, slice]:
        """The places where a tap lies inside, and the positions that it reads there."""
        start = tap * self.dilation - self.low
        at = [p for p in range(self.out) if 0 <= start + p * self.stride < self.n]
        if not at:
            return slice(0, 0), slice(0, 0)
        first, last = (start + p * self.stride for p in (at[0], at[-1]))
        return slice(at[0], at[-1] + 1), slice(first, last + 1, self.stride)


@dataclass(frozen=True)
class Geometry:
    """The shapes of both sides."""

    batch: Shape
    axes: tuple[Axis, ...]
    channels: int

    @property
    def spatial(self) -> Shape:
        """Shape of x."""
        return (*self.batch, *(a.n for a in self.axes), self.channels)

    @property
    def unfolded(self) -> Shape:
        """Shape of its patches."""
        places, taps = (a.out for a in self.axes), (a.window for a in self.axes)
        return (*self.batch, *places, *taps, self.channels)


def axes_of(spatial: Shape, window: Shape, params: Params) -> tuple[Axis, ...]:
    """The axes of an op; raises SignatureError where no window fits."""
    parts = [params[p] for p in ("strides", "dilation", "low", "high")]
    if any(len(p) != len(window) for p in parts) or len(spatial) != len(window):
        raise SignatureError("strides, dilation, low and high need an entry for each spatial axis")
    axes = tuple(Axis(*row) for row in zip(spatial, window, *parts, strict=True))
    for a in axes:
        if min(a.n, a.window, a.stride, a.dilation) < 1:
            raise SignatureError(f"sizes, strides and dilation are at least 1: {a}")
        if a.out < 1:
            raise SignatureError(f"the window does not fit: {a}")
    return axes


def geometry(x: Type, window: Shape, params: Params) -> Geometry:
    """Of `patches`, from x."""
    rank = len(window)
    if len(x.shape) < rank + 1:
        raise SignatureError(f"{x} has no {rank} spatial axes and channels")
    spatial = x.shape[-rank - 1 : -1]
    return Geometry(x.shape[: -rank - 1], axes_of(spatial, window, params), x.shape[-1])


def geometry_back(y: Type, spatial: Shape, params: Params) -> Geometry:
    """Of `unpatch`, from the patches."""
    rank = len(spatial)
    if len(y.shape) < 2 * rank + 1:
        raise SignatureError(f"{y} has no {rank} axes of places, {rank} of taps and channels")
    window = y.shape[-rank - 1 : -1]
    g = Geometry(y.shape[: -2 * rank - 1], axes_of(spatial, window, params), y.shape[-1])
    if g.unfolded != y.shape:
        raise SignatureError(f"{y} are no patches of {spatial}: these have shape {g.unfolded}")
    return g


def corners(g: Geometry, tap: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Numpy indices of one tap: where it stands in the patches, and what it reads."""
    places, positions = zip(*(a.inside(k) for a, k in zip(g.axes, tap, strict=True)), strict=True)
    return places, positions


def taps(g: Geometry) -> list[tuple[int, ...]]:
    """All taps in the declared order: row-major, ascending."""
    return list(product(*(range(a.window) for a in g.axes)))


def shared(params: Params) -> Params:
    """The parameters that both sides have."""
    return {p: params[p] for p in ("strides", "dilation", "low", "high")}


# ------------------------------------------------------------------------------------------ patches


def patches_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("patches", types, 1, params, "window", "strides", "dilation", "low", "high")
    return Type(types[0].format, geometry(types[0], tuple(params["window"]), params).unfolded)


def patches_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    g = geometry(use.types[0], tuple(use.params["window"]), use.params)
    out = np.zeros(use.out.shape, arrays[0].dtype)
    for tap in taps(g):
        places, positions = corners(g, tap)
        out[(..., *places, *tap, slice(None))] = arrays[0][(..., *positions, slice(None))]
    return out


def patches_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    g = geometry(use.types[0], tuple(use.params["window"]), use.params)
    first, rank = len(g.batch), len(g.axes)
    source: list[Index] = []
    conditions: list[Expr] = []
    for k, a in enumerate(g.axes):
        position = a.position(index[first + k], index[first + rank + k])
        source.append(within(w, position, a.spread, a.n, conditions))
    zero = Const(0, carrier(use.out.format))
    return chosen(w, conditions, lambda: args[0](*index[:first], *source, index[-1]), zero)


def patches_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    rank = len(use.params["window"])
    spatial = use.types[0].shape[-rank - 1 : -1]
    return (b.unpatch(ct, spatial=spatial, **shared(use.params)),)


def patches_of_one(value: Value, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 3)).astype("float32")
    y = value(x, window=(1,), strides=(1,), dilation=(1,), low=(0,), high=(0,))
    np.testing.assert_array_equal(y.reshape(x.shape), x)


patches = register(
    Op(
        name="patches",
        doc="`patches(x, window=, strides=, dilation=, low=, high=)`: `[*batch, *spatial, C]` to "
        "`[*batch, *places, *window, C]`, zero outside; tap k of place o reads `o * stride + k * dilation - low`.",
        family="moves",
        signature=patches_signature,
        value=patches_value,
        code=Element(patches_at, cheap=True),
        vjp=patches_vjp,
        batch=batching.alike("patches"),
        cost=free,
        samples=(
            sample(f32[6, 2], window=(3,), strides=(1,), dilation=(1,), low=(0,), high=(0,)),
            sample(f32[2, 7, 1], window=(3,), strides=(2,), dilation=(2,), low=(4,), high=(1,)),
            sample(f64[4, 5, 2], window=(3, 2), strides=(1, 2), dilation=(1, 1), low=(1, 0), high=(1, 1)),
            sample(f32[2, 3, 3, 3, 1], window=(2, 2, 2), strides=(1, 1, 1), dilation=(1, 2, 1), low=(0, 0, 1), high=(0, 0, -1)),
            sample(bf16[3, 1], window=(1,), strides=(2,), dilation=(1,), low=(-1,), high=(5,)),
            sample(i8[5, 1], window=(2,), strides=(3,), dilation=(3,), low=(1,), high=(0,)),
            sample(bool_[3, 2], window=(3,), strides=(1,), dilation=(1,), low=(2,), high=(0,)),
        ),
        laws=(law("windows of 1 are x itself", patches_of_one),),
    )
)  # fmt: skip

# ------------------------------------------------------------------------------------------ unpatch


def unpatch_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("unpatch", types, 1, params, "spatial", "strides", "dilation", "low", "high")
    check_kind("unpatch", types[0], NUMBER)
    return Type(types[0].format, geometry_back(types[0], tuple(params["spatial"]), params).spatial)


def unpatch_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    g = geometry_back(use.types[0], tuple(use.params["spatial"]), use.params)
    out = np.zeros(use.out.shape, arrays[0].dtype)
    with np.errstate(all="ignore"):
        for tap in taps(g):
            places, positions = corners(g, tap)
            out[(..., *positions, slice(None))] += arrays[0][(..., *places, *tap, slice(None))]
    return out


def unpatch_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    g = geometry_back(use.types[0], tuple(use.params["spatial"]), use.params)
    zero = Const(0, carrier(use.out.format))
    with w.loops(use.out.shape) as index:
        out.put(index, zero)
    with (
        w.loops(g.batch) as batch,
        w.loops(tuple(a.window for a in g.axes), parallel=False) as tap,
        w.loops(tuple(a.out for a in g.axes)) as place,
    ):
        source: list[Index] = []
        conditions: list[Expr] = []
        for a, p, k in zip(g.axes, place, tap, strict=True):
            source.append(within(w, a.position(p, k), a.spread, a.n, conditions))
        with guarded(w, conditions), w.loop(g.channels, parallel=True) as c:
            there = (*batch, *source, c)
            out.put(there, out.get(there) + args[0](*batch, *place, *tap, c))


def guarded(w: Writer, conditions: list[Expr]) -> AbstractContextManager[None]:
    """Statements that run where all the conditions hold."""
    if not conditions:
        return nullcontext()
    every = conditions[0]
    for c in conditions[1:]:
        every = every & c
    return w.when(every)


def unpatch_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    rank = len(use.params["spatial"])
    window = use.types[0].shape[-rank - 1 : -1]
    return (b.patches(ct, window=window, **shared(use.params)),)


def unpatch_is_adjoint(value: Value, rng: np.random.Generator) -> None:
    how = {"strides": (2,), "dilation": (2,), "low": (3,), "high": (1,)}
    x = rng.normal(size=(2, 7, 3))
    y = caller("patches")(x, window=(3,), **how)
    ct = rng.normal(size=y.shape)
    back = value(ct, spatial=(7,), **how)
    np.testing.assert_allclose((y * ct).sum(), (x * back).sum(), rtol=1e-12)


unpatch = register(
    Op(
        name="unpatch",
        doc="`unpatch(y, spatial=, strides=, dilation=, low=, high=)`: the adjoint of `patches`: from zero, each position "
        "sums the taps that read it, taps ascending in row-major order.",
        family="moves",
        signature=unpatch_signature,
        value=unpatch_value,
        code=Kernel(unpatch_fill),
        vjp=unpatch_vjp,
        batch=batching.alike("unpatch"),
        cost=lambda use: use.types[0].size,
        samples=(
            sample(f32[4, 3, 2], spatial=(6,), strides=(1,), dilation=(1,), low=(0,), high=(0,)),
            sample(f32[2, 4, 3, 1], spatial=(7,), strides=(2,), dilation=(2,), low=(4,), high=(1,)),
            sample(f64[4, 3, 3, 2, 2], spatial=(4, 5), strides=(1, 2), dilation=(1, 1), low=(1, 0), high=(1, 1)),
            sample(bf16[4, 1, 1], spatial=(3,), strides=(2,), dilation=(1,), low=(-1,), high=(5,)),
            sample(i8[1, 2, 1], spatial=(5,), strides=(3,), dilation=(3,), low=(1,), high=(0,)),
        ),
        laws=(law("the adjoint of patches", unpatch_is_adjoint),),
    )
)  # fmt: skip
