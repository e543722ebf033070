"""Functions on tensors, with numpy's names, arguments and broadcasting. All are made of the op table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.stream import (
    Stream,
    Tensor,
    apply,
    as_stream,
    binary,
    broadcast_to,
    constant,
    together,
)
from seiche.numbers import formats
from seiche.numbers.formats import Format, Shape

Axis: TypeAlias = "int | tuple[int, ...] | None"

METHODS = frozenset(
    "sum prod mean variance std max min argmax argmin any all cumsum cumprod transpose swapaxes squeeze clip round dot "
    "flatten take sort argsort".split()
)
"""Functions that are methods of streams too."""


def _unary(op: str, doc: str) -> Callable[[Tensor], Stream]:
    def function(x: Tensor) -> Stream:
        return apply(op, as_stream(x))

    function.__name__ = function.__qualname__ = op
    function.__doc__ = doc
    return function


exp = _unary("exp", "e to the x.")
expm1 = _unary("expm1", "exp(x) - 1, exact near 0.")
log = _unary("log", "The natural logarithm; -inf at 0, NaN below.")
log1p = _unary("log1p", "log(1 + x), exact near 0.")
sqrt = _unary("sqrt", "The square root, correctly rounded; NaN below 0.")
square = _unary("square", "x * x.")
sin = _unary("sin", "The sine of radians.")
cos = _unary("cos", "The cosine of radians.")
tan = _unary("tan", "The tangent of radians.")
asin = _unary("asin", "The arc sine.")
acos = _unary("acos", "The arc cosine.")
atan = _unary("atan", "The arc tangent.")
sinh = _unary("sinh", "The hyperbolic sine.")
cosh = _unary("cosh", "The hyperbolic cosine.")
tanh = _unary("tanh", "The hyperbolic tangent.")
erf = _unary("erf", "The error function.")
erfc = _unary("erfc", "1 - erf(x), exact where erf is near 1.")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-x)).")
softplus = _unary("softplus", "log(1 + exp(x)), without overflow.")
floor = _unary("floor", "The largest integer at most x.")
ceil = _unary("ceil", "The smallest integer at least x.")
trunc = _unary("trunc", "x towards zero.")
sign = _unary("sign", "-1, 0 or 1.")
isnan = _unary("isnan", "Whether x is not a number.")
isfinite = _unary("isfinite", "Whether x is neither infinite nor NaN.")
stop_gradient = _unary("stop_gradient", "x, as a constant for derivatives.")


def absolute(x: Tensor) -> Stream:
    """|x|."""
    return apply("abs", as_stream(x))


def round(x: Tensor) -> Stream:
    """The nearest integer, ties to even."""
    return apply("round", as_stream(x))


def relu(x: Tensor) -> Stream:
    """max(x, 0), with derivative 0 at 0."""
    stream = as_stream(x)
    return where(stream > 0, stream, 0)


def silu(x: Tensor) -> Stream:
    """x sigmoid(x)."""
    return as_stream(x) * sigmoid(x)


def gelu(x: Tensor) -> Stream:
    """x times the normal distribution's function of x (Hendrycks & Gimpel 2016, exact form)."""
    stream = as_stream(x)
    return stream * (0.5 * (1 + erf(stream * float(np.sqrt(0.5)))))


def maximum(a: Tensor, b: Tensor) -> Stream:
    """The larger of two; NaN where either is."""
    return binary("maximum", a, b)


def minimum(a: Tensor, b: Tensor) -> Stream:
    """The smaller of two; NaN where either is."""
    return binary("minimum", a, b)


def power(a: Tensor, b: Tensor) -> Stream:
    """a to the b."""
    return binary("pow", a, b)


def atan2(y: Tensor, x: Tensor) -> Stream:
    """The angle of the point (x, y), in radians."""
    return binary("atan2", y, x)


def clip(x: Tensor, low: Tensor, high: Tensor) -> Stream:
    """x, kept between low and high."""
    return minimum(maximum(x, low), high)


def where(c: Tensor, yes: Any, no: Any) -> Any:
    """`yes` where c holds, else `no`, element by element; trees too. Both are computed."""
    cond = as_stream(c)

    def leaf(a: Tensor, b: Tensor) -> Stream:
        try:
            first, second = together(a, b)
            shape = tuple(np.broadcast_shapes(cond.shape, first.shape))
            parts = (broadcast_to(x, shape) for x in (cond, first, second))
            return apply("select", *parts)
        except ValueError:
            raise fail("SE201", f"where: shapes {cond.shape} and {first.shape} do not broadcast", trace.here()) from None

    return tree.map_tree(leaf, yes, no)


def convert(x: Tensor, format: Format) -> Stream:
    """x in another format: `x.to(format)`."""
    return as_stream(x, format).to(format)


def bitcast(x: Stream, format: Format) -> Stream:
    """The same bits read as another format of that width."""
    return apply("bitcast", x, format=format)


# Shapes.


def axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as sorted non-negative numbers; all of them for None. Raises SE202.

    >>> axes(-1, 3), axes(None, 2)
    ((2,), (0, 1))
    """
    given = tuple(range(ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    wrong = [a for a in given if not -ndim <= a < ndim]
    if wrong:
        raise fail("SE202", f"axis {wrong[0]} of a tensor with {ndim} axes", trace.here())
    return tuple(sorted({a % ndim for a in given}))


def reshape(x: Tensor, shape: int | Sequence[int]) -> Stream:
    """x in another shape, row-major; one length may be -1."""
    stream = as_stream(x)
    sizes = [shape] if isinstance(shape, int) else list(shape)
    if sizes.count(-1) == 1:
        known = int(np.prod([n for n in sizes if n != -1], dtype=int))
        sizes[sizes.index(-1)] = stream.size // (known or 1)
    return stream if tuple(sizes) == stream.shape else apply("reshape", stream, shape=tuple(sizes))


def transpose(x: Tensor, perm: Sequence[int] | None = None) -> Stream:
    """x with its axes permuted; reversed when `perm` is not given."""
    stream = as_stream(x)
    order = range(stream.ndim)[::-1] if perm is None else perm
    return apply("transpose", stream, perm=tuple(a % stream.ndim for a in order))


def swapaxes(x: Tensor, a: int, b: int) -> Stream:
    """x with two axes exchanged."""
    order = list(range(as_stream(x).ndim))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def moveaxis(x: Tensor, source: int, destination: int) -> Stream:
    """x with one axis moved to another place."""
    order = list(range(as_stream(x).ndim))
    moved = order.pop(source)
    order.insert(destination % (len(order) + 1), moved)
    return transpose(x, order)


def expand_dims(x: Tensor, axis: int) -> Stream:
    """x with a new axis of length 1."""
    shape = list(as_stream(x).shape)
    shape.insert(axis % (len(shape) + 1), 1)
    return reshape(x, shape)


def squeeze(x: Tensor, axis: Axis = None) -> Stream:
    """x without axes of length 1."""
    stream = as_stream(x)
    gone = [a for a in range(stream.ndim) if stream.shape[a] == 1] if axis is None else axes(axis, stream.ndim)
    return reshape(stream, [n for a, n in enumerate(stream.shape) if a not in gone])


def flatten(x: Tensor) -> Stream:
    """x as a vector."""
    return reshape(x, -1)


def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Stream:
    """Tensors joined along an axis they have."""
    streams = _of_one_format(xs)
    return streams[0] if len(streams) == 1 else apply("concat", *streams, axis=axis % (streams[0].ndim or 1))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors (or trees of them) of one shape side by side, along a new axis."""
    return tree.map_tree(lambda *leaves: concatenate([expand_dims(x, axis) for x in _of_one_format(leaves)], axis), *xs)


def _of_one_format(xs: Sequence[Tensor]) -> list[Stream]:
    format = next((x.format for x in xs if isinstance(x, Stream)), None)
    return [as_stream(x, format) for x in xs]


def split(x: Stream, parts: int | Sequence[int], axis: int = 0) -> list[Stream]:
    """x cut into equal parts, or at the places given."""
    length = x.shape[axis]
    if isinstance(parts, int):
        if length % parts:
            raise fail("SE201", f"{length} does not split into {parts} equal parts", trace.here())
        parts = range(length // parts, length, length // parts)
    bounds = [0, *parts, length]
    key: list[Any] = [slice(None)] * x.ndim
    cut = []
    for low, high in zip(bounds, bounds[1:], strict=False):
        key[axis] = slice(low, high)
        cut.append(x[tuple(key)])
    return cut


def pad(x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0) -> Stream:
    """x with (before, after) more elements along each axis, of that value."""
    low, high = (tuple(w[i] for w in widths) for i in (0, 1))
    return apply("pad", as_stream(x), low=low, high=high, value=value)


def flip(x: Stream, axis: Axis = None) -> Stream:
    """x in reverse order along axes."""
    gone = axes(axis, x.ndim)
    return x[tuple(slice(None, None, -1) if a in gone else slice(None) for a in range(x.ndim))]


def roll(x: Stream, shift: int, axis: int = 0) -> Stream:
    """x moved along an axis; what leaves at one end enters at the other."""
    cut = -shift % x.shape[axis]
    first, second = split(x, [cut], axis) if cut else (x, None)
    return x if second is None else concatenate([second, first], axis)


def repeat(x: Tensor, n: int, axis: int = 0) -> Stream:
    """Each element n times."""
    stream = as_stream(x)
    axis %= stream.ndim
    shape = list(stream.shape)
    wide = broadcast_to(expand_dims(stream, axis + 1), (*shape[: axis + 1], n, *shape[axis + 1 :]))
    shape[axis] *= n
    return reshape(wide, shape)


def zeros(shape: int | Shape, format: Format = formats.f32) -> Stream:
    """A constant of zeros."""
    return constant(np.zeros(shape, format.dtype), format)


def ones(shape: int | Shape, format: Format = formats.f32) -> Stream:
    """A constant of ones."""
    return constant(np.ones(shape, format.dtype), format)


def zeros_like(x: Any) -> Any:
    """Zeros of the same shapes and formats."""
    return tree.map_tree(lambda s: zeros(s.shape, s.format), x)


def arange(n: int, format: Format = formats.i32) -> Stream:
    """0, 1, ... n - 1."""
    return constant(np.arange(n).astype(format.dtype), format)


def eye(n: int, format: Format = formats.f32) -> Stream:
    """The identity matrix."""
    return constant(np.eye(n).astype(format.dtype), format)


# Reductions.


def _reduce(op: str, x: Tensor, axis: Axis, keepdims: bool) -> Stream:
    stream = as_stream(x)
    gone = axes(axis, stream.ndim)
    out = apply(op, stream, axes=gone) if gone else stream
    return reshape(out, [1 if a in gone else n for a, n in enumerate(stream.shape)]) if keepdims else out


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The sum over axes, in the declared order (lanes of 16)."""
    return _reduce("sum", x, axis, keepdims)


def prod(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The product over axes."""
    return _reduce("prod", x, axis, keepdims)


def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The largest element over axes."""
    return _reduce("max", x, axis, keepdims)


def min(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The smallest element over axes."""
    return _reduce("min", x, axis, keepdims)


def any(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """Whether some element over axes holds."""
    return _reduce("any", x, axis, keepdims)


def all(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """Whether every element over axes holds."""
    return _reduce("all", x, axis, keepdims)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The arithmetic mean over axes."""
    stream = as_stream(x)
    count = np.prod([stream.shape[a] for a in axes(axis, stream.ndim)], dtype=int)
    return sum(stream, axis, keepdims) / float(count)


def variance(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The variance over axes (divided by n)."""
    stream = as_stream(x)
    return mean(square(stream - mean(stream, axis, True)), axis, keepdims)


def std(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The standard deviation over axes."""
    return sqrt(variance(x, axis, keepdims))


def argmax(x: Tensor, axis: int = -1) -> Stream:
    """The index (i32) of the largest element along an axis; the first of equals."""
    stream = as_stream(x)
    return apply("argmax", stream, axis=axes(axis, stream.ndim)[0])


def argmin(x: Tensor, axis: int = -1) -> Stream:
    """The index (i32) of the smallest element along an axis; the first of equals."""
    stream = as_stream(x)
    return apply("argmin", stream, axis=axes(axis, stream.ndim)[0])


def _cumulative(op: str, x: Tensor, axis: int, reverse: bool) -> Stream:
    stream = as_stream(x)
    return apply(op, stream, axis=axes(axis, stream.ndim)[0], reverse=reverse)


def cumsum(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running sums along an axis."""
    return _cumulative("cumsum", x, axis, reverse)


def cumprod(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running products along an axis."""
    return _cumulative("cumprod", x, axis, reverse)


def cummax(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running maxima along an axis."""
    return _cumulative("cummax", x, axis, reverse)


def logsumexp(x: Tensor, axis: int = -1, keepdims: bool = False) -> Stream:
    """log of the sum of exponentials, without overflow."""
    stream = as_stream(x)
    top = stop_gradient(max(stream, axis, True))
    total = log(sum(exp(stream - top), axis, True)) + top
    return total if keepdims else squeeze(total, axis)


def softmax(x: Tensor, axis: int = -1) -> Stream:
    """Exponentials divided by their sum."""
    stream = as_stream(x)
    e = exp(stream - stop_gradient(max(stream, axis, True)))
    return e / sum(e, axis, True)


def log_softmax(x: Tensor, axis: int = -1) -> Stream:
    """log of softmax, without underflow."""
    stream = as_stream(x)
    return stream - logsumexp(stream, axis, True)


def norm(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The Euclidean norm over axes."""
    return sqrt(sum(square(x), axis, keepdims))


# Products and systems.


def matmul(a: Tensor, b: Tensor) -> Stream:
    """The matrix product by numpy's rules for vectors and batches; products are summed in ascending order."""
    from seiche.lang.products import matmul as product

    return product(*_pair(a, b))


def _pair(a: Tensor, b: Tensor) -> tuple[Stream, Stream]:
    format = next((x.format for x in (a, b) if isinstance(x, Stream)), None)
    first, second = as_stream(a, format), as_stream(b, format)
    if first.format != second.format:
        together(first[(0,) * first.ndim], second[(0,) * second.ndim])
    return first, second


def dot(a: Tensor, b: Tensor) -> Stream:
    """matmul."""
    return matmul(a, b)


def outer(a: Tensor, b: Tensor) -> Stream:
    """Every product of an element of vector a and one of vector b."""
    first, second = _pair(a, b)
    return reshape(first, (-1, 1)) * reshape(second, (1, -1))


def einsum(spec: str, *xs: Tensor) -> Stream:
    """A sum of products by Einstein's convention, as numpy writes it: `einsum("bik,bkj->bij", a, b)`."""
    from seiche.lang.products import einsum as product

    format = next((x.format for x in xs if isinstance(x, Stream)), None)
    return product(spec, [as_stream(x, format) for x in xs])


def conv(
    x: Tensor,
    w: Tensor,
    *,
    strides: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "valid",
    groups: int = 1,
) -> Stream:
    """A convolution (correlation) of `x [*batch, *spatial, in]` with `w [*window, in / groups, out]`.

    `padding` is "valid", "same", "causal" (all before) or pairs (before, after) per spatial axis; zeros.
    """
    from seiche.lang.products import convolution

    first, second = _pair(x, w)
    return convolution(first, second, strides, dilation, padding, groups)


def cholesky(a: Tensor) -> Stream:
    """The lower factor of a symmetric positive definite matrix; NaN otherwise."""
    return apply("cholesky", as_stream(a))


def solve(a: Tensor, b: Tensor) -> Stream:
    """x with a x = b, by elimination with partial pivoting; b is a vector or a matrix."""
    first, second = _pair(a, b)
    return _with_columns("solve", first, second)


def triangular_solve(a: Tensor, b: Tensor, lower: bool = True, trans: bool = False) -> Stream:
    """x with a x = b for a triangular a (its transpose with `trans`)."""
    first, second = _pair(a, b)
    return _with_columns("triangular_solve", first, second, lower=lower, trans=trans)


def _with_columns(op: str, a: Stream, b: Stream, **params: Any) -> Stream:
    if b.ndim == a.ndim - 1:
        return squeeze(apply(op, a, expand_dims(b, -1), **params), -1)
    return apply(op, a, b, **params)


def inv(a: Tensor) -> Stream:
    """The inverse of a small matrix."""
    stream = as_stream(a)
    n = stream.shape[-1]
    return solve(stream, broadcast_to(eye(n, stream.format), stream.shape))


# Choosing and ordering.


def take(x: Tensor, indices: Tensor, axis: int = 0) -> Stream:
    """Rows of x by index; indices out of range are clamped."""
    return apply("take", as_stream(x), as_stream(indices), axis=axis % as_stream(x).ndim)


def take_along(x: Tensor, indices: Tensor, axis: int = -1) -> Stream:
    """Elements of x by index along an axis, as numpy's take_along_axis."""
    return apply("take_along", as_stream(x), as_stream(indices), axis=axis % as_stream(x).ndim)


def scatter_add(x: Tensor, indices: Tensor, values: Tensor, axis: int = 0) -> Stream:
    """x with rows added at indices, in ascending order; indices out of range are ignored."""
    stream = as_stream(x)
    return apply("scatter_add", stream, as_stream(indices), as_stream(values, stream.format), axis=axis % stream.ndim)


def one_hot(i: Tensor, depth: int, format: Format = formats.f32) -> Stream:
    """1 at position i of a new last axis of that depth, 0 elsewhere."""
    return apply("one_hot", as_stream(i), depth=depth, format=format)


def sort(x: Tensor, axis: int = -1, descending: bool = False) -> Stream:
    """Sorted along an axis; NaN last."""
    return apply("sort", as_stream(x), axis=axis % as_stream(x).ndim, descending=descending)


def argsort(x: Tensor, axis: int = -1, descending: bool = False) -> Stream:
    """The indices (i32) that sort, stably; NaN last."""
    return apply("argsort", as_stream(x), axis=axis % as_stream(x).ndim, descending=descending)


def top_k(x: Tensor, k: int) -> tuple[Stream, Stream]:
    """The k largest along the last axis, descending, and their indices (i32)."""
    stream = as_stream(x)
    order = argsort(stream, -1, descending=True)[..., :k]
    return take_along(stream, order, -1), order


def round_stochastic(x: Tensor, bits: Stream, format: Format) -> Stream:
    """x in a smaller format, rounded up with the probability of its distance: `bits` are u32 draws of its shape."""
    return apply("round_stochastic", as_stream(x), bits, format=format)


