"""Functions on tensors, with numpy's names, arguments and broadcasting. All are made of the op table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seiche.ir.tiling import Loops
from seiche.lang.elementwise import (
    absolute,
    acos,
    asin,
    atan,
    atan2,
    bitcast,
    ceil,
    clip,
    convert,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    gelu,
    isfinite,
    isnan,
    log,
    log1p,
    maximum,
    minimum,
    power,
    relu,
    round,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    softplus,
    sqrt,
    square,
    stop_gradient,
    tan,
    tanh,
    trunc,
    where,
)
from seiche.lang.reductions import (
    all,
    any,
    argmax,
    argmin,
    cummax,
    cumprod,
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    softmax,
    std,
    sum,
    variance,
)
from seiche.lang.shapes import (
    arange,
    axes,
    axis_of,
    concatenate,
    expand_dims,
    eye,
    flatten,
    flip,
    moveaxis,
    ones,
    pad,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    zeros,
    zeros_like,
)
from seiche.lang.stream import (
    Stream,
    Tensor,
    apply,
    as_stream,
    broadcast_to,
    of_one_format,
    recovering,
    same_format,
)
from seiche.numbers import formats
from seiche.numbers.formats import Format

__all__ = [
    "absolute",
    "acos",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "atan",
    "atan2",
    "axes",
    "bitcast",
    "ceil",
    "cholesky",
    "clip",
    "concatenate",
    "conv",
    "convert",
    "cos",
    "cosh",
    "cummax",
    "cumprod",
    "cumsum",
    "dot",
    "einsum",
    "erf",
    "erfc",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flatten",
    "flip",
    "floor",
    "gelu",
    "inv",
    "isfinite",
    "isnan",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "norm",
    "one_hot",
    "ones",
    "outer",
    "pad",
    "power",
    "prod",
    "relu",
    "repeat",
    "reshape",
    "roll",
    "round",
    "round_stochastic",
    "scatter_add",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "solve",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "sum",
    "swapaxes",
    "take",
    "take_along",
    "tan",
    "tanh",
    "top_k",
    "transpose",
    "triangular_solve",
    "trunc",
    "variance",
    "where",
    "zeros",
    "zeros_like",
]

METHODS = frozenset(
    [
        "sum",
        "prod",
        "mean",
        "variance",
        "std",
        "max",
        "min",
        "argmax",
        "argmin",
        "any",
        "all",
        "cumsum",
        "cumprod",
        "transpose",
        "swapaxes",
        "squeeze",
        "clip",
        "round",
        "dot",
        "flatten",
        "take",
        "sort",
        "argsort",
    ]
)
"""Functions that are methods of streams too."""


# Products and systems.


@recovering
def matmul(
    a: Tensor, b: Tensor, *, accumulate: Format | None = None, loops: Loops | None = None
) -> Stream:
    """The matrix product by numpy's rules for vectors and batches; products are summed in ascending order.

    `accumulate` is the format of the sums and of the result, one that has every value of the arguments': products of i8 are summed in
    i32 that way, exactly (with it, integers of two formats may be multiplied). `loops` says how its loops i, j and k are cut up for
    the hardware (see `tile`); by default the target decides. Raises SE201, SE607.

    >>> import numpy as np, seiche as sc
    >>> weights = np.full((3, 2), 100, np.int8)
    >>> @sc.node
    ... def sums(x: sc.i8[3]) -> sc.i32[2]:
    ...     return sc.matmul(x, weights, accumulate=sc.i32)
    >>> sc.compile(sums, target="c").step(np.array([127, 127, -1], np.int8))
    array([25300, 25300], dtype=int32)
    """
    from seiche.lang.products import matmul as product

    return product(*_pair(a, b, accumulate), accumulate, loops)


def _pair(a: Tensor, b: Tensor, accumulate: Format | None = None) -> tuple[Stream, Stream]:
    """The factors, of one format; integers that are summed in a wider one may differ."""
    if accumulate is not None:
        first, second = as_stream(a), as_stream(b)
        if first.format.is_integer and second.format.is_integer:
            return first, second
    first, second = of_one_format(a, b)
    same_format(first, second)
    return first, second


def dot(a: Tensor, b: Tensor, *, accumulate: Format | None = None) -> Stream:
    """matmul."""
    return matmul(a, b, accumulate=accumulate)


@recovering
def outer(a: Tensor, b: Tensor) -> Stream:
    """Every product of an element of vector a and one of vector b."""
    first, second = _pair(a, b)
    return reshape(first, (-1, 1)) * reshape(second, (1, -1))


@recovering
def einsum(spec: str, *xs: Tensor, accumulate: Format | None = None) -> Stream:
    """A sum of products by Einstein's convention, as numpy writes it: `einsum("bik,bkj->bij", a, b)`.

    `accumulate` is as in `matmul`; sums over a letter of a single argument are taken in it too. Raises SE201.
    """
    from seiche.lang.products import einsum as product

    streams = of_one_format(*xs)
    same_format(*streams)
    return product(spec, list(streams), accumulate)


@recovering
def conv(
    x: Tensor,
    w: Tensor,
    *,
    strides: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "valid",
    groups: int = 1,
    accumulate: Format | None = None,
    loops: Loops | None = None,
) -> Stream:
    """A convolution (correlation) of `x [*batch, *spatial, in]` with `w [*window, in / groups, out]`.

    `padding` is "valid", "same", "causal" (all before) or pairs (before, after) per spatial axis; zeros. `accumulate` is the format of
    the sums and of the result, as in `matmul`. `loops` says how its loops place, out and tap are cut up for the hardware (see `tile`);
    by default the target decides. Raises SE201, SE607.
    """
    from seiche.lang.products import convolution

    first, second = _pair(x, w, accumulate)
    return convolution(first, second, strides, dilation, padding, groups, accumulate, loops)


def cholesky(a: Tensor) -> Stream:
    """The lower factor of a symmetric positive definite matrix; NaN otherwise."""
    return apply("cholesky", as_stream(a))


@recovering
def solve(a: Tensor, b: Tensor) -> Stream:
    """x with a x = b, by elimination with partial pivoting; b is a vector or a matrix."""
    first, second = _pair(a, b)
    return _with_columns("solve", first, second)


@recovering
def triangular_solve(a: Tensor, b: Tensor, lower: bool = True, trans: bool = False) -> Stream:
    """x with a x = b for a triangular a (its transpose with `trans`)."""
    first, second = _pair(a, b)
    return _with_columns("triangular_solve", first, second, lower=lower, trans=trans)


def _with_columns(op: str, a: Stream, b: Stream, **params: Any) -> Stream:
    if b.ndim == a.ndim - 1:
        return squeeze(apply(op, a, expand_dims(b, -1), **params), -1)
    return apply(op, a, b, **params)


@recovering
def inv(a: Tensor) -> Stream:
    """The inverse of a small matrix."""
    stream = as_stream(a)
    n = stream.shape[-1]
    return solve(stream, broadcast_to(eye(n, stream.format), stream.shape))


# Choosing and ordering.


@recovering
def take(x: Tensor, indices: Tensor, axis: int = 0) -> Stream:
    """Rows of x by index; indices out of range are clamped."""
    return apply("take", as_stream(x), as_stream(indices), axis=axis_of(axis, as_stream(x).ndim))


@recovering
def take_along(x: Tensor, indices: Tensor, axis: int = -1) -> Stream:
    """Elements of x by index along an axis, as numpy's take_along_axis."""
    return apply(
        "take_along", as_stream(x), as_stream(indices), axis=axis_of(axis, as_stream(x).ndim)
    )


@recovering
def scatter_add(x: Tensor, indices: Tensor, values: Tensor, axis: int = 0) -> Stream:
    """x with rows added at indices, in ascending order; indices out of range are ignored."""
    stream = as_stream(x)
    return apply(
        "scatter_add",
        stream,
        as_stream(indices),
        as_stream(values, stream.format),
        axis=axis_of(axis, stream.ndim),
    )


@recovering
def one_hot(i: Tensor, depth: int, format: Format = formats.f32) -> Stream:
    """1 at position i of a new last axis of that depth, 0 elsewhere."""
    return apply("one_hot", as_stream(i), depth=depth, format=format)


@recovering
def sort(x: Tensor, axis: int = -1, descending: bool = False) -> Stream:
    """Sorted along an axis; NaN last."""
    return apply("sort", as_stream(x), axis=axis_of(axis, as_stream(x).ndim), descending=descending)


@recovering
def argsort(x: Tensor, axis: int = -1, descending: bool = False) -> Stream:
    """The indices (i32) that sort, stably; NaN last."""
    return apply(
        "argsort", as_stream(x), axis=axis_of(axis, as_stream(x).ndim), descending=descending
    )


def top_k(x: Tensor, k: int) -> tuple[Stream, Stream]:
    """The k largest along the last axis, descending, and their indices (i32)."""
    stream = as_stream(x)
    order = argsort(stream, -1, descending=True)[..., :k]
    return take_along(stream, order, -1), order


def round_stochastic(x: Tensor, bits: Tensor, format: Format) -> Stream:
    """x in a smaller format, rounded up with the probability of its distance: `bits` are u32 draws of its shape."""
    return apply("round_stochastic", as_stream(x), as_stream(bits), format=format)
