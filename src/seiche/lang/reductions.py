"""Functions that bring an axis to less, or run along it, with numpy's names and arguments."""

from __future__ import annotations

import math

from seiche.lang.elementwise import exp, log, sqrt, square, stop_gradient
from seiche.lang.shapes import Axis, axes, axis_of, reshape, squeeze
from seiche.lang.stream import Stream, Tensor, apply, as_stream, recovering


@recovering
def _reduce(op: str, x: Tensor, axis: Axis, keepdims: bool) -> Stream:
    stream = as_stream(x)
    gone = axes(axis, stream.ndim)
    out = apply(op, stream, axes=gone) if gone else stream
    return (
        reshape(out, [1 if a in gone else n for a, n in enumerate(stream.shape)])
        if keepdims
        else out
    )


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


@recovering
def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The arithmetic mean over axes."""
    stream = as_stream(x)
    count = math.prod(stream.shape[a] for a in axes(axis, stream.ndim))
    return sum(stream, axis, keepdims) / float(count)


@recovering
def variance(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The variance over axes (divided by n)."""
    stream = as_stream(x)
    return mean(square(stream - mean(stream, axis, True)), axis, keepdims)


def std(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Stream:
    """The standard deviation over axes."""
    return sqrt(variance(x, axis, keepdims))


@recovering
def argmax(x: Tensor, axis: int = -1) -> Stream:
    """The index (i32) of the largest element along an axis; the first of equals."""
    stream = as_stream(x)
    return apply("argmax", stream, axis=axis_of(axis, stream.ndim))


@recovering
def argmin(x: Tensor, axis: int = -1) -> Stream:
    """The index (i32) of the smallest element along an axis; the first of equals."""
    stream = as_stream(x)
    return apply("argmin", stream, axis=axis_of(axis, stream.ndim))


@recovering
def _cumulative(op: str, x: Tensor, axis: int, reverse: bool) -> Stream:
    stream = as_stream(x)
    return apply(op, stream, axis=axis_of(axis, stream.ndim), reverse=reverse)


def cumsum(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running sums along an axis."""
    return _cumulative("cumsum", x, axis, reverse)


def cumprod(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running products along an axis."""
    return _cumulative("cumprod", x, axis, reverse)


def cummax(x: Tensor, axis: int = 0, reverse: bool = False) -> Stream:
    """Running maxima along an axis."""
    return _cumulative("cummax", x, axis, reverse)


@recovering
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
