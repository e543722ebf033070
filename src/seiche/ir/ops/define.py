"""What the families of ops share: signatures, pointwise records, strict sums, values for samples.

A pointwise op is one scalar function over the kit, `fn(k, format, *xs)`: numpy runs it, a `Writer` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import (
    Access,
    Binary,
    Choose,
    Convert,
    Expr,
    Intrinsic,
    Invoke,
    Let,
    Name,
    Unary,
    Writer,
    carrier,
)
from seiche.ir.op import (
    OPS,
    AnyArray,
    Element,
    Law,
    NoGradient,
    Op,
    Sample,
    SignatureError,
    Use,
    Vjp,
    register,
    use,
)
from seiche.ir.ops.batching import alike
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Shape, Type
from seiche.numbers.kit import NUMPY, Kit, Value
from seiche.numbers.rounding import round_nearest

Body: TypeAlias = Callable[..., Value]
"""`body(k, *xs)`: a scalar function over the kit."""

Scalar: TypeAlias = Callable[..., Value]
"""`fn(k, format, *xs)`: the same for every carrier format (that of the first argument)."""

Writing: TypeAlias = Literal["once", "let", "call"]
"""How a scalar function is written: `once` reads each argument once, `let` names them first, `call` is out of line."""

Rng: TypeAlias = np.random.Generator

Values: TypeAlias = Callable[..., AnyArray]
"""`value(*arrays, **params)`: an op, its types read off the arrays."""


# Signatures.


@dataclass(frozen=True)
class Kinds:
    """A set of formats, and how a message calls it."""

    text: str
    has: Callable[[Format], bool]


REAL = Kinds("real formats", lambda f: f.is_float)
NUMBER = Kinds("numbers", lambda f: f.is_float or f.is_integer)
INTEGER = Kinds("integers", lambda f: f.is_integer)
BOOLEAN = Kinds("bool", lambda f: f.kind == "bool")
ANY = Kinds("all formats", lambda f: True)


def expect(name: str, types: tuple[Type, ...], arity: int, params: Params, *names: str) -> None:
    """Raises SignatureError unless there are `arity` arguments and exactly the static parameters `names`.

    >>> expect("sum", (fmt.f32[3],), 1, {"axes": (0,)}, "axes")
    """
    if len(types) != arity:
        raise SignatureError(
            f"`{name}` takes {arity} argument{'s' * (arity != 1)}, not {len(types)}"
        )
    if set(params) != set(names):
        wanted = ", ".join(f"`{n}`" for n in names) or "none"
        given = ", ".join(f"`{n}`" for n in params) or "none"
        raise SignatureError(f"static parameters of `{name}`: {wanted}; given: {given}")


def check_kind(name: str, type: Type, kinds: Kinds) -> None:
    """Raises SignatureError unless the type's format is one of `kinds`."""
    if not kinds.has(type.format):
        raise SignatureError(f"`{name}` is defined on {kinds.text}, not on {type}")


def check_same(name: str, types: Sequence[Type]) -> None:
    """Raises SignatureError unless all shapes and formats are equal.

    >>> check_same("add", (fmt.f32[3], fmt.f32[4]))
    Traceback (most recent call last):
        ...
    seiche.ir.op.SignatureError: `add` needs equal types, not f32[3] and f32[4]
    """
    for other in types[1:]:
        if other != types[0]:
            raise SignatureError(f"`{name}` needs equal types, not {types[0]} and {other}")


def check_axis(name: str, type: Type, axis: Any) -> int:
    """The axis, counted from 0; raises SignatureError where there is none."""
    if not isinstance(axis, int) or not 0 <= axis < len(type.shape):
        raise SignatureError(f"`{name}`: {type} has no axis {axis!r}")
    return axis


def check_axes(name: str, type: Type, axes: Any) -> tuple[int, ...]:
    """The axes, ascending; raises SignatureError unless they are different axes of the type."""
    if not isinstance(axes, tuple):
        raise SignatureError(f"`{name}`: axes is a tuple, not {axes!r}")
    for axis in axes:
        check_axis(name, type, axis)
    if len(set(axes)) != len(axes):
        raise SignatureError(f"`{name}`: an axis occurs twice in {axes}")
    return tuple(sorted(axes))


# Pointwise records.


def by_format(fn: Scalar) -> Callable[[Use], Body]:
    """Fixes the carrier format of the first argument."""

    def body(use: Use) -> Body:
        format = carrier(use.types[0].format)
        return lambda k, *xs: fn(k, format, *xs)

    return body


def run(body: Body, arrays: Sequence[AnyArray], out: Type) -> AnyArray:
    """The body on numpy, as an array of exactly the result's type."""
    with np.errstate(all="ignore"):
        result = np.asarray(body(NUMPY, *arrays))
    assert result.dtype == out.format.dtype, (result.dtype, out)
    return np.broadcast_to(result, out.shape) if result.shape != out.shape else result


def write(
    name: str, body: Body, writing: Writing, w: Writer, xs: Sequence[Expr], out: Format
) -> Expr:
    """The body as an expression."""
    if writing == "call":
        return w.invoke(name, body, *xs, format=carrier(out))
    if writing == "let":
        xs = [w.let(x) for x in xs]
    return body(w, *xs)


def scalar_op(
    name: str,
    doc: str,
    signature: Callable[[tuple[Type, ...], Params], Type],
    body: Callable[[Use], Body],
    *,
    vjp: Vjp | NoGradient,
    samples: Sequence[Sample],
    laws: Sequence[Law],
    writing: Writing = "once",
    label: Callable[[Use], str] | None = None,
    cheap: bool = False,
    family: str = "pointwise",
) -> Op:
    """Registers an op that is one scalar function at every index.

    `label` names the out-of-line function where parameters tell several apart (argument formats are appended).
    """

    def value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
        return run(body(use), arrays, use.out)

    def at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
        called = label(use) if label else name
        return write(called, body(use), writing, w, [a(*index) for a in args], use.out.format)

    @cache
    def each(formats: tuple[Format, ...], params: tuple[tuple[str, Any], ...], out: Format) -> int:
        use = Use(tuple(Type(f) for f in formats), dict(params), Type(out))
        return operations(body(use), formats)

    def cost(use: Use) -> int:
        formats = tuple(t.format for t in use.types)
        return use.out.size * each(formats, tuple(use.params.items()), use.out.format)

    code = Element(at, cheap)
    return register(
        Op(
            name,
            doc,
            family,
            signature,
            value,
            code,
            vjp,
            alike(name),
            cost,
            tuple(samples),
            tuple(laws),
        )
    )


def pointwise(
    name: str,
    doc: str,
    fn: Scalar,
    *,
    arity: int,
    kinds: Kinds,
    vjp: Vjp | NoGradient,
    samples: Sequence[Sample],
    laws: Sequence[Law],
    result: Format | None = None,
    writing: Writing = "once",
    family: str = "pointwise",
) -> Op:
    """Registers `fn(k, format, *xs)` over `arity` arguments of one type in `kinds`; `result` if the format changes."""

    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, arity, params)
        check_kind(name, types[0], kinds)
        check_same(name, types)
        return Type(result or types[0].format, types[0].shape)

    return scalar_op(
        name, doc, signature, by_format(fn), vjp=vjp, samples=samples, laws=laws, writing=writing, family=family
    )  # fmt: skip


def operations(body: Body, formats: Sequence[Format]) -> int:
    """Scalar operations of one evaluation: arithmetic, comparisons, choices, conversions, square roots.

    >>> operations(lambda k, x, y: k.select(x < y, x * y, x + 1.0), (fmt.f32, fmt.f32))
    4
    """
    w = Writer()
    xs = [Name(f"x{i}", carrier(f)) for i, f in enumerate(formats)]
    seen: dict[int, int] = {}
    result = body(w, *xs)
    named = [s.value for s in w.block if isinstance(s, Let)]
    return sum(_count(e, seen) for e in [*named, result])


def _count(e: Expr, seen: dict[int, int]) -> int:
    """Operations of an expression as it is printed: what is shared without a name counts at every use."""
    if id(e) in seen:
        return seen[id(e)]
    match e:
        case Binary(_, left, right):
            total = 1 + _count(left, seen) + _count(right, seen)
        case Unary(_, arg) | Convert(arg):
            total = 1 + _count(arg, seen)
        case Choose(cond, yes, no):
            total = 1 + _count(cond, seen) + _count(yes, seen) + _count(no, seen)
        case Intrinsic(name, arg):
            total = (name == "sqrt") + _count(arg, seen)
        case Invoke(_, body, args):
            total = operations(body, [a.format for a in args]) + sum(_count(a, seen) for a in args)
        case _:
            total = 0
    seen[id(e)] = total
    return total


# The strict order of sums (docs/architecture.md): 16 accumulators, then halves.

LANES = 16
Combine: TypeAlias = Callable[[Kit, Value, Value], Value]
"""`combine(k, so_far, term)`."""


def plus(k: Kit, x: Value, y: Value) -> Value:
    return x + y


def lane_fold(n: int, terms: Callable[[int, int], AnyArray], combine: Combine = plus) -> AnyArray:
    """Combines n >= 1 terms in lane order; `terms(i, j)` is an array whose rows are the terms i to j - 1.

    >>> float(lane_fold(100, lambda i, j: np.arange(i, j, dtype=np.float32)))
    4950.0
    """
    with np.errstate(all="ignore"):
        acc = np.array(terms(0, min(n, LANES)))
        for start in range(LANES, n, LANES):
            rows = terms(start, min(n, start + LANES))
            acc[: len(rows)] = combine(NUMPY, acc[: len(rows)], rows)
        half = LANES // 2
        while half:
            if len(acc) > half:
                upper = acc[half:]
                acc[: len(upper)] = combine(NUMPY, acc[: len(upper)], upper)
                acc = acc[:half]
            half //= 2
    return acc[0]


def lane_sum(terms: AnyArray) -> AnyArray:
    """The sum of the n >= 1 rows of an array, in lane order.

    >>> lane_sum(np.array([[1, 10], [2, 20], [3, 30]])).tolist()
    [6, 60]
    """
    return lane_fold(len(terms), lambda i, j: terms[i:j])


# Derivatives.


def zeros(b: Builder, like: Var) -> Var:
    """Zeros of the same type."""
    return const(b, 0, like)


def const(b: Builder, value: float, like: Var) -> Var:
    """A constant of the same type, rounded to its format; as a scalar that is repeated it takes no memory."""
    rounded = round_nearest(NUMPY, np.asarray(value, like.type.format.dtype), like.type.format)
    k = b.lit(rounded, Type(like.type.format))
    return b.broadcast(k, shape=like.type.shape) if like.type.shape else k


def expand(b: Builder, x: Var, axes: Sequence[int], shape: Shape) -> Var:
    """Repeats x along `axes` of `shape`, which it lacks: the adjoint of a sum over them."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return b.broadcast(b.reshape(x, shape=kept), shape=shape)


# Samples and laws.


def sample(*types: Type, values: Callable[[Rng], Any] | None = None, **params: Any) -> Sample:
    """A sample; `values(rng)` makes the arguments (by default normal draws, then extremes)."""
    return Sample(types, params, values)


def extremes(format: Format) -> AnyArray:
    """Values of a format at which ops break: signed zeros, infinities, NaN, subnormals, thresholds, both ends.

    >>> extremes(fmt.i8).tolist()
    [0, 1, 2, 3, 7, 127, 126, -1, -2, -3, -127, -128]
    """
    dtype = np.dtype(format.dtype)
    if format.kind == "bool":
        return np.array([False, True])
    if format.is_integer:
        info = np.iinfo(dtype)
        signed = [-1, -2, -3, -info.max, info.min] if info.min else []
        return np.array([0, 1, 2, 3, 7, info.max, info.max - 1, *signed], dtype)
    if format.kind == "fixed":
        step, top = 2.0**-format.mantissa, 2.0 ** (format.exponent - 1)
        return np.array([0, step, -step, 1 - step, top - step, -top], dtype)
    if not format.exact:
        positive = [0.0, 0.5, 1.0, 1.5, 2.0, 2.0 ** (2 - 2 ** (format.exponent - 1)), 2.0**-3, 3.0]
    else:
        info = np.finfo(dtype)
        tiny = [
            info.smallest_subnormal,
            info.smallest_subnormal * 12345,
            info.tiny,
            info.eps,
            1e-3,
            0.5,
            1 - info.epsneg,
        ]
        large = [
            1.0,
            1.5,
            2.0,
            2.5,
            3.0,
            10.0,
            88.0,
            104.0,
            709.0,
            746.0,
            8388609.0,
            2.0**31,
            2.0**63,
            info.max,
        ]
        positive = [0.0, *tiny, *large]
    special = [np.inf, np.nan] if format.infinite else [np.nan]
    with np.errstate(all="ignore"):
        values = np.array([*positive, *special], dtype)
        return np.concatenate([values, -values])


def draw(rng: Rng, type: Type) -> AnyArray:
    """Moderate values of a type: normal draws (integers -9..9, 0..9), rounded to halves in small formats."""
    dtype, shape = np.dtype(type.format.dtype), type.shape
    if type.format.kind == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    if type.format.is_integer:
        return np.asarray(rng.integers(0 if type.format.kind == "uint" else -9, 10, shape)).astype(
            dtype
        )
    x = np.asarray(rng.normal(size=shape))
    return (x if type.format.exact else np.round(x * 2) / 2).astype(dtype)


def draw_extremes(rng: Rng, type: Type) -> AnyArray:
    """Values of a type, each an extreme or a moderate one."""
    hard = rng.choice(extremes(type.format), type.shape)
    return np.where(rng.random(type.shape) < 0.7, hard, draw(rng, type)).astype(type.format.dtype)


def standard(arity: int, *formats: Format) -> tuple[Sample, ...]:
    """Samples of an op over `arity` arguments of one type: ranks 0 to 3 in the first format, extremes in all.

    >>> [s.types[0] for s in standard(1, fmt.f32, fmt.i8)]
    [f32, f32[5], f32[2, 3], f32[2, 1, 3], f32[48], i8[12]]
    """
    made = [sample(*[Type(formats[0], shape)] * arity) for shape in ((), (5,), (2, 3), (2, 1, 3))]
    return (*made, *(edges(arity, f) for f in formats))


def edges(arity: int, format: Format) -> Sample:
    """All extremes of a format; over several arguments, random pairs of them."""
    hard = extremes(format)
    type = Type(format, (len(hard) if arity == 1 else 120,))

    def values(rng: Rng) -> tuple[AnyArray, ...]:
        if arity == 1:
            return (hard,)
        x, *others = (draw_extremes(rng, type) for _ in range(arity))
        return (x, *(np.where(rng.random(type.shape) < 0.1, x, y) for y in others))

    return sample(*[type] * arity, values=values)


def law(name: str, check: Callable[[Values, Rng], None]) -> Law:
    """A named law; `check(value, rng)` calls `value(*arrays, **params)` and asserts."""
    return Law(name, check)


def caller(name: str) -> Values:
    """`value(*arrays, **params)` of an op, its types read off the arrays.

    >>> import seiche.ir.ops
    >>> float(caller("add")(np.float32(1), np.float32(2)))
    3.0
    """

    def value(*arrays: Any, **params: Any) -> AnyArray:
        given = tuple(map(np.asarray, arrays))
        types = tuple(Type(format_of(a.dtype), a.shape) for a in given)
        return OPS[name].value(given, use(name, types, params))

    return value


def format_of(dtype: np.dtype[Any]) -> Format:
    """The machine format of a numpy dtype.

    >>> format_of(np.dtype("uint8"))
    u8
    """
    (format,) = (f for f in fmt.NAMED.values() if f.exact and np.dtype(f.dtype) == dtype)
    return format


def same_bits(x: Any, y: Any) -> bool:
    """Whether two arrays are equal in type and bits, all NaNs being one.

    >>> same_bits(np.float32(0.0), np.float32(-0.0)), same_bits(np.float32("nan"), -np.float32("nan"))
    (False, True)
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.kind != "f":
        return bool(np.array_equal(x, y))
    both = np.isnan(x) & np.isnan(y)
    return bool(np.all(both | ((x == y) & (np.signbit(x) == np.signbit(y)))))
