"""Running sums, products and extremes along an axis, ascending (descending with `reverse`)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Result, Writer, carrier, integer
from seiche.ir.op import (
    AnyArray,
    Cotangents,
    Kernel,
    Op,
    Sample,
    SignatureError,
    Use,
    Vjp,
    register,
)
from seiche.ir.ops.batching import along
from seiche.ir.ops.define import (
    NUMBER,
    Combine,
    Rng,
    Values,
    check_axis,
    check_kind,
    const,
    draw,
    draw_extremes,
    expect,
    law,
    plus,
    same_bits,
    sample,
    zeros,
)
from seiche.ir.ops.pointwise import greatest, least
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import NUMPY


def _cumulative(name: str, doc: str, combine: Callable[[Format], Combine], vjp: Vjp) -> Op:
    """Registers `out[i] = combine(out[i - 1], x[i])` along `axis`, from `out[0] = x[0]`."""

    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, 1, params, "axis", "reverse")
        check_kind(name, types[0], NUMBER)
        axis = check_axis(name, types[0], params["axis"])
        if not types[0].shape[axis]:
            raise SignatureError(f"`{name}` of nothing: {types[0]} along axis {axis}")
        return types[0]

    def value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
        rows = np.moveaxis(arrays[0], use.params["axis"], 0)
        out = rows.copy()
        order = range(len(rows))[:: -1 if use.params["reverse"] else 1]
        step = combine(carrier(use.out.format))
        with np.errstate(all="ignore"):
            for before, i in pairwise(order):
                out[i] = step(NUMPY, out[before], rows[i])
        return np.moveaxis(out, 0, use.params["axis"])

    def fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
        axis, shape, reverse = use.params["axis"], use.out.shape, use.params["reverse"]
        n, step = shape[axis], combine(carrier(use.out.format))
        with w.loops(shape[:axis]) as outer, w.loops(shape[axis + 1 :]) as inner:
            first = (*outer, integer(n - 1 if reverse else 0), *inner)
            so_far = w.local(args[0](*first))
            out.put(first, so_far)
            if n > 1:
                with w.loop(
                    n - 1 if reverse else n, start=0 if reverse else 1, reverse=reverse
                ) as i:
                    w.assign(so_far, step(w, so_far, args[0](*outer, i, *inner)))
                    out.put((*outer, i, *inner), so_far)

    def cost(use: Use) -> int:
        return use.out.size - use.out.size // max(1, use.out.shape[use.params["axis"]])

    def begins(value: Values, rng: Rng) -> None:
        x = draw_extremes(rng, fmt.f32[5, 6])
        assert same_bits(value(x, axis=1, reverse=False)[:, 0], x[:, 0])
        mirrored = value(x[:, ::-1].copy(), axis=1, reverse=False)[:, ::-1]
        assert same_bits(value(x, axis=1, reverse=True), mirrored)

    laws = (law("begins with the first; reverse mirrors", begins),)
    return register(
        Op(
            name,
            doc,
            "cumulative",
            signature,
            value,
            Kernel(fill),
            vjp,
            along(name),
            cost,
            _samples(),
            laws,
        )
    )


def _samples() -> tuple[Sample, ...]:
    cases = (
        (fmt.f32[1], 0), (fmt.f32[7], 0), (fmt.f32[3, 4], 1), (fmt.f32[5, 2], 0), (fmt.f64[2, 5, 3], 1), (fmt.f64[9], 0),
        (fmt.i32[10], 0), (fmt.i8[3, 9], 1), (fmt.u8[6], 0), (fmt.bf16[8], 0),
    )  # fmt: skip
    return tuple(
        sample(
            type,
            values=(lambda t, f: lambda rng: (f(rng, t),))(type, maker),
            axis=axis,
            reverse=reverse,
        )
        for type, axis in cases
        for maker in (draw, draw_extremes)
        for reverse in (False, True)
    )


# Derivatives.


def _shift(b: Builder, x: Var, by: int, axis: int, reverse: bool, value: float) -> Var:
    """x[i + by] at i, or x[i - by] with `reverse`; `value` where there is none."""
    shape = x.type.shape
    at = [by * (i == axis) for i in range(len(shape))]
    none, ones = (0,) * len(shape), (1,) * len(shape)
    if reverse:
        stop = tuple(n - d for n, d in zip(shape, at, strict=True))
        return b.pad(
            b.slice(x, start=none, stop=stop, step=ones), low=tuple(at), high=none, value=value
        )
    return b.pad(
        b.slice(x, start=tuple(at), stop=shape, step=ones), low=none, high=tuple(at), value=value
    )


def _gathered(b: Builder, decay: Var, x: Var, axis: int, reverse: bool) -> Var:
    """The recurrence `r[i] = x[i] + decay[i] r[i + 1]` in log2(n) doubling steps (Hillis & Steele 1986); linear in x.

    With `reverse`, `r[i - 1]`.
    """
    by = 1
    while by < x.type.shape[axis]:
        x = b.add(x, b.mul(_shift(b, x, by, axis, reverse, 0), decay))
        decay = b.mul(decay, _shift(b, decay, by, axis, reverse, 0))
        by *= 2
    return x


def _cumsum_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    return (b.cumsum(ct, axis=use.params["axis"], reverse=not use.params["reverse"]),)


def _cumprod_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """x'[i] = (product before i) r[i] with r[i] = ct[i] + x[i+1] r[i+1]: no division, so that zeros do no harm."""
    axis, reverse = use.params["axis"], use.params["reverse"]
    if use.out.shape[axis] == 1:
        return (ct,)
    before = _shift(b, out, 1, axis, not reverse, 1)
    return (
        b.mul(_gathered(b, _shift(b, args[0], 1, axis, reverse, 0), ct, axis, reverse), before),
    )


def _record_vjp(order: str) -> Vjp:
    """The cotangents of a run of equal records go to the element that set it, the first to reach it."""

    def vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
        axis, reverse, type = use.params["axis"], use.params["reverse"], use.out
        if type.shape[axis] == 1:
            return (ct,)
        place = b.iota(shape=type.shape, axis=axis, format=fmt.i32)
        first = b.eq(place, const(b, type.shape[axis] - 1 if reverse else 0, place))
        sets = b.apply(order, args[0], _shift(b, out, 1, axis, not reverse, 0))
        sets = b.logical_or(sets, first)
        runs_on = b.select(_shift(b, sets, 1, axis, reverse, 0), zeros(b, ct), const(b, 1, ct))
        return (b.select(sets, _gathered(b, runs_on, ct, axis, reverse), zeros(b, ct)),)

    return vjp


def _along(pick: Callable[..., object]) -> Callable[[Format], Combine]:
    return lambda format: lambda k, x, y: pick(k, format, x, k.let(y))


_cumulative("cumsum", "The running sum along `axis`.", lambda format: plus, _cumsum_vjp)
_cumulative(
    "cumprod",
    "The running product along `axis`.",
    lambda format: lambda k, x, y: x * y,
    _cumprod_vjp,
)
_cumulative(
    "cummax", "The largest so far along `axis`; NaN from the first NaN on. Derivative: to the element that set the record.",
    _along(greatest), _record_vjp("gt"),
)  # fmt: skip
_cumulative(
    "cummin", "The smallest so far along `axis`; NaN from the first NaN on. Derivative: to the element that set the record.",
    _along(least), _record_vjp("lt"),
)  # fmt: skip
