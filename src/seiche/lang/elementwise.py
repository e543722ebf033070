"""Functions that act on each element by itself, with numpy's names and broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.builder import broadcast_shapes
from seiche.lang import trace
from seiche.lang.stream import (
    Stream,
    Tensor,
    apply,
    as_stream,
    binary,
    broadcast_to,
    recovering,
    together,
)
from seiche.numbers.formats import Format


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
    return same_form("where", lambda a, b: _select(c, a, b), yes, no)


@recovering
def _select(c: Tensor, yes: Tensor, no: Tensor) -> Stream:
    cond, (first, second) = as_stream(c), together(yes, no)
    try:
        shape = broadcast_shapes(cond.shape, first.shape)
    except ValueError:
        why = ((f"`{x.var.name}` is {x.type}", x.var.loc) for x in (cond, first, second))
        shapes = f"{list(cond.shape)} and {list(first.shape)}"
        raise fail(
            "SE201", f"where: shapes {shapes} do not broadcast", trace.here(), *why
        ) from None
    return apply("select", *(broadcast_to(x, shape) for x in (cond, first, second)))


def same_form(what: str, leaf: Callable[..., Any], first: Any, *others: Any) -> Any:
    """`leaf` on the leaves at the same places of trees; SE201 where they differ in form."""
    try:
        return tree.map_tree(leaf, first, *others)
    except tree.TreeMismatch as error:
        raise fail("SE201", f"{what}: trees of different forms", trace.here(), str(error)) from None


def convert(x: Tensor, format: Format) -> Stream:
    """x in another format: `x.to(format)`."""
    return as_stream(x, format).to(format)


def bitcast(x: Tensor, format: Format) -> Stream:
    """The same bits read as another format of that width."""
    return apply("bitcast", as_stream(x), format=format)
